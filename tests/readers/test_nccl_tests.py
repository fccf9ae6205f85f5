"""Logs of nccl-tests in the layouts of its versions, several in one file, with the prefixes of launchers, and what is no such log."""

from pathlib import Path

import pytest

from scaleprof.errors import InputError, NothingToRead
from scaleprof.readers.tables import nccl_tests
from scaleprof.readers.tables.nccl_tests import read_link_reference

NEW_HEAD = """\
# nccl-tests version 2.17.6 nccl-headers=22807 nccl-library=22807
# Collective test starting: {program}
# nThread 1 nGpus {ranks} minBytes 8388608 maxBytes 33554432 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
{devices}
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""
NEW_TAIL = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 118.2\n#\n# Collective test concluded: {program}\n"
ALL_REDUCE = """\
     8388608       2097152     float     sum      -1    133.5   62.84  109.97       0    134.1   62.55  109.47       0
    16777216       4194304     float     sum      -1    276.6   60.65  106.15       0    270.0   62.14  108.74     N/A
    33554432       8388608     float     sum      -1    424.0   79.14  138.49       0    425.1   78.93  138.13       0
"""
ALL_GATHER = """\
     8388608        262144     float    none      -1    70.00  119.84  104.86       0    71.00  118.15  103.38       0
    33554432       1048576     float    none      -1    210.0  159.78  139.81       0    212.0  158.28  138.49       0
"""


def devices(ranks: int) -> str:
    return "\n".join(
        f"#  Rank {rank:2d} Group  0 Pid  22312 on     node-1 device  {rank} [0000:1b:00] NVIDIA H100"
        for rank in range(ranks)
    )


def new_log(program: str, rows: str, ranks: int = 8) -> str:
    return (
        NEW_HEAD.format(program=program, ranks=ranks, devices=devices(ranks)) + rows + NEW_TAIL.format(program=program)
    )


def read(tmp_path: Path, text: str, name: str = "reference.log") -> list[tuple[str, int, int, float]]:
    """Operation, ranks, size and time of each row."""
    (tmp_path / name).write_text(text)
    table = read_link_reference(tmp_path / name)
    return [(op, int(ranks), int(size), float(time)) for _, op, ranks, size, time, _ in table.rows()]


def test_a_log_of_today(tmp_path: Path) -> None:
    assert read(tmp_path, new_log("all_reduce_perf", ALL_REDUCE)) == [
        ("all_reduce", 8, 8388608, 133.5),
        ("all_reduce", 8, 16777216, 270.0),  # in place was faster
        ("all_reduce", 8, 33554432, 424.0),
    ]


def test_several_tests_in_one_file(tmp_path: Path) -> None:
    text = new_log("all_reduce_perf", ALL_REDUCE) + "\n\n" + new_log("all_gather_perf", ALL_GATHER, ranks=8)
    rows = read(tmp_path, text)
    assert [(op, ranks) for op, ranks, *_ in rows] == [("all_reduce", 8)] * 3 + [("all_gather", 8)] * 2
    assert rows[3][2:] == (8388608, 70.0)


OLD = """\
$ ./build/{program} -b 8M -e 32M -f 2 -g 2
# nThread 1 nGpus 2 minBytes 8388608 maxBytes 33554432 step: 2(factor) warmup iters: 5 iters: 20 validation: 1
#
# Using devices
#   Rank  0 Pid  14840 on node device  0 [0x01] GeForce RTX 2080 Ti
#   Rank  1 Pid  14840 on node device  1 [0x02] GeForce RTX 2080 Ti
#
#                                             out-of-place                       in-place
#       size         count    type   redop     time   algbw   busbw  error     time   algbw   busbw  error
#        (B)    (elements)                     (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
"""


def test_an_old_log_without_roots_and_with_empty_reductions(tmp_path: Path) -> None:
    """Of its all-gather the algorithm bandwidth is the bus bandwidth: only sizes and times are used."""
    rows = (
        "     8388608       1048576   float            212.5   19.73   19.73  0e+00    213.0   19.69   19.69  0e+00\n"
    )
    more = (
        "     8388608       2097152   float     sum    430.0   19.51   19.51  0e+00    431.0   19.46   19.46  0e+00\n"
    )
    text = OLD.format(program="all_gather_perf") + rows + OLD.format(program="all_reduce_perf") + more
    assert read(tmp_path, text) == [("all_gather", 2, 8388608, 212.5), ("all_reduce", 2, 8388608, 430.0)]


def test_the_same_program_twice_is_two_tests(tmp_path: Path) -> None:
    row = "     8388608       2097152   float     sum    430.0   19.51   19.51  0e+00    431.0   19.46   19.46  0e+00\n"
    text = (OLD.format(program="all_reduce_perf") + row) * 2
    (tmp_path / "log").write_text(text)
    assert read_link_reference(tmp_path / "log")["test"].tolist() == [0, 1]


@pytest.mark.parametrize("prefix", ["[1,0]<stdout>:", "0: ", " 0: "])
def test_prefixes_of_launchers(tmp_path: Path, prefix: str) -> None:
    text = "".join(prefix + line for line in new_log("alltoall_perf", ALL_GATHER).splitlines(keepends=True))
    assert {(op, ranks) for op, ranks, *_ in read(tmp_path, text)} == {("all_to_all", 8)}


def test_columns_of_statistics_and_times_of_day_behind(tmp_path: Path) -> None:
    row = (
        "  8388608  2097152  float  sum  -1  133.5  62.84  109.97  0  130.1  140.2  139.9  2.10  134.1  62.55  109.47  0  "
        "131.0  141.0  140.0  2.20  2026-05-05 10:00:00\n"
    )
    assert read(tmp_path, new_log("all_reduce_perf", row)) == [("all_reduce", 8, 8388608, 133.5)]


def test_one_measurement_and_sizes_of_nothing(tmp_path: Path) -> None:
    rows = "  0  0  float  sum  -1  5.70  0.00  0.00  0  5.54  0.00  0.00  0\n  8388608  2097152  float  sum  -1  133.5  62.84  109.97  0\n"
    assert read(tmp_path, new_log("all_reduce_perf", rows)) == [("all_reduce", 8, 8388608, 133.5)]


def test_without_a_list_of_devices_the_bandwidths_tell_the_number_of_ranks(tmp_path: Path) -> None:
    assert {ranks for _, ranks, *_ in read(tmp_path, "all_reduce_perf\n" + ALL_REDUCE)} == {8}


def test_groups_smaller_than_the_job_are_found_by_their_bandwidths(tmp_path: Path) -> None:
    """NCCL_TESTS_SPLIT: 16 devices in groups of 8."""
    assert {ranks for _, ranks, *_ in read(tmp_path, new_log("all_reduce_perf", ALL_REDUCE, ranks=16))} == {8}


def test_what_was_measured_may_stand_in_the_files_name_or_in_its_columns(tmp_path: Path) -> None:
    assert {op for op, *_ in read(tmp_path, ALL_GATHER, "all_gather_perf-8xH100.txt")} == {"all_gather"}
    assert {op for op, *_ in read(tmp_path, ALL_REDUCE)} == {"all_reduce"}
    scattered = ALL_GATHER.replace("none", " sum")
    assert {op for op, *_ in read(tmp_path, scattered)} == {"reduce_scatter"}


def test_a_log_that_does_not_say_what_it_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reference.log: does not say which operation .* such as all_reduce_perf"):
        read(tmp_path, ALL_GATHER)


def test_a_single_rank_has_no_link(tmp_path: Path) -> None:
    row = "  8388608  2097152  float  sum  -1  133.5  62.84  0.00  0  134.1  62.55  0.00  0\n"
    with pytest.raises(InputError, match="on a single rank"):
        read(tmp_path, new_log("all_reduce_perf", row, ranks=1))


@pytest.mark.parametrize(
    "text", ["", "hello\n", "1 2 3\n", '{"traceEvents": []}', "\x00\x01" * 100, "8 2 float sum -1 x y z\n", "²\n"]
)
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="has no line of results as nccl-tests prints them") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="there is no such file"):
        read_link_reference(tmp_path / "none.log")
    with pytest.raises(InputError, match="cannot be read"):
        read_link_reference(tmp_path)


def test_a_huge_file_is_refused_without_reading_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_tests, "MOST_BYTES", 1 << 20)
    with pytest.raises(InputError, match="larger than 1 MB"):
        read(tmp_path, "#\n" * (1 << 20))


@pytest.mark.parametrize(
    "row",
    [
        "99999999999999999999999 1 float sum -1 1.0 1.0 1.0 0 1.0 1.0 1.0 0",
        "8 2 float sum -1 nan nan nan 0 inf inf inf 0",
        "8 2 float sum -1 -5 1 1 0 -5 1 1 0",
        "8 2 float sum -1 0.0 1 1 0 0.0 1 1 0",
        "8 2 float " + "9 " * 5000,
    ],
)
def test_impossible_numbers_are_passed_over(tmp_path: Path, row: str) -> None:
    assert len(read(tmp_path, new_log("all_reduce_perf", row + "\n" + ALL_REDUCE))) == 3


def test_a_log_in_two_halves_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe\x00 all_reduce_perf\n" + ALL_REDUCE.encode())
    assert len(read_link_reference(tmp_path / "log")) == 3
