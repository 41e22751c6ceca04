"""The stand-in for Stripe answers as Stripe does: its shapes against the official description, its rules over real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from datalake import contracts
from datalake.model import Table
from datalake.sandbox.base import Server, running
from datalake.sandbox.stripe import PATHS

SPECS = Path(__file__).parent.parent / "specs" / "stripe"
SPEC, EXTENDED_SPEC = (json.loads((SPECS / f"{name}.json").read_text()) for name in ("schema", "extended"))
FIELDS: dict[str, dict[str, Any]] = {}
"""Kind of an object -> its official fields."""
VALIDATORS = {}
for spec in (EXTENDED_SPEC, SPEC):
    for kind, name in spec["objects"].items():
        FIELDS[kind] = spec["$defs"][name]["properties"]
        VALIDATORS[kind] = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": spec["$defs"]})
SOURCE = contracts.load_source("stripe")
CORE = [table for table in SOURCE.tables.values() if table.core]
EXTENDED = [table for table in SOURCE.tables.values() if not table.core]
KINDS = {table.name: table.name.removesuffix("s") for table in CORE} | {
    "balance_transaction_fee_details": "",  # no object of its own
    "invoice_items": "invoiceitem",
    "invoice_line_items": "line_item",
    "payout_balance_transactions": "balance_transaction",
}
EXTENDED_KINDS = {
    "active_entitlements": "entitlements.active_entitlement",
    "application_fee_refunds": "fee_refund",
    "balance": "balance",
    "billing_meter_event_summaries": "billing.meter_event_summary",
    "capabilities": "capability",
    "checkout_session_line_items": "item",
    "customer_balance_transactions": "customer_balance_transaction",
    "customer_bank_accounts": "bank_account",
    "customer_cards": "card",
    "customer_cash_balance_transactions": "customer_cash_balance_transaction",
    "exchange_rates": "exchange_rate",
    "external_account_bank_accounts": "bank_account",
    "external_account_cards": "card",
    "payment_link_line_items": "item",
    "persons": "person",
    "product_features": "product_feature",
    "quote_line_items": "item",
    "tax_ids": "tax_id",
    "transfer_reversals": "transfer_reversal",
    "usage_record_summaries": "usage_record_summary",
}
KINDS |= {table.name: EXTENDED_KINDS.get(table.name) or PATHS.get(table.path.removeprefix("/v1/"), "") for table in EXTENDED}
NOW = 1_795_000_000
DAY = 86_400
KEY = {"Authorization": "Bearer rk_live_sandbox", "Stripe-Version": "2026-10-28.endive"}


def get(server: Server, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(server.url + path, headers={**KEY, **headers})
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def walk(server: Server, path: str, page: str = "limit=100") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        after = f"&starting_after={rows[-1]['id']}" if rows else ""
        _, answer, _ = get(server, f"{path}{'&' if '?' in path else '?'}{page}{after}")
        rows += answer["data"]
        if not answer["has_more"]:
            return rows


@pytest.fixture(scope="module")
def stripe() -> Iterator[Server]:
    with running("stripe", now=NOW, limits=False) as server:
        yield server


def faults(record: dict[str, Any]) -> list[str]:
    errors = VALIDATORS[record["object"]].iter_errors(record)
    return [f"{record.get('id')} {error.json_path}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize("table", CORE, ids=lambda table: table.name)
def test_answers_have_the_official_shape(stripe: Server, table: Table) -> None:
    """What the table asks for, asked as the table asks, fits the official type: all required fields, no other field."""
    query = "&".join(f"{name}={value}" for name, value in table.params if value != "{id}" and name != "limit")
    if table.name == "account":
        records = [get(stripe, "/v1/account")[1]]
    elif table.parent is None:
        records = walk(stripe, f"{table.path}?{query}")
    else:
        records = [row.record for row in stripe.ledger(table.name)]
    assert records
    if KINDS[table.name]:
        assert {record["object"] for record in records} == {KINDS[table.name]}
        assert [fault for record in records for fault in faults(record)][:5] == []


def test_a_shape_that_is_not_official_is_found(stripe: Server) -> None:
    (refund, *_) = walk(stripe, "/v1/refunds")
    assert faults({**refund, "made_up": 1})
    assert faults({name: value for name, value in refund.items() if name != "charge"})
    assert faults({**refund, "amount": "1"})
    assert faults({**refund, "reason": "because"})


def test_changed_and_later_objects_keep_the_official_shape() -> None:
    with running("stripe", seed=3, scale=0.4, now=NOW, limits=False) as server:
        server.advance(35)
        for table in CORE:
            if KINDS[table.name]:
                assert [fault for row in server.ledger(table.name) for fault in faults(row.record)][:5] == []


@pytest.mark.parametrize("table", EXTENDED, ids=lambda table: table.name)
def test_answers_about_extended_tables_have_the_official_shape(extended: Server, table: Table) -> None:
    records = asked(extended, table)
    assert records
    if KINDS[table.name]:
        assert {record["object"] for record in records} == {KINDS[table.name]}
        assert [fault for record in records for fault in faults(record)][:5] == []


def asked(server: Server, table: Table) -> list[dict[str, Any]]:
    """What the table asks for, asked as the table asks, of all its parents that are alive."""
    query = "&".join(f"{name}={value}" for name, value in table.params if value != "{id}" and name != "limit")
    by = next((name for name, value in table.params if value == "{id}"), "")
    if table.rows in ("from_parent", "snapshot"):
        return [row.record for row in server.ledger(table.name)]
    if table.parent is None:
        return walk(server, f"{table.path}?{query}", "limit=100" if dict(table.params).get("limit") else "")
    if table.name == "billing_meter_event_summaries":
        customer = next(row.add["customer_id"] for row in server.ledger(table.name) if not row.deleted)
        midnight = NOW // DAY * DAY
        query += f"&customer={customer}&start_time={midnight - 40 * DAY}&end_time={midnight}"
    headers = {"Stripe-Version": "2025-02-24.acacia"} if table.name == "usage_record_summaries" else {}
    records: list[dict[str, Any]] = []
    for row in server.ledger(table.parent):
        if not row.deleted:
            path = f"{table.path}?{by}={row.record['id']}" if by else re.sub(r"\{\w+\}", row.record["id"], table.path)
            status, answer, _ = get(server, f"{path}{'&' if by else '?'}{query}", **headers)
            records += answer["data"] if status == 200 else []
    return records


@pytest.fixture(scope="module")
def extended() -> Iterator[Server]:
    """After five days, so that every department of the company has done something of everything."""
    with running("stripe", seed=3, scale=0.4, now=NOW - 5 * DAY, limits=False) as server:
        server.advance(5)
        get(server, "/v1/balance")
        get(server, "/v1/exchange_rates")
        yield server


@pytest.mark.parametrize("table", SOURCE.tables.values(), ids=lambda table: table.name)
def test_columns_and_events_of_the_contract_are_official(table: Table) -> None:
    assert set(table.events) <= set(SPEC["$defs"]["Events.Event.Type"]["enum"])
    if not KINDS[table.name] and table.name != "balance_transaction_fee_details":
        return  # parts of other objects, without a name of their own in the description
    fields = FIELDS[KINDS[table.name]] if KINDS[table.name] else FEE_FIELDS
    for column in table.columns:
        assert column.from_request or column.field[0] in fields, column.name
    named = {column.field[0] for column in table.columns} | set(table.ignore) | {path.split(".")[0] for path in table.secrets}
    assert set(fields) <= named, "official fields that the contract neither names nor ignores"


FEE_FIELDS = SPEC["$defs"]["BalanceTransactions.BalanceTransaction.FeeDetail"]["properties"]


def test_the_company_is_consistent(stripe: Server) -> None:
    charges = {row["id"]: row for row in walk(stripe, "/v1/charges")}
    customers = {row.record["id"] for row in stripe.ledger("customers")}
    movements = {row["id"]: row for row in walk(stripe, "/v1/balance_transactions")}
    refunds = walk(stripe, "/v1/refunds")
    for row in movements.values():
        assert row["net"] == row["amount"] - row["fee"]
        assert row["fee"] == sum(fee["amount"] for fee in row["fee_details"])
    for row in charges.values():
        assert row["customer"] in customers
        assert not row["paid"] or movements[row["balance_transaction"]]["source"] == row["id"]
        assert row["amount_refunded"] == sum(refund["amount"] for refund in refunds if refund["charge"] == row["id"])
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in stripe.ledger("invoice_line_items"):
        lines.setdefault(row.record["invoice"], []).append(row.record)
    invoices = walk(stripe, "/v1/invoices")
    for row in invoices:
        assert row["subtotal"] == sum(line["amount"] for line in lines[row["id"]])
        assert row["total"] == row["subtotal"] - sum(each["amount"] for each in row["total_discount_amounts"])
        assert row["lines"]["has_more"] == (len(lines[row["id"]]) > 10)
        assert len(row["lines"]["data"]) == min(10, len(lines[row["id"]]))
    assert any(row["lines"]["has_more"] for row in invoices)
    for row in walk(stripe, "/v1/payouts"):
        if row["automatic"]:
            settled = walk(stripe, f"/v1/balance_transactions?payout={row['id']}")
            assert sum(each["net"] for each in settled) == 0
            assert sum(each["net"] for each in settled if each["source"] != row["id"]) == row["amount"]
    assert {row["currency"] for row in charges.values()} >= {"brl", "jpy", "kwd", "usd"}


def test_lists_are_paged_as_stripe_pages(stripe: Server) -> None:
    _, first, headers = get(stripe, "/v1/charges")
    assert (first["object"], len(first["data"]), first["has_more"], first["url"]) == ("list", 10, True, "/v1/charges")
    assert headers["request-id"].startswith("req_")
    everything = walk(stripe, "/v1/charges")
    assert [row["created"] for row in everything] == sorted((row["created"] for row in everything), reverse=True)
    assert [row["id"] for row in walk(stripe, "/v1/charges", "limit=7")] == [row["id"] for row in everything]
    _, before, _ = get(stripe, f"/v1/charges?limit=3&ending_before={everything[10]['id']}")
    assert [row["id"] for row in before["data"]] == [row["id"] for row in everything[7:10]]
    low, high = everything[50]["created"], everything[20]["created"]
    inside = walk(stripe, f"/v1/charges?created[gte]={low}&created[lt]={high}")
    assert inside == [row for row in everything if low <= row["created"] < high]


@pytest.mark.parametrize(
    "path, status, says",
    [
        ("/v1/charges?limit=101", 400, "limit"),
        ("/v1/charges?starting_after=ch_gone", 400, "No such charge: 'ch_gone'"),
        ("/v1/charges?starting_after=a&ending_before=b", 400, "only one"),
        ("/v1/charges?colour=red", 400, "Received unknown parameter: colour"),
        ("/v1/charges?expand[]=data.nothing", 400, "cannot be expanded"),
        ("/v1/charges?created[gte]=monday", 400, "Invalid integer"),
        ("/v1/charges/ch_gone", 404, "No such charge"),
        ("/v1/subscription_items", 400, "Missing required param: subscription"),
        ("/v1/nothing", 404, "Unrecognized request URL"),
        ("/v1/nothing/of/the/kind", 404, "Unrecognized request URL"),
        ("/v1/quotes?created[gte]=1", 400, "Received unknown parameter: created[gte]"),
        ("/v1/reporting/report_types?limit=1", 400, "Received unknown parameter: limit"),
        ("/v1/accounts/acct_gone", 403, "does not have access to account 'acct_gone'"),
        ("/v1/accounts/acct_gone/persons", 403, "does not have access to account 'acct_gone'"),
        ("/v1/customers/cus_gone/sources?object=card", 404, "No such customer"),
        ("/v1/setup_attempts", 400, "Missing required param: setup_intent"),
        ("/v1/payment_attempt_records", 400, "Missing required param: payment_record"),
        ("/v1/entitlements/active_entitlements", 400, "Missing required param: customer"),
        ("/v1/billing/meters/mtr_gone/event_summaries", 404, "No such billing.meter"),
        ("/v1/subscription_items/si_1/usage_record_summaries", 404, "Unrecognized request URL"),
    ],
)
def test_wrong_questions_are_refused_in_stripes_form(stripe: Server, path: str, status: int, says: str) -> None:
    found, body, _ = get(stripe, path)
    assert found == status
    assert says in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"


def test_keys_versions_and_modes(stripe: Server) -> None:
    assert get(stripe, "/v1/charges", Authorization="")[0] == 401
    assert get(stripe, "/v1/charges", Authorization="Bearer rk_live_other")[0] == 401
    assert get(stripe, "/v1/charges", **{"Stripe-Account": "acct_other"})[0] == 403
    assert get(stripe, "/v1/charges", **{"Stripe-Version": "newest"})[0] == 400
    assert get(stripe, "/v1/invoice_payments", **{"Stripe-Version": "2024-06-20"})[0] == 404
    live, test = (get(stripe, "/v1/charges?limit=1", Authorization=f"Bearer rk_{mode}_sandbox")[1] for mode in ("live", "test"))
    assert (live["data"][0]["livemode"], test["data"][0]["livemode"]) == (True, False)


def test_what_only_comes_when_asked_for(stripe: Server) -> None:
    plain, asked = get(stripe, "/v1/prices?limit=100")[1], get(stripe, "/v1/prices?limit=100&expand[]=data.tiers")[1]
    assert not any("tiers" in row for row in plain["data"])
    tiered = next(row for row in asked["data"] if row["billing_scheme"] == "tiered")
    assert tiered["tiers"][1]["unit_amount_decimal"] == "2.5"
    assert "tiers" in get(stripe, f"/v1/prices/{tiered['id']}?expand[]=tiers")[1]
    canceled = [row for row in walk(stripe, "/v1/subscriptions?status=all") if row["status"] == "canceled"]
    assert canceled
    assert not {row["id"] for row in canceled} & {row["id"] for row in walk(stripe, "/v1/subscriptions")}
    manual = next(row for row in walk(stripe, "/v1/payouts") if not row["automatic"])
    status, body, _ = get(stripe, f"/v1/balance_transactions?payout={manual['id']}")
    assert status == 400
    assert "automatic" in body["error"]["message"]


def test_usage_is_given_by_whole_days(extended: Server) -> None:
    row = next(row for row in extended.ledger("billing_meter_event_summaries") if not row.deleted)
    path, day = f"/v1/billing/meters/{row.record['meter']}/event_summaries", row.record["start_time"]
    one = f"{path}?customer={row.add['customer_id']}&value_grouping_window=day&start_time={day}&end_time={day + DAY}"
    assert get(extended, one)[1]["data"] == [row.record]
    status, body, _ = get(extended, f"{one}5")
    assert (status, body["error"]["param"]) == (400, "end_time")


def test_lists_that_show_only_a_part(extended: Server) -> None:
    reviews = [row.record for row in extended.ledger("reviews")]
    closed = [review["id"] for review in reviews if not review["open"]]
    assert closed
    assert {review["id"] for review in walk(extended, "/v1/reviews")} == {r["id"] for r in reviews} - set(closed)
    assert get(extended, f"/v1/reviews/{closed[0]}")[1]["closed_reason"] == "approved"
    assert {row["status"] for row in walk(extended, "/v1/quotes?status=draft")} == {"draft"}
    owner = next(row.record["customer"] for row in extended.ledger("customer_cards") if not row.deleted)
    kinds = [row["object"] for row in walk(extended, f"/v1/customers/{owner}/sources")]
    assert set(kinds) == {"card", "bank_account"}
    assert {row["object"] for row in walk(extended, f"/v1/customers/{owner}/sources?object=card")} == {"card"}


def test_discounts_of_items_and_lines_come_when_asked_for(extended: Server) -> None:
    for path, lists in (("/v1/subscriptions?status=all", "items"), ("/v1/invoices?limit=100", "lines")):
        plain = {row["id"]: row for row in walk(extended, path)}
        for row in walk(extended, f"{path}&expand[]=data.{lists}.data.discounts"):
            for one, other in zip(row[lists]["data"], plain[row["id"]][lists]["data"], strict=True):
                assert [discount["id"] for discount in one["discounts"]] == other["discounts"]
    assert any(row.record["subscription_item"] for row in extended.ledger("discounts"))
    assert any(row.record["invoice_item"] for row in extended.ledger("discounts"))


def test_a_product_that_is_off_says_so(extended: Server) -> None:
    extended.control(off=["issuing"])
    answers = [get(extended, f"/v1/issuing/{what}") for what in ("cards", "transactions")]
    extended.control(off=[])
    assert [status for status, _, _ in answers] == [400, 400]
    assert all("not set up to use Issuing" in body["error"]["message"] for _, body, _ in answers)
    assert "param" not in answers[0][1]["error"]


def test_events_are_kept_for_thirty_days_and_filtered_by_type(stripe: Server) -> None:
    events = walk(stripe, "/v1/events")
    assert min(event["created"] for event in events) >= NOW - 30 * DAY
    paid = walk(stripe, "/v1/events?type=invoice.*")
    assert {event["id"] for event in paid} == {event["id"] for event in events if event["type"].startswith("invoice.")}
    two = walk(stripe, "/v1/events?types[]=charge.refunded&types[]=refund.created")
    assert {event["type"] for event in two} == {"charge.refunded", "refund.created"}
    assert get(stripe, "/v1/events?" + "&".join(["types[]=charge.refunded"] * 21))[0] == 400


def test_time_passes_the_same_way_in_one_step_or_in_many() -> None:
    with running("stripe", seed=5, scale=0.3, now=NOW) as one, running("stripe", seed=5, scale=0.3, now=NOW) as many:
        one.advance(3)
        for _ in range(12):
            many.advance(0.25)
        for table in (
            "events",
            "charges",
            "balance_transactions",
            "discounts",
            "quotes",
            "persons",
            "issuing_cards",
            "tax_ids",
        ):
            assert one.ledger(table) == many.ledger(table)
        date = get(one, "/v1/account")[2]["date"]
        assert time.strftime("%d %b %Y", time.gmtime(NOW + 3 * DAY)) in date


def test_deleted_objects_say_so_or_are_gone() -> None:
    with running("stripe", now=NOW, scale=0.3, limits=False) as server:
        customer = walk(server, "/v1/customers")[0]["id"]
        server.control(delete=["customer", customer])
        assert get(server, f"/v1/customers/{customer}")[1] == {"id": customer, "object": "customer", "deleted": True}
        assert get(server, f"/v1/customers?starting_after={customer}")[0] == 400
        event = walk(server, "/v1/events?type=customer.deleted")[0]
        assert event["data"]["object"]["id"] == customer
        price = walk(server, "/v1/prices")[0]["id"]
        server.control(delete=["price", price])
        assert get(server, f"/v1/prices/{price}")[0] == 404


def test_limits_count_by_operation_and_in_all() -> None:
    with running("stripe", now=NOW, scale=0.2) as server:
        server.control(limits={"operation": 3, "total": 5})
        answers = [get(server, "/v1/charges?limit=1") for _ in range(6)]
        refused = next(answer for answer in answers if answer[0] == 429)
        assert refused[1]["error"]["code"] == "rate_limit"
        assert refused[2]["stripe-rate-limited-reason"] == "endpoint-rate"
        time.sleep(1.1)
        paths = ("charges", "refunds", "disputes", "payouts", "prices", "products")
        assert 429 in [get(server, f"/v1/{path}")[0] for path in paths]


def test_a_missing_permission_is_named(stripe: Server) -> None:
    stripe.control(forbid=["payout"])
    status, body, _ = get(stripe, "/v1/payouts")
    stripe.control(forbid=[])
    assert status == 403
    assert "'rak_payout_read'" in body["error"]["message"]
    with pytest.raises(urllib.error.HTTPError) as refusal:
        stripe.control(nonsense=1)
    refusal.value.close()


def test_faults_come_as_planted(stripe: Server) -> None:
    stripe.fault("/v1/refunds", status=500, times=2, skip=1, body='{"error": {}}', headers={"Stripe-Should-Retry": "false"})
    assert [get(stripe, "/v1/refunds")[0] for _ in range(4)] == [200, 500, 500, 200]
    stripe.fault("/v1/refunds", truncate=100)
    with pytest.raises(Exception, match="IncompleteRead"):
        get(stripe, "/v1/refunds")
    assert get(stripe, "/v1/refunds")[0] == 200
    stripe.fault("/v1/refunds", delay=0.3)
    began = time.monotonic()
    get(stripe, "/v1/refunds")
    assert time.monotonic() - began >= 0.3
    stripe.fault("/v1/refunds", status=503, times=9)
    stripe.clear_faults()
    assert get(stripe, "/v1/refunds")[0] == 200


def test_a_stand_in_ends_with_its_parent() -> None:
    code = (
        "import time\nfrom datalake.sandbox.base import running\n"
        "with running('stripe', scale=0.1) as server:\n    print(server.url, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
