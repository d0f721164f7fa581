"""A virtual environment for each peer, created on first use in the cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
ROOT = PEERS.parents[1]
CACHE = ROOT / "build" / "bench"  # environments, images and logs, kept between runs
SERVING = "serving"  # as `make serve` installs it: without torch and pandas, which Ray would import
SHARED = ("numpy", "onnxruntime", "pillow", "pydantic")  # dependencies of `models`


def executables(peer: str | None, cache: Path) -> Path:
    """Folder of a peer's executables; None: of the environment that runs the benchmarks."""
    return Path(sys.executable).parent if peer is None else cache / peer / "bin"


def prepare(peer: str, cache: Path) -> None:
    """Install the requirements of a peer, unless they are installed.

    The dependencies of `models` have the versions that serve-app uses; all others are the newest
    that the peer allows. `SERVING` is this project with its constraints.

    Raises:
        CalledProcessError: pip fails.
    """
    if peer == SERVING:
        requirements_text = (ROOT / "pyproject.toml").read_text()
        pip_arguments: tuple[str | Path, ...] = ("--editable", ROOT)
        constraints = (ROOT / "constraints.txt").read_text()
    else:
        requirements = PEERS / peer / "requirements.txt"
        requirements_text = requirements.read_text()
        pip_arguments = ("--requirement", requirements)
        constraints = "".join(f"{name}=={version(name)}\n" for name in SHARED)
    folder = cache / peer
    stamp = folder / "installed"
    content = f"{sys.version}\n{constraints}\n{requirements_text}"
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    (folder / "constraints.txt").write_text(constraints)
    subprocess.run(
        [
            *(folder / "bin" / "python", "-m", "pip", "install", "-qq"),
            *("--disable-pip-version-check", "--constraint", folder / "constraints.txt"),
            *pip_arguments,
        ],
        check=True,
    )
    stamp.write_text(fingerprint)
