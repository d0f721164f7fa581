"""Train a version, publish it to the registry, make synthetic images."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from models import registry as registries
from models.errors import ModelsError
from models.synthetic import write_folder
from training.config import load
from training.errors import TrainingError
from training.publish import publish as publish_run
from training.run import train

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

ConfigFile = Annotated[Path, typer.Argument(help="A file of training/configs.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with train/, val/ and test/, each with a folder per class."),
]
Runs = Annotated[Path, typer.Option(help="Folder of the checkpoints.")]
Registry = Annotated[Path, typer.Option(help="Registry to read the parent from and publish to.")]

NO_NOTICE = (
    "Origin and licence of the training images are not stated."
    " Ask the author of this version before you rely on it."
)


@app.command()
def fit(
    config_file: ConfigFile,
    data: Data = None,
    runs: Runs = Path("runs"),
    registry: Registry = registries.SHIPPED,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's default.")] = 0,
) -> None:
    """Train a version, or resume an interrupted run."""
    config = load(config_file)
    if threads:
        torch.set_num_threads(threads)
    parent = registries.load(config.parent, registry) if config.parent else None
    train(config, data, runs / config.version, parent)
    options = f"--runs {runs} --registry {registry}" + (f" --data {data}" if data else "")
    typer.echo(
        f"{config.version} is trained. Next: python -m training publish {config_file} {options}"
    )


@app.command()
def publish(
    config_file: ConfigFile,
    data: Data = None,
    runs: Runs = Path("runs"),
    registry: Registry = registries.SHIPPED,
    notice: Annotated[
        Path | None, typer.Option(help="Text file for the card: origin and licence of the images.")
    ] = None,
) -> None:
    """Calibrate, evaluate and export a finished run into the registry."""
    config = load(config_file)
    command = f"python -m training fit training/configs/{config_file.name}"
    if config.photographs:
        command += " --data DIR"
    notice_text = " ".join(notice.read_text(errors="replace").split()) if notice else NO_NOTICE
    today = datetime.now(UTC).date().isoformat()
    version = publish_run(runs / config.version, data, registry, command, notice_text, today)
    typer.echo(f"{version.folder}: {version.size_bytes / 2**20:.1f} MiB, {version.card.digest}")
    for metrics in version.card.metrics:
        typer.echo(f"  {metrics.data}: {metrics.accuracy:.4f} of {metrics.images}")


@app.command()
def synthesize(
    target: Annotated[Path, typer.Argument(help="Folder to write a folder per animal to.")],
    per_class: Annotated[int, typer.Option(min=1)] = 100,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    size: Annotated[int, typer.Option(min=16, help="Side of the images, px.")] = 192,
) -> None:
    """Make synthetic images of cats, dogs and koalas."""
    count = write_folder(target, per_class, first_seed, size=size)
    typer.echo(f"{count} synthetic images in {target}")


def main() -> None:
    """Run a command; print an expected error as one line on stderr and exit with 1."""
    try:
        app()
    except (ModelsError, TrainingError) as exc:
        sys.exit(f"Error: {exc}")
    except OSError as exc:
        sys.exit(f"Error: {exc.filename}: {exc.strerror}")
