"""The client's own rules: addresses, bodies, verdicts, redaction. What it does with faults is in test_faults."""

from __future__ import annotations

import datetime as dt
import gzip
import ipaddress
import itertools
import json
import logging
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from datalake.redaction import Redaction
from datalake.sources.auth import Auth, Bearer
from datalake.sources.base import Permanent, Skipped, Transient
from datalake.sources.budget import retry_after
from datalake.sources.http import Answer, Http, Verdict
from datalake_tests.sources.scripted import KEY, QUICK, Asked, Reply, reading, serving


@pytest.mark.parametrize("url", ["http://api.example.com", "https://127.0.0.1:8443", "https://localhost", "https://[::1]:80"])
def test_plain_http_and_this_machine_need_a_setting(url: str) -> None:
    with pytest.raises(ValueError, match="only SAMPLE_BASE_URL may say so"):
        Http("sample", url)
    Http("sample", url, moved=True).close()


@pytest.mark.parametrize("url", ["ftp://example.com", "api.example.com", "", "file:///etc/passwd"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="no http address"):
        Http("sample", url, moved=True)


def test_paths_parameters_and_base_paths() -> None:
    with serving(lambda _asked: Reply(b"[]")) as server:
        with reading(f"{server.url}/api/v3/", auth=Auth()) as run:
            run.http.get("sample.x", "/v1/x", {"created[gte]": 5, "types[]": ["a", "b"]})
            run.http.get("sample.x", "v1/x?per_page=2", [("page", 3)])
            run.http.get("sample.x", f"{server.url}/other?x=http://elsewhere/")
            run.http.get("sample.x", "/odd?next=https://elsewhere/")
        assert [(asked.path, asked.query) for asked in server.asked] == [
            ("/api/v3/v1/x", {"created[gte]": "5", "types[]": "b"}),
            ("/api/v3/v1/x", {"per_page": "2", "page": "3"}),
            ("/other", {"x": "http://elsewhere/"}),
            ("/api/v3/odd", {"next": "https://elsewhere/"}),
        ]
        assert "authorization" not in server.asked[0].headers


def test_an_address_may_name_its_default_port_and_case() -> None:
    http = Http("sample", "https://API.example.com:443/")
    assert http.base_url == "https://api.example.com"
    http.close()


def test_post_carries_json_or_a_form() -> None:
    with serving(lambda asked: Reply(asked.body)) as server, reading(server.url) as run:
        assert run.http.post("sample.x", "/graphql", json={"query": "{a}"}).body == b'{"query":"{a}"}'
        assert run.http.post("sample.x", "/form", form={"a": [1, 2]}).body == b"a=1&a=2"
        assert [asked.method for asked in server.asked] == ["POST", "POST"]
        assert server.asked[0].headers["content-type"] == "application/json"
        assert server.asked[1].headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("chunked", [False, True])
def test_gzip_is_undone(chunked: bool) -> None:
    body = json.dumps([{"id": n} for n in range(1000)]).encode()
    packed = gzip.compress(body)

    def script(_asked: Asked) -> Reply:
        headers = {"Content-Encoding": "gzip"}
        if not chunked:
            return Reply(packed, headers=headers)
        pieces = [b"%x\r\n%s\r\n" % (len(packed), packed), b"0\r\n\r\n"]
        return Reply(b"", headers={**headers, "Transfer-Encoding": "chunked"}, length=-1, pieces=iter(pieces))

    with serving(script) as server, reading(server.url) as run:
        assert run.http.get("sample.x", "/").body == body
        assert server.asked[0].headers["accept-encoding"] == "gzip"


def test_a_gzip_bomb_is_not_unpacked() -> None:
    packed = gzip.compress(b" " * 50_000_000)
    patience = type(QUICK)(tries=2, first_wait=0.01, max_body=1_000_000)
    bomb = Reply(packed, headers={"Content-Encoding": "gzip"})
    with (
        serving(lambda _asked: bomb) as server,
        reading(server.url, patience=patience) as run,
        pytest.raises(Permanent, match="did not end after 1,000,000"),
    ):
        run.http.get("sample.x", "/")


def test_a_chunked_body_that_breaks_off_is_asked_for_again() -> None:
    bodies = iter([[b"5\r\n[1,2,\r\n"], [b"5\r\n[1,2]\r\n", b"0\r\n\r\n"]])

    def script(_asked: Asked) -> Reply:
        return Reply(headers={"Transfer-Encoding": "chunked"}, length=-1, pieces=iter(next(bodies)))

    with serving(script) as server, reading(server.url) as run:
        assert run.http.get("sample.x", "/").body == b"[1,2]"


def test_accepted_statuses_come_back_and_others_do_not() -> None:
    with serving(lambda asked: Reply(b"{}", int(asked.path[1:]))) as server, reading(server.url) as run:
        for status in (200, 202, 304):
            assert run.http.get("sample.x", f"/{status}").status == status
        assert run.http.get("sample.x", "/404", accept=(404, 410)).status == 404
        assert run.http.get("sample.x", "/503", accept=(503,)).status == 503
        with pytest.raises(Permanent, match="status 404"):
            run.http.get("sample.x", "/404", accept=(410,))


def test_a_limit_is_waited_for_even_where_its_status_is_accepted() -> None:
    """GitHub refuses with 403 both for good and for a while: only the first is the caller's business."""
    replies = iter([Reply(b"{}", 403, {"Retry-After": "0.1"}), Reply(b"[]"), Reply(b"{}", 403)])
    with serving(lambda _asked: next(replies)) as server, reading(server.url) as run:
        assert run.http.get("sample.x", "/", accept=(403,)).status == 200
        assert run.http.get("sample.x", "/", accept=(403,)).status == 403


def test_calls_of_many_threads_are_counted_exactly() -> None:
    with serving(lambda _asked: Reply(b"[1]")) as server, reading(server.url) as run:
        list(run.workers.each(range(300), lambda n: run.http.get("sample.x", f"/{n}")))
        assert (run.http.calls("sample.x")["calls"], run.http.calls("sample.x")["bytes"]) == (300, 900)


def test_the_vendor_may_judge_otherwise() -> None:
    def classify(answer: Answer) -> Verdict | None:
        return {409: Verdict.RETRY, 402: Verdict.REFUSED, 500: Verdict.FAILED}.get(answer.status)

    with serving(lambda asked: Reply(b"{}", int(asked.path[1:]))) as server:
        with reading(server.url, classify=classify) as run:
            with pytest.raises(Transient, match="failed 4 times"):
                run.http.get("sample.x", "/409")
            with pytest.raises(Skipped):
                run.http.get("sample.x", "/402")
            with pytest.raises(Permanent, match="status 500"):
                run.http.get("sample.x", "/500")
        assert len(server.asked) == 6


def test_a_move_for_good_is_told() -> None:
    told = []
    replies = iter([Reply(status=301, headers={"Location": "/repositories/7"}), Reply(b"{}")])
    with serving(lambda _asked: next(replies)) as server:
        with reading(server.url, note=lambda table, text: told.append((table, text))) as run:
            assert run.http.get("sample.x", "/repos/a/b").url == f"{server.url}/repositories/7"
        assert told == [("sample.x", f"moved for good: {server.url}/repos/a/b is now /repositories/7")]
        assert all("authorization" in asked.headers for asked in server.asked)


def test_calls_use_connections_again() -> None:
    with serving(lambda _asked: Reply(b"[]")) as server, reading(server.url) as run:
        for _ in range(5):
            run.http.get("sample.x", "/")
        assert run.http._pool.num_connections == 1
        assert run.http.calls("sample.x") == {"calls": 5, "retries": 0, "limited": 0, "bytes": 10, "waited": 0}


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 13:00:40 GMT", "Date": "Sun, 22 Nov 2026 13:00:10 GMT"}, 30),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://u:{KEY}@host/x",
        "GET https://host/x?access_token=hidden1&limit=3",
        "https://host/x?limit=3&api_key=hidden1",
        "https://host/x?client_secret=hidden1",
        "headers: {'Authorization': 'Bearer hidden1'}",
        "Authorization: token hidden1, next",
        "got bearer hidden1-and-more",
        f"{KEY} in the middle of text",
    ],
)
def test_redaction_hides(text: str) -> None:
    hidden = Redaction([KEY])(text)
    assert KEY not in hidden
    assert "hidden1" not in hidden
    assert "***" in hidden


@pytest.mark.parametrize(
    "text",
    ["https://host/x?page_token=abc&starting_after=ch_1", "the key is wrong", "https://host/keys/1?limit=2", "token expired"],
)
def test_redaction_leaves_the_rest(text: str) -> None:
    assert Redaction([KEY])(text) == text


def test_redaction_on_a_handler_cleans_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("sample.redaction")
    handler = logging.StreamHandler()
    handler.addFilter(Redaction([KEY]))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning("with %s as argument", KEY)
        try:
            int(KEY)
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    said = capsys.readouterr().err
    assert KEY not in said
    assert "with *** as argument" in said
    assert "ValueError: invalid literal for int() with base 10: '***'" in said


def test_a_pem_key_is_hidden_line_by_line() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabcdefgh12345678\n-----END RSA PRIVATE KEY-----"
    assert Redaction([pem])("MIIEowIBAAKCAQEA and abcdefgh12345678") == "*** and ***"


def test_closing_ends_the_watch() -> None:
    with serving(lambda _asked: Reply(b"[]")) as server:
        with reading(server.url) as run:
            run.http.get("sample.x", "/")
            watch = run.http._watch._thread
            assert watch is not None
        watch.join(2)
        assert not watch.is_alive()


def test_slow_headers_are_ended_too() -> None:
    def script(_asked: Asked) -> Reply:
        time.sleep(3)
        return Reply(b"[]")

    patience = type(QUICK)(tries=1, read=10, total=0.4)
    with serving(script) as server, reading(server.url, patience=patience) as run:
        began = time.monotonic()
        with pytest.raises(Transient, match="did not end within"):
            run.http.get("sample.x", "/")
        assert time.monotonic() - began < 2


def test_a_key_that_no_header_can_carry_is_told_at_once() -> None:
    with serving(lambda _asked: Reply(b"[]")) as server:
        with (
            reading(server.url, auth=Bearer(f"{KEY}\nX-Evil: 1")) as run,
            pytest.raises(Permanent, match="cannot be asked") as error,
        ):
            run.http.get("sample.x", "/")
        assert server.asked == []
    assert KEY not in str(error.value)


def test_the_machines_proxy_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _asked: Reply(b"[]")) as proxy, serving(lambda _asked: Reply(b"[]")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        with reading("http://api.example.test") as run:
            run.http.get("sample.x", "/v1/x?limit=1")
        with reading(server.url) as run:
            run.http.get("sample.x", "/v1/x")
        assert [asked.headers["host"] for asked in proxy.asked] == ["api.example.test"]
        assert len(server.asked) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


def test_certificates_are_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _asked: Reply(b"[]"), certificate) as server:
        with reading(server.url) as run, pytest.raises(Transient, match="CERTIFICATE_VERIFY_FAILED"):
            run.http.get("sample.x", "/")
        assert server.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with reading(server.url) as run:
            assert run.http.get("sample.x", "/").body == b"[]"


def test_an_answer_that_trickles_over_tls_is_ended(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    slow = Reply(b"[", length=1000, pieces=itertools.repeat(b" "), pause=0.05)
    patience = type(QUICK)(tries=1, total=0.4)
    with (
        serving(lambda _asked: slow, certificate) as server,
        reading(server.url, patience=patience) as run,
        pytest.raises(Transient, match="did not end within"),
    ):
        run.http.get("sample.x", "/")
