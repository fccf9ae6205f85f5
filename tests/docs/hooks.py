"""What `make docs` adds to the pages: the notebook, run, with its figures and the plotly that draws them; and every public name of the pipeline."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))


REST = "<!-- the rest of scaleprof.pipeline -->"


def on_files(files: Any, config: Any) -> Any:
    """The page of the notebook, and the files that it shows."""
    from mkdocs.structure.files import File
    from plotly.offline import get_plotlyjs

    from tests.docs.notebook import executed, page_of

    page, shown = page_of(executed())
    for name, content in {"notebook.md": page, "notebook/plotly.min.js": get_plotlyjs(), **shown}.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The reference of every name that the pipeline has and that no page names yet."""
    from scaleprof.pipeline import __all__ as names

    named = set(re.findall(r"^::: [\w.]*?(\w+)$", markdown, re.MULTILINE))
    rest = [name for name in names if name not in named]
    return markdown.replace(REST, "\n\n".join(f"::: scaleprof.pipeline.{name}" for name in rest))
