"""Numbers as people read them: three significant digits, a unit in front of which they fit, and words for column names.

Every renderer formats here, so that a number looks the same on the page, in the terminal and in a comment.
"""

import math
import re
from typing import Any

ABSENT = "–"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LARGE = 100_000
"""From here on, a number gets a prefix instead of more digits."""
LEAST_GB = 1.0
"""Bandwidths below this are told in MB/s."""

_UNIT_SUFFIXES = {
    "ms": "ms",
    "us": "µs",
    "ppm": "ppm",
    "ns": "ns",
    "s": "s",
    "gbps": "GB/s",
    "gflop": "GFLOP",
    "tflops": "TFLOP/s",
    "bytes": "bytes",
    "share": "share",
    "percent": "%",
    "w": "W",
    "j": "J",
}
_SHARES = {
    "share",
    "efficiency",
    "against_median",
    "compute_scalability",
    "sampling",
    "overlap_ratio",
    "utilization",
    "wait_efficiency",
    "scaling_efficiency",
    # Factors of the efficiency tree.
    *(
        "parallel",
        "wait",
        "load_balance",
        "persistent_balance",
        "transient_balance",
        "pipeline",
        "transfer",
        "untold",
        "memory",
        "orchestration",
    ),
    *("mix", "speed", "concurrency", "matched_kernels"),
}
_NAMES = {
    "karp_flatt": "Karp-Flatt",
    "runq": "run-queue wait",
    "world_size": "world size",
    "tau": "time per sample",
    "exposed_comm": "exposed comm.",
    "exposed_wait": "waiting for slow ranks",
    "bubble": "pipeline bubble",
    "exposed_untold": "exposed, not told apart",
    "exposed_memory": "exposed copies",
    "comm": "comm. in progress",
    "alpha": "latency",
    "half_width": "error, 95 %",
    "bound": "error, at most",
    "fitted": "used for the fit",
    "from_80": "80 % interval from",
    "to_80": "80 % interval to",
    "under_compute": "ran under compute",
    "slowdown_under_compute": "times as long under compute",
    "overlapped": "hidden comm.",
    "step": "step",
    "dtype": "type",
    "op": "operation",
}


def digits_of(value: float, *, significant: int = 3) -> int:
    """Decimals that show the significant digits of a number, none above a hundred."""
    if value == 0 or not math.isfinite(value):
        return 0
    return max(significant - 1 - math.floor(math.log10(abs(float(f"{value:.{significant - 1}e}")))), 0)


def number(value: Any) -> str:
    """A bare number: `1,024`, `0.0713`, `48.1`, `19.9 M`; words stay words, an absent value is a dash."""
    amount, prefix = _scaled(value)
    return f"{amount} {prefix}" if prefix else amount


def _scaled(value: Any) -> tuple[str, str]:
    if value is None:
        return ABSENT, ""
    if isinstance(value, bool):
        return ("yes" if value else "no"), ""
    if not isinstance(value, int | float):
        return str(value), ""
    if not math.isfinite(value):
        return ABSENT, ""
    if abs(value) >= _LARGE:
        for size, prefix in _PREFIXES:
            if abs(value) >= size:
                return _plain(value / size), prefix
    return (f"{value:,}" if isinstance(value, int) else _plain(value)), ""


def _plain(value: float) -> str:
    if value == 0 or (value == int(value) and abs(value) < _LARGE):
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:,.{digits_of(value)}f}"


def percent(share: float) -> str:
    """The number of percent without its sign: `22.2`, `0.04`, `100`."""
    value = 100 * share
    if value == 0:
        return "0"
    if abs(value) >= 0.095:
        return f"{value:,.1f}"
    # What is smaller still is no difference that anybody measured; its sign would say that it is one.
    return f"{value:.1g}" if abs(value) >= 0.005 else "0.00"


def measure(value: Any, unit: str) -> tuple[str, str]:
    """A value and its unit as they are shown: (`22.2`, `%`), (`1.28`, `s`), (`19.9`, `M samples/s`)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return number(value), ""
    if unit == "share":
        return percent(value), "%"
    if unit == "ms":
        return _duration(value)
    if unit == "us":
        return _error_of_clock(value)
    if unit == "GB/s" and abs(value) < LEAST_GB:
        return _prefixed(value * 1e9, "B/s")
    if unit == "bytes":
        return _prefixed(value, "B")
    if unit == "FLOP":
        return _prefixed(value, unit)
    if unit == "x":
        return _plain(float(value)), "×"
    amount, prefix = _scaled(value)
    return amount, f"{prefix} {unit}".strip()


def _duration(ms: float) -> tuple[str, str]:
    if ms == 0:
        return "0", "ms"
    for size, unit in ((1e3, "s"), (0.1, "ms"), (1e-4, "µs")):
        if abs(ms) >= size:
            scale = {"s": 1e-3, "ms": 1.0, "µs": 1e3}[unit]
            return f"{ms * scale:,.{digits_of(ms * scale)}f}", unit
    return f"{ms * 1e6:.3g}", "ns"


def _error_of_clock(us: float) -> tuple[str, str]:
    """Two digits: a third one would be wrong itself."""
    scale, unit = (1e-3, "ms") if abs(us) >= 1e3 else (1.0, "µs")
    value = float(f"{us * scale:.2g}")
    return f"{value:,.{digits_of(value, significant=2)}f}", unit


def _prefixed(value: float, unit: str) -> tuple[str, str]:
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:,.{digits_of(value / size)}f}", f"{prefix}{unit}"
    return _plain(float(value)), unit


def phrase(value: Any, unit: str) -> str:
    """A value with its unit in one piece: `22.2 %`, `1.28 s`."""
    amount, shown = measure(value, unit)
    return f"{amount} {shown}" if shown else amount


def interval(low: float | None, high: float | None, unit: str, *, beside: str = "") -> str:
    """`71.0 to 74.9 %`, without the unit where it is the one `beside`; empty where an end is missing."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    (first, first_unit), (last, last_unit) = measure(low, unit), measure(high, unit)
    if (first, first_unit) == (last, last_unit):
        return _narrow(low, high)
    if first_unit == last_unit:
        return f"{first} to {last} {'' if last_unit == beside else last_unit}".strip()
    return f"{first} {first_unit} to {last} {last_unit}"


def _narrow(low: float, high: float) -> str:
    """An interval whose ends read the same: by how much the value may be off, of itself."""
    off = (high - low) / abs(high + low) if high + low else 0.0
    return f"within {percent(off)} %" if off >= 1e-4 else "within 0.01 %"


def heading(column: str) -> tuple[str, str]:
    """Words and unit of a column's name: `step_ms` is (`step`, `ms`); shares have the unit `share`."""
    if re.search(r"[A-Z ]", column):
        return column, ""
    if column.endswith("_growth_ms"):
        words, _ = heading(column.replace("_growth", ""))
        return f"{words} growth", "ms"
    base, _, suffix = column.rpartition("_")
    if column in _SHARES or column.removesuffix("_low").removesuffix("_high") in _SHARES:
        return _NAMES.get(column, column.replace("_", " ")), "share"
    if base and suffix in _UNIT_SUFFIXES:
        return _NAMES.get(base, base.replace("_", " ")), _UNIT_SUFFIXES[suffix]
    unit = "bytes" if column == "bytes" else ""
    return _NAMES.get(column, column.replace("_", " ")), unit


def together(text: str) -> str:
    """The text with numbers and their units kept on one line."""
    return re.sub(r"(?<=\d) (?=(%|ms|µs|s|[kMGT]?B|×)(?![\w-]))", "\u00a0", text)


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it is longer: both ends of a kernel's name tell something."""
    if len(text) <= most:
        return text
    front = (most - 1) * 2 // 3
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"


def many(count: int, what: str) -> str:
    """`1 rank`, `1,024 ranks`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """A remark with a capital letter and a full stop."""
    if not text:
        return ""
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    # `all_reduce` is spelled like this wherever it stands.
    is_name = "_" in ended.split(maxsplit=1)[0]
    return together(ended if is_name else ended[:1].upper() + ended[1:])
