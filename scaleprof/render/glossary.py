"""The words of a report in plain language: at the foot of the page, and as a note on labels and table heads where they occur."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One word, what it means, and how else it is written in labels and column names."""

    id: str
    name: str
    text: str
    also: tuple[str, ...] = ()


TERMS = (
    Term(
        "karp-flatt",
        "Karp-Flatt fraction",
        "The serial fraction that would explain the speedup seen, if Amdahl's law were all there is. Where it grows with the size, overhead grows.",
        ("karp-flatt", "karp_flatt", "serial fraction"),
    ),
    Term(
        "law-of-scaling",
        "Law of scaling",
        "A formula for throughput by size, its coefficients fitted to the measured sizes. Amdahl: a part of every sample is not shared among ranks. "
        "Logarithmic: each doubling adds the same cost. Gustafson: what is not shared stays as it is while the work grows. USL: contention, and a "
        "cost for every pair of ranks. Extra-P: one term of powers and logarithms. By class: compute, transfer, "
        "waiting and the others each by its own law.",
        ("law of scaling",),
    ),
    Term(
        "serial-fraction",
        "Serial fraction of the law",
        "The part of the work at the reference size that more ranks do not make faster, as the law that was fitted to all sizes has it.",
        ("serial fraction of the law", "serial_fraction"),
    ),
    Term(
        "contention",
        "Contention",
        "Sigma of the universal scalability law (Gunther 1993): the part of the work for which ranks queue. It alone bounds throughput.",
        ("contention", "sigma"),
    ),
    Term(
        "coherence",
        "Coherence",
        "Kappa of the universal scalability law: what each pair of ranks costs that must agree. It makes throughput fall beyond a peak.",
        ("coherence", "kappa"),
    ),
    Term(
        "knee",
        "Knee",
        "Where more ranks stop being worth it, by the law: the most that keep the target efficiency, the most whose doubling still gives 1.4 times "
        "as much (70 %), and those with the highest throughput.",
        ("ranks that keep", "ranks worth doubling", "ranks with the highest"),
    ),
    Term(
        "cheapest-size",
        "Cheapest size",
        "Of the sizes measured the one at which a sample takes the least time of ranks: what counts where ranks are paid by the hour.",
        ("cheapest size",),
    ),
    Term(
        "trust",
        "Predicted, indicative, speculative",
        "How far a size is beyond the largest one measured: up to 2 times is predicted, up to 8 times indicative, up to 64 times speculative; beyond "
        "that there is no number. The intervals say what the measurements leave open, not what only a larger machine would show.",
        ("trust",),
    ),
    Term(
        "held-out",
        "Held out",
        "The largest size left out, the law fitted to the others and asked for it: inside or outside its 95 % interval, and by how much it is off.",
        ("held out", "fitted_to"),
    ),
    Term(
        "compute-scalability",
        "Compute scalability",
        "Compute per sample at the smallest size over compute per sample at this one: below 100 % the same work takes more time as such.",
        ("compute scalability", "compute_scalability"),
    ),
    Term(
        "efficiency",
        "Scaling efficiency",
        "Throughput per rank over throughput per rank at the reference size. 100 % means that nothing is lost by growing.",
        ("efficiency",),
    ),
    Term(
        "strong-scaling",
        "Strong scaling",
        "The global batch stays the same, so every rank gets less work as ranks are added.",
        ("strong scaling",),
    ),
    Term(
        "weak-scaling",
        "Weak scaling",
        "The work of a rank stays the same, so the job does more as ranks are added.",
        ("weak scaling",),
    ),
    Term(
        "speedup",
        "Speedup",
        "Throughput of the whole job over its throughput at the reference size.",
        ("speedup",),
    ),
    Term(
        "exposed-communication",
        "Exposed communication",
        "Time in which a rank does nothing but communicate or wait for communication: transfer, pipeline bubble and waiting for slow ranks "
        "together. What runs under compute is hidden and costs no time.",
        ("exposed comm", "exposed_comm"),
    ),
    Term(
        "exposed-wait",
        "Waiting for slow ranks",
        "The part of exposed communication in which the last rank of the operation has not arrived: a faster network would not help.",
        ("exposed wait", "waiting for slow", "exposed_wait"),
    ),
    Term(
        "exposed-transfer",
        "Exposed transfer",
        "The part of exposed communication after the last rank has arrived: bytes on the wire and latency.",
        ("exposed transfer", "exposed_transfer"),
    ),
    Term(
        "bubble",
        "Pipeline bubble",
        "The part of exposed communication in which a pipeline stage waits for a neighbour to hand it work: its schedule, not its network.",
        ("bubble",),
    ),
    Term(
        "not-told-apart",
        "Exposed, not told apart",
        "Exposed communication that is waiting, transfer or both, and nothing recorded tells which: operations that were not found on the other "
        "ranks, or waits that name no operation.",
        ("not told apart", "exposed_untold"),
    ),
    Term(
        "compute",
        "Compute",
        "Time in which a rank computes, whatever else runs beside it. It counts first, so communication under compute takes none of it.",
        ("compute_ms",),
    ),
    Term(
        "in-progress",
        "Communication in progress",
        "Time in which at least one operation of communication runs, hidden behind compute or not.",
        ("in progress", "comm_ms", "comm. in"),
    ),
    Term(
        "overlap",
        "Overlap ratio",
        "Share of the communication that ran while the same rank computed. 100 % means communication costs no time.",
        ("overlap", "hidden behind", "hidden comm"),
    ),
    Term(
        "exposed-memory",
        "Exposed memory copies",
        "Copies between host and device, or within a device, that neither compute nor communication hides.",
        ("exposed memory", "exposed copies", "exposed_memory"),
    ),
    Term(
        "idle",
        "Idle",
        "What is left of the step when compute, exposed communication and exposed copies are taken away: input, launch gaps, host work.",
        ("idle",),
    ),
    Term(
        "host-sync",
        "Waiting for the device",
        "A call in which the host waits until the device has done its work. Nothing is queued then: the device is idle until more is launched.",
        ("waits for the device", "sync_ms"),
    ),
    Term(
        "launching",
        "Launching work",
        "The host hands out work call by call. Where a kernel is over before the next one is launched, the device waits for the host.",
        ("launching work", "launch_ms", "dispatch_ms", "interpreter_ms"),
    ),
    Term(
        "queued",
        "Queued work",
        "Work that the host launched in time and the device did not begin at once: the time between two kernels, or waiting for an event.",
        ("sched_ms",),
    ),
    Term(
        "parallel-efficiency",
        "Parallel efficiency",
        "Share of the step that all ranks together spend computing, at this size alone.",
        ("parallel efficiency",),
    ),
    Term(
        "efficiency-tree",
        "Factors of the efficiency tree",
        "Parallel efficiency as a product. Each factor counts one class of time more, in the order of the tree: what was left before over what is "
        "left with it. The factor far below 100 % is where to look.",
        (
            "wait efficiency",
            "pipeline efficiency",
            "transfer efficiency",
            "memory efficiency",
            "orchestration efficiency",
        ),
    ),
    Term(
        "load-balance",
        "Load balance",
        "Mean over longest compute of the ranks, step by step. Its persistent part is what ranks differ by in sum over all steps, the transient "
        "part what they differ by from step to step.",
        ("load balance", "persistent balance", "transient balance"),
    ),
    Term(
        "growth",
        "Growth",
        "What a sample costs a rank more at the larger size, class by class; the parts add up to the whole difference.",
        ("growth",),
    ),
    Term(
        "losses",
        "Losses",
        "Each class's share of the step times the number of ranks: how many machines' worth of time went where.",
        ("equivalents", "not computing", "not used"),
    ),
    Term(
        "run-queue-wait",
        "Run-queue wait",
        "Time the training thread could have run but had no core. Much of it means an oversubscribed machine, whose times say little about the job.",
        ("run-queue", "runq", "waiting for a core"),
    ),
    Term(
        "throughput",
        "Throughput",
        "Samples of all ranks in a step over the mean time of the steady steps.",
        ("throughput",),
    ),
    Term(
        "flop",
        "FLOP",
        "Floating-point operations, a multiplication with its addition being two: those of the matrix products, convolutions and attention that ran.",
        ("flop", "operations of one rank"),
    ),
    Term(
        "matched",
        "Matched across ranks",
        "An operation is matched when the records of all ranks of its group are found to be the same operation. Only then waiting and transfer "
        "can be told apart.",
        ("matched",),
    ),
    Term(
        "last-rank",
        "Waiting for the last rank",
        "From when a rank enters a collective until the last rank of its group enters it, over the whole time in collectives, exposed or hidden. "
        "The rank that enters last has the shortest time and waits for nobody: that is how it is told without comparing clocks.",
        ("the last rank", "wait_share"),
    ),
    Term(
        "wait-of-operation",
        "Wait of an operation",
        "Mean part of an operation before the last rank has entered it; with the transfer it makes up the time in progress.",
        ("wait_ms",),
    ),
    Term(
        "transfer",
        "Transfer of an operation",
        "What is left of an operation without waiting for the last rank: bytes on the wire and latency. Median where several are taken together.",
        ("transfer_ms",),
    ),
    Term(
        "clock-bound",
        "Clock error, at most",
        "Nothing ends before it has begun, and no collective ends before its last rank has entered it: a clock that is set wrongly by more than "
        "this would break that. Guaranteed, and often far too wide.",
        ("clock error, at most", "bound_us"),
    ),
    Term(
        "clock-interval",
        "Clock error, 95 %",
        "Half the width of the 95 % interval of a clock's offset, from the scatter of the measurements it was set by: what to expect.",
        ("clock error, 95", "half_width"),
    ),
    Term(
        "clock-residual",
        "Ends of collectives apart",
        "Ranks leave a collective at about the same time. How far apart they leave it on one clock says how well the clocks fit; it is no bound "
        "of their error. Collectives on the host (gloo) do not end together, whatever the clocks.",
        ("ends of collectives", "residual_us"),
    ),
    Term(
        "clock-offset",
        "Offset and drift of a clock",
        "By how much a host's clock is ahead of the clock of rank 0 when first compared, and by how many microseconds a second that changes (ppm).",
        ("offset_ms", "drift_ppm"),
    ),
    Term(
        "busbw",
        "Bus bandwidth",
        "Bytes over time, scaled so that it can be compared with the speed of a link whatever the number of ranks (as nccl-tests does).",
        ("busbw", "bus bandwidth"),
    ),
    Term(
        "latency",
        "Latency of an operation",
        "Alpha: what a collective takes however small it is, where the line fitted to its times by size begins.",
        ("alpha_us",),
    ),
    Term(
        "reference-share",
        "Share of the reference",
        "The time that the links took in the log of nccl-tests that was given, over the time they took here, for the same operations and sizes.",
        ("share of the reference", "reference share", "reference_share"),
    ),
    Term(
        "interpolation-error",
        "Interpolation error",
        "How far off a time is, in the middle, when its size is left out and it is read between the neighbouring sizes.",
        ("interpolation error", "interpolation_error"),
    ),
    Term(
        "steady-steps",
        "Steady steps",
        "Steps after warm-up that every rank has seen and no start or stop of the profiler disturbed. All statistics use these.",
        ("steady",),
    ),
    Term(
        "look-alikes",
        "Look-alikes",
        "Kernels that count as compute and have a name such as those that communicate. If they do, --communication counts them.",
        ("lookalike", "look-alike", "looks like communication"),
    ),
    Term(
        "interval",
        "95 % interval",
        "From resampling blocks of neighbouring steps (moving-block bootstrap): the range in which the mean lies 95 times out of 100.",
    ),
    Term(
        "sampling",
        "Sampling",
        "Mean time of all steady steps over the mean time of the profiled ones: how far the profiled steps stand for all.",
        ("sampling", "against profiled"),
    ),
    Term(
        "pareto-front",
        "Pareto front",
        "Configurations that no other one of the same size beats: none has more throughput and needs no more memory. What is not on it has a "
        "better replacement.",
        ("on front", "on_front"),
    ),
    Term(
        "peak-memory",
        "Peak memory",
        "The largest sample of any rank: on GPUs what the driver says is in use on the device, by all processes; else what the process has in RAM "
        "(RSS), Python and libraries included.",
        ("peak memory", "peak_memory", "least memory"),
    ),
    Term(
        "energy-per-sample",
        "Energy per sample",
        "Mean power of all GPUs over the steady steps times the mean step time, over the samples of all ranks in a step. Hosts are not in it.",
        ("energy_per_sample", "energy per sample", "least energy"),
    ),
    Term(
        "emulated-device",
        "Emulated device",
        "Stands in for a GPU by sleeping for a known time, so that real communication can be studied on a machine too small for the compute.",
    ),
    Term(
        "synthetic",
        "Synthetic data",
        "Traces that were computed from a description of a job, not recorded. Their answers are known.",
    ),
    Term(
        "world-size",
        "World size",
        "The number of ranks, that is processes, of a job; on GPUs usually one per device.",
        ("world size", "world_size"),
    ),
)


def term_in(label: str) -> Term | None:
    """The term that a label or a column name speaks of, the more special one first."""
    lowered = label.lower()
    special = sorted(((word, term) for term in TERMS for word in term.also), key=lambda pair: -len(pair[0]))
    return next((term for word, term in special if word in lowered), None)
