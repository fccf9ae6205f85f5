"""Every word of the glossary is explained once, and labels find the most special one."""

from scaleprof.render.glossary import TERMS, term_in


def test_ids_and_names_are_unique() -> None:
    assert len({term.id for term in TERMS}) == len({term.name for term in TERMS}) == len(TERMS)


def test_a_label_finds_the_most_special_term() -> None:
    expected = {
        "Efficiency, strong scaling": "strong-scaling",
        "Efficiency": "efficiency",
        "Parallel efficiency": "parallel-efficiency",
        "karp_flatt": "karp-flatt",
        "Karp-Flatt serial fraction (strong)": "karp-flatt",
        "Serial fraction of the law (strong)": "serial-fraction",
        "Ranks that keep 80 % (strong)": "knee",
        "Law of scaling (strong)": "law-of-scaling",
        "fitted_to": "held-out",
        "trust": "trust",
        "exposed_comm_ms": "exposed-communication",
        "Waiting for a core": "run-queue-wait",
        "Communication hidden behind compute": "overlap",
        "Communication in progress": "in-progress",
        "Exposed transfer": "exposed-transfer",
        "Waiting for slow ranks": "exposed-wait",
        "Waiting for the last rank": "last-rank",
        "Exposed, not told apart": "not-told-apart",
        "exposed_untold_growth_ms": "not-told-apart",
        "Pipeline bubble": "bubble",
        "Matched across ranks": "matched",
        "Clock error, at most": "clock-bound",
        "Clock error, 95 %": "clock-interval",
        "bound_us": "clock-bound",
        "half_width_us": "clock-interval",
        "offset_ms": "clock-offset",
        "Ends of collectives apart": "clock-residual",
        "wait_ms": "wait-of-operation",
        "transfer_ms": "transfer",
        "fitted_busbw_gbps": "busbw",
        "alpha_us": "latency",
        "Time under look-alikes": "look-alikes",
        "Wait efficiency": "efficiency-tree",
        "on_front": "pareto-front",
        "peak_memory_bytes": "peak-memory",
        "Least memory on the front": "peak-memory",
        "energy_per_sample_j": "energy-per-sample",
    }
    for label, id in expected.items():
        term = term_in(label)
        assert term is not None
        assert term.id == id, label
    assert term_in("Distinct names") is None
