"""Keeps secrets out of messages: known values, Authorization headers, and query parameters that carry keys."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit, urlunsplit

HIDDEN = "***"
_NAMES = (
    r"(?:[\w\-\[\]]*[_\-\[])?(?:api_?key|apikey|key|access_token|refresh_token|id_token|token|secret|password|signature|sig)\]?"
)
_PARAMETER = re.compile(rf"([?&;]|%26)((?!page_token|next_page_token)(?i:{_NAMES}))=[^&#;\s\"']*")
_HEADER = re.compile(r"(?i)\b(authorization\W{1,4})(?:(?:bearer|basic|token|zoho-oauthtoken)\s+)?[^\s,;'\"}]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=\-]{8,}")


_everywhere: set[str] = set()
"""Secrets that this process came across while running: every Redaction hides them."""


def hide(secret: str) -> None:
    """Hide this value from now on in every message of this process. Lines of a PEM key are hidden one by one."""
    _everywhere.update(_parts(secret))


def _parts(secret: str) -> set[str]:
    """The value, its lines, and each as it stands in an address."""
    values = {secret.strip(), *(line.strip() for line in secret.splitlines())}
    values |= {quote(value, safe="") for value in values}
    return {value for value in values if len(value) >= 6 and not value.startswith("-----")}


class Redaction(logging.Filter):
    """Replaces secrets by `***`. As a logging filter it belongs on handlers, where it sees every logger's records."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide this value from now on, such as a token that was just fetched."""
        self._secrets = self._secrets | _parts(secret)

    def __call__(self, text: str) -> str:
        for secret in sorted(self._secrets | _everywhere, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        text = _PARAMETER.sub(rf"\1\2={HIDDEN}", text)
        text = _HEADER.sub(rf"\1{HIDDEN}", text)
        return _BEARER.sub(rf"\1{HIDDEN}", text)

    def url(self, url: str) -> str:
        """The address without user, password and secret parameters."""
        parts = urlsplit(url)
        return self(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
