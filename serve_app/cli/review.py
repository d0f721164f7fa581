"""`serve-app review`: what do the images show on which the versions disagree?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Reason, Url, actor, console, print_json
from serve_app.client import Client, service_url
from serve_app.domain import CONTROL_PLANE
from serve_app.home import open_home

app = typer.Typer(
    name="review",
    add_completion=False,
    no_args_is_help=True,
    help="What do the images show on which the versions disagree?",
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
Done = Annotated[
    bool, typer.Option("--reviewed", help="Those that were reviewed, with what was said of them.")
]
InputImage = Annotated[str, typer.Argument(metavar="ID", help="As review list says.")]
Label = Annotated[
    str, typer.Argument(metavar="LABEL", help="A label of either version, other, or cannot_tell.")
]


@app.command("list")
def list_images(
    limit: Limit = 20, reviewed: Done = False, url: Url = None, as_json: AsJson = False
) -> None:
    """List images that wait for a review; what the versions said is told after it."""
    service = url or service_url()
    with Client(service, open_home().token) as client:
        answer = client.disagreements(limit, reviewed)
    if as_json:
        print_json(answer)
        return
    table = Table("image", "when", "region", box=None)
    for column in ("kind", "stable", "candidate", "it shows", "says") if reviewed else ():
        table.add_column(column)
    for image in answer["disagreements"]:
        when = datetime.fromtimestamp(image["at_ms"] / 1000).astimezone()
        told = (
            (
                image["kind"],
                *(" ".join(image[role].values()) for role in ("stable", "candidate")),
                image["review"]["answer"],
                image["review"]["actor"],
            )
            if reviewed
            else ()
        )
        row = (image["id"], when.isoformat(" ", "seconds"), image.get("region") or "-", *told)
        table.add_row(*map(escape, row))
    console().print(table)
    typer.echo(f"{answer['waiting']:,} wait; {service}/{CONTROL_PLANE}/review shows them")


@app.command("answer")
def answer_image(
    image: InputImage, label: Label, reason: Reason = "", url: Url = None, as_json: AsJson = False
) -> None:
    """Say what an image shows, once; then what the versions said of it is told."""
    with Client(url or service_url(), open_home().token) as client:
        told = client.review(image, label, actor(), reason)
    if as_json:
        print_json(told)
        return
    for role in ("stable", "candidate"):
        said = told[role]
        right = "right" if said["label"] == label else "wrong"
        verdict = "" if label == "cannot_tell" else f", {right}"
        typer.echo(f"{said['version']} said {said['label']}{verdict}")
