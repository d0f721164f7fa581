"""The file with Ray's token: only its owner may read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.lifecycle import ray_token


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (ray_token.VARIABLE, ray_token.PATH_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_it_is_created_for_the_owner_alone() -> None:
    assert not ray_token.protect()
    assert ray_token.token_path().stat().st_mode & 0o777 == 0o600
    token = ray_token.read_token()
    assert token is not None
    assert len(token) == 64
    assert not ray_token.protect()
    assert ray_token.read_token() == token


def test_one_that_others_can_read_is_hidden_and_kept(user: Path) -> None:
    (user / ".ray").mkdir()
    path = user / ".ray" / "auth_token"
    path.write_text("abc\n")
    path.chmod(0o644)
    assert ray_token.protect()
    assert path.stat().st_mode & 0o777 == 0o600
    assert ray_token.read_token() == "abc"
    assert not ray_token.protect()


@pytest.mark.parametrize("variable", [ray_token.VARIABLE, ray_token.PATH_VARIABLE])
def test_none_is_created_where_the_user_names_another(
    user: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(user / "other"))
    assert not ray_token.protect()
    assert not list(user.iterdir())


def test_a_home_that_cannot_be_written_is_left_to_ray(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user / "file").touch()
    monkeypatch.setenv("HOME", str(user / "file"))
    assert not ray_token.protect()
