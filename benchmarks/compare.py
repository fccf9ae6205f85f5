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
SLOW_SHARE, SLOW_PHI = 0.36, 0.9
"""Of the noise's variance that is slow, below noise that is not correlated: the worst case for every estimate of correlation from few steps."""
QUIET, LOUD = 0.002, 0.03
"""How much runs of a study's configurations differ from start to start: two hardly, one much."""


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


def slow_noise(random: np.random.Generator, steps: int) -> np.ndarray:
    """A slow part under one that is not correlated."""
    slow = autoregression(random, steps, SLOW_PHI)
    found: np.ndarray = np.sqrt(SLOW_SHARE) * slow + np.sqrt(1 - SLOW_SHARE) * random.normal(size=steps)
    return found


def rates(steps: int, phi: float | None, draws: int, seed: int = 0) -> Rates:
    """Of single runs; with `slow_noise` where no correlation is given."""
    random = np.random.default_rng([seed, steps, 999 if phi is None else round(100 * phi)])
    counts = np.zeros(4)
    for _ in range(draws):
        noises = [slow_noise(random, steps) if phi is None else autoregression(random, steps, phi) for _ in range(2)]
        base, same = (100 * (1 + NOISE * noise) for noise in noises)
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


def wrong_of_the_loud(repeats: int, draws: int, seed: int = 0) -> float:
    """How often the configuration whose repeats differ much is called changed, in a study whose others hardly differ."""
    random = np.random.default_rng([seed, repeats])
    wrong = 0
    for _ in range(draws):
        sides = [
            [
                100 * (1 + spread * random.normal()) * (1 + 0.005 * autoregression(random, 12, 0.0))
                for _ in range(repeats)
            ]
            for spread in (QUIET, QUIET, QUIET, QUIET, LOUD, LOUD)
        ]
        wrong += verdict_of(compared(sides[4], sides[5], spread_of(sides))) in ("slower", "faster")
    return wrong / draws


def main() -> None:
    """Print both tables."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"| steps | correlation | test refuses | wrong verdict | interval holds | {CHANGE:.0%} found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for steps in (8, 12, 20, 50, 200):
        for phi in (0.0, 0.3, 0.6, 0.8, None):
            found = rates(steps, phi, draws)
            print(_row(str(steps), "slow" if phi is None else f"{phi:g}", found))
    print()
    print(f"| repeats | between runs | test refuses | wrong verdict | interval holds | {CHANGE:.0%} found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for repeats in (2, 3, 5):
        print(_row(str(repeats), f"{BETWEEN_RUNS:.0%}", rates_of_repeats(repeats, draws)))
    loud = ", ".join(f"{repeats}: {100 * wrong_of_the_loud(repeats, draws):.1f} %" for repeats in (2, 3, 5))
    print(f"\nWrong verdicts on a configuration with {LOUD:.0%} beside two with {QUIET:.1%}, by repeats: {loud}")


def _row(first: str, second: str, found: Rates) -> str:
    numbers = (found.refused, found.wrong, found.covered, found.found)
    return f"| {first} | {second} | " + " | ".join(f"{100 * number:.1f} %" for number in numbers) + " |"


if __name__ == "__main__":
    main()
