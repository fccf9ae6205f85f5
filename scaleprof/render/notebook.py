"""The report in a notebook: its page in a frame of its own, which can neither see nor change the notebook."""

from html import escape

from scaleprof.render.html import render_html
from scaleprof.results import Report

HEIGHT_PX = 760


def render_notebook(report: Report) -> str:
    """HTML for the output of a cell. A notebook keeps what it shows: the page is within its budget, as every page is."""
    return (
        f'<iframe title="ScaleProf: {escape(report.title)}" sandbox="allow-scripts allow-downloads" srcdoc="{escape(render_html(report))}" '
        f'style="width:100%;height:{HEIGHT_PX}px;border:1px solid rgba(128,128,128,0.4)"></iframe>'
    )
