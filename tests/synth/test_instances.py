"""Every rank's part in every operation, as the truth tells it."""

from collections import defaultdict
from typing import Any

from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of
from tests.synth.truths import rows_of_truth


def rows(**fields: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"steps": 1, "kernels_per_layer": 1, "layers": 4, "buckets": 2, **fields}
    return rows_of_truth(truth_of(simulate(Spec(**settings))), "collectives")


def test_all_ranks_of_a_group_share_a_number_and_meet_at_one_time() -> None:
    found = rows(ranks=8, pipeline=2, tensor=2, micro_batches=2, exit_us=5.0, late_rank=3, late_ms=2.0)
    parts = defaultdict(list)
    for row in found:
        parts[row["collective"]].append(row)
    assert sorted(parts) == list(range(len(parts))), "numbers have no holes"
    for together in parts.values():
        assert len(together) == 2, "every group has two ranks"
        for name in ("step", "bytes", "group"):
            assert len({row[name] for row in together}) == 1
        met = {row["arrival_ns"] + row["wait_ns"] for row in together}
        assert met == {max(row["arrival_ns"] for row in together)}
        assert all(row["arrival_ns"] + row["wait_ns"] + row["transfer_ns"] == row["end_ns"] for row in together)
    assert {row["op"] for row in found} == {"all_reduce", "send", "recv"}
    assert not any(row["dropped"] for row in found)


def test_a_transfer_has_a_sender_and_a_receiver_who_name_one_another() -> None:
    parts = defaultdict(list)
    for row in rows(ranks=6, pipeline=3, micro_batches=2):
        if row["peer"] >= 0:
            parts[row["collective"]].append(row)
    assert len(parts) == 2 * 2 * 2 * 2 * 2, "steps, pairs of stages, directions, micro-batches, transfers side by side"
    for one, other in parts.values():
        assert {one["op"], other["op"]} == {"send", "recv"}
        assert (one["peer"], other["peer"]) == (other["rank"], one["rank"])
        assert abs(one["rank"] - other["rank"]) == 2


def test_each_rank_counts_the_operations_of_a_group_for_itself() -> None:
    counted = defaultdict(list)
    for row in rows(ranks=4, pipeline=4, micro_batches=3):
        counted[row["rank"], row["group"]].append(row["seq"])
    assert {rank: numbers for (rank, _), numbers in counted.items()} == {
        rank: list(range(1, 1 + 2 * (6 if rank in (0, 3) else 12))) for rank in range(4)
    }


def test_fsdp_tells_its_gathers_and_scatters_with_the_whole_units_bytes() -> None:
    found = [
        row for row in rows(ranks=3, strategy="fsdp", gradient_bytes=4000) if row["rank"] == 0 and row["step"] == 1
    ]
    # 500 elements a unit are 501 where three ranks hold as much each.
    assert {row["bytes"] for row in found} == {501 * 4}
    assert [row["op"] for row in found].count("reduce_scatter") == 2
