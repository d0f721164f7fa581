"""Configurations: YAML and JSON texts, rules, deployment files, durations and times."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.strict_json import parse_json
from models.strict_yaml import parse_yaml
from models.validation import InvalidDocument
from serve_app.deployment import config
from serve_app.errors import BadConfig
from serve_app.rules.parse import parse_rule
from tests.fuzz.requests import damaged, mutate
from tests.unit.service import AB, PARALLEL, ROLLING, SHADOW, SINGLE

KNOWN = ("v1", "v2")
FOLDER = Path(__file__).parents[2] / "deploy_configs"
TEXTS = [path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))]
TOKENS = (
    b"NO", b"on", b"5e-2", b"5%", b"010", b"0o10", b"12:30", b"2026-11-23", b".nan", b".inf", b"~",
    b"!!python/object:os.system", b"&a ", b"*a", b"<<: *a", b"{", b"[", b"- ", b"\t", b"\x00", b"|",
    b"? ", b": ", b"rule: ", b"weight: 0.2\n", b"'", b'"', b"\xff", b"%YAML 1.2\n", b"---\n",
    "\u2028".encode(), b"1" * 400, b"{" * 200, b"[" * 200,
)  # fmt: skip


def trial(dice: random.Random) -> Mapping[str, float]:
    """Read a configuration; anything but a value or a rejection with words is wrong."""
    kind = dice.choice(("text", "rule", "document"))
    started = time.process_time()
    try:
        if kind == "text":
            _read_text(dice)
        elif kind == "rule":
            _read_rule(dice)
        else:
            _read_document(dice)
    except (BadConfig, InvalidDocument) as exc:
        if not str(exc).replace("\n", " ").isprintable():
            raise AssertionError(f"the error is not printable: {exc!r}") from exc
    return {f"CPU of a {kind}, s": time.process_time() - started}


def _read_text(dice: random.Random) -> None:
    text = dice.choice(TEXTS)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(text) + 1)
        text = damaged(dice, text[:at] + dice.choice(TOKENS) + text[at:])
    content = parse_yaml(text)
    if content != yaml.load(text, yaml.SafeLoader):
        raise AssertionError(f"Ray reads another value of {text!r}")
    parse_json(json.dumps(content).encode())


def _read_rule(dice: random.Random) -> None:
    rule: dict[str, Any] = copy.deepcopy(dice.choice((SINGLE, PARALLEL, ROLLING, AB, SHADOW)))
    rule["regions"] = ["AU", "NZ"]
    for _ in range(dice.randint(0, 3)):
        mutate(dice, rule)
    parse_rule(rule, KNOWN)


def _read_document(dice: random.Random) -> None:
    document = yaml.load(dice.choice(TEXTS), yaml.SafeLoader)
    for _ in range(dice.randint(0, 3)):
        mutate(dice, document)
    config.check(document, KNOWN)
