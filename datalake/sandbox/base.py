"""How a stand-in for a source system is written, run and steered. What one system answers lives in its own module.

A stand-in serves on loopback, in a process of its own, from a state made of a seed. Its clock stands still until somebody
lets time pass, and every answer carries that clock in its `Date`. Beside the system's own paths it answers

    POST   /_sandbox/advance {"days": 1}    let time pass: new business, changes, deletions; answers what happened
    GET    /_sandbox/ledger/<table>         the truth about a table: {"rows": [{"record", "add", "deleted"}, …]}
    POST   /_sandbox/fault {"path": "/v1/charges", "status": 500, "times": 2}    plant a fault (see `Fault`)
    GET    /_sandbox/calls                  every call answered: {"calls": [{"method", "path", "query", "status", "at"}, …]}
    DELETE /_sandbox/calls                  forget the calls so far; DELETE /_sandbox/fault does so with faults
    POST   /_sandbox/control {…}            whatever else the system lets tests change (its module tells)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Protocol

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Row(msgspec.Struct, frozen=True):
    """The truth about one row: the record as a reader must have received it last, facts of the request beside it."""

    record: dict[str, Any]
    add: dict[str, Any] = {}
    deleted: bool = False


class StandIn(Protocol):
    """One system: its state, its clock (`now`, epoch seconds) and its answers. Handlers are async: none runs beside another."""

    @property
    def now(self) -> int: ...

    def routes(self) -> Sequence[BaseRoute]: ...

    def advance(self, seconds: int) -> dict[str, Any]:
        """Let time pass; tells what happened, for people and tests."""
        ...

    def ledger(self, table: str) -> Iterable[Row]:
        """Every row the table must hold after a sync. Raises KeyError for a table that the system does not have."""
        ...

    def control(self, change: dict[str, Any]) -> None:
        """Apply a change that tests ask for. Raises ValueError for one it does not know."""
        ...

    def environment(self, url: str) -> dict[str, str]:
        """The settings that point the data lake here."""
        ...


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """A fault: the next `times` calls whose path and query match `path` (a regular expression) go wrong.

    With `status` the answer is replaced by that status, `headers` and `body`. Without, the real answer is kept, and `delay`
    (seconds), `truncate` (bytes after which the connection closes) and `endless` (the body never ends) spoil it.
    """

    path: str
    times: int = 1
    skip: int = 0
    """Matching calls that pass unharmed first."""
    status: int | None = None
    headers: dict[str, str] = {}
    body: str = ""
    delay: float = 0.0
    truncate: int | None = None
    endless: bool = False


@dataclass
class _Control:
    """The steering paths, and the watch over all other calls. An ASGI application around the stand-in's own."""

    stand_in: StandIn
    latency: float
    app: ASGIApp = field(init=False)
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=200_000))
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        steering = [
            Route("/advance", self.advance, methods=["POST"]),
            Route("/ledger/{table}", self.ledger),
            Route("/calls", self.calls_made, methods=["GET", "DELETE"]),
            Route("/fault", self.plant, methods=["POST", "DELETE"]),
            Route("/control", self.control, methods=["POST"]),
        ]
        self.app = Starlette(routes=[Mount("/_sandbox", routes=steering), *self.stand_in.routes()])

    async def advance(self, request: Request) -> Response:
        days = float((await request.json())["days"])
        return answer(self.stand_in.advance(round(days * 86_400)))

    async def ledger(self, request: Request) -> Response:
        try:
            rows = list(self.stand_in.ledger(request.path_params["table"]))
        except KeyError as error:
            return answer({"error": f"no table {error}"}, 404)
        return answer({"rows": rows})

    async def calls_made(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.calls.clear()
        return answer({"calls": list(self.calls)})

    async def plant(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
        else:
            self.faults.append(msgspec.json.decode(await request.body(), type=Fault))
        return answer({"faults": self.faults})

    async def control(self, request: Request) -> Response:
        try:
            self.stand_in.control(await request.json())
        except ValueError as error:
            return answer({"error": str(error)}, 400)
        return answer({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox/"):
            await self.app(scope, receive, send)
            return
        call = {"method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode(), "status": 0}
        call["at"] = time.monotonic()
        self.calls.append(call)
        fault = self._fault(f"{call['path']}?{call['query']}")
        if delay := self.latency + (fault.delay if fault else 0.0):
            await asyncio.sleep(delay)
        remaining = fault.truncate if fault and fault.truncate is not None else None

        async def watch(message: Message) -> None:
            nonlocal remaining
            if message["type"] == "http.response.start":
                call["status"] = message["status"]
                date = formatdate(self.stand_in.now, usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            elif remaining is not None:
                # Fewer bytes than Content-Length promised: the server closes the connection in the middle.
                message = {**message, "body": message.get("body", b"")[:remaining]}
                remaining -= len(message["body"])
            await send(message)

        if fault and fault.endless:
            await StreamingResponse(_never_ending(), media_type="application/json")(scope, receive, watch)
        elif fault and fault.status is not None:
            await Response(fault.body, fault.status, fault.headers)(scope, receive, watch)
        else:
            await self.app(scope, receive, watch)

    def _fault(self, target: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.path, target):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None


async def _never_ending() -> AsyncIterator[bytes]:
    yield b'{"data": ['
    while True:
        yield b" " * 65_536
        await asyncio.sleep(0.01)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


class _Server(uvicorn.Server):
    """Prints the address once it answers."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self.announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.announcement, flush=True)


def serve(source: str, stand_in: StandIn, *, port: int, latency: float, with_parent: bool) -> None:
    """Serve on loopback until interrupted, or with `with_parent` until standard input closes (the parent is gone)."""
    listener = socket.create_server(("127.0.0.1", port))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # The `Date` of an answer is the stand-in's clock, not the machine's.
    config = uvicorn.Config(
        _Control(stand_in, latency),
        lifespan="off",
        ws="none",
        log_level="critical",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, json.dumps({"source": source, "url": url, "env": stand_in.environment(url)}))
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


def _end_with_parent() -> None:
    sys.stdin.read()
    # Nothing is worth an orderly end: a stand-in keeps no file.
    os._exit(0)


@dataclass(frozen=True)
class Server:
    """A running stand-in, seen from outside. `env` are the settings that point the data lake at it."""

    url: str
    env: dict[str, str]

    def advance(self, days: float) -> dict[str, Any]:
        return self._ask("POST", "advance", {"days": days})

    def ledger(self, table: str) -> list[Row]:
        return [Row(**row) for row in self._ask("GET", f"ledger/{table}")["rows"]]

    def fault(self, path: str, **how: Any) -> None:
        """Plant a fault; see `Fault` for what `how` may say."""
        self._ask("POST", "fault", {"path": path, **how})

    def clear_faults(self) -> None:
        self._ask("DELETE", "fault")

    def calls(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Calls answered since the start or the last clearing; with `clear` they are forgotten afterwards."""
        calls: list[dict[str, Any]] = self._ask("GET", "calls")["calls"]
        if clear:
            self._ask("DELETE", "calls")
        return calls

    def control(self, **change: Any) -> None:
        self._ask("POST", "control", change)

    def _ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 (the address is our own child's, plain http on loopback)
            f"{self.url}/_sandbox/{what}", method=method, data=json.dumps(body).encode() if body is not None else None
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 (as above)
            content: dict[str, Any] = json.load(reply)
        return content


@contextlib.contextmanager
def running(
    source: str, *, seed: int = 1, scale: float = 1.0, now: int | None = None, latency: float = 0.0, limits: bool = True
) -> Iterator[Server]:
    """A stand-in as a child process, from ready to gone. It ends with this process, however that ends.

    `now` is where its clock starts (epoch seconds; default: the present), `latency` seconds added to every answer, `limits`
    whether it enforces its system's rate limits.
    """
    command = [sys.executable, "-m", "datalake.sandbox", source, "--seed", str(seed), "--scale", str(scale)]
    command += ["--latency", str(latency), "--with-parent"]
    command += ["--now", str(now)] if now is not None else []
    command += [] if limits else ["--no-limits"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            announcement = process.stdout.readline() if process.stdout else b""
            if not announcement:
                raise RuntimeError(f"the stand-in for {source} did not start; its process ended with {process.wait()}")
            told = json.loads(announcement)
            yield Server(told["url"], told["env"])
        finally:
            process.kill()
