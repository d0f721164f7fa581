"""`python -m training`: train a version, publish it, draw pictures."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from models import registry as registries
from models.drawings import write_folder
from models.errors import ModelsError
from models.torch_backend import weights
from training.config import Config, load
from training.errors import TrainingError
from training.lineage import grown
from training.publish import publish as publish_run
from training.run import train

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

ConfigFile = Annotated[Path, typer.Argument(help="One of training/configs/*.yaml.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Holds train/, val/ and test/, each with a folder per class."),
]
Runs = Annotated[Path, typer.Option(help="Where runs keep their checkpoints.")]
Registry = Annotated[Path, typer.Option(help="Where versions are read from and written to.")]

NOTICE = (
    "The photographs carry no licence that allows more than training and testing: they were"
    " gathered from public repositories (Asirra/Petfinder cats and dogs by way of Kaggle, Stanford"
    " Dogs, Flickr koalas) whose pictures belong to their photographers. None of them is part of"
    " this project. For production, train again on pictures that are yours: `{command}`."
)
DRAWINGS_NOTICE = "Trained on the project's own drawings alone (models/drawings)."


@app.command()
def fit(
    config_file: ConfigFile,
    data: Data = None,
    runs: Runs = Path("runs"),
    registry: Registry = registries.SHIPPED,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: torch's choice.")] = 0,
) -> None:
    """Train a version, or go on where an interrupted run left off."""
    config = load(config_file)
    if threads:
        torch.set_num_threads(threads)
    train(config, data, runs / config.version, _start(config, registry))
    typer.echo(f"{config.version} is trained; publish it: {_publish_command(config_file, data)}")


@app.command()
def publish(
    config_file: ConfigFile,
    data: Data = None,
    runs: Runs = Path("runs"),
    registry: Registry = registries.SHIPPED,
) -> None:
    """Calibrate, evaluate and export a finished run into the registry."""
    config = load(config_file)
    command = "make train DATA=…" if config.photographs else f"python -m training fit {config_file}"
    notice = NOTICE.format(command=command) if config.photographs else DRAWINGS_NOTICE
    today = datetime.now(UTC).date().isoformat()
    version = publish_run(runs / config.version, data, registry, command, notice, today)
    typer.echo(f"{version.folder}: {version.size_bytes / 2**20:.1f} MiB, {version.card.digest}")
    for metrics in version.card.metrics:
        typer.echo(f"  {metrics.data}: {metrics.accuracy:.4f} of {metrics.pictures}")


@app.command()
def draw(
    target: Annotated[Path, typer.Argument(help="A folder per animal is made in it.")],
    per_class: Annotated[int, typer.Option(min=1)] = 100,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    size: Annotated[int, typer.Option(min=16, help="Side of the pictures, px.")] = 192,
) -> None:
    """Draw cats, dogs and koalas."""
    count = write_folder(target, per_class, first_seed, size=size)
    typer.echo(f"{count} drawings in {target}")


def _start(config: Config, registry: Path) -> dict[str, torch.Tensor] | None:
    if config.parent is None:
        return None
    parent = registries.load(config.parent, registry)
    return grown(weights(parent), parent.card.labels, config.labels)


def _publish_command(config_file: Path, data: Path | None) -> str:
    return f"python -m training publish {config_file}" + (f" --data {data}" if data else "")


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit 1."""
    try:
        app()
    except (ModelsError, TrainingError) as exc:
        typer.echo(f"Error: {exc}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
