"""The command `serve-app`: noun, verb. Errors go to stderr with exit 1, usage with exit 2."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from models.errors import ModelsError
from serve_app import __version__
from serve_app.errors import ServeAppError

# Each command and the module with its application, in the order of the help.
MODULES = {
    "up": "service",
    "down": "service",
    "status": "status",
    "deploy": "deploy",
    "update": "update",
    "classify": "classify",
    "traffic": "traffic",
    "demo": "demo",
    "audit": "audit",
    "export": "audit",
    "rule": "rule",
    "revision": "revision",
    "report": "report",
    "review": "review",
    "models": "models",
}


class Commands(TyperGroup):
    """Imports a command when it is asked for: all of them together take a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 click gives it
        """Their names."""
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command or group of that name; None if there is none."""
        if cmd_name not in MODULES:
            return None
        found = get_command(import_module(f"serve_app.cli.{MODULES[cmd_name]}").app)
        if found.name != cmd_name and isinstance(found, TyperGroup):
            return found.commands[cmd_name]  # of a module with several
        return found


app = typer.Typer(
    cls=Commands,
    name="serve-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Bring a new version of a classifier to its users on Ray Serve.",
)


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
