"""`serve-app review`: blind reviews of images on which the versions disagree."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from serve_app.cli.options import AsJson, Reason, Url, actor, console, format_time, print_json
from serve_app.client import Client, service_url
from serve_app.deployment.names import CONTROL_PLANE
from serve_app.home import open_home

app = typer.Typer(
    name="review",
    add_completion=False,
    no_args_is_help=True,
    help="Review images on which the versions disagree.",
)

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of images.")]
Reviewed = Annotated[
    bool, typer.Option("--reviewed", help="List reviewed images with their predictions.")
]
ImageId = Annotated[str, typer.Argument(metavar="ID", help="An id from review list.")]
Label = Annotated[
    str, typer.Argument(metavar="LABEL", help="A label of either version, other, or cannot_tell.")
]


@app.command("list")
def list_images(
    limit: Limit = 20, reviewed: Reviewed = False, url: Url = None, as_json: AsJson = False
) -> None:
    """List the images that wait for a review, without the predictions of the versions."""
    service = url or service_url()
    with Client(service, open_home().token) as client:
        listed = client.list_images(limit, reviewed)
    if as_json:
        print_json(listed)
        return
    table = Table("image", "time", "region", box=None)
    for column in ("kind", "stable", "candidate", "answer", "reviewer") if reviewed else ():
        table.add_column(column)
    for image in listed["images"]:
        details = (
            (
                image["kind"],
                *(" ".join(image[role].values()) for role in ("stable", "candidate")),
                image["review"]["answer"],
                image["review"]["actor"],
            )
            if reviewed
            else ()
        )
        row = (image["id"], format_time(image["at_ms"]), image.get("region") or "-", *details)
        table.add_row(*map(escape, row))
    console().print(table)
    typer.echo(f"{listed['waiting']:,} images wait for review: {service}/{CONTROL_PLANE}/review")


@app.command("answer")
def answer_image(
    image: ImageId, label: Label, reason: Reason = "", url: Url = None, as_json: AsJson = False
) -> None:
    """Label an image; prints the predictions of the versions afterwards.

    An image can be reviewed once.
    """
    with Client(url or service_url(), open_home().token) as client:
        review = client.add_review(image, label, actor(), reason)
    if as_json:
        print_json(review)
        return
    for role in ("stable", "candidate"):
        prediction = review[role]
        outcome = "right" if prediction["label"] == label else "wrong"
        suffix = "" if label == "cannot_tell" else f" ({outcome})"
        typer.echo(f"{prediction['version']} predicted {prediction['label']}{suffix}")
