"""Request headers: context, pins, trust, request ids and traces."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serve_app.errors import BadHeader
from serve_app.http.headers import ignored_headers, read_context
from serve_app.privacy.illegal_ids import IllegalIds
from serve_app.privacy.pseudonyms import Pseudonymizer
from tests.unit.service import KEY, PARALLEL, Service, expected_probabilities, image, send_request

PSEUDONYMIZER = Pseudonymizer(KEY)


class TestContext:
    def test_users_and_sessions_are_stored_only_as_hashes(self, service: Service) -> None:
        service.classify(x_user_id="anna", x_session_id="anna")
        (exposure,) = service.exposures()
        assert exposure.user == exposure.session == service.pseudonymizer.pseudonym("anna")
        assert "anna" not in str(exposure)
        assert "anna" not in str(service.traces)

    def test_empty_headers_give_no_unit_and_no_region(self, service: Service) -> None:
        service.classify(x_user_id="")
        (exposure,) = service.exposures()
        assert (exposure.user, exposure.session, exposure.region) == (None, None, None)

    @pytest.mark.parametrize(
        ("headers", "region"),
        [
            ({"x_region": "au"}, "AU"),
            ({"cf_ipcountry": "NZ"}, "NZ"),
            ({"cloudfront_viewer_country": "DE"}, "DE"),
            ({"x_region": "AU", "cf_ipcountry": "DE"}, "AU"),
            ({"x_region": "", "cf_ipcountry": "DE"}, "DE"),
            ({"x_region": "Mars", "cf_ipcountry": "DE"}, None),
            ({"cf_ipcountry": "XX"}, None),
        ],
    )
    def test_x_region_has_priority_over_the_headers_of_cdns(
        self, service: Service, headers: dict[str, str], region: str | None
    ) -> None:
        assert service.classify(**headers).status_code == 200
        assert service.exposures()[0].region == region
        assert service.traces[0].region == region

    @pytest.mark.parametrize("name", ["x_user_id", "x_session_id"])
    def test_a_unit_has_at_most_200_characters(self, service: Service, name: str) -> None:
        assert service.classify(**{name: "u" * 200}).status_code == 200
        response = service.classify(**{name: "u" * 201})
        assert (response.status_code, response.json()["code"]) == (400, "bad_header")
        assert "has 201 characters, expected at most 200" in response.json()["detail"]

    def test_a_limit_counts_characters_not_bytes(self, service: Service) -> None:
        for name, status in (("考" * 200, 200), ("考" * 201, 400)):
            headers = {"content-type": "image/png", "x-user-id": name.encode()}
            response = service.request("POST", "/v1/classify", content=image(), headers=headers)
            assert response.status_code == status
        assert "has 201 characters, expected at most 200" in response.json()["detail"]
        assert service.exposures()[0].user == service.pseudonymizer.pseudonym("考" * 200)

    @pytest.mark.parametrize(
        ("tag", "reason"),
        [
            ("always", "tagged"),
            ("never", "tagged"),
            (" Always ", "tagged"),
            ("NEVER", "tagged"),
            ("always, always", "tagged"),
            ("", "split"),
            ("  ", "split"),
            ("true", "split"),
            ("always, never", "split"),
            ("x" * 300, "split"),
            ("考拉", "split"),
        ],
    )
    def test_a_tag_other_than_always_and_never_is_ignored(
        self, service: Service, tag: str, reason: str
    ) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        headers = {"x-user-id": "anna", "x-canary": tag.encode()}
        explanation = service.request("GET", "/v1/explain", headers=headers).json()
        assert explanation["reason"] == reason
        notes = explanation["notes"]
        assert len(notes) == (reason == "split" and bool(tag.strip()))
        assert all("neither always nor never: it is ignored" in note for note in notes)

    @given(
        st.dictionaries(
            st.sampled_from(["x-user-id", "x-session-id", "x-region", "cf-ipcountry", "x-canary"]),
            st.text(st.characters(max_codepoint=255), max_size=250),
        )
    )
    def test_arbitrary_headers_are_parsed_or_rejected(self, headers: dict[str, str]) -> None:
        sent = Headers(headers)
        try:
            context = read_context(sent, "r-1", PSEUDONYMIZER, trust_headers=True)
        except BadHeader:
            assert any(len(headers.get(f"x-{unit}-id", "")) > 200 for unit in ("user", "session"))
        else:
            assert context.user is None or headers["x-user-id"]
            notes = ignored_headers(sent, PSEUDONYMIZER, trust_headers=True)
            assert all(len(note) < 300 for note in notes)


class TestRepeatedHeaders:
    """A header that comes twice with the same value is one; with two values, it says nothing."""

    @pytest.mark.parametrize(
        ("name", "same", "other", "field"),
        [
            ("x-user-id", "anna", "ben", "user"),
            ("x-session-id", "s-1", "s-2", "session"),
            ("x-canary", "always", "never", "tag"),
            ("x-region", "AU", "NZ", "region"),
        ],
    )
    def test_two_values_are_ignored(self, name: str, same: str, other: str, field: str) -> None:
        for values, is_read in (
            ([same, same], True),
            ([same, "", same], True),
            ([same, other], False),
        ):
            headers = Headers(raw=[(name.encode(), value.encode()) for value in values])
            context = read_context(headers, "r-1", PSEUDONYMIZER, trust_headers=True)
            assert (getattr(context, field) is not None) == is_read
            notes = ignored_headers(headers, PSEUDONYMIZER, trust_headers=True)
            assert len(notes) == (not is_read)
            if notes:
                assert f"2 values ('{same}', '{other}')" in notes[0]

    def test_two_pins_are_rejected(self) -> None:
        headers = Headers(raw=[(b"x-model-version", b"v1"), (b"x-model-version", b"v2")])
        with pytest.raises(BadHeader, match=r"2 values .*send one version"):
            read_context(headers, "r-1", PSEUDONYMIZER, trust_headers=True)


class TestIllegalIds:
    @pytest.mark.parametrize("name", ["undefined", "[object Object]", "0", '""', "anonymous"])
    def test_an_id_that_stands_for_nobody_is_no_unit(self, service: Service, name: str) -> None:
        service.apply_rule_with_candidate(**PARALLEL)
        assert service.classify(x_user_id=name).json()["reason"] == "no_unit"
        explanation = service.request("GET", "/v1/explain", headers={"x-user-id": name}).json()
        assert (explanation["reason"], explanation["bucket"]) == ("no_unit", None)
        (note,) = explanation["notes"]
        assert note == (
            f"X-User-Id is '{name}', a placeholder for a missing id: the request has no user"
        )
        assert service.exposures()[0].user is None

    def test_sessions_too(self, service: Service) -> None:
        service.apply_rule_with_candidate(**PARALLEL, unit="session")
        assert service.classify(x_session_id="null").json()["reason"] == "no_unit"

    def test_the_list_can_be_set(self) -> None:
        pseudonymizer = Pseudonymizer(KEY, IllegalIds(["robot"]))
        for name, is_unit in (("Robot", False), ("null", True)):
            headers = Headers({"x-user-id": name})
            context = read_context(headers, "r-1", pseudonymizer, trust_headers=True)
            assert (context.user is not None) == is_unit


class TestPins:
    def test_a_pin_needs_a_rule_that_allows_it(self, service: Service) -> None:
        response = service.classify(x_model_version="v2")
        assert (response.status_code, response.json()["code"]) == (403, "pin_rejected")
        assert service.exposures() == []

    def test_an_allowed_pin_selects_the_version(self, service: Service) -> None:
        service.apply_rule(allow_pin=True)
        koala = image("koala")
        body = service.classify(koala, x_model_version="v2").json()
        assert (body["version"], body["reason"]) == ("v2", "pinned")
        probabilities = [float(value) for value in expected_probabilities("v2", koala)[0]]
        assert list(body["probabilities"].values()) == pytest.approx(probabilities, abs=1e-6)

    @pytest.mark.parametrize("pin", ["v9", "../v1", "V1", "v1,v2"])
    def test_a_pin_to_an_unknown_version_is_rejected_with_the_known_ones(
        self, service: Service, pin: str
    ) -> None:
        service.apply_rule(allow_pin=True)
        response = service.classify(x_model_version=pin)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_version")
        assert response.json()["detail"].endswith("the registry has v1, v2")

    def test_a_forbidden_pin_is_rejected_even_for_an_unknown_version(
        self, service: Service
    ) -> None:
        """A client that may not pin learns nothing about versions."""
        assert service.classify(x_model_version="v9").status_code == 403


class TestTrust:
    def test_untrusted_pins_tags_and_regions_are_ignored(self, service: Service) -> None:
        service.apply_rule(trust_headers=False, allow_pin=True)
        response = service.classify(
            x_model_version="v2", x_canary="nonsense", x_region="AU", x_user_id="anna"
        )
        assert (response.json()["version"], response.json()["reason"]) == ("v1", "static")
        (exposure,) = service.exposures()
        assert exposure.region is None
        assert exposure.user == service.pseudonymizer.pseudonym("anna")


class TestRequestId:
    """Serve adds an id to a request without one, and to its response."""

    def test_the_id_of_the_request_is_used(self, service: Service) -> None:
        service.classify(x_request_id="r-77")
        assert service.traces[0].request_id == "r-77"
        assert service.exposures()[0].request_id == "r-77"

    def test_a_missing_id_is_generated(self, service: Service) -> None:
        service.classify()
        service.classify(x_request_id="")
        ids = [exposure.request_id for exposure in service.exposures()]
        assert [trace.request_id for trace in service.traces] == ids
        assert len(set(ids)) == 2
        assert all(ids)

    @pytest.mark.parametrize("request_id", ["r" * 201, "r 1", "r\t1", "ä"])
    def test_an_invalid_id_is_rejected(self, service: Service, request_id: str) -> None:
        headers = {"x-request-id": request_id.encode("latin-1")}
        response = service.request("GET", "/healthz", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "bad_header")
        assert "200 visible ASCII characters" in response.json()["detail"]

    def test_an_id_of_200_characters_is_accepted(self, service: Service) -> None:
        service.request("GET", "/healthz", headers={"x-request-id": "r" * 200})
        assert service.traces[0].request_id == "r" * 200


class TestTraces:
    @pytest.mark.parametrize(
        ("method", "path", "route", "status", "error"),
        [
            ("GET", "/healthz", "/healthz", 200, None),
            ("GET", "/v1/models/v1", "/v1/models/{version}", 200, None),
            ("GET", "/v1/models/v9", "/v1/models/{version}", 404, "unknown_version"),
            ("GET", "/nowhere", "", 404, "not_found"),
            ("GET", "/v1/classify", "/v1/classify", 405, "method_not_allowed"),
            ("POST", "/v1/classify", "/v1/classify", 422, "empty_image"),
        ],
    )
    def test_every_request_leaves_one_trace(
        self, service: Service, method: str, path: str, route: str, status: int, error: str | None
    ) -> None:
        """The route is the path's template: unknown paths add no time series to the metrics."""
        service.request(method, path)
        (trace,) = service.traces
        assert (trace.method, trace.path, trace.route) == (method, path, route)
        assert (trace.status, trace.error) == (status, error)
        assert 0 < trace.latency_ms < 60_000

    def test_a_cancelled_request_leaves_one_trace(self, service: Service) -> None:
        async def scenario() -> None:
            never = asyncio.get_running_loop().create_future()

            async def hang(*_: object) -> None:
                await never

            service.pools.classify = hang  # type: ignore[assignment,method-assign]
            request = asyncio.create_task(
                send_request(service.app, "POST", "/v1/classify", content=image(),
                    headers={"content-type": "image/png"})
            )  # fmt: skip
            while not service.traces and not request.done():
                await asyncio.sleep(0.05)
                request.cancel()
            await asyncio.wait([request])

        service.run(scenario())
        (trace,) = service.traces
        assert (trace.status, trace.error, trace.route) == (499, "client_gone", "/v1/classify")
        (exposure,) = service.exposures()
        assert (exposure.error, exposure.served) == ("client_gone", None)


class TestUnknownPaths:
    def test_an_unknown_path_is_not_found(self, service: Service) -> None:
        response = service.request("GET", "/v1/clasify")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert response.json()["detail"] == (
            "there is no path /v1/clasify: see /openapi.json for the paths"
        )

    def test_an_unsupported_method_is_rejected_with_the_supported_ones(
        self, service: Service
    ) -> None:
        response = service.request("DELETE", "/v1/classify")
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "OPTIONS, POST"
