"""What a timeline does not say, said."""

from pathlib import Path

from tests.readers.making_timelines import begin, negotiation, operation, read, tick


def test_a_hang_names_the_rank_that_is_absent(tmp_path: Path) -> None:
    waiting = [
        begin("NEGOTIATE_ALLREDUCE", 500, 2),
        tick(0, 501, 2),
        tick(2, 502, 2),
        begin("NEGOTIATE_ALLREDUCE", 503, 3),
    ]
    waiting += [tick(2, 504, 3), begin("NEGOTIATE_ALLREDUCE", 505, 4)]
    trace = read(tmp_path, negotiation(1, 9, 1, {2: 1, 1: 2, 0: 3}), operation(20, {1: "[4]"}), waiting)
    assert trace.caveats[0] == (
        "when the timeline ended, 2 tensors waited for rank 1, which had not announced them, as ranks 0, 2 had: if the job hung, look there"
    )
    assert "the negotiations of 3 tensors (tensor 2, tensor 3, tensor 4) were open" in trace.caveats[1]


def test_ticks_that_the_cache_hides_are_missed(tmp_path: Path) -> None:
    trace = read(tmp_path, negotiation(1, 9, 1, {0: 1, 1: 2}), operation(20, {1: "[4]"}), negotiation(100, 9, 1))
    assert any("which rank came last is recorded for 1 of 2 negotiations" in caveat for caveat in trace.caveats)
    none = read(tmp_path, negotiation(1, 9, 1), operation(20, {1: "[4]"}))
    assert none.info.world_size == 1
    assert any("no rank announced a tensor by name: it stands as 1" in caveat for caveat in none.caveats)
