"""What leaves one recording: the rank's folder as soon as the rank is known, its streams, and what is known about the rank so far.

No rank waits for another one here, but for rank 0's run id where no launcher gave one, and for that only so long.
"""

import functools
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaleprof.collect.found.job import process_groups
from scaleprof.collect.guard import Guard
from scaleprof.collect.options import Options
from scaleprof.collect.watching.flight import FlightRecorder
from scaleprof.collect.written import identity
from scaleprof.collect.written.about import Known, Records
from scaleprof.collect.written.folder import RankFolder, claim_rank_folder
from scaleprof.run import COLLECTIVES_FILE

FLUSH_S = 5.0
READ_S = 10.0
"""Of the collectives a killed job may lose so much: the flight recorder gives its whole ring at once, which takes a tenth of a second."""
PATIENCE = 3  # times that a folder which cannot be made is tried
CONSTANT = 0.8
"""Share of the steps that must have taken as many samples as one another for that to be called the batch."""
MOST_BATCHES = 1000
"""Different batch sizes that are told apart: with more there is no constant one, and counting on would fill the memory."""


class Output:
    """One rank's files, and what will stand in its `rank.json`."""

    def __init__(self, options: Options, number: int, guard: Guard) -> None:
        self.known = Known()
        self.records = Records(options)
        self.folder = RankFolder()
        self.flight = FlightRecorder()
        self._options = options
        self._number = number
        self._guard = guard
        self._root = Path(options.folder).absolute()  # the training may change its working directory
        self._samples: Counter[float] = Counter()
        self._failures = 0
        self._run_id: str | None = None
        self._flushed_s = self._read_s = time.monotonic()

    # ---- the folder and its streams

    def open_folder(self, *, settled: bool) -> None:
        """Make the folder as soon as the rank is known: at once where a launcher says so, else when it is `settled`, at the first boundary.

        A launcher that says 1 may have started one process that will spawn the ranks.
        """
        if self.folder.path is not None or self._failures >= PATIENCE:
            return
        with self._guard.on(f"the recording could not be written to {self._root}"):
            if not (settled or self._is_known()):
                return
            self._failures += 1
            here = self.here()
            if here is None:
                here = self.known.identity = identity.Identity(0, 1)
            self._run_id = self._run_id or self._agree_on_run_id(here)
            run = self.records.run(self.known, self._run_id)
            name = f"{run.name}-n{run.world_size}-{identity.short(self._run_id)}"
            path = claim_rank_folder(self._root, name, rank=here.rank, number=self._number)
            self.folder.open(path, run, self.records.rank(self.known, self._guard.warnings, finished=False))

    def line(self, stream: str, content: Mapping[str, Any]) -> None:
        """Keep a line for a stream; it is written with the next flush."""
        redaction = self.records.redaction
        self.folder.line(stream, dict(redaction.value(content) if redaction else content))

    def flush_in_time(self) -> None:
        """Write what is held if the last time is some seconds ago: a killed job loses no more than that."""
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            with self._guard.on("a part of the streams could not be written"):
                self.folder.flush()

    def write_rank(self, *, finished: bool) -> None:
        """Write `rank.json` again, with what is known by now."""
        with self._guard.on("what is known about the rank could not be written"):
            self.known.local_batch = self._constant_batch()
            self.folder.write_rank(self.records.rank(self.known, self._guard.warnings, finished=finished))

    def count_samples(self, samples: float) -> None:
        """A step took so many samples."""
        if len(self._samples) < MOST_BATCHES:
            self._samples[samples] += 1

    def _constant_batch(self) -> float | None:
        if not self._samples:
            return self._options.samples_per_step
        samples, count = self._samples.most_common(1)[0]
        return samples if count >= CONSTANT * self._samples.total() else None

    # ---- who we are

    def here(self) -> identity.Identity | None:
        """Rank and world size. The process group knows best: a launcher may have started one process that spawned the ranks."""
        if self.known.identity is None:
            met = identity.from_process_group() or identity.from_horovod()
            self.known.identity = met or identity.from_environment()
        return self.known.identity

    def remember_group(self) -> None:
        """Keep what the process groups say, before the training destroys them."""
        with self._guard.on("the process groups could not be remembered"):
            if identity.from_process_group() is None:
                return
            import torch.distributed as dist

            self.here()
            self.known.groups = process_groups() or self.known.groups
            self.known.backend = str(dist.get_backend())

    def read_flight_recorder(self) -> None:
        """Take over the collectives that were issued since the last time."""
        if not self.known.capabilities.get("flight_recorder"):
            return
        began, self._read_s = time.perf_counter_ns(), time.monotonic()
        with self._guard.on("collectives are missing"):
            if identity.from_process_group() is None:
                return
            for entry in self.flight.new_entries():
                self.line(COLLECTIVES_FILE, entry)
            if self.flight.lost:
                self._guard.warn("collectives are missing", f"{self.flight.lost} were gone before they could be read")
                self.flight.lost = 0
        cost = self.known.overhead.get("flight_recorder_ms", 0.0)
        self.known.overhead["flight_recorder_ms"] = cost + (time.perf_counter_ns() - began) / 1e6

    def read_flight_recorder_in_time(self, patience_s: float = math.inf) -> None:
        """The same, if so much was issued that the recorder's ring may soon run over, or the last time was so long ago."""
        with self._guard.on("the flight recorder could not be read in time"):
            is_late = time.monotonic() - self._read_s > patience_s
            if self.known.capabilities.get("flight_recorder") and (is_late or self.flight.is_due()):
                self.read_flight_recorder()

    def _is_known(self) -> bool:
        if identity.from_process_group() is not None or identity.from_horovod() is not None:
            return True
        stated = identity.from_environment()
        return stated is not None and stated.world_size > 1

    def _agree_on_run_id(self, here: identity.Identity) -> str:
        run_id = identity.run_id_from_environment()
        if run_id is None and here.world_size > 1:
            ask = functools.partial(identity.run_id_from_store, here.rank, self._number)
            return self._guard.call("the ranks could not agree on a run id", ask, "") or identity.new_run_id()
        return run_id or identity.new_run_id()
