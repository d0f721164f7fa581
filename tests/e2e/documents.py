"""Runs the commands of the documentation, and writes their outputs into it.

A block marked `sh` is run; a block marked `text` or `json` right after it shows its output. A
comment `<!-- shown: 12 lines -->` between them shortens the output.

    python -m tests.e2e.documents [PAGE...]
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from markdown_it import MarkdownIt

from serve_app.evidence.verdict import Finding
from tests.e2e.service import ROOT, service_starter

BASE = "serve-app deploy deploy_configs/base.yaml --reason 'documentation'"
NOT_RUN = "<!-- not run:"
SHOWN = r"<!-- shown: (\d+) lines -->"
TIMEOUT_S = 120.0
# Printed only if a poll meets the state.
PROGRESS = ("tearing down the data plane", "building the data plane")


@dataclass(frozen=True)
class Command:
    """A block of commands and the block that shows its output.

    Attributes:
        line: Of the page where the block begins, from 1.
        output: The shown output; None if none is shown.
        output_lines: The lines of the page between the fences of the output, from 0.
        shown: How many lines of the output are shown; None for all.
    """

    line: int
    script: str
    output: str | None = None
    language: str = ""
    output_lines: tuple[int, int] = (0, 0)
    shown: int | None = None


def commands(page: str) -> Iterator[Command]:
    """The blocks of a page that are run, in order."""
    tokens = [token for token in MarkdownIt().parse(page) if token.map and token.level == 0]
    for number, token in enumerate(tokens):
        before = tokens[number - 1].content if number else ""
        if token.type != "fence" or token.info != "sh" or before.startswith(NOT_RUN):
            continue
        start, _ = token.map or (0, 0)
        after = tokens[number + 1 : number + 3]
        limit = re.match(SHOWN, after[0].content) if after else None
        if limit:
            del after[0]
        output = after[0] if after else None
        if output and output.type == "fence" and output.info in ("text", "json"):
            first, last = output.map or (0, 0)
            lines = (first + 1, last - 1)
            shown = int(limit[1]) if limit else None
            yield Command(start + 1, token.content, output.content, output.info, lines, shown)
        else:
            yield Command(start + 1, token.content)


def pages() -> list[Path]:
    """The pages with commands, in the order in which they are run."""
    docs = ROOT / "docs"
    found = [
        ROOT / "README.md",
        docs / "getting-started.md",
        *sorted((docs / "strategies").glob("*.md")),
        *sorted(docs.glob("*.md")),
    ]
    return [path for path in dict.fromkeys(found) if any(commands(path.read_text()))]


@contextlib.contextmanager
def without_files() -> Iterator[None]:
    """Removes the files that the commands of a page write into the working directory."""
    before = set(ROOT.iterdir())
    try:
        yield
    finally:
        for path in set(ROOT.iterdir()) - before:
            if path.is_file():
                path.unlink()


def run(script: str, environ: Mapping[str, str]) -> str:
    """What a script prints.

    Raises:
        AssertionError: It fails.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 the shell of the user
        cwd=ROOT,
        env={
            **environ,
            "COLUMNS": "100",
            "LOGNAME": "ada",  # the actor of changes
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\nexits with {done.returncode}:\n{done.stdout}"
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def differences(command: Command, printed: str) -> list[str]:
    """What the shown output has and the printed one lacks, figures and verdicts aside."""
    if command.output is None:
        return []
    if command.language == "json":
        return sorted(_keys(json.loads(command.output)) - _keys(json.loads(printed)))
    there = set(_words(printed))  # by words: the width of a figure moves where a cell is broken
    return [
        line
        for line in command.output.splitlines()
        if _is_stable(line) and not there.issuperset(_words(line))
    ]


def _words(text: str) -> list[str]:
    """Without sparklines, and without marks such as that of a missing figure."""
    return [word for word in text.split() if re.search(r"\w", word)]


def _is_stable(line: str) -> bool:
    verdicts = tuple(finding.value for finding in Finding)
    plain = line.strip().removeprefix("finding").strip()
    return not re.search(r"\d", plain) and not plain.startswith(verdicts) and plain not in PROGRESS


def _keys(content: Any) -> set[str]:
    if isinstance(content, dict):
        return set(content).union(*(_keys(value) for value in content.values()))
    return set()


def update(path: Path, environ: Mapping[str, str]) -> None:
    """Run the commands of a page and write their outputs into it."""
    page = path.read_text()
    lines = page.splitlines()
    outputs = []
    for command in commands(page):
        printed = run(command.script, environ)
        if command.output is not None:
            shown = printed.strip("\n").splitlines()[: command.shown]
            outputs.append((command.output_lines, shown))
    for (first, last), shown in reversed(outputs):
        lines[first:last] = shown
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Rewrite the outputs of all pages, or of those that are named, each on a new service."""
    for path in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        print(path.relative_to(ROOT))
        with (
            without_files(),
            TemporaryDirectory() as home,
            service_starter(Path(home)) as start,
        ):
            update(path, start(ROOT / "deploy_configs" / "base.yaml").environ)


if __name__ == "__main__":
    main()
