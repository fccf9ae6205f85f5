"""The tables of a comparison of two runs, and the sections on ranks, collectives and names."""

from collections.abc import Callable, Sequence

from scaleprof.analyses.base import duration, listed
from scaleprof.analyses.changes.cause import Tables, kind_words
from scaleprof.analyses.changes.rows import Key, Row, counts_in
from scaleprof.results import Axis, Chart, Layer, Result, RunReport, Table

MOST_BARS = 32
MOST_KINDS = 12
_CORRECTED = (
    "p in the table is that of Mann and Whitney on blocks of steps (of Student, where these are too few or runs were repeated), corrected for the "
    "rows of the table (Holm 1979)."
)
_IN_PROGRESS = (
    f"Times in progress are means over ranks, waiting and transfer together, hidden behind compute or not. {_CORRECTED}"
)
_BY_NAME = f"Only names that take most time, and do so on every rank, are kept by step and compared. {_CORRECTED}"
_LONGEST_NAME = 60
_DIGITS = 6  # of a ms: that is a ns


def table_of(rows: Sequence[Row], keys: Sequence[str], total_ms: float) -> Table:
    """The rows with what each is of the whole change."""
    columns = (
        *keys,
        "base_ms",
        "new_ms",
        "change_ms",
        "change_low_ms",
        "change_high_ms",
        "of_change_share",
        "p",
        "answer",
    )
    return Table.of_rows(
        columns,
        [
            [
                *row.key, row.base_ms, row.new_ms, *_ends(row),
                row.change.value / total_ms if total_ms else None, row.p, row.answer,
            ]
            for row in rows
        ],
    )  # fmt: skip


def _ends(row: Row) -> list[float | None]:
    """The change and its interval to a ns: what is less is rounding of floats."""
    return [None if one is None else round(one, _DIGITS) for one in (row.change.value, row.change.low, row.change.high)]


def ranks_section(rows: Sequence[Row], total_ms: float) -> Result | None:
    """What each rank did besides communicating."""
    if not rows:
        return None
    changed = [row for row in rows if row.answer == "changed"]
    both = [row for row in rows if row.base_ms is not None and row.new_ms is not None]
    names = listed(sorted(int(row.key[0]) for row in changed))
    headline = f"What {'rank ' + names if len(changed) == 1 else 'ranks ' + names} did besides communicating changed"
    if not changed:
        headline = "No rank is shown to do more or less besides communicating"
    elif len(changed) == len(rows):
        headline = "Every rank's own work changed"
    if changed:
        most = max(changed, key=lambda row: abs(row.change.value))
        more = "more" if most.change.value > 0 else "less"
        headline += f"; most on rank {most.key[0]}, {duration(abs(most.change.value))} {more} a step"
    shown = sorted(both[:MOST_BARS], key=lambda row: int(row.key[0]))
    chart = Chart(
        id="change.ranks",
        kind="bars",
        title=headline,
        subtitle="ms a step that a rank does not communicate, NEW less BASE"
        + (f"; the {MOST_BARS} ranks that change most." if len(both) > MOST_BARS else "."),
        x=Axis("rank", scale="category"),
        y=Axis("change per step", "ms", from_zero=True),
        layers=(
            Layer("change", [f"rank {row.key[0]}" for row in shown], [row.change.value for row in shown], color="series-1"),
        ),
        how=f"A rank's own time is its step less all exposed communication. {_CORRECTED}",
    )  # fmt: skip
    table = table_of(sorted(rows, key=lambda row: int(row.key[0])), ("rank",), 0.0)
    caveats = () if both else ("the two sides have no rank in common that was accounted",)
    charts = (chart,) if shown else ()
    return Result("changed_ranks", "Ranks", headline, tables={"change_by_rank": table}, charts=charts, caveats=caveats)


def collectives_section(
    rows: Sequence[Row], tables: Tables, base: Sequence[RunReport], new: Sequence[RunReport]
) -> Result | None:
    """What was sent: how often, for how long, how fast."""
    if not rows:
        return None
    parts = [{row.key: row for row in of} for of in (tables.waits, tables.transfers)]
    counts, speeds = [[_mean_counts(side) for side in (base, new)], [_busbw(side) for side in (base, new)]]
    content = []
    for row in rows:
        waits = [getattr(parts[0].get(row.key), side, None) for side in ("base_ms", "new_ms")]
        sent = [getattr(parts[1].get(row.key), side, None) for side in ("base_ms", "new_ms")]
        often = [side.get(row.key) for side in counts]
        fast = [side.get(row.key) for side in speeds]
        times = [row.base_ms, row.new_ms, *_ends(row)]
        op, size, group = row.key
        content.append(
            [op, size if size >= 0 else None, group, *often, *times, *waits, *sent, *fast, row.p, row.answer]
        )
    headline = _headline_of(rows, ("kind of operation", "kinds of operations"), kind_words)
    columns = (
        "op", "bytes", "group", "base_count", "new_count", "base_ms", "new_ms", "change_ms", "change_low_ms", "change_high_ms",
        "base_wait_ms", "new_wait_ms", "base_transfer_ms", "new_transfer_ms", "base_busbw_gbps", "new_busbw_gbps", "p", "answer",
    )  # fmt: skip
    return Result(
        "changed_collectives",
        "Collectives",
        headline,
        tables={"change_by_collective": Table.of_rows(columns, content)},
        charts=(_chart(rows, headline, kind_words, "collectives", _IN_PROGRESS),),
    )


def names_section(rows: Sequence[Row]) -> Result | None:
    """Kernels, copies and operators by name."""
    if not rows:
        return None
    total = sum(row.change.value for row in rows)
    headline = _headline_of(rows, ("name", "names"), _name_words)
    return Result(
        "changed_names",
        "Kernels and operators",
        headline,
        tables={"change_by_name": table_of(rows, ("name", "kind"), total)},
        charts=(_chart(rows, headline, lambda key: str(key[0]), "names", _BY_NAME),),
    )


def _name_words(key: Key) -> str:
    return f"`{str(key[0])[:_LONGEST_NAME]}`"


def _chart(rows: Sequence[Row], title: str, words: Callable[[Key], str], id: str, how: str) -> Chart:
    """What changes most, as bars."""
    shown = rows[:MOST_KINDS]
    left_out = f"; the {MOST_KINDS} that change most of {len(rows)}" if len(shown) < len(rows) else ""
    return Chart(
        id=f"change.{id}",
        kind="bars",
        title=title,
        subtitle=f"ms a step and rank, NEW less BASE{left_out}.",
        x=Axis("", scale="category"),
        y=Axis("change per step", "ms", from_zero=True),
        layers=(Layer("change", [words(row.key) for row in shown], [row.change.value for row in shown], color="series-1"),),
        how=how,
    )  # fmt: skip


def _headline_of(rows: Sequence[Row], what: tuple[str, str], words: Callable[[Key], str]) -> str:
    """`what` is one of them and several, in words."""
    one, several = what
    changed = [row for row in rows if row.answer in ("changed", "only in BASE", "only in NEW")]
    if not changed:
        few = all(row.answer == "too few steps" for row in rows)
        why = ": so few steps, or such correlated ones, cannot show it of any" if few else ""
        none = f"None of {len(rows)} {several} is" if len(rows) > 1 else f"The only {one} is not"
        return f"{none} shown to change{why}"
    most = changed[0]
    how = f"{duration(abs(most.change.value))} {'more' if most.change.value > 0 else 'less'} a step"
    if len(rows) == 1:
        return f"The only {one} changed, {words(most.key)}: {how}"
    return f"{len(changed)} of {len(rows)} {several} changed, most {words(most.key)}: {how}"


def _mean_counts(runs: Sequence[RunReport]) -> dict[Key, float]:
    found: dict[Key, list[float]] = {}
    for run in runs:
        for key, count in counts_in(run).items():
            found.setdefault(key, []).append(count)
    return {key: sum(values) / len(values) for key, values in found.items()}


def _busbw(runs: Sequence[RunReport]) -> dict[Key, float]:
    """Bus bandwidth by operation, bytes and group: of the row with most time, in the last run that has one."""
    found: dict[Key, float] = {}
    for run in runs:
        table = next((one.tables.get("collectives") for one in run.sections if one.name == "collectives"), None)
        if table is None:
            continue
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
        for row in reversed(rows):  # the first row of a key has most time
            if row.get("busbw_gbps") is not None:
                found[row["op"], row["bytes"], row["group"]] = float(row["busbw_gbps"])
    return found
