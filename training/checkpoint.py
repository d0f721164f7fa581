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

FILE = "checkpoint.safetensors"
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # AdamW's, for every parameter


@dataclass(frozen=True)
class EpochRecord:
    """One line of the learning curves.

    Attributes:
        epoch: Counted from 1.
        side: Of the training pictures, px.
        loss: Mean training loss, nats, of the augmented and mixed batches.
        accuracy: Of the averaged weights, on the validation pictures by domain.
        seconds: Wall clock.
    """

    epoch: int
    side: int
    loss: float
    accuracy: dict[str, float]
    seconds: float


def save(
    folder: Path,
    config: Config,
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
        "history": json.dumps([asdict(record) for record in history]),
    }
    unfinished = folder / f"{FILE}.unfinished"
    save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, metadata)
    unfinished.replace(folder / FILE)


def restore(
    folder: Path, config: Config, network: nn.Module, average: AveragedModel, optimizer: AdamW
) -> list[EpochRecord]:
    """Put the saved state back in place.

    Returns:
        The records of the epochs that are done; none where there is no checkpoint.

    Raises:
        TrainingError: The file is damaged, or was written under another configuration.
    """
    path = folder / FILE
    if not path.exists():
        return []
    saved, history, tensors = _read(path)
    if saved != config:
        raise TrainingError(
            f"{path} was written under another configuration: give that one,"
            " or another output folder"
        )
    network.load_state_dict(_part(tensors, "network."))
    average.load_state_dict(_part(tensors, "average."))
    moments = {key: _part(tensors, f"optimizer.{key}.") for key in OPTIMIZER_STATE}
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = {key: values[name] for key, values in moments.items()}
    return history


def averaged_weights(folder: Path) -> tuple[Config, list[EpochRecord], dict[str, Tensor]]:
    """What a run has learnt: its configuration, its curves and its averaged weights.

    Raises:
        TrainingError: There is no checkpoint, it is damaged, or the run has not ended.
    """
    path = folder / FILE
    if not path.exists():
        raise TrainingError(f"{path} is missing: run `python -m training fit` first")
    config, history, tensors = _read(path)
    if len(history) < config.epochs:
        raise TrainingError(
            f"{path} holds {len(history)} of {config.epochs} epochs:"
            " run `python -m training fit` again to go on"
        )
    return config, history, _part(tensors, "average.module.")


def _read(path: Path) -> tuple[Config, list[EpochRecord], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as exc:
        raise TrainingError(f"{path} is damaged ({exc}): remove it to start anew") from exc
    config = Config.model_validate_json(metadata["config"])
    history = [EpochRecord(**record) for record in json.loads(metadata["history"])]
    return config, history, tensors


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
