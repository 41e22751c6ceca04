"""How received webhooks of ClickUp become rows: bodies out of the inbox, one row each. How they get there is `webhooks`."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator

import msgspec

from datalake.lake.lake import Lake
from datalake.sources.base import Ask, Checkpoint, Item, Page
from datalake.sources.clickup_run import ClickUpRun, inside
from datalake.sources.frontier import Frontier, text
from datalake.sources.records import pick
from datalake.webhooks.inbox import Arrival, Inbox

OVERLAP = dt.timedelta(minutes=15)
"""Arrivals so long before the newest one are looked at again: a body lands after its arrival, and machines' clocks differ."""
CHUNK = 500
"""Bodies between two checkpoints."""


def webhook_events(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Bodies as they were received, in the order of their arrival."""
    inbox = Inbox(Lake(run.settings).objects, "clickup")
    frontier = Frontier({} if ask.window else ask.cursor, OVERLAP)
    start = dt.datetime.fromisoformat(frontier.start) if frontier.start else None
    arrivals = inbox.arrivals(ask.window.since if ask.window else start)
    keys = (key for key, time in arrivals if ask.window is None or time < ask.window.until)
    while some := list(itertools.islice(keys, CHUNK)):
        for key, found in zip(some, run.workers.each(some, inbox.get), strict=True):
            if found is None:
                continue  # under way, or never answered: looked at again while the overlap lasts
            arrival, body = found
            if frontier.fresh([key.encode()], [text(dt.datetime.fromisoformat(arrival.received_at))]):
                yield _event(arrival, body, ask)
        if frontier.newest:
            yield Checkpoint(frontier.state())


def _event(arrival: Arrival, body: bytes, ask: Ask) -> Page:
    """One change is told by its history item, however many events it sends; what was deleted has none.

    A body that is no JSON object goes on as text, to quarantine.
    """
    record = body.replace(b"\n", b" ").replace(b"\r", b" ").strip()
    key = ""
    try:
        msgspec.json.decode(record, type=dict[str, msgspec.Raw])
        key = next((str(pick(item, "id")[0] or "") for item in inside(record, "history_items")), "")
    except msgspec.DecodeError:
        ask.note(f"a webhook of unknown form is kept as it is: {arrival.sha256}")
        record = msgspec.json.encode({"unreadable": body.decode("utf-8", "replace")})
    facts = {"event_key": key or arrival.sha256, "received_at": arrival.received_at, "signature_valid": arrival.signed}
    return Page([record], arrival.received_at, facts)
