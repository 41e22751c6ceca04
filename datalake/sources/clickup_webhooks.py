"""How received webhooks of ClickUp become rows: bodies out of the inbox, one row each. How they get there is `webhooks`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from datalake.lake.inbox import Arrival, open_inbox
from datalake.sources.base import Ask, Item, Page
from datalake.sources.clickup_run import ClickUpRun, inside
from datalake.sources.received import received
from datalake.sources.records import pick


def webhook_events(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Bodies as they were received, in the order of their arrival."""
    inbox = open_inbox(run.settings, "clickup")
    return received(ask, inbox, run.workers, lambda arrival, body: _event(arrival, body, ask))


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
