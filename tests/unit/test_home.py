from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from serve_app.errors import BadHome
from serve_app.home import Home, open_home

PROCESSES = 6


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "parent" / "home"))
    return open_home()


def test_a_home_is_created_with_mode_0700(home: Home) -> None:
    assert home.path.is_dir()
    assert mode(home.path) == 0o700


def test_the_default_home_is_in_the_users_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVE_APP_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_home().path == tmp_path / ".serve-app"


def test_a_home_accessible_to_other_users_is_rejected(home: Home) -> None:
    home.path.chmod(0o750)
    with pytest.raises(BadHome, match=f"chmod 700 {home.path}"):
        open_home()


def test_a_file_as_home_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERVE_APP_HOME", str(tmp_path / "file"))
    with pytest.raises(BadHome, match=r"cannot be created \(File exists\): set SERVE_APP_HOME"):
        open_home()


def test_secrets_are_created_once(home: Home) -> None:
    again = open_home()
    assert (home.token, home.hash_key, home.image_key) == (
        again.token,
        again.hash_key,
        again.image_key,
    )
    assert len(home.hash_key) == len(home.image_key) == 32
    assert home.hash_key != home.image_key
    assert len(bytes.fromhex(home.token)) == 32
    assert home.token != home.hash_key.hex()


def test_two_homes_have_different_secrets(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name) for name in "ab"]
    for home in homes:
        home.path.mkdir()
    assert homes[0].token != homes[1].token


def test_secrets_have_mode_0600(home: Home) -> None:
    assert home.token
    assert home.hash_key
    assert home.image_key
    assert {path.name: mode(path) for path in home.path.iterdir()} == {
        "token": 0o600,
        "hash.key": 0o600,
        "image.key": 0o600,
    }


def test_a_secret_readable_by_other_users_is_rejected(home: Home) -> None:
    assert home.token
    home.token_path.chmod(0o640)
    with pytest.raises(BadHome, match=f"chmod 600 {home.token_path}"):
        _ = home.token


@pytest.mark.parametrize("content", ["", "secret", "0" * 63, "0" * 65, "G" * 64])
def test_a_damaged_secret_is_rejected_and_not_replaced(home: Home, content: str) -> None:
    """A new key would change the pseudonym of every user."""
    home.token_path.touch(mode=0o600)
    home.token_path.write_text(content)
    with pytest.raises(BadHome, match="does not hold 64 hex digits"):
        _ = home.token
    assert home.token_path.read_text() == content


def _put_secrets(path: Path, start: object, secrets: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    home = Home(path)
    secrets.put((home.token, home.hash_key))  # type: ignore[attr-defined]


def test_concurrent_processes_get_the_same_secrets(home: Home) -> None:
    """The ingress and the control plane start at the same time on a new machine."""
    processes = multiprocessing.get_context("fork")
    start, secrets = processes.Barrier(PROCESSES), processes.Queue()
    workers = [
        processes.Process(target=_put_secrets, args=(home.path, start, secrets))
        for _ in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    found = {secrets.get(timeout=20) for _ in workers}
    for worker in workers:
        worker.join(20)
    assert found == {(home.token, home.hash_key)}
    assert sorted(os.listdir(home.path)) == ["hash.key", "token"]


def test_a_folder_of_the_home_has_mode_0700(home: Home) -> None:
    folder = home.folder("spool")
    assert folder == home.path / "spool"
    assert mode(folder) == 0o700
    assert home.folder("spool") == folder


def test_the_store_is_in_the_home_unless_the_variable_is_set(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVE_APP_DATABASE_URL", raising=False)
    assert home.database_url == f"sqlite:///{home.path}/serve-app.db"
    monkeypatch.setenv("SERVE_APP_DATABASE_URL", "postgresql+psycopg://db/serve")
    assert home.database_url == "postgresql+psycopg://db/serve"
