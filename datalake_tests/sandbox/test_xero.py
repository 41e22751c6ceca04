"""The stand-in for Xero answers as Xero does: its shapes against the official description, its rules over real HTTP."""

import base64
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.xero import APP, CUSTOM, FIRST_REFRESH_TOKEN, SECRET
from datalake.secret_store import secret_store
from datalake_tests.sources.raw_lake import RawLake, parents_first

SPEC = json.loads((Path(__file__).parent.parent / "specs" / "xero" / "schema.json").read_text())
ENVELOPE = ("Id", "Status", "ProviderName", "DateTimeUTC")
"""What stands around every answer of the accounting API, and in its examples, but in none of its schemas."""
BEYOND = {"unitdp"}
"""Asked for everywhere that has lines; Xero passes over a parameter that an endpoint does not know."""
NOT_OFFICIAL = {"/api.xro/2.0/Employees"}
"""Endpoints that left the official description in April 2026."""
NOW = 1_795_036_000
DAY = 86_400


class Client:
    """Calls to a stand-in with one login."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = token(server, grant_type="refresh_token", refresh_token=FIRST_REFRESH_TOKEN)[1]["access_token"]
        self.tenants = [each["tenantId"] for each in self.get("/connections")[1] if each["tenantType"] == "ORGANISATION"]

    def get(self, path: str, tenant: int = 0, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        known = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if path != "/connections":
            known["Xero-Tenant-Id"] = self.tenants[tenant]
        return ask(urllib.request.Request(self.server.url + path, headers={**known, **(headers or {})}))


def ask(request: urllib.request.Request) -> tuple[int, Any, dict[str, str]]:
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def token(server: Server, client: str = APP, secret: str = SECRET, **form: str) -> tuple[int, Any, dict[str, str]]:
    proof = base64.b64encode(f"{client}:{secret}".encode()).decode()
    body = urllib.parse.urlencode(form).encode()
    return ask(urllib.request.Request(f"{server.url}/connect/token", body, {"Authorization": f"Basic {proof}"}))


@pytest.fixture
def client() -> Iterator[Client]:
    """A new login for each test: the stand-in's first refresh token is taken once only."""
    with running("xero", now=NOW, scale=0.1, limits=False) as server:
        yield Client(server)


def official(path: str) -> tuple[str, dict[str, Any]] | None:
    """The official description of the path, and its place there."""
    described: dict[str, Any]
    for pattern, described in SPEC["answers"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return pattern, described
    return None


def faults(described: dict[str, Any], body: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator({**described["schema"], "$defs": SPEC["$defs"]})
    bare = {name: value for name, value in body.items() if name not in ENVELOPE} if isinstance(body, dict) else body
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(bare)]


def test_whatever_the_lake_asks_for_is_asked_and_answered_as_described(tmp_path: Path) -> None:
    """All tables are read, twice with two days between; then every kind of call is made again and its answer looked at."""
    with running("xero", now=NOW, scale=0.2, limits=False) as server:
        lake = RawLake("xero", tmp_path, server.env)
        tables = [table.name for table in parents_first(lake.source)]
        lake.sync(*tables)
        server.advance(2)
        lake.sync(*tables)
        kinds: dict[str, list[str]] = {}
        for call in server.calls():
            if found := official(call["path"]):
                kinds.setdefault(found[0], []).append(f"{call['path']}?{call['query']}")
                unknown = {name for name, _ in urllib.parse.parse_qsl(call["query"])} - set(found[1]["parameters"]) - BEYOND
                assert not unknown, call
            else:
                assert call["path"] in {"/connect/token", *NOT_OFFICIAL}, call
        again = Client.__new__(Client)
        again.server = server
        kept = json.loads(str(secret_store(lake.settings).get("XERO_TOKEN")))
        again.token = token(server, grant_type="refresh_token", refresh_token=kept["refresh"])[1]["access_token"]
        again.tenants = [each["tenantId"] for each in again.get("/connections")[1]][:2]
        wrong, answered = [], 0
        for pattern, paths in kinds.items():
            for path in dict.fromkeys(paths[-3:] + paths[:3]):
                for tenant in (0, 1):
                    status, body, _ = again.get(path, tenant)
                    if status == 200:
                        answered += 1
                        wrong += [f"{path}: {fault}" for fault in faults(SPEC["answers"][pattern], body)[:2]]
    assert wrong == []
    assert answered > len(kinds)
    paths = {table.path for table in contracts.load_source("xero").tables.values()}
    asked = {re.sub(r"\{\w+\}", "{}", pattern) for pattern in kinds} | NOT_OFFICIAL
    wanted = {re.sub(r"\{\w+\}", "{}", path) for path in paths if "{Entity}" not in path}
    assert wanted <= asked


def test_a_shape_that_is_not_official_is_found() -> None:
    pattern, described = official("/api.xro/2.0/Invoices") or ("", {})
    assert pattern
    (good,) = [{"Invoices": [{"InvoiceID": "1", "Type": "ACCREC", "Total": 1.5}]}]
    assert faults(described, good) == []
    assert faults(described, {"Invoices": [{"Made_up": 1}]})
    assert faults(described, {"Invoices": [{"Total": "1.5"}]})
    assert faults(described, {"Invoices": [{"Type": "SALE"}]})


def test_the_same_seed_gives_the_same_books_in_one_step_or_in_many() -> None:
    with running("xero", seed=5, scale=0.2, now=NOW) as one, running("xero", seed=5, scale=0.2, now=NOW) as many:
        one.advance(3)
        for _ in range(12):
            many.advance(0.25)
        for table in ("invoices", "journals", "contacts", "attachments", "budget_balances", "projects"):
            assert one.ledger(table) == many.ledger(table)
            assert one.ledger(table)
        for row in one.ledger("journals"):
            assert abs(sum(line["NetAmount"] for line in row.record["JournalLines"])) < 0.02


def test_a_refresh_token_is_taken_once_and_the_one_before_it_for_half_an_hour(client: Client) -> None:
    server = client.server
    status, body, _ = token(server, grant_type="refresh_token", refresh_token=FIRST_REFRESH_TOKEN)
    assert status == 200  # the answer to the first one may have been lost
    newest = body["refresh_token"]
    assert token(server, grant_type="refresh_token", refresh_token=newest)[0] == 200
    assert token(server, grant_type="refresh_token", refresh_token=FIRST_REFRESH_TOKEN)[1] == {"error": "invalid_grant"}
    server.advance(0.1)
    assert token(server, grant_type="refresh_token", refresh_token=newest)[1] == {"error": "invalid_grant"}
    assert token(server, secret="wrong", grant_type="refresh_token", refresh_token="x")[1] == {"error": "invalid_client"}


def test_a_stand_in_that_was_started_again_knows_its_lake() -> None:
    with running("xero", now=NOW, scale=0.1, limits=False) as server:
        assert token(server, grant_type="refresh_token", refresh_token="refresh-000042")[1]["refresh_token"] == "refresh-000043"
        assert token(server, grant_type="refresh_token", refresh_token="refresh-000041")[1] == {"error": "invalid_grant"}


def test_a_login_begins_with_consent(client: Client) -> None:
    server = client.server

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    query = urllib.parse.urlencode(
        {"response_type": "code", "redirect_uri": "http://127.0.0.1:1/back", "state": "s", "client_id": APP}
    )
    with pytest.raises(urllib.error.HTTPError) as moved:
        urllib.request.build_opener(Stay).open(f"{server.url}/identity/connect/authorize?{query}")
    back = urllib.parse.urlsplit(moved.value.headers["location"])
    moved.value.close()
    asked = dict(urllib.parse.parse_qsl(back.query))
    assert asked["state"] == "s"
    assert token(server, grant_type="authorization_code", code=asked["code"], redirect_uri="http://127.0.0.1:1/back")[0] == 200
    assert token(server, grant_type="authorization_code", code=asked["code"])[1] == {"error": "invalid_grant"}


def test_a_custom_connection_reads_one_organisation_without_naming_it(client: Client) -> None:
    assert token(client.server, CUSTOM, grant_type="refresh_token", refresh_token="x")[1] == {"error": "unauthorized_client"}
    status, body, _ = token(client.server, CUSTOM, grant_type="client_credentials")
    assert status == 200
    assert "refresh_token" not in body
    client.token = body["access_token"]
    assert len(client.get("/connections")[1]) == 1
    client.tenants = [""]
    assert client.get("/api.xro/2.0/Organisation")[0] == 200


def test_access_tokens_end(client: Client) -> None:
    assert client.get("/api.xro/2.0/Organisation")[0] == 200
    client.server.advance(0.05)
    status, body, _ = client.get("/api.xro/2.0/Organisation")
    assert (status, body["Detail"][:12]) == (401, "TokenExpired")


def test_pages_and_their_traps(client: Client) -> None:
    client.server.control(page_cap=5)
    first = client.get("/api.xro/2.0/Invoices?page=1&pageSize=1000")[1]
    assert first["pagination"] | {"itemCount": 0, "pageCount": 0} == {"page": 1, "pageSize": 5, "pageCount": 0, "itemCount": 0}
    assert len(first["Invoices"]) == 5
    assert all("LineItems" in each for each in first["Invoices"])
    whole = client.get("/api.xro/2.0/Invoices")[1]
    assert "pagination" not in whole
    assert not any("LineItems" in each for each in whole["Invoices"])
    exact = client.get("/api.xro/2.0/Invoices?page=1&unitdp=4")[1]["Invoices"][0]["LineItems"][0]["UnitAmount"]
    assert round(exact, 2) == first["Invoices"][0]["LineItems"][0]["UnitAmount"] != exact
    pages = [client.get(f"/api.xro/2.0/ManualJournals?page={n}&order=Date")[1]["ManualJournals"] for n in (1, 2)]
    assert pages[0] == pages[1]  # order breaks the paging of manual journals
    assert client.get("/assets.xro/1.0/Assets?page=1")[0] == 400
    assert client.get("/api.xro/2.0/Contacts?page=1&order=Nonsense")[1]["Type"] == "QueryParseException"
    archived = {
        each["ContactStatus"]
        for each in client.get("/api.xro/2.0/Contacts?page=1&includeArchived=true&pageSize=1000")[1]["Contacts"]
    }
    hidden = {each["ContactStatus"] for each in client.get("/api.xro/2.0/Contacts?page=1&pageSize=1000")[1]["Contacts"]}
    assert hidden == {"ACTIVE"}
    assert archived == {"ACTIVE", "ARCHIVED"}


def test_only_what_changed_since_comes(client: Client) -> None:
    rows = client.get("/api.xro/2.0/Invoices?page=1&order=UpdatedDateUTC%20ASC&pageSize=1000")[1]["Invoices"]
    stamps = [int(each["UpdatedDateUTC"][6:19]) for each in rows]
    assert stamps == sorted(stamps)
    middle = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamps[len(stamps) // 2] // 1000))
    newer = client.get("/api.xro/2.0/Invoices?page=1&pageSize=1000", headers={"If-Modified-Since": middle})[1]["Invoices"]
    assert 0 < len(newer) <= len(rows) // 2 + 1
    later = {"If-Modified-Since": "2030-01-01T00:00:00"}
    assert client.get("/api.xro/2.0/Invoices?page=1", headers=later)[1]["Invoices"] == []
    client.server.control(silent=["invoices", rows[0]["InvoiceID"], {"SentToContact": True}])
    assert client.get("/api.xro/2.0/Invoices?page=1", headers=later)[1]["Invoices"] == []


def test_each_limit_says_which_one_it_is(client: Client) -> None:
    client.server.control(limits={"concurrent": 2, "work": 0.8})
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: client.get("/api.xro/2.0/Users"), range(3)))
    assert sorted(headers.get("x-rate-limit-problem", "") for _, _, headers in answers) == ["", "", "concurrent"]
    client.server.control(limits={"minute": 2, "day": 3})
    client.get("/api.xro/2.0/Users")
    status, _, headers = client.get("/api.xro/2.0/Users")
    assert (status, headers["x-minlimit-remaining"], headers["x-daylimit-remaining"]) == (200, "0", "1")
    status, _, headers = client.get("/api.xro/2.0/Users")
    assert (status, headers["x-rate-limit-problem"]) == (429, "minute")
    assert 0 < int(headers["retry-after"]) <= 60
    assert client.get("/api.xro/2.0/Users", tenant=1)[0] == 200  # each organisation has its own
    client.server.control(limits={"day": 1})
    client.get("/api.xro/2.0/Users")
    _, _, headers = client.get("/api.xro/2.0/Users")
    assert (headers["x-rate-limit-problem"], headers["retry-after"]) == ("day", "66975")


def test_refusals(client: Client) -> None:
    client.server.control(forbid=["Journals", f"Users@{client.tenants[1]}"])
    status, body, _ = client.get("/api.xro/2.0/Journals")
    assert (status, body["Detail"]) == (401, "AuthorizationUnsuccessful")
    assert client.get("/api.xro/2.0/Users")[0] == 200
    assert client.get("/api.xro/2.0/Users", tenant=1)[0] == 401
    client.server.control(disconnect=client.tenants[1])
    assert client.get("/api.xro/2.0/Organisation", tenant=1)[0] == 403
    client.server.control(connect=client.tenants[1])
    assert client.get("/api.xro/2.0/Organisation", tenant=1)[0] == 200
    assert client.get("/api.xro/2.0/Nonsense")[0] == 404
    with pytest.raises(urllib.error.HTTPError) as refusal:
        client.server.control(nonsense=1)
    refusal.value.close()
