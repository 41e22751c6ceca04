"""One source's HTTP: session, proof, budget, retries, and the checks that every answer passes.

Reading records out of a body lives in `records.py`; how fast to ask in `budget.py`; a vendor's own rules in its module.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import requests.utils
import urllib3
from urllib3.util import Timeout

from datalake.lake.raw import now as utc_now
from datalake.redaction import Redaction
from datalake.sources.auth import Auth, Request
from datalake.sources.base import AuthenticationFailed, Enough, Permanent, QuotaSpent, Skipped, SourceError, Transient
from datalake.sources.budget import LONGEST_PAUSE, Budget

log = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}
_COUNTED = ("calls", "retries", "limited", "bytes", "waited")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a call is tried. Seconds; `tries` counts the first one."""

    tries: int = 8
    first_wait: float = 0.5
    longest_wait: float = 32.0
    limited_tries: int = 12
    """How often one call may be answered "too many" before the run gives up."""
    connect: float = 10.0
    read: float = 60.0
    """Longest silence inside an answer."""
    total: float = 180.0
    """Longest time for one answer, however it trickles."""
    max_body: int = 256 * 1024 * 1024


class Verdict(Enum):
    """What an answer means for the call."""

    OK = "ok"
    RETRY = "retry"
    LIMITED = "limited"
    """Too many calls: everybody waits, then the call is made again."""
    QUOTA = "quota"
    """The day's quota is spent: the run ends early."""
    REFUSED = "refused"
    """No permission for this table: it is skipped with its reason."""
    UNAUTHENTICATED = "unauthenticated"
    FAILED = "failed"
    """Wrong, and wrong again if asked again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: where it came from and its body as received. `at` is the time just before it was asked for."""

    table_id: str
    asked: str
    """The address as it was asked for, perhaps with secrets: show `url` instead."""
    cursor: str
    at: str
    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes
    redaction: Redaction

    @property
    def url(self) -> str:
        """The address as it may be shown: without secrets."""
        return self.redaction.url(self.asked)

    @property
    def start(self) -> str:
        """The first 200 characters of the body, as they may be shown."""
        return self.redaction(self.body[:1000].decode("utf-8", "replace"))[:200].strip()

    def fault(self, what: str, kind: type[SourceError] = Permanent) -> SourceError:
        """An error that tells what happened and where: source, table, URL, cursor, start of the answer."""
        cursor = f", cursor {self.cursor}" if self.cursor else ""
        return kind(
            self.redaction(f"{self.table_id}: {what} ({self.url}{cursor}). The answer ({self.status}) begins: {self.start!r}")
        )

    def link(self, rel: str) -> str | None:
        """The address that the Link header gives for `rel`."""
        for link in requests.utils.parse_header_links(self.headers.get("Link", "")):
            if link.get("rel") == rel:
                return str(link["url"])
        return None

    def hide(self, secret: str) -> None:
        """Never show this value, such as a token that the answer brought."""
        self.redaction.add(secret)


def judge(answer: Answer) -> Verdict:
    """What a status means where the vendor has no rule of its own."""
    status = answer.status
    if 200 <= status < 300 or status == 304:
        return Verdict.OK
    if status == 429:
        return Verdict.LIMITED
    if status in (408, 425) or status >= 500:
        return Verdict.RETRY
    if status == 401:
        return Verdict.UNAUTHENTICATED
    if status == 403:
        limited = answer.headers.get("x-ratelimit-remaining") == "0" or "Retry-After" in answer.headers
        return Verdict.LIMITED if limited else Verdict.REFUSED
    return Verdict.FAILED


class Http:
    """Calls to one source. Shared by all its tables and threads.

    `moved` says that a setting gave the base URL: only then plain http and addresses of this machine are allowed.
    `classify` gives a vendor's own verdict on an answer, or None to leave it to `judge`.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        moved: bool = False,
        auth: Auth | None = None,
        budget: Budget | None = None,
        secrets: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        classify: Callable[[Answer], Verdict | None] = lambda _answer: None,
        patience: Patience = Patience(),
        note: Callable[[str, str], None] = lambda _table, _text: None,
    ) -> None:
        self.source = source
        self.base_url = _normal(base_url).rstrip("/")
        self.auth = auth or Auth()
        self.budget = budget or Budget()
        self.redaction = Redaction(secrets)
        self.patience = patience
        self._classify = classify
        self._note = note
        self._headers = {"User-Agent": "datalake", "Accept": "application/json", "Accept-Encoding": "gzip", **(headers or {})}
        _check_address(source, self.base_url, moved)
        self._root = _root(self.base_url)
        self._watch = _Watch()
        self._pool = _pool(self.base_url, patience)
        self._whole_address = self._pool.proxy is not None and self._pool.scheme == "http"
        self._pool.ConnectionCls = _watched(self._pool.ConnectionCls, self._watch)
        self._lock = threading.Lock()
        self.most_calls: int | None = None
        """Calls that a table may make in a trial of what can be read; one more raises Enough. None: as many as it takes."""
        self._tallies: defaultdict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_COUNTED, 0))

    def get(
        self,
        table_id: str,
        path_or_url: str,
        params: Any = None,
        *,
        cursor: object = "",
        operation: str = "",
        accept: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
    ) -> Answer:
        """Ask for one thing and return its answer, which is 2xx, 304, or one of the statuses in `accept`.

        `table_id` is the table's id (or the source's name for calls of no table), for messages and counts; `params` go
        into the query (a mapping or pairs; a list stands for several values); `cursor` is shown in messages;
        `operation` is the key under which the budget counts (default: the table's id). Same-host redirects are followed.
        Raises the errors of `base.py`.
        """
        url = self._url(path_or_url, params)
        return self._ask(Request("GET", url, dict(headers or {})), table_id, str(cursor or ""), operation, accept, auth)

    def post(
        self,
        table_id: str,
        path_or_url: str,
        *,
        json: object = None,
        form: Any = None,
        cursor: object = "",
        operation: str = "",
        accept: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
    ) -> Answer:
        """As `get`, for calls that carry a body: `json`, or `form` (fields as in a query). Only for calls that read."""
        request = Request("POST", self._url(path_or_url, None), dict(headers or {}))
        request.headers["Content-Type"] = "application/x-www-form-urlencoded" if form is not None else "application/json"
        request.body = (urlencode(form, doseq=True) if form is not None else _json(json)).encode()
        return self._ask(request, table_id, str(cursor or ""), operation, accept, auth)

    def calls(self, table_id: str) -> dict[str, float]:
        """What the table has cost so far: calls, retries, limited (429s), bytes received, seconds waited."""
        with self._lock:
            tally = self._tallies[table_id]
            return {**tally, "waited": round(tally["waited"], 3)}

    def close(self) -> None:
        self._watch.close()
        self._pool.close()

    def _url(self, path_or_url: str, params: Any) -> str:
        if path_or_url.startswith(("https://", "http://")):
            url = _normal(path_or_url)
        else:
            url = f"{self.base_url}/{path_or_url.lstrip('/')}"
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
        return url

    def _ask(
        self, request: Request, table_id: str, cursor: str, operation: str, accept: tuple[int, ...], auth: Auth | None
    ) -> Answer:
        """Try until there is an answer that is no reason to come again."""
        operation = operation or table_id
        auth = auth or self.auth
        tries = limited = redirects = 0
        if self.most_calls is not None and self.calls(table_id)["calls"] >= self.most_calls:
            raise Enough(f"{table_id}: {self.most_calls} calls were made")
        while True:
            try:
                answer, verdict, pause = self._flow(auth, request, table_id, cursor, operation)
            except _Broken as broken:
                tries += 1
                if tries >= min(self.patience.tries, broken.tries):
                    raise self._broken(broken, request, table_id, cursor, tries) from broken
                self._back_off(table_id, tries, str(broken))
                continue
            # A limit can wear any status, also one that the caller knows what to do with.
            accepted = answer.status in accept and verdict not in (Verdict.LIMITED, Verdict.QUOTA)
            if verdict is Verdict.OK or accepted:
                return answer
            if answer.status in (301, 302, 307, 308) and (target := answer.headers.get("Location")):
                redirects += 1
                if redirects > 5:
                    raise answer.fault("redirected more than 5 times; look at the address")
                if answer.status in (301, 308):
                    self._note(table_id, f"moved for good: {answer.url} is now {self.redaction.url(target)}")
                request = Request(request.method, _normal(urljoin(request.url, target)), dict(request.headers), request.body)
                continue
            if verdict is Verdict.LIMITED:
                limited += 1
                self._count(table_id, limited=1)
                if limited >= self.patience.limited_tries:
                    raise answer.fault(f"answered 'too many calls' {limited} times running; run again later", Transient)
                if pause > LONGEST_PAUSE:
                    raise answer.fault(f"the limit on calls opens again in {pause:,.0f} s only; run again then", QuotaSpent)
                continue
            if verdict is Verdict.RETRY:
                tries += 1
                if tries >= self.patience.tries:
                    raise answer.fault(f"failed {tries} times running; run again later", Transient)
                self._back_off(table_id, tries, f"status {answer.status}")
                continue
            raise self._refusal(answer, verdict)

    def _flow(self, auth: Auth, request: Request, table_id: str, cursor: str, operation: str) -> tuple[Answer, Verdict, float]:
        """Run the proof's flow: each request it yields is made, each answer handed to it."""
        request = Request(request.method, request.url, dict(request.headers), request.body)
        flow: Generator[Request, Answer, None] = auth.auth_flow(request)
        current = next(flow)
        while True:
            answer, verdict, pause = self._exchange(current, table_id, cursor, operation)
            if verdict in (Verdict.RETRY, Verdict.LIMITED):
                flow.close()
                return answer, verdict, pause
            try:
                current = flow.send(answer)
            except StopIteration:
                return answer, verdict, pause

    def _exchange(self, request: Request, table_id: str, cursor: str, operation: str) -> tuple[Answer, Verdict, float]:
        """One call and its whole body, judged; with the seconds that everybody waits now. Raises _Broken: no whole answer."""
        if not request.url.startswith(self._root):
            raise Permanent(
                f"{table_id}: will not go to another host than {self.base_url}: "
                f"{self.redaction.url(request.url)} (cursor {cursor or 'none'})"
            )
        try:
            ticket = self.budget.enter(operation)
        except QuotaSpent as spent:
            raise QuotaSpent(
                f"{table_id}: {spent}; what was read is kept, run again then ({self.redaction.url(request.url)})"
            ) from None
        self._count(table_id, calls=1, waited=ticket.waited)
        at = utc_now()
        answer = None
        verdict = Verdict.RETRY
        try:
            with self._watch.limit(self.patience.total) as overdue:
                try:
                    status, headers, body = self._read(request)
                except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                    if overdue():
                        raise _Broken(f"did not end within {self.patience.total:.0f} s", tries=2) from error
                    if isinstance(error, ValueError) and not isinstance(error, urllib3.exceptions.HTTPError):
                        raise _Broken(f"cannot be asked: {self.redaction(str(error))}", tries=1) from None
                    raise _Broken(self.redaction(_reason(error))) from error
            self._count(table_id, bytes=len(body))
            answer = Answer(table_id, request.url, cursor, at, status, headers, body, self.redaction)
            verdict = self._classify(answer) or judge(answer)
        finally:
            pause = self.budget.leave(ticket, answer.headers if answer else None, limited=verdict is Verdict.LIMITED)
        return answer, verdict, pause

    def _read(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        response = self._pool.urlopen(
            request.method,
            request.url if self._whole_address else request.url[len(self._root) - 1 :],
            body=request.body,
            headers={**self._headers, **request.headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
        )
        try:
            body = self._body(response)
            response.release_conn()
        except BaseException:
            response.close()
            raise
        return response.status, response.headers, body

    def _body(self, response: urllib3.response.BaseHTTPResponse) -> bytes:
        """The whole body in one read: a loop of small reads costs more than all the rest of the call."""
        most = self.patience.max_body
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > most:
            raise _Broken(f"an answer of {int(length):,} bytes is longer than the {most:,} allowed", tries=1)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if length.isdigit() and encoding == "identity":
            return response.read()
        if encoding not in ("gzip", "x-gzip", "identity"):
            raise _Broken(f"the answer is encoded as {encoding}, which was not asked for", tries=1)
        body = response.read(most + 1)
        if len(body) > most:
            raise _Broken(f"the answer did not end after {most:,} bytes", tries=1)
        return body

    def _count(self, table_id: str, **cost: float) -> None:
        with self._lock:
            tally = self._tallies[table_id]
            for name, value in cost.items():
                tally[name] += value

    def _back_off(self, table_id: str, tries: int, why: str) -> None:
        """Wait before another try: exponential, with full jitter, so that many workers do not come back as one."""
        wait = random.uniform(0, min(self.patience.longest_wait, self.patience.first_wait * 2 ** (tries - 1)))  # noqa: S311 - no secret hangs on it
        self._count(table_id, retries=1, waited=wait)
        log.info("%s: %s; again in %.1f s", table_id, why, wait)
        time.sleep(wait)

    def _broken(self, broken: _Broken, request: Request, table_id: str, cursor: str, tries: int) -> SourceError:
        kind = Permanent if broken.tries == 1 else Transient
        place = f"{self.redaction.url(request.url)}{', cursor ' + cursor if cursor else ''}"
        return kind(f"{table_id}: {broken} ({place}); tried {tries} times")

    def _refusal(self, answer: Answer, verdict: Verdict) -> SourceError:
        if verdict is Verdict.QUOTA:
            return answer.fault("the quota is spent; what was read is kept, run again when it opens", QuotaSpent)
        if verdict is Verdict.UNAUTHENTICATED:
            return answer.fault("the key is missing, wrong or expired; check the source's settings", AuthenticationFailed)
        if verdict is Verdict.REFUSED:
            return answer.fault("not allowed to read this table; give the key the permission, or leave the table out", Skipped)
        return answer.fault(f"status {answer.status}")


class _Broken(Exception):
    """No whole answer came. `tries` is how often it is worth asking in all."""

    def __init__(self, what: str, tries: int = 1_000) -> None:
        super().__init__(what)
        self.tries = tries


class _Watch:
    """Ends answers that trickle past their time by shutting their socket: a time-out per read never sees them."""

    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def limit(self, seconds: float) -> _Limited:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    interval = min(1.0, seconds / 4)
                    self._thread = threading.Thread(target=self._run, args=(interval,), name="http-watch", daemon=True)
                    self._thread.start()
        return _Limited(self._running, seconds)

    def connected(self, sock: socket.socket) -> None:
        running = self._running.get(threading.get_ident())
        if running:
            running.sock = sock

    def close(self) -> None:
        self._closed.set()

    def _run(self, interval: float) -> None:
        while not self._closed.wait(interval):
            now = time.monotonic()
            for running in list(self._running.values()):
                if now > running.until and running.sock is not None and not running.overdue:
                    running.overdue = True
                    try:
                        # The plain socket's shutdown: a TLS socket's own would pull the session from under its reader.
                        socket.socket.shutdown(running.sock, socket.SHUT_RDWR)
                    except OSError:
                        log.debug("the socket was closed already")


@dataclass(slots=True)
class _Running:
    until: float
    sock: socket.socket | None = None
    overdue: bool = False


class _Limited:
    """The stretch of one call, for the watch; inside it, tells whether the watch ended the call."""

    __slots__ = ("_all", "_running")

    def __init__(self, running: dict[int, _Running], seconds: float) -> None:
        self._all = running
        self._running = _Running(time.monotonic() + seconds)

    def __enter__(self) -> Callable[[], bool]:
        self._all[threading.get_ident()] = self._running
        return lambda: self._running.overdue

    def __exit__(self, *_: object) -> None:
        del self._all[threading.get_ident()]


def _watched(connection: type[Any], watch: _Watch) -> type[Any]:
    """The pool's connection class, telling the watch which socket a call reads from."""

    class Watched(connection):  # type: ignore[misc]  # the base is http or https, known at run time only
        def getresponse(self) -> Any:
            watch.connected(self.sock)
            return super().getresponse()

    return Watched


def _pool(base_url: str, patience: Patience) -> urllib3.HTTPConnectionPool:
    """One pool of connections to the source, through the machine's proxy and with its certificates as requests finds them."""
    machine = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
    verify = machine["verify"]
    options: dict[str, Any] = {
        "maxsize": 64,
        "timeout": Timeout(connect=patience.connect, read=patience.read),
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH,
    }
    at_home = _on_this_machine(urlsplit(base_url).hostname or "")
    proxy = None if at_home else requests.utils.select_proxy(base_url, machine["proxies"])
    manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    return manager.connection_from_url(base_url)


def _root(url: str) -> str:
    """Scheme, host and port of an address, up to the slash: what every address of the same server begins with."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}/"


def _normal(url: str) -> str:
    """The address without default port, fragment and user, so that `_root` of the same server is its beginning."""
    parts = urlsplit(url)
    return f"{_root(url)}{parts.path.lstrip('/')}{'?' + parts.query if parts.query else ''}"


def _check_address(source: str, base_url: str, moved: bool) -> None:
    parts = urlsplit(base_url)
    scheme, host = parts.scheme, parts.hostname or ""
    if scheme not in ("http", "https") or not host:
        raise ValueError(f"{source}: '{base_url}' is no http address")
    if not moved and (scheme == "http" or _on_this_machine(host)):
        raise ValueError(f"{source}: {base_url} is plain http or on this machine; only {source.upper()}_BASE_URL may say so")


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: BaseException) -> str:
    """The innermost cause in words: urllib3 wraps it several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return f"{type(error).__name__}: {error}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
