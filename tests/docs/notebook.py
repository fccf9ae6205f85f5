"""Runs `docs/notebook.ipynb` and turns it into a page of the site. Wants what the extra `docs` installs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.blocks import DOCS, ROOT

NOTEBOOK = DOCS / "notebook.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
LONGEST_S = 120
LARGE = 50_000
"""An HTML output with more characters becomes a file of its own."""


def executed(path: Path = NOTEBOOK) -> Any:
    """The notebook with its outputs, run where `sample_traces/` is. Raises what a cell raises."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=LONGEST_S, resources={"metadata": {"path": str(ROOT)}}).execute()
    return notebook


def page_of(notebook: Any) -> tuple[str, dict[str, str]]:
    """Markdown, and the files that it shows in frames: reports, and figures that load plotly from beside them."""
    files: dict[str, str] = {}
    parts = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for place, data in enumerate(_shown(cell)):
            parts.append(_output(data, f"notebook/output-{number}-{place}.html", files))
    return "\n\n".join(parts) + "\n", files


def _shown(cell: Any) -> Iterator[dict[str, Any]]:
    for output in cell.outputs:
        yield {"text/plain": output.text} if output.output_type == "stream" else dict(output.data)


def _output(data: dict[str, Any], name: str, files: dict[str, str]) -> str:
    """One output: a figure, HTML, or text."""
    if PLOTLY in data:
        from plotly.graph_objects import Figure

        figure = Figure(data[PLOTLY]["data"], data[PLOTLY]["layout"])
        files[name] = figure.to_html(include_plotlyjs="plotly.min.js", config={"displayModeBar": False})
        return _frame(name, 480)
    if "text/html" in data:
        if len(data["text/html"]) < LARGE:
            return f"<div>{''.join(line.strip() for line in data['text/html'].splitlines())}</div>"
        files[name] = f'<!doctype html><meta charset="utf-8">{data["text/html"]}'
        return _frame(name, 560)
    return f"```text\n{data.get('text/plain', '').rstrip()}\n```"


def _frame(name: str, height: int) -> str:
    return f'<iframe src="{name}" title="output" loading="lazy" style="width: 100%; height: {height}px; border: 0"></iframe>'
