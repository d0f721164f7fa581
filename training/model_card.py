"""MODEL_CARD.md: what a version is, for people, written from its card."""

from __future__ import annotations

from models.card import Card, Metrics, Training


def markdown(card: Card) -> str:
    """The text of MODEL_CARD.md for a card (its digests may still be missing)."""
    labels = ", ".join(card.labels)
    side = card.input.side
    parent = (
        f"{card.parent.version} ({card.parent.digest[:12]}), whose weights it started from"
        if card.parent
        else "none"
    )
    training = card.training
    images = ", ".join(f"{count:,} of {label}" for label, count in training.images.items())
    synthetic_images = f"synthetic images made up {training.synthetic_share:.0%} of every epoch"
    seen = f"{images}; {synthetic_images}" if images else "synthetic images alone"
    libraries = ", ".join(f"{name} {version}" for name, version in training.libraries.items())
    return f"""# Model card: {card.version}

Tells {labels} apart. It knows no other animal: whatever it is shown, it names one of these.

| | |
|---|---|
| labels, in the order of the logits | {labels} |
| parent | {parent} |
| network | {card.architecture.network}, widths {_list(card.architecture.widths)}, \
depths {_list(card.architecture.depths)} |
| input | RGB, {side} x {side} px, prepared by `{card.input.preprocessing}`: \
upright, central square, bilinear |
| calibration | temperature {card.calibration.temperature},\
 biases {_biases(card)}, fitted on {card.calibration.data} |
| trained on | {seen} |
| imbalance | {_balance(training)} |
| trained by | `{training.command}` |
| epochs, seed | {training.epochs}, {training.seed} |
| libraries | {libraries} |
| date | {training.date} |

## Whose the training data is

{training.notice}

## How well it does

Shares with 95 % Wilson intervals; calibration error is the expected one over 15 bins.

{"".join(_metrics(metrics) for metrics in card.metrics)}
![Learning curves](curves.png) ![Confusion matrix](confusion.png)

## Intended use and limits

An example for trying out how a new version reaches its users; no safety-relevant decision should
rest on it. It was never shown other animals, people or empty scenes, and is sure of itself on
those too. Expect it to do worse on images from other sources than those it was trained on.
Measure it on your own: `serve-app models evaluate {card.version} --data DIR`.
"""


def _metrics(metrics: Metrics) -> str:
    low, high = metrics.accuracy_interval
    rows = "".join(
        f"| {label} | {score.images} | {_optional(score.recall)}"
        f" ({score.recall_interval[0]:.3f} to {score.recall_interval[1]:.3f})"
        f" | {_optional(score.precision)} | {score.f1:.3f} |\n"
        for label, score in metrics.labels.items()
    )
    foreign = "".join(
        f"Shown {answer.images} images of {label}, which it does not know, it was always wrong,"
        f" with a mean confidence of {answer.mean_confidence:.2f}.\n\n"
        for label, answer in metrics.foreign.items()
    )
    return f"""### {metrics.data}

Accuracy **{metrics.accuracy:.3f}** ({low:.3f} to {high:.3f}) on {metrics.images:,} images, \
macro F1 {metrics.macro_f1:.3f}, calibration error {metrics.calibration_error:.3f}.

| label | images | recall | precision | F1 |
|---|---|---|---|---|
{rows}
{foreign}"""


def _biases(card: Card) -> str:
    biases = zip(card.labels, card.calibration.biases, strict=True)
    return ", ".join(f"{bias:+.2f} {label}" for label, bias in biases)


def _balance(training: Training) -> str:
    if not training.images:
        return "none"
    most, least = max(training.images.values()), min(training.images.values())
    return (
        f"1 to {most / least:.0f} between the rarest and the commonest label; a label was drawn in"
        f" proportion to its size to the power of {training.balance}"
    )


def _list(numbers: tuple[int, ...]) -> str:
    return "-".join(str(number) for number in numbers)


def _optional(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
