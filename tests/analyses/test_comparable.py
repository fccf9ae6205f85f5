"""What is compared, what is refused, and what is said of it."""

from dataclasses import replace

import pytest

from scaleprof.analyses.changes.comparable import ACROSS, check_across, comparable
from scaleprof.errors import OptionError
from scaleprof.run import Emulated, RunInfo

RUN = RunInfo(
    name="a", world_size=4, model="mlp", precision="float32", parameters=1000, strategy="ddp", device="cuda", device_name="H100",
    framework="torch", local_batch=8.0, global_batch=32.0, backend="nccl", nodes=1, level="timeline", versions={"torch": "2.13"},
)  # fmt: skip


def test_the_same_job_is_compared_without_a_word() -> None:
    found = comparable(RUN, replace(RUN, name="b", started_at=5.0))
    assert (found.refusals, found.changed, found.caveats) == ((), (), ())


@pytest.mark.parametrize(
    ("change", "across", "said"),
    [
        ({"world_size": 8}, "ranks", "the world size (4 in BASE, 8 in NEW)"),
        ({"model": "resnet"}, "model", "the model (mlp in BASE, resnet in NEW)"),
        ({"parameters": 1100}, "model", "the parameters (1,000 in BASE, 1,100 in NEW)"),
        ({"global_batch": 64.0}, "batch", "the batch of a step (32 in BASE, 64 in NEW)"),
        ({"precision": "bfloat16"}, "precision", "the precision"),
        ({"strategy": "fsdp2"}, "strategy", "the strategy (ddp in BASE, fsdp2 in NEW)"),
        ({"mesh": {"dp": 2, "tp": 2}}, "", ""),
        ({"device_name": "H200"}, "device", "the device's name (H100 in BASE, H200 in NEW)"),
        ({"framework": "jax"}, "framework", "the framework"),
    ],
)
def test_other_work_is_refused_unless_it_is_what_was_changed(change: dict[str, object], across: str, said: str) -> None:
    other = replace(RUN, **change)  # type: ignore[arg-type]
    refused = comparable(RUN, other)
    if not across:
        assert refused.refusals == (), "a mesh that only one of them states says nothing"
        return
    assert len(refused.refusals) == 1
    assert said in refused.refusals[0]
    assert f"--across {across}" in refused.refusals[0]
    allowed = comparable(RUN, other, across=[across])
    assert allowed.refusals == ()
    assert said in allowed.changed[0]
    assert comparable(RUN, other, anyway=True).refusals == ()


def test_what_follows_from_a_change_is_no_second_refusal() -> None:
    pipeline = replace(RUN, strategy="pp-1f1b", parameters=250)
    assert comparable(RUN, pipeline, across=["strategy"]).refusals == ()
    weak = replace(RUN, world_size=8, global_batch=64.0)
    assert comparable(RUN, weak, across=["ranks"]).refusals == ()
    world, batch = comparable(RUN, weak).refusals
    assert "--across ranks" in world
    assert batch == "the batch of a step (32 in BASE, 64 in NEW), which comes with that", (
        "one option is enough for both"
    )


@pytest.mark.parametrize("other", [replace(RUN, synthetic=True), replace(RUN, emulated=Emulated())])
def test_what_was_made_up_is_compared_with_what_was_real_only_anyway(other: RunInfo) -> None:
    refused = comparable(RUN, other, across=ACROSS)
    assert len(refused.refusals) == 1
    assert "--anyway" in refused.refusals[0]
    assert comparable(RUN, other, anyway=True).refusals == ()


def test_a_batch_that_is_a_mean_over_steps_may_differ_a_little() -> None:
    assert comparable(RUN, replace(RUN, global_batch=32.1)).refusals == ()
    assert comparable(replace(RUN, global_batch=None), RUN).refusals == (), "8 samples on each of 4 ranks are 32"


def test_what_is_known_of_one_side_alone_is_said() -> None:
    found = comparable(RUN, replace(RUN, model=None))
    assert found.refusals == ()
    assert found.caveats == ("the model is known of BASE alone and taken to be the same",)


def test_differences_that_may_be_the_reason_are_caveats() -> None:
    other = replace(RUN, backend="gloo", nodes=2, level="full", versions={"torch": "2.14"})
    said = " | ".join(comparable(RUN, other).caveats)
    for words in (
        "the backend differs: nccl in BASE, gloo in NEW",
        "hosts differs: 1",
        "torch 2.13 in BASE, 2.14 in NEW",
        "level timeline",
    ):
        assert words in said
    slow, fast = (replace(RUN, emulated=Emulated(link=link)) for link in ("50mbit", "1gbit"))
    assert "the emulated network differs: 50mbit in BASE, 1gbit in NEW" in comparable(slow, fast).caveats


def test_a_word_that_across_does_not_know_lists_those_it_does() -> None:
    check_across(ACROSS)
    with pytest.raises(OptionError, match="ranks, framework, model, strategy, batch, precision, device, not 'colour'"):
        check_across(["strategy", "colour"])


def test_what_was_made_up_is_named_on_its_own_side() -> None:
    [said] = comparable(RUN, replace(RUN, synthetic=True)).refusals
    assert said.startswith("whether it was computed or recorded (recorded in BASE, synthetic in NEW): --anyway")
    [said] = comparable(replace(RUN, emulated=Emulated()), RUN).refusals
    assert said.startswith("whether the device was emulated (emulated device in BASE, real device in NEW): --anyway")


def test_a_batch_that_is_not_known_of_the_job_is_not_made_up() -> None:
    unknown = replace(RUN, global_batch=None, local_batch=None)
    said = "the batch of a step is known of BASE alone and taken to be the same"
    assert comparable(RUN, unknown).caveats == (said,)
    assert comparable(unknown, unknown).caveats == ()
    other = replace(RUN, global_batch=None, local_batch=16.0)
    [refused] = comparable(RUN, other).refusals
    assert refused.startswith("the batch of a step (32 in BASE, 64 in NEW): ")
