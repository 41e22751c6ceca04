"""What a run tells people while it works: the protocol, and its form as log lines. Progress bars live in the command line."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Called from many threads. Numbers are totals of the table in this run."""

    def reading(self, table_id: str, *, rows: int, pages: int, calls: int) -> None:
        """A page of the table was taken."""
        ...

    def waiting(self, source: str, seconds: float, why: str) -> None:
        """All calls of the source wait for `seconds`."""
        ...

    def note(self, table_id: str, text: str) -> None:
        """Something worth a line: a repository skipped, a fall-back to a full read."""
        ...


class LogProgress:
    """Progress as log lines, one a table at most every `every` seconds."""

    def __init__(self, logger: logging.Logger = log, every: float = 5.0) -> None:
        self._log = logger
        self._every = every
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}

    def reading(self, table_id: str, *, rows: int, pages: int, calls: int) -> None:
        if self._due(table_id, at_first=False):
            self._log.info("%s: %s rows, %s pages, %s calls so far", table_id, f"{rows:,}", f"{pages:,}", f"{calls:,}")

    def waiting(self, source: str, seconds: float, why: str) -> None:
        if seconds >= 1 and self._due(f"{source} waits", at_first=True):
            self._log.info("%s: waiting %.0f s: %s", source, seconds, why)

    def note(self, table_id: str, text: str) -> None:
        self._log.warning("%s: %s", table_id, text)

    def _due(self, key: str, *, at_first: bool) -> bool:
        now = time.monotonic()
        with self._lock:
            told = self._told.setdefault(key, now - self._every if at_first else now)
            if now - told < self._every:
                return False
            self._told[key] = now
            return True
