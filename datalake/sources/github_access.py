"""Who asks GitHub and what for: tokens, Apps, their limits, and the organizations they open. Tables live in `github.py`."""

from __future__ import annotations

import datetime as dt
import email.utils
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec

from datalake.model import Source
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Auth, Bearer, RefreshingToken, Request, Token
from datalake.sources.base import AuthenticationFailed, Permanent, QuotaSpent, Skipped, SourceError
from datalake.sources.budget import Budget, Limit, retry_after
from datalake.sources.http import Answer, Http, Verdict
from datalake.sources.paging import Walk
from datalake.sources.progress import Progress
from datalake.sources.records import pick, single, split

VERSION = "2026-03-10"
SECONDARY_LIMIT = Limit(900, 60.0)
"""Points that all calls together may cost a minute at `HOSTED`; a GET costs one. It is in no header. Enterprise Server has no
limits unless its owner sets some, and those are in headers."""
HOSTED = (".github.com", ".ghe.com")
SECONDARY_PAUSE = 60.0
"""Seconds for which nobody calls after a secondary limit that names no time; doubled for each that follows at once. GitHub's
rule: https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately."""
SECONDARY_WAITS = 4
"""Such waits one after another, after which the run gives up: going on can get the token banned."""


@dataclass(frozen=True, slots=True)
class Client:
    """One credential's session, and where it asks by GraphQL."""

    http: Http
    graphql: str


@dataclass(frozen=True, slots=True)
class Owner:
    """An organization, or a person with repositories of their own, and the way to list what it owns."""

    login: str
    organization: bool
    client: Client
    repositories: str
    """Path of the list."""
    records: str = ""
    """Where the repositories sit in the answer."""
    params: tuple[tuple[str, str], ...] | None = None
    """Parameters of the list where they are not the contract's."""

    @property
    def key(self) -> str:
        return self.login

    @property
    def name(self) -> str:
        return self.login


class Access:
    """The credentials of the settings: a personal token, or a GitHub App with an installation for each owner."""

    def __init__(self, settings: Settings, source: Source, progress: Progress) -> None:
        self._base_url, self._moved = settings.base_url(source.name, source.base_url)
        self._wanted = settings.names("GITHUB_ORGANIZATIONS")
        self._secrets = settings.secrets()
        self._waiting: Callable[[float, str], None] = lambda seconds, why: progress.waiting(source.name, seconds, why)
        self.note = progress.note
        self._source = source.name
        self._sessions: list[Http] = []
        self._lock = threading.Lock()
        self._owners: list[Owner] | SourceError | None = None
        self._app: AppKey | None = None
        if settings["GITHUB_APP_ID"]:
            self._app = AppKey(settings["GITHUB_APP_ID"], _pem(settings.require("GITHUB_APP_PRIVATE_KEY")))
            self.first = self._client(self._app)
        elif settings["GITHUB_TOKEN"]:
            self.first = self._client(Bearer(settings["GITHUB_TOKEN"]))
        else:
            raise SettingError(
                "neither GITHUB_TOKEN nor GITHUB_APP_ID is set. Give a personal access token, or the id and the private key "
                "(GITHUB_APP_PRIVATE_KEY) of a GitHub App. Set them in the environment or in .env."
            )

    def sessions(self) -> list[Http]:
        return list(self._sessions)

    def close(self) -> None:
        for session in self.sessions():
            session.close()

    def owners(self, table: str, note: Callable[[str], None]) -> list[Owner]:
        """Whose repositories are read, found once; the same error again where they could not be found.

        `table` is the id of the table that asks first.
        """
        with self._lock:
            if self._owners is None:
                try:
                    self._owners = self._installed(table, note) if self._app else self._seen(table, note)
                except SourceError as error:
                    self._owners = error
            if isinstance(self._owners, SourceError):
                raise self._owners
            return self._owners

    def _seen(self, table: str, note: Callable[[str], None]) -> list[Owner]:
        """Owners that a personal token opens: those asked for, or all organizations of its user, or the user."""
        (user,) = pick(single(self.first.http.get(table, "/user")), "login")
        if self._wanted:
            return [self._named(table, login, str(user)) for login in self._wanted]
        try:
            logins = self._list(table, "/user/orgs")
        except Skipped:
            # A token without read:org: its organizations cannot be told.
            logins = []
        if not logins:
            note(f"{user} is in no organization that the token shows: reading the repositories of {user}")
            return [self._user(str(user), str(user))]
        return [self._organization(str(pick(record, "login")[0])) for record in logins]

    def _named(self, table: str, login: str, user: str) -> Owner:
        answer = self.first.http.get(table, f"/users/{login}", accept=(404,))
        if answer.status == 404:
            raise answer.fault(f"GITHUB_ORGANIZATIONS names '{login}', which does not exist; correct it", Permanent)
        (kind,) = pick(single(answer), "type")
        return self._organization(login) if kind == "Organization" else self._user(login, user)

    def _organization(self, login: str) -> Owner:
        return Owner(login, True, self.first, f"/orgs/{login}/repos")

    def _user(self, login: str, user: str) -> Owner:
        if login.lower() == user.lower():
            own = (("per_page", "100"), ("affiliation", "owner"))
            return Owner(login, False, self.first, "/user/repos", params=own)
        return Owner(login, False, self.first, f"/users/{login}/repos", params=(("per_page", "100"), ("type", "owner")))

    def _installed(self, table: str, note: Callable[[str], None]) -> list[Owner]:
        """Owners on which the App is installed, each with a token of its own."""
        owners = []
        wanted = {login.lower() for login in self._wanted}
        for record in self._list(table, "/app/installations"):
            installation = msgspec.json.decode(record, type=_Installation)
            login = installation.account.login
            if wanted and login.lower() not in wanted:
                continue
            if installation.suspended_at:
                note(f"{login} is left out: the App's installation there is suspended")
                continue
            client = self._client(InstallationToken(self._base_url, installation.id, self._app or Auth()))
            organization = installation.account.type == "Organization"
            params = (("per_page", "100"),)
            owners.append(Owner(login, organization, client, "/installation/repositories", "repositories", params))
        if missing := wanted - {owner.login.lower() for owner in owners}:
            note(f"the App is not installed on {', '.join(sorted(missing))}: nothing is read there")
        if not owners:
            raise AuthenticationFailed(f"{self._source}: the App is installed on no organization that is to be read")
        return owners

    def _list(self, table: str, path: str) -> list[Any]:
        records: list[Any] = []
        walk = Walk()
        answer = self.first.http.get(table, path, {"per_page": 100})
        while True:
            found, next_ = split(answer).records, answer.link("next")
            walk.step(answer, found, next_)
            records += found
            if next_ is None:
                return records
            answer = self.first.http.get(table, next_)

    def _client(self, auth: Auth) -> Client:
        budget = Budget(limits_of(self._base_url), waiting=self._waiting)
        session = Http(
            self._source,
            self._base_url,
            moved=self._moved,
            auth=auth,
            budget=budget,
            secrets=self._secrets,
            headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION},
            classify=Judge(budget),
            note=self.note,
        )
        self._sessions.append(session)
        # Enterprise Server: https://HOST/api/v3 and https://HOST/api/graphql.
        return Client(
            session, f"{self._base_url.removesuffix('/v3') if self._base_url.endswith('/api/v3') else self._base_url}/graphql"
        )


def limits_of(base_url: str) -> list[Limit]:
    """The limits that nothing but their refusals tells of."""
    return [SECONDARY_LIMIT] if str(urlsplit(base_url).hostname).endswith(HOSTED) else []


class _Account(msgspec.Struct):
    login: str
    type: str


class _Installation(msgspec.Struct):
    id: int
    account: _Account
    suspended_at: str | None = None


class AppKey(Auth):
    """Proves the App itself: a token signed for each call, good for nine minutes and dated a minute back."""

    def __init__(self, app: str, key: str) -> None:
        self._app = app
        self._key = key

    def signed(self) -> str:
        present = int(time.time())
        try:
            return jwt.encode({"iat": present - 60, "exp": present + 540, "iss": self._app}, self._key, "RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            kind = type(error).__name__
            raise AuthenticationFailed(f"github: GITHUB_APP_PRIVATE_KEY is no private key in PEM form ({kind})") from None

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        request.headers["Authorization"] = f"Bearer {self.signed()}"
        yield request


class InstallationToken(RefreshingToken):
    """Proves an installation of the App: a token of an hour, renewed at 55 minutes or when it is refused."""

    margin = 300.0

    def __init__(self, base_url: str, installation: int, app: Auth) -> None:
        super().__init__()
        self._url = f"{base_url}/app/installations/{installation}/access_tokens"
        self._app = app

    def token_request(self) -> Request:
        request = Request("POST", self._url)
        return next(self._app.auth_flow(request))

    def read_token(self, answer: Answer) -> Token:
        if answer.status != 201:
            raise answer.fault("the App was given no token for its installation; check its id and key", AuthenticationFailed)
        value, expires = pick(single(answer), "token", "expires_at")
        left = dt.datetime.fromisoformat(expires) - server_time(answer)
        return Token(value, left.total_seconds())


class Judge:
    """The verdict on an answer that speaks of a limit in its own way; None leaves it to the common rules.

    A secondary limit that names no time shuts the budget for all workers of the token.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._limited = 0
        self._open_at = 0.0

    def __call__(self, answer: Answer) -> Verdict | None:
        if answer.status in (403, 429) and b"secondary rate limit" in answer.body.lower():
            if retry_after(answer.headers) is None:
                self._pause(answer)
            return Verdict.LIMITED
        if answer.status == 200:
            self._limited = 0
            if b'"RATE_LIMITED"' in answer.body[:2_000]:
                # GraphQL tells its limit inside an answer that is otherwise in order.
                return Verdict.LIMITED
        return None

    def _pause(self, answer: Answer) -> None:
        """Wait longer with each limit; those of calls that were in flight together count as one. Raises QuotaSpent at last."""
        with self._lock:
            if time.monotonic() < self._open_at:
                return
            if self._limited == SECONDARY_WAITS:
                raise answer.fault(
                    f"GitHub's secondary limit held through {SECONDARY_WAITS} waits; run again later", QuotaSpent
                )
            self._limited += 1
            seconds = SECONDARY_PAUSE * 2 ** (self._limited - 1)
            self._open_at = time.monotonic() + seconds
            self._budget.pause(seconds, "GitHub's secondary limit")


def server_time(answer: Answer) -> dt.datetime:
    """The source's clock when it answered."""
    date = answer.headers.get("Date")
    return email.utils.parsedate_to_datetime(date) if date else dt.datetime.now(dt.UTC)


def _pem(value: str) -> str:
    """The private key: PEM text, with line ends also written as \\n, or the path of the file that holds it."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n")
    try:
        return Path(value).expanduser().read_text()
    except OSError as error:
        raise SettingError(
            f"GITHUB_APP_PRIVATE_KEY is neither a key in PEM form nor a file that can be read ({type(error).__name__})"
        ) from None
