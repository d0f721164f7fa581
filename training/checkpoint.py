"""Checkpoint: the state of a run after an epoch, in one safetensors file without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel

from training.config import Config
from training.errors import TrainingError
from training.origin import Origin

FILE = "checkpoint.safetensors"
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # of AdamW, for each parameter


@dataclass(frozen=True)
class EpochRecord:
    """One line of the learning curves.

    Attributes:
        epoch: Number, counted from 1.
        side: Side of the training images, px.
        loss: Mean training loss on augmented batches, nats.
        accuracy: Accuracy of the averaged weights by validation domain, 0 .. 1.
        seconds: Wall-clock time, s.
    """

    epoch: int
    side: int
    loss: float
    accuracy: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Run:
    """Content of a checkpoint except its tensors."""

    config: Config
    origin: Origin
    history: list[EpochRecord]


def save(
    folder: Path,
    config: Config,
    origin: Origin,
    history: list[EpochRecord],
    network: nn.Module,
    average: AveragedModel,
    optimizer: AdamW,
) -> None:
    """Write the state after `len(history)` epochs, atomically."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    tensors |= {
        f"optimizer.{key}.{name}": optimizer.state[parameter][key]
        for name, parameter in network.named_parameters()
        for key in OPTIMIZER_STATE
    }
    metadata = {
        "config": config.model_dump_json(),
        "origin": origin.model_dump_json(),
        "history": json.dumps([asdict(record) for record in history]),
    }
    unfinished = folder / f"{FILE}.unfinished"
    save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, metadata)
    unfinished.replace(folder / FILE)


def restore(
    folder: Path,
    config: Config,
    origin: Origin,
    network: nn.Module,
    average: AveragedModel,
    optimizer: AdamW,
) -> list[EpochRecord]:
    """Load the checkpoint in `folder` into the network, the average and the optimizer.

    Returns:
        The records of the finished epochs; empty without a checkpoint.

    Raises:
        TrainingError: The file is damaged or belongs to another run.
    """
    path = folder / FILE
    if not path.exists():
        return []
    run, tensors = _read(path)
    for name, saved, expected in (
        ("configuration", run.config, config),
        ("photographs", run.origin.photographs_digest, origin.photographs_digest),
        ("parent", run.origin.parent, origin.parent),
    ):
        if saved != expected:
            raise TrainingError(
                f"{path} belongs to a run with another {name}: remove it to start again,"
                " or choose another folder with --runs"
            )
    network.load_state_dict(_select(tensors, "network."))
    average.load_state_dict(_select(tensors, "average."))
    moments = {key: _select(tensors, f"optimizer.{key}.") for key in OPTIMIZER_STATE}
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = {key: values[name] for key, values in moments.items()}
    return run.history


def load_finished(folder: Path) -> tuple[Run, dict[str, Tensor]]:
    """Load a finished run and its averaged weights.

    Raises:
        TrainingError: The checkpoint is missing or damaged, or the run is not finished.
    """
    path = folder / FILE
    if not path.exists():
        raise TrainingError(f"{path} is missing: run `python -m training fit` first")
    run, tensors = _read(path)
    if len(run.history) < run.config.epochs:
        raise TrainingError(
            f"{path} holds {len(run.history)} of {run.config.epochs} epochs:"
            " run `python -m training fit` again to resume"
        )
    return run, _select(tensors, "average.module.")


def _read(path: Path) -> tuple[Run, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        run = Run(
            Config.model_validate_json(metadata["config"]),
            Origin.model_validate_json(metadata["origin"]),
            [EpochRecord(**record) for record in json.loads(metadata["history"])],
        )
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as exc:
        cause = " ".join(str(exc).split())
        raise TrainingError(f"{path} is damaged ({cause}): remove it to start again") from exc
    return run, tensors


def _select(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
