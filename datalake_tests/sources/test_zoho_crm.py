"""Zoho CRM read from its stand-in into raw logs: the login, lists, exports, deletions, limits, refusals, what is found."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from datalake import connect, contracts
from datalake.lake.told import as_told
from datalake.sandbox.base import Server, running
from datalake.settings import SettingError, Settings
from datalake.sources import identify, zoho_crm, zoho_crm_records
from datalake.sources.base import AuthenticationFailed, Permanent, QuotaSpent, Skipped, Transient, Window
from datalake.sources.engine import Extraction
from datalake.sources.zoho_crm import ZohoRun, accounts_url
from datalake.sources.zoho_crm_access import ACCOUNTS, api_domain
from datalake.sources.zoho_crm_fields import readable, widened, without_contract
from datalake_tests.sources.raw_lake import RawLake

SOURCE = contracts.load_source("zoho_crm")
DAY = 86_400
NOW = 1_795_036_000


@pytest.fixture
def server() -> Iterator[Server]:
    with running("zoho_crm", seed=5, scale=0.1, now=NOW) as server:
        yield server


@pytest.fixture
def lake(server: Server, tmp_path: Path) -> RawLake:
    return RawLake("zoho_crm", tmp_path, server.env)


@pytest.fixture(scope="module")
def standing() -> Iterator[Server]:
    with running("zoho_crm", seed=5, scale=0.1, now=NOW, limits=False) as server:
        yield server


@pytest.fixture
def still(standing: Server) -> Iterator[Server]:
    """One that several tests share: nothing happens there, and faults and refusals end with the test."""
    standing.calls(clear=True)
    yield standing
    standing.clear_faults()
    standing.control(forbid=[])
    standing.control(off=[])
    standing.control(scopes_missing=[])


@pytest.fixture
def beside(still: Server, tmp_path: Path) -> RawLake:
    return RawLake("zoho_crm", tmp_path, still.env)


def opened(lake: RawLake) -> ZohoRun:
    run = lake.open()
    assert isinstance(run, ZohoRun)
    return run


def newest(lake: RawLake, table: str) -> dict[str, dict[str, Any]]:
    """The last version of each record that was not deleted, by id."""
    return {row.record["id"]: row.record for row in lake.living(table).values()}


def living(server: Server, table: str) -> dict[str, dict[str, Any]]:
    return {row.record["id"]: row.record for row in server.ledger(table) if not row.deleted}


def queries(server: Server, path: str) -> list[dict[str, str]]:
    """The queries of the calls to a path since the calls were last forgotten."""
    calls = [call["query"] for call in server.calls() if call["path"] == path]
    return [{name: values[0] for name, values in parse_qs(query).items()} for query in calls]


def tokens(server: Server) -> int:
    return sum(call["path"] == "/oauth/v2/token" for call in server.calls())


def same(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Fields of the first record that the second shows otherwise."""
    return [name for name, value in one.items() if value != other.get(name)]


# The login


def test_one_token_serves_all_runs_until_it_expires(server: Server, lake: RawLake) -> None:
    for _ in range(3):
        lake.sync("deals", "users")
    assert tokens(server) == 1
    server.advance(1)
    lake.sync("deals")
    assert tokens(server) == 2


def test_a_token_that_expires_in_the_middle_of_a_run_is_renewed(server: Server, lake: RawLake) -> None:
    run = opened(lake)
    try:
        lake.read(run, "deals")
        server.control(expire_tokens=True)
        lake.read(run, "leads")
    finally:
        run.close()
    assert tokens(server) == 2
    assert newest(lake, "leads").keys() == living(server, "leads").keys()


def test_more_than_ten_tokens_in_ten_minutes_pass_with_time(server: Server, tmp_path: Path) -> None:
    for number in range(10):
        RawLake("zoho_crm", tmp_path / str(number), server.env).open().close()
    with pytest.raises(Transient, match="ten minutes"):
        RawLake("zoho_crm", tmp_path / "another", server.env).open()


def test_a_client_that_is_not_known_is_told_to_look_at_the_data_centre(still: Server, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationFailed, match="ZOHO_CRM_DATA_CENTER"):
        RawLake("zoho_crm", tmp_path, {**still.env, "ZOHO_CRM_CLIENT_ID": "1000.ELSEWHERE"}).open()
    with pytest.raises(AuthenticationFailed, match="revoked"):
        RawLake("zoho_crm", tmp_path, {**still.env, "ZOHO_CRM_REFRESH_TOKEN": "1000.old"}).open()


@pytest.mark.parametrize("centre", ACCOUNTS)
def test_each_data_centre_has_its_accounts_server(centre: str) -> None:
    assert accounts_url(Settings.load({"ZOHO_CRM_DATA_CENTER": centre.upper()})) == ACCOUNTS[centre]


def test_a_data_centre_that_is_none_is_refused() -> None:
    with pytest.raises(SettingError, match="us, eu, in, au, jp, cn, ca, sa"):
        accounts_url(Settings.load({"ZOHO_CRM_DATA_CENTER": "br"}))


def test_the_api_is_where_the_login_says_and_nowhere_else(still: Server, beside: RawLake) -> None:
    assert opened(beside).http.base_url == still.url.replace("127.0.0.1", "localhost")
    for domain in ("https://www.zohoapis.com.au", "https://sandbox.zohoapis.eu"):
        assert api_domain({"api_domain": domain}, moved=False) == domain
    for domain in ("https://www.zohoapis.com.evil.example", "http://www.zohoapis.com", "", "https://zohoapis.com@evil.example"):
        with pytest.raises(Permanent, match="none of Zoho's"):
            api_domain({"api_domain": domain}, moved=False)


def test_a_missing_scope_skips_its_tables_and_costs_no_token(still: Server, beside: RawLake) -> None:
    still.control(scopes_missing=["settings/roles"])
    done = beside.attempt("roles", "profiles")
    assert isinstance(done["roles"], Skipped)
    assert "OAUTH_SCOPE_MISMATCH" in str(done["roles"])
    assert isinstance(done["profiles"], Extraction)
    assert tokens(still) == 1


# Lists


def test_more_than_fifty_fields_are_merged_from_passes(server: Server, lake: RawLake) -> None:
    server.control(wide={"module": "Contacts", "fields": 70})
    server.calls(clear=True)
    lake.sync("contacts")
    asked = [query["fields"].split(",") for query in queries(server, "/crm/v8/Contacts")]
    assert len(asked) >= 3
    assert max(map(len, asked)) == 50
    read = newest(lake, "contacts")
    told = living(server, "contacts")
    assert read.keys() == told.keys()
    for id_, record in read.items():
        assert same(record, told[id_]) == []
    assert all(sum(name.startswith("Extra_") for name in record) == 70 for record in read.values())


def test_a_record_that_changes_between_two_passes_is_read_again(server: Server, lake: RawLake) -> None:
    server.control(wide={"module": "Contacts", "fields": 70})
    run = opened(lake)
    try:
        module = run.module(SOURCE.tables["contacts"], "Contacts")
        order = {"sort_by": "id", "sort_order": "asc"}

        def walk(number: int) -> list[tuple[str, int, Any]]:
            pages = zoho_crm_records._walk(run, "zoho_crm.contacts", module, module.passes[number], order, "")
            return list(zoho_crm_records._each(pages))

        first = walk(0)
        server.advance(1)
        rest = [walk(number) for number in range(1, len(module.passes))]
        merged = zoho_crm_records._merged(run, "zoho_crm.contacts", module, [iter(walked) for walked in (first, *rest)])
        read = {record["id"]: record for record in (json.loads(line) for _, line in merged)}
    finally:
        run.close()
    told = living(server, "contacts")
    assert read.keys() == told.keys()
    assert [name for id_, record in read.items() for name in same(record, told[id_])] == []


def test_more_than_two_thousand_rows_come_by_page_token(server: Server, lake: RawLake) -> None:
    server.control(grow={"module": "Solutions", "rows": 2_150})
    server.calls(clear=True)
    lake.sync("solutions")
    asked = queries(server, "/crm/v8/Solutions")
    assert len(asked) == 11
    assert all("page" not in query for query in asked)
    assert sum("page_token" in query for query in asked) == 10
    assert newest(lake, "solutions").keys() == living(server, "solutions").keys()


def test_what_changed_while_a_list_was_read_is_read_next_time(server: Server, lake: RawLake) -> None:
    """The list goes by id: a record at its head can change while its tail is read, and be older than what comes there."""
    run = opened(lake)
    try:
        server.advance(1)  # after the run's clock was read: all of this happens while it reads
        lake.read(run, "tasks")
    finally:
        run.close()
    assert lake.cursor("tasks")["newest"] <= dt.datetime.fromtimestamp(NOW, dt.UTC).isoformat().replace("+00:00", "Z")


def test_more_changes_than_a_list_passes_are_told_where_passes_must_be_merged(
    server: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.control(wide={"module": "Contacts", "fields": 70})
    lake.sync("contacts")
    server.control(grow={"module": "Contacts", "rows": 700, "days": 0})
    monkeypatch.setattr(zoho_crm_records, "LIST_REACH", 400)
    done = lake.error("contacts")
    assert isinstance(done, Permanent)
    assert "--full" in str(done)


def test_a_module_that_exports_leave_out_is_walked_by_time(
    server: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoho_crm_records, "LIST_REACH", 400)
    monkeypatch.setattr(zoho_crm_records, "EXPORT_FROM", 100)
    server.control(grow={"module": "Notes", "rows": 900})
    server.control(reach=400)
    lake.sync("notes")
    assert newest(lake, "notes").keys() == living(server, "notes").keys()


def test_converted_leads_stay(server: Server, lake: RawLake) -> None:
    lake.sync("leads")
    assert {query["converted"] for query in queries(server, "/crm/v8/Leads")} == {"both"}
    assert any(record["Converted__s"] for record in newest(lake, "leads").values())
    before = newest(lake, "leads")
    server.advance(1)
    lake.sync("leads")
    converted = [id_ for id_, record in newest(lake, "leads").items() if record["Converted__s"]]
    assert [id_ for id_ in converted if id_ in before and not before[id_]["Converted__s"]]


def test_a_second_reading_tells_only_what_changed(server: Server, lake: RawLake) -> None:
    names = ("accounts", "tasks", "modules", "fields", "field_picklist_values", "deleted_records", "custom_module")
    lake.sync(*names)
    before = {name: lake.log(name).head() for name in names}
    lake.sync(*names)
    assert {name: lake.log(name).head() for name in names} == before
    server.advance(1)
    read = lake.sync("accounts")["accounts"]
    assert 0 < read.rows < len(living(server, "accounts")) / 2
    told = living(server, "accounts")
    assert {id_: same(record, told[id_]) for id_, record in newest(lake, "accounts").items()} == {id_: [] for id_ in told}


def test_a_window_reads_that_stretch_again(still: Server, beside: RawLake) -> None:
    beside.sync("tasks")
    cursor = beside.cursor("tasks")
    since, until = (dt.datetime.fromtimestamp(NOW - days * DAY, dt.UTC) for days in (200, 100))
    beside.sync("tasks", window=Window(since, until))
    stamps = [dt.datetime.fromisoformat(line["record"]["Modified_Time"]) for line in beside.lines("tasks", after=1)]
    told = [dt.datetime.fromisoformat(row["Modified_Time"]) for row in living(still, "tasks").values()]
    assert len(stamps) == sum(since <= stamp < until for stamp in told) > 0
    assert all(since <= stamp < until for stamp in stamps)
    assert beside.cursor("tasks") == cursor


def test_after_four_weeks_a_module_is_read_whole_again(server: Server, lake: RawLake) -> None:
    lake.sync("vendors")
    server.advance(29)
    lake.sync("vendors")
    again = lake.lines("vendors", after=1)
    assert [line for line in again if line["_lake"].get("op") == "complete"]
    assert {line["record"]["id"] for line in again if "op" not in line["_lake"]} == living(server, "vendors").keys()


# Exports


def test_a_big_module_comes_by_export_in_the_shape_of_lists(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.control(grow={"module": "Leads", "rows": 150})
    server.control(export_page=60)
    listed, exported = (
        RawLake("zoho_crm", tmp_path / "listed", server.env),
        RawLake("zoho_crm", tmp_path / "exported", server.env),
    )
    names = ("leads", "contacts", "deals", "products")
    listed.sync(*names)
    monkeypatch.setattr(zoho_crm_records, "EXPORT_FROM", 5)
    monkeypatch.setattr(zoho_crm_records, "POLL_SECONDS", (0.01, 0.01))
    server.calls(clear=True)
    exported.sync(*names)
    jobs = [call for call in server.calls() if call["method"] == "POST" and call["path"] == "/crm/bulk/v8/read"]
    assert len(jobs) > len(names)
    for name in names:
        by_list, by_export = newest(listed, name), newest(exported, name)
        assert by_export.keys() == by_list.keys() == living(server, name).keys()
        strange = {field for id_, record in by_list.items() for field in same(record, by_export[id_])}
        # An empty list is no cell; and the name of a record that is gone is not to be had.
        for field in strange:
            for id_, record in by_list.items():
                one, other = record[field], by_export[id_][field]
                assert one == other or (one == [] and other is None) or (one["id"] == other["id"] and other["name"] is None)
    assert any(record["Converted__s"] for record in newest(exported, "leads").values())
    server.calls(clear=True)
    exported.sync(*names)
    assert not [call for call in server.calls() if call["method"] == "POST" and "bulk" in call["path"]]


def test_an_export_that_breaks_off_goes_on_with_its_next_job(
    server: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoho_crm_records, "EXPORT_FROM", 5)
    monkeypatch.setattr(zoho_crm_records, "POLL_SECONDS", (0.01, 0.01))
    server.control(grow={"module": "Products", "rows": 150})
    server.control(export_page=50)
    server.fault("/crm/bulk/v8/read/[0-9]+/result", status=404, body="{}", skip=2, times=1)
    assert isinstance(lake.error("products"), Permanent)
    assert len(newest(lake, "products")) == 100
    assert lake.cursor("products")["load"]["page"] == {"page_token": "100"}
    server.calls(clear=True)
    lake.sync("products")
    jobs = [call for call in server.calls() if call["method"] == "POST" and call["path"] == "/crm/bulk/v8/read"]
    assert len(jobs) == 2
    assert newest(lake, "products").keys() == living(server, "products").keys()
    assert "load" not in lake.cursor("products")


def test_an_export_whose_file_is_short_is_not_believed(server: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoho_crm_records, "EXPORT_FROM", 5)
    monkeypatch.setattr(zoho_crm_records, "POLL_SECONDS", (0.01, 0.01))
    server.control(grow={"module": "Products", "rows": 20})
    server.fault("/crm/bulk/v8/read/[0-9]+/result", status=200, body="PK is no zip")
    done = lake.error("products")
    assert isinstance(done, Transient)
    assert "no zip" in str(done)


# Deletions


def test_deletions_are_told_and_what_came_back_lives(server: Server, lake: RawLake) -> None:
    lake.sync("contacts", "modules", "deleted_records")
    known = newest(lake, "contacts").keys()
    server.advance(1)
    lake.sync("contacts", "modules", "deleted_records")
    gone = known - newest(lake, "contacts").keys()
    assert gone == {row.record["id"] for row in server.ledger("contacts") if row.deleted} & known
    assert gone
    told = {(line["_lake"]["add"]["module"], line["record"]["id"]) for line in lake.lines("deleted_records")}
    assert {("Contacts", id_) for id_ in gone} <= told
    server.control(restore={"module": "Contacts"})
    lake.sync("contacts")
    assert newest(lake, "contacts").keys() == living(server, "contacts").keys()


def test_the_feed_of_deletions_is_read_once_for_all(server: Server, lake: RawLake) -> None:
    lake.sync("contacts", "modules", "deleted_records")
    server.advance(1)
    server.calls(clear=True)
    lake.sync("deleted_records", "contacts")
    assert len(queries(server, "/crm/v8/Contacts/deleted")) == 1


def test_rows_of_a_deleted_record_go_with_it_but_history_stays(server: Server, lake: RawLake) -> None:
    names = ("deals", "deal_contact_roles", "deal_stage_history")
    lake.sync(*names)
    server.advance(1)
    lake.sync(*names)
    gone = {row.record["id"] for row in server.ledger("deals") if row.deleted}
    scopes = [line["_lake"]["scope"] for line in lake.lines("deal_contact_roles", after=1) if "scope" in line["_lake"]]
    assert gone & {scope["deal_id"] for scope in scopes}
    assert not [line for line in lake.lines("deal_stage_history") if "op" in line["_lake"]]


# Limits and refusals


def test_spent_credits_end_the_run_and_keep_what_was_read(server: Server, lake: RawLake) -> None:
    lake.open().close()
    server.control(credits=3)
    done = lake.attempt("users", "profiles", "roles")
    assert isinstance(done["users"], Extraction)
    assert isinstance(done["roles"], QuotaSpent)
    assert lake.log("users").head() is not None


def test_too_many_calls_at_once_are_made_again(still: Server, beside: RawLake) -> None:
    error = {"code": "TOO_MANY_REQUESTS", "details": {}, "message": "too many requests fired", "status": "error"}
    body = json.dumps(error)
    still.fault("/crm/v8/settings/roles", status=429, body=body)
    done = beside.sync("roles")["roles"]
    assert done.calls["limited"] == 1


def test_a_feature_that_is_off_has_no_rows(still: Server, beside: RawLake) -> None:
    still.control(off=["settings/territories"])
    done = beside.sync("territories")["territories"]
    assert done.rows == 0


def test_a_module_that_may_not_be_read_is_skipped_with_its_reason(still: Server, beside: RawLake) -> None:
    still.control(forbid=["Cases"])
    done = beside.attempt("cases", "tasks")
    assert isinstance(done["cases"], Skipped)
    assert "NO_PERMISSION" in str(done["cases"])
    assert isinstance(done["tasks"], Extraction)


def test_deletions_of_a_module_that_may_not_be_read_are_left_out(still: Server, beside: RawLake) -> None:
    still.control(forbid=["Contacts"])
    done = beside.sync("modules", "deleted_records")["deleted_records"]
    assert any("deletions of Contacts are left out" in note for note in done.notes)
    assert "Contacts" not in {line["_lake"]["add"]["module"] for line in beside.lines("deleted_records")}
    assert "Deals" in {line["_lake"]["add"]["module"] for line in beside.lines("deleted_records")}


def test_a_module_that_the_organisation_does_not_have_is_skipped(still: Server, beside: RawLake) -> None:
    described = {"modules": [{"id": "1", "api_name": "Tasks", "api_supported": True, "viewable": True}]}
    still.fault("/crm/v8/settings/modules", status=200, body=json.dumps(described))
    done = beside.error("cases")
    assert isinstance(done, Skipped)
    assert "no module Cases" in str(done)


def test_an_answer_with_an_error_in_it_is_no_list(still: Server, beside: RawLake) -> None:
    error = {"code": "INTERNAL_ERROR", "details": {}, "message": "Internal Server Error", "status": "error"}
    still.fault("/crm/v8/Vendors\\?", status=200, body=json.dumps(error))
    assert isinstance(beside.error("vendors"), Permanent)
    more = {"data": [{"id": "1", "Modified_Time": "2026-01-01T00:00:00-03:00"}], "info": {"more_records": True}}
    still.fault("/crm/v8/Vendors\\?", status=200, body=json.dumps(more))
    done = beside.error("vendors")
    assert isinstance(done, Permanent)
    assert "names no page" in str(done)


def test_who_asks_is_told(beside: RawLake) -> None:
    run = opened(beside)
    try:
        told = zoho_crm.identify(run)
    finally:
        run.close()
    assert "3 modules without a contract" in told
    assert "all core modules can be read" in told
    assert identify(SOURCE, beside.settings) == told


# What is found


def test_fields_without_a_contract_become_columns_that_stay(server: Server, lake: RawLake) -> None:
    lake.sync("leads")
    head = lake.log("leads").head()
    assert head is not None
    table = as_told(SOURCE.tables["leads"], head.told)
    assert (table.column("e_mail_fiscal").field, table.column("e_mail_fiscal").about) == (("E_mail_fiscal",), "E-mail fiscal")
    assert str(table.column("e_mail_fiscal").classification) == "restricted"
    assert (table.column("e_mail_fiscal").pii, table.column("e_mail_fiscal").mask) == ("email", "hmac")
    server.control(remove_field={"module": "Leads", "name": "E_mail_fiscal"})
    server.control(add_field={"module": "Leads", "name": "E_MAIL_fiscal", "label": "Outro", "kind": "text"})
    lake.sync("leads")
    head = lake.log("leads").head()
    assert head is not None
    now = as_told(SOURCE.tables["leads"], head.told)
    assert now.column("e_mail_fiscal").field == ("E_mail_fiscal",)
    assert now.column("e_mail_fiscal_2").field == ("E_MAIL_fiscal",)


def test_what_may_be_read_is_tried_out(still: Server, beside: RawLake) -> None:
    still.control(forbid=["Cases", "Leads"])
    still.control(scopes_missing=["settings/roles"])
    tables = [SOURCE.tables[name] for name in ("users", "leads", "accounts", "cases", "roles", "profiles")]
    found = {table.name: bool(reason) for table, reason in connect.readable(SOURCE, beside.settings, tables)}
    assert found == {"users": False, "leads": True, "accounts": False, "cases": True, "roles": True, "profiles": False}


def test_documents_of_people_are_marked_in_custom_fields(beside: RawLake) -> None:
    run = opened(beside)
    try:
        contacts, accounts = run.contract(SOURCE.tables["contacts"]), run.contract(SOURCE.tables["accounts"])
    finally:
        run.close()
    assert [contacts.column("cpf").pii, accounts.column("cnpj").pii] == ["document", "document"]
    assert str(contacts.column("idiomas").type) == "list<string>"
    assert str(accounts.column("limite_de_credito").type) == "decimal(20,4)"


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"api_name": name, "data_type": kind, "display_label": name, "visible": True, **more}


def test_types_follow_the_source() -> None:
    described = [
        field("A", "formula", formula={"return_type": "currency"}, decimal_place=2),
        field("B", "rollup_summary", rollup_summary={"return_type": "integer"}),
        field("C", "multi_module_lookup"),
        field("D", "datetime"),
        field("E", "currency", decimal_place=6),
        field("F", "bigint"),
        field("G", "userlookup"),
    ]
    hidden = [
        field("H", "subform"),
        field("I", "text", type="unused"),
        field("J", "text", virtual_field=True),
        {**field("K", "text"), "visible": False},
        field("L", "text", view_type={"view": False}),
        field("$state", "text"),
    ]
    table = widened(SOURCE.tables["roles"], readable([*described, *hidden]), {c.name for c in SOURCE.tables["roles"].columns})
    told = {column.name: str(column.type) for column in table.columns[len(SOURCE.tables["roles"].columns) :]}
    assert told == {
        "a": "decimal(20,4)",
        "b": "int64",
        "c": "json",
        "d": "timestamp",
        "e": "decimal(25,9)",
        "f": "string",
        "g": "struct{name:string,id:string,email:string}",
    }


def test_names_of_found_tables_do_not_collide() -> None:
    def module(number: int, name: str, **more: Any) -> dict[str, Any]:
        made = {"id": str(number), "api_name": name, "api_supported": True, "viewable": True, "generated_type": "custom"}
        return {**made, "plural_label": name, **more}

    modules = [
        module(1, "Deals"),
        module(2, "Record_Tags"),
        module(3, "Obras_S"),
        module(4, "OBRAS_s"),
        module(5, "Quoted_Items", generated_type="subform"),
        module(6, "Portal", viewable=False),
        module(7, "Visitas", generated_type="web"),
    ]
    found = {described["api_name"]: table.name for described, table in without_contract(SOURCE, modules)}
    assert found == {"Record_Tags": "cm_record_tags", "Obras_S": "obras_s_records", "OBRAS_s": "obras_s_records_2"}
