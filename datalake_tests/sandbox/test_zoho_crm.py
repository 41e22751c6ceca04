"""The stand-in for Zoho CRM answers as Zoho does: its shapes against the official description, its rules over real HTTP."""

import io
import json
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.zoho_crm import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from datalake.sandbox.zoho_crm_world import World

SPEC = json.loads((Path(__file__).parent.parent / "specs" / "zoho_crm" / "schema.json").read_text())
SOURCE = contracts.load_source("zoho_crm")
NOW = 1_795_000_000
DAY = 86_400


class Client:
    """Calls with a token, as an application makes them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = ""

    def login(self, **form: str) -> dict[str, Any]:
        proof = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
        body = urllib.parse.urlencode({"grant_type": "refresh_token", **proof, **form}).encode()
        with urllib.request.urlopen(f"{self.server.url}/oauth/v2/token", body) as reply:
            told: dict[str, Any] = json.load(reply)
        self.token = told.get("access_token", self.token)
        return told

    def get(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Message]:
        """Status, body and headers of an answer: a POST where there is a `body`."""
        url = self.server.url.replace("127.0.0.1", "localhost") + path
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data, {"Authorization": f"Zoho-oauthtoken {self.token}", **headers})
        try:
            with urllib.request.urlopen(request) as reply:
                content = reply.read()
                is_json = "json" in reply.headers.get("Content-Type", "")
                return reply.status, json.loads(content) if is_json else content, reply.headers
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
                return error.code, json.loads(content) if content else None, error.headers

    def code(self, path: str, **headers: str) -> tuple[int, str]:
        status, body, _ = self.get(path, **headers)
        return status, body["code"] if body else ""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that stands still."""
    with running("zoho_crm", seed=3, scale=0.2, now=NOW, limits=False) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    client = Client(server)
    client.login()
    return client


def ids(server: Server, table: str) -> list[str]:
    return [row.record["id"] for row in server.ledger(table) if not row.deleted]


def paths(server: Server) -> dict[str, str]:
    """Where each answer that the description knows is to be had."""
    settings = {
        name: SOURCE.tables[name].path.replace("{module}", "Deals")
        for name in SPEC["answers"]
        if name in SOURCE.tables and SOURCE.tables[name].rows == "full_list" and "_id}" not in SOURCE.tables[name].path
    }
    layout = ids(server, "layouts")[0]
    for row in server.ledger("pipelines"):
        layout = row.add["layout_id"]
    deal, contact = ids(server, "deals"), server.ledger("contacts")[-1].record
    attached = next(row.add["record_id"] for row in server.ledger("attachments") if not row.deleted)
    changed = next(row.add["record_id"] for row in server.ledger("record_timeline") if row.add["record_id"] in deal)
    written = {row.add["record_id"] for row in server.ledger("record_emails") if not row.deleted}
    contact = next(row.record for row in server.ledger("contacts") if row.record["id"] in written)
    return settings | {
        "records": "/crm/v8/Leads?fields=Last_Name,Owner,Tag,Created_By,Created_Time,Modified_By,Modified_Time",
        "deleted_records": "/crm/v8/Leads/deleted?type=all",
        "entity_scores": "/crm/v8/Entity_Scores__s?fields=Score",
        "pipelines": f"/crm/v8/settings/pipeline?layout_id={layout}",
        "user_territories": f"/crm/v8/users/{ids(server, 'users')[0]}/territories",
        "attachments": f"/crm/v8/Deals/{attached}/Attachments?fields=id,File_Name",
        "record_timeline": f"/crm/v8/Deals/{changed}/__timeline",
        "record_emails": f"/crm/v8/Contacts/{contact['id']}/Emails?owner_id={contact['Owner']['id']}",
    }


@pytest.mark.parametrize("name", sorted(SPEC["answers"].keys() - {"export_job"}))
def test_answers_have_the_shapes_of_the_official_description(server: Server, client: Client, name: str) -> None:
    status, body, _ = client.get(paths(server)[name])
    assert status == 200
    assert all(value for value in body.values())
    validator = jsonschema.Draft202012Validator({**SPEC["answers"][name], "$defs": SPEC["$defs"]})
    wrong = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(body)]
    assert wrong == []


def test_every_field_of_a_module_is_described(client: Client) -> None:
    _, body, _ = client.get("/crm/v8/settings/fields?module=Leads&type=all")
    described = {field["api_name"]: field for field in body["fields"]}
    columns = {column.field[0] for column in SOURCE.tables["leads"].columns if not column.from_request} - {"id"}
    assert columns <= described.keys()
    assert described["Converted_Account"]["lookup"]["module"]["api_name"] == "Accounts"
    assert {name for name, field in described.items() if field["custom_field"]} == {"E_mail_fiscal", "email_Fiscal"}


def test_a_token_is_needed_and_expires() -> None:
    with running("zoho_crm", seed=3, scale=0.1, now=NOW) as server:
        client = Client(server)
        assert client.code("/crm/v8/org") == (401, "INVALID_TOKEN")
        told = client.login()
        assert (told["expires_in"], "refresh_token" in told) == (3600, False)
        assert client.get("/crm/v8/org")[0] == 200
        server.advance(1 / 24)
        assert client.code("/crm/v8/org") == (401, "INVALID_TOKEN")
        assert client.login(client_secret="guess") == {"error": "invalid_client_secret"}
        assert client.login(refresh_token="old") == {"error": "invalid_code"}
        for _ in range(10):
            client.login()
        with pytest.raises(urllib.error.HTTPError, match="400") as refusal:
            client.login()
        with refusal.value as error:
            assert json.load(error)["error"] == "Access Denied"
        server.advance(1 / 24)
        assert "access_token" in client.login()


def test_a_code_brings_a_refresh_token_only_with_consent_and_offline_access(client: Client) -> None:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    def code(**more: str) -> str:
        query = {"response_type": "code", "client_id": CLIENT_ID, "redirect_uri": "http://localhost:1/x", "state": "s", **more}
        try:
            urllib.request.build_opener(Stay).open(f"{client.server.url}/oauth/v2/auth?{urllib.parse.urlencode(query)}")
        except urllib.error.HTTPError as error:
            with error:
                back = urllib.parse.parse_qs(urllib.parse.urlsplit(error.headers["Location"]).query)
        assert back["state"] == ["s"]
        return back["code"][0]

    trade = {"grant_type": "authorization_code", "redirect_uri": "http://localhost:1/x"}
    assert "refresh_token" not in client.login(**trade, code=code())
    first = code(access_type="offline", prompt="consent")
    assert client.login(**trade, code=first)["refresh_token"] == REFRESH_TOKEN
    assert client.login(**trade, code=first) == {"error": "invalid_code"}


@pytest.mark.parametrize(
    "path, refusal",
    [
        ("/crm/v8/Leads", (400, "REQUIRED_PARAM_MISSING")),
        ("/crm/v8/Leads?fields=" + ",".join(f"F{number}" for number in range(51)), (400, "LIMIT_EXCEEDED")),
        ("/crm/v8/Leads?fields=Email&per_page=201", (400, "LIMIT_EXCEEDED")),
        ("/crm/v8/Leads?fields=Email&sort_by=Email", (400, "INVALID_DATA")),
        ("/crm/v8/Leads?fields=Email&page=11", (400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED")),
        ("/crm/v8/Nothing?fields=Email", (400, "INVALID_MODULE")),
        ("/crm/v8/Leads/123", (400, "INVALID_DATA")),
        ("/crm/v8/settings/fields?module=Nothing", (400, "INVALID_MODULE")),
    ],
)
def test_a_wrong_question_is_refused(client: Client, path: str, refusal: tuple[int, str]) -> None:
    assert client.code(path) == refusal


def test_a_page_token_belongs_to_its_parameters(client: Client) -> None:
    _, body, _ = client.get("/crm/v8/Leads?fields=Email&per_page=10&sort_by=id")
    token = body["info"]["next_page_token"]
    assert client.get(f"/crm/v8/Leads?fields=Email&per_page=10&sort_by=id&page_token={token}")[0] == 200
    assert client.code(f"/crm/v8/Leads?fields=Phone&per_page=10&sort_by=id&page_token={token}") == (400, "INVALID_DATA")
    ambiguous = client.code(f"/crm/v8/Leads?fields=Email&per_page=10&sort_by=id&page=2&page_token={token}")
    assert ambiguous == (400, "AMBIGUITY_DURING_PROCESSING")


def test_converted_leads_show_only_where_they_are_asked_for(server: Server, client: Client) -> None:
    def read(which: str) -> set[str]:
        _, body, _ = client.get(f"/crm/v8/Leads?fields=Converted__s&converted={which}")
        return {row["id"] for row in body["data"]}

    assert read("false") | read("true") == read("both") == set(ids(server, "leads"))
    assert read("true")
    assert not read("false") & read("true")


def test_nothing_newer_is_304_and_a_time_needs_an_offset(client: Client) -> None:
    status, body, _ = client.get("/crm/v8/Leads?fields=Email", **{"If-Modified-Since": "2030-01-01T00:00:00+00:00"})
    assert (status, body) == (304, None)
    assert client.code("/crm/v8/Leads?fields=Email", **{"If-Modified-Since": "2026-01-01T00:00:00"}) == (400, "INVALID_DATA")


def test_a_list_shows_no_rows_of_subforms(server: Server, client: Client) -> None:
    _, body, _ = client.get("/crm/v8/Quotes?fields=Subject,Quoted_Items")
    assert all(not row.get("Quoted_Items") for row in body["data"])
    _, one, _ = client.get(f"/crm/v8/Quotes/{body['data'][0]['id']}")
    assert one["data"][0]["Quoted_Items"]


def test_credits_run_out_and_show_when_half_are_gone() -> None:
    with running("zoho_crm", seed=3, scale=0.1, now=NOW) as server:
        client = Client(server)
        client.login()
        assert "X-API-CREDITS-REMAINING" not in client.get("/crm/v8/org")[2]
        server.control(credits=53)
        assert client.get("/crm/v8/Leads/deleted?type=all")[2]["X-API-CREDITS-REMAINING"] == "51"
        query = {"query": {"module": {"api_name": "Leads"}, "fields": ["Email"], "page": 1}}
        assert client.get("/crm/bulk/v8/read", query)[0] == 201
        assert client.get("/crm/v8/org")[0] == 200
        status, body, headers = client.get("/crm/v8/org")
        assert (status, body["code"], headers["X-API-CREDITS-REMAINING"]) == (429, "TOO_MANY_REQUESTS", "0")


def test_an_export_is_started_waited_for_and_fetched(server: Server, client: Client) -> None:
    query = {"query": {"module": {"api_name": "Contacts"}, "fields": ["Email", "Account_Name.Account_Name"], "page": 1}}
    _, body, _ = client.get("/crm/bulk/v8/read", query)
    path = f"/crm/bulk/v8/read/{body['data'][0]['details']['id']}"
    states = []
    while "COMPLETED" not in states:
        _, body, _ = client.get(path)
        states.append(body["data"][0]["state"])
    assert states == ["ADDED", "IN PROGRESS", "COMPLETED"]
    validator = jsonschema.Draft202012Validator({**SPEC["answers"]["export_job"], "$defs": SPEC["$defs"]})
    assert [error.message for error in validator.iter_errors(body)] == []
    _, file, _ = client.get(f"{path}/result")
    archive = zipfile.ZipFile(io.BytesIO(file))
    (member,) = archive.namelist()
    lines = archive.read(member).decode().splitlines()
    assert lines[0] == "id,Email,Account_Name.Account_Name"
    assert len(lines) - 1 == body["data"][0]["result"]["count"] == len(ids(server, "contacts"))
    refused = {"query": {"module": {"api_name": "Notes"}, "fields": [], "page": 1}}
    assert client.get("/crm/bulk/v8/read", refused)[1]["code"] == "MODULE_NOT_SUPPORTED"


def test_the_same_seed_gives_the_same_organisation_in_however_many_steps() -> None:
    once, often = World(4, 0.1, NOW), World(4, 0.1, NOW)
    once.advance(3 * DAY)
    for _ in range(6):
        often.advance(DAY // 2)
    for table in SOURCE.tables:
        told = {json.dumps([row.record, row.add], sort_keys=True) for row in once.ledger(table) if not row.deleted}
        again = {json.dumps([row.record, row.add], sort_keys=True) for row in often.ledger(table) if not row.deleted}
        assert told == again, table


def test_every_table_has_rows_and_days_bring_changes() -> None:
    world = World(4, 0.1, NOW)
    before = {table: sum(not row.deleted for row in world.ledger(table)) for table in SOURCE.tables}
    assert {table: count for table, count in before.items() if not count} == {}
    told = world.advance(2 * DAY)
    assert min(told["added"], told["updated"], told["deleted"]) > 20
