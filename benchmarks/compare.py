"""How often a comparison sees a change that is none, and how often it misses one: drawn step times of known correlation and shift.

    python -m benchmarks.compare [DRAWS]

Step times are 100 ms, with noise of 2 % from an autoregression. Prints, for each number of steps and each correlation, in how many draws of
a hundred the test alone refuses that two recordings are alike though they are (5 is the level), in how many the verdict is wrong, and in how many a
true change of 5 % is found. Then the same for repeated runs, which differ by 1 % from start to start.
"""

import sys
from dataclasses import dataclass

import numpy as np

from scaleprof.models.contrast import LEVEL, compared, spread_of, verdict_of

NOISE = 0.02
CHANGE = 0.05
BETWEEN_RUNS = 0.01


@dataclass(frozen=True)
class Rates:
    """Parts of the draws."""

    refused: float
    """The test alone says that two recordings of the same differ."""
    wrong: float
    """The verdict says so."""
    covered: float
    """The interval of the change holds the true one, none."""
    found: float
    """The verdict finds a true change."""


def autoregression(random: np.random.Generator, steps: int, phi: float) -> np.ndarray:
    """Standard normal values, each correlated by phi with the one before."""
    noise = random.normal(size=steps) * np.sqrt(1 - phi**2)
    noise[0] /= np.sqrt(1 - phi**2)
    for place in range(1, steps):
        noise[place] += phi * noise[place - 1]
    return noise


def rates(steps: int, phi: float, draws: int, seed: int = 0) -> Rates:
    """Of single runs."""
    random = np.random.default_rng([seed, steps, round(100 * phi)])
    counts = np.zeros(4)
    for _ in range(draws):
        base, same = (100 * (1 + NOISE * autoregression(random, steps, phi)) for _ in range(2))
        other = compared([base], [same])
        low, high = other.ratio.low, other.ratio.high
        changed = verdict_of(compared([base], [same * (1 + CHANGE)]))
        counts += (
            other.p <= LEVEL,
            verdict_of(other) in ("slower", "faster"),
            low is not None and high is not None and low <= 0 <= high,
            changed == "slower",
        )
    return Rates(*(counts / draws).tolist())


def rates_of_repeats(repeats: int, draws: int, seed: int = 0) -> Rates:
    """Of so many runs on each side."""
    random = np.random.default_rng([seed, repeats])
    counts = np.zeros(4)
    for _ in range(draws):
        sides = [
            [
                100 * (1 + BETWEEN_RUNS * random.normal()) * (1 + NOISE * autoregression(random, 20, 0.3))
                for _ in range(repeats)
            ]
            for _ in range(2)
        ]
        spread = spread_of(sides)
        other = compared(*sides, spread)
        shifted = [run * (1 + CHANGE) for run in sides[1]]
        low, high = other.ratio.low, other.ratio.high
        counts += (
            other.p <= LEVEL,
            verdict_of(other) in ("slower", "faster"),
            low is not None and high is not None and low <= 0 <= high,
            verdict_of(compared(sides[0], shifted, spread_of([sides[0], shifted]))) == "slower",
        )
    return Rates(*(counts / draws).tolist())


def main() -> None:
    """Print both tables."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"| steps | correlation | test refuses | wrong verdict | interval holds | {CHANGE:.0%} found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for steps in (8, 12, 20, 50, 200):
        for phi in (0.0, 0.3, 0.6, 0.8):
            found = rates(steps, phi, draws)
            print(_row(str(steps), f"{phi:g}", found))
    print()
    print(f"| repeats | between runs | test refuses | wrong verdict | interval holds | {CHANGE:.0%} found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for repeats in (2, 3, 5):
        print(_row(str(repeats), f"{BETWEEN_RUNS:.0%}", rates_of_repeats(repeats, draws)))


def _row(first: str, second: str, found: Rates) -> str:
    numbers = (found.refused, found.wrong, found.covered, found.found)
    return f"| {first} | {second} | " + " | ".join(f"{100 * number:.1f} %" for number in numbers) + " |"


if __name__ == "__main__":
    main()
