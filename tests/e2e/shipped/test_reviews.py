"""Images on which the versions disagree, from a shadow's traffic to the report, in a browser."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from models.synthetic import draw
from tests.e2e.waiting import eventually

REVIEW = {"keep": 50, "disagreements": 1.0, "agreements": 0.0, "for": "1h"}
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
KOALAS = 12


@pytest.fixture(scope="module")
def put(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Puts a rule in force."""
    folder = tmp_path_factory.mktemp("rules")

    def put_in_force(**rule: Any) -> None:
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump({"rule": rule}))
        service.command("rule", "set", str(path))
        if rule["kind"] == "shadow":
            eventually(lambda: service.http.get("/v1/rule").json()["candidate"]["up"])

    return put_in_force


def koala(seed: int) -> bytes:
    content = BytesIO()
    draw("koala", seed).convert("RGB").save(content, "PNG")
    return content.getvalue()


def waiting(service: Any) -> int:
    return int(service.control("disagreements")["waiting"])


def copied(service: Any) -> int:
    return int(service.control("status")["recording"]["shadow"]["copied"])


def send_koalas(service: Any, first: int) -> None:
    """A few a second, so that no image lacks a place."""
    for seed in range(first, first + KOALAS):
        answer = service.classify(koala(seed), X_Region="AU")
        assert (answer.status_code, answer.json()["version"]) == (200, "v1")
        time.sleep(0.5)


def test_a_shadow_keeps_no_image_unless_it_says_so(service: Any, put: Any) -> None:
    put(**SHADOW)
    before = copied(service)
    send_koalas(service, first=100)
    eventually(lambda: copied(service) > before)
    time.sleep(3)
    assert waiting(service) == 0


def test_what_the_versions_disagree_on_waits_for_review(service: Any, put: Any) -> None:
    """However often an image is sent, it waits once."""
    put(**SHADOW, review=REVIEW)
    before = copied(service)
    send_koalas(service, first=200)
    send_koalas(service, first=200)
    eventually(lambda: copied(service) > before)
    eventually(lambda: waiting(service) >= 2)
    time.sleep(3)
    assert 2 <= waiting(service) <= KOALAS
    report = service.json("report", "shadow", "--since", "1h")["reviews"]
    assert (report["reviewed"], report["waiting"]) == (0, waiting(service))
    assert report["disagreements"]["candidate_right"] is None
    assert "which version is right is not known" in service.command("report", "shadow")


def test_no_image_lies_open_in_the_home(service: Any) -> None:
    """Whatever Fernet leaves of a JPEG, its beginning is not among it."""
    assert waiting(service)
    contents = []
    for path in service.home.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # some come and go
            contents.append(path.read_bytes())
    assert any(b"kept_images" in content for content in contents)
    assert not any(b"\xff\xd8\xff\xe0" in content for content in contents)
    assert (service.home / "image.key").stat().st_mode & 0o777 == 0o600


def test_images_are_for_bearers_of_the_token(service: Any) -> None:
    (one, *_) = service.control("disagreements")["disagreements"]
    for path in ("", f"/{one['id']}", f"/{one['id']}/image"):
        assert service.http.get(f"/control/disagreements{path}").status_code == 401
    image = httpx.get(
        f"http://127.0.0.1:8000/control/disagreements/{one['id']}/image",
        headers={"Authorization": f"Bearer {service.token}"},
    )
    assert image.headers["content-type"] == "image/jpeg"
    assert image.headers["cache-control"] == "no-store"
    assert image.content.startswith(b"\xff\xd8\xff")


def test_two_images_are_reviewed_blind_and_the_report_changes(
    service: Any, browser: Browser
) -> None:
    before = waiting(service)
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("http://127.0.0.1:8000/control/review")
    page.get_by_role("link", name="Sign in on the console").click()
    page.get_by_label("Token").fill(service.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("cell", name="StablePool").first).to_be_visible()
    page.get_by_role("link", name="Blind review").click()
    page.get_by_label("Your name").fill("anna")
    is_shown(page)
    page.get_by_role("button", name="koala").click()
    is_told(page)
    page.keyboard.press("Enter")  # the next one
    is_shown(page)
    page.keyboard.press("3")  # koala
    is_told(page)
    assert complaints == []

    assert waiting(service) == before - 2
    report = service.json("report", "shadow", "--since", "1h")["reviews"]
    assert (report["reviewed"], report["waiting"]) == (2, before - 2)
    # They were drawn as koalas, and v1 knows none.
    assert report["disagreements"]["only_stable"] == 0
    assert report["disagreements"]["only_candidate"] + report["disagreements"]["both_wrong"] == 2
    assert report["agreements"]["both_wrong"]["estimate"] is None
    assert "2 images" in service.command("report", "shadow")


def is_shown(page: Page) -> None:
    """An image that may be answered, and nothing of what was said of it."""
    expect(page.get_by_role("button", name="koala")).to_be_enabled()
    width = page.get_by_alt_text("The image to review").evaluate("image => image.naturalWidth")
    assert width > 0
    for word in ("v1", "v2", "disagree", "AU"):
        expect(page.locator("main")).not_to_contain_text(word)


def is_told(page: Page) -> None:
    told = page.get_by_role("status")
    expect(told).to_contain_text("They disagreed")
    expect(told).to_contain_text("anna saidkoala")
    expect(told).to_contain_text("v1 said")
    expect(told).to_contain_text("v2 said")
    expect(page.get_by_role("button", name="Next image")).to_be_focused()


def test_a_review_by_command_is_told_and_stays(service: Any) -> None:
    (one, *_) = service.json("review", "list")["disagreements"]
    told = service.json("review", "answer", one["id"], "other")
    assert told["review"]["answer"] == "other"
    rejected = service.command("review", "answer", one["id"], "koala", fails=True)
    assert "has said 'other'" in rejected
    assert one["id"] in service.command("review", "list", "--reviewed")


def test_under_a_key_a_review_is_answered_again(service: Any) -> None:
    (one, *_) = service.control("disagreements?limit=1")["disagreements"]
    asked = {
        "json": {"answer": "cannot_tell", "actor": "test"},
        "headers": {"Authorization": f"Bearer {service.token}", "Idempotency-Key": "review-1"},
    }
    path = f"/control/disagreements/{one['id']}/review"
    first, again = (service.http.post(path, **asked) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.status_code == 200
    del asked["headers"]["Idempotency-Key"]
    rejected = service.http.post(path, **asked)
    assert (rejected.status_code, rejected.json()["code"]) == (409, "already_reviewed")
