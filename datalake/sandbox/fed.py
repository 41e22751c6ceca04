"""What a stand-in needs beside it while the lake reads it: the receiver of webhooks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from datalake.sandbox.base import Server
from datalake.settings import Settings
from datalake.webhooks.receiver import SOURCES
from datalake.webhooks.server import running


@contextlib.contextmanager
def fed(source: str, server: Server, settings: Settings) -> Iterator[None]:
    """Everything that the stand-in pushes is received into the lake of these settings."""
    if source not in SOURCES:
        yield
        return
    with running(settings) as address:
        server.control(webhook=f"{address}/{source}")
        yield
