"""`serve-app review`: blind reviews of images on which the versions disagree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.export import Force, check_output
from serve_app.cli.options import (
    AsJson,
    Reason,
    Url,
    actor,
    console,
    format_time,
    print_json,
    say,
)
from serve_app.cli.tables import Table, facts
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

_ID = re.compile(r"[0-9a-f]{12}-[1-9][0-9]{0,14}")


def _parse_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"'{text}' is not an id of an image: review list shows them")
    return text


ImageId = Annotated[
    str, typer.Argument(metavar="ID", help="An id from review list.", callback=_parse_id)
]
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
    of_reviewed = ("region", "kind", "stable", "candidate", "answer", "reviewer")
    table = Table("image", "time", *(of_reviewed if reviewed else ()))
    for image in listed["images"]:
        details = (
            (
                image["region"] or "-",
                image["kind"],
                *(" ".join(image[role].values()) for role in ("stable", "candidate")),
                image["review"]["answer"],
                image["review"]["actor"],
            )
            if reviewed
            else ()
        )
        table.add_row(image["id"], format_time(image["at_ms"]), *details)
    console().print(table)
    left = "" if reviewed else f"{len(listed['images']):,} listed, "
    say(f"{left}{listed['waiting']:,} waiting: {service}/{CONTROL_PLANE}/review shows them")


@app.command("show")
def show_image(
    image: ImageId,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the image, a small JPEG, to this file."),
    ] = None,
    force: Force = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a kept image: the possible answers; after its review, also the predictions."""
    if save:
        check_output(save, force, "--save")
    with Client(url or service_url(), open_home().token) as client:
        found = client.kept_image(image)
        if save:
            client.save_image(image, save)
    if as_json:
        print_json(found)
        return
    shown = [
        ("image", found["id"]),
        ("time", format_time(found["at_ms"])),
        ("kept until", format_time(found["expires_at_ms"])),
        ("answers", ", ".join(found["answers"])),
    ]
    if found["reviewed"]:
        review = found["review"]
        shown += [
            ("region", found["region"] or "-"),
            *((role, " ".join(found[role].values())) for role in ("stable", "candidate")),
            ("answer", f"{review['answer']}, by {review['actor']}"),
        ]
    console().print(facts(shown))
    if save:
        say(f"{save}: {save.stat().st_size:,} bytes")


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
