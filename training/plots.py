"""Plots of learning curves and confusion matrix, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise

from matplotlib.figure import Figure

from models.card import Metrics
from training.checkpoint import EpochRecord

DPI = 110
METADATA = {"Software": None}  # reproducible bytes


def plot_learning_curves(history: Sequence[EpochRecord]) -> bytes:
    """Plot training loss and accuracy on each validation domain by epoch."""
    epochs = [record.epoch for record in history]
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    loss.plot(epochs, [record.loss for record in history], color="0.3")
    loss.set(ylabel="training loss, nats", title="Learning curves")
    for domain in history[0].accuracy:
        accuracy.plot(epochs, [record.accuracy[domain] for record in history], label=domain)
    accuracy.set(xlabel="epoch", ylabel="validation accuracy", ylim=(None, 1.0))
    accuracy.legend(loc="lower right")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        for before, after in pairwise(history):
            if before.side != after.side:
                axes.axvline(after.epoch - 0.5, color="0.7", linestyle=":")
                loss.annotate(
                    f"{after.side} px", (after.epoch, 1), xycoords=("data", "axes fraction"),
                    va="top", fontsize=8, color="0.4",
                )  # fmt: skip
    return _png(figure)


def plot_confusion(metrics: Metrics, labels: Sequence[str]) -> bytes:
    """Plot the confusion matrix: counts, one row per true label, shaded by share of the row."""
    shares = [[count / max(sum(row), 1) for count in row] for row in metrics.confusion]
    figure = Figure(figsize=(2 + len(labels), 1.6 + 0.9 * len(labels)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for truth, row in enumerate(metrics.confusion):
        for column, count in enumerate(row):
            is_dark = shares[truth][column] > 0.5
            axes.text(
                column, truth, str(count), ha="center", va="center", c="w" if is_dark else "k"
            )
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(
        xlabel="predicted label",
        ylabel="true label",
        title=f"{metrics.data}: accuracy {metrics.accuracy:.1%}",
    )
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata=METADATA)
    return buffer.getvalue()
