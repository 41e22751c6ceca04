"""Xero read from its stand-in over real HTTP: logins, organisations, limits, pages that move, whole passes, reports."""

import dataclasses
import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.pipeline import run_source
from datalake.sandbox.base import Row, Server, running
from datalake.sandbox.xero import CUSTOM, FIRST_REFRESH_TOKEN
from datalake.secret_store import secret_store
from datalake.settings import SettingError, Settings
from datalake.sources import identify, open_run
from datalake.sources.base import Ask, AuthenticationFailed, Permanent, QuotaSpent, Skipped, SourceError, Transient, Window
from datalake.sources.engine import Extraction
from datalake.sources.progress import LogProgress
from datalake_tests.sources.raw_lake import Key, RawLake, key_of

SOURCE = contracts.load_source("xero")
NOW = 1_795_036_000
DAY = 86_400


@pytest.fixture
def xero() -> Iterator[Server]:
    with running("xero", now=NOW, scale=0.1, limits=False) as server:
        yield server


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One stand-in for all tests that leave the books alone, with one login that they share."""
    with running("xero", now=NOW, scale=0.1, limits=False) as server:
        secrets = tmp_path_factory.mktemp("secrets") / "secrets.json"
        yield dataclasses.replace(server, env={**server.env, "DATALAKE_SECRETS": str(secrets)})


@pytest.fixture
def still(standing: Server) -> Iterator[Server]:
    standing.calls(clear=True)
    yield standing
    standing.clear_faults()
    standing.control(page_cap=1000, forbid=[])


def tenants(server: Server) -> list[str]:
    """The two organisations, in the order in which the stand-in names them."""
    return [row.record["tenantId"] for row in server.ledger("connections") if row.record["tenantType"] == "ORGANISATION"]


def kept(lake: RawLake) -> dict[str, Any]:
    """The login as it is kept."""
    login: dict[str, Any] = json.loads(str(secret_store(lake.settings).get("XERO_TOKEN")))
    return login


def records(lake: RawLake, name: str) -> dict[Key, dict[str, Any]]:
    return {key: row.record for key, row in lake.living(name).items()}


def truth(name: str, ledger: list[Row]) -> dict[Key, dict[str, Any]]:
    """The ledger's living rows by key."""
    return {key_of(SOURCE.tables[name], row): row.record for row in ledger if not row.deleted}


def notes(extraction: Extraction | SourceError) -> str:
    assert isinstance(extraction, Extraction), extraction
    return " | ".join(extraction.notes)


def limited(problem: str, wait: int = 1) -> dict[str, Any]:
    return {"status": 429, "headers": {"X-Rate-Limit-Problem": problem, "Retry-After": str(wait)}}


# Login


def test_a_refresh_token_is_traded_once_kept_and_never_used_again(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    lake.sync("users")
    first = kept(lake)["refresh"]
    assert first not in ("", FIRST_REFRESH_TOKEN)
    lake.sync("users")
    assert sum(call["path"] == "/connect/token" for call in xero.calls()) == 1  # the access token is kept as well
    xero.advance(1)
    lake.sync("users")
    assert kept(lake)["refresh"] != first
    # Another machine that begins with a token used long ago is refused, and says what to do.
    error = RawLake("xero", tmp_path / "other", xero.env).error("users")
    assert isinstance(error, AuthenticationFailed)
    assert "datalake connect xero" in str(error)
    assert "used before" in str(error)
    assert FIRST_REFRESH_TOKEN not in str(error)


def test_a_token_that_ends_in_the_middle_of_a_run_is_renewed(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    xero.control(page_cap=10)
    refusal = json.dumps({"Title": "Unauthorized", "Status": 401, "Detail": "TokenExpired: token expired"})
    xero.fault("/Invoices", status=401, skip=2, body=refusal)
    lake.sync("invoices")
    calls = xero.calls()
    assert [call["status"] for call in calls].count(401) == 1
    assert sum(call["path"] == "/connect/token" for call in calls) == 2
    assert lake.differences("invoices", xero.ledger("invoices")) == []


def test_a_custom_connection_needs_no_login(xero: Server, tmp_path: Path) -> None:
    env = {**xero.env, "XERO_CLIENT_ID": CUSTOM, "XERO_CUSTOM_CONNECTION": "yes", "XERO_REFRESH_TOKEN": ""}
    lake = RawLake("xero", tmp_path, env)
    lake.sync("invoices")
    own = tenants(xero)[0]
    assert {key[0] for key in lake.living("invoices")} == {own}
    lake.sync("users")
    assert sum(call["path"] == "/connect/token" for call in xero.calls()) == 1
    wrong = RawLake("xero", tmp_path / "x", {**xero.env, "XERO_CUSTOM_CONNECTION": "yes"}).error("users")
    assert isinstance(wrong, AuthenticationFailed)
    assert "XERO_CUSTOM_CONNECTION" in str(wrong)


def test_settings_that_are_missing_or_wrong_are_named(still: Server, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="XERO_CLIENT_ID"):
        open_run(SOURCE, Settings.load({"DATALAKE_SECRETS": str(tmp_path / "s")}), LogProgress())
    with pytest.raises(SettingError, match="XERO_CALLS_A_MINUTE"):
        open_run(SOURCE, Settings.load({**still.env, "XERO_CALLS_A_MINUTE": "many"}), LogProgress())
    with pytest.raises(SettingError, match="Nobody"):
        RawLake("xero", tmp_path, still.env, XERO_TENANTS="Nobody").sync("users")


# Organisations


def test_every_connected_organisation_is_read_or_those_that_a_setting_names(still: Server, tmp_path: Path) -> None:
    first, second = tenants(still)
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("accounts")
    assert {key[0] for key in lake.living("accounts")} == {first, second}
    codes = [row["Code"] for row in records(lake, "accounts").values()]
    assert len(codes) == 2 * len(set(codes))  # the same codes stand in both, apart by tenant
    for named in (second, "Aurora Coffee Inc"):
        chosen = RawLake("xero", tmp_path / named, still.env, XERO_TENANTS=named)
        chosen.sync("accounts")
        assert {key[0] for key in chosen.living("accounts")} == {second}


def test_an_organisation_that_lost_its_connection_holds_up_nobody(xero: Server, tmp_path: Path) -> None:
    first, second = tenants(xero)
    lake = RawLake("xero", tmp_path, xero.env)
    lake.sync("connections", "users", "invoices")
    before = {key for key in lake.living("invoices") if key[0] == second}
    xero.advance(1)
    xero.control(disconnect=second)
    done = lake.sync("connections", "users", "invoices")
    assert all(isinstance(each, Extraction) for each in done.values())
    assert second in notes(done["users"])
    assert "stay as they were" in notes(done["users"])
    assert not notes(done["invoices"])  # told once a run
    gone = [row for row in lake.rows("connections").values() if row.deleted]
    assert [row.record["tenantId"] for row in gone] == [second]
    assert {key for key in lake.living("invoices") if key[0] == second} == before
    mine = truth("invoices", xero.ledger("invoices"))
    assert {key for key in lake.living("invoices") if key[0] == first} == {key for key in mine if key[0] == first}
    xero.control(disconnect=first)
    error = lake.error("users")
    assert isinstance(error, AuthenticationFailed)
    assert "no organisation is connected" in str(error)


def test_a_connection_lost_during_a_run_ends_that_organisation_only(xero: Server, tmp_path: Path) -> None:
    second = tenants(xero)[1]
    lake = RawLake("xero", tmp_path, xero.env)
    xero.control(page_cap=8)
    lake.sync("connections")
    run = open_run(SOURCE, lake.settings, LogProgress())
    try:
        assert len(run.tenants) == 2  # type: ignore[attr-defined]  # the run of this source
        xero.control(disconnect=second)
        told = [notes(lake.read(run, name)) for name in ("users", "invoices")]
    finally:
        run.close()
    assert all("no longer connected" in each for each in told)
    assert sum(call["status"] == 403 for call in xero.calls()) == 1  # it is not asked again
    assert {key[0] for key in lake.living("invoices")} == set(lake.cursor("invoices")["tenants"]) == {tenants(xero)[0]}


def test_an_organisation_that_fails_is_an_error_after_the_others_are_read(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    body = {"ErrorNumber": 16, "Type": "QueryParseException", "Message": "No property"}
    still.fault("/Users", status=400, body=json.dumps(body))
    error = lake.error("users")
    assert isinstance(error, Permanent)
    assert "QueryParseException" in str(error)
    assert len({key[0] for key in lake.living("users")}) == 1
    lake.sync("users")
    assert lake.differences("users", still.ledger("users")) == []


def test_a_reading_that_is_left_ends_its_threads(still: Server, tmp_path: Path) -> None:
    still.control(page_cap=1)
    run = open_run(SOURCE, RawLake("xero", tmp_path, still.env).settings, LogProgress())
    try:
        items = run.rows(Ask(SOURCE.tables["invoices"], {}, None, False, None, lambda _text: None))
        next(items)
        items.close()  # type: ignore[attr-defined]  # a generator
        until = time.monotonic() + 5
        while any(thread.name.startswith("read ") for thread in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert len([call for call in still.calls() if call["path"].endswith("/Invoices")]) < 20
    finally:
        run.close()


def test_a_missing_scope_skips_the_table_with_its_reason(still: Server, tmp_path: Path) -> None:
    second = tenants(still)[1]
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("users")
    still.calls(clear=True)
    still.control(forbid=["Journals"])
    error = lake.error("journals")
    assert isinstance(error, Skipped)
    assert "a scope is missing" in str(error)
    assert not [call for call in still.calls() if call["path"] == "/connect/token"]  # no token is spent on it
    still.control(forbid=[f"Journals@{second}"])
    told = notes(lake.sync("journals")["journals"])
    assert "Aurora Coffee Inc was left as it was" in told
    assert {key[0] for key in lake.living("journals")} == {tenants(still)[0]}
    still.control(forbid=[])
    lake.sync("journals")
    assert lake.differences("journals", still.ledger("journals")) == []


def test_who_is_asking_and_what_it_may_read(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    assert identify(SOURCE, lake.settings) == "Café Aurora Ltda, Aurora Coffee Inc; the scopes cover all core tables"
    login = kept(lake)
    login["facts"]["scope"] = "accounting.transactions accounting.settings.read accounting.contacts"
    secret_store(lake.settings).put("XERO_TOKEN", json.dumps(login))
    told = identify(SOURCE, lake.settings)
    assert "do not cover budget_balances, budgets, journal_line_tracking" in told
    assert "report_trial_balance" in told
    assert "invoices" not in told.replace("invoice_", "")


def test_an_endpoint_that_is_gone_is_skipped(still: Server, tmp_path: Path) -> None:
    still.fault("/Employees", status=404, times=2, body='{"Message": "gone"}')
    error = RawLake("xero", tmp_path, still.env).error("employees")
    assert isinstance(error, Skipped)
    assert "no such endpoint" in str(error)


# Limits


def test_a_minute_that_is_full_is_waited_for(still: Server, tmp_path: Path) -> None:
    still.fault("/Users", **limited("minute"))
    lake = RawLake("xero", tmp_path, still.env)
    began = time.monotonic()
    extraction = lake.sync("users")["users"]
    assert time.monotonic() - began >= 1
    assert extraction.calls["limited"] == 1


def test_too_many_at_once_is_tried_again_without_closing_the_minute(still: Server, tmp_path: Path) -> None:
    still.fault("/Users", **limited("concurrent", 30))
    extraction = RawLake("xero", tmp_path, still.env).sync("users")["users"]
    assert (extraction.calls["limited"], extraction.calls["retries"]) == (0, 1)
    assert extraction.calls["waited"] < 5


def test_the_app_s_own_minute_stops_every_organisation(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    still.fault("/Users", **limited("appminute", 2))
    run = open_run(SOURCE, lake.settings, LogProgress())
    try:
        first, second = run.tenants  # type: ignore[attr-defined]  # the run of this source
        users = SOURCE.tables["users"]
        began = time.monotonic()
        first.get(users, users.path)
        second.get(users, users.path)
        assert time.monotonic() - began >= 2
        assert second.http.calls(users.id)["waited"] < 1  # it had passed by then
        still.fault("/Users", **limited("appminute", 2))
        thread = threading.Thread(target=first.get, args=(users, users.path))
        thread.start()
        while [call["status"] for call in still.calls()].count(429) < 2:
            time.sleep(0.02)
        time.sleep(0.2)  # until the refusal has come here as well
        second.get(users, users.path)
        thread.join()
        assert second.http.calls(users.id)["waited"] > 0.3
    finally:
        run.close()


def test_at_most_five_calls_are_open_for_one_organisation(xero: Server, tmp_path: Path) -> None:
    xero.control(limits={"minute": 10_000, "day": 10_000, "concurrent": 5, "work": 0.03})
    lake = RawLake("xero", tmp_path, xero.env)
    lake.sync("organisations", "projects", "invoices", "history_records")
    assert {call["status"] for call in xero.calls()} == {200}


def test_what_was_used_of_the_minute_before_the_run_counts(xero: Server, tmp_path: Path) -> None:
    xero.control(limits={"minute": 60, "day": 10_000, "concurrent": 5})
    lake = RawLake("xero", tmp_path, xero.env, XERO_CALLS_A_MINUTE="60")
    lake.sync("users", "accounts", "items", "currencies", "tax_rates", "contacts", "invoices")
    run = open_run(SOURCE, lake.settings, LogProgress())
    try:
        tenant = run.tenants[0]  # type: ignore[attr-defined]  # the run of this source
        users = SOURCE.tables["users"]
        left = int(tenant.get(users, users.path).headers["X-MinLimit-Remaining"])
        assert left < 55
        for _ in range(left):
            tenant.get(users, users.path)
        assert tenant.http.calls(users.id)["waited"] < 1
        # This run made fewer than sixty calls, yet the next one has to wait.
        assert tenant.http.budget._declared[0].open_at() > time.monotonic() + 30
        assert 429 not in {call["status"] for call in xero.calls()}
    finally:
        run.close()


def test_a_spent_day_ends_one_organisation_keeps_its_rows_and_leaves_the_others_going(xero: Server, tmp_path: Path) -> None:
    first, second = tenants(xero)
    lake = RawLake("xero", tmp_path, xero.env)
    xero.control(page_cap=4, limits={"minute": 10_000, "day": 10_000, "concurrent": 5})
    lake.sync("users")
    # Its day ends after three pages of invoices.
    xero.control(limits={"minute": 10_000, "day": 4, "concurrent": 5})
    done = lake.attempt("invoices", "accounts")
    assert isinstance(done["invoices"], QuotaSpent)
    assert isinstance(done["accounts"], QuotaSpent)
    kept = {tenant: {key for key in lake.living("invoices") if key[0] == tenant} for tenant in (first, second)}
    assert all(len(rows) == 13 for rows in kept.values())  # each page begins with the last second of the one before
    assert all("pass" in state for state in lake.cursor("invoices")["tenants"].values())
    assert 429 not in {call["status"] for call in xero.calls()}  # the last call said that none is left
    # The next day the run goes on where it stopped.
    xero.control(limits={"minute": 10_000, "day": 10_000, "concurrent": 5})
    xero.calls(clear=True)
    lake.sync("invoices")
    assert lake.differences("invoices", xero.ledger("invoices")) == []
    told = [line["record"]["InvoiceID"] for line in lake.lines("invoices") if "record" in line]
    assert len(told) < 1.4 * len(set(told))  # what was kept was not read again, but for each page's last second
    # One organisation's day ends, the other goes on.
    xero.advance(1)
    xero.fault("/Contacts", **limited("day", 66_975))
    done = lake.attempt("contacts", "quotes")
    assert "no call left today; the day opens again in 66,975 s" in notes(done["contacts"]) + notes(done["quotes"])
    assert len({key[0] for key in lake.living("contacts")}) == 1
    assert len({key[0] for key in lake.living("quotes")}) == 1


# Pages that move, and what changes without a stamp


def test_rows_that_are_edited_while_they_are_read_are_not_lost(xero: Server, tmp_path: Path) -> None:
    """A row that is edited moves to the end: by page numbers, the first row of the next page would slip into the one before."""
    lake = RawLake("xero", tmp_path, xero.env)
    xero.control(page_cap=7, disturb={"Invoices": "first"})
    lake.sync("invoices")
    assert lake.differences("invoices", xero.ledger("invoices")) == []


def test_pages_without_an_order_are_counted_and_read_again(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    xero.control(page_cap=3, disturb={"ManualJournals": "last"})
    extraction = lake.sync("manual_journals")["manual_journals"]
    assert "moved between pages" in notes(extraction)
    assert lake.differences("manual_journals", xero.ledger("manual_journals")) == []


def test_pages_that_never_stand_still_are_an_error(still: Server, tmp_path: Path) -> None:
    one = {"ManualJournalID": "a", "UpdatedDateUTC": "/Date(1)/"}
    body = json.dumps({"pagination": {"page": 1, "pageSize": 3, "pageCount": 1, "itemCount": 2}, "ManualJournals": [one]})
    still.fault("/ManualJournals", status=200, body=body, times=6)
    error = RawLake("xero", tmp_path, still.env).error("manual_journals")
    assert isinstance(error, Transient)
    assert "only 1 of 2 rows came" in str(error)


def test_an_order_that_is_not_kept_is_noticed(still: Server, tmp_path: Path) -> None:
    rows = [{"InvoiceID": name, "UpdatedDateUTC": f"/Date({at}+0000)/"} for name, at in (("a", 9000), ("b", 1000))]
    body = json.dumps({"pagination": {"page": 1, "pageSize": 2, "pageCount": 9, "itemCount": 18}, "Invoices": rows})
    still.fault("/Invoices", status=200, body=body)
    lake = RawLake("xero", tmp_path, still.env)
    assert "not come in the order" in notes(lake.sync("invoices")["invoices"])
    assert lake.differences("invoices", still.ledger("invoices")) == []


def test_a_thousand_rows_of_one_second_are_all_read(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    for key in list(truth("invoices", xero.ledger("invoices")))[:20]:
        xero.control(silent=["invoices", key[1], {"UpdatedDateUTC": "/Date(1790000000500+0000)/"}])
    xero.control(page_cap=6)
    lake.sync("invoices")
    assert lake.differences("invoices", xero.ledger("invoices")) == []


def test_nothing_new_is_told_once_whatever_the_status(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("invoices", "quotes", "receipts")
    still.fault("/(Invoices|Quotes|Receipts)", status=304, times=6)
    assert all(each.rows == 0 for each in lake.sync("invoices", "quotes", "receipts").values())
    still.calls(clear=True)
    assert all(each.rows == 0 for each in lake.sync("invoices", "quotes", "receipts").values())
    assert len(still.calls()) == 7  # one a list and organisation, and the connections


def test_once_a_week_everything_is_read_again(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    names = ("contacts", "invoices", "invoice_line_items", "invoice_line_item_tracking")
    lake.sync(*names)
    (contact, *_), invoices = truth("contacts", xero.ledger("contacts")), truth("invoices", xero.ledger("invoices"))
    gone = next(key for key, record in invoices.items() if any(line["Tracking"] for line in record["LineItems"]))
    balances = {"AccountsReceivable": {"Outstanding": 12.34, "Overdue": 0.0}}
    xero.control(silent=["contacts", contact[1], {"Balances": balances}], vanish=["invoices", gone[1]])
    lake.sync(*names)
    assert records(lake, "contacts")[contact]["Balances"] != balances
    assert gone in lake.living("invoices")
    xero.advance(7)
    lake.sync(*names)
    assert records(lake, "contacts")[contact]["Balances"] == balances
    for name in names:
        assert lake.differences(name, xero.ledger(name)) == [], name
    assert lake.rows("invoices")[gone].deleted
    assert not [
        key for key, row in lake.rows("invoice_line_items").items() if row.add["invoice_id"] == gone[1] and not row.deleted
    ]


def test_journals_go_on_behind_the_highest_number_and_look_back_for_late_ones(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    lake.sync("journals")
    xero.calls(clear=True)
    xero.advance(1)
    new = lake.sync("journals")["journals"]
    assert lake.differences("journals", xero.ledger("journals")) == []
    keys = [line["record"]["JournalID"] for line in lake.lines("journals")]
    assert len(keys) == len(set(keys))  # none is told twice
    assert 0 < new.rows < len(keys)
    window = Window(dt.datetime.fromtimestamp(NOW - 9 * DAY, dt.UTC), dt.datetime.fromtimestamp(NOW, dt.UTC))
    before = lake.cursor("journals")
    stretch = lake.sync("journals", window=window)["journals"]
    assert lake.cursor("journals") == before
    inside = [
        row for row in xero.ledger("journals") if (NOW - 9 * DAY) * 1000 <= int(row.record["CreatedDateUTC"][6:19]) < NOW * 1000
    ]
    assert stretch.rows == len(inside) > 0


def test_a_window_reads_what_changed_in_it(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    window = Window(dt.datetime.fromtimestamp(NOW - 9 * DAY, dt.UTC), dt.datetime.fromtimestamp(NOW, dt.UTC))
    for name in ("invoices", "manual_journals", "receipts"):
        lake.sync(name, window=window)
        told = {line["record"]["UpdatedDateUTC"] for line in lake.lines(name)}
        assert told
        assert all((NOW - 9 * DAY) * 1000 <= int(text[6:19]) < NOW * 1000 for text in told)
        assert lake.cursor(name) == {}


def test_children_without_ids_are_told_apart(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    names = ("overpayments", "overpayment_allocations", "overpayment_line_items")
    lake.sync(*names)
    xero.advance(2)
    lake.sync(*names)
    assert any("AllocationID" not in record for record in records(lake, "overpayment_allocations").values())
    for name in names:
        assert lake.differences(name, xero.ledger(name)) == []


def test_a_budget_is_an_object_or_an_array(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("budgets", "budget_balances")
    found = records(lake, "budget_balances")
    assert lake.differences("budget_balances", still.ledger("budget_balances")) == []
    assert all(isinstance(record["Amount"], str) for record in found.values())
    assert lake.sync("budget_balances")["budget_balances"].rows == 0
    tenant, budget, account, _ = next(iter(found))
    line = {"AccountID": account, "AccountCode": "200", "BudgetBalances": [{"Period": "2026-02", "Amount": "7.10"}]}
    still.fault(f"/Budgets/{budget}", status=200, body=json.dumps({"Budgets": [{"BudgetID": budget, "BudgetLines": [line]}]}))
    lake.sync("budget_balances")
    assert {key: record for key, record in records(lake, "budget_balances").items() if key[:2] == (tenant, budget)} == {
        (tenant, budget, account, "2026-02"): {"Period": "2026-02", "Amount": "7.10"}
    }


# Reports


def test_a_report_is_a_snapshot_of_its_day(xero: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, xero.env)
    first = lake.sync("report_trial_balance")["report_trial_balance"]
    assert first.rows > 0
    assert lake.sync("report_trial_balance")["report_trial_balance"].rows == 0
    calls = [call["query"] for call in xero.calls() if call["path"].endswith("TrialBalance")]
    assert len(calls) == 2 * 2 * 3  # two runs, two organisations, three months
    xero.advance(1)
    lake.sync("report_trial_balance")
    days = {row.add["snapshot_date"] for row in lake.rows("report_trial_balance").values()}
    today = dt.datetime.fromtimestamp(NOW, dt.UTC).date()
    assert days == {str(today), str(today + dt.timedelta(days=1))}
    numbers = [record for record in records(lake, "report_trial_balance").values() if record["value"] is not None]
    assert all(record["value"] == record["value_text"] for record in numbers)
    headers = {
        record["value_text"] for record in records(lake, "report_trial_balance").values() if record["row_type"] == "Header"
    }
    assert headers == {"Account", "Debit", "Credit", "YTD Debit", "YTD Credit"}
    # Debits equal credits in each organisation and month.
    for tenant in tenants(xero):
        sums = {title: Decimal() for title in ("YTD Debit", "YTD Credit")}
        for key, record in records(lake, "report_trial_balance").items():
            if key[0] == tenant and key[1] == str(today) and key[2] == str(today) and record["column_title"] in sums:
                sums[record["column_title"]] += Decimal(record["value"] or 0)
        assert abs(sums["YTD Debit"] - sums["YTD Credit"]) < 1


def test_a_report_that_got_shorter_on_the_same_day_loses_its_rows(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("report_bank_summary")
    before = records(lake, "report_bank_summary")
    cells = [{"Value": "Total"}, {"Value": "-1234.50"}, {"Value": "12.5%"}]
    report = {"ReportName": "Bank Summary", "UpdatedDateUTC": "/Date(1)/", "Rows": [{"RowType": "Row", "Cells": cells}]}
    still.fault("/Reports/BankSummary", status=200, body=json.dumps({"Reports": [report]}))
    lake.sync("report_bank_summary")
    after = records(lake, "report_bank_summary")
    assert len(after) < len(before)
    changed = [record for key, record in after.items() if record["report_name"] == "Bank Summary"]
    assert [record["value"] for record in changed] == [None, "-1234.50", None]
    assert [record["value_text"] for record in changed] == ["Total", "-1234.50", "12.5%"]


def test_ageing_is_asked_for_once_a_day_for_contacts_with_open_documents(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("invoices", "report_aged_receivables_by_contact")
    open_ = {
        (row.add["tenant_id"], row.record["Contact"]["ContactID"])
        for row in still.ledger("invoices")
        if row.record["Type"] == "ACCREC" and row.record["Status"] == "AUTHORISED" and row.record["AmountDue"] > 0
    }
    rows = lake.rows("report_aged_receivables_by_contact").values()
    assert {(row.add["tenant_id"], row.add["contact_id"]) for row in rows} == open_ != set()
    invoices = {row.record["InvoiceID"] for row in still.ledger("invoices")}
    assert {row.record["invoice_id"] for row in rows} - {None} <= invoices
    still.calls(clear=True)
    lake.sync("report_aged_receivables_by_contact")
    assert not [call for call in still.calls() if "Aged" in call["path"]]


def test_months_of_the_past_can_be_asked_for(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    window = Window(dt.datetime(2026, 1, 10, tzinfo=dt.UTC), dt.datetime(2026, 2, 3, tzinfo=dt.UTC))
    lake.sync("report_profit_and_loss", window=window)
    asked = {call["query"] for call in still.calls() if "ProfitAndLoss" in call["path"]}
    assert {query.partition("standardLayout=true&")[2] for query in asked} == {
        "fromDate=2026-01-01&toDate=2026-01-31",
        "fromDate=2026-02-01&toDate=2026-02-28",
    }


def test_yearly_reports_are_asked_for_in_the_united_states_only(still: Server, tmp_path: Path) -> None:
    lake = RawLake("xero", tmp_path, still.env)
    lake.sync("organisations", "report_ten_ninety_nine")
    assert {key[0] for key in lake.living("report_ten_ninety_nine")} == {tenants(still)[1]}
    assert {call["status"] for call in still.calls()} == {200}
    assert not any("XEROAPIKEY" in json.dumps(line) for line in lake.lines("organisations"))


# All the way


def test_amounts_are_exact_and_dates_never_shift(xero: Server, tmp_path: Path) -> None:
    (key, *_) = truth("invoices", xero.ledger("invoices"))
    exact = {
        "Total": -98765432109.8765,
        "AmountDue": 0.1,
        "CurrencyRate": 0.1847654321,
        "CurrencyCode": "USD",
        "TotalTax": -0.005,
    }
    dates = {
        "Date": "/Date(1763769600000+1300)/",
        "DueDate": "/Date(-86400000+0000)/",
        "FullyPaidOnDate": "/Date(1758672000000)/",
    }
    xero.control(silent=["invoices", key[1], {**exact, **dates}])
    settings = Settings.load({"DATALAKE_URL": str(tmp_path / "lake"), **xero.env})
    lake = Lake(settings)
    try:
        for step in run_source(lake, SOURCE, [SOURCE.tables["invoices"]], run_id="t", progress=LogProgress()):
            assert step.error is None
            step.commit()
        connection = lake.connect()
        row = connection.execute(
            """SELECT total, amount_due, currency_rate, currency_code, total_tax, date, due_date, fully_paid_on_date
            FROM lake.xero.invoices WHERE tenant_id = ? AND invoice_id = ?""",
            list(key),
        ).fetchone()
        connection.close()
    finally:
        lake.close()
    assert row == (
        Decimal("-98765432109.8765"), Decimal("0.1000"), Decimal("0.1847654321"), "USD", Decimal("-0.0050"),
        dt.date(2025, 11, 22), dt.date(1969, 12, 31), dt.date(2025, 9, 24),
    )  # fmt: skip
