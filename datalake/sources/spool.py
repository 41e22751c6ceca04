"""The road of lines into parts: what a checkpoint covers can be published, what follows it can be thrown away."""

from __future__ import annotations

from datalake.lake.objects import Objects
from datalake.lake.raw import Part, PartWriter
from datalake.model import Table

PART_BYTES = 64 * 1024 * 1024
"""Bytes of lines at which a part is closed."""
HELD_BYTES = 8 * 1024 * 1024
"""Bytes of lines kept in memory while no checkpoint covers them; more goes into a part of its own."""


class Spool:
    """Lines of one extraction. Parts are cut so that none holds both lines before and lines after the last checkpoint."""

    def __init__(self, objects: Objects, table: Table) -> None:
        self._objects = objects
        self._table = table
        self._held: list[tuple[bytes, int]] = []
        self._held_bytes = 0
        self._open: PartWriter | None = None
        self._open_is_covered = False
        self._covered: list[Part] = []
        self._uncovered: list[Part] = []
        self.raw_bytes = 0
        """Bytes of lines covered by a checkpoint and not yet taken."""
        self._raw_bytes_behind = 0

    def add(self, lines: bytes, rows: int) -> None:
        """Take whole lines, newlines included, that hold `rows` records."""
        self._held.append((lines, rows))
        self._held_bytes += len(lines)
        self._raw_bytes_behind += len(lines)
        if self._held_bytes >= HELD_BYTES:
            if self._open_is_covered:
                self._close(self._covered)
            self._write()
            self._open_is_covered = False
            self._close_if_full(self._uncovered)

    def checkpoint(self) -> None:
        """All lines so far may be published."""
        self._write()
        self._open_is_covered = self._open is not None
        self._covered += self._uncovered
        self._uncovered.clear()
        self.raw_bytes += self._raw_bytes_behind
        self._raw_bytes_behind = 0
        self._close_if_full(self._covered)

    def take(self) -> tuple[Part, ...]:
        """Finished parts of all that the last checkpoint covers, once."""
        if self._open_is_covered:
            self._close(self._covered)
        parts = tuple(self._covered)
        self._covered.clear()
        self.raw_bytes = 0
        return parts

    def drop(self) -> None:
        """Throw away what no checkpoint covers."""
        self._held.clear()
        self._held_bytes = self._raw_bytes_behind = 0
        if not self._open_is_covered:
            self._open = None
        for part in self._uncovered:
            self._objects.delete(part.key)
        self._uncovered.clear()

    def _write(self) -> None:
        if self._held and self._open is None:
            self._open = PartWriter(self._objects, self._table)
        for lines, rows in self._held:
            assert self._open is not None
            self._open.write(lines, rows)
        self._held.clear()
        self._held_bytes = 0

    def _close_if_full(self, parts: list[Part]) -> None:
        if self._open is not None and self._open.raw_bytes >= PART_BYTES:
            self._close(parts)

    def _close(self, parts: list[Part]) -> None:
        assert self._open is not None
        parts.append(self._open.close())
        self._open = None
        self._open_is_covered = False
