"""Requests to the data plane: headers, media types, content codings, forms, tensors, feedback."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import random
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serve_app.clock import now_ms
from serve_app.privacy.prediction_ids import PredictionId
from tests.unit.service import PARALLEL, Service, image

BOUNDARY = b"----boundary7MA4YWxk"
WORDS = (
    b"",
    b" ",
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"null",
    b"undefined",
    b"[object Object]",
    b"true",
    b"v1",
    b"v2",
    b"v99999999999999999999",
    b"always",
    b"never",
    b"AU",
    b"*/*",
    b"a" * 300,
    b"\xff\xfe",
    "koala é 🐨".encode(),
    b"../../etc/passwd",
    b"<script>",
    b"\x7f",
    b"%00",
    b",",
    b";=",
    b'"',
)
HEADERS = (
    "X-User-Id",
    "X-Session-Id",
    "X-Region",
    "X-Canary",
    "X-Model-Version",
    "X-Request-Id",
    "CF-IPCountry",
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "Content-Encoding",
    "Content-Length",
    "Inference-Header-Content-Length",
    "Origin",
    "Access-Control-Request-Method",
    "Host",
    "X-Forwarded-Proto",
    "X-Request-Timeout-Seconds",
    "Serve-Multiplexed-Model-Id",
)
MEDIA_TYPES = (
    "image/png",
    "image/jpg",
    "IMAGE/JPEG; q=1",
    "image/*",
    "application/octet-stream",
    "application/json",
    "text/html",
    "multipart/form-data",
    f"multipart/form-data; boundary={BOUNDARY.decode()}",
    f'multipart/form-data; boundary="{BOUNDARY.decode()}"',
    "",
    "/",
    ";",
)
CODINGS = ("", "identity", "gzip", "x-gzip", "deflate", "gzip, deflate", "br", "gzip" * 50)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")
PATHS = (
    "/",
    "/healthz",
    "/readyz",
    "/v1/rule",
    "/v1/explain",
    "/v1/models",
    "/v1/models/v1",
    "/v1/classify",
    "/v1/feedback",
    "/v2",
    "/v2/models/animals",
    "/v2/models/animals/config",
    "/v2/models/animals/stats",
    "/v2/models/animals/versions/v2/ready",
    "/v2/repository/index",
    "/docs",
    "/openapi.json",
    "/%00",
    "/v1//rule",
)
ALLOWED_5XX = (503, 504)  # documented: not ready, too slow
JSON_SCALARS = (
    None,
    True,
    0,
    1,
    -1,
    2.0,
    2**63,
    10**400,
    1e308,
    "",
    "cat",
    "Cat ",
    "2",
    "\u202e",
    "x" * 500,
)


def trial(dice: random.Random) -> Mapping[str, float]:
    """Send a request; a 5xx or an undocumented response is wrong."""
    kind = dice.choice(list(KINDS))
    method, path, body, headers = KINDS[kind](dice)
    for _ in range(dice.choice((0, 0, 0, 1, 2))):
        headers.append((dice.choice(HEADERS).encode(), dice.choice(WORDS)))
    started = time.process_time()
    response = service().request(method, path, content=body, headers=headers)
    elapsed_s = time.process_time() - started
    if response.status_code >= 500 and response.status_code not in ALLOWED_5XX:
        raise AssertionError(f"{method} {path}: {response.status_code} {response.text[:300]}")
    result = "refused" if response.is_error else "accepted"
    return {f"CPU of {kind} that is {result}, s": elapsed_s}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Deleted when the process ends."""
    return tempfile.TemporaryDirectory()


@functools.cache
def service() -> Service:
    """A data plane with a canary, in this process."""
    running = Service(Path(_folder().name))
    running.apply_rule_with_candidate(**PARALLEL)
    return running


Request = tuple[str, str, bytes | None, list[tuple[bytes, bytes]]]


def _classify(dice: random.Random) -> Request:
    content = dice.choice(
        (image("cat"), image("koala", kind="JPEG"), b"", dice.randbytes(100), b'{"image": 1}')
    )
    media_type = dice.choice(MEDIA_TYPES)
    if dice.random() < 0.4:
        content = _form(dice, content)
        media_type = dice.choice(MEDIA_TYPES[-6:-3])
    return _encoded(dice, "/v1/classify", content, media_type)


def _form(dice: random.Random, content: bytes) -> bytes:
    end = dice.choice((b"\r\n", b"\r\n", b"\n"))
    parts = []
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
        disposition = b"form-data" + dice.choice((b"", b'; name="image"', b'; name="image"; '))
        disposition += dice.choice(
            (
                b"",
                b'; filename="cat.png"',
                b"; filename*=UTF-8''%e2%82%ac.png",
                b"; filename",
                b"; name=" + dice.choice(WORDS),
            )
        )
        head = [dice.choice((b"Content-Disposition: ", b"content-disposition:")) + disposition]
        if dice.random() < 0.5:
            head.append(b"Content-Type: " + dice.choice((*WORDS, b"image/png")))
        if dice.random() < 0.2:
            coding = dice.choice((b"binary", b"base64", b"quoted-printable", b"7bit"))
            head.append(b"Content-Transfer-Encoding: " + coding)
        parts.append(b"--" + BOUNDARY + end + end.join(head) + 2 * end + content + end)
    body = dice.choice((b"", b"preamble" + end)) + b"".join(parts)
    body += dice.choice((b"--" + BOUNDARY + b"--" + end, b"--" + BOUNDARY, b""))
    return damaged(dice, body + dice.choice((b"", b"epilogue")))


def _infer(dice: random.Random) -> Request:
    element = dice.choice((image("dog"), b"", b"no image"))
    text = dice.choice(
        (
            base64.b64encode(element).decode(),
            base64.urlsafe_b64encode(element).decode().rstrip("="),
            base64.encodebytes(element).decode(),
            "data:image/png;base64," + base64.b64encode(element).decode(),
            "é",
        )
    )
    tensor: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    if dice.random() < 0.3:
        values = dice.choice(([0] * 12, [[[[0, 1, 2]] * 2] * 2], [1e999], [True], ["1"] * 12))
        datatype = dice.choice(("UINT8", "FP32", "INT64", "BYTES"))
        tensor = {"name": "pixels", "datatype": datatype, "shape": [1, 2, 2, 3], "data": values}
    content = {"id": "7", "inputs": [tensor], "outputs": [{"name": "label", "parameters": {}}]}
    if dice.random() < 0.3:
        parameters = {"classification": dice.choice((1, 2, 0, -1, 10**9, True, "2", 2.0, None))}
        content["outputs"] = [{"name": "probabilities", "parameters": parameters}]
    for _ in range(dice.choice((0, 1, 1, 2))):
        mutate(dice, content)
    headers: list[tuple[bytes, bytes]] = []
    if dice.random() < 0.3:
        binary = struct.pack("<I", len(element)) + element
        tensor.pop("data", None)
        tensor["parameters"] = {"binary_data_size": len(binary) + dice.choice((0, 0, 1, -1))}
        head = json.dumps(content).encode()
        length = len(head) + dice.choice((0, 0, 1, -1, 10**9))
        headers.append((b"Inference-Header-Content-Length", str(length).encode()))
        body = head + binary
    else:
        body = json.dumps(content).encode()
    method, path, body_sent, more = _encoded(
        dice, "/v2/models/animals/infer", body, "application/json"
    )
    return method, path, body_sent, headers + more


def _feedback(dice: random.Random) -> Request:
    prediction_id = service().id_codec.encode(
        PredictionId("ab" * 6, dice.randrange(1, 2**40), now_ms(), "9f31c0aa", "v1", "cat")
    )
    content: dict[str, Any] = {"prediction_id": prediction_id, "label": "cat", "rating": 3}
    for _ in range(dice.choice((0, 1, 2))):
        mutate(dice, content)
    return _encoded(dice, "/v1/feedback", json.dumps(content).encode(), "application/json")


def _path(dice: random.Random) -> Request:
    path = dice.choice(PATHS)
    if dice.random() < 0.3:
        path += dice.choice(("?", "?since=1h", "?a=%ff&a", "?" + "a=1&" * 200))
    return dice.choice(METHODS), path, None, []


def _encoded(dice: random.Random, path: str, content: bytes, media_type: str) -> Request:
    coding = dice.choice(CODINGS) if dice.random() < 0.3 else ""
    if coding in ("gzip", "x-gzip"):
        content = gzip.compress(content)
    elif coding == "deflate":
        content = dice.choice((zlib.compress(content), zlib.compress(content)[2:-4]))
    headers = [(b"Content-Encoding", coding.encode())] if coding else []
    if dice.random() < 0.95:
        headers.append((b"Content-Type", media_type.encode()))
    return "POST", path, damaged(dice, content), headers


def damaged(dice: random.Random, data: bytes) -> bytes:
    """The data, in one of four cases cut, repeated or with other bytes."""
    if not data or dice.random() < 0.75:
        return data
    at = dice.randrange(len(data))
    return dice.choice(
        (
            data[:at],
            data[at:],
            data[:at] + dice.randbytes(dice.randint(1, 4)) + data[at + 1 :],
            data + data[:at],
        )
    )


def mutate(dice: random.Random, content: Any) -> None:
    """Change one value or key of a JSON document, at any depth."""
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(content[key], dict | list) and content[key] and dice.random() < 0.7:
            content = content[key]
            continue
        change = dice.random()
        if change < 0.6:
            content[key] = dice.choice((*JSON_SCALARS, [], {}, [[]], {"": 1}, [content[key]] * 3))
        elif change < 0.8:
            del content[key]
        elif isinstance(content, dict):
            content[dice.choice(("", "x", f"{key}s", str(key).upper()))] = content[key]
        else:
            content.append(content[key])
        return


KINDS: dict[str, Callable[[random.Random], Request]] = {
    "classify": _classify,
    "infer": _infer,
    "feedback": _feedback,
    "path": _path,
}
