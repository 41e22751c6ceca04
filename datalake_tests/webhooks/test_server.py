"""The receiver over real HTTP: long, slow and broken bodies, many at once, and a kill in the middle."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from datalake.webhooks import server
from datalake.webhooks.receiver import MOST
from datalake_tests.webhooks.conftest import SECRET, TOKEN, Place
from datalake_tests.webhooks.test_receiver import BODY, sign


@pytest.fixture
def address(place: Place) -> Iterator[str]:
    with server.running(place.settings) as url:
        yield url


def post(address: str, body: bytes, path: str = "/dialog_360/C1", **headers: str) -> int:
    parts = urlsplit(address)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)) as connection:
        connection.request("POST", path, body, headers or {"X-360dialog-Signature": sign(body)})
        return connection.getresponse().status


def test_a_webhook_is_kept_and_answered(address: str, place: Place) -> None:
    assert post(address, BODY) == 200
    assert post(address, BODY, Authorization=f"Bearer {TOKEN}") == 200
    assert post(address, b"{}", f"/dialog_360/C1/{TOKEN}", Accept="*/*") == 200
    assert post(address, b"[]", Accept="*/*") == 401
    assert post(address, b"[]", "/nowhere") == 404
    assert place.bodies() == sorted([BODY, b"{}"])


def test_many_at_once_are_all_kept_once(address: str, place: Place) -> None:
    bodies = [b'{"number": %d}' % (number % 150) for number in range(200)]
    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(lambda body: post(address, body), bodies)) == {200}
    assert place.bodies() == sorted(set(bodies))


def test_a_long_body_is_refused_told_or_not(address: str, place: Place) -> None:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(b"POST /dialog_360 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (MOST + 1))
        assert b" 413 " in sock.recv(4096)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(b"POST /dialog_360 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(MOST // 0x10000 + 2):
                sock.sendall(chunk)
        assert b" 413 " in sock.recv(4096)
    assert place.bodies() == []


def test_a_body_that_breaks_off_or_never_ends_is_not_kept(address: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    parts = urlsplit(address)
    head = b"POST /dialog_360 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(head)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(head)
        assert b" 408 " in sock.recv(4096)
    assert post(address, BODY) == 200
    assert place.bodies() == [BODY]


def test_another_name_is_refused(address: str) -> None:
    parts = urlsplit(address)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port)) as connection:
        connection.request("POST", "/dialog_360", BODY, {"Host": "evil.example.com", "X-360dialog-Signature": sign(BODY)})
        assert connection.getresponse().status == 421


def test_what_was_answered_outlives_a_kill(place: Place) -> None:
    environment = {**os.environ, **place.settings.values}
    command = [sys.executable, "-m", "datalake.cli", "webhooks", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"(http://127\.0\.0\.1:\d+)/dialog_360", line)
        assert match, line
        assert SECRET not in line
        answered = []

        def send(number: int) -> None:
            body = b'{"number": %d}' % number
            with contextlib.suppress(OSError, http.client.HTTPException):
                if post(match[1], body) == 200:
                    answered.append(body)

        with ThreadPoolExecutor(8) as pool:
            for number in range(400):
                pool.submit(send, number)
            deadline = time.monotonic() + 30
            while len(answered) < 100 and time.monotonic() < deadline:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        process.wait()
    assert 100 <= len(answered) < 400
    assert set(answered) <= set(place.bodies())
    arrived = {found[1] for key in place.arrivals() if (found := place.inbox.get(key))}
    assert set(answered) <= arrived
