from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from serve_app.errors import Busy, NotReady, Problem, TooSlow
from serve_app.http import body_limits
from serve_app.http.body_limits import IMAGE_TYPES, MAX_BODY_BYTES
from tests.unit.service import Service, expected, image

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


class TestAnswers:
    @pytest.mark.parametrize("media_type", IMAGE_TYPES)
    def test_every_kind_of_image_is_answered(self, service: Service, media_type: str) -> None:
        content = image("dog", kind=KINDS[media_type])
        answer = service.classify(content, media_type).json()
        cat, dog = (float(share) for share in expected("v1", content)[0])
        assert answer["probabilities"] == pytest.approx({"cat": cat, "dog": dog}, abs=1e-6)
        assert answer["label"] == max(("cat", cat), ("dog", dog), key=lambda pair: pair[1])[0]
        assert answer["confidence"] == max(answer["probabilities"].values())

    def test_the_answer_tells_who_gave_it_and_why(self, service: Service) -> None:
        response = service.classify()
        answer = response.json()
        rule = service.plane.rule
        assert (answer["version"], answer["rule"], answer["reason"]) == ("v1", "single", "static")
        assert answer["rule_id"] == rule.rule_id
        assert response.headers["x-served-version"] == "v1"
        assert response.headers["x-assignment-reason"] == "static"
        assert response.headers["x-prediction-id"] == answer["prediction_id"]
        opened = service.id_codec.decode(answer["prediction_id"])
        assert (opened.version, opened.rule_id, opened.sequence) == ("v1", rule.rule_id, 1)

    def test_a_blind_rule_hides_the_version_and_nothing_else(self, service: Service) -> None:
        service.apply_rule(reveal_version=False)
        response = service.classify()
        assert "version" not in response.json()
        assert "x-served-version" not in response.headers
        assert response.json()["label"] == "cat"
        assert service.exposures()[0].served == "v1"

    def test_a_form_is_answered_as_the_image_in_it(self, service: Service) -> None:
        sent = service.ask("POST", "/v1/classify", files={"image": ("cat.png", CAT, "image/png")})
        assert sent.json()["probabilities"] == service.classify(CAT).json()["probabilities"]

    def test_a_form_with_a_large_photograph_is_answered(self, service: Service) -> None:
        """Above 1 MiB a form's file is spooled to disk."""
        image = CAT + b"\0" * (3 * 2**20)
        assert service.ask("POST", "/v1/classify", files={"image": image}).status_code == 200

    def test_parameters_of_the_media_type_do_not_matter(self, service: Service) -> None:
        assert service.classify(CAT, "IMAGE/PNG; name=cat.png").status_code == 200

    def test_a_body_may_come_in_chunks_of_unknown_number(self, service: Service) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(CAT), 1000):
                yield CAT[start : start + 1000]

        assert service.classify(chunks()).status_code == 200


class TestRejections:
    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_image"),
            (b"no image", "unsupported_image"),
            (CAT[: len(CAT) // 2], "broken_image"),
            (
                b"BM" + bytes(12) + (40).to_bytes(4, "little") + (8_000).to_bytes(4, "little") * 2
                + b"\x01\0\x18\0" + bytes(24),
                "too_many_pixels",
            ),
        ],
        ids=["empty", "text", "half", "huge"],
    )  # fmt: skip
    def test_bytes_that_are_no_image_are_rejected_by_kind(
        self, service: Service, content: bytes, code: str
    ) -> None:
        response = service.classify(content)
        assert (response.status_code, response.json()["code"]) == (422, code)
        assert service.pools.calls == []
        assert service.exposures() == []

    @pytest.mark.parametrize(
        "media_type", ["", "image/tiff", "text/plain", "application/json", "image", "x" * 500]
    )
    def test_another_media_type_is_told_which_ones_are_read(
        self, service: Service, media_type: str
    ) -> None:
        response = service.classify(CAT, media_type)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media")
        assert "image/jpeg, image/png" in response.json()["detail"]
        assert len(response.json()["detail"]) < 400

    def test_a_compressed_body_is_rejected(self, service: Service) -> None:
        response = service.classify(CAT, content_encoding="gzip")
        assert response.status_code == 415
        assert "without compression" in response.json()["detail"]

    @pytest.mark.parametrize("media_type", ["image/png", "multipart/form-data; boundary=limit"])
    def test_an_announced_size_above_the_limit_is_rejected_unread(
        self, service: Service, media_type: str
    ) -> None:
        async def never() -> AsyncIterator[bytes]:
            raise AssertionError("the body is read")
            yield b""

        response = service.classify(never(), media_type, content_length=str(MAX_BODY_BYTES + 1))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_a_stream_above_the_limit_is_rejected_where_it_crosses_it(
        self, service: Service
    ) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 2**20
                yield bytes(2**20)

        response = service.classify(endless())
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert sent == MAX_BODY_BYTES + 2**20

    def test_a_body_that_does_not_end_in_time_is_rejected(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It holds a place that others need."""
        monkeypatch.setattr(body_limits, "MAX_BODY_S", 0.05)

        async def slow() -> AsyncIterator[bytes]:
            yield CAT[:100]
            await asyncio.sleep(60)

        response = service.classify(slow())
        assert (response.status_code, response.json()["code"]) == (408, "body_too_slow")
        assert response.json()["detail"].startswith("after 0.05 s 100 bytes had come")
        assert service.classify(CAT).status_code == 200

    def test_a_body_as_large_as_the_limit_is_read(self, service: Service) -> None:
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
                b'--limit\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--limit--',
                "multipart/form-data; boundary=limit",
            ),
            (form(CAT), "multipart/form-data; boundary=limit; charset=none"),
        ][:-1],
    )  # fmt: skip
    def test_a_broken_form_or_one_without_an_image_is_rejected(
        self, service: Service, content: bytes, media_type: str
    ) -> None:
        response = service.classify(content, media_type)
        assert (response.status_code, response.json()["code"]) == (400, "bad_body")
        assert len(response.json()["detail"]) < 400
        assert service.pools.calls == []

    def test_a_form_in_an_unknown_charset_is_read(self, service: Service) -> None:
        response = service.classify(form(CAT), "multipart/form-data; boundary=limit; charset=none")
        assert response.status_code == 200


class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "status"),
        [(Busy("full"), 429), (NotReady("gone"), 503), (TooSlow("15 s"), 504)],
    )
    def test_a_pool_that_cannot_answer_is_said_so(
        self, service: Service, failure: Problem, status: int
    ) -> None:
        service.pools.script.append(failure)
        response = service.classify()
        assert (response.status_code, response.json()["code"]) == (status, failure.code)
        assert response.headers.get("retry-after") == ("1" if status == 429 else None)
        assert service.traces[-1].error == failure.code
        assert service.exposures()[0].error == failure.code

    def test_an_error_that_nobody_expected_tells_no_secret(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        service.pools.script.append(RuntimeError("password=1234"))
        response = service.classify(x_request_id="r-77")
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert "1234" not in response.text
        assert "r-77" in response.json()["detail"]
        (record,) = (one for one in caplog.records if one.levelname == "ERROR")
        assert record.message == "request.failed"
        assert record.exc_info is not None

    def test_a_client_that_hangs_up_while_it_sends_is_no_failure_of_ours(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def hang_up() -> None:
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
        service.run(hang_up())
        assert [message.get("status") for message in sent] == [499, None]
        (trace,) = service.traces
        assert (trace.status, trace.error) == (499, "client_gone")
        assert caplog.records == []
