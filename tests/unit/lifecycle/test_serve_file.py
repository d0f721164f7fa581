"""Reading Serve configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.errors import BadConfig
from serve_app.lifecycle import serve_file
from serve_app.lifecycle.configuration import BASE
from serve_app.lifecycle.serve_file import ServeFile


def test_the_default_file_binds_to_loopback() -> None:
    file = serve_file.read(BASE)
    assert file.applications == ("animals", "control")
    assert file.url == "http://127.0.0.1:8000"


def test_missing_options_have_serves_defaults(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text("applications: [{name: animals}]")
    file = serve_file.read(path)
    assert (file.host, file.port, file.url) == ("0.0.0.0", 8000, "http://127.0.0.1:8000")  # noqa: S104


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("animals.example", "animals.example"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("fd00::7", "[fd00::7]"),
    ],
)
def test_the_url_of_each_host(host: str, reached_at: str) -> None:
    file = ServeFile(BASE, host, 8000, ("animals",))
    assert file.url == f"http://{reached_at}:8000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("", "is not a mapping, but empty: expected a Ray Serve configuration"),
        ("[1, 2]", "is not a mapping, but a list: expected a Ray Serve configuration"),
        ("import_path: app:app", "applications is null: expected a list"),
        ("applications: []", "applications is an empty list: expected a list"),
        ("applications: [{import_path: a}]", "applications.0.name is missing"),
        ("{applications: [{name: a}], http_options: 8000}", "http_options is 8000: expected keys"),
        ("{applications: [{name: a}], http_options: {port: x}}", "http_options.port is 'x'"),
        ("{applications: [{name: a}], http_options: {port: 70000}}", "expected 1 to 65535"),
    ],
)
def test_a_malformed_file_is_rejected_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig) as rejected:
        serve_file.read(path)
    assert message in str(rejected.value)
    assert str(path) in str(rejected.value)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"cannot be read \(No such file or directory\)"):
        serve_file.read(tmp_path / "none.yaml")
