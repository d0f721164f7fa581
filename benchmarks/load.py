"""Load generator; runs in a separate process so that its CPU time can be measured separately.

    python -m benchmarks.load http://127.0.0.1:8000/v1/classify image.jpg cat --clients 32

Each client keeps one connection and sends the next request after each response (closed loop). With
a rate, requests are scheduled at even intervals, independent of earlier ones, and latency counts
from the scheduled time (no coordinated omission). The requests come from `USERS` users in turn, all
in `REGION`.

Prints "began" and "ended" at the start and the end of the measured time, so that the parent process
can read the CPU time of other processes at these moments; then a `Load` as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

DRAIN_S = 30.0  # timeout for the last responses
RECONNECT_S = 0.2
USERS = 1000
REGION = "AU"

# Scheduled times of the requests, in `time.perf_counter`; None stops a client.
DueTimes = asyncio.Queue[float | None]


@dataclass(frozen=True)
class Load:
    """Result of a load.

    Attributes:
        seconds: Actual length of the measured time.
        answers: Correct responses (status 200 and the expected label) received in the measured
            time; with a rate, those scheduled in it.
        p50_ms, p99_ms: Latency of these; None if there are none.
        errors: All other outcomes with their counts, including the warm-up.
        cpu_s: CPU time of the load generator in the measured time.
    """

    seconds: float
    answers: int
    p50_ms: float | None
    p99_ms: float | None
    errors: dict[str, int]
    cpu_s: float


@dataclass
class Counts:
    """Counters shared by all clients.

    Attributes:
        by_due: Count responses by scheduled time instead of arrival.
        began, ended: The measured time, in `time.perf_counter`.
    """

    label: str
    by_due: bool
    began: float = float("inf")
    ended: float = float("inf")
    latencies_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    def count(self, status: int, body: bytes, due: float) -> None:
        now = time.perf_counter()
        if status != 200:
            self.errors[f"{status} {body[:80].decode(errors='replace')}".strip()] += 1
        elif (label := parse_label(body)) != self.label:
            self.errors[f"label {label}"] += 1
        elif self.began <= (due if self.by_due else now) < self.ended:
            self.latencies_s.append(now - due)


def parse_label(body: bytes) -> str:
    """The label in a prediction, a list of one prediction, or an inference response."""
    content = json.loads(body)
    if "outputs" in content:
        return str(content["outputs"][0]["data"][0])
    return str((content[0] if isinstance(content, list) else content)["label"])


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._response: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body of the response.

        Raises:
            OSError: The connection was closed without a response.
        """
        assert self._transport is not None
        self._response = asyncio.get_running_loop().create_future()
        self._transport.writelines((head, body))
        return await self._response

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's transports are no subclasses

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        body = bytes(self._body)
        self._body.clear()
        if not self._parser.should_keep_alive():
            self.close()
        if self._response is not None and not self._response.done():
            self._response.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError("closed without a response"))


async def run_client(
    url: str, heads: Iterator[bytes], body: bytes, due_times: DueTimes | None, counts: Counts
) -> None:
    """Run one client until the load is over; reconnect if the server closes the connection.

    Args:
        due_times: Scheduled times of the requests; None: closed loop.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    loop = asyncio.get_running_loop()
    due: float | None = None
    while not counts.is_over:
        try:
            _, connection = await loop.create_connection(Connection, parts.hostname, parts.port)
            try:
                while connection.is_open and not counts.is_over:
                    if due is None:
                        due = await due_times.get() if due_times else time.perf_counter()
                    if due is None:
                        return
                    if not connection.is_open:  # closed in the meantime; the request is still due
                        break
                    status, response = await connection.send(next(heads), body)
                    counts.count(status, response, due)
                    due = None
            finally:
                connection.close()
        except OSError as exc:
            counts.errors[f"{type(exc).__name__}: {exc}"] += 1
            due = None
            await asyncio.sleep(RECONNECT_S)


async def schedule_requests(rate: float, due_times: DueTimes) -> None:
    """Put the scheduled time of each request into `due_times` when it is due."""
    began = time.perf_counter()
    for number in itertools.count():
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due_times.put_nowait(due)


async def load(
    url: str,
    content_type: str,
    body: bytes,
    label: str,
    clients: int,
    rate: float | None,
    warm_up_s: float,
    time_s: float,
) -> Load:
    """Send requests to `url` and measure; prints "began" and "ended"."""
    counts = Counts(label, by_due=rate is not None)
    heads = itertools.cycle([_request_head(url, content_type, body, user) for user in range(USERS)])
    due_times: DueTimes | None = DueTimes() if rate else None
    scheduler = (
        asyncio.create_task(schedule_requests(rate, due_times)) if rate and due_times else None
    )
    tasks = [
        asyncio.create_task(run_client(url, heads, body, due_times, counts)) for _ in range(clients)
    ]
    await asyncio.sleep(warm_up_s)
    print("began", flush=True)
    counts.began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(time_s)
    counts.ended, cpu_s = time.perf_counter(), time.process_time() - cpu
    print("ended", flush=True)

    if scheduler and due_times:
        scheduler.cancel()
        for _ in range(clients):  # after the requests that are still due
            due_times.put_nowait(None)
    else:
        counts.is_over = True
    _, pending = await asyncio.wait(tasks, timeout=DRAIN_S)
    if pending:
        counts.errors[f"no response in {DRAIN_S:.0f} s"] += len(pending)
    latencies_ms = sorted(1e3 * latency for latency in counts.latencies_s)
    return Load(
        seconds=counts.ended - counts.began,
        answers=len(latencies_ms),
        p50_ms=_quantile(latencies_ms, 0.50),
        p99_ms=_quantile(latencies_ms, 0.99),
        errors=dict(counts.errors),
        cpu_s=cpu_s,
    )


def _request_head(url: str, content_type: str, body: bytes, user: int) -> bytes:
    parts = urlsplit(url)
    return (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        f"X-User-Id: user-{user}\r\nX-Region: {REGION}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[int(share * (len(ordered) - 1))] if ordered else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("body", type=Path, help="file with the body to send")
    parser.add_argument("label", help="expected label")
    parser.add_argument("--content-type", default="image/jpeg")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument(
        "--rate", type=float, help="requests per second at even intervals, instead of a closed loop"
    )
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    result = uvloop.run(
        load(
            arguments.url,
            arguments.content_type,
            arguments.body.read_bytes(),
            arguments.label,
            arguments.clients,
            arguments.rate,
            arguments.warm_up,
            arguments.seconds,
        )
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
