"""`scaleprof predict`, from a file to every form of the report, and what is said to someone whose table is none."""

import json
from pathlib import Path

import pytest

from scaleprof.cli import main
from scaleprof.results import Report
from scaleprof.tables import predict

TABLE = "model,gpus,images_per_second\n" + "".join(f"vgg16,{n},{x}\n" for n, x in ((1, 154), (2, 295), (4, 584), (8, 1081)))  # fmt: skip


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    (tmp_path / "vgg.csv").write_text(TABLE)
    return "vgg.csv"


def test_every_form_of_the_report_is_written(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", table, "-o", "out/p.html", "--json", "p.json", "--markdown", "p.md"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "out/p.html"
    assert "vgg16 keeps 87.7 % efficiency at 8 ranks" in " ".join(said.split())
    page = Path("out/p.html").read_text()
    assert "Efficiency expected (vgg16)" in page
    assert "| Efficiency (vgg16) | **87.7 %** |" in Path("p.md").read_text()
    report = Report.load("p.json")
    assert (report.title, report.runs, [one.name for one in report.comparison]) == ("vgg", (), ["overview", "scaling"])
    law = report.metric("scaling.vgg16.law")
    assert law is not None
    assert law.value == "Amdahl"
    assert report.tables["prediction"]["ranks"].tolist() == [16, 32, 64, 128]
    assert json.loads(Path("p.json").read_text())["made_with"]["command"].startswith("scaleprof")


def test_without_an_output_the_report_has_the_name_of_the_table(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", table, "-q", "--target", "0.9"]) == 0
    assert capsys.readouterr().out == "reports/vgg.html\n"
    assert "below the target of 90.0 %" in Path("reports/vgg.html").read_text().replace("\u00a0", " ").replace(
        "\u202f", " "
    )


def test_columns_and_kind_are_taken_from_the_command_line(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(table).write_text("N,t\n1,100\n2,52\n4,28\n8,16\n")
    words = ["predict", table, "-q", "--json", "p.json", "--columns", "ranks=N,step_ms=t"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("scaleprof: vgg.csv: line 2: a step time says nothing of throughput")
    assert main([*words, "--kind", "strong"]) == 0
    efficiency = Report.load("p.json").metric("scaling.vgg.efficiency")
    assert efficiency is not None
    assert efficiency.value == pytest.approx(100 / 16 / 8)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--columns", "ranks"], 2, "is not of the form ROLE=NAME"),
        (["--columns", "ranks=N"], 2, "has no column 'N'"),
        (["--columns", "size=gpus"], 2, "--columns knows no 'size'"),
        (["--kind", "odd"], 2, "'odd' is not one of"),
        (["--target", "2"], 2, "scaling.target must lie in 0..1"),
        ([], 0, ""),
    ],
)
def test_wrong_options_end_with_2(
    table: str, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", table, "-q", "--json", "p.json", *words]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"ranks,x\n2,\xff\n", b"ranks,x\n2,a\n", b"ranks,x\n2,5\n", b"a,b\n1,2\n", b"ranks,x\n1,nan\n"]
)
def test_a_table_that_is_none_is_one_sentence(table: str, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path(table).write_bytes(content)
    assert main(["predict", table]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("scaleprof: vgg.csv: ")
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_analyses_of_a_table_load_no_library_for_pictures(table: str) -> None:
    report = predict(Path(table))
    assert report.chips[0].text == "4 measurements"
    assert report.comparison[1].tables["held_out"]["law"][0] == "Amdahl"


@pytest.mark.parametrize("model", ["bert", "cifar10", "ncf"])
def test_measurements_of_others_are_read_as_they_are(foreign_traces: Path, model: str) -> None:
    path = foreign_traces.parent / "scaling" / "adaptdl" / model / "scalability.csv"
    if not path.is_file():
        pytest.skip("no scaling measurements beside the traces")
    report = predict(path, columns=(("series", "num_nodes+local_bsz"),))
    section = report.comparison[1]
    assert set(section.tables["scaling"]["kind"]) == {"weak"}
    assert "by class" in section.tables["prediction"]["law"]
    assert any("taken to be in seconds" in caveat for caveat in report.caveats)
