"""The service as its users meet it: over HTTP, with public clients, in a browser."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import time
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
from serve_app.lifecycle.ray_api import token_path
from tests.e2e.load import Load
from tests.e2e.waiting import eventually

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy_configs" / "base.yaml"
PHOTOS = os.environ.get("SERVE_APP_PHOTOS")


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of v1, v2 and v3, which has v2's network."""
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
    """The base, over three versions, pins allowed."""
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


def expected(version: str, image: bytes) -> dict[str, float]:
    """What `models evaluate` would make of an image."""
    classifier = load(version)
    pixels = to_pixels(image, classifier.card.input.side)[None]
    shares = classifier.probabilities(pixels)[0].tolist()
    return dict(zip(classifier.card.labels, shares, strict=True))


def replicas(service: Any, deployment: str) -> list[dict[str, Any]]:
    """The running replicas of a deployment of the data plane."""
    facts = service.control("status")["applications"]["animals"]["deployments"][deployment]
    return [replica for replica in facts["replicas"] if replica["state"] == "RUNNING"]


def metrics() -> dict[str, list[tuple[str, float]]]:
    """Ray's Prometheus endpoint: name to (labels, value)."""
    targets = json.loads(Path("/tmp/ray/prom_metrics_service_discovery.json").read_text())
    found: dict[str, list[tuple[str, float]]] = {}
    for target in targets[0]["targets"]:
        try:
            text = httpx.get(f"http://{target}/metrics", timeout=30).text
        except httpx.TransportError:  # of a Ray that ended
            continue
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                series, _, labels = name.partition("{")
                found.setdefault(series, []).append((labels.rstrip("}"), float(value)))
    return found


def test_the_examples_are_answered_as_models_evaluate_answers(service: Any) -> None:
    images = sorted((ROOT / "docs/examples").glob("*.png"))
    if PHOTOS:
        for label in ("cat", "dog", "koala"):
            images += sorted((Path(PHOTOS) / "test" / label).iterdir())[:14]
    answers = service.json("classify", *map(str, images))
    assert [answer["image"] for answer in answers] == [str(image) for image in images]
    for image, answer in zip(images, answers, strict=True):
        wanted = expected("v1", image.read_bytes())
        assert answer["probabilities"] == pytest.approx(wanted, abs=1e-5)
        assert answer["label"] == max(wanted, key=wanted.__getitem__)
        assert answer["version"] == "v1"


def test_the_answer_carries_what_the_contract_names(service: Any, examples: Any) -> None:
    answer = service.classify(examples["cat"], X_User_Id="alice", X_Request_Id="mine-1")
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-served-version"] == answer.json()["version"] == "v1"
    assert answer.headers["x-assignment-reason"] == answer.json()["reason"] == "static"
    assert answer.headers["x-prediction-id"] == answer.json()["prediction_id"]


def test_limits_hold_behind_the_proxy(service: Any, examples: Any) -> None:
    for body, headers, status, code in (
        (b"x" * (10 * 2**20 + 1), {}, 413, "body_too_large"),
        (b"x" * (40 * 2**20), {}, 413, "body_too_large"),
        (examples["cat"], {"Content-Type": "text/plain"}, 415, "unsupported_media"),
        (examples["cat"][:500], {}, 422, "broken_image"),
        (b"", {}, 422, "empty_image"),
        (examples["cat"], {"X-Canary": "maybe"}, 400, "bad_header"),
        (examples["cat"], {"X-Session-Id": b"\xd7\xf8"}, 400, "bad_header"),  # Serve reads it
        (examples["cat"], {"X-Model-Version": "v9"}, 404, "unknown_version"),
    ):
        answer = service.classify(body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"]


def test_the_public_client_works_unchanged(service: Any, examples: Any) -> None:
    client = triton.InferenceServerClient("127.0.0.1:8000")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("animals")
    assert client.is_model_ready("animals", "v2")
    assert client.get_model_metadata("animals")["versions"] == ["v1", "v2", "v3"]
    images = [examples["cat"], examples["dog"], examples["koala"]]
    wanted = np.array([list(expected("v1", image).values()) for image in images])

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
        answer = client.infer("animals", [tensor])
        assert answer.as_numpy("probabilities") == pytest.approx(wanted, abs=1e-5)
        labels = [bytes(label).decode() for label in answer.as_numpy("label")]
        assert labels == ["cat", "dog", "dog"]
    outputs = [triton.InferRequestedOutput("label", binary_data=False)]
    pinned = client.infer("animals", [bytes_input(True)], model_version="v2", outputs=outputs)
    assert pinned.get_response()["model_version"] == "v2"
    assert list(pinned.as_numpy("label")) == ["cat", "dog", "koala"]
    with pytest.raises(triton.InferenceServerException, match="no version 'v9'"):
        client.infer("animals", [uint8], model_version="v9")


def test_versions_load_and_go_and_load_again(service: Any, examples: Any) -> None:
    """One replica keeps two versions warm; pins to three make it load and evict."""
    (replica,) = replicas(service, "StablePool")
    process = psutil.Process(replica["pid"])
    resident = []
    for _ in range(15):
        for version in ("v1", "v2", "v3"):
            answer = service.classify(examples["koala"], X_Model_Version=version).json()
            assert (answer["version"], answer["reason"]) == (version, "pinned")
            wanted = expected("v1" if version == "v1" else "v2", examples["koala"])
            assert answer["probabilities"] == pytest.approx(wanted, abs=1e-5)
            (pool,) = (p for p in service.http.get("/v1/rule").json()["pools"] if p["replicas"])
            warm = pool["replicas"][0]["warm"]
            assert len(warm) <= 2
            assert "v1" in warm
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
    """The lines of the ingresses' logs that stand for a request."""
    logs = Path("/tmp/ray/session_latest/logs/serve").glob("replica_animals_Ingress_*.log*")
    texts = [path.read_text() for path in logs]
    whole = [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]
    return [json.loads(line) for line in whole if '"message": "request"' in line]


def logged_with(request_id: str) -> list[dict[str, Any]]:
    return [line for line in request_lines() if line["request_id"] == request_id]


def logged_classifications() -> int:
    return sum(line["route"] == "/v1/classify" for line in request_lines())


def test_requests_are_recorded_counted_and_logged(service: Any, examples: Any) -> None:
    def stored() -> int:
        return int(service.control("status")["recording"]["stored"])

    before = stored()
    summary = service.json("traffic", "--requests", "200", "--clients", "4")
    assert summary["failed"] == 0
    eventually(lambda: stored() >= before + 200)  # what was sent before may be on its way
    assert service.control("status")["recording"]["missing"] == 0

    def counted() -> bool:
        return any(
            'reason="static"' in labels and 'served="v1"' in labels and value >= 200
            for labels, value in metrics().get("ray_serve_app_requests_total", [])
        )

    eventually(counted)
    service.classify(examples["cat"], X_Request_Id="find-me-in-the-log")
    (entry,) = eventually(lambda: logged_with("find-me-in-the-log"))
    assert (entry["served"], entry["reason"], entry["status"]) == ("v1", "static", 200)


def counted_classifications() -> float:
    """What the ingresses' metrics say of requests to classify."""
    series = metrics().get("ray_serve_app_requests_total", [])
    return sum(value for labels, value in series if 'route="/v1/classify"' in labels)


def settled_classifications(service: Any, examples: Any) -> int:
    """How many the log has, once it has the last one sent and the metrics have as many."""
    request_id = f"last-{uuid.uuid4()}"
    service.classify(examples["cat"], X_Request_Id=request_id)
    eventually(lambda: logged_with(request_id))

    def settled() -> int | None:
        logged = logged_classifications()
        return logged if counted_classifications() == logged else None

    return int(eventually(settled))


def test_every_request_is_logged_and_counted_under_full_load(service: Any, examples: Any) -> None:
    before = settled_classifications(service, examples)
    with Load(examples, clients=32) as load:
        load.wait_for(3000)
    assert load.failed == []
    eventually(lambda: logged_classifications() >= before + len(load.asked))
    eventually(lambda: counted_classifications() >= before + len(load.asked))
    assert logged_classifications() == before + len(load.asked)
    assert counted_classifications() == before + len(load.asked)


@pytest.mark.parametrize("size_bytes", [15_000, 100_000])
def test_killing_one_of_two_ingresses_fails_at_most_what_it_was_sending(
    service: Any, document: dict[str, Any], write: Any, size_bytes: int
) -> None:
    """HAProxy sends the requests that it held to the other one, with bodies up to its buffer."""
    two = copy.deepcopy(document)
    two["applications"][0]["deployments"][0]["autoscaling_config"] |= {
        "min_replicas": 2,
        "initial_replicas": 2,
    }
    service.command("deploy", str(write(two)))

    def two_run(without: int | None = None) -> Any:
        running = replicas(service, "Ingress")
        pids = [replica["pid"] for replica in running]
        return pids if len(pids) == 2 and without not in pids else None

    with Load({"noise": noise(size_bytes)}, clients=8) as load:
        pids = eventually(two_run)
        for _ in range(3):
            load.wait_for(50)
            os.kill(pids[0], signal.SIGKILL)
            pids = eventually(partial(two_run, without=pids[0]))
        load.wait_for(50)
    assert len(load.failed) <= 3, load.failed
    service.command("deploy", str(write(document)))
    eventually(lambda: len(replicas(service, "Ingress")) == 1)


def noise(size_bytes: int) -> bytes:
    """A PNG of about that size, which no encoder makes smaller."""
    side = round((size_bytes / 3) ** 0.5)
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    assert 0.98 * size_bytes < len(content.getvalue()) < 1.03 * size_bytes
    return content.getvalue()


def test_a_client_that_hangs_up_ends_its_request(service: Any, examples: Any) -> None:
    """Through HAProxy, uvicorn and Serve, while its pool is frozen."""
    pool = [psutil.Process(replica["pid"]) for replica in replicas(service, "StablePool")]
    for process in pool:
        process.suspend()
    try:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                "http://127.0.0.1:8000/v1/classify",
                content=examples["cat"],
                headers={"Content-Type": "image/png", "X-Request-Id": "hung-up"},
                timeout=1.0,
                trust_env=False,
            )
        (entry,) = eventually(lambda: logged_with("hung-up"))
    finally:
        for process in pool:
            process.resume()
    assert (entry["status"], entry["error"]) == (499, "client_gone")
    assert entry["latency_ms"] < 14_000, "it is not the pool's deadline of 15 s that ended it"
    eventually(lambda: service.classify(examples["cat"]).is_success)


def test_the_console_shows_the_service_to_whoever_signs_in(service: Any, browser: Browser) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("http://127.0.0.1:8000/control")
    page.get_by_label("Token").fill("0" * 64)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("this is not the token")).to_be_visible()
    page.get_by_label("Token").fill(service.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("cell", name="StablePool").first).to_be_visible()
    expect(page.locator("#rule")).to_contain_text("single")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert complaints == []
    assert httpx.get("http://127.0.0.1:8000/control/status").status_code == 401


def test_load_scales_the_service_up_and_down_again(service: Any, browser: Browser) -> None:
    """Three times the load of one replica's target; the Ray dashboard shows it as well."""
    most = {"Ingress": 0, "StablePool": 0}
    page = browser.new_page(extra_http_headers={})
    page.goto("http://127.0.0.1:8265")
    page.get_by_role("textbox").fill(token_path().read_text().strip())
    page.get_by_role("button", name="Submit").click()
    with service.in_background("traffic", "--requests", "5000", "--clients", "128") as load:
        while load.poll() is None:
            for deployment in most:
                most[deployment] = max(most[deployment], len(replicas(service, deployment)))
            time.sleep(0.5)
    assert load.returncode == 0, "a request failed"
    assert most == {"Ingress": 2, "StablePool": 2}
    page.goto("http://127.0.0.1:8265/#/serve/applications/animals")
    expect(page.get_by_text("StablePool").first).to_be_visible()
    eventually(lambda: len(replicas(service, "StablePool")) == 1)
    eventually(lambda: len(replicas(service, "Ingress")) == 1)


def test_a_bad_rule_harms_nobody_even_when_the_ingress_dies(
    service: Any, document: dict[str, Any], write: Any, examples: Any
) -> None:
    bad = json.loads(json.dumps(document))
    bad["applications"][0]["deployments"][0]["user_config"]["rule"]["stable"] = "v7"
    file = write(bad)
    assert "rule.stable is v7" in service.command("deploy", str(file), fails=True)
    service.control("status")  # nothing was sent
    service.serve_deploy(file)
    rejected = eventually(lambda: service.http.get("/v1/rule").json()["rejected"])
    assert rejected["path"] == "rule.stable"
    (replica,) = replicas(service, "Ingress")
    os.kill(replica["pid"], signal.SIGKILL)

    def born_again() -> bool:
        now = replicas(service, "Ingress")
        return bool(now) and now[0]["pid"] != replica["pid"]

    eventually(born_again)
    eventually(lambda: service.classify(examples["cat"]).is_success)
    assert service.classify(examples["cat"]).json()["label"] == "cat"
    assert "rule.stable is v7" in service.command("status", fails=True)
    service.command("deploy", str(write(document)))
    assert service.http.get("/v1/rule").json()["rejected"] is None


def test_a_stop_writes_the_log_lines_of_the_last_requests(service: Any, examples: Any) -> None:
    """The last test of this file: it ends the service."""
    service.classify(examples["cat"], X_Request_Id="the-last-before")
    eventually(lambda: logged_with("the-last-before"))
    logged = logged_classifications()
    summary = service.json("traffic", "--requests", "200", "--clients", "8")
    assert summary["failed"] == 0
    service.command("down")
    assert logged_classifications() == logged + 200
