"""Keeps one MongoDB-compatible server (SecantusDB, a process of its own) alive until standard input closes, then removes it.

    python -m datalake.sandbox.mongodb_server <folder> <port> [arguments of the server …]

The stand-in starts it and holds its standard input open. However the stand-in ends, killed too, the server ends with it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient, errors

SECONDS_TO_START = 60
SECONDS_TO_STOP = 20
_KEEP = b"keep"
ADMIN = ("sandbox", "sandbox-admin-password")


class Server:
    """The server with its data: restarted with other arguments, the data stays. Its users must log in."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="datalake-mongodb-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, login: bool = True) -> None:
        """Start, or start anew. `login` says whether users must prove who they are."""
        self.stop(keep=True)
        command = [sys.executable, "-m", "datalake.sandbox.mongodb_server", str(self.folder), str(self.port)]
        self._process = subprocess.Popen(
            [*command, *arguments, *(["--auth"] if login else [])], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                with self.client(login=login, serverSelectionTimeoutMS=500) as client:
                    client.admin.command("ping")
                return
            except errors.PyMongoError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the MongoDB server did not start: {error}") from error

    def stop(self, *, keep: bool = False) -> None:
        """End the server; its data goes with it unless it is to be kept."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(_KEEP if keep else b"")
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def client(self, *, login: bool = True, **options: Any) -> MongoClient[dict[str, Any]]:
        """A client that may do everything."""
        user, password = ADMIN if login else (None, None)
        return MongoClient("127.0.0.1", self.port, username=user, password=password, **options)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> None:
    folder, port, *arguments = sys.argv[1:]
    command = [sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", port]
    command += ["--storage-path", folder, "--log-level", "ERROR", "--enable-test-commands", *arguments]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        if sys.stdin.buffer.read() == _KEEP:
            server.terminate()  # it writes down what it has
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(SECONDS_TO_STOP)
            server.kill()
            return
        server.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
