"""The report in the terminal, on one screen: verdict, numbers, efficiency tree, first findings, and of the rest what fits.

The one renderer that prints. Strings from traces are shown as they are: no markup, no control characters that could move the cursor or change
colours. What is too long for its place ends with an ellipsis.
"""

import io
import unicodedata
from collections.abc import Sequence
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from scaleprof.render.page import banner_of
from scaleprof.render.parts import (
    NARROW_COLUMNS,
    SCALING_COLUMNS,
    Tree,
    changes_of,
    findings_with_runs,
    largest_sizes_of,
    leaf_shares,
    tiles_of,
    tree_of,
)
from scaleprof.render.remarks import caveats_of
from scaleprof.render.tables import Readable
from scaleprof.render.tiles import tile_of
from scaleprof.render.words import ABSENT, percent
from scaleprof.results import Finding, Metric, Report, RunReport

MOST_LINES = 39
"""A screen of 40 lines, and one of them for the path that the command line prints."""
MOST_FINDINGS = 3
MOST_BANNERS = 2
MOST_CHIPS = 6
MOST_TILES = 6
MOST_FACTORS = 14
MOST_IN_VERDICT = 3
WIDE = 110  # columns of a terminal from which the scaling table is shown with all its columns
_WEAK = 0.9  # below this a factor of the tree stands out
_STATE_STYLES = {"ok": "green", "missing": "yellow", "failed": "bold red"} | {
    "holds": "green",
    "inconclusive": "yellow",
    "fails": "bold red",
    "unusable": "bold red",
}
_SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "default", "healthy": "green"}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the summary, to standard output unless a console is given."""
    console = console or Console()
    console.print(summary(report, console.width))


def summary(report: Report, width: int) -> Group:
    """The summary as what rich can print in that many columns, in at most `MOST_LINES` lines."""
    tree, findings = tree_of(report), findings_with_runs(report)
    parts: list[RenderableType] = [_wrapped(report.verdict or report.title, width, MOST_IN_VERDICT, "bold")]
    parts += _banners(report)
    if report.chips:
        parts.append(_chips(report, width))
    tables = (_tiles(tiles_of(report)[:MOST_TILES]), _tree(tree, width) if tree else None)
    parts += [Padding(table, (1, 0, 0, 0)) for table in tables if table is not None]
    if findings:
        parts.append(Padding(Group(*(_finding(*one) for one in findings[:MOST_FINDINGS])), (1, 0, 0, 0)))
    caveats = [text for text, _ in caveats_of(report)]
    rest = _rest(len(caveats), max(len(findings) - MOST_FINDINGS, 0))
    room = MOST_LINES - _height(parts, width) - (1 if rest else 0)
    for add in (
        partial(_changes, report),
        partial(_scaling, report, tree, width),
        partial(_breakdown, report.runs),
        partial(_caveats, caveats),
    ):
        more = add(room)
        if more is not None:
            parts.append(more)
            room -= _height([more], width)
    return Group(*parts, *([rest] if rest else []))


def print_checks(checks: Sequence[tuple[str, str, str, str]], console: Console | None = None) -> None:
    """Print what was looked at, one thing a line: its name, its state, what was found, and what to do about it below."""
    table = RichTable(box=None, show_header=False, pad_edge=False)
    for name, state, found, remedy in checks:
        cell = Text(clean(found))
        if remedy:
            cell.append(f"\n-> {clean(remedy)}", "yellow")
        table.add_row(Text(clean(name)), Text(clean(state), _STATE_STYLES.get(state, "")), cell)
    (console or Console()).print(table)


def clean(value: object) -> str:
    """Text without control characters, which a terminal would obey."""
    return "".join(
        " " if letter in "\n\t" else "�" if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter
        for letter in str(value)
    )


def _line(value: object, style: str = "") -> Text:
    """Text that rich does not read as markup, on one line."""
    return Text(clean(value), style=style, no_wrap=True, overflow="ellipsis")


def _wrapped(value: object, width: int, most: int, style: str) -> Text:
    """Text on a few lines; what is left out is an ellipsis."""
    lines = list(Text(clean(value), style=style).wrap(_measuring(width), width, overflow="ellipsis"))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].rstrip()
        lines[-1].truncate(width - 1)
        lines[-1].append("…")
    shown = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    shown.rstrip()
    return shown


def _measuring(width: int) -> Console:
    return Console(width=width, file=io.StringIO())


def _height(parts: Sequence[RenderableType], width: int) -> int:
    """The lines that these take."""
    return len(_measuring(width).render_lines(Group(*parts), pad=False)) if parts else 0


def _banners(report: Report) -> list[RenderableType]:
    """What must be known before any number is believed."""
    banners = list(dict.fromkeys(banner for run in report.runs if (banner := banner_of(run.info))))
    left = len(banners) - MOST_BANNERS
    more = [_line(f"and {left} more such remarks on other runs", "yellow")] if left > 0 else []
    return [*(_line(banner, "yellow") for banner in banners[:MOST_BANNERS]), *more]


def _chips(report: Report, width: int) -> Text:
    """Remarks side by side, as many on a line as fit; those that warn are kept."""
    places = sorted(range(len(report.chips)), key=lambda place: report.chips[place].good)[:MOST_CHIPS]
    lines, used = Text(no_wrap=True, overflow="ellipsis"), 0
    for chip in (report.chips[place] for place in sorted(places)):
        line = Text("✓ " if chip.good else "! ", style="green" if chip.good else "yellow")
        line.append(clean(chip.text), style="default")
        line.truncate(width, overflow="ellipsis")
        if used:
            is_next = used + 3 + line.cell_len <= width
            lines.append("   " if is_next else "\n")
            used = used + 3 if is_next else 0
        lines.append_text(line)
        used += line.cell_len
    return lines


def _plain_table() -> RichTable:
    return RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", highlight=False)


def _column(table: RichTable, head: object = "", *, is_number: bool = False) -> None:
    """A column; where the table is too wide, those of words give way."""
    table.add_column(_line(head), justify="right" if is_number else "left", no_wrap=is_number)


def _tiles(metrics: Sequence[Metric]) -> RichTable | None:
    if not metrics:
        return None
    table = _plain_table()
    table.show_header = False
    for is_number in (False, True, False, False):
        _column(table, is_number=is_number)
    for metric in metrics:
        tile = tile_of(metric)
        note = ", ".join(part for part in (tile.interval, tile.note) if part)
        table.add_row(_line(tile.label), _line(tile.amount, "bold"), _line(tile.unit), _line(note, "dim"))
    return table


def _tree(tree: Tree, width: int) -> RichTable:
    """The efficiency tree, children below what they multiply to; a factor that loses much stands out."""
    table = _plain_table()
    # The numbers need 11 columns a size; the words keep 34.
    most = max((width - 34) // 11, 2)
    places = list(range(len(tree.heads)))
    places = places if len(places) <= most else [0, *places[1 - most :]]
    _column(table, f"efficiency of {tree.subject}")
    for place in places:
        _column(table, tree.heads[place], is_number=True)
    for words, depth, values in tree.rows[:MOST_FACTORS]:
        cells = []
        for value in (values[place] for place in places):
            style = "bold" if depth == 0 else "yellow" if value is not None and value < _WEAK else ""
            cells.append(_line(ABSENT if value is None else f"{percent(value)} %", style))
        table.add_row(_line("  " * depth + words, "" if depth else "bold"), *cells)
    return table


def _finding(finding: Finding, run: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{finding.severity}  ", style=_SEVERITY_STYLES[finding.severity])
    line.append(clean(finding.title), style="bold")
    if finding.gain_share:
        kind = {"ceiling": "at most", "": ""}.get(finding.gain_kind, finding.gain_kind)
        line.append(f"  +{percent(finding.gain_share)} % {kind}".rstrip(), style="green")
    if run:
        line.append(f"  in {clean(run)}")
    if finding.evidence:
        line.append(f"  ({clean(finding.evidence)})", style="dim")
    return line


def _scaling(report: Report, tree: Tree | None, width: int, room: int) -> Padding | None:
    """The largest size of every series whose tree is not shown."""
    columns = SCALING_COLUMNS if width >= WIDE else NARROW_COLUMNS
    content = (
        largest_sizes_of(report, most=room - 3, without=tree.subject if tree else "", columns=columns)
        if room > 3
        else None
    )
    if content is None:
        return None
    table = _readable(content)
    more = [_line(f"and {content.left_out} more series in the report", "dim")] if content.left_out else []
    return Padding(Group(table, *more), (1, 0, 0, 0))


def _changes(report: Report, room: int) -> Padding | None:
    """Of a comparison of two runs what changed, of one of several where each pair stands."""
    content = changes_of(report, most=room - 2) if room > 3 else None
    return Padding(_readable(content), (1, 0, 0, 0)) if content is not None else None


def _readable(content: Readable) -> RichTable:
    table = _plain_table()
    for head in content.heads:
        _column(table, f"{head.text} ({head.unit})" if head.unit else head.text, is_number=head.is_number)
    for row in content.rows:
        table.add_row(*(_line(cell.whole) for cell in row))
    return table


def _breakdown(runs: Sequence[RunReport], room: int) -> Padding | None:
    """Shares of the step by class, a row per run."""
    leaves, shares = leaf_shares(runs)
    if not shares or room < 4:
        return None
    table = _plain_table()
    _column(table, "step of")
    for head in leaves.values():
        _column(table, head, is_number=True)
    rows = list(shares.items())
    shown = rows if len(rows) <= room - 2 else rows[: room - 3]
    for name, row in shown:
        table.add_row(_line(name), *(_line(f"{percent(row[leaf])} %" if leaf in row else ABSENT) for leaf in leaves))
    more = [_line(f"and {len(rows) - len(shown)} more runs in the report", "dim")] if len(shown) < len(rows) else []
    return Padding(Group(table, *more), (1, 0, 0, 0))


def _caveats(caveats: Sequence[str], room: int) -> Padding | None:
    """The first caveats, a line each."""
    if not caveats or room < 3:
        return None
    lines = [Text("What may be wrong", style="dim"), *(_line(f"- {text}") for text in caveats[: room - 2])]
    return Padding(Group(*lines), (1, 0, 0, 0))


def _rest(caveats: int, findings: int) -> Text | None:
    """What the report holds beyond this."""
    said = [
        f"{count:,} {words if count != 1 else words[:-1]}"
        for count, words in ((caveats, "caveats"), (findings, "more findings"))
        if count
    ]
    return Text(f"In the report: {' and '.join(said)}", style="dim") if said else None
