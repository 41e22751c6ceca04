"""How Stripe is asked: first loads by windows of creation, then its change feed. Shapes of tables live in the contracts.

Stripe knows no "changed since". What is append-only is read by `created` (`stripe_windows`). Objects that change are loaded
once; from then on the events tell which of them changed, and each of those is read again by its id: an event's own copy has
another API version and nothing expanded (`stripe_feed`). Events are kept for 30 days, so a state older than 28 days means a
full read, told loudly. What lives inside other objects follows these (`stripe_parts`). The rest is small, and read whole.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator

from datalake.model import Source, Table
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Bearer
from datalake.sources.base import Ask, Checkpoint, Item, Page, Skipped
from datalake.sources.budget import Budget, Limit
from datalake.sources.http import Answer, Http, Verdict
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import digest, pick, single
from datalake.sources.stripe_feed import invoice_items, objects_then_events
from datalake.sources.stripe_parts import (
    children_of_all,
    children_of_changed,
    discounts,
    embedded_then_children,
    from_parent,
    meter_summaries,
)
from datalake.sources.stripe_run import StripeRun, clock, get, pages
from datalake.sources.stripe_windows import created_window, load

VERSION = "2026-10-28.endive"
"""The API version that the contracts describe."""


def open_run(settings: Settings, source: Source, progress: Progress) -> StripeRun:
    """A run with the key of STRIPE_API_KEY. Raises SettingError for a missing key, and for one that cannot read."""
    key = settings.require("STRIPE_API_KEY").strip()
    if key.startswith("pk_"):
        raise SettingError("STRIPE_API_KEY is a publishable key (pk_…), which can read nothing. Use a restricted key (rk_…).")
    if key.startswith("sk_"):
        progress.note("stripe", "STRIPE_API_KEY is a secret key (sk_…) that can also write; a restricted key (rk_…) is safer")
    base_url, moved = settings.base_url("stripe", source.base_url)
    headers = {"Stripe-Version": VERSION}
    if account := settings["STRIPE_ACCOUNT"]:
        headers["Stripe-Account"] = account
    # Stripe allows 25 calls a second and operation, 100 in all (25 with test keys). The rest is left to the business itself.
    total = 60 if "_live_" in key else 20
    budget = Budget(
        [Limit(total, 1.0)],
        each_operation=Limit(20, 1.0),
        waiting=lambda seconds, why: progress.waiting("stripe", seconds, why),
    )
    http = Http(
        "stripe",
        base_url,
        moved=moved,
        auth=Bearer(key),
        budget=budget,
        secrets=settings.secrets(),
        headers=headers,
        classify=_classify,
        note=progress.note,
    )
    return StripeRun(source, http, _since(settings), FUNCTIONS, _read_events)


def identify(run: StripeRun) -> str:
    """The account that the key reads, and the core tables that it may not read. Raises AuthenticationFailed."""
    answer = run.account()
    name = pick(single(answer), "id")[0] if answer.status == 200 else "unknown to this key"

    def refused(table: Table) -> str:
        try:
            get(run, table, table.path, f"GET {table.path}", [("limit", "1")])
        except Skipped:
            return table.name
        return ""

    lists = [table for table in run.source.tables.values() if table.core and table.cursor]
    missing = [*(["account"] if answer.status == 403 else []), *filter(None, run.workers.each(lists, refused))]
    return f"account {name}" + (f"; the key may not read {', '.join(missing)}" if missing else ", all core tables can be read")


def _since(settings: Settings) -> int:
    text = settings["STRIPE_SINCE"]
    if not text:
        return 0
    try:
        return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())
    except ValueError:
        raise SettingError(f"STRIPE_SINCE is '{text}': write the first day to load as YYYY-MM-DD") from None


def _classify(answer: Answer) -> Verdict | None:
    """Stripe's own rules: it can say itself whether to come again, and 409 and 424 pass by themselves."""
    if answer.status == 403:
        return Verdict.REFUSED
    if answer.status in (409, 424) or answer.status >= 500:
        again = answer.headers.get("Stripe-Should-Retry", "true") != "false"
        return Verdict.RETRY if again else Verdict.FAILED
    return None


def _read_events(run: StripeRun, ask: Ask, since: int, until: int) -> Iterator[Page]:
    """The pages of the feed in [since, until)."""
    feed = dataclasses.replace(ask, table=run.source.tables["events"])
    for item in load(run, feed, since, until, {"done": []}):
        if isinstance(item, Page):
            yield item


# Functions that the contracts name in `rows:`, beside those of `stripe_windows`, `stripe_feed` and `stripe_parts`


def single_object(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """An object without a list, told when it changed."""
    known_account = ask.table.path == "/v1/account" and run.account().status == 200
    answer = run.account() if known_account else get(run, ask.table, ask.table.path, f"GET {ask.table.path}")
    record = single(answer)
    found = digest([record])
    if found != ask.cursor.get("digest"):
        yield Page([record], answer.at)
        yield Checkpoint({"digest": found})


def snapshot(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """An object that is only ever as it is now: a row for each moment at which it was found changed."""
    answer = get(run, ask.table, ask.table.path, f"GET {ask.table.path}")
    record = single(answer)
    found = digest([record])
    if found != ask.cursor.get("digest"):
        yield Page([record], answer.at, {"snapshot_at": clock(answer)})
        yield Checkpoint({"digest": found})


def daily_snapshot(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """A list that is only ever as it is now: its rows once a UTC day, and again where they changed within the day."""
    day = f"{dt.datetime.fromtimestamp(run.horizon, dt.UTC):%Y-%m-%d}"
    listed = list(pages(run, ask.table, ask.table.path, f"GET {ask.table.path}", ask.table.params))
    state = {"day": day, "digest": digest(record for page in listed for record in page.records)}
    if state != ask.cursor:
        for page in listed:
            yield Page(page.records, page.at, {"snapshot_date": day})
        yield Checkpoint(state)


def full_list(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """A list that no event follows, read whole and told when it changed."""
    listed = pages(run, ask.table, ask.table.path, f"GET {ask.table.path}", ask.table.params)
    first = next(listed)
    found = yield from told_if_changed(itertools.chain([first], listed), ask.cursor.get("digest"), {}, first.at)
    yield Checkpoint({"digest": found})


FUNCTIONS = {
    function.__name__: function
    for function in (
        children_of_all, children_of_changed, created_window, daily_snapshot, discounts, embedded_then_children, from_parent,
        full_list, invoice_items, meter_summaries, objects_then_events, single_object, snapshot,
    )
}  # fmt: skip
