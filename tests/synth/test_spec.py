"""Descriptions of jobs: from a file, from a name, from the command line, and what is said about nonsense."""

import re
from pathlib import Path
from typing import Any

import pytest

from scaleprof.errors import OptionError
from scaleprof.synth.dialects import DIALECTS
from scaleprof.synth.jobs import BUILT_IN
from scaleprof.synth.spec import Spec, load_spec
from tests.synth.tiny import FIELDS, tiny


def test_a_file_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text("ranks = 16\nlate_rank = 3\nlate_ms = 2\nclock_offset_ms = [0, 12.5]\n")
    spec = load_spec(str(tmp_path / "job.toml"))
    assert (spec.ranks, spec.late_rank, spec.late_ms) == (16, 3, 2)
    assert spec.clock_offset_ms == (0, 12.5)
    assert spec.layers == Spec().layers


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_jobs_need_no_file(name: str) -> None:
    assert load_spec(name).ranks >= 1


def test_the_docs_name_the_built_in_jobs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "analyze.md").read_text()
    assert [name for name in BUILT_IN if f"`{name}`" not in page] == []


def test_settings_replace_what_the_file_says() -> None:
    settings = [("ranks", "8"), ("late_ms", "1"), ("gz", "no"), ("clock_offset_ms", "0,-3.5"), ("dialect", "indent")]
    spec = load_spec("ddp", settings)
    assert (spec.ranks, spec.late_ms, spec.gz, spec.clock_offset_ms) == (8, 1.0, False, (0.0, -3.5))
    assert spec.form is DIALECTS["indent"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([("rank", "8")], "no field 'rank'; there are: name, ranks,"),
        ([("ranks", "many")], "ranks must be a whole number, not 'many'"),
        ([("ranks", "0")], "ranks must lie between 1 and 65,536, not 0"),
        ([("late_rank", "4")], "late_rank must lie between 0 and 3, not 4"),
        ([("buckets", "13")], "buckets must lie between 1 and 12, not 13"),
        ([("compute_ms", "-1")], "compute_ms must lie between 0.001 and 3,600,000, not -1"),
        ([("compute_ms", "nan")], "compute_ms must be a number"),
        ([("forward_share", "0.97")], "leave nothing for the backward pass"),
        ([("dialect", "latin")], "there is no dialect 'latin'; there are: native, oneline2026,"),
        ([("name", "../x")], "name must be a word that a folder can have"),
        ([("clock_offset_ms", "0;1")], "clock_offset_ms must be numbers with commas between"),
        ([("clock_drift_ppm", "5000")], "clock_drift_ppm must lie within 1000 of 0"),
        ([("gz", "maybe")], "gz must be true or false"),
        ([("ranks_written", "5")], "ranks_written must lie between 0 and 4"),
        (
            [("tensor", "3")],
            "4 ranks cannot be divided in 1 pipeline stages of 3 tensor-parallel ranks: ranks must be a multiple",
        ),
        ([("pipeline", "13")], "pipeline must lie between 1 and 12, not 13"),
        ([("strategy", "zero")], "strategy must be one of ddp, fsdp, not 'zero'"),
        ([("late_cause", "bad luck")], "late_cause must be one of compute, throttle, input, pause, not 'bad luck'"),
        ([("lose", "seq,mind")], "lose must be one of seq, group, sizes, params, ranks, not 'mind'"),
        ([("drop", "1.5")], "drop must lie between 0 and 1, not 1.5"),
        ([("cut_ranks", "1,4")], "cut_ranks must lie between 0 and 3, not 4"),
        ([("cut_ranks", "one")], "cut_ranks must be whole numbers with commas between, not 'one'"),
        ([("late_ranks", "1"), ("late_start_steps", "8")], "late_start_steps must lie between 0 and 7, not 8"),
        ([("steps", "1000000"), ("layers", "1000")], "more than 268,435,456: take fewer"),
    ],
)
def test_nonsense_is_one_sentence(settings: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_spec("ddp", settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ranks = 'four'", "ranks must be a whole number, not 'four'"),
        ("ranks = true", "ranks must be a whole number, not True"),
        ("clock_offset_ms = 3.0", "clock_offset_ms must be numbers with commas between, not 3.0"),
        ("clock_offset_ms = ['a']", "clock_offset_ms must be numbers"),
        ("[job]\nranks = 2", "no field 'job'"),
        ("ranks = ", "is no TOML"),
    ],
)
def test_a_bad_file_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(OptionError, match=re.escape(said)) as caught:
        load_spec(str(tmp_path / "job.toml"))
    assert str(caught.value).startswith(("ranks", "clock", "a synthetic", str(tmp_path)))


def test_a_missing_file_names_the_built_in_jobs() -> None:
    with pytest.raises(OptionError, match="there is no such file, and the built-in jobs are ddp, large"):
        load_spec("nowhere.toml")
    with pytest.raises(OptionError, match="cannot be read"):
        load_spec("/")


def test_a_ring_takes_two_passes_of_hops_and_bytes() -> None:
    spec = tiny(ranks=4, alpha_us=10.0)
    # 6 hops of 10 us, and 6/4 of 400 MB at 10 GB/s.
    assert spec.cost_ns("all_reduce", 400_000_000, 4) == 60_000 + 60_000_000
    assert spec.cost_ns("all_reduce", 400_000_000, 1) == 0


def test_gathers_take_half_an_all_reduce_and_transfers_one_hop() -> None:
    spec = tiny(ranks=4, alpha_us=10.0)
    for op in ("all_gather", "reduce_scatter"):
        assert 2 * spec.cost_ns(op, 400_000_000, 4) == spec.cost_ns("all_reduce", 400_000_000, 4)
    assert spec.cost_ns("send", 400_000_000, 2) == spec.cost_ns("recv", 400_000_000, 2) == 10_000 + 40_000_000


def test_groups_that_span_hosts_may_be_slower() -> None:
    spec = tiny(ranks=4, alpha_us=10.0, inter_alpha_us=20.0, inter_bandwidth_gbps=2.5)
    assert spec.cost_ns("all_reduce", 400_000_000, 4, across=True) == 120_000 + 240_000_000
    alike = tiny(ranks=4)
    assert alike.cost_ns("send", 1_000_000, 2, across=True) == alike.cost_ns("send", 1_000_000, 2)


@pytest.mark.parametrize(("ranks", "per_host", "hosts"), [(1, 8, 1), (8, 8, 1), (9, 8, 2)])
def test_hosts_are_filled_one_after_the_other(ranks: int, per_host: int, hosts: int) -> None:
    assert tiny(ranks=ranks, ranks_per_host=per_host, late_rank=0).hosts == hosts


def test_times_are_multiples_of_what_the_dialect_can_write() -> None:
    fine: Any = {"input_ms": 0.0123456, "launch_us": 5.3}
    assert tiny(**fine).ns(0.0123456) == 12_346
    assert tiny(**fine).launch_ns == 5_300
    assert tiny(dialect="old2022", **fine).ns(0.0123456) == 12_000
    assert tiny(dialect="old2022", **fine).launch_ns == 4_000


def test_every_field_is_explained() -> None:
    source = (Path(__file__).parents[2] / "scaleprof" / "synth" / "spec.py").read_text().splitlines()
    for name in FIELDS:
        line = next(place for place, text in enumerate(source) if text.startswith(f"    {name}: "))
        assert source[line + 1].startswith('    """')
