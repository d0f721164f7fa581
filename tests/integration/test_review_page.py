"""The page of the blind review in a browser, over the real routes and a real store; no Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from models.synthetic import draw
from serve_app.errors import NotReady, TooSlow
from serve_app.http.control_plane import application
from serve_app.http.session import Authenticator
from serve_app.privacy.image_cipher import ImageCipher
from tests.unit.http.test_control_plane import TOKEN, nothing_beside
from tests.unit.http.test_reviews import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    plane.close()


@pytest.fixture
def url(plane: Plane) -> Iterator[str]:
    control = application(plane, Authenticator(TOKEN), lambda _: None, nothing_beside)
    app = Starlette(routes=[Mount("/control", control)])
    server = uvicorn.Server(
        uvicorn.Config(
            app, "127.0.0.1", 0, log_config=None, access_log=False, ws="none", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    (listening,) = server.servers
    yield "http://{}:{}".format(*listening.sockets[0].getsockname())
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """Signed in; whatever the page complains of is a failure."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    assert page.request.post("/control/session", data={"token": TOKEN}).ok
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def jpeg(label: str) -> bytes:
    content = BytesIO()
    draw(label, 1).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def keep(plane: Plane, *numbers: int) -> None:
    for number in numbers:
        plane.keep(number, encrypted=plane.image_cipher.encrypt(jpeg("koala")))


def answer_first_of_two(plane: Plane, page: Page) -> None:
    """The page knows of the second image then, and has not asked for it."""
    keep(plane, 1, 2)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    is_shown(page)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_role("button", name="Next image")).to_be_focused()


def is_shown(page: Page) -> None:
    """The image itself is there, and may be answered."""
    expect(page.get_by_role("button", name="Cannot tell")).to_be_enabled()
    width = page.get_by_alt_text("The image to review").evaluate("image => image.naturalWidth")
    assert width > 0


def test_the_image_comes_first_and_what_was_said_of_it_afterwards(plane: Plane, page: Page) -> None:
    keep(plane, 1, 2)
    page.goto("/control/review")
    expect(page.get_by_text("2 images wait")).to_be_visible()
    page.get_by_label("Your name").fill("anna")
    is_shown(page)
    for word in ("v1", "v2", "disagree", "AU"):
        expect(page.locator("main")).not_to_contain_text(word)
    page.get_by_role("button", name="koala").click()
    told = page.get_by_role("status")
    expect(told).to_contain_text("They disagreed")
    expect(told).to_contain_text("anna saidkoala")
    expect(told).to_contain_text("v2 saidkoala, right")
    expect(told).to_contain_text(", wrong")
    expect(page.get_by_role("figure")).to_contain_text("from AU")
    expect(page.get_by_role("button", name="koala")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="koala")).to_be_disabled()
    expect(page.get_by_text("1 image waits")).to_be_visible()
    (one,) = plane.store.reviewed(10)
    assert one.review
    assert (one.review.answer, one.review.actor) == ("koala", "anna")


def test_a_keyboard_is_enough(plane: Plane, page: Page) -> None:
    keep(plane, 1, 2, 3)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    page.keyboard.press("Enter")
    for key in "354":
        is_shown(page)
        page.keyboard.press(key)
        expect(page.get_by_role("button", name="Next image")).to_be_focused()
        page.keyboard.press("Enter")
    expect(page.get_by_text("No image waits.")).to_be_visible()
    said = {one.review.answer for one in plane.store.reviewed(10) if one.review}
    assert said == {"koala", "cannot_tell", "other"}


def test_a_digit_in_a_name_is_no_answer(plane: Plane, page: Page) -> None:
    keep(plane, 1)
    page.goto("/control/review")
    is_shown(page)
    page.get_by_label("Your name").press_sequentially("anna 1")
    expect(page.get_by_role("status")).to_be_empty()
    assert plane.store.reviewed(10) == []


def test_nobody_answers_without_a_name_and_it_is_remembered(plane: Plane, page: Page) -> None:
    keep(plane, 1)
    page.goto("/control/review")
    is_shown(page)
    page.get_by_role("button", name="cat").click()
    expect(page.get_by_role("alert")).to_have_text("Say who you are first.")
    expect(page.get_by_label("Your name")).to_be_focused()
    assert plane.store.reviewed(10) == []
    page.keyboard.type("anna")
    page.get_by_role("button", name="cat").click()
    expect(page.get_by_role("status")).to_contain_text("anna said")
    page.reload()
    expect(page.get_by_label("Your name")).to_have_value("anna")


def test_where_somebody_was_faster_his_answer_is_shown(plane: Plane, page: Page) -> None:
    keep(plane, 1)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    is_shown(page)
    plane.store.add_review(plane.store.to_review(0, 1)[0].digest, "dog", "ada", "", at_ms=1)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_role("status")).to_contain_text("ada saiddog")


def test_an_image_whose_time_is_over_is_passed_by(plane: Plane, page: Page) -> None:
    keep(plane, 1)
    page.goto("/control/review")
    page.get_by_label("Your name").fill("anna")
    is_shown(page)
    plane.store.remove_expired(2**60)
    page.get_by_role("button", name="koala").click()
    expect(page.get_by_role("alert")).to_contain_text("is not kept, or not any more")
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_text("No image waits.")).to_be_visible()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("expired", "is not kept, or not any more"),
        ("another key", "another image.key"),
        ("away", "the database cannot be used"),
        ("late", "the store did not answer"),
        ("broken", "The image cannot be shown."),
    ],
)
def test_where_the_image_does_not_come_the_reason_is_told(
    plane: Plane, page: Page, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    failures = {"away": NotReady(told), "late": TooSlow(told)}

    async def fail(image_id: str) -> bytes:
        if what == "broken":
            return b"no JPEG"
        raise failures[what]

    answer_first_of_two(plane, page)
    if what == "expired":
        plane.store.remove_expired(2**60)
    elif what == "another key":
        monkeypatch.setattr(plane._desk, "_cipher", ImageCipher(bytes(32)))
    else:
        monkeypatch.setattr(plane, "image", fail)
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_role("button", name="koala")).to_be_disabled()
    monkeypatch.undo()
    page.get_by_role("button", name="Next image").click()
    if what == "expired":
        expect(page.get_by_text("No image waits.")).to_be_visible()
    else:
        is_shown(page)
        expect(page.get_by_role("alert")).to_be_empty()


def test_where_the_session_ends_before_the_image_comes_the_way_in_is_shown(
    plane: Plane, page: Page
) -> None:
    answer_first_of_two(plane, page)
    page.context.clear_cookies()
    page.get_by_role("button", name="Next image").click()
    expect(page.get_by_role("link", name="Sign in on the console")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()


def test_whoever_is_not_signed_in_sees_no_image(plane: Plane, page: Page) -> None:
    keep(plane, 1)
    page.context.clear_cookies()
    page.goto("/control/review")
    expect(page.get_by_role("link", name="Sign in on the console")).to_be_visible()
    expect(page.get_by_alt_text("The image to review")).to_be_hidden()
    assert page.request.get("/control/disagreements").status == 401


@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_the_window(plane: Plane, page: Page, width: int) -> None:
    keep(plane, 1)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/control/review")
    is_shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
