"""Tables of measurements: what columns are known by, units, and files that are no such tables, each refused with its line."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from scaleprof.errors import BrokenFile, InputError, OptionError
from scaleprof.readers.tables.measurements import Measurement, read_measurements


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(folder: Path, text: str, *columns: tuple[str, str]) -> tuple[Measurement, ...]:
    return read_measurements(written(folder, text), columns).rows


def test_sensible_names_are_known(tmp_path: Path) -> None:
    text = "model,GPUs,images_per_second,nodes,batch_size\nvgg,1,154,1,64\nvgg,8,1081.5,2,512\n"
    first, second = rows(tmp_path, text)
    assert (first.line, first.series, first.ranks, first.throughput, first.nodes) == (2, "vgg", 1, 154.0, 1)
    assert (second.global_batch, second.local_batch, second.step_s, second.parts_s) == (512.0, None, None, {})


@pytest.mark.parametrize(
    ("name", "columns", "seconds"),
    [
        ("step_ms", (), 0.25),
        ("step_time_us", (), 0.00025),
        ("iter_s", (), 250.0),
        ("time", (), 250.0),
        ("t", (("step_ms", "t"),), 0.25),
        ("t", (("step_us", "t"),), 0.00025),
        ("t_ms", (("step", "t_ms"),), 0.25),
    ],
)
def test_the_unit_of_a_step_is_that_of_its_name(
    tmp_path: Path, name: str, columns: Sequence[tuple[str, str]], seconds: float
) -> None:
    found = read_measurements(written(tmp_path, f"ranks,{name}\n1,250\n"), columns)
    assert found.rows[0].step_s == pytest.approx(seconds)
    assert bool(found.caveats) == (name == "time"), "only where nothing says so it is assumed"


def test_columns_can_be_named(tmp_path: Path) -> None:
    text = "N,x,model,gpu,sync_ms,t_ms\n2,10,a,b,3,5\n"
    [row] = rows(tmp_path, text, ("ranks", "N"), ("throughput", "x"), ("series", "model+gpu"))
    assert (row.ranks, row.throughput, row.series, row.step_s) == (2, 10.0, "a b", None)
    assert row.parts_s == pytest.approx({"untold": 0.003})


def test_other_delimiters_remarks_a_mark_of_byte_order_and_empty_lines(tmp_path: Path) -> None:
    text = "\ufeff# measured by hand\nranks;step_ms\n\n1;100\n 2 ; 51.5 \n# the end\n"
    first, second = rows(tmp_path, text)
    assert [(row.line, row.ranks) for row in (first, second)] == [(4, 1), (5, 2)]
    assert (first.step_s, second.step_s) == pytest.approx((0.1, 0.0515))
    assert rows(tmp_path, "ranks\tx\n4\t1e3\n")[0].throughput == 1000.0


HEAD = "ranks,x\n1,10\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing\n\n", "is empty"),
        ("ranks,x\n", "names of columns and no measurement"),
        ("a,b\n1,2\n", "line 1: no column of ranks and none of throughput or step time among a, b"),
        ("ranks,b\n1,2\n", "line 1: no column of throughput or step time among ranks, b; name it: --columns"),
        (HEAD + "2,fast\n", "line 3: 'fast' is no number for the column x; correct it"),
        (HEAD + "2,\n", "line 3: an empty cell is no number for the column x"),
        (HEAD + "2,0\n", "line 3: 0 in the column x must be a number above 0"),
        (HEAD + "2,-4\n", "line 3: -4 in the column x must be a number above 0"),
        (HEAD + "2,nan\n", "line 3: nan in the column x must be a number above 0"),
        (HEAD + "2,inf\n", "line 3: inf in the column x must be a number above 0"),
        (HEAD + "0,4\n", "line 3: 0 in the column ranks must be a whole number from 1 on"),
        (HEAD + "2.5,4\n", "line 3: 2.5 in the column ranks must be a whole number from 1 on"),
        (HEAD + "2,4,5\n", "line 3: has 3 cells where the first line names 2 columns"),
        (HEAD + '2,"4\n', "line 3: .*; write the table as plain CSV"),
        ("ranks,x,x\n1,2,3\n", "line 1: names the column 'x' more than once"),
        ("ranks,x,wait_ms\n1,2,-1\n", "line 2: -1 in the column wait_ms must be a number from 0 on"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BrokenFile, match=said) as refused:
        rows(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "table.csv"))
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_utf_8_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match=r"line 3: byte 16 is no UTF-8; save the table as UTF-8 text"):
        read_measurements(written(tmp_path, b"ranks,x\n1,10\n2,\xb5s\n"))
    with pytest.raises(InputError, match="there is no such file"):
        read_measurements(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="there is no such file"):
        read_measurements(tmp_path)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (("rank", "ranks"), "--columns knows no 'rank'; it knows: ranks, throughput"),
        (("throughput", "y"), "has no column 'y'; it has: ranks, x"),
        (("series", "x+y"), "has no column 'y'"),
    ],
)
def test_a_column_that_there_is_not_is_a_wrong_option(tmp_path: Path, column: tuple[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        rows(tmp_path, HEAD, column)


def test_names_that_a_terminal_would_obey_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile) as refused:
        rows(tmp_path, "a\x1b[2J,b\n1,2\n")
    assert "\x1b" not in str(refused.value)
