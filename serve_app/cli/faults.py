"""`serve-app models fault` and `remove`: test versions, which do something wrong on purpose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from models import registry as registries
from models.card import MAX_SLOW_MS, Faults
from models.faults import publish_test_version, remove_test_version
from serve_app.cli.options import say

Name = Annotated[str, typer.Argument(metavar="VERSION", help="For example v2.")]
Copy = Annotated[
    str, typer.Option("--as", metavar="VERSION", help="The name of the copy, such as v102.")
]
SlowMs = Annotated[
    float, typer.Option(min=0, max=MAX_SLOW_MS, help="Milliseconds added to each call.")
]
Fail = Annotated[float, typer.Option(min=0, max=1, help="The share of the calls that fail.")]
Wrong = Annotated[
    float, typer.Option(min=0, max=1, help="The share of the images that get a wrong label.")
]
LoadFails = Annotated[bool, typer.Option("--load-fails", help="It cannot be loaded.")]
Registry = Annotated[
    Path, typer.Option(help="A folder with one subfolder per version, which the service uses.")
]


def fault(
    name: Name,
    copy: Copy,
    slow_ms: SlowMs = 0.0,
    fail: Fail = 0.0,
    wrong: Wrong = 0.0,
    load_fails: LoadFails = False,
    registry: Registry = registries.SHIPPED,
) -> None:
    """Publish a test version: a copy of a version that is slow, fails or is wrong on purpose.

    Its card says so, and every command and page that shows it warns of it.
    """
    if not re.fullmatch("v[0-9]+", copy):
        raise typer.BadParameter(
            f"'{copy}': expected v and a number, such as v102", param_hint="--as"
        )
    if not (slow_ms or fail or wrong or load_fails):
        raise typer.BadParameter(
            "a test version needs one of --slow-ms, --fail, --wrong and --load-fails"
        )
    faults = Faults(slow_ms=slow_ms, fail=fail, wrong=wrong, load_fails=load_fails)
    publish_test_version(registries.load(name, registry), copy, faults, registry)
    say(f"published {registry / copy}, a test version: {name} with faults ({faults.sentence()})")
    say(f"When no rule names it any more, remove it: serve-app models remove {copy}")


def remove(
    name: Annotated[str, typer.Argument(metavar="VERSION", help="For example v102.")],
    registry: Registry = registries.SHIPPED,
) -> None:
    """Remove a test version from the registry; others are not removed."""
    remove_test_version(name, registry)
    say(f"removed {registry / name}")
