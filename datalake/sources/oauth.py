"""Logins by OAuth 2: one token a source, kept in the secret store, shared by all processes, renewed by one at a time.

What a refresh brings is kept before it is used, so that a process may die at any instant: the next one finds either the new
refresh token, or the old one, which systems that rotate take for a while longer (their grace period).
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from datalake.redaction import hide
from datalake.secret_store import secret_store
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Auth, Request
from datalake.sources.base import AuthenticationFailed, Transient
from datalake.sources.http import Answer, Http, Patience

MARGIN = 60.0
"""Seconds before its end at which an access token is renewed (of a short-lived one: at half of its life)."""
GRACE = 30 * 60.0
"""How long a replaced refresh token is tried should the new one be refused (Xero's grace period is 30 minutes)."""

Grant = Literal["refresh_token", "client_credentials"]


class Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the store holds of a login. Points in time are epoch seconds."""

    access: str = ""
    renew_at: float = 0.0
    refresh: str = ""
    previous: str = ""
    """The refresh token before this one, good until `previous_until`."""
    previous_until: float = 0.0
    seed: str = ""
    """Fingerprint of the setting that the login began with: another value there begins a new one."""
    facts: dict[str, Any] = {}


class OAuth(Auth):
    """Proof by an access token that is renewed by a refresh token (which may rotate), or by the client's own secret.

    The first refresh token is the setting `<SOURCE>_REFRESH_TOKEN` or was kept by `datalake connect`. `client_proof` says where
    client id and secret go in token calls (header or form), `params` what else goes into the form; `refusals` explains the
    vendor's error codes in words. Token calls go to the host of `token_url` and to no other; only `moved` allows plain http
    and loopback there.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        *,
        token_url: str,
        client_id: str,
        client_secret: str,
        moved: bool,
        client_proof: Literal["basic", "body"] = "basic",
        grant: Grant = "refresh_token",
        params: Mapping[str, str] = {},
        scheme: str = "Bearer",
        refusals: Mapping[str, str] = {},
    ) -> None:
        self._source = source
        self._store = secret_store(settings)
        self._name = f"{source.upper()}_TOKEN"
        self._seed = settings[f"{source.upper()}_REFRESH_TOKEN"] if grant == "refresh_token" else client_id
        self._grant = grant
        self._scheme = scheme
        self._refusals = refusals
        self._form = dict(params)
        self._headers: dict[str, str] = {}
        basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        hide(basic)
        if client_proof == "basic":
            self._headers["Authorization"] = f"Basic {basic}"
        else:
            self._form |= {"client_id": client_id, "client_secret": client_secret}
        hide(client_secret)
        hide(self._seed)
        self._token_url = token_url
        self._moved = moved
        self._lock = threading.Lock()
        self._kept: Kept | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What else the last token answer said (scope, api_domain, …). Renews the token if there is none yet."""
        return self._current(stale="").facts

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        token = self._current(stale="").access
        request.headers["Authorization"] = f"{self._scheme} {token}"
        answer = yield request
        if answer.status == 401:
            token = self._current(stale=token).access
            request.headers["Authorization"] = f"{self._scheme} {token}"
            yield request

    def begin(self, form: Mapping[str, str]) -> dict[str, Any]:
        """A new login: `form` trades an authorization code for tokens, which are kept. Returns the answer's other facts."""
        with self._lock, self._store.lock(self._name):
            self._kept = self._ask(form, Kept(seed=_fingerprint(self._seed)))
            return self._kept.facts

    def _current(self, stale: str) -> Kept:
        """The login with an access token that is good now and is not the `stale` one. One renewal at a time, everywhere."""
        with self._lock:
            kept = self._kept or self._read()
            if not _usable(kept, stale):
                with self._store.lock(self._name):
                    kept = self._read()  # another process may have renewed it meanwhile
                    if not _usable(kept, stale):
                        kept = self._renewed(kept)
            self._kept = kept
            return kept

    def _read(self) -> Kept:
        """The login as kept, or a new one where there is none or the setting names another."""
        text = self._store.get(self._name)
        kept = msgspec.json.decode(text, type=Kept) if text else Kept()
        fingerprint = _fingerprint(self._seed)
        if self._seed and kept.seed != fingerprint:
            kept = Kept(refresh=self._seed if self._grant == "refresh_token" else "", seed=fingerprint)
        for secret in (kept.access, kept.refresh, kept.previous):
            hide(secret)
        return kept

    def _renewed(self, kept: Kept) -> Kept:
        if self._grant == "client_credentials":
            return self._ask({"grant_type": self._grant}, kept)
        if not kept.refresh:
            raise SettingError(f"{self._source} is not connected yet: run `datalake connect {self._source}`")
        try:
            return self._ask({"grant_type": self._grant, "refresh_token": kept.refresh}, kept)
        except AuthenticationFailed:
            if not kept.previous or time.time() > kept.previous_until:
                raise
        return self._ask({"grant_type": self._grant, "refresh_token": kept.previous}, kept)

    def _ask(self, form: Mapping[str, str], kept: Kept) -> Kept:
        """Ask for a token and keep what came, before anybody uses it."""
        for value in (form.get("refresh_token"), form.get("code")):
            hide(value or "")
        asked = time.time()
        place = urlsplit(self._token_url)
        patience = Patience(tries=4, total=60)  # far less than a lock is held for
        http = Http(self._source, f"{place.scheme}://{place.netloc}", moved=self._moved, patience=patience)
        try:
            answer = http.post(
                f"{self._source} login", place.path, form={**self._form, **form}, headers=self._headers, accept=(400, 401, 403)
            )
        finally:
            http.close()
        try:
            told = msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise answer.fault("the login's answer is no JSON object", Transient) from None
        access = told.pop("access_token", None)
        if answer.status != 200 or not isinstance(access, str):
            raise self._refusal(answer, told)
        hide(access)
        lifetime = float(told.pop("expires_in", 3600))
        refresh = told.pop("refresh_token", None) or form.get("refresh_token", "")
        hide(refresh)
        told.pop("id_token", None)
        renewed = Kept(
            access=access,
            renew_at=asked + max(lifetime - MARGIN, lifetime / 2),
            refresh=refresh,
            previous=kept.refresh if refresh != kept.refresh else kept.previous,
            previous_until=asked + GRACE if refresh != kept.refresh else kept.previous_until,
            seed=kept.seed,
            facts=told,
        )
        self._store.put(self._name, msgspec.json.encode(renewed).decode())
        return renewed

    def _refusal(self, answer: Answer, told: dict[str, Any]) -> Exception:
        code = str(told.get("error", ""))
        why = self._refusals.get(code) or str(told.get("error_description") or code or f"status {answer.status}")
        return answer.fault(
            f"the login was refused ({why}); run `datalake connect {self._source}` to log in again", AuthenticationFailed
        )


def _usable(kept: Kept, stale: str) -> bool:
    return bool(kept.access) and kept.access != stale and time.time() < kept.renew_at


def _fingerprint(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:16] if seed else ""
