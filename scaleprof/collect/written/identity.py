"""Who this process is: rank, world size and run id, from the launcher's environment, else from the process group or Horovod."""

import hashlib
import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RANKS = (
    ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),  # horovodrun, also inside an allocation of SLURM's
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
)
_STORE_KEY = "run_id"
_STORE_WAIT_S = 10


@dataclass(frozen=True)
class Identity:
    """One process of a job."""

    rank: int
    world_size: int
    local_rank: int | None = None


def from_environment(environment: Mapping[str, str] = os.environ) -> Identity | None:
    """What horovodrun, torchrun, SLURM or MPI say; None where no launcher said anything."""
    for rank, size, local in _RANKS:
        if rank in environment and size in environment:
            numbers = [environment.get(name, "") for name in (rank, size, local)]
            if not all(number.isdecimal() for number in numbers[:2]) or int(numbers[1]) <= int(numbers[0]):
                continue  # left over from something else
            return Identity(int(numbers[0]), int(numbers[1]), int(numbers[2]) if numbers[2].isdecimal() else None)
    return None


def from_process_group() -> Identity | None:
    """What the default process group says; None where there is none (yet)."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    here = os.environ.get("LOCAL_RANK", "")
    return Identity(
        torch.distributed.get_rank(), torch.distributed.get_world_size(), int(here) if here.isdecimal() else None
    )


def from_horovod() -> Identity | None:
    """What Horovod says, where the training has started it."""
    horovod = sys.modules.get("horovod.torch")
    if horovod is None or not hasattr(horovod, "is_initialized") or not horovod.is_initialized():
        return None
    return Identity(horovod.rank(), horovod.size(), horovod.local_rank())


def run_id_from_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """An id that every rank of this job finds without asking: SCALEPROF_RUN_ID, horovodrun's, torchrun's, SLURM's or MPI's."""
    if environment.get("SCALEPROF_RUN_ID"):
        return environment["SCALEPROF_RUN_ID"]
    if environment.get("HOROVOD_GLOO_RENDEZVOUS_PORT"):
        meeting = f"{environment.get('HOROVOD_GLOO_RENDEZVOUS_ADDR')}:{environment['HOROVOD_GLOO_RENDEZVOUS_PORT']}"
        return f"horovod-{short(meeting)}"  # not the address itself: a recording may be shown to others
    restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    restart = f".{restarts}" if restarts not in ("", "0") else ""
    if environment.get("TORCHELASTIC_RUN_ID", "none") not in ("", "none"):
        return environment["TORCHELASTIC_RUN_ID"] + restart
    if "SLURM_JOB_ID" in environment:
        return f"{environment['SLURM_JOB_ID']}.{environment.get('SLURM_STEP_ID', '0')}{restart}"
    for name in ("OMPI_MCA_ess_base_jobid", "PMIX_NAMESPACE", "PMI_JOBID"):
        if environment.get(name):
            return environment[name]
    return None


def run_id_from_store(rank: int, number: int) -> str:
    """An id that rank 0 puts into the job's store for this recording; where it does not come in time, an error, and no endless wait."""
    from datetime import timedelta

    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.distributed_c10d import _get_default_store

    store = PrefixStore(f"scaleprof/{number}", _get_default_store())
    if rank == 0:
        made = new_run_id()
        store.set(_STORE_KEY, made)
        return made
    store.wait([_STORE_KEY], timedelta(seconds=_STORE_WAIT_S))
    return str(store.get(_STORE_KEY).decode())


def new_run_id() -> str:
    """An id for a job that has none."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"


def short(run_id: str) -> str:
    """Eight letters that stand for a run id in a folder's name."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:8]


def script_name() -> str:
    """The name of the running script, for runs that were given none."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", None):
        return str(spec.name).rpartition(".")[2].removesuffix(".__main__") or "run"
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-") else "run"
