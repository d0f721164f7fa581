"""Tests of the layers of the code: which module may import which. Imports in functions count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

ROOT = Path(__file__).parents[2]
PACKAGES = ("serve_app", "models", "training")

# folder or file to the packages that it must not import
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "models": ("serve_app", "training", "ray"),
    "training": ("serve_app", "ray"),
    "serve_app": ("training",),
}
# package to the packages of serve_app above it, which it must not import
ABOVE: dict[str, tuple[str, ...]] = {
    "serve_app/rules": ("cli", "client", "control_plane", "data_plane", "home", "http", "lifecycle",
                        "recording", "serving", "store"),
    "serve_app/evidence": ("cli", "client", "control_plane", "data_plane", "home", "http",
                           "lifecycle", "recording", "reports", "rules", "serving", "store"),
    "serve_app/reports": ("cli", "client", "control_plane", "http", "lifecycle", "serving"),
    "serve_app/deployment": ("cli", "client", "control_plane", "data_plane", "http", "lifecycle",
                             "recording", "reports", "serving", "store", "traffic"),
    "serve_app/recording": ("cli", "control_plane", "data_plane", "http", "lifecycle", "serving",
                            "store"),
    "serve_app/store": ("cli", "control_plane", "data_plane", "http", "lifecycle", "serving"),
    "serve_app/control_plane": ("cli", "client", "http", "lifecycle", "serving", "traffic"),
    "serve_app/data_plane": ("cli", "control_plane", "http", "lifecycle", "serving", "store"),
    "serve_app/http": ("cli", "lifecycle", "serving", "store"),
    "serve_app/lifecycle": ("cli", "data_plane", "http", "serving"),
    "serve_app/serving": ("cli", "lifecycle"),
    "serve_app/traffic": ("cli.", "control_plane", "data_plane", "http", "lifecycle", "recording",
                          "serving", "store"),
    "serve_app/cli": ("data_plane", "http", "serving", "store"),
}  # fmt: skip
# library to the places that may import it
CONFINED: dict[str, tuple[str, ...]] = {
    "ray": ("serve_app/serving",),
    "torch": ("models/cnn.py", "models/torch_backend.py", "training"),
    "torchvision": ("training",),
    "onnxruntime": ("models/onnx_backend.py",),
    "matplotlib": ("training/plots.py",),
    "typer": ("serve_app/cli", "training/cli.py"),
    "fastapi": ("serve_app/http", "serve_app/serving"),
    "starlette": ("serve_app/http",),
    "sqlalchemy": ("serve_app/store",),
    "alembic": ("serve_app/store",),
    "cryptography": ("serve_app/privacy",),
    "pycountry": ("serve_app/regions.py",),
    "psutil": ("serve_app/lifecycle",),
    "httpx": ("serve_app/client.py", "serve_app/control_plane/downtime.py", "serve_app/lifecycle"),
    "aiohttp": ("serve_app/traffic",),
}
PICKLERS = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


def imports(source: str) -> Iterator[str]:
    """The full names of the modules that a source text imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def violations(path: str, source: str) -> list[str]:
    """The forbidden imports of a file; `path` is relative to the root."""
    found = []
    for module in imports(source):
        library = module.split(".")[0]
        for place, banned in FORBIDDEN.items():
            if _is_in(path, place) and library in banned:
                found.append(f"{path} imports {module}: {place} must not")
        for place, above in ABOVE.items():
            if _is_in(path, place) and module.startswith(tuple(f"serve_app.{a}" for a in above)):
                found.append(f"{path} imports {module}: {place} is below it")
        if library in CONFINED and not any(_is_in(path, p) for p in CONFINED[library]):
            found.append(f"{path} imports {module}: only {', '.join(CONFINED[library])} may")
        if library in PICKLERS:
            found.append(f"{path} imports {module}: pickling is not allowed")
    return found


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", _sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_its_layer_allows(path: Path) -> None:
    assert violations(path.relative_to(ROOT).as_posix(), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/registry.py", "from serve_app import cli"),
        ("models/registry.py", "def late():\n    import torch"),
        ("training/fit.py", "import ray.serve"),
        ("serve_app/cli/models.py", "from training.fit import fit"),
        ("serve_app/rules/split.py", "import ray"),
        ("serve_app/rules/split.py", "from serve_app.store.store import Store"),
        ("serve_app/http/classify.py", "from serve_app.serving import app"),
        ("training/checkpoint.py", "import pickle"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    """The check can fail."""
    assert len(violations(path, source)) >= 1


def test_a_unit_test_cannot_start_ray() -> None:
    with pytest.raises(AssertionError, match="a unit test starts Ray"):
        ray.init()
