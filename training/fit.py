"""Training loop: AdamW on augmented images, averaged weights, a checkpoint after each epoch.

The randomness of an epoch depends only on the seed and the number of the epoch. A resumed run ends
with bit-identical weights to an uninterrupted one (same machine, same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from models.cnn import SmallCNN
from models.samples import Sample
from training import augment, checkpoint
from training.checkpoint import EpochRecord
from training.config import Config
from training.data import Images
from training.errors import TrainingError
from training.origin import Origin
from training.sampling import draw_rows

EVALUATION_BATCH = 64


def fit(
    config: Config,
    origin: Origin,
    sources: list[tuple[Images, float]],
    validation: dict[str, Sample],
    start: dict[str, Tensor] | None,
    folder: Path,
) -> list[EpochRecord]:
    """Train a network, or resume from the checkpoint in `folder`.

    Args:
        origin: Describes `sources` and `start` in the checkpoint.
        sources: Training images, each with its share of an epoch; the shares sum to 1.
        validation: Samples by domain, evaluated after each epoch.
        start: Initial weights of a network for `config.labels`; None: random.
        folder: Folder of the checkpoint; created if missing.

    Returns:
        The learning curves.

    Raises:
        TrainingError: The checkpoint is damaged or belongs to another run, or there are fewer
            images than a batch takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(config.seed)
    network = SmallCNN(len(config.labels), config.widths, config.depths, config.dropout)
    network = network.to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(start)
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay), use_buffers=True
    )
    optimizer = AdamW(_parameter_groups(network, config.weight_decay), lr=config.learning_rate)
    history = checkpoint.restore(folder, config, origin, network, average, optimizer)
    for epoch in range(len(history), config.epochs):
        started = time.monotonic()
        loss = _train_epoch(config, epoch, sources, network, average, optimizer)
        scores = {
            domain: accuracy(average, sample, config.labels)
            for domain, sample in validation.items()
        }
        record = EpochRecord(
            epoch + 1, config.side_at(epoch), loss, scores, round(time.monotonic() - started, 1)
        )
        history.append(record)
        checkpoint.save(folder, config, origin, history, network, average, optimizer)
        tqdm.write(_format_record(record, config.epochs))
    return history


def _train_epoch(
    config: Config,
    epoch: int,
    sources: list[tuple[Images, float]],
    network: nn.Module,
    average: AveragedModel,
    optimizer: AdamW,
) -> float:
    seed = config.seed * 100_003 + epoch
    torch.manual_seed(seed)  # dropout
    generator = Generator().manual_seed(seed)
    side = config.side_at(epoch)
    batches = _plan_batches(config, sources, generator)
    network.train()
    total = 0.0
    bar = tqdm(
        batches, f"epoch {epoch + 1}/{config.epochs}", leave=False, unit="batch", disable=None
    )
    for step, batch_rows in enumerate(bar):
        progress = (epoch + step / len(batches)) / config.epochs
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, progress)
        pixels, targets = _make_batch(config, sources, batch_rows, side, generator)
        loss = functional.cross_entropy(
            network(pixels), targets, label_smoothing=config.label_smoothing
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        total += loss.item()
        bar.set_postfix(loss=f"{loss.item():.3f}", side=side)
    return total / len(batches)


def learning_rate(config: Config, progress: float) -> float:
    """Linear warm-up, then cosine decay to 0 (Loshchilov and Hutter, ICLR 2017).

    Args:
        progress: Share of all steps done, 0 .. 1.
    """
    if progress < config.warmup_share:
        return config.learning_rate * progress / config.warmup_share
    rest = (progress - config.warmup_share) / (1 - config.warmup_share)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))


def _plan_batches(
    config: Config, sources: list[tuple[Images, float]], generator: Generator
) -> list[list[Tensor]]:
    """Rows of each source for each batch; images are spread evenly over full batches.

    Raises:
        TrainingError: There are fewer images than a batch takes.
    """
    count = config.images_per_epoch or max(len(images) for images, _ in sources)
    rows = [
        draw_rows(images, round(count * share), config.balance, generator)
        for images, share in sources
    ]
    number = count // config.batch
    if not number:
        raise TrainingError(f"{count} images do not fill a batch of {config.batch}: lower `batch`")
    return [list(parts) for parts in zip(*(r.tensor_split(number) for r in rows), strict=True)]


def _make_batch(
    config: Config,
    sources: list[tuple[Images, float]],
    batch_rows: list[Tensor],
    side: int,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    pixels, targets = [], []
    for (images, _), rows in zip(sources, batch_rows, strict=True):
        if not len(rows):
            continue
        pixels.append(augment.random_views(images, rows, side, generator))
        targets.append(images.targets[rows])
    classes = functional.one_hot(torch.cat(targets), len(config.labels)).float()
    batch, classes = augment.mix(torch.cat(pixels), classes, generator)
    return batch.contiguous(memory_format=torch.channels_last), classes


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for kernels and matrices, not for biases and normalisation."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def accuracy(network: nn.Module, sample: Sample, labels: Sequence[str]) -> float:
    """Share of the sample that the network classifies correctly, 0 .. 1."""
    network.eval()
    truths = torch.tensor([labels.index(truth) for truth in sample.truths])
    pixels = torch.from_numpy(sample.pixels).permute(0, 3, 1, 2)
    with torch.inference_mode():
        predicted = torch.cat(
            [network(part.float()).argmax(1) for part in pixels.split(EVALUATION_BATCH)]
        )
    return (predicted == truths).float().mean().item()


def _format_record(record: EpochRecord, epochs: int) -> str:
    scores = "  ".join(f"{domain} {value:.3f}" for domain, value in record.accuracy.items())
    return (
        f"epoch {record.epoch:>3}/{epochs}  {record.side} px  loss {record.loss:.3f}  {scores}"
        f"  {record.seconds:.0f} s"
    )
