"""What torch says about an operation of communication, on the host's span and on the kernel; and what a file that lost it does not say."""

from typing import Any

from scaleprof.run import ProcessGroup
from scaleprof.synth.mesh import Mesh
from scaleprof.synth.names import COMMUNICATION
from scaleprof.synth.plan import ACTIVATION_BYTES, GRADIENT_BYTES, Segment
from scaleprof.synth.template import sequence
from scaleprof.synth.timeline import Timeline

_MOST_LISTED_RANKS = 30  # torch cuts longer lists
_LOST = {
    "seq": ("Seq",),
    "group": ("Group size", "Process Group Name", "Process Group Description", "Process Group Ranks"),
    "sizes": ("In msg nelems", "Out msg nelems"),
    "ranks": ("Process Group Ranks",),
}
"""The keys that a word of `Spec.lose` takes away."""


def about(timeline: Timeline, rank: int, operation: int) -> dict[str, Any]:
    """The metadata of an operation of a step, by torch's keys."""
    plan, mesh = timeline.plan_of(rank), timeline.mesh
    segment = plan.operations[operation]
    group = mesh.dimensions[segment.group].group(rank)
    is_float = segment.group == "dp"
    elements = segment.bytes // (GRADIENT_BYTES if is_float else ACTIVATION_BYTES)
    share = elements // len(group.ranks)
    said: dict[str, Any] = {
        "Collective name": COMMUNICATION[segment.phase].collective,
        "In msg nelems": share if segment.phase == "all_gather" else elements,
        "Out msg nelems": share if segment.phase == "reduce_scatter" else elements,
        "Group size": len(group.ranks),
        "dtype": "Float" if is_float else "BFloat16",
        "In split size": "[]",
        "Out split size": "[]",
        "Process Group Name": group.name,
        "Process Group Description": group.description,
        "Process Group Ranks": _listed(group),
    }
    if segment.peer:
        said["Dst Rank" if segment.phase == "send" else "Src Rank"] = peer_of(mesh, segment, rank)
    if timeline.spec.form.seq:
        said["Seq"] = sequence(*plan.numbers[operation])
    lost = {key for word in timeline.spec.lose for key in _LOST.get(word, ())}
    return {key: value for key, value in said.items() if key not in lost}


def peer_of(mesh: Mesh, segment: Segment, rank: int) -> int:
    """The other rank of a transfer."""
    return rank + segment.peer * mesh.stage_ranks


def told_rank(mesh: Mesh, segment: Segment, rank: int) -> int:
    """What torch calls `Rank`: the place within the group, of the rank itself or, in a transfer, of its partner."""
    told = peer_of(mesh, segment, rank) if segment.peer else rank
    return int(mesh.dimensions[segment.group].coordinate[told])


def title_of(mesh: Mesh, segment: Segment, rank: int) -> str:
    """The annotation around an operation: `nccl:all_reduce`, `nccl:send 0->1`, `nccl:recv 1<-0`, with places within the group."""
    title = COMMUNICATION[segment.phase].title
    if not segment.peer:
        return title
    arrow = "->" if segment.phase == "send" else "<-"
    return f"{title} {mesh.dimensions[segment.group].coordinate[rank]}{arrow}{told_rank(mesh, segment, rank)}"


def _listed(group: ProcessGroup) -> str:
    shown = ", ".join(str(rank) for rank in group.ranks[:_MOST_LISTED_RANKS])
    return f"[{shown}]" if len(group.ranks) <= _MOST_LISTED_RANKS else f"[{shown}, ..., ...]"
