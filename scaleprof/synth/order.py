"""In which order the segments of all stages can be timed: each after what it waits for, both sides of a transfer together."""

from collections import deque
from collections.abc import Sequence

from scaleprof.synth.plan import Plan
from scaleprof.trace import Kind

Node = tuple[tuple[int, int], ...]
"""Stage and place of a segment; two of them for a transfer, whose sides end together."""


def order_of(plans: Sequence[Plan]) -> list[Node]:
    """The nodes of a step, each behind those that it waits for."""
    nodes = _nodes(plans)
    node_of = {part: node for node in nodes for part in node}
    waits: dict[Node, int] = dict.fromkeys(nodes, 0)
    followers: dict[Node, list[Node]] = {node: [] for node in nodes}
    for stage, plan in enumerate(plans):
        last: dict[int, int] = {}
        for place, segment in enumerate(plan.segments):
            before = {*segment.after, *({last[segment.stream]} if segment.stream in last else ())}
            last[segment.stream] = place
            for other in before:
                followers[node_of[stage, other]].append(node_of[stage, place])
                waits[node_of[stage, place]] += 1
    ready = deque(node for node in nodes if not waits[node])
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for follower in followers[node]:
            waits[follower] -= 1
            if not waits[follower]:
                ready.append(follower)
    assert len(order) == len(nodes), "the stages wait for one another without end"
    return order


def _nodes(plans: Sequence[Plan]) -> list[Node]:
    """Every segment, transfers with their other side."""
    sides: dict[tuple[int, bool, int], list[tuple[int, int]]] = {}
    nodes: list[Node] = []
    for stage, plan in enumerate(plans):
        for place, segment in enumerate(plan.segments):
            if segment.kind == Kind.P2P:
                key = (min(stage, stage + segment.peer), segment.backward, segment.micro_batch)
                sides.setdefault(key, []).append((stage, place))
            else:
                nodes.append(((stage, place),))
    assert all(len(both) == 2 for both in sides.values()), "every transfer has two sides"
    return [*nodes, *(tuple(both) for both in sides.values())]
