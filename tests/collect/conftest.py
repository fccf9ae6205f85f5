import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def nothing_left_installed(monkeypatch: pytest.MonkeyPatch) -> object:
    """Every test leaves torch as it found it."""
    for name in (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "SCALEPROF",
        "SCALEPROF_DIR",
        "SCALEPROF_NAME",
        "SCALEPROF_RUN_ID",
        "SCALEPROF_SERIES",
        "SCALEPROF_REPEAT",
    ):
        monkeypatch.delenv(name, raising=False)
    import torch.optim.optimizer as optimizers
    from torch.autograd import profiler, profiler_legacy
    from torch.distributed import _functional_collectives as functional
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from torch.nn.modules._functions import SyncBatchNorm
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    from scaleprof.collect import recording
    from scaleprof.collect.watching import flight

    def touched() -> list[object]:
        return [
            torch.autograd.backward,
            torch.autograd.profiler.profile.__dict__["_prepare_trace"],
            torch.autograd.profiler.profile.__dict__["_start_trace"],
            *(
                kind.__dict__[way]
                for kind in (profiler.emit_itt, profiler.emit_nvtx, profiler_legacy.profile)
                for way in ("__enter__", "__exit__")
            ),
            torch.distributed.ProcessGroup.__dict__["monitored_barrier"],
            FullyShardedDataParallel.__dict__["no_sync"],
            FSDPModule.__dict__["set_requires_gradient_sync"],
            torch.autograd.profiler.profile.__dict__["__exit__"],
            torch.autograd.profiler.record_function.__dict__["__enter__"],
            torch.autograd.profiler.record_function.__dict__["__exit__"],
            torch.amp.autocast_mode.autocast.__dict__["__enter__"],
            torch.distributed.destroy_process_group,
            torch._C._distributed_c10d.Work.__dict__["wait"],
            torch.cuda.Stream.__dict__.get("wait_event"),
            torch._C.Future.__dict__["then"],
            *(torch.distributed.ProcessGroup.__dict__[name] for name in ("send", "recv", "recv_anysource")),
            *(torch.distributed.ProcessGroup.__dict__.get(name) for name in flight._REDUCE_SCATTERS),
            *(getattr(functional, name, None) for name in flight._FUNCTIONAL),
            *(DistributedDataParallel.__dict__[name] for name in ("register_comm_hook", "no_sync")),
            *(SyncBatchNorm.__dict__[name] for name in ("forward", "backward")),
            functional.wait_tensor,
            _BaseDataLoaderIter.__dict__["__next__"],
            list(optimizers._global_optimizer_post_hooks),
            list(optimizers._global_optimizer_pre_hooks),
        ]

    before = touched()
    yield
    assert touched() == before
    assert recording._Process.current is None
