"""An environment of its own for each peer, made on first use in the cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
ROOT = PEERS.parents[1]
CACHE = ROOT / "build" / "bench"  # environments, images and logs, kept between runs
SERVING = "serving"  # what `make serve` installs: neither torch nor pandas, which Ray would import
SHARED = ("numpy", "onnxruntime", "pillow", "pydantic")  # what `models` runs on


def executables(peer: str | None, cache: Path) -> Path:
    """The folder of a peer's executables; None: of the environment that runs the benchmarks."""
    return Path(sys.executable).parent if peer is None else cache / peer / "bin"


def prepare(peer: str, cache: Path) -> None:
    """Install what a peer requires, unless that is done.

    What `models` runs on comes in the versions that serve-app itself has; everything else as the
    peer asks for it, the newest.  `SERVING` is this project with its own constraints.
    CalledProcessError if pip fails.
    """
    if peer == SERVING:
        wants, asked = (ROOT / "pyproject.toml").read_text(), ("--editable", ROOT)
        constraints = (ROOT / "constraints.txt").read_text()
    else:
        requirements = PEERS / peer / "requirements.txt"
        wants, asked = requirements.read_text(), ("--requirement", requirements)
        constraints = "".join(f"{name}=={version(name)}\n" for name in SHARED)
    folder = cache / peer
    stamp = folder / "installed"
    wanted = hashlib.sha256(f"{sys.version}\n{constraints}\n{wants}".encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    (folder / "constraints.txt").write_text(constraints)
    subprocess.run(
        [
            *(folder / "bin" / "python", "-m", "pip", "install", "-qq"),
            *("--disable-pip-version-check", "--constraint", folder / "constraints.txt"),
            *asked,
        ],
        check=True,
    )
    stamp.write_text(wanted)
