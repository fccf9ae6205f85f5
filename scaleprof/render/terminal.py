"""The report in the terminal: verdict, tiles, scaling and where the step goes on about one screen. The one renderer that prints.

Strings from traces are shown as they are: no markup, no control characters that could move the cursor or change colours.
"""

import unicodedata
from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from scaleprof.render.page import banner_of, caveats_of, tile_of
from scaleprof.render.parts import NARROW_COLUMNS, SCALING_COLUMNS, findings_in_order, leaf_shares, scaling_of, tiles_of
from scaleprof.render.tables import Readable
from scaleprof.render.words import percent
from scaleprof.results import Finding, Metric, Report, RunReport

MOST_CAVEATS = 6
MOST_FINDINGS = 3
MOST_ROWS = 12
WIDE = 110  # columns of a terminal from which the scaling table is shown with all its columns
_STATE_STYLES = {"ok": "green", "missing": "yellow", "failed": "bold red"}
_SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "default", "healthy": "green"}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the summary, to standard output unless a console is given."""
    console = console or Console()
    console.print(summary(report, console.width))


def summary(report: Report, width: int) -> Group:
    """The summary as what rich can print in that many columns."""
    parts: list[Text | Padding | Columns] = [_text(report.verdict or report.title, "bold")]
    parts += [_text(banner, "yellow") for banner in dict.fromkeys(banner_of(run.info) for run in report.runs) if banner]
    if report.chips:
        parts.append(_chips(report))
    columns = SCALING_COLUMNS if width >= WIDE else NARROW_COLUMNS
    scaling = scaling_of(report, most=MOST_ROWS, columns=columns)
    tables = (_tiles(tiles_of(report)), _rich_table(scaling) if scaling else None, _breakdown(report.runs[:MOST_ROWS]))
    for table in tables:
        if table is not None:
            parts.append(Padding(table, (1, 0, 0, 0)))
    for place, finding in enumerate(findings_in_order(report)[:MOST_FINDINGS]):
        parts.append(Padding(_finding(finding), (0 if place else 1, 0, 0, 0)))
    parts += _caveats(report)
    return Group(*parts)


def print_checks(checks: Sequence[tuple[str, str, str, str]], console: Console | None = None) -> None:
    """Print what was looked at, one thing a line: its name, its state, what was found, and what to do about it below."""
    table = RichTable(box=None, show_header=False, pad_edge=False)
    for name, state, found, remedy in checks:
        cell = _text(found)
        if remedy:
            cell.append(f"\n-> {clean(remedy)}", "yellow")
        table.add_row(_text(name), _text(state, _STATE_STYLES.get(state, "")), cell)
    (console or Console()).print(table)


def clean(value: object) -> str:
    """Text without control characters, which a terminal would obey."""
    return "".join(
        " " if letter in "\n\t" else "�" if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter
        for letter in str(value)
    )


def _text(value: object, style: str = "") -> Text:
    """Text that rich does not read as markup."""
    return Text(clean(value), style=style)


def _chips(report: Report) -> Columns:
    """Remarks side by side, each kept on one line."""
    lines = []
    for chip in report.chips:
        line = Text("✓ " if chip.good else "! ", style="green" if chip.good else "yellow", no_wrap=True)
        lines.append(line.append(clean(chip.text), style="default"))
    return Columns(lines, padding=(0, 2, 0, 0))


def _plain_table() -> RichTable:
    return RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", highlight=False)


def _tiles(metrics: Sequence[Metric]) -> RichTable | None:
    if not metrics:
        return None
    table = _plain_table()
    table.show_header = False
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_column()
    for metric in metrics:
        tile = tile_of(metric)
        note = ", ".join(part for part in (tile.interval, tile.note) if part)
        table.add_row(_text(tile.label), _text(tile.amount, "bold"), _text(tile.unit), _text(note, "dim"))
    return table


def _rich_table(content: Readable) -> RichTable:
    table = _plain_table()
    for head in content.heads:
        title = f"{head.text} ({head.unit})" if head.unit else head.text
        table.add_column(_text(title), justify="right" if head.is_number else "left")
    for row in content.rows:
        table.add_row(*(_text(cell.whole) for cell in row))
    return table


def _breakdown(runs: Sequence[RunReport]) -> RichTable | None:
    """Shares of the step by class, a row per run."""
    leaves, shares = leaf_shares(runs)
    if not shares:
        return None
    table = _plain_table()
    table.add_column("step of")
    for head in leaves.values():
        table.add_column(_text(head), justify="right")
    for name, row in shares.items():
        table.add_row(_text(name), *(_text(f"{percent(row[leaf])} %" if leaf in row else "–") for leaf in leaves))
    return table


def _finding(finding: Finding) -> Text:
    line = Text()
    line.append(f"{finding.severity}  ", style=_SEVERITY_STYLES[finding.severity])
    line.append(clean(finding.title), style="bold")
    if finding.gain_share:
        kind = {"ceiling": "at most", "": ""}.get(finding.gain_kind, finding.gain_kind)
        line.append(f"  +{percent(finding.gain_share)} % {kind}".rstrip(), style="green")
    if finding.evidence:
        line.append(f"  ({clean(finding.evidence)})", style="dim")
    return line


def _caveats(report: Report) -> list[Text | Padding | Columns]:
    caveats = caveats_of(report)
    if not caveats:
        return []
    lines: list[Text | Padding | Columns] = [Padding(Text("What may be wrong", style="dim"), (1, 0, 0, 0))]
    lines += [_text(f"- {text}") for text, _ in caveats[:MOST_CAVEATS]]
    if len(caveats) > MOST_CAVEATS:
        lines.append(Text(f"  and {len(caveats) - MOST_CAVEATS} more in the report", style="dim"))
    return lines
