"""The report as one HTML file that needs nothing else and may ask for nothing: no request leaves the page.

The file forbids by a policy of hashes everything but its own three scripts. Texts come first; plotly and the figures lie in the file compressed, are
inflated after the first paint, and every chart is drawn when it comes into view. What is not shown at first is not even a part of the document until
it is. Without scripts all texts, numbers and tables are there.
"""

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from scaleprof.render import page, remarks
from scaleprof.render.budget import BUDGET_BYTES, MOST_BYTES, Summary, shortest, summaries
from scaleprof.render.charts import plotly_script, plotly_version
from scaleprof.render.glossary import TERMS, term_in
from scaleprof.render.library import library_for_pages
from scaleprof.render.palette import DARK, LEAF_NAMES, LIGHT, NOT_TOLD_APART, PARTS, SERIES, SWAP
from scaleprof.render.parts import with_variants
from scaleprof.render.shipped import PageData
from scaleprof.render.tables import readable
from scaleprof.render.words import together
from scaleprof.results import Report

SCRIPTS = (
    "shared.js",
    "loading.js",
    "timeline_parts.js",
    "timeline.js",
    "heatmap.js",
    "fitting.js",
    "whatif.js",
    "selection.js",
    "page.js",
)
"""Files of the page's script, in order: the last one starts it."""
_EARLY_SCRIPT = """(function () {
  var theme = null;
  try { theme = localStorage.getItem("scaleprof-theme"); } catch (blocked) { theme = null; }
  if (theme !== "light" && theme !== "dark") theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
  document.documentElement.classList.add("js");
  window.PlotlyConfig = { MathJaxConfig: "local" };
})();"""


def render_html(report: Report, *, budget_bytes: int = BUDGET_BYTES) -> str:
    """The page as text, UTF-8, within the budget where a summary can be, and always within `budget.MOST_BYTES`."""
    content = ""
    for summary in summaries(report, budget_bytes=budget_bytes):
        content = _rendered(summary)
        if _bytes_of(content) <= budget_bytes:
            return content
    return content if _bytes_of(content) <= MOST_BYTES else _rendered(shortest(report))


def _bytes_of(content: str) -> int:
    return len(content.encode())


def _rendered(summary: Summary) -> str:
    report = summary.report
    data = PageData(most_rows=summary.most_rows, series=tuple(one.label for one in report.series))
    comparison = page.sections_of(report.comparison, data)
    runs = page.runs_of(report, data)
    grouping = readable(report.grouping, most=500)
    overview = comparison[0] if comparison and comparison[0].name == "overview" else None
    selected = page.selected_run(report)
    shown = page.shown_first(comparison, runs[selected] if runs else None)
    script = "".join(_package_file(name) for name in SCRIPTS)
    content = (
        _environment()
        .from_string(_package_file("page.html"))
        .render(
            report=report,
            heading=together(report.verdict or report.title),
            heading_of={one.run: one.section.headline for one in overview.variants} if overview else {},
            overview=overview,
            comparison=comparison[1:] if overview else comparison,
            runs=runs,
            selected=selected,
            banners=page.banners_of([run.info for run in report.runs]),
            series=report.series,
            findings=remarks.findings_of(report, [run.label for run in runs]),
            caveats=remarks.caveats_of(report),
            methods=remarks.methods_of(report),
            measured=page.measured_table(report),
            grouping=grouping,
            left_out=summary.sentence,
            terms=TERMS,
            term_in=term_in,
            leaves=_leaves_in(report),
            plotly_version=plotly_version(),
            policy=_policy(_EARLY_SCRIPT, script, library_for_pages(plotly_script())),
            # What follows is our own text and base64, nothing from a trace.
            style=Markup(_package_file("page.css") + _colors()),
            early_script=Markup(_EARLY_SCRIPT),
            script=Markup(script),
            plotly_island=Markup(_plotly_island()),
            figures_island=Markup(_json_island({"swap": SWAP, "figures": data.opening(shown)})),
            data_island=Markup(_json_island(data.rest(shown))),
        )
    )
    # A lone surrogate, which JSON can smuggle into a name, has no UTF-8.
    return content.encode("utf-8", "replace").decode("utf-8")


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _package_file(name: str) -> str:
    return files("scaleprof.render").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly_island() -> str:
    return _island(library_for_pages(plotly_script()))


def _json_island(content: dict[str, Any]) -> str:
    return _island(json.dumps(content, allow_nan=False, separators=(",", ":")))


def _island(text: str) -> str:
    """Text compressed and in base64, in which no end of a script can occur; the same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _policy(*scripts: str) -> str:
    """The content-security policy: these scripts, inline styles (plotly sets them) and images made in the page."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )


def _colors() -> str:
    """The palette as style-sheet variables, each light and dark."""
    names = [*LEAF_NAMES, *SERIES, "muted"]
    declarations = "".join(f"--{name.replace('_', '-')}:light-dark({LIGHT[name]},{DARK[name]});" for name in names)
    return f":root{{{declarations}}}\n"


def _leaves_in(report: Report) -> list[tuple[str, str]]:
    """Style variable and name of the classes of time that some chart of the report draws."""
    used = set()
    for result in with_variants(report):
        for chart in result.charts:
            for layer in chart.layers:
                used |= {layer.color} if any(layer.y) else set()
                used |= {text for text, value in zip(layer.text or (), layer.y, strict=False) if value}
    names = LEAF_NAMES | ({"exposed_comm": NOT_TOLD_APART} if used & set(PARTS) else {})
    return [(leaf.replace("_", "-"), name) for leaf, name in names.items() if leaf in used]
