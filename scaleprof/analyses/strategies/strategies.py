"""Which configuration of the same model is the better one: throughput, memory, energy, and where each loses its time.

Only what does the same work is compared: the same model, precision, device and network, the same number of ranks, the same global batch.
"""

from collections.abc import Sequence

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import runq_share
from scaleprof.analyses.base import Comparison, listed, percent, run_name, some
from scaleprof.analyses.communication.traffic import expected_bus_bytes, measured_bus_bytes, traffic_of
from scaleprof.analyses.machine.power import gpus_of
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.analyses.strategies.charts import (
    amount,
    by_energy,
    charts_of,
    energy_unit,
    fastest_of,
    is_less,
    least_memory_of,
    memory_unit,
    title_of,
)
from scaleprof.analyses.strategies.choices import caveats_of as choices_caveats
from scaleprof.analyses.strategies.choices import charts_of as choices_charts
from scaleprof.analyses.strategies.choices import find_choices
from scaleprof.analyses.strategies.choices import metrics_of as choices_metrics
from scaleprof.analyses.strategies.choices import table_of as choices_table
from scaleprof.analyses.strategies.configurations import GPU, PROCESS, Configuration, Found, Rivals, find_rivals
from scaleprof.analyses.strategies.front import is_on_front
from scaleprof.results import Metric, Result, Table

_MEMORY = {
    GPU: "memory is what the driver says is in use on the GPU, by all processes together, so it includes what the allocator only keeps",
    PROCESS: "memory is what the whole process has in RAM (RSS), Python, libraries and the recording itself included: differences say more than "
    "the values",
}


def conclude(views: Sequence[RunView], options: ScalingOptions) -> Result | None:
    """Every group of configurations that can be held against one another; None where there is none."""
    found = find_rivals(views, options) if len(views) > 1 else Found()
    if not found.rivals:
        return None
    first, choices = found.rivals[0], find_choices(views, options)
    tables = {"strategies": _table(found.rivals), "strategies_by_size": choices_table(choices)}
    return Result(
        name="strategies",
        title="Strategies",
        headline=title_of(first),
        metrics=(*_metrics(first), *choices_metrics(choices)),
        tables={name: table for name, table in tables.items() if len(table)},
        charts=(*charts_of(found.rivals), *choices_charts(choices)),
        caveats=tuple(dict.fromkeys((*_caveats(found, options), *choices_caveats(choices)))),
    )


def _metrics(rivals: Rivals) -> list[Metric]:
    """Who is best at what, at the largest size with several configurations."""
    fastest, least = fastest_of(rivals), least_memory_of(rivals)
    note = f"{amount(fastest.throughput.value)} samples/s {rivals.scope}"
    equal = [one.name for one in rivals.members[1:] if not is_less(one.throughput, fastest.throughput)]
    if equal:
        note += f", not measurably more than {some(equal)}"
    metrics = [Metric("strategies.fastest", "Fastest configuration", fastest.name, note=note)]
    if least is not None and least.memory_bytes is not None:
        unit, size = memory_unit(rivals)
        note = f"{amount(least.memory_bytes / size)} {unit} a rank {rivals.scope}"
        metrics.append(Metric("strategies.least_memory", "Least memory on the front", least.name, note=note))
    known = by_energy(rivals)
    if len(known) > 1 and is_less(known[0][1], known[1][1]):
        unit, factor = energy_unit(known)
        note = f"{amount(known[0][1].value * factor)} {unit} a sample {rivals.scope}"
        metrics.append(Metric("strategies.least_energy", "Least energy", known[0][0], note=note))
    return metrics


def _table(groups: Sequence[Rivals]) -> Table:
    """One row per configuration and size, the fastest first; bytes on the bus are a rank's in a step, as measured and as the strategy has it."""
    columns = (
        "configuration", "ranks", "setting", "runs", "throughput", "throughput_low", "throughput_high", "step_ms", "step_low_ms",
        "step_high_ms", "efficiency", "efficiency_low", "efficiency_high", "peak_memory_bytes", "memory_of", "energy_per_sample_j",
        "energy_per_sample_low_j", "energy_per_sample_high_j", "on_front", "bus_bytes", "expected_bus_bytes",
    )  # fmt: skip
    rows = [_row(one, rivals) for rivals in groups for one in rivals.members]
    return Table.of_rows(columns, rows)


def _row(one: Configuration, rivals: Rivals) -> list[object]:
    efficiency, energy = (
        [known.value, known.low, known.high] if known is not None else [None] * 3
        for known in (one.efficiency, one.energy_j)
    )
    step, rate = one.step_ms, one.throughput
    row = [one.name, rivals.ranks, rivals.label, len(one.views), rate.value, rate.low, rate.high]
    row += [step.value, step.low, step.high, *efficiency]
    of = rivals.memory_of if one.memory_bytes is not None else ""
    traffic = [traffic_of(one.views, bytes_of) for bytes_of in (measured_bus_bytes, expected_bus_bytes)]
    return [*row, one.memory_bytes, of, *energy, is_on_front(one, rivals.members), *traffic]


def _caveats(found: Found, options: ScalingOptions) -> list[str]:
    members = [one for rivals in found.rivals for one in rivals.members]
    compared = [view for one in members for view in one.views]
    caveats = [_MEMORY[kind] for kind in dict.fromkeys(rivals.memory_of for rivals in found.rivals) if kind]
    if caveats:
        caveats.append("memory was sampled beside the training: a peak between two samples is not seen")
    caveats += _unknown_memory(members)
    caveats += _of_energy(members)
    if any(view.info.emulated is not None for view in compared):
        caveats.append(
            "the compute of these runs is emulated: what it would need of memory and energy is not in the numbers"
        )
    caveats += _of_the_machine(compared, options.runq_limit)
    caveats += _too_few_steps(members)
    if all(len(one.views) == 1 for one in members):
        caveats.append("each configuration ran once: the intervals are over its steps, not over starts of the job")
    for names, why in (
        (found.alone, "no other configuration had the same model, precision, device, network, ranks and global batch"),
        (found.blind, "its samples per step are unknown"),
    ):
        if names:
            caveats.append(f"{some(names)} {'are' if len(names) > 1 else 'is'} not compared: {why}")
    return caveats


def _unknown_memory(members: Sequence[Configuration]) -> list[str]:
    unknown = [one.name for one in members if one.memory_bytes is None]
    if len(unknown) == len(members):
        return ["memory was not recorded, so there is no front: it is sampled where psutil or NVML can be asked"]
    return [f"memory of {some(unknown)} was not recorded"] if unknown else []


def _of_energy(members: Sequence[Configuration]) -> list[str]:
    unknown = [one.name for one in members if one.energy_j is None]
    if len(unknown) == len(members):
        return [
            "power was not recorded over these steps, so there is no energy per sample: it is sampled where NVML can be asked"
        ]
    caveats = ["energy is that of the GPUs alone: their hosts and the network are not in it"]
    if unknown:
        caveats.append(
            f"energy of {some(unknown)} is unknown: less than half of the steady steps lies between two samples of every GPU's power"
        )
    shared = {listed(ranks) for one in members for view in one.views for ranks in gpus_of(view) if len(ranks) > 1}
    if shared:
        caveats.append(
            f"ranks {' and '.join(sorted(shared))} share a GPU in some runs: its energy counts once, its memory is that of all of them"
        )
    return caveats


def _of_the_machine(views: Sequence[RunView], limit: float) -> list[str]:
    """Runs whose pace the machine set."""
    waited = {run_name(view.info): share for view in views if (share := runq_share(view)) is not None and share > limit}
    if not waited:
        return []
    return [
        f"{some(list(waited))}: training threads waited up to {percent(max(waited.values()))} of the step for a core, "
        "so the machine had a part in the pace"
    ]


def _too_few_steps(members: Sequence[Configuration]) -> list[str]:
    unknown = [one.name for one in members if one.throughput.low is None]
    if not unknown:
        return []
    return [
        f"{some(unknown)}: too few steady steps for an interval (6 are needed), so nobody knows whether it is beaten"
    ]


STRATEGIES = Comparison("strategies", conclude, ScalingOptions)
