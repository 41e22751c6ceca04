"""Connecting a source: keys are kept unseen, the browser's answer is checked, and what cannot be read is told."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from datalake import connect, contracts
from datalake.sandbox.base import running
from datalake.secret_store import secret_store
from datalake.settings import SETTINGS, SettingError, Settings
from datalake.sources import CONNECTED
from datalake.sources.base import SourceError


def test_every_source_has_a_login_whose_keys_are_secret_settings() -> None:
    secret = {setting.name for setting in SETTINGS if setting.secret}
    for source in CONNECTED:
        login = connect.LOGINS[source]
        assert login.keys
        assert set(login.keys) <= secret


def test_a_key_is_kept_under_its_settings_name(tmp_path: Path) -> None:
    settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake")})
    connect.keep(settings, "STRIPE_API_KEY", " rk_live_1 \n")
    assert settings.require("STRIPE_API_KEY") == "rk_live_1"
    with pytest.raises(SettingError, match="nothing was given"):
        connect.keep(settings, "STRIPE_API_KEY", "  ")


def test_what_a_key_may_not_read_is_told_after_one_call_a_table(tmp_path: Path) -> None:
    with running("stripe", seed=7, scale=0.3) as server:
        server.control(forbid=["charge"])
        settings = Settings.load({"DATALAKE_URL": str(tmp_path), **server.env})
        source = contracts.load_source("stripe")
        tables = [source.tables[name] for name in ("charges", "customers", "products", "events")]
        told = dict(connect.readable(source, settings, tables))
        assert {table.name for table, reason in told.items() if reason} == {"charges"}
        assert "permission" in told[tables[0]]
        assert len(server.calls()) == len(tables) + 1  # and one that asks who is asking
    assert not list(Path(tmp_path).rglob("*.zst"))


class Person:
    """Opens the login page's address and is sent back with what the login server answers."""

    def __init__(self, *answers: dict[str, str]) -> None:
        self.answers = answers
        self.pages: list[dict[str, str]] = []
        self.statuses: list[int] = []

    def __call__(self, url: str) -> None:
        page = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.pages.append(page)
        threading.Thread(target=self._come_back, args=(page,)).start()

    def _come_back(self, page: dict[str, str]) -> None:
        back = page["redirect_uri"].replace("localhost", "127.0.0.1")
        for answer in self.answers:
            query = "&".join(f"{name}={page.get(value, value)}" for name, value in answer.items())
            try:
                with urllib.request.urlopen(f"{back}?{query}", timeout=5) as reply:
                    self.statuses.append(reply.status)
            except urllib.error.HTTPError as error:
                self.statuses.append(error.code)


@pytest.mark.parametrize("source", ["xero", "conta_azul", "zoho_crm"])
def test_the_browsers_login_ends_with_kept_tokens(tmp_path: Path, source: str) -> None:
    with running(source, seed=7, scale=0.1) as server:
        env = {name: value for name, value in server.env.items() if not name.endswith("_REFRESH_TOKEN")}
        settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake"), **env})
        login = connect.LOGINS[source]
        person = Person({"code": "sandbox-code", "state": "wrong"}, {"code": "sandbox-code", "state": "state"})
        connect.log_in(settings, source, login, port=0, show=person)
        assert person.statuses[0] == 400
        assert "refresh" in (secret_store(settings).get(f"{source.upper()}_TOKEN") or "")
        tables = [table for table in contracts.load_source(source).tables.values() if table.core and table.parent is None]
        told = dict(connect.readable(contracts.load_source(source), settings, tables[:3]))
        assert set(told.values()) == {""}


def test_a_refused_login_keeps_nothing(tmp_path: Path) -> None:
    settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake"), "XERO_CLIENT_ID": "me", "XERO_CLIENT_SECRET": "canary-1"})
    person = Person({"error": "access_denied", "state": "state"})
    with pytest.raises(SourceError, match=r"access_denied; nothing was kept"):
        connect.log_in(settings, "xero", connect.LOGINS["xero"], port=0, show=person)
    assert secret_store(settings).get("XERO_TOKEN") is None
