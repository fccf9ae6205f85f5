"""How often a comparison sees a change that is none, and how often it misses one: drawn step times of known correlation and shift.

    python -m benchmarks.compare [DRAWS]

Step times are 100 ms, with noise of 2 %. Prints, for each number of steps and each kind of noise (`NOISES`), in how many draws of
a hundred the test alone refuses that two recordings are alike though they are (5 is the level), in how many the verdict is wrong, and in how many a
true change of 5 % is found. Then the same for repeated runs, which differ by 1 % from start to start.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from scaleprof.models.contrast import LEVEL, compared, spread_of, verdict_of

NOISE = 0.02
CHANGE = 0.05
BETWEEN_RUNS = 0.01
SLOW_SHARE, SLOW_PHI = 0.36, 0.9
"""Of the noise's variance that is slow, below noise that is not correlated: the worst case for every estimate of correlation from few steps."""
SWITCHES, LEVEL_NOISE = 0.1, 0.2
"""How often the level changes, and the noise on top, in distances of the two levels from their middle."""
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


def switching_noise(random: np.random.Generator, steps: int) -> np.ndarray:
    """Two levels, of which each step keeps that of the one before in nine of ten cases."""
    switches = random.random(steps) < SWITCHES
    switches[0] = random.random() < 0.5
    found: np.ndarray = 1.0 - 2.0 * (np.cumsum(switches) % 2) + LEVEL_NOISE * random.normal(size=steps)
    return found


Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISES: dict[str, Noise] = {
    **{f"{phi:g}": partial(autoregression, phi=phi) for phi in (0.0, 0.3, 0.6, 0.8, 0.95)},
    "slow": slow_noise,
    "switching": switching_noise,
}
"""By name: an autoregression is called by its correlation from step to step."""


def rates(steps: int, noise: str, draws: int, seed: int = 0) -> Rates:
    """Of single runs with one of NOISES."""
    random = np.random.default_rng([seed, steps, list(NOISES).index(noise)])
    counts = np.zeros(4)
    for _ in range(draws):
        base, same = (100 * (1 + NOISE * NOISES[noise](random, steps)) for _ in range(2))
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
    print(f"| steps | noise | test refuses | wrong verdict | interval holds | {CHANGE:.0%} found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for steps in (6, 8, 12, 20, 50, 200):
        for noise in NOISES:
            print(_row(str(steps), noise, rates(steps, noise, draws)))
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
