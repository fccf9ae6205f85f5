"""What the events say about an operation: as torch writes it."""

from typing import Any

from scaleprof.synth.operations import about, title_of, told_rank
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import Timeline, simulate


def job(**changed: Any) -> Timeline:
    fields: dict[str, Any] = {
        "ranks": 8,
        "pipeline": 4,
        "micro_batches": 2,
        "steps": 1,
        "kernels_per_layer": 1,
        **changed,
    }
    return simulate(Spec(**fields))


def test_a_send_says_to_whom_and_a_receive_from_whom() -> None:
    timeline = job(dialect="oneline2026")
    operations = timeline.plan_of(3).operations
    receive, send = (next(i for i, one in enumerate(operations) if one.phase == phase) for phase in ("recv", "send"))
    said = about(timeline, 3, receive)
    # Ranks of the whole job in `Src Rank`, places within the group everywhere else.
    assert (said["Collective name"], said["Src Rank"], said["Group size"]) == ("recv", 1, 4)
    assert (said["Process Group Ranks"], said["Process Group Description"]) == ("[1, 3, 5, 7]", "mesh_pp")
    assert (said["dtype"], said["In msg nelems"], said["Out msg nelems"]) == ("BFloat16", 8_388_608, 8_388_608)
    assert "Dst Rank" not in said
    assert about(timeline, 3, send)["Dst Rank"] == 5
    assert told_rank(timeline.mesh, operations[send], 3) == 2
    assert title_of(timeline.mesh, operations[send], 3) == "nccl:send 1->2"
    assert title_of(timeline.mesh, operations[receive], 3) == "nccl:recv 1<-0"


def test_numbers_are_said_where_the_dialect_knows_them() -> None:
    assert about(job(dialect="oneline2026"), 0, 0)["Seq"] == "@q1:4@"
    assert "Seq" not in about(job(), 0, 0)


def test_a_gather_takes_a_part_in_and_gives_the_whole_out() -> None:
    timeline = job(pipeline=1, strategy="fsdp", gradient_bytes=32_000, buckets=1)
    phases = [one.phase for one in timeline.plan.operations]
    gather, scatter = (about(timeline, 0, phases.index(phase)) for phase in ("all_gather", "reduce_scatter"))
    assert (gather["In msg nelems"], gather["Out msg nelems"], gather["dtype"]) == (1000, 8000, "Float")
    assert (scatter["In msg nelems"], scatter["Out msg nelems"]) == (8000, 1000)
    assert gather["Collective name"] == "_allgather_base"


def test_long_groups_are_cut_short_as_torch_cuts_them() -> None:
    said = about(job(ranks=124), 0, len(job(ranks=124).plan.operations) - 1)
    assert said["Process Group Ranks"].startswith("[0, 1, 2,") and said["Process Group Ranks"].endswith(
        ", 29, ..., ...]"
    )
