"""The text that is printed when the service is ready."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from serve_app.home import Home
from serve_app.lifecycle.welcome import cli_command, welcome_text

URL = "http://127.0.0.1:8000"


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script folder of a virtual environment in the working directory."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "serve-app").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    monkeypatch.delenv("SERVE_APP_HOME", raising=False)
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_command_is_a_relative_path(scripts: Path) -> None:
    assert cli_command() == ".venv/bin/serve-app"


def test_the_command_is_the_program_name_in_an_active_environment(
    scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(scripts))
    assert cli_command() == "serve-app"


def test_another_installation_on_the_path_is_not_used(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serve-app").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli_command() == ".venv/bin/serve-app"


def test_without_a_script_the_command_runs_the_module(scripts: Path) -> None:
    (scripts / "serve-app").unlink()
    assert cli_command() == f"{scripts}/python -m serve_app"


def test_the_command_sets_a_custom_home(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_APP_HOME", "/srv/my home")
    assert cli_command() == "SERVE_APP_HOME='/srv/my home' .venv/bin/serve-app"


def test_the_text_has_addresses_and_three_commands(home: Home) -> None:
    text = welcome_text(URL, home)
    curl, classify, status = text.split("Try, from this folder:")[1].strip().splitlines()
    words = shlex.split(curl)
    assert (words[0], words[-1]) == ("curl", f"{URL}/v1/classify")
    assert {"Content-Type: image/png", "X-User-Id: alice"} < set(words)
    assert classify.endswith(" classify docs/examples/koala.png")
    assert status.endswith(" status")
    assert f"{URL}/control" in text
    assert f"cat {home.token_path}" in text
    assert "http://127.0.0.1:8265" in text
    assert "auth_token" in text
