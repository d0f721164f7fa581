"""The first page and the documentation pages in a browser, over the real applications."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.unit.http.control.conftest import RecordingService
from tests.unit.service import Service, image
from tests.web import served

MIN_WIDTH = 360  # px


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("spool")) as service:
        yield service


@pytest.fixture(scope="module")
def url(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    control = RecordingService(tmp_path_factory.mktemp("control"))
    app = Starlette(routes=[Mount("/control", control.app), Mount("/", service.app)])
    with served(app) as url:
        yield url


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """A narrow page; a message in its console or a request of another host fails the test."""
    context = browser.new_context(
        base_url=url, color_scheme=request.param, viewport={"width": MIN_WIDTH, "height": 700}
    )
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda sent: faults.extend([sent.url] if is_foreign(sent.url, url) else []))
    yield page
    context.close()
    assert faults == []


def is_foreign(requested: str, url: str) -> bool:
    return not requested.startswith((url, "data:", f"blob:{url}"))


@pytest.mark.parametrize(
    ("path", "operation"), [("/docs", "/v1/classify"), ("/control/docs", "/status")]
)
def test_the_documentation_shows_the_operations(page: Page, path: str, operation: str) -> None:
    page.goto(path)
    shown = page.locator(f'.opblock-summary-path[data-path="{operation}"]')
    expect(shown).to_be_visible()
    shown.click()
    expect(page.locator(".opblock.is-open .responses-table").first).to_be_visible()


def test_a_chosen_image_is_classified(page: Page, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(image("cat"))
    page.goto("/")
    page.get_by_label("User id").fill("Zoë 東京")
    page.get_by_label("Region").fill("AU")
    page.get_by_label("Choose an image").set_input_files(file)
    expect(page.locator("#result")).to_contain_text("Labelcat")
    expect(page.locator("#result")).to_contain_text("Versionv1")
    expect(page.locator("#result")).to_contain_text("Reasonstatic")
    expect(page.locator("#preview")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= MIN_WIDTH
    assert service.traces[-1].region == "AU"
    assert service.traces[-1].user == service.pseudonymizer.pseudonym("Zoë 東京")


def test_a_dropped_file_is_classified(page: Page, service: Service) -> None:
    page.goto("/")
    drop = """(bytes) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
        const options = { dataTransfer: data, bubbles: true, cancelable: true };
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", options));
    }"""
    page.evaluate(drop, list(image("koala")))
    expect(page.locator("#result")).to_contain_text("Reasonstatic")
    service.apply_rule(reveal_version=False)
    try:
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("#result")).not_to_contain_text("Version")
    finally:
        service.apply_rule()
