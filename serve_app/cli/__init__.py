"""The command `serve-app`: noun, verb. Errors go to stderr with exit 1, usage with exit 2."""

from __future__ import annotations

import sys

import typer

from models.errors import ModelsError
from serve_app import __version__
from serve_app.cli import report, review, revision, rule, versions
from serve_app.cli.audit import audit, export
from serve_app.cli.classify import classify
from serve_app.cli.demo import demo
from serve_app.cli.deploy import deploy
from serve_app.cli.service import SETTINGS, down, up
from serve_app.cli.status import status
from serve_app.cli.traffic import traffic
from serve_app.cli.update import update
from serve_app.errors import ServeAppError

app = typer.Typer(
    name="serve-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Bring a new version of a classifier to its users on Ray Serve.",
)
app.command(epilog=SETTINGS)(up)
for command in (down, status, deploy, update, classify, traffic, demo, audit, export):
    app.command()(command)
app.add_typer(rule.app, name="rule")
app.add_typer(revision.app, name="revision")
app.add_typer(report.app, name="report")
app.add_typer(review.app, name="review")
app.add_typer(versions.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit 1."""
    try:
        app()
    except (ModelsError, ServeAppError) as exc:
        sys.exit(f"Error: {exc}")
    except OSError as exc:
        reason = exc.strerror or exc
        sys.exit(f"Error: {reason}" if exc.filename is None else f"Error: {exc.filename}: {reason}")
