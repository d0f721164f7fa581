"""The service over HTTP, with public clients, and in a browser."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import uuid
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from playwright.sync_api import Browser, expect
from tritonclient import http as triton

from models import registry
from models.card import parse
from models.classifier import load
from models.preprocess import to_pixels
from serve_app.deployment.scaling import ingress_scaling
from serve_app.lifecycle.ray_token import token_path
from tests.e2e.load import Load
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy_configs" / "base.yaml"
PHOTOS = os.environ.get("SERVE_APP_PHOTOS")


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with v1, v2, and a copy of v2 as v3."""
    folder = tmp_path_factory.mktemp("registry")
    for name, source in (("v1", "v1"), ("v2", "v2"), ("v3", "v2")):
        (folder / name).mkdir()
        for path in (registry.SHIPPED / source).iterdir():
            (folder / name / path.name).write_bytes(path.read_bytes())
    card = parse((folder / "v3/card.json").read_bytes())
    renamed = card.model_copy(update={"version": "v3"}).with_digest()
    (folder / "v3/card.json").write_text(renamed.text())
    return folder


@pytest.fixture(scope="module")
def document(three_versions: Path) -> dict[str, Any]:
    """The base file with three versions and pins allowed."""
    content: dict[str, Any] = yaml.safe_load(BASE.read_text())
    animals = content["applications"][0]
    animals["args"] = {"registry": str(three_versions)}
    animals["deployments"][0]["user_config"]["rule"]["allow_pin"] = True
    animals["deployments"][0]["autoscaling_config"] = ingress_scaling()
    for deployment in animals["deployments"]:
        deployment["autoscaling_config"]["downscale_delay_s"] = 6
    return content


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Writes a deployment file."""
    folder = tmp_path_factory.mktemp("deployments")

    def write_file(content: dict[str, Any]) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write_file


@pytest.fixture(scope="module")
def service(start: Any, document: dict[str, Any], write: Any) -> Any:
    return start(write(document))


def expected_probabilities(version: str, image: bytes) -> dict[str, float]:
    """The probabilities that a version predicts, by label."""
    classifier = load(version)
    pixels = to_pixels(image, classifier.card.input.side)[None]
    shares = classifier.probabilities(pixels)[0].tolist()
    return dict(zip(classifier.card.labels, shares, strict=True))


def replicas(service: Any, deployment: str) -> list[dict[str, Any]]:
    """The running replicas of a deployment of the data plane."""
    facts = service.get_control("status")["applications"]["animals"]["deployments"][deployment]
    return [replica for replica in facts["replicas"] if replica["state"] == "RUNNING"]


def metrics() -> dict[str, list[tuple[str, float]]]:
    """The metrics of Ray's Prometheus endpoint: (labels, value) by name."""
    targets = json.loads(Path("/tmp/ray/prom_metrics_service_discovery.json").read_text())
    found: dict[str, list[tuple[str, float]]] = {}
    for target in targets[0]["targets"]:
        try:
            text = httpx.get(f"http://{target}/metrics", timeout=30).text
        except httpx.TransportError:  # of an earlier Ray cluster
            continue
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                series, _, labels = name.partition("{")
                found.setdefault(series, []).append((labels.rstrip("}"), float(value)))
    return found


def test_predictions_equal_those_of_the_model(service: Any) -> None:
    images = sorted((ROOT / "docs/examples").glob("*.png"))
    if PHOTOS:
        for label in ("cat", "dog", "koala"):
            images += sorted((Path(PHOTOS) / "test" / label).iterdir())[:14]
    predictions = service.json("classify", *map(str, images))
    assert [prediction["image"] for prediction in predictions] == [str(image) for image in images]
    for image, prediction in zip(images, predictions, strict=True):
        expected = expected_probabilities("v1", image.read_bytes())
        assert prediction["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert prediction["label"] == max(expected, key=expected.__getitem__)
        assert prediction["version"] == "v1"


def test_a_response_has_the_documented_headers(service: Any, examples: Any) -> None:
    response = service.classify(examples["cat"], X_User_Id="alice", X_Request_Id="mine-1")
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-served-version"] == response.json()["version"] == "v1"
    assert response.headers["x-assignment-reason"] == response.json()["reason"] == "static"
    assert response.headers["x-prediction-id"] == response.json()["prediction_id"]


def test_limits_apply_behind_the_proxy(service: Any, examples: Any) -> None:
    for body, headers, status, code in (
        (b"x" * (10 * 2**20 + 1), {}, 413, "body_too_large"),
        (b"x" * (40 * 2**20), {}, 413, "body_too_large"),
        (examples["cat"], {"Content-Type": "text/plain"}, 415, "unsupported_media"),
        (examples["cat"][:500], {}, 422, "broken_image"),
        (b"", {}, 422, "empty_image"),
        (examples["cat"], {"X-User-Id": "x" * 201}, 400, "bad_header"),
        (examples["cat"], {"X-Session-Id": b"\xd7\xf8"}, 400, "bad_header"),  # Serve reads it
        (examples["cat"], {"X-Model-Version": "v9"}, 404, "unknown_version"),
    ):
        response = service.classify(body, **headers)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["x-request-id"]


def test_the_triton_client_works(service: Any, examples: Any) -> None:
    client = triton.InferenceServerClient("127.0.0.1:8000")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("animals")
    assert client.is_model_ready("animals", "v2")
    assert client.get_model_metadata("animals")["versions"] == ["v1", "v2", "v3"]
    images = [examples["cat"], examples["dog"], examples["koala"]]
    expected = np.array([list(expected_probabilities("v1", image).values()) for image in images])

    def bytes_input(binary: bool) -> Any:
        tensor = triton.InferInput("image", [3], "BYTES")
        data = images if binary else [base64.b64encode(image) for image in images]
        tensor.set_data_from_numpy(np.array(data, dtype=object), binary_data=binary)
        return tensor

    pixels = np.stack([to_pixels(image, 112) for image in images])
    uint8 = triton.InferInput("pixels", list(pixels.shape), "UINT8")
    uint8.set_data_from_numpy(pixels)
    fp32 = triton.InferInput("pixels", list(pixels.shape), "FP32")
    fp32.set_data_from_numpy(pixels.astype(np.float32), binary_data=False)
    for tensor in (bytes_input(True), bytes_input(False), uint8, fp32):
        response = client.infer("animals", [tensor])
        assert response.as_numpy("probabilities") == pytest.approx(expected, abs=1e-5)
        labels = [bytes(label).decode() for label in response.as_numpy("label")]
        assert labels == ["cat", "dog", "dog"]
    outputs = [triton.InferRequestedOutput("label", binary_data=False)]
    pinned = client.infer("animals", [bytes_input(True)], model_version="v2", outputs=outputs)
    assert pinned.get_response()["model_version"] == "v2"
    assert list(pinned.as_numpy("label")) == ["cat", "dog", "koala"]
    with pytest.raises(triton.InferenceServerException, match="no version 'v9'"):
        client.infer("animals", [uint8], model_version="v9")


def test_versions_are_loaded_and_unloaded(service: Any, examples: Any) -> None:
    """A replica keeps two versions loaded; pins to three versions make it load and unload."""
    (replica,) = replicas(service, "StablePool")
    process = psutil.Process(replica["pid"])
    resident = []
    for _ in range(15):
        for version in ("v1", "v2", "v3"):
            response = service.classify(examples["koala"], X_Model_Version=version).json()
            assert (response["version"], response["reason"]) == (version, "pinned")
            expected = expected_probabilities("v1" if version == "v1" else "v2", examples["koala"])
            assert response["probabilities"] == pytest.approx(expected, abs=1e-5)
            (pool,) = (p for p in service.http.get("/v1/rule").json()["pools"] if p["replicas"])
            loaded = pool["replicas"][0]["warm"]
            assert len(loaded) <= 2
            assert "v1" in loaded
        resident.append(process.memory_info().rss)
    assert resident[-1] < resident[4] + 40e6

    def counted() -> bool:
        now = metrics()

        def total(name: str) -> float:
            return sum(value for _, value in now.get(name, []))

        loads = total("ray_serve_multiplexed_models_load_counter_total")
        unloads = total("ray_serve_multiplexed_models_unload_counter_total")
        held = total("ray_serve_num_multiplexed_models")
        return loads >= 28 and loads - unloads == held == 2

    eventually(counted)


def request_lines() -> list[dict[str, Any]]:
    """The request lines in the logs of the ingress replicas."""
    logs = Path("/tmp/ray/session_latest/logs/serve").glob("replica_animals_Ingress_*.log*")
    texts = [path.read_text() for path in logs]
    complete = [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]
    return [json.loads(line) for line in complete if '"message": "request.completed"' in line]


def find_log_lines(request_id: str) -> list[dict[str, Any]]:
    return [line for line in request_lines() if line["request_id"] == request_id]


def count_logged_classifications() -> int:
    return sum(line["route"] == "/v1/classify" for line in request_lines())


def test_requests_are_recorded_counted_and_logged(service: Any, examples: Any) -> None:
    def stored() -> int:
        return int(service.get_control("status")["recording"]["stored"])

    before = stored()
    summary = service.json("traffic", "--requests", "200", "--clients", "4")
    assert summary["failed"] == 0
    eventually(lambda: stored() >= before + 200)  # earlier requests may not be stored yet
    assert service.get_control("status")["recording"]["missing"] == 0

    def counted() -> bool:
        return any(
            'reason="static"' in labels and 'served="v1"' in labels and value >= 200
            for labels, value in metrics().get("ray_serve_app_requests_total", [])
        )

    eventually(counted)
    service.classify(examples["cat"], X_Request_Id="find-me-in-the-log")
    (entry,) = eventually(lambda: find_log_lines("find-me-in-the-log"))
    assert (entry["served"], entry["reason"], entry["status"]) == ("v1", "static", 200)


def read_classification_counter() -> float:
    """The counter of classify requests in the metrics of the ingress replicas."""
    series = metrics().get("ray_serve_app_requests_total", [])
    return sum(value for labels, value in series if 'route="/v1/classify"' in labels)


def wait_for_classification_count(service: Any, examples: Any) -> int:
    """The number of classify requests in the log, once log and metrics have the last one."""
    request_id = f"last-{uuid.uuid4()}"
    service.classify(examples["cat"], X_Request_Id=request_id)
    eventually(lambda: find_log_lines(request_id))

    def matching_count() -> int | None:
        logged = count_logged_classifications()
        return logged if read_classification_counter() == logged else None

    return int(eventually(matching_count))


def test_every_request_is_logged_and_counted_under_load(service: Any, examples: Any) -> None:
    before = wait_for_classification_count(service, examples)
    with Load(examples, clients=32) as load:
        load.wait_for(3000)
    assert load.failed == []
    eventually(lambda: count_logged_classifications() >= before + len(load.requests))
    eventually(lambda: read_classification_counter() >= before + len(load.requests))
    assert count_logged_classifications() == before + len(load.requests)
    assert read_classification_counter() == before + len(load.requests)


def test_killing_one_of_two_ingresses_fails_only_requests_in_flight(
    service: Any, document: dict[str, Any], write: Any
) -> None:
    """HAProxy resends buffered requests to the other replica, up to the size of its buffer."""
    two = copy.deepcopy(document)
    two["applications"][0]["deployments"][0]["autoscaling_config"] |= {
        "min_replicas": 2,
        "initial_replicas": 2,
    }
    service.command("deploy", str(write(two)))

    def two_pids(without: int | None = None) -> Any:
        running = replicas(service, "Ingress")
        pids = [replica["pid"] for replica in running]
        return pids if len(pids) == 2 and without not in pids else None

    with Load({"noise": noise_image(100_000)}, clients=8) as load:
        pids = eventually(two_pids)
        for _ in range(3):
            load.wait_for(50)
            os.kill(pids[0], signal.SIGKILL)
            pids = eventually(partial(two_pids, without=pids[0]))
        load.wait_for(50)
    assert len(load.failed) <= 3, load.failed
    service.command("deploy", str(write(document)))
    eventually(lambda: len(replicas(service, "Ingress")) == 1)


def noise_image(size_bytes: int) -> bytes:
    """A PNG image of random pixels with about this size."""
    side = round((size_bytes / 3) ** 0.5)
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    assert 0.98 * size_bytes < len(content.getvalue()) < 1.03 * size_bytes
    return content.getvalue()


def test_a_client_disconnect_ends_the_request(service: Any, examples: Any) -> None:
    """Through HAProxy, uvicorn and Serve, while the pool is suspended."""
    pool = [psutil.Process(replica["pid"]) for replica in replicas(service, "StablePool")]
    for process in pool:
        process.suspend()
    try:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                "http://127.0.0.1:8000/v1/classify",
                content=examples["cat"],
                headers={"Content-Type": "image/png", "X-Request-Id": "disconnected"},
                timeout=1.0,
                trust_env=False,
            )
        (entry,) = eventually(lambda: find_log_lines("disconnected"))
    finally:
        for process in pool:
            process.resume()
    assert (entry["status"], entry["error"]) == (499, "client_gone")
    assert entry["latency_ms"] < 14_000, "the disconnect ends it, not the pool's timeout of 15 s"
    eventually(lambda: service.classify(examples["cat"]).is_success)


def test_the_console_shows_the_service_after_sign_in(service: Any, browser: Browser) -> None:
    page = browser.new_page()
    page_errors: list[str] = []
    page.on("pageerror", lambda error: page_errors.append(str(error)))
    page.goto("http://127.0.0.1:8000/control")
    page.get_by_label("Token").fill("0" * 64)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("the token is wrong")).to_be_visible()
    page.get_by_label("Token").fill(service.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("cell", name="StablePool").first).to_be_visible()
    expect(page.locator("#rule")).to_contain_text("single")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page_errors == []
    assert httpx.get("http://127.0.0.1:8000/control/status").status_code == 401


def test_the_service_scales_with_the_load(service: Any, examples: Any, browser: Browser) -> None:
    """At three times the target load of one replica; the Ray dashboard shows the pools."""
    page = browser.new_page(extra_http_headers={})
    page.goto("http://127.0.0.1:8265")
    page.get_by_role("textbox").fill(token_path().read_text().strip())
    page.get_by_role("button", name="Submit").click()
    with Load(examples, 128) as load:
        eventually(lambda: len(replicas(service, "Ingress")) == 2)
        eventually(lambda: len(replicas(service, "StablePool")) == 2)
    # On a busy machine a request may be refused that would wait too long.
    assert {request.status for request in load.requests} <= {200, 429}
    page.goto("http://127.0.0.1:8265/#/serve/applications/animals")
    expect(page.get_by_text("StablePool").first).to_be_visible()
    eventually(lambda: len(replicas(service, "StablePool")) == 1)
    eventually(lambda: len(replicas(service, "Ingress")) == 1)


def test_an_invalid_rule_keeps_the_last_good_one_also_after_an_ingress_restart(
    service: Any, document: dict[str, Any], write: Any, examples: Any
) -> None:
    bad = json.loads(json.dumps(document))
    bad["applications"][0]["deployments"][0]["user_config"]["rule"]["stable"] = "v7"
    file = write(bad)
    assert "rule.stable is v7" in service.command("deploy", str(file), fails=True)
    service.get_control("status")  # still running
    service.serve_deploy(file)
    rejected = eventually(lambda: service.http.get("/v1/rule").json()["rejected"])
    assert rejected["path"] == "rule.stable"
    (replica,) = replicas(service, "Ingress")
    os.kill(replica["pid"], signal.SIGKILL)

    def is_restarted() -> bool:
        now = replicas(service, "Ingress")
        return bool(now) and now[0]["pid"] != replica["pid"]

    eventually(is_restarted)
    eventually(lambda: service.classify(examples["cat"]).is_success)
    assert service.classify(examples["cat"]).json()["label"] == "cat"
    assert "rule.stable is v7" in service.command("status", fails=True)
    service.command("deploy", str(write(document)))
    assert service.http.get("/v1/rule").json()["rejected"] is None


def test_a_stop_flushes_the_request_log(service: Any, examples: Any) -> None:
    """This test is the last of the file, because it stops the service."""
    service.classify(examples["cat"], X_Request_Id="last-before")
    eventually(lambda: find_log_lines("last-before"))
    logged = count_logged_classifications()
    summary = service.json("traffic", "--requests", "200", "--clients", "8")
    assert summary["failed"] == 0
    service.command("down")
    assert count_logged_classifications() == logged + 200
