"""What a strategy must put on the bus: bytes a rank and step, from the number of parameters alone (`method` 6.1, 6.2; Rajbhandari et al. 2020)."""

from scaleprof.models.communication import bus_factor

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Of one element of a type, as torch calls it."""


def replicated_bytes(parameters: int, ranks: int, *, element: float) -> float:
    """Data parallelism, also with sharded optimizer states (ZeRO-1 and 2): every gradient is reduced and comes back, 2 (n-1) / n times its size."""
    return parameters * element * bus_factor("all_reduce", ranks)


def sharded_bytes(parameters: int, ranks: int, *, element: float, gathers: int = 2) -> float:
    """Fully sharded parameters (FSDP, ZeRO-3): gathered for the forward pass and again for the backward pass, gradients scattered once.

    `gathers` is 1 where parameters are kept between the passes, and 2 for each micro-batch otherwise.
    """
    each = parameters * element * bus_factor("all_gather", ranks)
    return (gathers + 1) * each
