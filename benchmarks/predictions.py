"""How well larger sizes are predicted: every curve of `curves.py`, fitted to its smallest sizes and asked for each larger one; beside Amdahl's law,
the universal scalability law (USL) and Extra-P on the same splits. Run as `python -m benchmarks.predictions [FOLDER]`.

The curves were known when the models of `scaleprof.models` were chosen, so this is no blind test. Ours sees what a table of measurements holds:
ranks, throughput and, where they are known, nodes; sizes on one node are set aside where the others lie on several. Amdahl and USL are least squares
of the throughput, as R's `usl` fits; Extra-P is its default modeler on the time per sample and rank. A split that a model has too few sizes for is
refused and counted apart.
"""

import argparse
import json
import math
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from benchmarks.curves import MORE_NODES, SOURCES, Curve, curves_below
from scaleprof.models.extrapolation import FEWEST_ACROSS, FEWEST_SIZES, extrapolate
from scaleprof.models.laws import AMDAHL, USL, Law, fit
from scaleprof.models.pmnf import LEAST_POINTS, fit_pmnf
from scaleprof.models.rivals import Measured

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
ENVIRONMENT = BUILD / "extrap-venv"
REQUIRED = "extrap==4.2.5"
UNKNOWN_SPREAD = 0.01
"""What a table without repeats is taken to vary by at least, as `scaleprof predict` does."""
DOUBT = 0.05
GOAL = (0.70, 0.90)
"""Of the 80 % intervals, so many shall hold the measured value."""
OURS, EXTRA_P = "ScaleProf", "Extra-P"
MODELS = (OURS, "Amdahl", "USL", EXTRA_P)
SAME_SIZES = {"Amdahl, one node set aside": AMDAHL, "USL, one node set aside": USL}
"""The same laws given what ours knows: which sizes lie on one node."""


@dataclass(frozen=True)
class Split:
    """The smallest sizes of a curve, and the larger ones to be predicted from them."""

    curve: Curve
    count: int
    """Sizes to fit to."""

    @property
    def sizes(self) -> np.ndarray:
        """Those fitted to."""
        return np.array(self.curve.ranks[: self.count])

    @property
    def rates(self) -> np.ndarray:
        """Their throughput."""
        return np.array(self.curve.throughput[: self.count])

    @property
    def asked(self) -> np.ndarray:
        """Sizes asked for."""
        return np.array(self.curve.ranks[self.count :])

    @property
    def truth(self) -> np.ndarray:
        """Their measured throughput."""
        return np.array(self.curve.throughput[self.count :])


@dataclass(frozen=True)
class Answer:
    """What one model says of the sizes of one split; the reason where it refuses all of them."""

    values: tuple[float, ...] = ()
    within_80: tuple[tuple[float, float], ...] = ()
    within_95: tuple[tuple[float, float], ...] = ()
    refused: str = ""


def splits_of(curves: Sequence[Curve]) -> list[Split]:
    """Every curve cut after its third size, its fourth, and so on."""
    return [Split(curve, count) for curve in curves for count in range(FEWEST_SIZES, len(curve.ranks))]


def across(split: Split) -> Split | None:
    """The split without the sizes on one node where those asked for lie on several; None where fewer than two are left."""
    one = split.curve
    if not one.nodes or one.nodes[-1] == 1:
        return split
    keep = [place for place in range(len(one.ranks)) if one.nodes[place] > 1 or place >= split.count]
    count = sum(place < split.count for place in keep)
    picked = (tuple(of[place] for place in keep) for of in (one.ranks, one.throughput, one.nodes))
    return Split(Curve(one.name, one.source, one.kind, *picked), count) if count >= FEWEST_ACROSS else None


def ours(split: Split) -> Answer:
    """Throughput with its intervals, as `scaleprof predict` would say; nan beyond where it gives numbers."""
    kept = across(split)
    if kept is None:
        return Answer(refused="fewer than two sizes on several nodes")
    sizes, rates = kept.sizes, kept.rates
    measured = Measured(sizes, rates, np.full(len(sizes), UNKNOWN_SPREAD), doubt=DOUBT)
    found = extrapolate(measured, split.curve.kind)
    asked = [found.at(size, noise=UNKNOWN_SPREAD) for size in split.asked]
    return Answer(
        tuple(one.value if one.value is not None else math.nan for one in asked),
        tuple(one.within_80 or (math.nan, math.nan) for one in asked),
        tuple(one.within_95 for one in asked),
    )


def by_law(law: Law, split: Split, *, whole: bool = True) -> Answer:
    """Least squares of the throughput, without weights; of all sizes, or of those that ours is fitted to."""
    kept = split if whole else across(split)
    if kept is None or kept.count < law.count:
        return Answer(refused=f"fewer than {law.count} sizes")
    found = fit(law, kept.sizes, kept.rates)
    return Answer(tuple(found.throughput(size) for size in split.asked))


def extra_p(splits: Sequence[Split]) -> tuple[list[Answer], str]:
    """What Extra-P says of every split, and a sentence on which one answered: itself, or our own reading of it where it cannot be installed."""
    short = Answer(refused=f"fewer than {LEAST_POINTS} sizes")
    enough = [split for split in splits if split.count >= LEAST_POINTS]
    try:
        python = _python_with_extra_p()
    except (subprocess.CalledProcessError, OSError) as error:
        said = f"{REQUIRED} could not be installed ({str(error).splitlines()[0]}): its rules as `scaleprof.models.pmnf` has them answer instead"
        values = [fit_pmnf(one.sizes, one.sizes / one.rates).at(one.asked).tolist() for one in enough]
    else:
        said = f"Extra-P is {REQUIRED} from PyPI, in an environment of its own"
        asked = [[one.sizes.tolist(), (one.sizes / one.rates).tolist(), one.asked.tolist()] for one in enough]
        command = [str(python), "-W", "ignore", str(Path(__file__).with_name("extra_p.py"))]
        done = subprocess.run(command, input=json.dumps(asked), check=True, capture_output=True, text=True)
        values = json.loads(done.stdout)
    answers = iter(
        Answer(refused=times) if isinstance(times, str) else Answer(tuple(n / t for n, t in zip(one.asked, times, strict=True)))
        for one, times in zip(enough, values, strict=True)
    )  # fmt: skip
    return [next(answers) if split.count >= LEAST_POINTS else short for split in splits], said


def _python_with_extra_p() -> Path:
    """The Python that has Extra-P; its environment is made where it is not there yet."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    if not ready.exists() or ready.read_text() != REQUIRED:
        print(f"making {ENVIRONMENT} ...", file=sys.stderr, flush=True)
        if not python.exists():
            venv.create(ENVIRONMENT, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIRED]
        subprocess.run(install, check=True)
        ready.write_text(REQUIRED)
    return python


def answers_of(splits: Sequence[Split], workers: int) -> tuple[dict[str, list[Answer]], str]:
    """By model the answers to every split, and who answered for Extra-P."""
    with ProcessPoolExecutor(workers) as pool:
        found = {OURS: list(pool.map(ours, splits, chunksize=8))}
    found["Amdahl"] = [by_law(AMDAHL, split) for split in splits]
    found["USL"] = [by_law(USL, split) for split in splits]
    found[EXTRA_P], said = extra_p(splits)
    for name, law in SAME_SIZES.items():
        found[name] = [by_law(law, split, whole=False) for split in splits]
    return found, said


def wilson(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share by Wilson (1927), as if the cases were independent."""
    if not count:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, extra = hits / count, z * z / count
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / count + extra / 4 / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True)
class Score:
    """A model over some splits."""

    errors: np.ndarray
    """Predicted over measured time per sample, less 1, absolute; one for each size that it gave a number for."""
    by_curve: np.ndarray
    """The median error of each curve."""
    refused: int
    """Sizes for which it gave none."""
    inside_80: tuple[int, int]
    """Measured values inside the 80 % interval, and how many intervals there are."""
    inside_95: tuple[int, int]


def score(splits: Sequence[Split], answers: Sequence[Answer]) -> Score:
    """How near the answers come."""
    errors: list[float] = []
    of_curve: dict[str, list[float]] = {}
    refused, inside = 0, {80: [0, 0], 95: [0, 0]}
    for split, answer in zip(splits, answers, strict=True):
        if answer.refused:
            refused += len(split.asked)
            continue
        for place, (value, truth) in enumerate(zip(answer.values, split.truth, strict=True)):
            if not math.isfinite(value):
                refused += 1
                continue
            errors.append(abs(truth / value - 1))
            of_curve.setdefault(split.curve.name, []).append(errors[-1])
            for level, spans in ((80, answer.within_80), (95, answer.within_95)):
                if spans:
                    inside[level][0] += spans[place][0] <= truth <= spans[place][1]
                    inside[level][1] += 1
    by_curve = np.array([np.median(each) for each in of_curve.values()])
    return Score(np.array(errors), by_curve, refused, (inside[80][0], inside[80][1]), (inside[95][0], inside[95][1]))


def table(splits: Sequence[Split], answers: Mapping[str, Sequence[Answer]]) -> list[str]:
    """A line for each source and model: sizes predicted and refused, errors, coverage; then the same where all models answer."""
    heads = (
        "curves",
        "model",
        "predicted",
        "refused",
        "median error",
        "median, each curve once",
        "90 % of errors below",
        "in 80 % interval",
        "in 95 % interval",
    )
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"]
    every = [place for place in range(len(splits)) if not any(answers[model][place].refused for model in MODELS)]
    for where in (*SOURCES, "all", "all, where every model answers"):
        chosen = every if where.endswith("answers") else range(len(splits))
        places = [place for place in chosen if where.startswith("all") or splits[place].curve.source == where]
        models = (*MODELS, *SAME_SIZES) if where == MORE_NODES else MODELS
        for model in models if places else ():
            found = score([splits[place] for place in places], [answers[model][place] for place in places])
            lines.append(_line(where if model == MODELS[0] else "", model, found))
    return lines


def _line(where: str, model: str, found: Score) -> str:
    numbers = [""] * 3
    if len(found.errors):
        values = (np.median(found.errors), np.median(found.by_curve), np.quantile(found.errors, 0.9))
        numbers = [f"{100 * value:.1f} %" for value in values]
    cells = [where, model, f"{len(found.errors):,}", f"{found.refused:,}", *numbers]
    return f"| {' | '.join([*cells, _covered(*found.inside_80), _covered(*found.inside_95)])} |"


def _covered(hits: int, count: int) -> str:
    if not count:
        return ""
    low, high = wilson(hits, count)
    return f"{100 * hits / count:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def by_distance(splits: Sequence[Split], answers: Sequence[Answer]) -> list[str]:
    """Ours by how many times the largest size fitted to is asked for."""
    lines = [
        "| times the largest size | predicted | median error | in 80 % interval | in 95 % interval |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for low, high in ((1, 2), (2, 4), (4, 8), (8, 64)):
        parts = [_only(split, answer, low, high) for split, answer in zip(splits, answers, strict=True)]
        found = score([split for split, _ in parts], [answer for _, answer in parts])
        if len(found.errors):
            cells = (
                f"{low} to {high}",
                f"{len(found.errors):,}",
                f"{100 * np.median(found.errors):.1f} %",
                _covered(*found.inside_80),
            )
            lines.append(f"| {' | '.join(cells)} | {_covered(*found.inside_95)} |")
    return lines


def _only(split: Split, answer: Answer, low: float, high: float) -> tuple[Split, Answer]:
    """The same split with the sizes at such a distance alone."""
    ratio = split.asked / split.sizes[-1]
    keep = [place for place in range(len(ratio)) if low < ratio[place] <= high]
    places = [*range(split.count), *(split.count + place for place in keep)]
    one = split.curve
    fewer = Curve(
        one.name, one.source, one.kind, tuple(one.ranks[p] for p in places), tuple(one.throughput[p] for p in places)
    )
    picked = (
        tuple(of[place] for place in keep) if of else () for of in (answer.values, answer.within_80, answer.within_95)
    )
    return Split(fewer, split.count), Answer(*picked, refused=answer.refused)


def verdicts(splits: Sequence[Split], answers: Mapping[str, Sequence[Answer]]) -> list[str]:
    """Whether what is wanted is reached."""
    lines = []
    medians = {model: float(np.median(score(splits, answers[model]).errors)) for model in MODELS}
    best = min(medians, key=lambda model: medians[model])
    lines.append(f"- lowest median error of all: {'reached' if best == OURS else f'missed, {best} has it'}")
    adaptdl = [place for place in range(len(splits)) if splits[place].curve.source in SOURCES[1:]]
    if adaptdl:
        hits, count = score([splits[p] for p in adaptdl], [answers[OURS][p] for p in adaptdl]).inside_80
        is_reached = GOAL[0] <= hits / count <= GOAL[1]
        lines.append(
            f"- 80 % intervals over AdaptDL's splits hold 70 to 90 %: {'reached' if is_reached else 'missed'}, {_covered(hits, count)}"
        )
    return lines


def main() -> None:
    """Print the tables, and keep them in `build/bench/predictions.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("../shared"), help="holds published.yaml and scaling/adaptdl/"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given = parser.parse_args()
    curves, missing = curves_below(given.folder)
    for sentence in missing:
        print(f"skipped: {sentence}", file=sys.stderr)
    splits = splits_of(curves)
    if not splits:
        sys.exit(f"{given.folder}: no curve of more than three sizes here")
    answers, said = answers_of(splits, given.workers)
    short = sum(len(curve.ranks) <= FEWEST_SIZES for curve in curves)
    about = (
        f"{len(curves)} curves, {short} of them with too few sizes to split; {len(splits):,} splits. {said}. "
        + " ".join(f"{one}." for one in missing)
    )
    parts = [
        "# Larger sizes predicted",
        about.strip(),
        "\n".join(table(splits, answers)),
        "\n".join(by_distance(splits, answers[OURS])),
    ]
    parts.append("\n".join(verdicts(splits, answers)))
    text = "\n\n".join(parts) + "\n"
    print(text)
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "predictions.md").write_text(text)


if __name__ == "__main__":
    main()
