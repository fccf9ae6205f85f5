"""What became of demands, for those who read it in CI: JUnit's XML, Markdown, annotations of GitHub, plain data.

Texts may hold names from traces. XML is built by the standard library, which escapes what is markup but not what no XML may hold: such letters are
replaced first. Markdown is escaped as the report's is, and what GitHub reads in a command (`%`, ends of lines, and `:` and `,` in its properties)
is written as it wants it.
"""

import json
import re
from collections.abc import Sequence
from typing import Literal
from xml.etree import ElementTree

from scaleprof.render.markdown import escaped
from scaleprof.results import Outcome, plain

Doubt = Literal["fail", "pass"]
"""What an inconclusive answer counts as."""
MOST_SUMMARY_BYTES = 900_000
"""GitHub refuses summaries of a step above 1 MiB."""
MOST_ANNOTATIONS = 10
"""Of each kind: GitHub shows no more of a step."""
MOST_REMARKS = 20
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {"holds": "✅", "fails": "❌", "inconclusive": "❔", "unusable": "⚠️"}


def junit(title: str, outcomes: Sequence[Outcome], doubt: Doubt) -> str:
    """One test case for each demand: a failure, an error where the data cannot answer, skipped where the answer is in doubt and that passes."""
    kinds = [_kind(one, doubt) for one in outcomes]
    counts = {
        "tests": len(outcomes),
        "failures": kinds.count("failure"),
        "errors": kinds.count("error"),
        "skipped": kinds.count("skipped"),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "scaleprof check", **numbers, "time": "0"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(title), **numbers, "time": "0"})
    for one, kind in zip(outcomes, kinds, strict=True):
        names = {"name": _xml(one.id), "classname": _xml(f"scaleprof.{one.subject}"), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", names)
        text = _xml(one.text)
        if kind == "skipped":
            ElementTree.SubElement(case, kind, {"message": f"inconclusive: {text}"})
        elif kind:
            ElementTree.SubElement(case, kind, {"message": text, "type": one.answer}).text = text
        else:
            ElementTree.SubElement(case, "system-out").text = text
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def markdown(verdict: str, outcomes: Sequence[Outcome], remarks: Sequence[str]) -> str:
    """A table of the demands, below what GitHub takes as the summary of a step."""
    lines = [f"### ScaleProf: {escaped(verdict)}", "", "| | Demand | Of | Found |", "|---|---|---|---|"]
    for one in outcomes:
        cells = (f"{_MARKS[one.answer]} {one.answer}", escaped(one.id), escaped(one.subject), escaped(one.text))
        lines.append(f"| {' | '.join(cells)} |")
    if remarks:
        lines += ["", f"<details><summary>What may be wrong ({len(remarks)})</summary>", ""]
        lines += [f"- {escaped(remark)}" for remark in remarks[:MOST_REMARKS]]
        left = len(remarks) - MOST_REMARKS
        lines += [*([f"- and {left:,} more"] if left > 0 else []), "", "</details>"]
    return _within("\n".join(lines) + "\n", MOST_SUMMARY_BYTES)


def annotations(outcomes: Sequence[Outcome], doubt: Doubt) -> list[str]:
    """GitHub's commands that mark a run of a workflow: errors, and warnings for what is in doubt and passes."""
    errors, warnings = [], []
    for one in outcomes:
        title = _property(f"scaleprof: {one.id}")
        if one.answer in ("fails", "unusable") or (one.answer == "inconclusive" and doubt == "fail"):
            errors.append(f"::error title={title}::{_message(f'{one.subject}: {one.answer}. {one.text}')}")
        elif one.answer == "inconclusive":
            warnings.append(f"::warning title={title}::{_message(f'{one.subject}: {one.answer}. {one.text}')}")
    return [*errors[:MOST_ANNOTATIONS], *warnings[:MOST_ANNOTATIONS]]


def as_json(verdict: str, answer: str, outcomes: Sequence[Outcome], remarks: Sequence[str]) -> str:
    """The same as data: `{format, schema_version, verdict, answer, outcomes, remarks}`."""
    rows = [
        {
            "demand": one.id, "of": one.subject, "answer": one.answer, "text": one.text,
            "value": one.value, "low": one.low, "high": one.high, "limit": one.limit,
        }
        for one in outcomes
    ]  # fmt: skip
    content = {"format": "scaleprof-check", "schema_version": 1, "verdict": verdict, "answer": answer}
    return json.dumps(plain({**content, "outcomes": rows, "remarks": list(remarks)}), indent=1, allow_nan=False) + "\n"


def _kind(one: Outcome, doubt: Doubt) -> str:
    in_doubt = "failure" if doubt == "fail" else "skipped"
    return {"holds": "", "fails": "failure", "unusable": "error", "inconclusive": in_doubt}[one.answer]


def _xml(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _within(text: str, most: int) -> str:
    if len(text.encode("utf-8", "replace")) <= most:
        return text
    kept = text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
    return kept.rpartition("\n")[0] + "\n\nand more, left out for want of room\n"
