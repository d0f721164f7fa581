"""The command `serve-app`. Errors go to stderr with exit code 1, usage errors with 2."""

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

# The module of each command, in the order of the help.
MODULES = {
    "up": "service",
    "down": "service",
    "status": "status",
    "deploy": "deploy",
    "update": "update",
    "classify": "classify",
    "traffic": "traffic",
    "scenario": "scenario",
    "demo": "demo",
    "audit": "audit",
    "export": "export",
    "rule": "rule",
    "revision": "revision",
    "experiment": "experiment",
    "report": "report",
    "review": "review",
    "models": "models",
}


class LazyCommands(TyperGroup):
    """Imports the module of a command on first use: importing all takes a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names of the commands."""
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """A command or group by name; None if there is none."""
        if cmd_name not in MODULES:
            return None
        found = get_command(import_module(f"serve_app.cli.{MODULES[cmd_name]}").app)
        if found.name != cmd_name and isinstance(found, TyperGroup):
            return found.commands[cmd_name]  # the module has several commands
        return found


app = typer.Typer(
    cls=LazyCommands,
    name="serve-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Roll out new versions of an image classifier on Ray Serve.",
)


def _print_version(is_set: bool) -> None:
    if is_set:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False,
        "--version",
        is_eager=True,
        callback=_print_version,
        help="Print the version and exit.",
    ),
) -> None:
    pass


def main() -> None:
    """Run a command; an error prints one line to stderr and exits 1.

    In Python's development mode, `PYTHONDEVMODE=1`, an unexpected error is raised.
    """
    try:
        app()
    except (ModelsError, ServeAppError) as exc:
        sys.exit(f"Error: {exc}")
    except OSError as exc:
        reason = exc.strerror or exc
        sys.exit(f"Error: {reason}" if exc.filename is None else f"Error: {exc.filename}: {reason}")
    except Exception as exc:
        if sys.flags.dev_mode:
            raise
        sys.exit(
            f"Error: unexpected {type(exc).__name__} ({exc}): the service has another version than"
            f" this command, {__version__}, or the command is at fault; PYTHONDEVMODE=1 shows where"
        )
