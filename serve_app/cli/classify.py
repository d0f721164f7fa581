"""`serve-app classify`: classifies images with the running service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli.options import (
    AsJson,
    Canary,
    Region,
    Session,
    Url,
    User,
    Version,
    console,
    describe_region,
    note,
    print_json,
    request_headers,
)
from serve_app.cli.tables import Table
from serve_app.client import Client, media_type, service_url
from serve_app.errors import Rejected

app = typer.Typer(add_completion=False)

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")]


@app.command()
def classify(
    images: Images,
    user: User = None,
    session: Session = None,
    region: Region = None,
    canary: Canary = None,
    version: Version = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Classify images with the running service.

    Exits 1 if an image could not be classified.
    """
    headers = request_headers(user, session, region, canary, version)
    predictions: list[dict[str, Any]] = []
    with Client(url or service_url()) as client:
        if region:
            note(describe_region(region, client.rule()["rule"]))
        for image in images:
            try:
                prediction = client.classify(image.read_bytes(), media_type(image), headers)
            except Rejected as exc:
                prediction = {"error": str(exc)}
            except OSError as exc:
                prediction = {"error": f"cannot be read: {exc.strerror}"}
            predictions.append({"image": str(image), **prediction})
    if as_json:
        print_json(predictions)
    else:
        _print(predictions)
    if any("error" in prediction for prediction in predictions):
        sys.exit(1)


def _print(predictions: list[dict[str, Any]]) -> None:
    table = Table("image", "label", "confidence", "version", "reason", "ms")
    for prediction in predictions:
        if "error" in prediction:
            typer.echo(f"{prediction['image']}: {prediction['error']}", err=True)
        else:
            table.add_row(
                prediction["image"],
                prediction["label"],
                f"{prediction['confidence']:.3f}",
                prediction.get("version", "-"),
                prediction["reason"],
                f"{prediction['latency_ms']:.1f}",
            )
    if len(table):
        console().print(table)
