"""The report as Markdown that fits a comment on a pull request: verdict, numbers, scaling and where the step goes, what may be wrong.

Strings from traces are shown as they are: what Markdown, HTML or a mention (`@name`) would act on is escaped.
"""

import re
from collections.abc import Sequence

from scaleprof.render.page import banner_of, caveats_of, tile_of
from scaleprof.render.parts import findings_in_order, leaf_shares, scaling_of, tiles_of
from scaleprof.render.tables import Readable
from scaleprof.render.words import percent
from scaleprof.results import Finding, Metric, Report, RunReport

MOST_CHARACTERS = 60_000  # GitHub refuses comments from 65,536 on
MOST_ROWS = 40
MOST_FINDINGS = 5
MOST_CAVEATS = 20
MOST_TEXT = 400


def render_markdown(report: Report) -> str:
    """The summary as text."""
    blocks = [f"### {escaped(report.verdict or report.title)}"]
    blocks += [f"> {escaped(banner)}" for banner in dict.fromkeys(banner_of(run.info) for run in report.runs) if banner]
    if report.chips:
        blocks.append(" · ".join(f"{'✓' if chip.good else '⚠'} {escaped(chip.text)}" for chip in report.chips))
    tiles, scaling = tiles_of(report), scaling_of(report, most=MOST_ROWS)
    blocks += [_metrics(tiles)] if tiles else []
    blocks += ["**Scaling**", _readable(scaling)] if scaling else []
    blocks += _breakdown(report.runs[:MOST_ROWS])
    blocks += _findings(report)
    blocks += _caveats(report)
    made = report.made_with
    if made.get("command"):
        blocks.append(f"<sub>scaleprof {escaped(made.get('version', ''))}: {escaped(made['command'])}</sub>")
    text = "\n\n".join(blocks) + "\n"
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…\n"


def escaped(value: object) -> str:
    """Text of one line that Markdown and HTML leave as it is."""
    line = " ".join(str(value).split())
    line = line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)
    # A zero-width space: neither a mention nor an address made a link of its own.
    line = re.sub(r"(?<![\w.])@(?=\w)", "@\u200b", line)
    line = line.replace("://", ":\u200b//")
    return "".join(letter for letter in line if letter.isprintable() or letter == "\u200b")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    lines = [heads, ["---:" if number else "---" for number in numbers], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = []
    for tile in (tile_of(metric) for metric in metrics):
        note = ", ".join(part for part in (tile.interval, tile.note) if part)
        rows.append([escaped(tile.label), f"**{escaped(f'{tile.amount} {tile.unit}'.strip())}**", escaped(note)])
    return _table(("", "Value", ""), rows, (False, True, False))


def _readable(content: Readable) -> str:
    heads = [escaped(f"{head.text} ({head.unit})" if head.unit else head.text) for head in content.heads]
    rows = [[escaped(cell.whole) for cell in row] for row in content.rows]
    return _table(heads, rows, [head.is_number for head in content.heads])


def _breakdown(runs: Sequence[RunReport]) -> list[str]:
    """Shares of the step by class, a row per run."""
    leaves, shares = leaf_shares(runs)
    if not shares:
        return []
    rows = [
        [escaped(run), *(f"{percent(row[leaf])} %" if leaf in row else "–" for leaf in leaves)]
        for run, row in shares.items()
    ]
    heads = ["Run", *(escaped(head[:1].upper() + head[1:]) for head in leaves.values())]
    return ["**Where the step goes**", _table(heads, rows, [False, *(True for _ in leaves)])]


def _findings(report: Report) -> list[str]:
    found = findings_in_order(report)[:MOST_FINDINGS]
    return ["**What to do**\n\n" + "\n".join(_finding(finding) for finding in found)] if found else []


def _finding(finding: Finding) -> str:
    kind = {"ceiling": "at most ", "": ""}.get(finding.gain_kind, f"{finding.gain_kind} ")
    gain = f" ({kind}+{percent(finding.gain_share)} %)" if finding.gain_share else ""
    evidence = f" *{escaped(finding.evidence)}*" if finding.evidence else ""
    return f"1. **{escaped(finding.title)}**{gain} {escaped(finding.text)}{evidence}"


def _caveats(report: Report) -> list[str]:
    caveats = caveats_of(report)
    if not caveats:
        return []
    lines = [f"- {escaped(text)}" for text, _ in caveats[:MOST_CAVEATS]]
    if len(caveats) > MOST_CAVEATS:
        lines.append(f"- and {len(caveats) - MOST_CAVEATS} more in the report")
    return [f"<details><summary>What may be wrong ({len(caveats)})</summary>\n\n" + "\n".join(lines) + "\n\n</details>"]
