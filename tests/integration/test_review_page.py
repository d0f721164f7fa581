"""The blind review page in a browser, over the real routes and a real store, without Ray."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from models.synthetic import synthesize
from serve_app.errors import NotReady, TooSlow
from serve_app.home import DATABASE_VARIABLE, Home
from serve_app.privacy.image_cipher import ImageCipher
from serve_app.store.audit import NewAuditEntry
from tests.unit.http.control.conftest import REVIEWER_TOKEN, TOKEN, ControlApp
from tests.unit.reviews import ReviewPlane
from tests.web import served


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewPlane]:
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    plane = ReviewPlane(Home(tmp_path))
    yield plane
    plane.close()


@pytest.fixture
def url(plane: ReviewPlane) -> Iterator[str]:
    control = ControlApp(plane.control, plane.reads, plane.sessions)
    app = Starlette(routes=[Mount("/control", control.app)])
    with served(app) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page of a signed-in browser; a JavaScript error fails the test."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    assert page.request.post("/control/session", data={"token": TOKEN}).ok
    page_errors: list[str] = []
    page.on("pageerror", lambda error: page_errors.append(str(error)))
    yield page
    context.close()
    assert page_errors == []


def jpeg(label: str) -> bytes:
    content = BytesIO()
    synthesize(label, 1).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def keep_images(plane: ReviewPlane, *numbers: int) -> None:
    for number in numbers:
        plane.keep_images(number, encrypted=plane.image_cipher.encrypt(jpeg("koala")))


def review_first_of_two(plane: ReviewPlane, page: Page) -> None:
    """The page then has the second image in its queue, and has not loaded it."""
    keep_images(plane, 1, 2)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_role("button", name="Next image")).to_be_focused()


def expect_image(page: Page) -> None:
    """The image is loaded, and the answer buttons are enabled."""
    expect(page.get_by_role("button", name="Cannot tell")).to_be_enabled()
    width = page.get_by_alt_text("The image to review").evaluate("image => image.naturalWidth")
    assert width > 0


def test_predictions_are_shown_only_after_the_review(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1, 2)
    page.goto("/control/review")
    expect(page.get_by_text("2 images wait for review")).to_be_visible()
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    for text in ("v1", "v2", "disagree", "AU"):
        expect(page.locator("main")).not_to_contain_text(text)
    page.get_by_role("button", name="koala").click()
    result = page.get_by_role("status")
    expect(result).to_contain_text("The versions disagree")
    expect(result).to_contain_text("anna answeredkoala")
    expect(result).to_contain_text("v2 predictedkoala, right")
    expect(result).to_contain_text(", wrong")
    expect(page.get_by_role("figure")).to_contain_text("from AU")
    expect(page.get_by_role("button", name="koala")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="koala")).to_be_disabled()
    expect(page.get_by_text("1 image waits for review")).to_be_visible()
    (one,) = plane.store.reviewed_images(10)
    assert one.review
    assert (one.review.answer, one.review.actor) == ("koala", "anna")


def test_images_can_be_reviewed_by_keyboard(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1, 2, 3)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    page.keyboard.press("Enter")
    for key in "354":
        expect_image(page)
        page.keyboard.press(key)
        expect(page.get_by_role("button", name="Next image")).to_be_focused()
        page.keyboard.press("Enter")
    expect(page.get_by_text("No image waits for review.")).to_be_visible()
    answers = {one.review.answer for one in plane.store.reviewed_images(10) if one.review}
    assert answers == {"koala", "cannot_tell", "other"}


def test_a_digit_in_the_name_is_not_an_answer(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.goto("/control/review")
    expect_image(page)
    page.get_by_label("Your name").press_sequentially("anna 1")
    expect(page.get_by_role("status")).to_be_empty()
    assert plane.store.reviewed_images(10) == []


def test_a_review_needs_a_name_which_the_browser_remembers(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.goto("/control/review")
    expect_image(page)
    page.get_by_role("button", name="cat").click()
    expect(page.locator("#error")).to_have_text("Enter your name first.")
    expect(page.get_by_label("Your name")).to_be_focused()
    assert plane.store.reviewed_images(10) == []
    page.keyboard.type("anna")
    page.get_by_role("button", name="cat").click()
    expect(page.get_by_role("status")).to_contain_text("anna answered")
    page.reload()
    expect(page.get_by_label("Your name")).to_have_value("anna")


def test_an_earlier_review_by_another_reviewer_is_shown(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    (image,) = plane.store.unreviewed_images(0, 1)
    plane.store.add_review(image.digest, "dog", NewAuditEntry("review", "ada", "", {}), at_ms=1)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_role("status")).to_contain_text("ada answereddog")


def test_an_expired_image_is_skipped(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    plane.store.remove_expired(2**60)
    page.get_by_role("button", name="koala").click()
    expect(page.locator("#error")).to_contain_text("is not kept, or has been deleted")
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_text("No image waits for review.")).to_be_visible()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("expired", "is not kept, or has been deleted"),
        ("another key", "another image.key"),
        ("store down", "the database cannot be used"),
        ("store slow", "the store did not answer"),
        ("broken", "The browser cannot show the image."),
    ],
)
def test_a_missing_image_is_explained(
    plane: ReviewPlane, page: Page, monkeypatch: pytest.MonkeyPatch, failure: str, error: str
) -> None:
    store_errors = {"store down": NotReady(error), "store slow": TooSlow(error)}

    async def fail(image_id: str) -> bytes:
        if failure == "broken":
            return b"not a JPEG"
        raise store_errors[failure]

    review_first_of_two(plane, page)
    if failure == "expired":
        plane.store.remove_expired(2**60)
    elif failure == "another key":
        monkeypatch.setattr(plane.reads._reviews, "_cipher", ImageCipher(bytes(32)))
    else:
        monkeypatch.setattr(plane.reads, "image_content", fail)
    page.get_by_role("button", name="Next image").click()
    expect(page.locator("#error")).to_contain_text(error)
    expect(page.get_by_role("button", name="koala")).to_be_disabled()
    monkeypatch.undo()
    page.get_by_role("button", name="Next image").click()
    if failure == "expired":
        expect(page.get_by_text("No image waits for review.")).to_be_visible()
    else:
        expect_image(page)
        expect(page.locator("#error")).to_be_empty()


def test_an_expired_session_shows_the_sign_in_form(plane: ReviewPlane, page: Page) -> None:
    review_first_of_two(plane, page)
    page.context.clear_cookies()
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.locator("#error")).to_be_empty()


def test_without_a_session_a_reviewer_signs_in_first(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.context.clear_cookies()
    page.goto("/control/review")
    expect(page.get_by_alt_text("The image to review")).to_be_hidden()
    assert page.request.get("/control/reviews").status == 401
    page.get_by_label("Token").fill("0" * 64)
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in-error")).to_contain_text("the token is wrong")
    page.get_by_label("Token").fill(REVIEWER_TOKEN)
    page.keyboard.press("Enter")
    expect_image(page)
    page.goto("/control/")
    expect(page).to_have_url(re.compile("/control/review$"))


def test_a_skipped_image_does_not_come_again(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1, 2)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_text("2 images wait for review, 1 skipped")).to_be_visible()
    expect_image(page)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_text("1 reviewed on this page")).to_be_visible()
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_text("No image waits for review.")).to_be_visible()


def test_a_number_key_answers_after_a_click_elsewhere(plane: ReviewPlane, page: Page) -> None:
    keep_images(plane, 1)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    expect_image(page)
    page.get_by_role("heading", name="Blind review").click()
    page.keyboard.press("3")
    expect(page.get_by_role("status")).to_contain_text("anna answeredkoala")


@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_fits_the_window(plane: ReviewPlane, page: Page, width: int) -> None:
    keep_images(plane, 1)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/control/review")
    expect_image(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
