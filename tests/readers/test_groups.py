"""All ranks of a process group, whatever of them a file lists."""

from pathlib import Path

import pytest

from scaleprof.readers import read_rank
from scaleprof.readers.base import CommNote
from scaleprof.readers.groups import configured_groups, members_of, with_groups_of
from scaleprof.run import ProcessGroup
from tests.readers.making import Json, kernel, rank_of, write_trace

CUT = "[" + ", ".join(str(rank) for rank in range(0, 60, 2)) + ", ...]"
"""As torch writes a list of more than 30."""
ODD = "[0, 1, 2, 3, 4, 5, 6, 7, 16, ...]"


@pytest.mark.parametrize(
    ("listed", "size", "world_size", "members"),
    [
        ([0, 1], 2, 4, (0, 1)),
        ("[0, 1]", 2, 4, (0, 1)),
        ("[0, 1]", -1, None, (0, 1)),
        (CUT, 32, 64, tuple(range(0, 64, 2))),
        (CUT, 32, None, tuple(range(0, 64, 2))),
        (CUT, 64, 64, tuple(range(64))),
        (CUT, 40, 64, ()),
        (CUT, -1, 64, ()),
        (CUT, 1 << 40, None, ()),
        (ODD, 40, 64, ()),
        ("[0, ...]", 40, 64, ()),
        ("[0, ...]", 64, 64, tuple(range(64))),
        ([], 4, 4, (0, 1, 2, 3)),
        ([], 2, 4, ()),
        ([0, 1, "..."], 4, 8, ()),
        (None, 2, 4, ()),
        (7, 2, 4, ()),
        ([True, 1], 2, 4, ()),
    ],
)
def test_a_list_that_is_cut_short_is_completed_or_left(
    listed: object, size: int, world_size: int | None, members: tuple[int, ...]
) -> None:
    assert members_of(listed, size, world_size) == members


def test_a_group_that_is_listed_twice_counts_once() -> None:
    one = {"pg_name": "1", "pg_desc": "tp", "backend_config": "cuda:nccl", "pg_size": 2, "ranks": [2, 3]}
    assert configured_groups([one, one, "nonsense"], 8) == (ProcessGroup("1", (2, 3), "tp", "cuda:nccl"),)
    assert configured_groups("nonsense", 8) == ()


def test_groups_of_collectives_join_those_of_the_job() -> None:
    known = (ProcessGroup("0", tuple(range(64)), "default_pg"),)
    notes = [
        CommNote("allreduce", group="0", group_size=64, ranks=CUT),
        CommNote("allreduce", group="1", group_size=2, ranks="[4, 5]"),
        CommNote("allgather", group="1", group_size=2, ranks="[4, 5]"),
        CommNote("allreduce", group="2", group_size=32, ranks=ODD),
        CommNote("wait", group_size=1),
    ]
    assert with_groups_of(known, notes, 64) == (*known, ProcessGroup("1", (4, 5)))


def test_a_trace_has_the_full_lists(tmp_path: Path) -> None:
    def group(name: str, size: int, listed: str) -> Json:
        args = {
            "Collective name": "allreduce",
            "Group size": size,
            "Process Group Name": name,
            "Process Group Ranks": listed,
        }
        return kernel("ncclDevKernel_AllReduce", 10 * int(name) + 10, 5, 1, stream=20, **args)

    config = [{"pg_name": "0", "pg_desc": "default_pg", "pg_size": 64, "ranks": list(range(64))}]
    path = write_trace(
        tmp_path / "rank0.json",
        [group("0", 64, CUT), group("3", 32, CUT)],
        distributedInfo={"backend": "nccl", "rank": 0, "world_size": 64, "pg_count": 1, "pg_config": config},
    )
    trace = read_rank(rank_of(path))
    assert trace.comm.group == ("0", "3")
    assert trace.info.process_groups == (
        ProcessGroup("0", tuple(range(64)), "default_pg"),
        ProcessGroup("3", tuple(range(0, 64, 2))),
    )
