"""Clients, in a process of their own so that their work can be told apart.

    python -m benchmarks.load http://127.0.0.1:8000/v1/classify image.jpg cat --clients 32

Every client keeps one connection and asks again as soon as it has its answer: a closed loop.  With
a rate, requests are planned at even distances whatever becomes of those before, and the latency of
each counts from its planned time, so that a stall is seen by all who would have met it (no
coordinated omission).  The requests come from `USERS` users in turn, all in `REGION`.

Prints "began" and "ended" where the measured time begins and ends, so that whoever started it can
read other processes' CPU time at these moments, then a `Load` as JSON.
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

PATIENCE_S = 30.0  # the last answers may take so long
RECONNECT_S = 0.2
USERS = 1000
REGION = "AU"

# When each request is due, in `time.perf_counter`; None ends a client.
Turns = asyncio.Queue[float | None]


@dataclass(frozen=True)
class Load:
    """What the clients saw.

    Attributes:
        seconds: The measured time, as it was.
        answers: Right answers in that time, status 200 and the expected label: those that came in
            it; with a rate those that were due in it, whenever they came.
        p50_ms, p99_ms: Latency of these; None without any.
        errors: What else came and how often, warming up included.
        cpu_s: CPU time of the load generator in the measured time.
    """

    seconds: float
    answers: int
    p50_ms: float | None
    p99_ms: float | None
    errors: dict[str, int]
    cpu_s: float


@dataclass
class Tally:
    """What all clients count together.

    Attributes:
        by_due: An answer counts if it was due in the measured time; else if it came in it.
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
        elif (label := label_of(body)) != self.label:
            self.errors[f"label {label}"] += 1
        elif self.began <= (due if self.by_due else now) < self.ended:
            self.latencies_s.append(now - due)


def label_of(body: bytes) -> str:
    """The label in an answer, in a list of one answer, or in the first output of an inference."""
    said = json.loads(body)
    if "outputs" in said:
        return str(said["outputs"][0]["data"][0])
    return str((said[0] if isinstance(said, list) else said)["label"])


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time on it."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; OSError if none comes."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines((head, body))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        body = bytes(self._body)
        self._body.clear()
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed without an answer"))


async def repeat(
    url: str, heads: Iterator[bytes], body: bytes, turns: Turns | None, tally: Tally
) -> None:
    """One client: ask until the load is over; connect anew where the server closes.

    Args:
        turns: When to ask; None asks again at once.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    loop = asyncio.get_running_loop()
    due: float | None = None
    while not tally.is_over:
        try:
            _, connection = await loop.create_connection(Connection, parts.hostname, parts.port)
            try:
                while connection.is_open and not tally.is_over:
                    if due is None:
                        due = await turns.get() if turns else time.perf_counter()
                    if due is None:
                        return
                    if not connection.is_open:  # closed meanwhile; the request is still due
                        break
                    status, answer = await connection.ask(next(heads), body)
                    tally.count(status, answer, due)
                    due = None
            finally:
                connection.close()
        except OSError as exc:
            tally.errors[f"{type(exc).__name__}: {exc}"] += 1
            due = None
            await asyncio.sleep(RECONNECT_S)


async def pace(rate: float, turns: Turns) -> None:
    """Tell of each request when it is due; one that is told late is due when it was planned."""
    began = time.perf_counter()
    for number in itertools.count():
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        turns.put_nowait(due)


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
    """Load `url` and count; prints "began" and "ended"."""
    tally = Tally(label, by_due=rate is not None)
    heads = itertools.cycle([_head(url, content_type, body, number) for number in range(USERS)])
    turns: Turns | None = Turns() if rate else None
    pacing = asyncio.create_task(pace(rate, turns)) if rate and turns else None
    tasks = [asyncio.create_task(repeat(url, heads, body, turns, tally)) for _ in range(clients)]
    await asyncio.sleep(warm_up_s)
    print("began", flush=True)
    tally.began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(time_s)
    tally.ended, cpu_s = time.perf_counter(), time.process_time() - cpu
    print("ended", flush=True)

    if pacing and turns:
        pacing.cancel()
        for _ in range(clients):  # behind what is still due
            turns.put_nowait(None)
    else:
        tally.is_over = True
    _, silent = await asyncio.wait(tasks, timeout=PATIENCE_S)
    if silent:
        tally.errors[f"no answer in {PATIENCE_S:.0f} s"] += len(silent)
    latencies_ms = sorted(1e3 * latency for latency in tally.latencies_s)
    return Load(
        seconds=tally.ended - tally.began,
        answers=len(latencies_ms),
        p50_ms=_quantile(latencies_ms, 0.50),
        p99_ms=_quantile(latencies_ms, 0.99),
        errors=dict(tally.errors),
        cpu_s=cpu_s,
    )


def _head(url: str, content_type: str, body: bytes, user: int) -> bytes:
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
    parser.add_argument("body", type=Path, help="a file to send as it is")
    parser.add_argument("label", help="the right answer")
    parser.add_argument("--content-type", default="image/jpeg")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument(
        "--rate", type=float, help="requests a second at even distances, instead of a closed loop"
    )
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=3.0)
    told = parser.parse_args()
    result = uvloop.run(
        load(
            told.url,
            told.content_type,
            told.body.read_bytes(),
            told.label,
            told.clients,
            told.rate,
            told.warm_up,
            told.seconds,
        )
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
