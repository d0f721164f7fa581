"""Writes the reference parts of the documentation from the code.

The Markdown files call these functions in cog blocks, which take what is printed: `make docs`
replaces what stands between `[[[cog` and `[[[end]]]`, and a test fails when a file is stale.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer import Context, Typer
from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from models import errors as model_errors
from serve_app import errors
from serve_app.control_plane.convergence import Code
from serve_app.deployment.args import AnimalsArgs
from serve_app.http.control import application as control
from serve_app.http.data import application as data
from serve_app.regions import GROUPS
from serve_app.rules.plan import Reason
from serve_app.rules.pools import PoolConfig
from serve_app.rules.registry import KINDS
from serve_app.store import data_dictionary
from serve_app.store.errors import BadExport
from serve_app.store.export import TABLES

EXPORTED_TYPES = {
    "BigInteger": "integer",
    "Integer": "integer",
    "Float": "number",
    "Boolean": "true, false",
    "String": "text",
    "Text": "text",
}

DOCS = Path(__file__).parent

YAML_TYPES = {"array": "list", "object": "mapping"}
BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "maxLength": "at most characters:",
    "minItems": "at least entries:",
    "pattern": "pattern",
}


def commands(app: Typer) -> Iterator[tuple[str, Any]]:
    """Every command of a typer application with its full name, such as `models list`."""
    yield from _walk(get_command(app), ())


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        context = Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None  # noqa: S101 it was listed
            yield from _walk(child, (*words, name))
    else:
        yield " ".join(words), command


def command_line(app: Typer, program: str) -> None:
    """A section for each command: usage, help, arguments and options."""
    for name, command in commands(app):
        shown = [parameter for parameter in command.params if not parameter.hidden]
        arguments = [_argument(one) for one in shown if isinstance(one, TyperArgument)]
        options = ["[OPTIONS]"] if len(shown) > len(arguments) else []
        print(f"\n### `{program} {name}`\n")
        print(f"```text\n{' '.join([program, name, *options, *arguments])}\n```\n")
        print(f"{_paragraphs(command.help or '')}")
        if shown:
            print()
            rows = [_parameter(parameter) for parameter in shown]
            _table(("argument or option", "default", "meaning"), rows)


def _argument(argument: TyperArgument) -> str:
    name = (argument.metavar or argument.name or "").upper().strip("{}[]")
    return f"{name}..." if argument.nargs == -1 else name


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = isinstance(parameter, TyperArgument)
    names = [_argument(parameter)] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    default = parameter.default
    if isinstance(default, Path) and default.is_relative_to(DOCS.parent):
        default = default.relative_to(DOCS.parent)
    is_shown = default is not None and default not in (False, ()) and not callable(default)
    shown = "required" if parameter.required else f"`{default}`" if is_shown else ""
    return ", ".join(f"`{name}`" for name in names), shown, parameter.help or ""


def rules() -> None:
    """A table of keys for each kind of rule."""
    for kind, rule in KINDS.items():
        print(f"\n### `kind: {kind}`\n")
        print(f"{_summary(rule)}\n")
        model(rule)


def model(one: type[BaseModel], prefix: str = "") -> None:
    """A table of the keys of a pydantic model, those of nested models included."""
    _table(("key", "type", "default", "bounds", "meaning"), list(_keys(one, prefix)))


def _keys(one: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    properties = one.model_json_schema(by_alias=True)["properties"]
    described = {"kind": "The kind of the rule."} | attributes(one)
    for name, field in one.model_fields.items():
        key = field.alias or name
        described_by = properties[key]
        nested = _nested(field.annotation)
        has_default = field.default not in (None, PydanticUndefined) and not nested
        default = f"`{_yaml(field.default)}`" if has_default else ""
        yield (
            f"`{prefix}{key}`",
            _type(described_by),
            "required" if field.is_required() else default,
            _bounds(described_by),
            described.get(name, ""),
        )
        if nested:
            yield from _keys(nested, f"{prefix}{key}.")


def pools() -> None:
    """The keys of a pool's `user_config`."""
    model(PoolConfig)


def arguments() -> None:
    """The keys of `args`."""
    model(AnimalsArgs)


def regions() -> None:
    """The names of the groups of countries."""
    print(", ".join(f"`{name}`" for name in GROUPS) + ".")


def data_plane_routes() -> None:
    """The routes of the data plane."""
    _routes(data.application(Mock(), Mock(), "animals", Mock(), Mock()), "")


def control_plane_routes() -> None:
    """The routes of the control plane."""
    _routes(control.application(Mock(), Mock(), Mock(), Mock(), Mock()), "/control")


def _routes(app: FastAPI, prefix: str) -> None:
    rows = [
        (f"`{method.upper()} {prefix}{path}`", operation["summary"])
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    _table(("route", "does"), rows)


def decisions() -> None:
    """A list of the decision records, and the table of contents of the site."""
    files = sorted((DOCS / "adr").glob("0*.md"))
    for file in files:
        print(f"- [{file.read_text().splitlines()[0].removeprefix('# ')}]({file.name})")
    print("\n```{toctree}\n:hidden:\n")
    for file in files:
        print(file.stem)
    print("```")


def attributes(one: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(one.__mro__):
        _, _, section = (inspect.getdoc(base) or "").partition("Attributes:\n")
        for names, text in re.findall(r"^    ([\w, ]+): ((?:.|\n(?!    \w))*)", section, re.M):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def problems() -> None:
    """A table of the error codes: status, code, meaning, what to do."""
    rows = []
    for problem in sorted(problem_classes(), key=lambda one: (one.status, one.code)):
        meaning, fix = problem_text(problem)
        rows.append((f"`{problem.code}`", str(problem.status), meaning, fix))
    _table(("code", "status", "meaning", "what to do"), rows)


def problem_classes() -> list[type[errors.Problem]]:
    """Every problem with a code of its own."""
    found: set[type[errors.Problem]] = {errors.Problem, BadExport}
    found.update(errors.Problem.__subclasses__())
    return [one for one in found if one is not errors.UnusableImage]


def problem_text(problem: type[errors.Problem]) -> tuple[str, str]:
    """The first paragraph of a problem's docstring, and what follows `Fix:`."""
    meaning, _, fix = (inspect.getdoc(problem) or "").partition("\n\nFix: ")
    return " ".join(meaning.split()), " ".join(fix.split())


def image_problems() -> None:
    """A table of the codes of images that cannot be read."""
    _table(
        ("code", "status", "meaning"),
        [
            (f"`{one.code}`", "422", _summary(one))
            for one in sorted(model_errors.BadImage.__subclasses__(), key=lambda one: one.code)
        ],
    )


def reasons() -> None:
    """A table of the reasons that a response names."""
    _table(
        ("reason", "meaning"),
        [(f"`{reason.value}`", attributes(Reason)[reason.name]) for reason in Reason],
    )


def lacking_codes() -> None:
    """A table of what may be lacking before a configuration is in force."""
    _table(
        ("code", "meaning"),
        [(f"`{code.value}`", attributes(Code)[code.name]) for code in Code],
    )


def exports() -> None:
    """A section for each table that can be exported: what a row is, and its columns."""
    for name, (table, _, _) in TABLES.items():
        print(f"\n### `{name}`\n")
        print(f"{data_dictionary.TABLES[name]}\n")
        rows = [
            (
                f"`{column.name}`" + (" (key)" if column.primary_key else ""),
                EXPORTED_TYPES[type(column.type).__name__],
                data_dictionary.meaning(name, column.name),
            )
            for column in table.columns
        ]
        _table(("column", "type", "meaning"), rows)


def _summary(one: type) -> str:
    return " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _nested(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "mapping"
    kind: str = field["type"]
    return YAML_TYPES.get(kind, kind)


def _bounds(field: dict[str, Any]) -> str:
    parts = [field, *field.get("anyOf", ()), field.get("items", {})]
    return ", ".join(
        f"{sign} {_code(part[key])}"
        for part in parts
        for key, sign in BOUNDS.items()
        if key in part
    )


def _code(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


def _yaml(value: Any) -> str:
    if isinstance(value, str) and Path(value).is_relative_to(DOCS.parent):
        return str(Path(value).relative_to(DOCS.parent))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        print("| " + " | ".join(cells) + " |")
