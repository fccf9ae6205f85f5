"""The report as Markdown that fits a comment on a pull request: verdict, numbers, efficiency tree, scaling, what to do, what may be wrong.

Strings from traces are shown as they are: what Markdown, HTML or GitHub would act on is escaped, and a space of no width takes mentions (`@name`),
references (`#123`) and addresses apart. What is left out is counted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scaleprof.render.page import banner_of
from scaleprof.render.parts import changes_of, findings_with_runs, leaf_shares, scaling_of, tiles_of, tree_of
from scaleprof.render.remarks import caveats_of
from scaleprof.render.tables import Readable
from scaleprof.render.tiles import tile_of
from scaleprof.render.words import ABSENT, percent, shortened
from scaleprof.results import Finding, Metric, Report, RunReport

MOST_CHARACTERS = 20_000
"""GitHub refuses comments from 65,536 on; nobody reads a third of that."""
MOST_ROWS = 40
MOST_BANNERS = 4
MOST_CHIPS = 6
MOST_TILES = 6
MOST_FINDINGS = 5
MOST_CAVEATS = 20
MOST_TEXT = 400
MOST_IN_BANNER = 160
MOST_IN_CELL = 60
NO_WIDTH = "\u200b"
"""A space that is not seen: what it takes apart is neither a mention nor a reference nor a link."""
_ACTED_ON = re.compile(r"@(?=\w)|#(?=\d)|\bGH-(?=\d)|\bwww(?=\.)|:(?=//)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A block whose lines can be left out from the end."""

    head: str = ""
    lines: tuple[str, ...] = ()
    left_out: int = 0
    """Lines that there would be more."""
    what: str = ""
    """What a line is, for the sentence on those left out."""
    in_list: bool = False
    foot: str = ""

    def fitting(self, room: int) -> str:
        """As much of it as fits in that many characters; empty where that is nothing."""
        for shown in range(len(self.lines), 0, -1):
            left = self.left_out + len(self.lines) - shown
            more = f"{'- ' if self.in_list else ''}and {left:,} more {self.what} in the report" if left else ""
            glue = "\n" if self.in_list else "\n\n"
            text = self.head + "\n".join(self.lines[:shown]) + (f"{glue}{more}" if more else "") + self.foot
            if len(text) <= room:
                return text
        return ""


def render_markdown(report: Report) -> str:
    """The summary as text, shorter than `MOST_CHARACTERS`."""
    shown = [f"### {escaped(report.verdict or report.title)}"]
    banners = list(dict.fromkeys(banner for run in report.runs if (banner := banner_of(run.info))))
    shown += [f"> {escaped(banner, MOST_IN_BANNER)}" for banner in banners[:MOST_BANNERS]]
    shown += [f"> and {len(banners) - MOST_BANNERS} more such remarks"] if len(banners) > MOST_BANNERS else []
    if report.chips:
        chips = report.chips[:MOST_CHIPS]
        shown.append(" · ".join(f"{'✓' if chip.good else '⚠'} {_cell(chip.text)}" for chip in chips))
    tiles, last = tiles_of(report)[:MOST_TILES], _made(report.made_with)
    shown += [_metrics(tiles)] if tiles else []
    room = MOST_CHARACTERS - len("\n\n".join([*shown, *last])) - 4
    # Each may take half of what is left: a report of hostile names still says something of everything.
    for part in (_changes(report), _tree(report), _findings(report), _scaling(report), _breakdown(report.runs)):
        text = part.fitting(room // 2)
        shown += [text] if text else []
        room -= len(text) + 2 if text else 0
    text = _caveats(report).fitting(room)
    return "\n\n".join([*shown, *([text] if text else []), *last]) + "\n"


def escaped(value: object, most: int = MOST_TEXT) -> str:
    """Text of one line that Markdown, HTML and GitHub leave as it is."""
    line = " ".join(str(value).split())
    text = _untouched(line, most)
    # Of what is nothing but signs, each letter can become six.
    return text if len(text) <= 2 * most else _untouched(line, most // 3)


def _untouched(line: str, most: int) -> str:
    line = line if len(line) <= most else line[: most - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)
    line = _ACTED_ON.sub(lambda found: found[0] + NO_WIDTH, line)
    return "".join(letter for letter in line if letter.isprintable() or letter == NO_WIDTH)


def _cell(value: object) -> str:
    """Text for a table: the middle of a long name is left out."""
    return escaped(shortened(" ".join(str(value).split()), MOST_IN_CELL))


def _made(made: dict[str, str]) -> list[str]:
    command = made.get("command", "")
    return (
        [f"<sub>scaleprof {_cell(made.get('version', ''))}: {escaped(command, MOST_IN_BANNER)}</sub>"]
        if command
        else []
    )


def _table(heads: Sequence[str], numbers: Sequence[bool]) -> str:
    rows = (heads, ["---:" if number else "---" for number in numbers])
    return "".join(f"{_row(row)}\n" for row in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = []
    for tile in (tile_of(metric) for metric in metrics):
        note = ", ".join(part for part in (tile.interval, tile.note) if part)
        note = escaped(note, 2 * MOST_IN_CELL)
        rows.append(_row([_cell(tile.label), f"**{_cell(f'{tile.amount} {tile.unit}'.strip())}**", note]))
    return _table(("", "Value", ""), (False, True, False)) + "\n".join(rows)


def _tree(report: Report) -> Part:
    """The efficiency tree, its levels told by spaces that do not break."""
    tree = tree_of(report)
    if tree is None:
        return Part()
    rows = tuple(
        _row(["&nbsp;" * 4 * depth + _cell(words), *(ABSENT if one is None else f"{percent(one)} %" for one in values)])
        for words, depth, values in tree.rows
    )
    heads = _table(("", *tree.heads), (False, *(True for _ in tree.heads)))
    return Part(f"**Efficiency of {_cell(tree.subject)}**\n\n{heads}", rows, what="factors")


def _scaling(report: Report) -> Part:
    return _part_of("Scaling", scaling_of(report, most=MOST_ROWS), "sizes")


def _changes(report: Report) -> Part:
    return _part_of("What changed", changes_of(report, most=MOST_ROWS), "rows")


def _part_of(title: str, content: Readable | None, what: str) -> Part:
    """A table below its title."""
    if content is None:
        return Part()
    heads = [_cell(f"{head.text} ({head.unit})" if head.unit else head.text) for head in content.heads]
    rows = tuple(_row([_cell(cell.whole) for cell in row]) for row in content.rows)
    table = _table(heads, [head.is_number for head in content.heads])
    return Part(f"**{title}**\n\n{table}", rows, content.left_out, what)


def _breakdown(runs: Sequence[RunReport]) -> Part:
    """Shares of the step by class, a row per run."""
    leaves, shares = leaf_shares(runs)
    rows = tuple(
        _row([_cell(run), *(f"{percent(row[leaf])} %" if leaf in row else ABSENT for leaf in leaves)])
        for run, row in list(shares.items())[:MOST_ROWS]
    )
    heads = ["Run", *(_cell(head[:1].upper() + head[1:]) for head in leaves.values())]
    table = _table(heads, [False, *(True for _ in leaves)])
    return Part(f"**Where the step goes**\n\n{table}", rows, len(shares) - len(rows), "runs")


def _findings(report: Report) -> Part:
    found = findings_with_runs(report)
    lines = tuple(_finding(*one) for one in found[:MOST_FINDINGS])
    return Part("**What to do**\n\n", lines, len(found) - len(lines), "findings", in_list=True)


def _finding(finding: Finding, run: str) -> str:
    kind = {"ceiling": "at most ", "": ""}.get(finding.gain_kind, f"{finding.gain_kind} ")
    gain = f" ({kind}+{percent(finding.gain_share)} %)" if finding.gain_share else ""
    where = f" in {_cell(run)}" if run else ""
    evidence = f" *{escaped(finding.evidence, MOST_IN_BANNER)}*" if finding.evidence else ""
    return f"1. **{escaped(finding.title, MOST_IN_BANNER)}**{gain}{where}: {escaped(finding.text)}{evidence}"


def _caveats(report: Report) -> Part:
    caveats = caveats_of(report)
    lines = tuple(f"- {escaped(text)}" for text, _ in caveats[:MOST_CAVEATS])
    head = f"<details><summary>What may be wrong ({len(caveats)})</summary>\n\n"
    return Part(head, lines, len(caveats) - len(lines), "remarks", in_list=True, foot="\n\n</details>")
