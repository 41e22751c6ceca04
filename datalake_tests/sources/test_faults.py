"""Every fault a server can show, over real HTTP, through extraction to the raw log: a clear outcome and no half data."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from datalake.sources.auth import RefreshingToken, Request, Token
from datalake.sources.base import AuthenticationFailed, Permanent, QuotaSpent, Skipped, SourceError, Transient
from datalake.sources.http import Answer
from datalake_tests.sources.scripted import (
    ALL_IDS,
    KEY,
    PAGE,
    QUICK,
    Asked,
    Reply,
    extracted,
    make_table,
    page,
    page_number,
    raw_ids,
    reading,
    serving,
)

FAULTY = 5
"""The page with the fault."""


def at_fault(fault: Callable[[Asked, int], Reply | None]) -> Callable[[Asked], Reply]:
    """A script that is good but for one page; `fault` gets the how-manieth time it is asked and may let it pass (None)."""
    times = itertools.count(1)

    def script(asked: Asked) -> Reply:
        reply = fault(asked, next(times)) if page_number(asked) == FAULTY else None
        return reply or Reply(page(asked))

    return script


def body_of(asked: Asked) -> bytes:
    return json.dumps(page(asked)).encode()


ENDLESS = itertools.repeat(b" " * 1024)

STOPS: dict[str, tuple[Callable[[Asked, int], Reply | None], type[SourceError], str]] = {
    "wrong key": (
        lambda _asked, _n: Reply({"error": {"message": "Invalid API Key provided: sk_test_*4711"}}, 401),
        AuthenticationFailed,
        "missing, wrong or expired",
    ),
    "no permission": (
        lambda _asked, _n: Reply({"error": {"message": "needs rak_charge_read"}}, 403),
        Skipped,
        "not allowed to read this table",
    ),
    "bad parameter": (lambda _asked, _n: Reply({"error": {"message": "no such charge"}}, 400), Permanent, "status 400"),
    "malformed page": (lambda _asked, _n: Reply(b'{"data":[{"id":1},{"id":}],"has_more":true}'), Permanent, "no whole JSON"),
    "page cut in half": (lambda asked, _n: Reply(body_of(asked)[:300]), Permanent, "no whole JSON"),
    "empty body": (lambda _asked, _n: Reply(b""), Permanent, "empty"),
    "HTML": (lambda _asked, _n: Reply(b"<!doctype html><title>Log in</title>"), Permanent, "web page"),
    "error with 200": (lambda _asked, _n: Reply({"error": {"message": "internal"}}), Permanent, "is an error although"),
    "no records": (lambda _asked, _n: Reply({"items": [{"id": 1}], "has_more": False}), Permanent, "no list at 'data'"),
    "records are null": (lambda _asked, _n: Reply({"data": None, "has_more": False}), Permanent, "no list at 'data'"),
    "bytes but no rows": (
        lambda _asked, _n: Reply({"data": [], "has_more": False, "rows": ["x" * 100] * 100}),
        Permanent,
        "no record in them",
    ),
    "truncated body": (lambda asked, _n: Reply(body_of(asked), length=len(body_of(asked)) + 1000), Transient, "IncompleteRead"),
    "closed in mid-body": (
        lambda asked, _n: Reply(body_of(asked)[:200], length=len(body_of(asked)), reset=True),
        Transient,
        "",
    ),
    "body that never ends": (lambda _asked, _n: Reply(length=-1, pieces=ENDLESS), Permanent, "did not end after"),
    "body that says it is huge": (lambda _asked, _n: Reply(b"{", length=10**10), Permanent, "longer than"),
    "body that trickles": (
        lambda _asked, _n: Reply(b"{", length=10_000, pieces=itertools.repeat(b" "), pause=0.1),
        Transient,
        "did not end within",
    ),
    "silence": (lambda _asked, _n: Reply(b"{", length=10_000, pieces=iter([b" "]), pause=60), Transient, "timed out"),
    "repeated page": (
        lambda asked, _n: Reply({**page(replace(asked, query={"after": "ch_0029"})), "has_more": True}),
        Permanent,
        "came again",
    ),
    "same last row": (
        lambda asked, _n: Reply({"data": [{"id": "ch_0049", "new": True}], "has_more": True}),
        Permanent,
        "read before",
    ),
    "5xx storm": (lambda _asked, _n: Reply(b"<html>bad gateway</html>", 502), Transient, "failed 4 times"),
    "429 storm": (lambda _asked, _n: Reply({"error": {"code": "rate_limit"}}, 429), Transient, "too many calls"),
    "far away limit": (lambda _asked, _n: Reply({"error": "day"}, 429, {"Retry-After": "40000"}), QuotaSpent, "40,000 s"),
}


@pytest.mark.parametrize("name", STOPS)
def test_stops_loudly_and_keeps_what_was_whole(name: str, tmp_path: Path) -> None:
    fault, kind, words = STOPS[name]
    patience = replace(QUICK, max_body=2**20, limited_tries=3, read=0.5, total=0.8)
    with serving(at_fault(fault)) as server:
        with reading(server.url, patience=patience) as run, pytest.raises(kind) as caught:
            extracted(run, tmp_path)
        assert type(caught.value) is kind
        message = str(caught.value)
        assert words in message
        assert "sample.charges" in message
        assert f"{server.url}/v1/charges?limit=10&after=ch_0049" in message
        assert "cursor ch_0049" in message
        assert KEY not in message
        if "The answer" in message:
            assert len(message.split("begins: ")[1]) < 250
        assert raw_ids(tmp_path) == ALL_IDS[: FAULTY * PAGE]

        server.script = lambda asked: Reply(page(asked))
        with reading(server.url) as run:
            extracted(run, tmp_path)
        assert raw_ids(tmp_path) == ALL_IDS


def test_message_shows_the_first_200_characters_of_the_answer(tmp_path: Path) -> None:
    start = "x" * 180 + KEY
    script = at_fault(lambda _asked, _n: Reply(f"{start}{'y' * 400}".encode()))
    with serving(script) as server, reading(server.url) as run, pytest.raises(Permanent) as caught:
        extracted(run, tmp_path)
    assert "x" * 180 + "***" + "y" * 17 + "'" in str(caught.value)


PASSES: dict[str, Callable[[Asked, int], Reply | None]] = {
    "truncated once": lambda asked, n: Reply(body_of(asked), length=len(body_of(asked)) + 9) if n == 1 else None,
    "closed in mid-body twice": lambda asked, n: Reply(body_of(asked)[:99], length=999, reset=True) if n <= 2 else None,
    "two 500s": lambda _asked, n: Reply(b"oops", 500) if n <= 2 else None,
    "three 503s": lambda _asked, n: Reply(b"oops", 503) if n <= 3 else None,
    "429 without a word": lambda _asked, n: Reply(b"{}", 429) if n <= 2 else None,
    "429 with seconds": lambda _asked, n: Reply(b"{}", 429, {"Retry-After": "0.2"}) if n == 1 else None,
    "silence once": lambda _asked, n: Reply(b"{", length=999, pieces=iter([b" "]), pause=60) if n == 1 else None,
    "lone surrogate": lambda asked, _n: Reply(body_of(asked).replace(b'"note": null', b'"note": "\\ud800"')),
    "laid out on many lines": lambda asked, _n: Reply(json.dumps(page(asked), indent=2).replace("\n", "\r\n").encode()),
    "redirect on the same host": lambda asked, _n: (
        Reply(b"", 301, {"Location": "/v2/charges?after=ch_0049"}) if asked.path == "/v1/charges" else None
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_waits_or_asks_again_and_loses_nothing(name: str, tmp_path: Path) -> None:
    with serving(at_fault(PASSES[name])) as server, reading(server.url, patience=replace(QUICK, read=0.5)) as run:
        extraction = extracted(run, tmp_path)
        assert raw_ids(tmp_path) == ALL_IDS
        again = len(server.asked) - 10
        assert extraction.calls["calls"] == len(server.asked)
        assert extraction.calls["retries"] + extraction.calls["limited"] == (0 if "redirect" in name else again)


def test_a_429_makes_the_call_wait_as_long_as_it_says(tmp_path: Path) -> None:
    times = []

    def script(asked: Asked) -> Reply:
        times.append(time.monotonic())
        return Reply(b"{}", 429, {"Retry-After": "0.4"}) if len(times) == 1 else Reply(page(asked, pages=1))

    with serving(script) as server, reading(server.url) as run:
        extraction = extracted(run, tmp_path)
    assert times[1] - times[0] >= 0.4
    assert extraction.calls["waited"] >= 0.39


def linked(next_link: str) -> Callable[[Asked], Reply]:
    def script(asked: Asked) -> Reply:
        number = int(asked.query.get("page", "0"))
        return Reply([{"id": f"{number}"}], headers={"Link": f'<{next_link.format(number + 1)}>; rel="next"'})

    return script


def test_next_link_to_itself_ends(tmp_path: Path) -> None:
    table = make_table("linked_pages", records="")
    with serving(linked("")) as server:
        server.script = linked(f"{server.url}/v1/issues")
        with reading(server.url) as run, pytest.raises(Permanent, match="read before"):
            extracted(run, tmp_path, table)
        assert len(server.asked) <= 2


def test_next_link_in_a_circle_ends(tmp_path: Path) -> None:
    table = make_table("linked_pages", records="")

    def script(asked: Asked) -> Reply:
        number = int(asked.query.get("page", "0"))
        link = f'<{server.url}/v1/issues?page={(number + 1) % 3}>; rel="next"'
        return Reply([{"id": len(server.asked)}], headers={"Link": link})

    with serving(script) as server:
        with reading(server.url) as run, pytest.raises(Permanent, match="read before"):
            extracted(run, tmp_path, table)
        assert len(server.asked) <= 5


@pytest.mark.parametrize("how", ["next link", "redirect", "redirect to another port", "user in the address"])
def test_the_key_never_goes_to_another_host(how: str, tmp_path: Path) -> None:
    table = make_table("linked_pages", records="")
    with serving(lambda _asked: Reply([])) as other, serving(lambda _asked: Reply([])) as server:
        there = {
            "next link": other.url.replace("127.0.0.1", "localhost"),
            "redirect": other.url.replace("127.0.0.1", "localhost"),
            "redirect to another port": other.url,
            "user in the address": other.url.replace("http://", f"http://{server.url.removeprefix('http://')}@"),
        }[how]
        good = {"Link": f'<{there}/steal>; rel="next"'}
        redirect = Reply(b"", 302, {"Location": f"{there}/steal"})
        server.script = lambda _asked: redirect if how.startswith("redirect") else Reply([{"id": 1}], headers=good)
        with reading(server.url) as run, pytest.raises(Permanent, match="another host"):
            extracted(run, tmp_path, table)
        assert other.asked == []


def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(b"", 302, {"Location": asked.path})) as server:
        with reading(server.url) as run, pytest.raises(Permanent, match="redirected more than 5 times"):
            extracted(run, tmp_path)
        assert len(server.asked) == 6


class Expiring(RefreshingToken):
    """Fetches tokens from the script's own /token."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def token_request(self) -> Request:
        return Request("POST", f"{self._url}/token", {"X-Proof": KEY})

    def read_token(self, answer: Answer) -> Token:
        if answer.status != 200:
            raise answer.fault("no token", AuthenticationFailed)
        return Token(json.loads(answer.body)["token"])


def tokens(lives: int) -> Callable[[Asked], Reply]:
    """A script whose tokens are good for `lives` calls."""
    issued = itertools.count(1)
    left: dict[str, int] = {}

    def script(asked: Asked) -> Reply:
        if asked.path == "/token":
            token = f"token_canary_{next(issued)}"
            left[token] = lives
            return Reply({"token": token})
        token = asked.headers["authorization"].removeprefix("Bearer ")
        if left.get(token, 0) <= 0:
            return Reply({"message": f"expired: {token}"}, 401)
        left[token] -= 1
        return Reply(page(asked))

    return script


def test_token_expiry_in_mid_run_is_renewed(tmp_path: Path) -> None:
    with serving(tokens(lives=4)) as server, reading(server.url, auth=Expiring(server.url)) as run:
        extracted(run, tmp_path)
        assert raw_ids(tmp_path) == ALL_IDS
        assert sum(asked.path == "/token" for asked in server.asked) == 3
        assert all("x-proof" not in asked.headers for asked in server.asked if asked.path != "/token")


def test_a_token_that_is_never_good_stops_after_one_renewal(tmp_path: Path) -> None:
    with serving(tokens(lives=0)) as server:
        with reading(server.url, auth=Expiring(server.url)) as run, pytest.raises(AuthenticationFailed) as caught:
            extracted(run, tmp_path)
        assert [asked.path for asked in server.asked] == ["/token", "/v1/charges", "/token", "/v1/charges"]
        assert "token_canary" not in str(caught.value)


def test_many_threads_renew_a_token_once(tmp_path: Path) -> None:
    gate = threading.Barrier(8)

    def script(asked: Asked) -> Reply:
        if asked.path == "/token":
            time.sleep(0.1)
            return Reply({"token": f"token_{sum(a.path == '/token' for a in server.asked)}"})
        if asked.headers["authorization"] == "Bearer token_1":
            gate.wait(5)  # all eight hold the old token when it is refused
            return Reply({}, 401)
        return Reply({"ok": True})

    with serving(script) as server, reading(server.url, auth=Expiring(server.url)) as run:
        answers = list(run.workers.each(range(8), lambda n: run.http.get("sample.x", f"/{n}")))
        assert [answer.status for answer in answers] == [200] * 8
        assert sum(asked.path == "/token" for asked in server.asked) == 2


def test_a_failing_token_call_is_tried_again(tmp_path: Path) -> None:
    good = tokens(lives=100)
    times = itertools.count(1)

    def script(asked: Asked) -> Reply:
        return Reply(b"", 503) if asked.path == "/token" and next(times) <= 2 else good(asked)

    with serving(script) as server, reading(server.url, auth=Expiring(server.url)) as run:
        extracted(run, tmp_path)
    assert raw_ids(tmp_path) == ALL_IDS


def test_a_server_that_is_not_there_is_transient(tmp_path: Path) -> None:
    with serving(lambda _asked: Reply()) as server:
        url = server.url
    with reading(url) as run, pytest.raises(Transient, match=r"sample\.charges: ConnectionRefusedError.*tried 4 times"):
        extracted(run, tmp_path)


def test_empty_pages_for_ever_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalake.sources.paging.EMPTY_PAGES", 20)
    table = make_table("linked_pages", records="")
    numbers = itertools.count(1)

    def script(_asked: Asked) -> Reply:
        return Reply([], headers={"Link": f'<{server.url}/v1/issues?page={next(numbers)}>; rel="next"'})

    with serving(script) as server, reading(server.url) as run, pytest.raises(Permanent, match="20 empty pages"):
        extracted(run, tmp_path, table)
