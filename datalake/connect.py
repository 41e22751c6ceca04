"""How a person connects a source: what to make there, which keys to give, the browser's login, and what may then be read.

Keys and tokens go into the secret store; how a token is renewed later lives in `sources/oauth.py`.
"""

from __future__ import annotations

import html
import importlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

from datalake.model import Source, Table
from datalake.redaction import hide
from datalake.secret_store import secret_store
from datalake.settings import SettingError, Settings
from datalake.sources import open_run
from datalake.sources.base import Ask, Enough, SourceError, SourceRun
from datalake.sources.engine import HttpRun
from datalake.sources.oauth import OAuth
from datalake.sources.progress import LogProgress

PORT = 8765
"""Where the browser comes back to on loopback; the address must be registered at the system as a redirect URI."""
LOGIN_SECONDS = 300.0
"""How long one waits for a person to log in."""


@dataclass(frozen=True)
class Login:
    """How a person gets into a system. `keys` are the settings asked for; `authorize` is the page of an OAuth login."""

    where: str
    """Where keys are made, and what to tick there."""
    keys: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Further keys, which not everybody has: an empty answer leaves one out."""
    authorize: Callable[[Settings], str] | None = None
    scope: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    """What else the login page is told."""


LOGINS: dict[str, Login] = {
    "stripe": Login(
        "https://dashboard.stripe.com/apikeys: create a restricted key with Read on what you want to load, and on Events.",
        ("STRIPE_API_KEY",),
    ),
    "github": Login(
        "https://github.com/settings/tokens: a token with read access to the repositories (or set the GITHUB_APP_… settings).",
        ("GITHUB_TOKEN",),
    ),
    "xero": Login(
        "https://developer.xero.com/app/manage: a web app, with the redirect URI shown below. For a custom connection leave "
        "the browser out (--no-login).",
        ("XERO_CLIENT_ID", "XERO_CLIENT_SECRET"),
        (),
        lambda settings: f"{_moved(settings, 'xero', 'https://login.xero.com')}/identity/connect/authorize",
        "offline_access accounting.settings.read accounting.contacts.read accounting.attachments.read accounting.budgets.read "
        "accounting.invoices.read accounting.payments.read accounting.banktransactions.read accounting.manualjournals.read "
        "accounting.reports.aged.read accounting.reports.balancesheet.read accounting.reports.profitandloss.read "
        "accounting.reports.trialbalance.read accounting.reports.banksummary.read assets.read files.read projects.read",
    ),
    "conta_azul": Login(
        "https://developers.contaazul.com: an application, with the redirect URI shown below. Log in as an administrator.",
        ("CONTA_AZUL_CLIENT_ID", "CONTA_AZUL_CLIENT_SECRET"),
        (),
        lambda settings: f"{_moved(settings, 'conta_azul', 'https://auth.contaazul.com')}/oauth2/authorize",
        "openid profile aws.cognito.signin.user.admin",
    ),
    "zoho_crm": Login(
        "https://api-console.zoho.com (of your data centre): a server-based application, with the redirect URI shown below. "
        "Log in as an administrator; set ZOHO_CRM_DATA_CENTER first.",
        ("ZOHO_CRM_CLIENT_ID", "ZOHO_CRM_CLIENT_SECRET"),
        (),
        lambda settings: f"{_zoho_accounts(settings)}/oauth/v2/auth",
        "ZohoCRM.modules.READ,ZohoCRM.settings.READ,ZohoCRM.users.READ,ZohoCRM.org.READ,ZohoCRM.bulk.READ,ZohoCRM.coql.READ",
        {"access_type": "offline", "prompt": "consent"},
    ),
    "clickup": Login(
        "https://app.clickup.com/settings/apps: the personal API token (pk_…) of an owner or admin.",
        ("CLICKUP_TOKEN",),
        ("CLICKUP_WEBHOOK_SECRET", "CLICKUP_WEBHOOK_TOKEN"),
    ),
    "dialog_360": Login(
        "https://hub.360dialog.com: the API key of each number, as id=key, comma-separated; for partners also the hub's key "
        "(set DIALOG_360_PARTNER_ID).",
        ("DIALOG_360_CHANNEL_KEYS",),
        ("DIALOG_360_API_KEY", "DIALOG_360_META_TOKEN", "DIALOG_360_WEBHOOK_SECRET", "DIALOG_360_WEBHOOK_TOKEN"),
    ),
    "mongodb": Login("The address of a user with the role `read` (and `clusterMonitor` for the oplog).", ("MONGODB_URL",)),
}


def redirect_uri(port: int) -> str:
    return f"http://localhost:{port}/callback"


def keep(settings: Settings, name: str, value: str) -> None:
    """Keep a key that a person typed under its setting's name. Raises SettingError for an empty one."""
    value = value.strip()
    if not value:
        raise SettingError(f"{name}: nothing was given, nothing was kept")
    hide(value)
    secret_store(settings).put(name, value)


def login_page(settings: Settings, login: Login, state: str, port: int) -> str:
    """The address that the browser opens."""
    assert login.authorize is not None
    query = {
        "response_type": "code",
        "client_id": settings.require(login.keys[0]),
        "redirect_uri": redirect_uri(port),
        "scope": login.scope,
        "state": state,
        **login.params,
    }
    return f"{login.authorize(settings)}?{urlencode(query)}"


def log_in(settings: Settings, source: str, login: Login, *, port: int, show: Callable[[str], None]) -> None:
    """Send the person's browser to the login (`show` is given its address), take the code that comes back, keep the tokens.

    Raises SourceError where the login was refused, TimeoutError where nobody logged in within LOGIN_SECONDS.
    """
    state = secrets.token_urlsafe(24)
    with _Callback(port, state) as callback:
        show(login_page(settings, login, state, callback.port))
        code = callback.wait(LOGIN_SECONDS)
        module = importlib.import_module(f"datalake.sources.{source}")
        proof = cast("OAuth", module.oauth(settings))
        proof.begin({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri(callback.port)})


def readable(source: Source, settings: Settings, tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """Each table with what stands in the way of reading it, empty where nothing does. One call a table, nothing is kept.

    Tables that follow another one are not asked for by themselves. Raises the errors that no table can be read with.
    """
    run = open_run(source, settings, LogProgress())
    try:
        if isinstance(run, HttpRun):
            run.http.most_calls = 1
        for table in tables:
            if table.parent is None:
                yield table, _trial(run, table)
    finally:
        run.close()


def _trial(run: SourceRun, table: Table) -> str:
    try:
        next(iter(run.rows(Ask(table, {}, None, False, None, lambda _text: None))), None)
    except Enough:
        return ""
    except SourceError as error:
        return str(error)
    return ""


def _moved(settings: Settings, source: str, default: str) -> str:
    """The login's address; a stand-in serves it beside its API."""
    base, moved = settings.base_url(source, default)
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}" if moved else default


def _zoho_accounts(settings: Settings) -> str:
    from datalake.sources.zoho_crm import accounts_url

    return accounts_url(settings)


class _Callback:
    """A server on loopback that takes one redirect of the browser: the one that brings back our `state`."""

    def __init__(self, port: int, state: str) -> None:
        self._state = state
        self._done = threading.Event()
        self._code = ""
        self._error = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = outer._take(self.path)
                page = f"<!doctype html><title>Data lake</title><p>{html.escape(text)}</p>".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """The address holds the code: it is written nowhere."""

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> _Callback:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> str:
        if not self._done.wait(seconds):
            raise TimeoutError(f"nobody logged in within {seconds / 60:.0f} minutes; run it again")
        if self._error:
            raise SourceError(f"the login was refused: {self._error}; nothing was kept")
        return self._code

    def _take(self, path: str) -> tuple[int, str]:
        parts = urlsplit(path)
        told = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != "/callback":
            return 404, "Nothing is here."
        if not secrets.compare_digest(told.get("state", "").encode(), self._state.encode()):
            return 400, "This answer belongs to another login; begin again from the command line."
        self._code, self._error = told.get("code", ""), told.get("error", "")
        hide(self._code)
        if not self._code and not self._error:
            self._error = "no code came back"
        self._done.set()
        return 200, "Connected: you may close this window." if self._code else f"Not connected: {self._error}"
