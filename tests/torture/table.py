"""What the torture suite found, as Markdown."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tests.torture.cases import DAMAGE, FAULTS, NO_FAULT, STRATEGIES
from tests.torture.peers import HTA, HTA_OLD, OURS, PARTS, TB, Answer, is_right_cause
from tests.torture.scoring import TOLD, Outcome


def by_fault(outcomes: Sequence[Outcome]) -> str:
    """A line for each fault, and one for the clean jobs."""
    rows = [_found(fault, [one for one in outcomes if one.case.fault == fault]) for fault in FAULTS]
    late = [one for one in outcomes if one.case.fault != NO_FAULT]
    clean = [one for one in outcomes if one.case.fault == NO_FAULT]
    rows.append(_found("**all faults**", late))
    alarms = sum(one.named is not None for one in clean)
    rows.append(["nobody is late", len(clean), "-", "-", "-", "-", "-", f"{alarms} ({_percent(alarms, len(clean))})"])
    head = (
        "fault",
        "jobs",
        "must be found",
        "right rank",
        "right cause",
        "too small to have to: named",
        "of them right",
        "wrongly blamed",
    )
    return _table(head, rows)


def by_strategy(outcomes: Sequence[Outcome]) -> str:
    """The same of each strategy, and of each sort of damage."""
    groups: list[tuple[str, Callable[[Outcome], bool]]] = [
        *((name, lambda one, name=name: one.case.strategy == name) for name in STRATEGIES),  # type: ignore[misc]
        *((f"damage: {name}", lambda one, name=name: one.case.damage == name) for name in DAMAGE),  # type: ignore[misc]
        *((f"clocks {name}", lambda one, name=name: one.case.clocks == name) for name in ("aligned", "apart")),  # type: ignore[misc]
    ]
    rows = []
    for name, belongs in groups:
        mine = [one for one in outcomes if belongs(one)]
        must = [one for one in mine if one.case.must_be_found]
        wrong = sum(one.is_wrong for one in mine)
        rows.append([name, len(mine), len(must), *_of(must), wrong, _gains(must)])
    return _table(
        ("jobs", "how many", "must be found", "right rank", "right cause", "wrongly blamed", "saving said / true"), rows
    )


def _gains(must: Sequence[Outcome]) -> str:
    """What a cure is said to save at most, over what the fault truly costs, where the rank is right: median, least and most."""
    ratios = [one.gain * (1 + one.case.cost) / one.case.cost for one in must if one.is_right_rank]
    return f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"


def errors(outcomes: Sequence[Outcome]) -> str:
    """How far the numbers are off, on whole files and on those that lost events."""
    whole = [one for one in outcomes if one.case.damage != "1 % dropped"]
    holes = [one for one in outcomes if one.case.damage == "1 % dropped"]
    rows = [
        [f"share of {leaf.replace('_', ' ')}, percentage points", *_spread(whole, lambda one, leaf=leaf: [100 * abs(one.shares[leaf])], 3),  # type: ignore[misc]
         *_spread(holes, lambda one, leaf=leaf: [100 * abs(one.shares[leaf])], 3)]  # type: ignore[misc]
        for leaf in TOLD
    ]  # fmt: skip
    rows.append(
        [
            "clock of the other host, us",
            *(cell for of in (whole, holes) for cell in _spread(of, lambda one: one.offsets_us, 2)),
        ]
    )
    rows.append(
        [
            "bus bandwidth by size, %",
            *(
                cell
                for of in (whole, holes)
                for cell in _spread(of, lambda one: [100 * error for error in one.bandwidths], 2)
            ),
        ]
    )
    return _table(("error of", "95 % below", "largest", "1 % dropped: 95 % below", "1 % dropped: largest"), rows)


def failures(outcomes: Sequence[Outcome]) -> str:
    """Every job that was not judged as it must be."""
    lines = [
        f"- {one.case.name}: rank {one.case.late_rank if one.case.fault != NO_FAULT else 'none'}, costs {one.case.cost:.2%} of the step; "
        + (f"said: rank {one.named}, {one.cause}" if one.named is not None else "nobody was named")
        for one in outcomes
        if one.is_failed
    ]
    return "\n".join(lines) or "None."


def beside(answers: Sequence[Answer]) -> str:
    """The peers and we on the same files."""
    rows = []
    for tool in (OURS, HTA, HTA_OLD, TB):
        mine = [one for one in answers if one.tool == tool]
        late = [one for one in mine if one.case.fault != NO_FAULT]
        clean = [one for one in mine if one.case.fault == NO_FAULT]
        right, said = sum(one.is_right for one in late), sum(one.named is not None for one in late)
        cause = sum(is_right_cause(one) for one in late) if tool == OURS else "says none"
        alarms = "not asked" if tool == TB else sum(one.named is not None for one in clean)
        rows.append([tool, len(late), said, right, cause, alarms, *(_error(mine, part) for part in PARTS)])
    head = (
        "tool",
        "late jobs",
        "names a rank",
        "the right one",
        "the right cause",
        f"false alarms of {len(clean)}",
        *(f"error of {part}" for part in PARTS),
    )
    return _table(head, rows)


def why_nothing(answers: Sequence[Answer]) -> str:
    """What the tools answered where they failed."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in answers:
        if one.failed:
            said.setdefault((one.tool, one.failed), []).append(one.case.strategy)
    return "\n".join(
        f"- {tool}, {len(of)} jobs ({', '.join(dict.fromkeys(of))}): {failed}" for (tool, failed), of in said.items()
    )


def _error(answers: Iterable[Answer], part: str) -> str:
    """Median and largest, in percentage points."""
    off = [100 * abs(one.shares[part] - one.true[part]) for one in answers if part in one.shares]
    return f"{np.median(off):.2f}, at most {max(off):.2f} ({len(off)} jobs)" if off else "says none"


def _found(name: str, mine: Sequence[Outcome]) -> list[object]:
    must = [one for one in mine if one.case.must_be_found]
    small = [one for one in mine if not one.case.must_be_found]
    named = [one for one in small if one.named is not None]
    right = sum(not one.is_wrong for one in named)
    return [
        name,
        len(mine),
        len(must),
        *_of(must),
        f"{len(named)} of {len(small)}",
        right,
        sum(one.is_wrong for one in mine),
    ]


def _of(must: Sequence[Outcome]) -> list[str]:
    ranks, causes = sum(one.is_right_rank for one in must), sum(one.is_right_cause for one in must)
    return [f"{ranks} ({_percent(ranks, len(must))})", f"{causes} ({_percent(causes, len(must))})"]


def _spread(outcomes: Sequence[Outcome], errors_of: Callable[[Outcome], Iterable[float]], digits: int) -> list[str]:
    found = [error for one in outcomes for error in errors_of(one)]
    return [f"{np.percentile(found, 95):.{digits}f}", f"{max(found):.{digits}f}"] if found else ["-", "-"]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "-"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
