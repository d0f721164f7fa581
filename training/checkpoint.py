"""A run's state between two epochs, in one safetensors file: no pickle is written or read."""

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
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # AdamW's, for every parameter


@dataclass(frozen=True)
class EpochRecord:
    """One line of the learning curves.

    Attributes:
        epoch: Counted from 1.
        side: Of the training images, px.
        loss: Mean training loss, nats, of the augmented and mixed batches.
        accuracy: Of the averaged weights, on the validation images by domain.
        seconds: Wall clock.
    """

    epoch: int
    side: int
    loss: float
    accuracy: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Run:
    """What a checkpoint tells of a run besides its tensors."""

    config: Config
    origin: Origin
    history: list[EpochRecord]


def save(
    folder: Path,
    config: Config,
    source: Origin,
    history: list[EpochRecord],
    network: nn.Module,
    average: AveragedModel,
    optimizer: AdamW,
) -> None:
    """Write the state after `len(history)` epochs; a half-written file never takes its place."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    tensors |= {
        f"optimizer.{key}.{name}": optimizer.state[parameter][key]
        for name, parameter in network.named_parameters()
        for key in OPTIMIZER_STATE
    }
    metadata = {
        "config": config.model_dump_json(),
        "origin": source.model_dump_json(),
        "history": json.dumps([asdict(record) for record in history]),
    }
    unfinished = folder / f"{FILE}.unfinished"
    save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, metadata)
    unfinished.replace(folder / FILE)


def restore(
    folder: Path,
    config: Config,
    source: Origin,
    network: nn.Module,
    average: AveragedModel,
    optimizer: AdamW,
) -> list[EpochRecord]:
    """Put the saved state back in place.

    Returns:
        The records of the epochs that are done; none where there is no checkpoint.

    Raises:
        TrainingError: The file is damaged, or belongs to another run.
    """
    path = folder / FILE
    if not path.exists():
        return []
    run, tensors = _read(path)
    for what, saved, wanted in (
        ("configuration", run.config, config),
        ("photographs", run.origin.photographs_digest, source.photographs_digest),
        ("parent", run.origin.parent, source.parent),
    ):
        if saved != wanted:
            raise TrainingError(
                f"{path} belongs to a run with another {what}: remove it to start anew,"
                " or name another folder with --runs"
            )
    network.load_state_dict(_part(tensors, "network."))
    average.load_state_dict(_part(tensors, "average."))
    moments = {key: _part(tensors, f"optimizer.{key}.") for key in OPTIMIZER_STATE}
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = {key: values[name] for key, values in moments.items()}
    return run.history


def finished(folder: Path) -> tuple[Run, dict[str, Tensor]]:
    """A run that has ended, and its averaged weights.

    Raises:
        TrainingError: There is no checkpoint, it is damaged, or the run has not ended.
    """
    path = folder / FILE
    if not path.exists():
        raise TrainingError(f"{path} is missing: run `python -m training fit` first")
    run, tensors = _read(path)
    if len(run.history) < run.config.epochs:
        raise TrainingError(
            f"{path} holds {len(run.history)} of {run.config.epochs} epochs:"
            " run `python -m training fit` again to go on"
        )
    return run, _part(tensors, "average.module.")


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
        why = " ".join(str(exc).split())
        raise TrainingError(f"{path} is damaged ({why}): remove it to start anew") from exc
    return run, tensors


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
