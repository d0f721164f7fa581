"""`serve-app models`: lists, verifies and evaluates the versions of the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from models import registry as registries
from models.card import Card, Metrics
from models.classifier import Backend, open_version
from models.errors import BadVersion, UnknownVersion
from models.registry import Version
from models.samples import class_folders, read_folder, synthesize_sample
from models.synthetic import LABELS as DRAWN_LABELS
from serve_app.cli.faults import fault, remove
from serve_app.cli.options import AsJson, console, print_json, say, warn
from serve_app.cli.progress import clock
from serve_app.cli.tables import Table, facts

app = typer.Typer(
    name="models",
    add_completion=False,
    no_args_is_help=True,
    help="List, verify and evaluate the versions of the registry.",
)
SYNTHETIC_SEEDS = range(10_000_000, 10_000_100)  # none of the seeds of training/run.py

Name = Annotated[str, typer.Argument(metavar="VERSION", help="For example v1.")]
Registry = Annotated[Path, typer.Option(help="A folder with one subfolder per version.")]


@app.command("list")
def list_versions(registry: Registry = registries.SHIPPED, as_json: AsJson = False) -> None:
    """Verify and list the versions, oldest first; exits 1 if one is invalid."""
    loaded = {name: _load(name, registry) for name in _names(registry)}
    if as_json:
        print_json([_summary(name, version) for name, version in loaded.items()])
    else:
        table = Table("version", "labels", "parent", "accuracy", "on", "MiB", "digest")
        for name, version in loaded.items():
            if isinstance(version, Version):
                table.add_row(name, *_row(version))
        console().print(table)
        for name, version in loaded.items():
            if isinstance(version, BadVersion):
                say(f"{name} is invalid: {version}")
        warn(_test_versions(loaded.values()))
    if any(isinstance(version, BadVersion) for version in loaded.values()):
        sys.exit(1)


@app.command()
def show(name: Name, registry: Registry = registries.SHIPPED, as_json: AsJson = False) -> None:
    """Show the card of a version."""
    version = registries.load(name, registry)
    card = version.card
    if as_json:
        print_json(card.model_dump(mode="json"))
        return
    shown = (
        ("version", card.version),
        ("labels", ", ".join(card.labels)),
        ("parent", f"{card.parent.version} {card.parent.digest}" if card.parent else "-"),
        ("input", f"RGB {card.input.side} x {card.input.side} px, {card.input.preprocessing}"),
        ("calibration", _calibration(card)),
        ("trained by", f"{card.training.command} (seed {card.training.seed})"),
        ("date", card.training.date),
        ("data", card.training.notice),
        *([("test version", card.faults.sentence())] if card.faults else []),
        ("folder", str(version.folder)),
        ("digest", card.digest),
    )
    out = console()
    out.print(facts(shown))
    for metrics in card.metrics:
        _print_metrics(out, metrics)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Default: all.")] = None,
    registry: Registry = registries.SHIPPED,
    as_json: AsJson = False,
) -> None:
    """Verify the files of a version against its card and load it; exits 1 on an error."""
    wanted = (name,) if name else _names(registry)
    problems = {version: _problem(version, registry) for version in wanted}
    if as_json:
        print_json(
            [{"version": v, "sound": not error, "error": error} for v, error in problems.items()]
        )
    else:
        for version, error in problems.items():
            typer.echo(f"{version}: {error or 'sound'}", err=bool(error))
        warn(_test_versions(_load(version, registry) for version in wanted))
    if any(problems.values()):
        sys.exit(1)


@app.command()
def evaluate(
    name: Name,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with one subfolder per class. Default: synthetic images."),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="The runtime of the network.")] = "onnx",
    registry: Registry = registries.SHIPPED,
    as_json: AsJson = False,
) -> None:
    """Evaluate a version on labelled images.

    Classes that the version does not know are reported separately.
    """
    from models.evaluation import evaluate as evaluate_on  # scipy takes a second to import

    classifier = open_version(registries.load(name, registry), backend)
    side = classifier.card.input.side
    progress = sys.stderr.isatty()
    if data is None:
        if unknown := [label for label in classifier.card.labels if label not in DRAWN_LABELS]:
            raise typer.BadParameter(
                f"no images of {', '.join(unknown)} can be drawn, only of"
                f" {', '.join(DRAWN_LABELS)}: name a folder with photographs, one subfolder per"
                " label",
                param_hint="--data",
            )
        sample = synthesize_sample(classifier.card.labels, SYNTHETIC_SEEDS, side, progress)
    else:
        sample = read_folder(data, class_folders(data), side, progress)
    with clock(f"classifying {len(sample.truths):,} images"):
        metrics = evaluate_on(classifier, sample, "synthetic" if data is None else str(data))
    if as_json:
        print_json({"version": name, "backend": backend, **metrics.model_dump(mode="json")})
        return
    _print_metrics(console(), metrics)


app.command()(fault)
app.command()(remove)


def _names(registry: Path) -> tuple[str, ...]:
    found = registries.names(registry)
    if not found:
        raise UnknownVersion(f"the registry {registry} has no version: expected folders such as v1")
    return found


def _test_versions(versions: Iterable[Version | BadVersion]) -> Iterator[str]:
    """A sentence for each test version."""
    for version in versions:
        if isinstance(version, Version) and version.card.faults:
            faults = version.card.faults.sentence()
            yield f"{version.card.version} is a test version with faults on purpose: {faults}"


def _load(name: str, registry: Path) -> Version | BadVersion:
    try:
        return registries.load(name, registry)
    except BadVersion as exc:
        return exc


def _row(version: Version) -> tuple[str, ...]:
    card = version.card
    first = card.metrics[0] if card.metrics else None
    return (
        ", ".join(card.labels),
        card.parent.version if card.parent else "-",
        f"{first.accuracy:.3f}" if first else "-",
        first.data if first else "-",
        f"{version.size_bytes / 2**20:.1f}",
        card.digest[:12],
    )


def _summary(name: str, version: Version | BadVersion) -> dict[str, Any]:
    if isinstance(version, BadVersion):
        return {"version": name, "error": str(version)}
    card = version.card
    return {
        "version": name,
        "labels": card.labels,
        "parent": card.parent.version if card.parent else None,
        "size_bytes": version.size_bytes,
        "digest": card.digest,
        "faults": card.faults.model_dump() if card.faults else None,
        "accuracy": {metrics.data: metrics.accuracy for metrics in card.metrics},
    }


def _calibration(card: Card) -> str:
    biases = ", ".join(f"{bias:+.3f}" for bias in card.calibration.biases)
    return (
        f"temperature {card.calibration.temperature}, biases {biases},"
        f" fitted on {card.calibration.data}"
    )


def _problem(version: str, registry: Path) -> str | None:
    try:
        open_version(registries.load(version, registry))
    except BadVersion as exc:
        return str(exc)
    return None


def _print_metrics(out: Console, metrics: Metrics) -> None:
    low, high = metrics.accuracy_interval
    out.print(f"\n[bold]{escape(metrics.data)}[/bold], {metrics.images:,} images")
    out.print(
        f"accuracy [bold]{metrics.accuracy:.3f}[/bold] ({low:.3f} to {high:.3f}, 95 % Wilson)"
        f"   macro F1 {metrics.macro_f1:.3f}   calibration error {metrics.calibration_error:.3f}"
        f"   mean confidence {metrics.mean_confidence:.3f}"
    )
    labels = list(metrics.labels)
    predicted_as = (f"said {label}" for label in labels)
    table = Table("truth", "images", "recall", "recall, 95 %", "precision", "F1", *predicted_as)
    for label, counts in zip(labels, metrics.confusion, strict=True):
        score = metrics.labels[label]
        table.add_row(
            label,
            str(score.images),
            _share(score.recall),
            f"{score.recall_interval[0]:.3f} to {score.recall_interval[1]:.3f}",
            _share(score.precision),
            f"{score.f1:.3f}",
            *(str(count) for count in counts),
        )
    out.print(table)
    for label, foreign in metrics.foreign.items():
        predicted = ", ".join(
            f"{count} {predicted_label}" for predicted_label, count in foreign.answers.items()
        )
        out.print(
            f"[yellow]{escape(label)}[/yellow] is not a label of this version:"
            f" {foreign.images} images, predicted as {escape(predicted)},"
            f" mean confidence {foreign.mean_confidence:.3f}"
        )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
