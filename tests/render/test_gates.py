"""Answers of a check as CI reads them: valid XML whatever names hold, tables that stay tables, commands that stay commands."""

import json
from xml.etree import ElementTree

from scaleprof.render.gates import (
    MOST_ANNOTATIONS,
    MOST_REMARKS,
    MOST_SUMMARY_BYTES,
    annotations,
    as_json,
    junit,
    markdown,
)
from scaleprof.results import Outcome

HOLDS = Outcome("step.time_ms <= 120 ms", "job (2 ranks)", "holds", "Step time is 100 ms", 100.0, 99.0, 101.0, 120.0)
FAILS = Outcome("a >= 80.0 %", "study", "fails", "Efficiency is 70.0 %", 0.7, 0.69, 0.71, 0.8)
DOUBT = Outcome("b <= 5.0 %", "pair", "inconclusive", "2 % to 7 %", 0.04, 0.02, 0.07, 0.05)
ABSENT = Outcome("c <= 1", "study", "unusable", "no run has the number c")
ALL = (HOLDS, FAILS, DOUBT, ABSENT)
EVIL = Outcome(
    '<a href="x">&\x00\x1b[31m\ud800', "]]> | `x` \n::error::boo", "fails", "50% of\r\n::warning::it, a:b \x0b"
)


def test_every_answer_has_its_place_in_the_xml() -> None:
    root = ElementTree.fromstring(junit("study", ALL, "pass"))
    [suite] = root
    assert root.attrib | suite.attrib == {
        "name": "study",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "0",
    }
    found = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert found == {HOLDS.id: ["system-out"], FAILS.id: ["failure"], DOUBT.id: ["skipped"], ABSENT.id: ["error"]}
    assert [case.attrib["classname"] for case in suite][1] == "scaleprof.study"


def test_doubt_that_fails_is_a_failure() -> None:
    root = ElementTree.fromstring(junit("study", ALL, "fail"))
    assert (root.attrib["failures"], root.attrib["skipped"]) == ("2", "0")


def test_hostile_names_break_neither_xml_nor_table_nor_command() -> None:
    text = junit("\x01evil", [EVIL], "pass")
    [case] = ElementTree.fromstring(text)[0]
    assert case.attrib["name"] == '<a href="x">&\ufffd\ufffd[31m\ufffd'
    text.encode()
    lines = [line for line in markdown("evil\n# verdict", [EVIL], ["<script>"]).splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)
    assert "<script>" not in markdown("", [EVIL], ["<script>"])
    [line] = annotations([EVIL], "pass")
    assert line.startswith("::error title=scaleprof%3A <a href=")
    assert "\n" not in line
    assert line.count("::") >= 2
    assert "50%25 of%0D%0A" in line


def test_annotations_are_errors_and_warnings_and_not_too_many() -> None:
    assert [line.split(" ")[0] for line in annotations(ALL, "pass")] == ["::error", "::error", "::warning"]
    assert [line.split(" ")[0] for line in annotations(ALL, "fail")] == ["::error"] * 3
    assert annotations([HOLDS], "pass") == []
    assert len(annotations([FAILS] * 50, "pass")) == MOST_ANNOTATIONS


def test_a_summary_stays_below_what_github_takes() -> None:
    text = markdown("v", [FAILS] * 20_000, [])
    assert len(text.encode()) <= MOST_SUMMARY_BYTES + 100
    assert text.endswith("left out for want of room\n")


def test_the_data_are_all_there() -> None:
    content = json.loads(as_json("verdict", "fails", ALL, ["remark"]))
    assert (content["format"], content["answer"], content["remarks"]) == ("scaleprof-check", "fails", ["remark"])
    assert content["outcomes"][0] == {
        "demand": HOLDS.id, "of": HOLDS.subject, "answer": "holds", "text": HOLDS.text, "value": 100.0, "low": 99.0, "high": 101.0, "limit": 120.0,
    }  # fmt: skip


def test_remarks_beyond_what_is_read_are_counted() -> None:
    def remarks(count: int) -> list[str]:
        return [line for line in markdown("v", [HOLDS], ["a remark"] * count).splitlines() if line.startswith("- ")]

    assert remarks(MOST_REMARKS) == ["- a remark"] * MOST_REMARKS
    assert remarks(MOST_REMARKS + 3) == [*["- a remark"] * MOST_REMARKS, "- and 3 more"]
    assert "details" not in markdown("v", [HOLDS], [])


def test_the_version_of_the_data_is_said() -> None:
    content = json.loads(as_json("v", "holds", [HOLDS], []))
    assert (content["format"], content["schema_version"]) == ("scaleprof-check", 1)


def test_what_is_cut_ends_with_a_whole_line() -> None:
    long = Outcome("x", "y", "holds", "z" * 1000)
    text = markdown("v", [long] * 5000, [])
    *rows, blank, last = text.splitlines()
    assert (blank, last) == ("", "and more, left out for want of room")
    assert {len(row) for row in rows[4:]} == {len(rows[4])}
    assert len(rows[4]) > 100
