"""Connecting a source: keys are kept unseen, the browser's answer is checked, and what cannot be read is told."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from datalake import connect, contracts
from datalake.cli import main
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
        assert {*login.keys, *login.optional} <= secret


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


class Browser:
    """Opens the login page and follows it back, after somebody else has tried to come back with a code of his own."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def __call__(self, url: str) -> None:
        threading.Thread(target=self._open, args=(url,)).start()

    def _open(self, url: str) -> None:
        back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for address in (f"{back}?code=stolen&state=guessed", url):
            try:
                with urllib.request.urlopen(address, timeout=5) as reply:
                    self.statuses.append(reply.status)
            except urllib.error.HTTPError as error:
                self.statuses.append(error.code)


def refusing(url: str) -> None:
    """A person who does not consent: the login page sends the browser back with an error."""
    page = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    back = f"{page['redirect_uri']}?error=access_denied&state={page['state']}"
    threading.Thread(target=lambda: urllib.request.urlopen(back, timeout=5).close()).start()


@pytest.mark.parametrize("source", ["xero", "conta_azul", "zoho_crm"])
def test_the_browsers_login_ends_with_kept_tokens(tmp_path: Path, source: str) -> None:
    with running(source, seed=7, scale=0.1) as server:
        env = {name: value for name, value in server.env.items() if not name.endswith("_REFRESH_TOKEN")}
        settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake"), **env})
        login = connect.LOGINS[source]
        browser = Browser()
        connect.log_in(settings, source, login, port=0, show=browser)
        assert browser.statuses[0] == 400
        assert "refresh" in (secret_store(settings).get(f"{source.upper()}_TOKEN") or "")
        tables = [table for table in contracts.load_source(source).tables.values() if table.core and table.parent is None]
        told = dict(connect.readable(contracts.load_source(source), settings, tables[:3]))
        assert set(told.values()) == {""}


def test_a_refused_login_keeps_nothing(tmp_path: Path) -> None:
    settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake"), "XERO_CLIENT_ID": "me", "XERO_CLIENT_SECRET": "canary-1"})
    with pytest.raises(SourceError, match=r"access_denied; nothing was kept"):
        connect.log_in(settings, "xero", connect.LOGINS["xero"], port=0, show=refusing)
    assert secret_store(settings).get("XERO_TOKEN") is None


def test_the_command_asks_unseen_and_tells_what_may_be_read(tmp_path: Path) -> None:
    with running("stripe", seed=7, scale=0.1) as server:
        server.control(forbid=["charge"])
        env = {"STRIPE_BASE_URL": server.url, "DATALAKE_URL": str(tmp_path / "lake"), "STRIPE_API_KEY": ""}
        done = CliRunner().invoke(main, ["connect", "stripe"], input="rk_live_sandbox\n", env=env)
    assert done.exit_code == 0, done.output
    assert "rk_live_sandbox" not in done.output
    assert "yes  stripe.customers" in done.output
    assert "no   stripe.charges: " in done.output
    assert secret_store(Settings.load(env)).get("STRIPE_API_KEY") == "rk_live_sandbox"
