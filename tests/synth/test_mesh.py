"""Who works with whom, and what torch calls the groups."""

import pytest

from scaleprof.synth.mesh import mesh_of, strategy_of
from scaleprof.synth.spec import Spec


def test_ranks_are_laid_out_pipeline_first_and_tensor_last() -> None:
    mesh = mesh_of(Spec(ranks=8, pipeline=2, tensor=2))
    assert {name: one.size for name, one in mesh.dimensions.items()} == {"pp": 2, "dp": 2, "tp": 2}
    found = {name: one.group(5).ranks for name, one in mesh.dimensions.items()}
    assert found == {"pp": (1, 5), "dp": (5, 7), "tp": (4, 5)}
    assert {name: int(one.coordinate[5]) for name, one in mesh.dimensions.items()} == {"pp": 1, "dp": 0, "tp": 1}
    assert [mesh.stage(rank) for rank in range(8)] == [0] * 4 + [1] * 4


def test_groups_are_numbered_as_init_device_mesh_makes_them() -> None:
    mesh = mesh_of(Spec(ranks=8, pipeline=2, tensor=2))
    # mesh.swapdims(-1, dim).reshape(-1, size), dimension by dimension
    made: dict[str, list[tuple[int, ...]]] = {
        "pp": [(0, 4), (2, 6), (1, 5), (3, 7)],
        "dp": [(0, 2), (1, 3), (4, 6), (5, 7)],
        "tp": [(0, 1), (2, 3), (4, 5), (6, 7)],
    }
    names = {
        ranks: str(number + 1) for number, ranks in enumerate(ranks for groups in made.values() for ranks in groups)
    }
    for rank in range(8):
        world, *groups = mesh.groups(rank)
        assert (world.name, world.description, world.ranks) == ("0", "default_pg", tuple(range(8)))
        assert [group.description for group in groups] == ["mesh_pp", "mesh_dp", "mesh_tp"]
        assert all(rank in group.ranks and names[group.ranks] == group.name for group in groups)


def test_a_mesh_of_one_dimension_uses_the_group_of_all_ranks() -> None:
    for spec in (Spec(ranks=4), Spec(ranks=4, tensor=4), Spec(ranks=4, pipeline=4)):
        mesh = mesh_of(spec)
        assert [one.group_name(3) for one in mesh.dimensions.values()] == ["0"]
        assert len(mesh.groups(3)) == 1
    assert not mesh_of(Spec(ranks=1)).dimensions


def test_groups_that_span_hosts_are_known() -> None:
    mesh = mesh_of(Spec(ranks=8, pipeline=2, tensor=2, ranks_per_host=4))
    across = {name: set(one.across.tolist()) for name, one in mesh.dimensions.items()}
    assert across == {"pp": {True}, "dp": {False}, "tp": {False}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "ddp"),
        ({"ranks": 1}, "ddp"),
        ({"strategy": "fsdp"}, "fsdp2"),
        ({"tensor": 2}, "ddp+tp"),
        ({"tensor": 4}, "tp"),
        ({"tensor": 2, "strategy": "fsdp"}, "fsdp2+tp"),
        ({"pipeline": 4}, "pp-1f1b"),
        ({"pipeline": 2}, "ddp+pp-1f1b"),
        ({"ranks": 8, "pipeline": 2, "tensor": 2}, "ddp+tp+pp-1f1b"),
    ],
)
def test_strategies_have_the_recorders_words(fields: dict[str, int], words: str) -> None:
    assert strategy_of(Spec(**{"ranks": 4, **fields})) == words  # type: ignore[arg-type]
