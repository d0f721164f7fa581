"""MODEL_CARD.md: the card of a version as text."""

from __future__ import annotations

from models.card import Card, Metrics, Training


def markdown(card: Card) -> str:
    """The text of MODEL_CARD.md for a card; the card's digests may be missing."""
    labels = ", ".join(card.labels)
    side = card.input.side
    parent = (
        f"{card.parent.version} ({card.parent.digest[:12]}); training started from its weights"
        if card.parent
        else "none"
    )
    training = card.training
    images = ", ".join(f"{count:,} of {label}" for label, count in training.images.items())
    synthetic_images = f"synthetic images: {training.synthetic_share:.0%} of each epoch"
    seen = f"{images}; {synthetic_images}" if images else "synthetic images only"
    libraries = ", ".join(f"{name} {version}" for name, version in training.libraries.items())
    return f"""# Model card: {card.version}

Classifies images as one of: {labels}. It knows no other label: every image gets one of these.

| | |
|---|---|
| labels, in the order of the logits | {labels} |
| parent | {parent} |
| network | {card.architecture.network}, widths {_list(card.architecture.widths)}, \
depths {_list(card.architecture.depths)} |
| input | RGB, {side} x {side} px; preprocessing `{card.input.preprocessing}`: \
EXIF orientation, central square, bilinear |
| calibration | temperature {card.calibration.temperature},\
 biases {_biases(card)}, fitted on {card.calibration.data} |
| trained on | {seen} |
| class imbalance | {_balance(training)} |
| training command | `{training.command}` |
| epochs, seed | {training.epochs}, {training.seed} |
| libraries | {libraries} |
| date | {training.date} |

## Training data

{training.notice}

## Metrics

Shares have 95 % Wilson intervals. Calibration error: expected calibration error with 15 bins.

{"".join(_metrics(metrics) for metrics in card.metrics)}
![Learning curves](curves.png) ![Confusion matrix](confusion.png)

## Intended use and limits

An example for rollouts of a new version. Do not base safety-relevant decisions on it. It was not
trained on other animals, people or empty scenes, and predicts one of its labels for those with high
confidence. Expect lower accuracy on images from other sources.
Evaluate it on your own images: `serve-app models evaluate {card.version} --data DIR`.
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
        f"{found.images} images show {label}, which the version does not know: all predictions"
        f" for them are wrong, with a mean confidence of {found.mean_confidence:.2f}.\n\n"
        for label, found in metrics.foreign.items()
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
        f"1 to {most / least:.0f} between the rarest and the most common label; labels were sampled"
        f" in proportion to size ** {training.balance}"
    )


def _list(numbers: tuple[int, ...]) -> str:
    return "-".join(str(number) for number in numbers)


def _optional(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
