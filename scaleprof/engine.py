"""Map a function over items: here, in processes, or on a Dask cluster. Nothing of the project is known in this file.

Answers come as they are ready, with the index of their item. No more than a few items a worker are handed out at a time: what is done is taken
away before more is asked for. A worker that dies costs nothing but time; an item of which workers die each time is `Lost`, and the others go on.
Whoever stops taking answers, an interruption too, ends what was started.

Processes are spawned, not forked: a fork of a process with threads (a notebook, a test with torch) can hang.
"""

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_DEATHS = 3
"""Workers that one item may cost."""
_HANDED_OUT = 2
"""Items for each worker: the one it works on, and the next."""
PATIENCE_S = 5.0
"""How long a scheduler may take to answer."""
_NO_WORKER_S = 60.0
"""How long a cluster may be without any worker: one that grows with its work has none at first."""
_LOOK_S = 1.0


@dataclass(frozen=True)
class Lost:
    """What stands for the answer of an item that no worker survived."""

    reason: str


class WorkersFailed(Exception):
    """There are no workers, or none that can be used: one sentence."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_serial(function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[tuple[int, Answer]]:
    """Answers with the index of their item, one after the other."""
    for index, item in enumerate(items):
        yield index, function(item)


def map_processes(
    function: Callable[[Item], Answer], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[int, Answer | Lost]]:
    """Answers with the index of their item, as they come. Items are started in the given order; `function` must be importable.

    Where a worker dies, what was handed out is run again, one item at a time in a process of its own, which tells who killed it. Raises
    WorkersFailed where no process can be started.
    """
    waiting, suspected = deque(range(len(items))), deque[int]()
    deaths = Counter[int]()
    while waiting or suspected:
        if suspected:
            broken = yield from _in_processes(function, items, suspected, workers=1, at_once=1)
        else:
            some = min(workers, len(waiting))
            broken = yield from _in_processes(function, items, waiting, workers=some, at_once=_HANDED_OUT * some)
        for index in broken:
            deaths[index] += 1
            if deaths[index] < MOST_DEATHS:
                suspected.append(index)
            else:
                yield index, Lost(f"the process that worked on it died, {MOST_DEATHS} times: was memory short?")


def _in_processes(
    function: Callable[[Item], Answer], items: Sequence[Item], waiting: deque[int], *, workers: int, at_once: int
) -> Generator[tuple[int, Answer], None, list[int]]:
    """Answers until nothing waits or a process dies; then the items that were handed out."""
    from concurrent.futures import FIRST_COMPLETED, wait
    from concurrent.futures.process import BrokenProcessPool

    in_hand: dict[Future[Answer], int] = {}
    with _processes(workers) as (pool, started):
        while waiting or in_hand:
            try:
                while waiting and len(in_hand) < at_once:
                    with _interruptions_held():  # processes are started here, and do not hear of interruptions
                        future = pool.submit(function, items[waiting[0]])
                    in_hand[future] = waiting.popleft()
            except BrokenProcessPool:
                break
            done = wait(in_hand, return_when=FIRST_COMPLETED).done
            broken = [future for future in done if isinstance(future.exception(), BrokenProcessPool)]
            for future in done - set(broken):
                yield in_hand.pop(future), future.result()
            if broken:
                break
        if in_hand and not started.is_set():
            raise WorkersFailed(
                "the processes that should read ended as they began: a script that starts this must do so below"
                ' `if __name__ == "__main__":`'
            )
    return list(in_hand.values())


@contextmanager
def _processes(workers: int) -> Iterator[tuple["ProcessPoolExecutor", Any]]:
    """A pool, and an event that is set once a process has begun; nothing of it is left if this ends in an error."""
    # Imported here: it costs more than a small analysis, which needs no processes.
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    spawning = get_context("spawn")
    started = spawning.Event()
    pool = ProcessPoolExecutor(workers, mp_context=spawning, initializer=_begin, initargs=(started,))
    try:
        yield pool, started
    except BaseException:
        for process in list((pool._processes or {}).values()):  # only a pool of Python 3.14 can end them itself
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _begin(started: Any) -> None:
    """In a process of a pool: end with the one that started it, even if that was killed."""
    from multiprocessing import parent_process
    from threading import Thread

    def follow() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    Thread(target=follow, daemon=True).start()
    started.set()


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; what is started in here leaves it to the process that started it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def map_cluster(
    function: Callable[[Item], Answer], items: Sequence[Item], *, address: str, same: Mapping[str, object]
) -> Iterator[tuple[int, Answer | Lost]]:
    """Answers with the index of their item, as they come, from the workers of a Dask cluster, which runs again what lost its worker.

    `same` are things that must be on every worker what they are here, by where to import them ("numpy:__version__"). `address` is the
    scheduler's. Raises WorkersFailed where that does not answer, has no workers for a minute, or has some that cannot be used.
    """
    from concurrent.futures import FIRST_COMPLETED, wait

    with _cluster(address) as client:
        _check(client, same, address)
        pool = client.get_executor(pure=False)
        waiting, suspected = deque(range(len(items))), deque[int]()
        alone: set[int] = set()
        in_hand: dict[Future[Any], int] = {}
        idle_s = 0.0
        try:
            while waiting or suspected or in_hand:
                workers = _workers(client, address)
                # What lost its workers beside others may not have been what killed them: it is tried again by itself.
                queue, room = (waiting, _HANDED_OUT * max(workers, 1)) if waiting else (suspected, 1)
                while queue and len(in_hand) < room:
                    index = queue.popleft()
                    in_hand[pool.submit(function, items[index])] = index
                done = wait(in_hand, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done
                for future in done:
                    index, answer = in_hand.pop(future), _answer(future, address)
                    if isinstance(answer, Lost) and index not in alone:
                        suspected.append(index)
                        alone.add(index)
                    else:
                        yield index, answer
                idle_s = 0.0 if workers or done else idle_s + _LOOK_S
                if idle_s >= _NO_WORKER_S:
                    raise WorkersFailed(f"the cluster at {address} has had no worker for {idle_s:.0f} s: start some")
        finally:
            if client.status == "running":  # else nobody is there to be told
                pool.shutdown(wait=not in_hand)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """A client of the scheduler; nothing that it asked for is left there when it goes."""
    with _silent(
        "distributed", "tornado", "asyncio"
    ):  # what it has to say of workers and connections is said by us, once
        client = _client(address)
        try:
            yield client
        finally:
            client.close(timeout=PATIENCE_S)


@contextmanager
def _silent(*packages: str) -> Iterator[None]:
    """No log record of these packages, each of whose modules may have a level of its own."""
    import logging
    from importlib import import_module

    for package in packages:
        import_module(package)
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in packages]
    before = [(logger, logger.level) for logger in map(logging.getLogger, names)]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


def _client(address: str) -> Any:
    import warnings

    import distributed
    from distributed.comm.core import connect
    from distributed.utils import LoopRunner

    here: Any = distributed
    knock_at: Any = connect
    runner: Any = LoopRunner()

    async def knock() -> None:
        comm = await knock_at(address, timeout=PATIENCE_S, **here.Security().get_connection_args("client"))
        await comm.close()

    try:
        runner.run_sync(knock)  # a client that finds nobody would leave a thread behind
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions are compared in _check
            return here.Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkersFailed(f"no Dask scheduler answers at {address} ({_first_line(error)}): is it running?") from error


def _workers(client: Any, address: str) -> int:
    """How many items the cluster can work on at a time."""
    with suppress(OSError):
        if client.status == "running":
            return sum(client.nthreads().values())
    raise _gone(address)


def _gone(address: str) -> WorkersFailed:
    return WorkersFailed(f"the scheduler at {address} went away: start the cluster again")


def _check(client: Any, same: Mapping[str, object], address: str) -> None:
    """WorkersFailed where something is not the same on every worker."""
    from pkgutil import resolve_name

    for name, here in same.items():
        try:
            # An item like the others first: it makes a cluster start workers that has none yet.
            client.submit(resolve_name, name, pure=False).result(timeout=_NO_WORKER_S)
            found = client.run(resolve_name, name)
        except ImportError as error:
            what = name.partition(":")[0]
            raise WorkersFailed(
                f"a worker of the cluster at {address} has no {what} ({_first_line(error)}): install it there, in the same version"
            ) from error
        except TimeoutError as error:
            raise WorkersFailed(
                f"the cluster at {address} has had no worker for {_NO_WORKER_S:.0f} s: start some"
            ) from error
        for worker, there in found.items():
            if there != here:
                what = name.replace(":", ".")
                raise WorkersFailed(
                    f"{what} is {there} on the worker at {worker} and {here} here: install the same version"
                )


def _answer(future: "Future[Any]", address: str) -> Any:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        return Lost(f"the workers that worked on it died, {error.allowed_failures + 1} times: was memory short?")
    except CancelledError as error:
        raise _gone(address) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def worker_name() -> str:
    """On a worker of a cluster, how to name it to somebody who looks for it."""
    from distributed import get_worker

    return f"the worker at {get_worker().address}"
