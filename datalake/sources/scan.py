"""Where values lie in JSON bytes, so that a part can be cut out or dropped while the rest stays byte for byte.

Slower than msgspec and more lenient with strings (a lone surrogate passes), so it serves where msgspec cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

_SPACE = re.compile(r"[ \t\n\r]*")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# Numbers are not computed: only where they end matters.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


class Scan:
    """JSON bytes with positions. Methods raise ValueError (or RecursionError) where the bytes are no JSON."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._text = data.decode("latin-1")  # one character a byte, so positions in the text are positions in the bytes

    def whole(self) -> tuple[int, int]:
        """Start and end of the only value. What follows it may be blank only."""
        start = self._skip(0)
        end = self._end(start)
        if self._skip(end) != len(self._text):
            raise ValueError(f"something follows the JSON at byte {end}")
        return start, end

    def is_object(self, start: int) -> bool:
        return self._text[start] == "{"

    def is_array(self, start: int) -> bool:
        return self._text[start] == "["

    def members(self, start: int) -> Iterator[tuple[str, int, int, int]]:
        """Members of the object at `start`: key (ASCII keys are exact), where the key, the value and the next thing start."""
        at = self._skip(start + 1)
        while self._text[at] != "}":
            if self._text[at] != '"':
                raise ValueError(f"a key was expected at byte {at}")
            key, end = _DECODER.raw_decode(self._text, at)
            colon = self._skip(end)
            if self._text[colon : colon + 1] != ":":
                raise ValueError(f"':' was expected at byte {colon}")
            value = self._skip(colon + 1)
            end = self._end(value)
            yield key, at, value, end
            at = self._next(end, "}")

    def elements(self, start: int) -> Iterator[tuple[int, int]]:
        """Start and end of each element of the array at `start`."""
        at = self._skip(start + 1)
        while self._text[at] != "]":
            end = self._end(at)
            yield at, end
            at = self._next(end, "]")

    def _end(self, start: int) -> int:
        try:
            return _DECODER.raw_decode(self._text, start)[1]
        except StopIteration as stop:
            raise ValueError(f"a value was expected at byte {stop.value}") from None

    def _next(self, end: int, closing: str) -> int:
        """Where the next member or element starts, or its closing bracket."""
        at = self._skip(end)
        found = self._text[at : at + 1]
        if found == closing:
            return at
        if found != ",":
            raise ValueError(f"',' or '{closing}' was expected at byte {at}")
        return self._skip(at + 1)

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at
