from __future__ import annotations

import asyncio
import base64
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http import body_limits
from serve_app.http.body_limits import MAX_BODY_BYTES
from serve_app.http.image_bodies import ACCEPT, IMAGE_TYPES
from tests.unit.service import Service, expected_probabilities, image

CAT = image("cat")
KINDS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
}


def form(content: bytes, field: str = "image", boundary: str = "limit") -> bytes:
    head = (
        f"--{boundary}\r\nContent-Disposition: form-data; name={field}; filename=cat.png\r\n"
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


class TestResponses:
    @pytest.mark.parametrize("media_type", IMAGE_TYPES)
    def test_every_image_type_is_classified(self, service: Service, media_type: str) -> None:
        content = image("dog", kind=KINDS[media_type])
        body = service.classify(content, media_type).json()
        cat, dog = (float(value) for value in expected_probabilities("v1", content)[0])
        assert body["probabilities"] == pytest.approx({"cat": cat, "dog": dog}, abs=1e-6)
        assert body["label"] == max(("cat", cat), ("dog", dog), key=lambda pair: pair[1])[0]
        assert body["confidence"] == max(body["probabilities"].values())

    def test_the_response_names_version_rule_and_reason(self, service: Service) -> None:
        response = service.classify()
        body = response.json()
        rule = service.plane.rule
        assert (body["version"], body["rule"], body["reason"]) == ("v1", "single", "static")
        assert body["rule_id"] == rule.rule_id
        assert response.headers["x-served-version"] == "v1"
        assert response.headers["x-assignment-reason"] == "static"
        assert response.headers["x-prediction-id"] == body["prediction_id"]
        decoded = service.id_codec.decode(body["prediction_id"])
        assert (decoded.version, decoded.rule_id, decoded.sequence) == ("v1", rule.rule_id, 1)

    def test_reveal_version_false_hides_only_the_version(self, service: Service) -> None:
        service.apply_rule(reveal_version=False)
        response = service.classify()
        assert "version" not in response.json()
        assert "x-served-version" not in response.headers
        assert response.json()["label"] == "cat"
        assert service.exposures()[0].served == "v1"

    def test_a_form_is_classified_like_its_image(self, service: Service) -> None:
        response = service.request(
            "POST", "/v1/classify", files={"image": ("cat.png", CAT, "image/png")}
        )
        assert response.json()["probabilities"] == service.classify(CAT).json()["probabilities"]

    def test_an_empty_second_field_counts_as_left_out(self, service: Service) -> None:
        """A browser sends it for a control without a file."""
        whole = form(image("dog"))
        empty = (
            b'--limit\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n\r\n"
        )
        response = service.classify(empty + whole, "multipart/form-data; boundary=limit")
        assert (response.status_code, response.json()["label"]) == (200, "dog")

    def test_a_form_with_a_large_image_is_classified(self, service: Service) -> None:
        image = CAT + b"\0" * (3 * 2**20)
        assert service.request("POST", "/v1/classify", files={"image": image}).status_code == 200

    @pytest.mark.parametrize(
        "media_type",
        [
            "",
            "IMAGE/PNG; name=cat.png",
            "image/jpg",
            "image/pjpeg",
            "image/x-png",
            "image/x-ms-bmp",
            "image/vnd.microsoft.icon",
            "image/svg+xml",
            "image/*",
            "*/*",
            "application/octet-stream",
            "binary/octet-stream",
            "Application/X-BMP",
        ],
    )
    def test_the_bytes_say_what_an_image_is(self, service: Service, media_type: str) -> None:
        assert service.classify(CAT, media_type).status_code == 200

    def test_a_body_without_a_media_type_is_classified(self, service: Service) -> None:
        response = service.request("POST", "/v1/classify", content=CAT)
        assert "content-type" not in response.request.headers
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            ("gzip", gzip.compress(CAT)),
            ("X-GZIP", gzip.compress(CAT)),
            ("deflate", zlib.compress(CAT)),
            ("deflate, gzip", gzip.compress(zlib.compress(CAT))),
            ("identity", CAT),
            ("", CAT),
        ],
    )
    @pytest.mark.parametrize("size", [len(CAT), 2**20])
    def test_a_body_may_have_a_content_coding(
        self, service: Service, coding: str, body: bytes, size: int
    ) -> None:
        body += bytes(size - len(CAT)) if body is CAT else b""
        assert service.classify(body, content_encoding=coding).status_code == 200

    def test_a_form_may_have_a_content_coding(self, service: Service) -> None:
        response = service.classify(
            gzip.compress(form(CAT)),
            "multipart/form-data; boundary=limit",
            content_encoding="gzip",
        )
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("head", "content"),
        [
            ("name=image", CAT),
            ("name=image\r\nContent-Type: text/plain", CAT),
            ("name=image\r\nContent-Transfer-Encoding: binary", CAT),
            ("name=image\r\nContent-Transfer-Encoding: BASE64", base64.encodebytes(CAT)),
            ('name="user"\r\n\r\nalice\r\n--limit\r\nContent-Disposition: a; name=image', CAT),
        ],
        ids=["no file name", "another type", "binary", "base64", "after another field"],
    )
    def test_the_field_of_the_name_is_the_image(
        self, service: Service, head: str, content: bytes
    ) -> None:
        body = f"--limit\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        response = service.classify(
            body + content + b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit"
        )
        assert response.status_code == 200, response.text

    def test_a_chunked_body_is_classified(self, service: Service) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(CAT), 1000):
                yield CAT[start : start + 1000]

        assert service.classify(chunks()).status_code == 200


class TestRejections:
    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_image"),
            (b"not an image", "unsupported_image"),
            (CAT[: len(CAT) // 2], "broken_image"),
            (
                b"BM" + bytes(12) + (40).to_bytes(4, "little") + (8_000).to_bytes(4, "little") * 2
                + b"\x01\0\x18\0" + bytes(24),
                "too_many_pixels",
            ),
        ],
        ids=["empty", "text", "half", "huge"],
    )  # fmt: skip
    def test_an_invalid_image_is_rejected_with_its_code(
        self, service: Service, content: bytes, code: str
    ) -> None:
        response = service.classify(content)
        assert (response.status_code, response.json()["code"]) == (422, code)
        assert service.pools.calls == []
        assert service.exposures() == []

    @pytest.mark.parametrize(
        "media_type",
        [
            "text/plain",
            "text/html; charset=utf-8",
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/mixed; boundary=limit",
            "video/mp4",
            "image",
            "x" * 500,
        ],
    )
    def test_an_unsupported_media_type_is_rejected_with_the_supported_ones(
        self, service: Service, media_type: str
    ) -> None:
        response = service.classify(CAT, media_type)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media")
        assert "image/jpeg, image/png" in response.json()["detail"]
        assert ("curl" in response.json()["detail"]) == media_type.endswith("urlencoded")
        assert len(response.json()["detail"]) < 400
        assert response.headers["accept"] == ACCEPT

    def test_an_unknown_content_coding_is_rejected_with_the_known_ones(
        self, service: Service
    ) -> None:
        response = service.classify(CAT, content_encoding="br")
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media")
        assert response.headers["accept-encoding"] == "gzip, deflate, identity"

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (CAT, 400, "bad_body"),
            (gzip.compress(CAT)[:-3], 400, "bad_body"),
            (gzip.compress(bytes(MAX_BODY_BYTES + 1)), 413, "body_too_large"),
            (gzip.compress(b"not an image"), 422, "unsupported_image"),
        ],
        ids=["not gzip", "cut", "too large", "no image"],
    )
    def test_a_wrong_compressed_body_is_rejected(
        self, service: Service, body: bytes, status: int, code: str
    ) -> None:
        response = service.classify(body, content_encoding="gzip")
        assert (response.status_code, response.json()["code"]) == (status, code)

    @pytest.mark.parametrize("media_type", ["image/png", "multipart/form-data; boundary=limit"])
    def test_a_content_length_above_the_limit_is_rejected_without_reading(
        self, service: Service, media_type: str
    ) -> None:
        async def unread_body() -> AsyncIterator[bytes]:
            raise AssertionError("the body is read")
            yield b""

        response = service.classify(
            unread_body(), media_type, content_length=str(MAX_BODY_BYTES + 1)
        )
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_stream_is_rejected_once_it_exceeds_the_limit(self, service: Service) -> None:
        sent = 0

        async def endless_body() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 2**20
                yield bytes(2**20)

        response = service.classify(endless_body())
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert sent == MAX_BODY_BYTES + 2**20

    def test_a_slow_body_is_rejected(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It occupies one of the admitted requests."""
        monkeypatch.setattr(body_limits, "MAX_BODY_S", 0.05)

        async def slow_body() -> AsyncIterator[bytes]:
            yield CAT[:100]
            await asyncio.sleep(60)

        response = service.classify(slow_body())
        assert (response.status_code, response.json()["code"]) == (408, "body_too_slow")
        assert response.json()["detail"].startswith("received 100 bytes in ")
        assert service.classify(CAT).status_code == 200

    @pytest.mark.parametrize(("step_bytes", "status"), [(1, 408), (500, 200)])
    def test_a_body_below_the_least_rate_is_rejected(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, step_bytes: int, status: int
    ) -> None:
        monkeypatch.setattr(body_limits, "WINDOW_S", 0.3)
        sent = 0

        async def steady_body() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < len(CAT):
                yield CAT[sent : sent + step_bytes]
                sent += step_bytes
                await asyncio.sleep(0.01)

        assert service.classify(steady_body()).status_code == status
        assert sent < 1000 or status == 200

    def test_a_body_that_stalls_is_rejected_whatever_arrived_before(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body_limits, "WINDOW_S", 0.05)

        async def stalling_body() -> AsyncIterator[bytes]:
            yield bytes(2**20)
            await asyncio.sleep(60)

        response = service.classify(stalling_body())
        assert (response.status_code, response.json()["code"]) == (408, "body_too_slow")

    def test_a_body_of_the_maximum_size_is_read(self, service: Service) -> None:
        assert service.classify(CAT + bytes(MAX_BODY_BYTES - len(CAT))).status_code == 200

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (form(CAT), "multipart/form-data"),
            (form(CAT), "multipart/form-data; boundary=other"),
            (form(CAT)[:-20], "multipart/form-data; boundary=limit"),
            (form(CAT, field="photo"), "multipart/form-data; boundary=limit"),
            (form(CAT, field="a" * 5000), "multipart/form-data; boundary=limit"),
            (b"", "multipart/form-data; boundary=limit"),
            (b"--limit", "multipart/form-data; boundary=limit"),
            (b"--limit\r\nno header\r\n\r\n--limit--", "multipart/form-data; boundary=limit"),
            (form(CAT), "multipart/form-data; boundary=" + "b" * 500),
            (
                form(CAT).removesuffix(b"--limit--\r\n") + form(CAT),
                "multipart/form-data; boundary=limit",
            ),
            (
                form(CAT).replace(b"image/png", b"multipart/mixed; boundary=x"),
                "multipart/form-data; boundary=limit",
            ),
            (
                form(CAT).replace(b"Content-Type: image/png", b"Content-Transfer-Encoding: x-uue"),
                "multipart/form-data; boundary=limit",
            ),
            (
                form(CAT).replace(b"Content-Type: image/png", b"Content-Transfer-Encoding: base64"),
                "multipart/form-data; boundary=limit",
            ),
        ],
    )
    def test_a_malformed_form_or_one_without_an_image_is_rejected(
        self, service: Service, content: bytes, media_type: str
    ) -> None:
        response = service.classify(content, media_type)
        assert (response.status_code, response.json()["code"]) == (400, "bad_body")
        assert len(response.json()["detail"]) < 400
        assert service.pools.calls == []


class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "status"),
        [(Busy("full"), 429), (NotReady("unreachable"), 503), (TooSlow("15 s"), 504)],
    )
    def test_a_pool_failure_is_a_problem_with_its_code(
        self, service: Service, failure: Problem, status: int
    ) -> None:
        service.pools.next_results.append(failure)
        response = service.classify()
        assert (response.status_code, response.json()["code"]) == (status, failure.code)
        assert response.headers.get("retry-after") == ("1" if status == 429 else None)
        assert service.traces[-1].error == failure.code
        assert service.exposures()[0].error == failure.code

    def test_an_unexpected_error_is_logged_and_its_text_is_hidden(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        service.pools.next_results.append(RuntimeError("password=1234"))
        response = service.classify(x_request_id="r-77")
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert "1234" not in response.text
        assert "r-77" in response.json()["detail"]
        (record,) = (each for each in caplog.records if each.levelname == "ERROR")
        assert record.message == "request.failed"
        assert record.exc_info is not None

    def test_a_client_disconnect_during_the_body_is_status_499(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def disconnect() -> None:
            messages: list[Message] = [
                {"type": "http.request", "body": CAT[:100], "more_body": True},
                {"type": "http.disconnect"},
            ]

            async def receive() -> Message:
                return messages.pop(0)

            async def send(message: Message) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/v1/classify",
                "query_string": b"",
                "headers": [(b"content-type", b"image/png")],
            }
            await service.app(scope, receive, send)

        sent: list[Message] = []
        service.run(disconnect())
        assert [message.get("status") for message in sent] == [499, None]
        (trace,) = service.traces
        assert (trace.status, trace.error) == (499, "client_gone")
        assert caplog.records == []
