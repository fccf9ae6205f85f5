"""The blocks of code in `docs/`: what they are, running those that show a terminal, and writing what it printed.

`console` blocks run, line by line, in a folder of their page beside `sample_traces/`; `...` in them stands for lines that are left out. A block with
`title="FILE"` becomes that file first. `shell` blocks are for machines and files that are not here: only their words are checked.
`python -m tests.docs.blocks` (`make docs-output`) runs all of them and writes what they print into the pages.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PACKAGE = ROOT
"""Where the scaleprof lies whose commands run."""
WIDTH = 100
_FENCE = re.compile(r"^```(?P<kind>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    title: str
    start: int
    end: int
    """Where its text lies in its page."""


@dataclass(frozen=True)
class Shown:
    """One command of a terminal, and the lines that the page shows below it."""

    command: str
    lines: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """In the order of the page."""
    found = []
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        title = _TITLE.search(match["rest"])
        found.append(
            Block(match["kind"], match["text"], title[1] if title else "", match.start("text"), match.end("text"))
        )
    return found


def shown_in(block: Block) -> list[Shown]:
    """The commands of a `console` block, each after `$`, with what stands below it."""
    found = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        while lines[0].endswith("\\"):
            lines[:2] = [lines[0][:-1].rstrip() + " " + lines[1].strip()]
        found.append(Shown(lines[0], tuple(lines[1:])))
    return found


def commands_in(page: Path) -> Iterator[list[str]]:
    """The words of every `scaleprof ...` in the blocks for terminals."""
    for block in blocks_of(page):
        if block.kind not in ("console", "shell"):
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            line = line.removeprefix("$ ").strip()
            if line.startswith("scaleprof "):
                yield shlex.split(line, comments=True)[1:]


def unknown_in(block: Block) -> set[str]:
    """Commands of ScaleProf in a block that this version does not have."""
    from scaleprof.cli import commands

    named = re.findall(r"(?:^|[$|;&]) ?scaleprof ([a-z]+)", block.text, re.MULTILINE)
    return set(named) - set(commands.commands)


def options_in(page: Path) -> Iterator[tuple[str, str]]:
    """(command, option) of every `scaleprof COMMAND --option` in blocks and in the text."""
    for words in commands_in(page):
        own = words[: words.index("--")] if "--" in words else words
        for word in own[1:]:
            if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word):
                yield own[0], word.partition("=")[0]
    for span in re.findall(r"`scaleprof ([^`\n]+)`", page.read_text(encoding="utf-8")):
        words = span.split(" -- ")[0].split()
        for word in words[1:]:
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", word):
                yield words[0], option


def folder_of(page: Path, parent: Path) -> Path:
    """A folder in which the page's commands run: with `sample_traces/` and the files that the page shows."""
    folder = Path(tempfile.mkdtemp(prefix=page.stem, dir=parent))
    (folder / "sample_traces").symlink_to(ROOT / "sample_traces")
    for block in blocks_of(page):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return folder


def printed(command: str, folder: Path) -> tuple[str, ...]:
    """What a terminal shows of a command; AssertionError where it ends with another code than 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCALEPROF", "GITHUB"))}
    settings = kept | {
        "COLUMNS": str(WIDTH),
        "NO_COLOR": "1",
        "PYTHONPATH": str(PACKAGE),
        "SCALEPROF_ANALYZE_ENGINE": "serial",
        "SCALEPROF_CACHE": str(folder.parent / "cache"),
    }
    ours = shlex.quote(sys.executable)
    own = f'scaleprof() {{ {ours} -m scaleprof "$@"; }}; python() {{ {ours} "$@"; }}; '
    done = subprocess.run(
        ["bash", "-c", own + command],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    return tuple(line for line, before in zip(lines, ["", *lines], strict=False) if line or before)


def fits(shown: tuple[str, ...], lines: tuple[str, ...]) -> bool:
    """Whether these lines were printed; `...` stands for any number of them."""
    pattern = "".join(".*?" if line == "..." else re.escape(line) + "\n" for line in shown if line)
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines if line), re.DOTALL) is not None


def rewritten(shown: tuple[str, ...], lines: tuple[str, ...]) -> tuple[str, ...]:
    """As many lines before and after the `...` as stood there."""
    if "..." not in shown:
        return lines
    before = shown.index("...")
    after = len(shown) - before - 1
    return (*lines[:before], "...", *(lines[-after:] if after else ()))


def write_output(page: Path, folder: Path) -> None:
    """Put what the page's commands print now below them."""
    text = page.read_text(encoding="utf-8")
    news = []
    for block in blocks_of(page):
        if block.kind == "console" and not unknown_in(block):
            said = []
            for one in shown_in(block):
                lines = printed(one.command, folder)
                said += [_as_written(block.text, one.command), *rewritten(one.lines, lines)]
            news.append((block, "".join(line + "\n" for line in said)))
    for block, new in reversed(news):
        text = text[: block.start] + new + text[block.end :]
    page.write_text(text, encoding="utf-8")


def _as_written(text: str, command: str) -> str:
    """The command with the line breaks that it has in the page."""
    words = r"\s+(?:\\\n\s*)?".join(re.escape(word) for word in command.split())
    match = re.search(r"^\$ " + words, text, re.MULTILINE)
    return match[0] if match else f"$ {command}"


def main() -> None:
    """All pages anew."""
    with tempfile.TemporaryDirectory() as place:
        for page in PAGES:
            if any(block.kind == "console" for block in blocks_of(page)):
                write_output(page, folder_of(page, Path(place)))
        shutil.rmtree(Path(place) / "cache", ignore_errors=True)


if __name__ == "__main__":
    main()
