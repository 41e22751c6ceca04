"""Logins: kept before they are used, shared, renewed by one at a time, and never lost to a process that dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from datalake.secret_store import secret_store
from datalake.settings import SettingError, Settings
from datalake.sources.base import AuthenticationFailed
from datalake.sources.http import Http
from datalake.sources.oauth import OAuth
from datalake_tests.sources.scripted import Asked, Reply, serving

SEED = "refresh-canary-0"


@dataclass
class Login:
    """A login server whose refresh tokens are good once; the one before the newest is taken during its grace."""

    lifetime: float = 3600
    grace: bool = True
    rotates: bool = True
    number: int = 0
    slow: float = 0.0
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def serving(self) -> Iterator[Login]:
        with serving(self.answer) as server:
            self.url, self.asked = server.url, server.asked
            yield self

    def answer(self, asked: Asked) -> Reply:
        if asked.path != "/token":
            good = asked.headers.get("authorization") == f"Bearer access-canary-{self.number}"
            return Reply({"data": [1]} if good else {"error": "expired"}, 200 if good else 401)
        form = {name: value[0] for name, value in parse_qs(asked.body.decode()).items()}
        with self.guard:
            if form["grant_type"] == "refresh_token":
                newest, before = f"refresh-canary-{self.number}", f"refresh-canary-{self.number - 1}"
                good = form["refresh_token"] in ((newest, before) if self.grace else (newest,)) or not self.rotates
                if not good:
                    self.refused.append(form["refresh_token"])
                    return Reply({"error": "invalid_grant"}, 400)
            self.number += 1
        time.sleep(self.slow)
        told: dict[str, Any] = {"access_token": f"access-canary-{self.number}", "expires_in": self.lifetime, "scope": "all"}
        if self.rotates:
            told["refresh_token"] = f"refresh-canary-{self.number}"
        return Reply(told)

    @property
    def tokens(self) -> int:
        return sum(asked.path == "/token" for asked in self.asked)


@pytest.fixture
def login() -> Iterator[Login]:
    with Login().serving() as server:
        yield server


def settings(folder: Path, **more: str) -> Settings:
    return Settings.load({"DATALAKE_URL": str(folder / "lake"), "XERO_REFRESH_TOKEN": SEED, **more})


def oauth(folder: Path, url: str, **more: Any) -> OAuth:
    options: dict[str, Any] = {"token_url": f"{url}/token", "client_id": "me", "client_secret": "client-canary"}
    return OAuth(settings(folder), "xero", moved=True, **options | more)


def get(url: str, proof: OAuth) -> bytes:
    http = Http("xero", url, moved=True, auth=proof)
    try:
        return http.get("xero.invoices", "/invoices").body
    finally:
        http.close()


def kept(folder: Path) -> dict[str, Any]:
    text = secret_store(settings(folder)).get("XERO_TOKEN")
    return json.loads(text) if text else {}


def test_a_token_serves_several_processes_and_their_many_threads(tmp_path: Path, login: Login) -> None:
    login.slow = 0.2
    # Each object stands for a process: they share nothing but the store.
    processes = [oauth(tmp_path, login.url) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda proof: get(login.url, proof), processes * 4))
    assert login.tokens == 1


def test_a_token_is_renewed_ahead_of_its_end_and_after_a_401(tmp_path: Path, login: Login) -> None:
    login.lifetime = 0.4
    proof = oauth(tmp_path, login.url)
    get(login.url, proof)
    time.sleep(0.25)
    get(login.url, proof)
    assert login.tokens == 2
    login.lifetime = 3600
    login.number += 1  # all access tokens are void, the refresh token is the one before the newest
    get(login.url, oauth(tmp_path, login.url))
    assert login.tokens == 3
    assert login.refused == []


def test_what_came_is_kept_before_it_is_used(tmp_path: Path, login: Login) -> None:
    (tmp_path / "lake.secrets.json.lock").mkdir()  # nothing can be kept there
    with pytest.raises(OSError, match="directory"):
        get(login.url, oauth(tmp_path, login.url))
    assert [asked.path for asked in login.asked] == ["/token"]


def test_the_token_before_is_tried_when_the_new_one_is_refused(tmp_path: Path, login: Login) -> None:
    get(login.url, oauth(tmp_path, login.url))
    stored = kept(tmp_path)
    secret_store(settings(tmp_path)).put("XERO_TOKEN", json.dumps(stored | {"refresh": "never-heard-of", "renew_at": 0}))
    get(login.url, oauth(tmp_path, login.url))
    assert login.refused == ["never-heard-of"]
    assert kept(tmp_path)["refresh"] == "refresh-canary-2"


def test_a_refused_login_says_what_to_do_and_shows_no_secret(tmp_path: Path, login: Login) -> None:
    login.number, login.grace = 5, False
    with pytest.raises(AuthenticationFailed, match=r"run `datalake connect xero`") as raised:
        get(login.url, oauth(tmp_path, login.url, refusals={"invalid_grant": "used before, or not used for 60 days"}))
    assert "not used for 60 days" in str(raised.value)
    assert "canary" not in str(raised.value)


def test_without_a_login_one_is_told_to_connect(tmp_path: Path, login: Login) -> None:
    proof = OAuth(
        Settings.load({"DATALAKE_URL": str(tmp_path / "lake")}),
        *("xero",),
        token_url=f"{login.url}/token",
        client_id="me",
        client_secret="client-canary",
        moved=True,
    )
    with pytest.raises(SettingError, match="run `datalake connect xero`"):
        get(login.url, proof)


def test_another_seed_in_the_settings_begins_a_new_login(tmp_path: Path, login: Login) -> None:
    get(login.url, oauth(tmp_path, login.url))
    login.number, login.grace = 40, False
    other = OAuth(
        settings(tmp_path, XERO_REFRESH_TOKEN="refresh-canary-40"),
        *("xero",),
        token_url=f"{login.url}/token",
        client_id="me",
        client_secret="client-canary",
        moved=True,
    )
    get(login.url, other)
    assert kept(tmp_path)["refresh"] == "refresh-canary-41"


def test_a_refresh_token_that_does_not_rotate_stays(tmp_path: Path) -> None:
    with Login(lifetime=0.2, rotates=False).serving() as login:
        for _ in range(2):
            get(login.url, oauth(tmp_path, login.url))
            time.sleep(0.15)
        assert kept(tmp_path)["refresh"] == SEED
        assert oauth(tmp_path, login.url).facts == {"scope": "all"}


def test_client_credentials_need_no_refresh_token(tmp_path: Path, login: Login) -> None:
    get(login.url, oauth(tmp_path, login.url, grant="client_credentials", client_proof="body", params={"scope": "read"}))
    form = parse_qs(login.asked[0].body.decode())
    assert form == {
        "grant_type": ["client_credentials"],
        "scope": ["read"],
        "client_id": ["me"],
        "client_secret": ["client-canary"],
    }


def _die_between_answer_and_keeping(folder: Path, url: str) -> None:
    store = type(secret_store(settings(folder)))

    def killed(*_args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    store.put = killed  # type: ignore[method-assign]  # the instant of death
    get(url, oauth(folder, url))


def _die_after_keeping(folder: Path, url: str) -> None:
    store = type(secret_store(settings(folder)))
    put = store.put

    def kept_and_killed(self: Any, name: str, value: str) -> None:
        put(self, name, value)
        os.kill(os.getpid(), signal.SIGKILL)

    store.put = kept_and_killed  # type: ignore[method-assign]  # the instant of death
    get(url, oauth(folder, url))


@pytest.mark.parametrize("die", [_die_between_answer_and_keeping, _die_after_keeping])
def test_killed_at_the_worst_instant_the_next_run_still_gets_in(tmp_path: Path, login: Login, die: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die, args=(tmp_path, login.url))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert login.tokens == 1
    get(login.url, oauth(tmp_path, login.url))  # and no lock is left that would stop it
    assert login.refused == []
