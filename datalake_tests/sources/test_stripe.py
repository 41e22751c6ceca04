"""Stripe read from its stand-in into raw logs: every core table, twice, and what can go wrong on the way."""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.model import Table
from datalake.sandbox.base import Row, running
from datalake.settings import SettingError, Settings
from datalake.sources import identify, open_run
from datalake.sources.base import AuthenticationFailed, Permanent, Skipped, SourceError, Window
from datalake.sources.engine import Extraction
from datalake.sources.progress import LogProgress
from datalake_tests.sources.raw_lake import RawLake, core, key_of, without_secrets

SOURCE = contracts.load_source("stripe")
CORE = [SOURCE.tables[name] for name in core(SOURCE)]
NOW = 1_795_036_000
"""Nine in the evening: a draft of the day is there, and gone in the morning."""
DAY = 86_400


@dataclasses.dataclass
class Story:
    """A lake that was filled, asked again, asked for a window of the past, and brought up to date after two days."""

    lake: RawLake
    first: dict[str, Any]
    unchanged: dict[str, Any]
    unchanged_calls: list[dict[str, Any]]
    window: dict[str, Any]
    cursors_kept: bool
    happened: dict[str, int]
    later: dict[str, Any]
    later_calls: list[dict[str, Any]]
    before: dict[str, list[Row]]
    after: dict[str, list[Row]]
    found: dict[str, dict[tuple[Any, ...], Row]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    with running("stripe", now=NOW, limits=False) as server:
        lake = RawLake("stripe", tmp_path_factory.mktemp("lake"), server.env)
        server.advance(1)
        before = {table.name: server.ledger(table.name) for table in CORE}
        first = lake.attempt()
        server.calls(clear=True)
        unchanged = lake.sync()
        unchanged_calls = server.calls(clear=True)
        cursors = {table.name: lake.cursor(table.name) for table in CORE}
        stretch = Window(datetime.fromtimestamp(NOW - 20 * DAY, UTC), datetime.fromtimestamp(NOW - 10 * DAY, UTC))
        window = lake.sync(window=stretch)
        kept = cursors == {table.name: lake.cursor(table.name) for table in CORE}
        happened = server.advance(2)
        server.calls(clear=True)
        later = lake.sync()
        later_calls = server.calls()
        after = {table.name: server.ledger(table.name) for table in CORE}
        for ledger in (before, after):
            # Stripe keeps events for 30 days; older ones were gone before the first sync.
            ledger["events"] = [row for row in ledger["events"] if row.record["created"] >= NOW + DAY - 30 * DAY]
        found = {table.name: lake.rows(table.name) for table in CORE}
    return Story(lake, first, unchanged, unchanged_calls, window, kept, happened, later, later_calls, before, after, found)


@pytest.mark.parametrize("table", CORE, ids=lambda table: table.name)
def test_the_raw_log_equals_the_ledger(story: Story, table: Table) -> None:
    found = story.found[table.name]
    told = {key_of(table, row): row for row in story.after[table.name]}
    alive = {key: row for key, row in told.items() if not row.deleted}
    assert alive
    assert {key for key, row in found.items() if not row.deleted} == alive.keys()
    for key, row in alive.items():
        assert found[key].record == without_secrets(table, row.record), key
        assert found[key].add == row.add
    # Whatever was alive at the first sync and is gone now is told as gone, its last values kept.
    for row in story.before[table.name]:
        key = key_of(table, row)
        if not row.deleted and told.get(key, Row({}, {}, True)).deleted:
            assert found[key].deleted
            assert len(found[key].record) > 3


def test_deletions_of_every_kind_happened(story: Story) -> None:
    gone = {
        name
        for name, rows in story.before.items()
        for row in rows
        if not row.deleted and story.found[name][key_of(SOURCE.tables[name], row)].deleted
    }
    assert gone >= {
        "coupons", "customers", "discounts", "invoice_items", "invoice_line_items", "invoices", "prices", "products",
        "subscription_items",
    }  # fmt: skip
    assert {"customer.deleted", "invoice.deleted", "invoiceitem.deleted"} <= story.happened.keys()


def test_a_first_sync_reads_everything_without_an_error(story: Story) -> None:
    assert {name: str(done) for name, done in story.first.items() if isinstance(done, SourceError)} == {}
    assert {name: done.notes for name, done in story.first.items() if done.notes} == {}


def test_an_unchanged_account_costs_a_handful_of_calls_and_no_row(story: Story) -> None:
    assert {name: done.rows for name, done in story.unchanged.items() if done.rows} == {}
    assert len(story.unchanged_calls) <= 7


def test_later_only_what_changed_is_read(story: Story) -> None:
    by_id = Counter(call["path"] for call in story.later_calls if call["path"].count("/") == 3)
    assert max(by_id.values()) == 1 or set(by_id) - {path for path in by_id if "invoiceitems" in path}
    charges = {path for path in by_id if path.startswith("/v1/charges/")}
    changed = {row.record["id"] for row in story.after["charges"]} - {row.record["id"] for row in story.before["charges"]}
    old = {row.record["id"]: row.record for row in story.before["charges"]}
    changed |= {row.record["id"] for row in story.after["charges"] if old.get(row.record["id"]) not in (None, row.record)}
    assert charges == {f"/v1/charges/{id_}" for id_ in changed}
    assert len(story.later_calls) < 250


def test_a_window_reads_its_stretch_and_leaves_the_cursor_alone(story: Story) -> None:
    assert story.cursors_kept
    for table in CORE:
        if table.parent is None and table.name != "account":
            commits = [commit for commit in story.lake.log(table.name).since(0) if commit.kind == "window"]
            dates = [
                json.loads(line)["record"][table.cursor or "created"]
                for commit in commits
                for line in story.lake.log(table.name).lines(commit)
            ]
            inside = [
                row for row in story.before[table.name]
                if not row.deleted and NOW - 20 * DAY <= row.record[table.cursor or "created"] < NOW - 10 * DAY
            ]  # fmt: skip
            assert len(dates) == len(inside), table.name
            assert all(NOW - 20 * DAY <= date < NOW - 10 * DAY for date in dates)


def test_children_follow_the_window_of_their_parent(story: Story) -> None:
    assert story.window["invoice_line_items"].rows > 0


def test_secrets_never_reach_the_raw_log(story: Story) -> None:
    for name in ("payment_intents", "events"):
        assert not any("_secret_" in json.dumps(line) for line in story.lake.lines(name))


def test_a_long_load_is_read_from_several_places_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=6, limits=False, latency=0.02) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        server.fault("/v1/charges", status=403, skip=12, times=1, body=FORBIDDEN)
        assert isinstance(lake.error("charges"), Skipped)
        read_before = len(lake.rows("charges"))
        assert read_before > 0
        server.calls(clear=True)
        lake.sync("charges")
        calls = [call for call in server.calls() if call["path"] == "/v1/charges"]
        assert len({query.split("&starting_after")[0] for query in (call["query"] for call in calls)}) > 3
        rows = lake.rows("charges")
        assert {key[0] for key in rows} == {row.record["id"] for row in server.ledger("charges")}
        # What was read before the stop is not read again, but for the second at which each walk stood.
        assert sum(1 for _ in lake.lines("charges")) <= len(rows) + 16
        assert len(calls) < len(rows) / 100 + 10


FORBIDDEN = json.dumps(
    {"error": {"type": "invalid_request_error", "message": "Having the 'rak_charge_read' permission would allow this request."}}
)


def test_a_key_without_a_permission_skips_one_table_and_names_it(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=0.2, limits=False) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        server.control(forbid=["charge"], off=["dispute"])
        done = lake.attempt("charges", "disputes", "refunds")
        assert isinstance(done["charges"], Skipped)
        assert "rak_charge_read" in str(done["charges"])
        assert isinstance(done["disputes"], Skipped)
        assert "not set up" in str(done["disputes"])
        assert isinstance(done["refunds"], Extraction)
        assert "rk_live_sandbox" not in str(done["charges"])
        assert "the key may not read charges, disputes" in identify(SOURCE, Settings.load(server.env))
        server.control(forbid=["account"], off=[])
        assert identify(SOURCE, Settings.load(server.env)) == "account unknown to this key; the key may not read account"
        server.control(forbid=[])
        assert identify(SOURCE, Settings.load(server.env)).endswith(", all core tables can be read")


def test_a_wrong_key_stops_the_run(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=0.2, limits=False) as server:
        done = RawLake("stripe", tmp_path, server.env, STRIPE_API_KEY="rk_live_wrong").error("charges")
        assert isinstance(done, AuthenticationFailed)
        done = RawLake("stripe", tmp_path, server.env, STRIPE_ACCOUNT="acct_other").error("charges")
        assert isinstance(done, AuthenticationFailed)
        assert "STRIPE_ACCOUNT" in str(done)


def test_keys_that_cannot_or_should_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingError, match="publishable"):
        open_run(SOURCE, Settings.load({"STRIPE_API_KEY": "pk_live_x"}), LogProgress())
    with pytest.raises(SettingError, match="STRIPE_API_KEY is not set"):
        open_run(SOURCE, Settings.load({}), LogProgress())
    open_run(SOURCE, Settings.load({"STRIPE_API_KEY": "sk_live_x"}), LogProgress()).close()
    assert "restricted key" in caplog.text
    with pytest.raises(SettingError, match="STRIPE_SINCE"):
        open_run(SOURCE, Settings.load({"STRIPE_API_KEY": "rk_live_x", "STRIPE_SINCE": "May"}), LogProgress())


def test_a_state_older_than_the_feed_means_a_loud_full_read(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=0.3, limits=False) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        lake.sync("customers", "charges", "events")
        gone = next(row.record["id"] for row in server.ledger("customers") if not row.deleted)
        server.control(delete=["customer", gone])
        server.advance(40)
        done = lake.sync("customers", "charges", "events")
        for name in ("customers", "charges"):
            (note,) = done[name].notes
            assert "the whole table is read again" in note
            assert lake.differences(name, [row for row in server.ledger(name) if not row.deleted]) == []
        # Its event is gone with the others; that the whole list was read tells the deletion.
        assert lake.rows("customers")[(gone,)].deleted
        assert "lost" in done["events"].notes[0]


def test_a_deleted_row_to_start_after_costs_no_row(tmp_path: Path) -> None:
    with running("stripe", now=NOW, limits=False) as server:
        body = {
            "error": {
                "type": "invalid_request_error",
                "code": "resource_missing",
                "param": "starting_after",
                "message": "No such charge",
            }
        }
        server.fault("/v1/charges.*starting_after", status=400, body=json.dumps(body), times=2)
        lake = RawLake("stripe", tmp_path, server.env)
        lake.sync("charges")
        assert {key[0] for key in lake.rows("charges")} == {row.record["id"] for row in server.ledger("charges")}
        server.fault("/v1/refunds", status=400, body=json.dumps(body), times=-1)
        server.fault("/v1/charges", status=400, body=json.dumps(body), times=4)
        done = lake.error("charges", full=True)
        assert isinstance(done, Permanent)


@pytest.mark.parametrize(
    "page, says",
    [
        ({"data": [{"id": "ch_1", "created": NOW + DAY}], "has_more": False}, "was asked for"),
        ({"data": [{"id": "ch_1", "created": None}], "has_more": False}, "without a number in 'created'"),
        ({"data": [], "has_more": True}, "there is more, and brings no row"),
        ({"error": {"message": "odd"}}, "is an error although its status is not"),
    ],
)
def test_a_page_that_cannot_be_right_is_an_error(tmp_path: Path, page: dict[str, Any], says: str) -> None:
    with running("stripe", now=NOW, scale=0.1, limits=False) as server:
        server.fault("/v1/charges", status=200, body=json.dumps(page))
        done = RawLake("stripe", tmp_path, server.env).error("charges")
        assert isinstance(done, Permanent)
        assert says in str(done)


def test_stripe_says_whether_to_come_again(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=0.2, limits=False) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        server.fault("/v1/charges", status=409, body="{}", times=1)
        server.fault("/v1/charges", status=429, body="{}", times=1)
        (done,) = lake.sync("charges").values()
        assert (done.calls["retries"], done.calls["limited"]) == (1, 1)
        server.calls(clear=True)
        server.fault("/v1/refunds", status=500, body="{}", headers={"Stripe-Should-Retry": "false"}, times=1)
        assert isinstance(lake.error("refunds"), Permanent)
        assert sum(call["path"] == "/v1/refunds" for call in server.calls()) == 1


def test_the_limits_of_stripe_are_kept(tmp_path: Path) -> None:
    with running("stripe", now=NOW) as server:
        lake = RawLake("stripe", tmp_path, server.env, STRIPE_API_KEY="rk_test_sandbox")
        lake.sync("payouts", "payout_balance_transactions")
        calls = server.calls()
        assert len(calls) > 30
        assert not [call for call in calls if call["status"] == 429]


def test_since_leaves_old_facts_out_and_standing_tables_whole(tmp_path: Path) -> None:
    with running("stripe", now=NOW, scale=0.3, limits=False) as server:
        since = NOW // DAY * DAY - 10 * DAY
        lake = RawLake("stripe", tmp_path, server.env, STRIPE_SINCE=f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}")
        lake.sync("charges", "customers")
        charges = {row.record["id"] for row in server.ledger("charges") if row.record["created"] >= since}
        assert {key[0] for key in lake.rows("charges")} == charges
        customers = {row.record["id"] for row in server.ledger("customers") if not row.deleted}
        assert {key[0] for key in lake.rows("customers")} == customers


def test_a_discount_that_an_invoice_shows_never_comes_back_to_life(tmp_path: Path) -> None:
    ended = {"id": "di_1", "object": "discount", "start": NOW - DAY}
    shown = (ended, {**ended, "id": "di_2", "deleted": True}, "di_3")
    with running("stripe", now=NOW, scale=0.2, limits=False) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        lake.plant("invoices", *(json.dumps({"id": "in_1", "discounts": [each]}) for each in shown))
        lake.sync("discounts")
    told = {line["record"]["id"]: line["_lake"] for line in lake.lines("discounts")}
    assert told.keys() == {"di_1", "di_2"}
    assert told["di_1"]["at"] == f"{datetime.fromtimestamp(NOW - DAY, UTC):%Y-%m-%dT%H:%M:%S}.000000Z"
    assert told["di_2"]["op"] == "delete"


def test_rows_inside_rows_keep_every_byte(tmp_path: Path) -> None:
    lines = r'{"id": "il_1", "invoice": "in_1", "amount": 1.10, "description": "\ud800"}, {"id":"il_2"  ,"invoice":"in_1"}'
    with running("stripe", now=NOW, scale=0.2, limits=False) as server:
        lake = RawLake("stripe", tmp_path, server.env)
        lake.plant("invoices", '{"id": "in_1", "lines": {"object": "list", "data": [' + lines + '], "has_more": false}}')
        lake.sync("invoice_line_items")
    log = lake.log("invoice_line_items")
    stored = b"".join(line for commit in log.since(0) for line in log.lines(commit))
    assert all(part.encode() in stored for part in lines.split(", {"))


def test_one_pass_over_the_feed_serves_all_tables(story: Story) -> None:
    pages = [call for call in story.later_calls if call["path"] == "/v1/events"]
    changed = sum(story.happened.values())
    # One pass for the table `events`, one for all tables that follow the feed.
    assert len(pages) <= 2 * (changed // 100 + 2)
