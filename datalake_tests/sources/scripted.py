"""A server on loopback that plays a script of answers, good and bad, and a small source that is read from it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Classification, Source, Table
from datalake.sources.auth import Auth, Bearer
from datalake.sources.base import Ask, Checkpoint, Item, Page, Window
from datalake.sources.engine import Extraction, HttpRun, extract
from datalake.sources.http import Http, Patience
from datalake.sources.paging import Walk
from datalake.sources.progress import LogProgress
from datalake.sources.records import pick, split

QUICK = Patience(tries=4, first_wait=0.01, longest_wait=0.05, connect=2, read=2, total=4)
KEY = "sk_test_canary_4711"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer. `length` overrides Content-Length; `pieces` go out one by one, `pause` seconds apart, after the body."""

    body: bytes | object = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    pieces: Iterator[bytes] | None = None
    pause: float = 0.0
    reset: bool = False
    """Ends the connection with a reset instead of an orderly close."""


class Server:
    """Plays `script`: a function from what was asked to a Reply. Keeps what was asked."""

    def __init__(self, script: Callable[[Asked], Reply]) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.url = ""
        self.stopping = threading.Event()


@contextmanager
def serving(script: Callable[[Asked], Reply], certificate: Path | None = None) -> Iterator[Server]:
    """The server, listening; with a certificate (and its key, in one file) over TLS."""
    server = Server(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked = Asked(self.command, parts.path, query, {k.lower(): v for k, v in self.headers.items()}, body)
            server.asked.append(asked)
            reply = server.script(asked)
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            # `send_response` adds a Date of its own.
            (self.send_response_only if "Date" in reply.headers else self.send_response)(reply.status)
            if reply.length != -1:
                self.send_header("Content-Length", str(len(content) if reply.length is None else reply.length))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.close_connection = reply.length is not None
            try:
                self.end_headers()
                self.wfile.write(content)
                for piece in reply.pieces or ():
                    if server.stopping.wait(reply.pause):
                        break
                    self.wfile.write(piece)
                if reply.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    self.connection.close()
            except OSError:
                self.close_connection = True

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away is part of the script."""

    with Quiet(("127.0.0.1", 0), Handler) as listener:
        server.url = f"http://127.0.0.1:{listener.server_port}"
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
            server.url = server.url.replace("http", "https")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            listener.shutdown()
            thread.join()


PAGES = 10
PAGE = 10


def record(number: int) -> dict[str, Any]:
    return {"id": f"ch_{number:04d}", "amount": number, "note": None, "details": {}}


def page(asked: Asked, pages: int = PAGES) -> dict[str, Any]:
    """The page behind `after`, as a good server gives it."""
    after = asked.query.get("after", "")
    first = int(after.removeprefix("ch_")) + 1 if after else 0
    last = min(first + PAGE, pages * PAGE)
    return {"data": [record(n) for n in range(first, last)], "has_more": last < pages * PAGE}


def page_number(asked: Asked) -> int:
    after = asked.query.get("after", "")
    return (int(after.removeprefix("ch_")) + 1) // PAGE if after else 0


def cursor_pages(run: HttpRun, ask: Ask) -> Iterator[Item]:
    """Rows by cursor, as Stripe gives them; goes on where the last run stopped."""
    walk = Walk()
    after = ask.cursor.get("after", "")
    while True:
        params = {"limit": PAGE} | ({"after": after} if after else {})
        answer = run.http.get(ask.table.id, "/v1/charges", params, cursor=after)
        found = split(answer, "data", ("has_more",))
        if found.records:
            (after,) = pick(found.records[-1], "id")
        more = found.facts["has_more"]
        walk.step(answer, found.records, after if more else None)
        yield Page(found.records, answer.at)
        yield Checkpoint({"after": after})
        if not more:
            return


def linked_pages(run: HttpRun, ask: Ask) -> Iterator[Item]:
    """Rows of a bare array by Link header, as GitHub gives them."""
    walk = Walk()
    url: str | None = "/v1/issues"
    while url:
        answer = run.http.get(ask.table.id, url)
        found = split(answer)
        url = answer.link("next")
        walk.step(answer, found.records, url)
        yield Page(found.records, answer.at)
        yield Checkpoint({})


def make_table(rows: str = "cursor_pages", name: str = "charges", **more: Any) -> Table:
    return Table(
        "sample", name, "", "", "core", rows, (), ("id",), Classification.INTERNAL, "", "", **{"records": "data", **more}
    )


FUNCTIONS = {"cursor_pages": cursor_pages, "linked_pages": linked_pages}


@contextmanager
def reading(url: str, functions: Any = None, **options: Any) -> Iterator[HttpRun]:
    """A run of the sample source."""
    auth: Auth = options.pop("auth", None) or Bearer(KEY)
    http = Http("sample", url, moved=True, auth=auth, secrets=[KEY], **{"patience": QUICK, **options})
    source = Source("sample", "Sample", "", "", url, "", "seconds")
    run = HttpRun(source, http, FUNCTIONS | (functions or {}))
    try:
        yield run
    finally:
        run.close()


def extracted(
    run: HttpRun, folder: Path, table: Table | None = None, *, window: Window | None = None, full: bool = False
) -> Extraction:
    """Extract and commit."""
    table = table or make_table()
    extraction = extract(
        run, table, raw_log(folder, table), run_id="run", parent=None, window=window, full=full, progress=LogProgress()
    )
    extraction.commit()
    return extraction


def raw_log(folder: Path, table: Table | None = None) -> RawLog:
    return RawLog(Objects(str(folder)), table or make_table())


def raw_lines(folder: Path, table: Table | None = None) -> list[dict[str, Any]]:
    """All lines that commits list, in order."""
    log = raw_log(folder, table)
    return [json.loads(line) for commit in log.since(0) for line in log.lines(commit)]


def raw_ids(folder: Path, table: Table | None = None) -> list[str]:
    return [line["record"]["id"] for line in raw_lines(folder, table) if "record" in line]


ALL_IDS = [record(number)["id"] for number in range(PAGES * PAGE)]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
