"""The receiver as an ASGI application, and a server for it. Needs uvicorn (the extra `webhooks`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from datalake.settings import SettingError, Settings
from datalake.webhooks.receiver import LOOPBACK, MOST, Call, Receiver, Reply, too_long

THREADS = 32
"""Bodies that are being kept at the same time."""
PATIENCE = 30.0
"""Seconds for a sender to send its body."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """The ASGI application. What blocks runs in threads, so that one slow write holds up nobody else."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._threads = ThreadPoolExecutor(THREADS, "keep")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the receiver speaks http, not {scope['type']}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        call = Call(scope["method"], headers.get("host", ""), scope["path"], scope["query_string"].decode("latin-1"), headers)
        reply = self._receiver.refuse(call)
        if reply is None:
            body = await _read(receive)
            if isinstance(body, Reply):
                reply = body
            else:
                call = Call(call.method, call.host, call.path, call.query, headers, body)
                reply = await asyncio.get_running_loop().run_in_executor(self._threads, self._receiver.receive, call)
        await _answer(reply, send)


async def _read(receive: Receive) -> bytes | Reply:
    """The body, or the refusal of one that is too long, too slow or broken off."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return Reply(400, "the body broke off")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MOST:
                    return too_long()
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        return Reply(408, "the body took too long")


async def _answer(reply: Reply, send: Send) -> None:
    body = reply.text.encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
    }
    if reply.status in (408, 413):
        headers["Connection"] = "close"
    pairs = [(name.lower().encode(), value.encode()) for name, value in {**headers, **reply.headers}.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Receive webhooks until interrupted. `ready` is told each source's address before the first call is taken."""
    with socket.create_server((host, port), backlog=1024) as listener:
        receiver = _receiver(settings)
        server = _server(receiver)
        for source in receiver.sources:
            ready(f"{_address(listener)}/{source}")
        server.run([listener])


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[str]:
    """A receiver on a free port of loopback, beside whatever this process does, from ready to gone. Yields its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = _server(_receiver(settings))
        thread = threading.Thread(target=server.run, args=([listener],), name="webhooks", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield _address(listener)
        finally:
            server.should_exit = True
            thread.join()


def _receiver(settings: Settings) -> Receiver:
    return Receiver(settings, settings.names("DATALAKE_WEBHOOK_HOSTS") or LOOPBACK)


def _server(receiver: Receiver) -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise SettingError("Receiving webhooks needs a web server: pip install 'datalake[webhooks]'") from error
    config = uvicorn.Config(
        App(receiver),
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
