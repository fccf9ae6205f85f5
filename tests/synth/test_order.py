"""In which order the stages are timed."""

import pytest

from scaleprof.synth.order import order_of
from scaleprof.synth.plan import passes, plans_of
from scaleprof.synth.spec import Spec


@pytest.mark.parametrize(
    "fields",
    [
        {"pipeline": 4},
        {"pipeline": 4, "micro_batches": 9},
        {"ranks": 8, "pipeline": 2, "tensor": 2, "strategy": "fsdp"},
    ],
)
def test_everything_stands_behind_what_it_waits_for(fields: dict[str, int]) -> None:
    plans = plans_of(Spec(**{"ranks": 4, "layers": 8, **fields}))  # type: ignore[arg-type]
    place_of = {part: place for place, node in enumerate(order_of(plans)) for part in node}
    assert len(place_of) == sum(len(plan.segments) for plan in plans)
    for stage, plan in enumerate(plans):
        streams: dict[int, int] = {}
        for place, segment in enumerate(plan.segments):
            here = place_of[stage, place]
            assert all(place_of[stage, other] < here for other in segment.after)
            assert streams.get(segment.stream, -1) < here
            streams[segment.stream] = here


def test_1f1b_warms_up_alternates_and_drains() -> None:
    spoken = ["".join(f"{'b' if back else 'F'}{batch}" for batch, back in passes(3, stage, 4)) for stage in range(3)]
    assert spoken == ["F0F1F2b0F3b1b2b3", "F0F1b0F2b1F3b2b3", "F0b0F1b1F2b2F3b3"]


def test_both_sides_of_a_transfer_are_one() -> None:
    plans = plans_of(Spec(ranks=2, pipeline=2, micro_batches=2))
    pairs = [node for node in order_of(plans) if len(node) == 2]
    assert len(pairs) == 4
    for (first, at), (second, there) in pairs:
        one, other = plans[first].segments[at], plans[second].segments[there]
        assert {one.phase, other.phase} == {"send", "recv"}
        assert (one.micro_batch, one.backward, one.peer) == (other.micro_batch, other.backward, -other.peer)
