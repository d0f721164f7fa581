"""`serve-app classify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import (
    AsJson,
    Canary,
    Region,
    Session,
    Url,
    User,
    Version,
    console,
    print_json,
    request_headers,
)
from serve_app.client import Client, media_type, service_url
from serve_app.errors import Rejected

app = typer.Typer(add_completion=False)

Images = Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Images to classify.")]


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
    """Ask the service what images show; exit 1 if one was not answered."""
    headers = request_headers(user, session, region, canary, version)
    answers: list[dict[str, Any]] = []
    with Client(url or service_url()) as client:
        for image in images:
            try:
                answer = client.classify(image.read_bytes(), media_type(image), headers)
            except (Rejected, OSError) as exc:
                answer = {"error": str(exc)}
            answers.append({"image": str(image), **answer})
    if as_json:
        print_json(answers)
    else:
        _print(answers)
    if any("error" in answer for answer in answers):
        sys.exit(1)


def _print(answers: list[dict[str, Any]]) -> None:
    table = Table("image", "label", "confidence", "version", "reason", "ms", box=None)
    for answer in answers:
        if "error" in answer:
            typer.echo(f"{answer['image']}: {answer['error']}", err=True)
        else:
            table.add_row(
                escape(answer["image"]),
                answer["label"],
                f"{answer['confidence']:.3f}",
                answer.get("version", "-"),
                answer["reason"],
                f"{answer['latency_ms']:.1f}",
            )
    if table.row_count:
        console().print(table)
