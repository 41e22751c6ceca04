"""How calls prove who asks: flows that yield requests and are sent the answers, as in httpx. Secrets are kept elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datalake.sources.http import Answer


@dataclass(slots=True)
class Request:
    """One call as it goes out. `url` is absolute."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Auth:
    """No proof. A subclass yields the request (or others before it) from `auth_flow` and is sent each answer.

    The last request yielded must be the one it was given: its answer is the caller's. Answers that ask to come again
    (5xx, limits) never reach the flow; the flow is then started anew.
    """

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        yield request


class Bearer(Auth):
    """A key that stays the same for the whole run."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        request.headers["Authorization"] = self._header
        yield request


@dataclass(frozen=True, slots=True)
class Token:
    """`lifetime` in seconds from now; None where it does not expire."""

    value: str
    lifetime: float | None = None


class RefreshingToken(Auth):
    """A token that expires: fetched at first use, ahead of its end, and once more when an answer says 401.

    A subclass says how: `token_request` and `read_token`. Of many threads one fetches, the others wait for it.
    """

    scheme = "Bearer"
    margin = 60.0
    """Seconds before its end at which a token is renewed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._until = 0.0

    def token_request(self) -> Request:
        """The call that fetches a token."""
        raise NotImplementedError

    def read_token(self, answer: Answer) -> Token:
        """The token out of the answer. Raise AuthenticationFailed (see `Answer.fault`) where there is none."""
        raise NotImplementedError

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        token = yield from self._current(stale=None)
        request.headers["Authorization"] = f"{self.scheme} {token.value}"
        answer = yield request
        if answer.status == 401:
            token = yield from self._current(stale=token)
            request.headers["Authorization"] = f"{self.scheme} {token.value}"
            yield request

    def _current(self, stale: Token | None) -> Generator[Request, Answer, Token]:
        with self._lock:
            if self._token is None or self._token is stale or time.monotonic() > self._until:
                answer = yield self.token_request()
                self._token = self.read_token(answer)
                answer.hide(self._token.value)
                lifetime = self._token.lifetime
                self._until = float("inf") if lifetime is None else time.monotonic() + max(lifetime - self.margin, lifetime / 2)
            return self._token
