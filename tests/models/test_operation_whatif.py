"""What stragglers cost in a table of operations: small jobs whose answers stand on paper, and tables that contradict themselves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaleprof.analyses.stragglers.operation_table import conclude, operations_of
from scaleprof.errors import InputError
from scaleprof.models.operation_graph import BACKWARD, CLIP, FORWARD, OPTIMIZER, Operation, operation_graph
from scaleprof.models.operation_whatif import Replay, slowdown
from scaleprof.results import Table

COLUMNS = ("dp_rank", "stage", "rank", "step", "optype", "start_ts", "duration", "seq_id", "mc", "gmc")
SIZES = {"trial_name": "made", "dp_size": 2, "dsp_size": 1, "pp_size": 1, "tp_size": 1, "vpp_size": 1, "world_size": 2}
Row = tuple[str, float, float]


def job(replicas: Sequence[Sequence[Sequence[Row]]], *, steps: int = 1) -> Table:
    """A table from (type, start, duration) by data-parallel rank and stage, in every step."""
    rows: list[list[Any]] = []
    for step in range(steps):
        for dp, stages in enumerate(replicas):
            for stage, operations in enumerate(stages):
                for kind, start, duration in operations:
                    chunk = stage if kind.endswith("-compute") else -1
                    mc = 0 if kind.endswith("-compute") or kind == "grads-reduce-scatter" else -1
                    rank = dp * len(stages) + stage
                    rows.append([dp, stage, rank, step, kind, 10.0 * step + start, duration, 0, mc, chunk])
    table = Table.of_rows(COLUMNS, rows)
    kinds = dict.fromkeys(COLUMNS, np.int64) | {"start_ts": np.float32, "duration": np.float32}
    return Table(
        {name: table[name] if name == "optype" else np.array(table[name], dtype=kinds[name]) for name in COLUMNS}
    )


def replica(backward: float, together: float) -> list[list[Row]]:
    """One stage: 1 s forward, the backward pass, gradients exchanged in 0.5 s once both have them, 0.1 s to clip, 0.2 s to update."""
    done = 1.0 + backward
    return [
        [
            ("forward-compute", 0.0, 1.0),
            ("backward-compute", 1.0, backward),
            ("gc", done, 0.0),
            ("layernorm-grads-all-reduce", done, 0.0),
            ("embedding-grads-all-reduce", done, 0.0),
            ("grads-reduce-scatter", done, together + 0.5 - done),
            ("optimizer-clip-main-grad", together + 0.5, 0.1),
            ("optimizer", together + 0.6, 0.2),
        ]
    ]


def test_a_slow_replica_costs_what_it_makes_the_other_one_wait() -> None:
    # 1 + 4 + 0.5 + 0.1 + 0.2 = 5.8 s; with backward passes of 3 s on both it were 4.8 s.
    found = slowdown(operations_of(job([replica(2.0, 5.0), replica(4.0, 5.0)], steps=3), SIZES))
    assert found.measured_s == pytest.approx([5.8] * 3, rel=1e-6)
    assert found.no_delay_s == pytest.approx([5.8] * 3, rel=1e-6)
    assert found.even_s == pytest.approx([4.8] * 3, rel=1e-6)
    assert found.factor == pytest.approx(5.8 / 4.8, rel=1e-6)
    assert found.by_replica == pytest.approx({0: 1.0, 1: 5.8 / 4.8}, rel=1e-6)
    assert found.by_stage == pytest.approx({0: 5.8 / 4.8}, rel=1e-6)
    assert found.by_type["backward-compute"] == pytest.approx(5.8 / 4.8, rel=1e-6)
    assert found.by_type["forward-compute"] == pytest.approx(1.0, rel=1e-6)
    assert found.worst_ranks == (1,)
    # Rank 1 even, rank 0 as it is: 3 s of backward pass decide, as in the even job.
    assert found.worst_share == pytest.approx(1.0, rel=1e-5)


def test_an_even_job_loses_nothing() -> None:
    found = slowdown(operations_of(job([replica(3.0, 4.0), replica(3.0, 4.0)]), SIZES))
    assert found.factor == pytest.approx(1.0, rel=1e-6)
    assert list(found.by_rank.values()) == pytest.approx([1.0, 1.0], rel=1e-6)


def end(done: float, last: float, clipped: float) -> list[Row]:
    return [
        ("gc", done, 0.0),
        ("layernorm-grads-all-reduce", done, 0.0),
        ("embedding-grads-all-reduce", done, last - done),
        ("optimizer-clip-main-grad", last, clipped - last),
        ("optimizer", clipped, 0.2),
    ]


def pipeline() -> list[list[Row]]:
    """Two stages, one micro-batch: forward 1 s, backward 2 s on each, transfers of 0.1 s; stage 0 ends last, after 6.2 s."""
    first: list[Row] = [
        ("forward-compute", 0.0, 1.0),
        ("forward-send", 1.0, 0.1),
        ("backward-recv", 0.9, 3.3),
        ("backward-compute", 4.2, 2.0),
    ]
    second: list[Row] = [
        ("forward-recv", 0.0, 1.1),
        ("forward-compute", 1.1, 1.0),
        ("backward-compute", 2.1, 2.0),
        ("backward-send", 4.1, 0.1),
    ]
    return [[*first, *end(6.2, 6.2, 6.2)], [*second, *end(4.1, 6.2, 6.2)]]


def test_transfers_of_a_pipeline_begin_when_both_ends_are_there() -> None:
    sizes = {**SIZES, "dp_size": 1, "pp_size": 2}
    operations = operations_of(job([pipeline()]), sizes)
    replay = Replay(operations)
    lasts = dict(zip(operations.names, replay.durations()[:, 0].tolist(), strict=True))
    assert lasts["forward-recv", 0, 1] == pytest.approx(0.1, abs=1e-6)
    assert lasts["backward-recv", 0, 0] == pytest.approx(0.1, abs=1e-6)
    assert lasts["embedding-grads-all-reduce", 0, 1] == pytest.approx(0.0, abs=1e-6)
    last_optimizer, _ = replay.run(replay.durations())
    assert last_optimizer == pytest.approx([6.4], rel=1e-6)
    # One stage twice as slow forward: the other one waits for it.
    slower = replay.durations()
    slower[operations.names.index(("forward-compute", 0, 1))] += 1.0
    assert replay.run(slower)[0] == pytest.approx([7.4], rel=1e-6)


@pytest.mark.parametrize(("too_early", "lasts"), [(0.2, 0.0), (0.005, -0.005)])
def test_a_transfer_that_ends_long_before_its_last_member_begins_takes_no_time(too_early: float, lasts: float) -> None:
    stages = pipeline()
    stages[0][2] = ("backward-recv", 0.9, 3.2 - too_early)  # the other end begins to send at 4.1 s
    operations = operations_of(job([stages]), {**SIZES, "dp_size": 1, "pp_size": 2})
    found = dict(zip(operations.names, Replay(operations).durations()[:, 0].tolist(), strict=True))
    assert found["backward-recv", 0, 0] == pytest.approx(lasts, abs=1e-6)
    assert found["backward-send", 0, 1] == pytest.approx(0.1, abs=1e-6)


def without(table: Table, kind: str) -> Table:
    kept = [place for place, one in enumerate(table["optype"]) if one != kind]
    return rows_of(table, kept)


def rows_of(table: Table, places: Sequence[int]) -> Table:
    columns = {name: np.asarray(column)[list(places)] for name, column in table.columns.items()}
    return Table({**columns, "optype": columns["optype"].tolist()})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("optimizer-clip-main-grad", "lacks an operation that others wait for: optimizer-clip-main-grad"),
        ("forward-recv", "lacks its other end"),
        ("backward-send", "lacks its other end"),
        ("gc", "lacks an operation"),
    ],
)
def test_a_table_that_lacks_something_is_refused_with_its_name(kind: str, said: str) -> None:
    table = without(job([pipeline()]), kind)
    with pytest.raises(InputError, match=said):
        conclude(table, {**SIZES, "dp_size": 1, "pp_size": 2})


def test_an_operation_that_a_rank_lacks_or_has_twice_is_named() -> None:
    table = job([replica(2.0, 5.0), replica(4.0, 5.0)])
    every = list(range(len(table)))
    with pytest.raises(InputError, match="optimizer-0-0 occurs not at all in step 0 of data-parallel rank 1"):
        operations_of(rows_of(table, every[:-1]), SIZES)
    with pytest.raises(InputError, match="occurs more than once"):
        operations_of(rows_of(table, [*every, 0]), SIZES)


def test_a_receive_is_posted_after_the_computation_before_the_one_it_serves() -> None:
    def of(kind: str, number: int, start: float, end: float) -> Operation:
        return Operation((kind, number, 1), start, end, 0 if kind.endswith("compute") else -1, 1)

    closing = [of(kind, 0, 9.0, 9.0) for kind in ("gc", "layernorm-grads-all-reduce", "embedding-grads-all-reduce", CLIP, OPTIMIZER)]  # fmt: skip
    second = [
        of("forward-recv", 0, 0.0, 1.0), of(FORWARD, 0, 1.0, 2.0), of("forward-recv", 1, 1.0, 2.0), of(FORWARD, 1, 2.0, 3.0),
        of(BACKWARD, 0, 3.0, 5.0), of("backward-send", 0, 5.0, 5.1), of(BACKWARD, 1, 5.1, 7.1), of("backward-send", 1, 7.1, 7.2),
    ]  # fmt: skip
    kinds = {"forward-recv": "forward-send", "backward-send": "backward-recv"}
    transfers = [
        replace(one, name=(kinds[one.type], one.name[1], 0), global_chunk=0) for one in second if one.type in kinds
    ]
    computes = [
        of(FORWARD, 0, 0.0, 0.5),
        of(FORWARD, 1, 0.5, 1.5),
        of(BACKWARD, 0, 5.1, 6.0),
        of(BACKWARD, 1, 7.2, 8.0),
    ]
    first = [*transfers, *(replace(one, name=(one.type, one.name[1], 0), global_chunk=0) for one in computes)]
    ends = [replace(one, name=(one.type, 0, 0)) for one in closing]
    graph = operation_graph([*first, *ends, *second, *closing], replicas=1)
    assert ("forward-recv", 0, 1) in graph.after[FORWARD, 0, 1]
    assert (FORWARD, 0, 1) in graph.after["forward-recv", 1, 1]
    assert (FORWARD, 1, 1) not in graph.after["forward-recv", 1, 1]
    assert ("forward-recv", 0, 1) in graph.after["forward-recv", 1, 1]


def test_a_replica_that_is_late_holds_up_what_the_others_do_after_the_exchange() -> None:
    operations = operations_of(job([replica(2.0, 5.0), replica(4.0, 5.0)]), SIZES)
    replay = Replay(operations)
    longer = replay.durations()
    longer[operations.names.index((OPTIMIZER, 0, 0)), 0] = 1.2
    # Rank 0 waits until 5 s for the gradients of rank 1: 5 + 0.5 + 0.1 + 1.2.
    assert replay.run(longer)[0] == pytest.approx([6.8], rel=1e-6)
