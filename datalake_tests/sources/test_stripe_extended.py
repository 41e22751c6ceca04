"""Stripe's tables beyond the core: what their lists, their parents and the feed do not tell, and how it is found out anyway.

That each of them equals the ledger after two syncs is the business of `test_coverage`.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sources import stripe_parts
from datalake.sources.base import Permanent, Skipped, Window
from datalake.sources.engine import Extraction
from datalake_tests.sources.raw_lake import RawLake

SOURCE = contracts.load_source("stripe")
NOW = 1_795_036_000
"""Nine in the evening: a draft of the day is there, and gone in the morning."""
DAY = 86_400


@pytest.fixture
def stripe() -> Iterator[Server]:
    with running("stripe", seed=7, now=NOW, scale=0.3, limits=False) as server:
        yield server


@pytest.fixture
def lake(stripe: Server, tmp_path: Path) -> RawLake:
    return RawLake("stripe", tmp_path, stripe.env)


def paths(server: Server, pattern: str) -> list[str]:
    """Paths of the calls since the last look that match the pattern, with their queries."""
    calls = [f"{call['path']}?{call['query']}" for call in server.calls(clear=True)]
    return [path for path in calls if re.search(pattern, path)]


def equals_the_ledger(lake: RawLake, server: Server, name: str) -> bool:
    told = [row for row in server.ledger(name) if not row.deleted]  # some that are gone were gone before the first sync
    assert told
    return lake.differences(name, told) == []


def test_a_product_that_is_off_skips_its_tables_and_no_other(stripe: Server, lake: RawLake) -> None:
    stripe.control(off=["issuing"])
    names = [name for name in SOURCE.tables if name.startswith("issuing_")]
    done = lake.attempt(*names, "top_ups")
    assert isinstance(done.pop("top_ups"), Extraction)
    assert len(done) == 5
    assert all(isinstance(each, Skipped) and "set up to use Issuing" in str(each) for each in done.values())


def test_a_list_without_dates_goes_on_where_it_stopped(stripe: Server, lake: RawLake) -> None:
    newest = [row.record for row in stripe.ledger("payment_links")][-1]
    page = {"object": "list", "url": "/v1/payment_links", "has_more": True, "data": [newest]}
    stripe.fault("/v1/payment_links", status=200, body=json.dumps(page))
    stripe.fault("/v1/payment_links.*starting_after", status=500, body="{}", headers={"Stripe-Should-Retry": "false"})
    assert isinstance(lake.error("payment_links"), Permanent)
    stripe.calls(clear=True)
    lake.sync("payment_links")
    assert f"starting_after={newest['id']}" in paths(stripe, "/v1/payment_links")[0]
    assert equals_the_ledger(lake, stripe, "payment_links")


def test_a_list_whose_row_to_go_on_from_is_gone_begins_again(stripe: Server, lake: RawLake) -> None:
    ghost = {"id": "plink_gone", "object": "payment_link", "active": True}
    page = {"object": "list", "url": "/v1/payment_links", "has_more": True, "data": [ghost]}
    stripe.fault("/v1/payment_links", status=200, body=json.dumps(page))
    lake.sync("payment_links")
    asked = paths(stripe, "/v1/payment_links")
    assert ["starting_after" in path for path in asked] == [False, True, False]
    told = {row.record["id"] for row in stripe.ledger("payment_links")}
    assert {key[0] for key in lake.rows("payment_links")} == told | {"plink_gone"}
    stripe.fault("/v1/payment_links", status=200, body=json.dumps(page), times=9)
    error = {"type": "invalid_request_error", "code": "resource_missing", "param": "starting_after", "message": "No such link"}
    stripe.fault("/v1/payment_links", status=400, body=json.dumps({"error": error}), times=9, skip=1)
    stripe.clear_faults()
    for _ in range(4):
        stripe.fault("/v1/payment_links", status=400, body=json.dumps({"error": error}))
    assert "three times running" in str(lake.error("payment_links", full=True))


def test_a_window_of_a_list_without_dates_holds_nothing_and_says_so(stripe: Server, lake: RawLake) -> None:
    stretch = Window(datetime.fromtimestamp(NOW - 50 * DAY, UTC), datetime.fromtimestamp(NOW, UTC))
    done = lake.sync("quotes", "transfers", window=stretch)
    assert done["quotes"].rows == 0
    assert "cannot list these by time" in done["quotes"].notes[0]
    assert done["transfers"].rows > 0


def test_reviews_that_left_the_list_before_the_first_sync_come_from_the_feed(stripe: Server, lake: RawLake) -> None:
    stripe.advance(3)
    lake.sync("reviews")
    assert equals_the_ledger(lake, stripe, "reviews")
    assert {row.record["open"] for row in lake.rows("reviews").values()} == {True, False}


def test_rows_that_no_event_announces_are_found(stripe: Server, lake: RawLake) -> None:
    lake.sync("checkout_sessions", "quotes")
    stripe.advance(1)
    lake.sync("checkout_sessions", "quotes")
    assert {row.record["status"] for row in lake.rows("checkout_sessions").values()} >= {"open", "complete"}
    assert equals_the_ledger(lake, stripe, "checkout_sessions")
    assert equals_the_ledger(lake, stripe, "quotes")
    stripe.calls(clear=True)
    assert {name: done.rows for name, done in lake.sync("checkout_sessions", "quotes").items()} == {
        "checkout_sessions": 0,
        "quotes": 0,
    }
    assert len(paths(stripe, "status=(open|draft)")) == 2


def test_secrets_never_reach_the_raw_log(stripe: Server, lake: RawLake) -> None:
    lake.sync("setup_intents", "checkout_sessions", "issuing_cards")
    assert sum(1 for _ in lake.lines("setup_intents")) > 0
    for name in ("setup_intents", "checkout_sessions", "issuing_cards"):
        for line in lake.lines(name):
            assert not {"client_secret", "number", "cvc"} & line.get("record", {}).keys()


# Rows of customers, of which only the feed tells


FED = ("active_entitlements", "customer_bank_accounts", "customer_cards", "customer_cash_balance_transactions")


def test_the_feed_names_the_customers_whose_parts_are_read_again(stripe: Server, lake: RawLake) -> None:
    lake.sync("customers", *FED)
    stripe.advance(1)
    stripe.calls(clear=True)
    lake.sync("customers", *FED)
    asked = paths(stripe, "/sources.*object=card")
    assert len(asked) == len(set(asked)) < len(stripe.ledger("customers"))
    assert all(equals_the_ledger(lake, stripe, name) for name in ("customers", *FED))
    lake.sync("customers", *FED)
    assert paths(stripe, "sources|entitlements|cash_balance") == []


def test_a_state_older_than_the_feed_reads_all_parents_again(stripe: Server, lake: RawLake) -> None:
    lake.sync("customers", *FED)
    gone = next(row.record["customer"] for row in stripe.ledger("customer_cards") if not row.deleted)
    stripe.control(delete=["customer", gone])
    stripe.advance(40)
    done = lake.sync("customers", *FED)
    for name in FED:
        assert "every parent is read again" in done[name].notes[0]
        assert equals_the_ledger(lake, stripe, name)
    # The deletion's event is lost: that the list of customers was read whole tells of their cards too.
    assert all(row.deleted for row in lake.rows("customer_cards").values() if row.record["customer"] == gone)


def test_a_first_reading_that_stops_misses_nothing_that_changed_meanwhile(
    stripe: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_parts, "CHUNK", 1)
    refusal = {"error": {"type": "invalid_request_error", "message": "odd", "param": "object"}}
    # The workers ask for one customer after another; the last of them are not reached.
    stripe.fault("/sources", status=400, body=json.dumps(refusal), skip=4, times=99)
    assert isinstance(lake.attempt("customers", "customer_cards")["customer_cards"], Permanent)
    assert lake.cursor("customer_cards")["through"]
    stripe.clear_faults()
    stripe.advance(2)
    lake.sync("customers", "customer_cards")
    assert equals_the_ledger(lake, stripe, "customer_cards")


# Rows of which nothing tells: a look a day


def test_connected_accounts_are_looked_into_once_a_day(stripe: Server, lake: RawLake) -> None:
    names = ("accounts", "persons", "capabilities", "external_account_cards")
    lake.sync(*names)
    assert len(paths(stripe, "/persons")) == len(lake.rows("accounts"))
    lake.sync(*names)
    assert paths(stripe, "/persons") == []
    stripe.advance(1)
    lake.sync(*names)
    assert all(equals_the_ledger(lake, stripe, name) for name in names)


def test_an_account_that_refuses_keeps_its_rows(stripe: Server, lake: RawLake) -> None:
    lake.sync("accounts", "persons")
    own = next(iter(lake.rows("accounts")))[0]
    before = {key: row for key, row in lake.rows("persons").items() if row.record["account"] == own}
    stripe.advance(1)
    error = {"type": "invalid_request_error", "message": "This account manages itself."}
    stripe.fault(f"/v1/accounts/{own}/persons", status=403, body=json.dumps({"error": error}))
    done = lake.sync("persons")
    assert "1 of 3 connected accounts refuse" in done["persons"].notes[0]
    assert "This account manages itself." in done["persons"].notes[0]
    assert before.items() <= lake.rows("persons").items()
    assert not any(row.deleted for row in before.values())
    stripe.advance(1)
    stripe.fault("/persons", status=403, body=json.dumps({"error": error}), times=99)
    assert isinstance(lake.error("persons"), Skipped)


def test_an_account_that_leaves_while_it_is_looked_into_costs_only_its_rows(stripe: Server, lake: RawLake) -> None:
    lake.sync("accounts")
    stripe.control(delete=["account", next(iter(lake.rows("accounts")))[0]])
    lake.sync("persons")
    assert equals_the_ledger(lake, stripe, "persons")


def test_usage_records_are_asked_of_metered_items_and_with_the_version_that_has_them(stripe: Server, lake: RawLake) -> None:
    stripe.advance(2)
    lake.sync("subscriptions", "subscription_items", "usage_record_summaries")
    asked = paths(stripe, "usage_record_summaries")
    usage = [row.record["price"]["recurring"]["usage_type"] for row in lake.rows("subscription_items").values()]
    assert 0 < usage.count("metered") < len(usage)
    assert len(asked) == usage.count("metered")
    assert equals_the_ledger(lake, stripe, "usage_record_summaries")


def test_attempts_are_read_again_for_payment_records_that_changed(stripe: Server, lake: RawLake) -> None:
    names = ("payment_records", "payment_attempt_records")
    lake.sync(*names)
    before = {row.record["id"]: row.record for row in stripe.ledger("payment_records")}
    stripe.advance(1)
    after = [row.record for row in stripe.ledger("payment_records")]
    changed = [record["id"] for record in after if before.get(record["id"]) != record]
    assert 0 < len(changed) < len(after)
    stripe.calls(clear=True)
    lake.sync(*names)
    assert len(paths(stripe, "/v1/payment_attempt_records")) == len(changed)
    assert all(equals_the_ledger(lake, stripe, name) for name in names)


# Things as they are at the moment


def test_a_snapshot_is_kept_for_every_change(stripe: Server, lake: RawLake) -> None:
    for _ in range(2):
        lake.sync("balance", "exchange_rates")
    assert len(lake.rows("balance")) == 1
    stripe.advance(1)
    lake.sync("balance", "exchange_rates")
    assert [row.add["snapshot_at"] for row in lake.rows("balance").values()] == [NOW, NOW + DAY]
    days = {row.add["snapshot_date"] for row in lake.rows("exchange_rates").values()}
    assert days == {f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (NOW, NOW + DAY)}
    assert equals_the_ledger(lake, stripe, "balance")
    assert equals_the_ledger(lake, stripe, "exchange_rates")


def test_usage_is_read_by_whole_days_and_again_for_what_comes_late(stripe: Server, lake: RawLake) -> None:
    names = ("customers", "billing_meters", "billing_meter_event_summaries")
    lake.sync(*names)
    assert equals_the_ledger(lake, stripe, names[-1])
    stripe.calls(clear=True)
    lake.sync(*names)
    assert paths(stripe, "event_summaries") == []
    gone = next(row.add["customer_id"] for row in stripe.ledger(names[-1]) if not row.deleted)
    stripe.control(delete=["customer", gone])
    stripe.advance(2)
    lake.sync(*names)
    asked = paths(stripe, "event_summaries")
    alive = [row for row in stripe.ledger("customers") if not row.deleted]
    assert len(asked) == len(alive) * len(stripe.ledger("billing_meters"))
    today = (NOW + 2 * DAY) // DAY * DAY
    ends = {tuple(map(int, re.findall(r"(?:start|end)_time=(\d+)", path))) for path in asked}
    assert all(start % DAY == 0 and end == today for start, end in ends)
    assert min(start for start, _ in ends) == NOW // DAY * DAY - 35 * DAY
    assert equals_the_ledger(lake, stripe, names[-1])
    assert all(row.deleted for row in lake.rows(names[-1]).values() if row.add["customer_id"] == gone)
    stretch = Window(datetime.fromtimestamp(NOW - 3 * DAY, UTC), datetime.fromtimestamp(NOW + 9 * DAY, UTC))
    lake.sync(names[-1], window=stretch)
    (only,) = {tuple(re.findall(r"(?:start|end)_time=(\d+)", path)) for path in paths(stripe, "event_summaries")}
    assert tuple(map(int, only)) == ((NOW - 3 * DAY) // DAY * DAY, today)


def test_a_reading_of_usage_that_stops_goes_on_where_it_stood(
    stripe: Server, lake: RawLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_parts, "CHUNK", 1)
    names = ("customers", "billing_meters", "billing_meter_event_summaries")
    refusal = {"error": {"type": "invalid_request_error", "message": "odd", "param": "start_time"}}
    stripe.fault("/event_summaries", status=400, body=json.dumps(refusal), skip=3, times=99)
    assert isinstance(lake.attempt(*names)[names[-1]], Permanent)
    stripe.clear_faults()
    first = paths(stripe, "/event_summaries")
    stripe.advance(1)
    lake.sync(*names)
    second = paths(stripe, "/event_summaries")
    assert set(first[:3]).isdisjoint(second)
    # The stretch is the one that was begun; the next run reads the day since then.
    assert lake.cursor(names[-1])["through"] == NOW // DAY * DAY
    lake.sync(*names)
    assert equals_the_ledger(lake, stripe, names[-1])


def test_discounts_of_single_items_and_lines_are_told(stripe: Server, lake: RawLake) -> None:
    stripe.advance(2)
    lake.sync("customers", "subscriptions", "invoices", "discounts")
    told: dict[str, Any] = {row.record["id"]: row.record for row in lake.rows("discounts").values()}
    assert any(discount["subscription_item"] for discount in told.values())
    assert any(discount["invoice_item"] for discount in told.values())
    # Some of them are on lines that their invoice does not show.
    shown = {line["id"] for row in lake.rows("invoices").values() for line in row.record["lines"]["data"]}
    hidden = [row.record for row in stripe.ledger("invoice_line_items") if row.record["id"] not in shown]
    assert any(line["discounts"] for line in hidden)
    assert equals_the_ledger(lake, stripe, "discounts")
