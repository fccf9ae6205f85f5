"""What a sweep is to run: every size, every repeat, in which order; and the file in which it keeps what is done, so that it can go on later.

The file is `sweep-<series>.jsonl` in the folder of the recordings, one line for each run that ended, written when it ends.
"""

import json
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaleprof.errors import LaunchError, OptionError

MOST_REPEATS = 1000


@dataclass(frozen=True)
class Trial:
    """One run of the job."""

    ranks: int
    repeat: int
    """From 0."""

    @property
    def words(self) -> str:
        """`4 ranks`, `4 ranks, repeat 2`."""
        size = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"{size}, repeat {self.repeat}" if self.repeat else size


def world_sizes(text: str) -> tuple[int, ...]:
    """The sizes in `1,2,4`, ascending."""
    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise OptionError(f"--ranks takes whole numbers with commas between, like 1,2,4, not {text!r}") from error
    if sizes[0] < 1:
        raise OptionError(f"--ranks takes numbers from 1, not {sizes[0]}")
    return sizes


def trials_of(sizes: Sequence[int], *, repeats: int = 1, seed: int | None = None) -> tuple[Trial, ...]:
    """Every size so many times. Without a seed the sizes come in order, again and again; with one the order is drawn, so that what drifts (heat,
    other people's jobs) falls on all sizes alike."""
    if not 1 <= repeats <= MOST_REPEATS:
        raise OptionError(f"--repeats must be 1 to {MOST_REPEATS}, not {repeats}")
    found = [Trial(ranks, repeat) for repeat in range(repeats) for ranks in sizes]
    if seed is not None:
        random.Random(seed).shuffle(found)
    return tuple(found)


@dataclass(frozen=True)
class Ledger:
    """What a sweep has done."""

    path: Path

    @staticmethod
    def of(out: Path, series: str) -> "Ledger":
        """That of a series in a folder of recordings."""
        return Ledger(out / f"sweep-{series}.jsonl")

    def begin(self, command: Sequence[str]) -> None:
        """A new sweep: what was done before is forgotten, its recordings stay."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"command": list(command)}) + "\n", encoding="utf-8")

    def line(self, trial: Trial, run_id: str) -> str:
        """What stands in the file for a run that ended well."""
        return json.dumps({"ranks": trial.ranks, "repeat": trial.repeat, "run_id": run_id})

    def add(self, trial: Trial, run_id: str) -> None:
        """A run ended well."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self.line(trial, run_id) + "\n")

    def add_job(self, trial: Trial, job: str) -> None:
        """A run was submitted as this job."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"ranks": trial.ranks, "repeat": trial.repeat, "job": job}) + "\n")

    def jobs(self) -> dict[Trial, str]:
        """The last job that each run was submitted as, of a file that `done` accepts."""
        return self._said("job", self._entries())

    def done(self, command: Sequence[str]) -> dict[Trial, str]:
        """The run ids of what is done. LaunchError where the file is of another command, or there is none."""
        said = self._entries()
        begun = next((entry["command"] for entry in said if isinstance(entry.get("command"), list)), None)
        if begun != list(command):
            words = " ".join(map(str, begun)) if begun else "an unknown command"
            raise LaunchError(
                f"{self.path} is of another sweep ({words}): give this one another --name, or leave --resume out to begin anew"
            )
        return self._said("run_id", said)

    def _entries(self) -> list[Mapping[str, Any]]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise LaunchError(
                f"{self.path}: there is no sweep to go on with ({error.strerror}); leave --resume out to begin one"
            ) from error
        return [entry for line in lines if (entry := _entry(line)) is not None]

    @staticmethod
    def _said(what: str, entries: Sequence[Mapping[str, Any]]) -> dict[Trial, str]:
        found = {}
        for entry in entries:
            ranks, repeat, value = entry.get("ranks"), entry.get("repeat"), entry.get(what)
            if isinstance(ranks, int) and isinstance(repeat, int) and isinstance(value, str):
                found[Trial(ranks, repeat)] = value
        return found


def _entry(line: str) -> Mapping[str, Any] | None:
    """A line of the file; None for one that was cut off."""
    with suppress(ValueError):
        entry = json.loads(line)
        return entry if isinstance(entry, dict) else None
    return None
