"""Small trainings with the real trainers: `python -m tests.collect.trainer_jobs FAMILY FOLDER` runs one after the other in one process.

Importing a trainer takes longer than training with it. A job that fails where it should not leaves its `error` in its folder.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from scaleprof.collect.recording import recording_now

EVALUATION_S = 0.5
"""How long each evaluation takes at least: no step may hold one."""
BATCH = 4


class _Boom(ValueError):
    """What the trainings fail with."""


def lightning(folder: Path, package: str = "lightning.pytorch", *, manual: bool = False, **settings: Any) -> None:
    """80 batches in two epochs, validated in the middle and at the end of each."""
    pl = import_module(package)
    from scaleprof.lightning import ScaleprofCallback

    class Model(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(16, 4), torch.nn.Linear(16, 4)
            self.automatic_optimization = not manual

        def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor | None:
            if number == settings.get("fail"):
                raise _Boom("boom")
            if number == settings.get("interrupt"):
                raise KeyboardInterrupt
            if not manual:
                return self.first(batch[0]).square().mean()
            for optimizer, layer in zip(self.optimizers(), (self.first, self.second), strict=True):
                optimizer.zero_grad()
                self.manual_backward(layer(batch[0]).square().mean())
                optimizer.step()
            return None

        def validation_step(self, batch: list[torch.Tensor], number: int) -> None:
            time.sleep(EVALUATION_S / 2)

        def configure_optimizers(self) -> Any:
            first = torch.optim.SGD(self.first.parameters(), 0.1)
            return [first, torch.optim.Adam(self.second.parameters(), 0.1)] if manual else first

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, val_check_interval=20,
        default_root_dir=folder / "checkpoints", accumulate_grad_batches=settings.get("accumulate", 1),
        callbacks=[ScaleprofCallback(folder / "traces", level="timeline", name="lit", sample_hz=0, measure_cost=False)],
    )  # fmt: skip
    training = DataLoader(TensorDataset(torch.randn(40 * BATCH, 16)), batch_size=BATCH)
    trainer.fit(Model(), training, DataLoader(TensorDataset(torch.randn(16, 16)), batch_size=8))


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if not self.training:
            time.sleep(EVALUATION_S / 2)
        answer = self.layer(inputs)
        return {"loss": torch.nn.functional.cross_entropy(answer, labels), "logits": answer}


class _Rows(Dataset[Any]):
    def __init__(self, count: int, fails: bool) -> None:
        self._count, self._fails = count, fails

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._fails and number == 0:
            raise _Boom("boom")
        return {"inputs": torch.randn(16), "labels": number % 4}


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from ({"inputs": torch.randn(16), "labels": number % 4} for number in range(40 * BATCH))


def huggingface(folder: Path, *, accumulate: int = 1, stream: bool = False, fails: bool = False) -> None:
    """80 batches in two epochs, or 40 of a stream, evaluated and saved now and then."""
    from transformers import Trainer, TrainingArguments

    from scaleprof.huggingface import ScaleprofCallback

    arguments = TrainingArguments(
        str(folder / "checkpoints"), per_device_train_batch_size=BATCH, gradient_accumulation_steps=accumulate,
        num_train_epochs=2, max_steps=40 if stream else -1, eval_strategy="steps", eval_steps=20, save_steps=20,
        report_to="none", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    rows = _Stream() if stream else _Rows(40 * BATCH, fails)
    recorder = ScaleprofCallback(folder / "traces", name="hf", sample_hz=0, measure_cost=False)
    trainer = Trainer(_Net(), arguments, train_dataset=rows, eval_dataset=_Rows(16, False), callbacks=[recorder])
    trainer.train()


def pickled(folder: Path) -> None:
    """Callbacks travel to processes that are spawned, also when both packages are there."""
    import pickle

    for package in ("pytorch_lightning", "lightning.pytorch"):
        import_module(package)
    from scaleprof.lightning import ScaleprofCallback

    sent = pickle.loads(pickle.dumps(ScaleprofCallback(folder, level="full")))
    assert type(sent) is ScaleprofCallback
    assert sent.options.level == "full"
    for package in ("pytorch_lightning", "lightning.pytorch"):
        assert isinstance(sent, import_module(package).Callback)


JOBS: dict[str, dict[str, Callable[[Path], None]]] = {
    "lightning": {
        "lightning": lightning,
        "accumulates": lambda folder: lightning(folder, accumulate=4),
        "fails": lambda folder: lightning(folder, fail=7),
        "is_interrupted": lambda folder: lightning(folder, interrupt=7),
        "pytorch_lightning": lambda folder: lightning(folder, "pytorch_lightning"),
        "manual": lambda folder: lightning(folder, "pytorch_lightning", manual=True),
        "pickled": pickled,
    },
    "huggingface": {
        "map": huggingface,
        "accumulates": lambda folder: huggingface(folder, accumulate=4),
        "streams": lambda folder: huggingface(folder, stream=True),
        "fails": lambda folder: huggingface(folder, fails=True),
    },
}


def main(family: str, folder: Path) -> None:
    """Run the jobs of a family, each in a folder of its own; a recording that outlives its job is an error, too."""
    for name, job in JOBS[family].items():
        (folder / name).mkdir()
        try:
            job(folder / name)
        except (_Boom, SystemExit) as error:
            if name not in ("fails", "is_interrupted"):
                (folder / name / "error").write_text(repr(error))
        except Exception:  # noqa: BLE001  whatever it was, the next job runs
            (folder / name / "error").write_text(traceback.format_exc())
        if recording_now() is not None:
            (folder / name / "error").write_text("the recording goes on after its job")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
