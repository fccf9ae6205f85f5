"""Measured scaling curves that others published, read from where they were put: `published.yaml` and the measurements of AdaptDL.

A curve is throughput by ranks, whatever its unit. Where a time of a step is published, every rank takes the same batch in it (weak scaling), so
ranks / time is a throughput. Nothing is copied into this project; what is not there is skipped, and said to be.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaleprof.models.scaling import Kind

PUBLISHED = "published curves"
MORE_NODES = "AdaptDL, more nodes"
MORE_GPUS = "AdaptDL, more GPUs a node"
SOURCES = (PUBLISHED, MORE_NODES, MORE_GPUS)


@dataclass(frozen=True)
class Curve:
    """One job by size, ascending."""

    name: str
    source: str
    kind: Kind
    ranks: tuple[float, ...]
    throughput: tuple[float, ...]
    nodes: tuple[int, ...] = ()
    """Of each size; empty where nobody says."""


def curves_below(folder: Path) -> tuple[list[Curve], list[str]]:
    """Every curve in `published.yaml` and `scaling/adaptdl/` there, and a sentence for each of these that is missing."""
    found: list[Curve] = []
    missing = []
    if (folder / "published.yaml").is_file():
        found += published_curves(folder / "published.yaml")
    else:
        missing.append("there is no published.yaml, so the published curves are left out")
    jobs = sorted(path for path in (folder / "scaling" / "adaptdl").glob("*") if path.is_dir())
    if not jobs:
        missing.append("there is no scaling/adaptdl, so AdaptDL's measurements are left out")
    for job in jobs:
        found += adaptdl_curves(job)
    return found, missing


def published_curves(path: Path) -> list[Curve]:
    """Blocks with sizes and throughput, sizes and times, or rows of GPUs; a block whose numbers are no curve gives none."""
    import yaml

    found = []
    for name, block in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        of_block = _of_list(block) if isinstance(block, list) else _of_table(name, block)
        found += [Curve(one, PUBLISHED, kind, tuple(n), tuple(x)) for one, kind, n, x in of_block]
    return found


_Found = Iterator[tuple[str, Kind, Sequence[float], Sequence[float]]]


def _of_list(block: Sequence[Mapping[str, Any]]) -> _Found:
    for one in block:
        kind: Kind = "weak" if str(one.get("kind", "")).startswith("weak") else "strong"
        ranks = one.get("n") or one.get("p")
        if not isinstance(ranks, list):
            continue
        if isinstance(one.get("x"), list):
            yield one["id"], kind, ranks, one["x"]
        elif isinstance(one.get("iter_ms"), list):  # the model grows with the ranks, and so does its work
            work = zip(one["params_B"], one["iter_ms"], strict=True)
            yield one["id"], "weak", ranks, [parameters / time for parameters, time in work]
        elif isinstance(one.get("mean_of"), list):
            times = [sum(repeats) / len(repeats) for repeats in one["mean_of"]]
            yield one["id"], "weak", ranks, [n / time for n, time in zip(ranks, times, strict=True)]
        for inner, content in one.items():
            if isinstance(content, Mapping) and "values" in content and len(content["values"]) == len(ranks):
                values = content["values"]
                yield f"{one['id']} {inner}", "weak", ranks, [n / time for n, time in zip(ranks, values, strict=True)]


def _of_table(name: str, block: Mapping[str, Any]) -> _Found:
    columns = block.get("columns", [])
    if {"gpus", "aggregate_pflops"} <= set(columns):
        rows = [dict(zip(columns, row, strict=True)) for row in block["rows"]]
        yield name, "weak", [row["gpus"] for row in rows], [row["aggregate_pflops"] for row in rows]
    if {"gpus", "global_batch", "step_s"} <= set(columns):
        for inner, content in block.items():
            if isinstance(content, list) and content and isinstance(content[0], list):
                rows = [dict(zip(columns, row, strict=True)) for row in content]
                rates = [row["global_batch"] / row["step_s"] for row in rows]
                yield f"{name} {inner}", "strong", [row["gpus"] for row in rows], rates


def adaptdl_curves(folder: Path) -> list[Curve]:
    """Of one model, for every local batch: nodes with as many GPUs each are added, or GPUs on the same nodes (`scalability.csv` alone).

    Placements whose nodes hold different numbers of GPUs belong to no curve of the first kind.
    """
    by_nodes: dict[tuple[int, int], dict[int, tuple[float, int]]] = defaultdict(dict)
    by_gpus: dict[tuple[int, int], dict[int, tuple[float, int]]] = defaultdict(dict)
    for row in _rows(folder / "placements.csv"):
        placement = row["placement"]
        each, nodes = int(placement[0]), len(placement)
        if set(placement) == {placement[0]}:
            by_nodes[each, int(row["local_bsz"])][each * nodes] = float(row["step_time"]), nodes
    for row in _rows(folder / "scalability.csv"):
        nodes, ranks, batch = (int(row[name]) for name in ("num_nodes", "num_replicas", "local_bsz"))
        by_gpus[nodes, batch][ranks] = float(row["step_time"]), nodes
        if ranks % nodes == 0:
            by_nodes[ranks // nodes, batch][ranks] = float(row["step_time"]), nodes
    more_nodes = [
        _curve(f"{folder.name}, {each} GPUs a node, batch {batch}", MORE_NODES, sizes)
        for (each, batch), sizes in sorted(by_nodes.items())
    ]
    more_gpus = [
        _curve(f"{folder.name}, {nodes} nodes, batch {batch}", MORE_GPUS, sizes)
        for (nodes, batch), sizes in sorted(by_gpus.items())
    ]
    return more_nodes + more_gpus


def _curve(name: str, source: str, sizes: Mapping[int, tuple[float, int]]) -> Curve:
    ranks = sorted(sizes)
    rates = tuple(n / sizes[n][0] for n in ranks)
    return Curve(name, source, "weak", tuple(map(float, ranks)), rates, tuple(sizes[n][1] for n in ranks))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
