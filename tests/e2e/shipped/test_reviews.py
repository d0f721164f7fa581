"""Reviews of images on which the versions disagree, from shadow traffic to the report."""

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

from models.synthetic import synthesize
from tests.e2e.waiting import eventually

REVIEW = {"keep": 50, "disagreements": 1.0, "agreements": 0.0, "for": "1h"}
SHADOW = {"kind": "shadow", "stable": "v1", "candidate": "v2"}
KOALAS = 12


@pytest.fixture(scope="module")
def set_rule(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """A function that sets a rule."""
    folder = tmp_path_factory.mktemp("rules")

    def run_command(**rule: Any) -> None:
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump({"rule": rule}))
        service.command("rule", "set", str(path), "--change-stable")
        if rule["kind"] == "shadow":
            eventually(lambda: service.http.get("/v1/rule").json()["candidate"]["up"])

    return run_command


def koala_image(seed: int) -> bytes:
    content = BytesIO()
    synthesize("koala", seed).convert("RGB").save(content, "PNG")
    return content.getvalue()


def waiting_count(service: Any) -> int:
    return int(service.get_control("reviews")["waiting"])


def copied_count(service: Any) -> int:
    return int(service.get_control("status")["recording"]["shadow"]["copied"])


def send_koalas(service: Any, first: int) -> None:
    """Two images a second, so that the sampler keeps all of them."""
    for seed in range(first, first + KOALAS):
        response = service.classify(koala_image(seed), X_Region="AU")
        assert (response.status_code, response.json()["version"]) == (200, "v1")
        time.sleep(0.5)


def test_a_shadow_without_review_keeps_no_image(service: Any, set_rule: Any) -> None:
    set_rule(**SHADOW)
    before = copied_count(service)
    send_koalas(service, first=100)
    eventually(lambda: copied_count(service) > before)
    time.sleep(3)
    assert waiting_count(service) == 0


def test_disagreements_wait_for_review(service: Any, set_rule: Any) -> None:
    """An image that is sent twice waits once."""
    set_rule(**SHADOW, review=REVIEW)
    before = copied_count(service)
    send_koalas(service, first=200)
    send_koalas(service, first=200)
    eventually(lambda: copied_count(service) > before)
    eventually(lambda: waiting_count(service) >= 2)
    time.sleep(3)
    assert 2 <= waiting_count(service) <= KOALAS
    report = service.json("report", "shadow", "--since", "1h")["reviews"]
    assert (report["reviewed"], report["waiting"]) == (0, waiting_count(service))
    assert report["disagreements"]["candidate_right"] is None
    assert "which version is right is not known" in service.command("report", "shadow")


def test_kept_images_are_encrypted(service: Any) -> None:
    """The first bytes of a JPEG are in no file, because images are encrypted."""
    assert waiting_count(service)
    contents = []
    for path in service.home.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # temporary files
            contents.append(path.read_bytes())
    assert any(b"kept_images" in content for content in contents)
    assert not any(b"\xff\xd8\xff\xe0" in content for content in contents)
    assert (service.home / "image.key").stat().st_mode & 0o777 == 0o600


def test_images_need_the_token(service: Any) -> None:
    (image, *_) = service.get_control("reviews")["images"]
    for path in ("", f"/{image['id']}", f"/{image['id']}/image"):
        assert service.http.get(f"/control/reviews{path}").status_code == 401
    response = httpx.get(
        f"http://127.0.0.1:8000/control/reviews/{image['id']}/image",
        headers={"Authorization": f"Bearer {service.token}"},
    )
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "no-store"
    assert response.content.startswith(b"\xff\xd8\xff")


def test_reviews_on_the_page_change_the_report(service: Any, browser: Browser) -> None:
    before = waiting_count(service)
    page = browser.new_page()
    page_errors: list[str] = []
    page.on("pageerror", lambda error: page_errors.append(str(error)))
    page.goto("http://127.0.0.1:8000/control/review")
    page.get_by_label("Token").fill(service.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Console").click()
    expect(page.get_by_role("cell", name="StablePool").first).to_be_visible()
    page.get_by_role("link", name="Blind review").click()
    page.get_by_label("Your name").fill("anna")
    expect_blind_image(page)
    page.get_by_role("button", name="koala").click()
    expect_predictions(page)
    page.keyboard.press("Enter")  # the next one
    expect_blind_image(page)
    page.keyboard.press("3")  # koala
    expect_predictions(page)
    assert page_errors == []

    assert waiting_count(service) == before - 2
    report = service.json("report", "shadow", "--since", "1h")["reviews"]
    assert (report["reviewed"], report["waiting"]) == (2, before - 2)
    # The images show koalas, which v1 does not know.
    assert report["disagreements"]["only_stable"] == 0
    assert report["disagreements"]["only_candidate"] + report["disagreements"]["both_wrong"] == 2
    assert report["agreements"]["both_wrong"]["estimate"] is None
    assert "2 images" in service.command("report", "shadow")


def expect_blind_image(page: Page) -> None:
    """The page shows an image without the predictions."""
    expect(page.get_by_role("button", name="koala")).to_be_enabled()
    width = page.get_by_alt_text("The image to review").evaluate("image => image.naturalWidth")
    assert width > 0
    for word in ("v1", "v2", "disagree", "AU"):
        expect(page.locator("main")).not_to_contain_text(word)


def expect_predictions(page: Page) -> None:
    result = page.get_by_role("status")
    expect(result).to_contain_text("The versions disagree")
    expect(result).to_contain_text("anna answeredkoala")
    expect(result).to_contain_text("v1 predicted")
    expect(result).to_contain_text("v2 predicted")
    expect(page.get_by_role("button", name="Next image")).to_be_focused()


def test_a_review_by_command_is_final(service: Any) -> None:
    (image, *_) = service.json("review", "list")["images"]
    review = service.json("review", "answer", image["id"], "other")
    assert review["review"]["answer"] == "other"
    rejected = service.command("review", "answer", image["id"], "koala", fails=True)
    assert "as 'other'" in rejected
    assert image["id"] in service.command("review", "list", "--reviewed")


def test_a_repeated_review_is_rejected_and_the_first_is_in_the_audit(service: Any) -> None:
    (image, *_) = service.get_control("reviews?limit=1")["images"]
    options = {
        "json": {"answer": "cannot_tell", "actor": "test"},
        "headers": {"Authorization": f"Bearer {service.token}"},
    }
    path = f"/control/reviews/{image['id']}"
    first, again = (service.http.post(path, **options) for _ in range(2))
    assert first.status_code == 200
    assert (again.status_code, again.json()["code"]) == (409, "already_reviewed")
    reviews = [entry["details"] for entry in service.json("audit") if entry["action"] == "review"]
    assert reviews.count({"image": image["id"], "answer": "cannot_tell"}) == 1
