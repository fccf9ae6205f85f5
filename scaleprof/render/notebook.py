"""The report in a notebook: its page in a frame of its own, which can neither see nor change the notebook."""

from html import escape

from scaleprof.render.html import render_html
from scaleprof.results import Report

MOST_BYTES = 20_000_000
"""A notebook keeps what it shows: a larger page would make its file slow to open."""
HEIGHT_PX = 760


def render_notebook(report: Report) -> str:
    """HTML for the output of a cell."""
    page = render_html(report)
    size = len(page.encode())
    if size > MOST_BYTES:
        return _summary(report, size)
    return (
        f'<iframe title="ScaleProf: {escape(report.title)}" sandbox="allow-scripts allow-downloads" srcdoc="{escape(page)}" '
        f'style="width:100%;height:{HEIGHT_PX}px;border:1px solid rgba(128,128,128,0.4)"></iframe>'
    )


def _summary(report: Report, size: int) -> str:
    """What is said in place of a page that is too large."""
    said = f"<p><b>{escape(report.verdict or report.title)}</b></p>"
    return said + (
        f"<p>{len(report.runs)} run{'s' if len(report.runs) != 1 else ''}. The whole report takes {size / 1e6:,.0f} MB, more than the "
        f"{MOST_BYTES / 1e6:,.0f} MB that are shown in a notebook: <code>report.to_html()</code> gives it as text for a file.</p>"
    )
