"""How received webhooks become rows: bodies out of the inbox, then what is inside them. How they get there is `webhooks`.

A row's `at` is the provider's own time, not that of its arrival, so that the newest version wins in whatever order deliveries
came. What the provider gives no time for takes the time of arrival.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from datalake.lake.inbox import Arrival
from datalake.lake.raw import now as utc_now
from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Deleted, Item, Page
from datalake.sources.paging import ParentRow, by_commit, rows_of
from datalake.sources.received import received
from datalake.sources.records import Record, elements, inner, pick

if TYPE_CHECKING:
    from datalake.sources.dialog_360 import Dialog360Run

MESSAGES_AT_ONCE = 50_000
"""Messages whose state is worked out together."""
UNDELIVERED = dt.timedelta(days=31)
"""Meta gives a message up after 30 days: so long may lie between its sending and its delivery or failure."""
SKEW = dt.timedelta(days=3)
"""How far the provider's clock may be ahead of ours."""
FAR_AHEAD = dt.timedelta(days=366)
"""A provider's time so far ahead of the arrival is none."""

META, PARTNER, ON_PREMISE, OTHER = "meta", "partner", "on_premise", "other"
STATES = ("sent", "delivered", "read", "played")
"""States of a message from first to last; `failed` is final."""
NUMBER_CHANGES = ("user_changed_number", "customer_changed_number")


def webhook_events(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """Bodies as they were received, in the order of their arrival."""
    return received(ask, run.inbox, run.workers, lambda arrival, body: _event(arrival, body, ask))


def webhook_changes(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """What changes of the contract's `events` hold: the elements of a list at `records`, or the change itself."""
    wanted = {column.field[0] for column in ask.table.columns if column.from_request}
    for commit, rows in by_commit(ask):
        for row in rows:
            position = itertools.count()
            for change in _changes(row):
                if ask.table.events and change.field not in ask.table.events:
                    continue
                for record in _inside(ask.table, change.value):
                    facts = change.facts(record) | {"position": next(position)}
                    yield Page([record], change.at(record), {name: facts[name] for name in wanted})
                    yield from _revoked(ask.table, change, record)
        yield Checkpoint({"parent_sequence": commit.sequence})


def webhook_contacts(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """The people that changes tell of. Whoever changed the number is gone under the old one."""
    for commit, rows in by_commit(ask):
        for row in rows:
            for change in _changes(row):
                at = change.at(change.value)
                for contact in _list(change.value, "contacts"):
                    number, user = pick(contact, "wa_id", "user_id")
                    yield Page([contact], at, {"contact_key": number or user, "last_seen_at": at})
                for message in _list(change.value, "messages"):
                    old, told = pick(message, "from", "system")
                    if isinstance(told, dict) and told.get("type") in NUMBER_CHANGES and told.get("wa_id") != old:
                        record = msgspec.json.encode({"wa_id": old})
                        yield Deleted(record, change.at(message), {"contact_key": old})
        yield Checkpoint({"parent_sequence": commit.sequence})


def partner_events(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """Events of the partner hub: one a body, without Meta's envelope."""
    for commit, rows in by_commit(ask, "id"):
        for row in rows:
            if row.add["kind"] == PARTNER:
                event = row.add["event_id"]
                add = {"id": str(row.fields[0] or event), "received_at": row.add["received_at"], "event_id": event}
                yield Page([row.record], row.add["received_at"], add)
        yield Checkpoint({"parent_sequence": commit.sequence})


def latest_status(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """The state of each message of which a status came in, worked out of all its statuses, those read before included."""
    states: dict[tuple[str, ...], _State] = {}
    last = int(ask.cursor.get("parent_sequence", 0))
    first = last + 1
    for commit, rows in by_commit(ask, *_STATUS):
        for row in rows:
            states.setdefault(_message(row), _State()).add(row)
        last = commit.sequence
        if len(states) >= MESSAGES_AT_ONCE:
            yield from _tell_states(ask, states, first)
            yield Checkpoint({"parent_sequence": last})
            first, states = last + 1, {}
    if states:
        yield from _tell_states(ask, states, first)
    if last >= first:
        yield Checkpoint({"parent_sequence": last})


# Bodies


def _event(arrival: Arrival, body: bytes, ask: Ask) -> Page:
    """A body as a row of its own. One that is no JSON object is kept in base64."""
    kind, fields = _kind(body)
    if kind == OTHER:
        ask.note(f"a webhook of unknown form is kept as it is: event_id {arrival.sha256}")
    record = body.replace(b"\n", b" ").replace(b"\r", b" ").strip()
    if kind == OTHER and _parsed(body) is None:
        record = msgspec.json.encode({"unreadable": base64.b64encode(body).decode()})
    add = {
        "event_id": arrival.sha256,
        "received_at": arrival.received_at,
        "channel": arrival.channel,
        "signed": arrival.signed,
        "kind": kind,
        "fields": fields,
    }
    return Page([record], arrival.received_at, add)


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The body as an object; None where it is none."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        found = json.loads(body.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kind(body: bytes) -> tuple[str, list[str]]:
    """Whose form a body has, and the fields whose changes it holds."""
    found = _parsed(body)
    match found:
        case {"entry": list(entries)} if all(_is_entry(entry) for entry in entries):
            return META, sorted({change["field"] for entry in entries for change in entry["changes"]})
        case {"event": str()}:
            return PARTNER, []
        case {"messages": list()} | {"statuses": list()} if _is_value(found):
            return ON_PREMISE, ["messages"]
    return OTHER, []


def _is_entry(entry: Any) -> bool:
    match entry:
        case {"changes": list(changes)}:
            return all(
                isinstance(change, dict) and isinstance(change.get("field"), str) and _is_value(change.get("value"))
                for change in changes
            )
    return False


def _is_value(value: Any) -> bool:
    """Whether the lists of a change hold objects, as far as tables are made of them."""
    lists = ("messages", "statuses", "contacts", "calls", "errors", "user_preferences", "message_echoes")
    return isinstance(value, dict) and all(
        isinstance(value.get(name) or [], list) and all(isinstance(item, dict) for item in value.get(name) or [])
        for name in lists
    )


# Changes


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a body: `field` says about what, `value` holds it as received."""

    event_id: str
    received_at: str
    waba_id: str | None
    time: Any
    """When the provider told it, Unix seconds; None where it does not say."""
    field: str
    value: Record
    phone_number_id: str | None
    display_phone_number: str | None

    def at(self, record: Record) -> str:
        """The provider's time of a record: its own, else the newest beside it, else that of the change, else the arrival's."""
        seconds = pick(record, "timestamp")[0]
        if seconds is None:
            lists = ("messages", "statuses", "calls", "message_echoes", "user_preferences")
            beside = [pick(each, "timestamp")[0] for name in lists for each in _list(self.value, name)]
            seconds = max((int(each) for each in beside if str(each).isdigit()), default=self.time)
        received = dt.datetime.fromisoformat(self.received_at)
        try:
            told = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            told = received
        return (told if told < received + FAR_AHEAD else received).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def facts(self, record: Record) -> dict[str, Any]:
        """What the contracts may ask for beside the record."""
        recipient, user, participant, event, status = pick(
            record, "recipient_id", "recipient_user_id", "recipient_participant_id", "event", "status"
        )
        received = int(dt.datetime.fromisoformat(self.received_at).timestamp())
        return {
            "event_id": self.event_id,
            "received_at": self.received_at,
            "waba_id": self.waba_id,
            "field": self.field,
            "time": received if self.time is None else self.time,
            "phone_number_id": self.phone_number_id,
            "display_phone_number": self.display_phone_number,
            "value": msgspec.Raw(self.value),
            "fingerprint": hashlib.sha256(self.value).hexdigest()[:16],
            "recipient_id": recipient or user or "",
            "recipient_participant_id": participant or "",
            "event": event or status,
        }


def _changes(row: ParentRow) -> Iterator[_Change]:
    event, received = row.add["event_id"], row.add["received_at"]
    if row.add["kind"] == ON_PREMISE:
        # Bodies of the retired on-premise API know their number by the address that they came to only.
        yield _Change(event, received, None, None, "messages", row.record, row.add["channel"] or None, None)
    if row.add["kind"] != META:
        return
    for entry in _list(row.record, "entry"):
        waba, time = pick(entry, "id", "time")
        for change in _list(entry, "changes"):
            value = inner(change, "value")
            assert value is not None
            metadata, phone = pick(value, "metadata", "display_phone_number")
            ours = metadata if isinstance(metadata, dict) else {}
            number = ours.get("phone_number_id")
            display = ours.get("display_phone_number") or phone
            yield _Change(event, received, waba, time, pick(change, "field")[0], value, number, display)


def _inside(table: Table, value: Record) -> list[Record]:
    """The rows of a table in a change's value."""
    if table.name == "calls":  # the states of a call come in a list of their own
        return _list(value, "calls") + _list(value, "statuses")
    return _list(value, table.records) if table.records else [value]


def _list(record: Record, name: str) -> list[Record]:
    found = inner(record, name)
    return elements(found) if found is not None else []


def _revoked(table: Table, change: _Change, record: Record) -> Iterator[Deleted]:
    """The message that this one takes back."""
    if table.name in ("messages", "message_echoes"):
        kind, revoke = pick(record, "type", "revoke")
        if kind == "revoke" and isinstance(revoke, dict) and revoke.get("original_message_id"):
            gone = msgspec.json.encode({"id": revoke["original_message_id"]})
            yield Deleted(gone, change.at(record), {"phone_number_id": change.phone_number_id})


# States of messages

_STATUS = ("id", "status", "pricing", "errors")


def _message(row: ParentRow) -> tuple[str, ...]:
    return (row.add["phone_number_id"], row.fields[0], row.add["recipient_id"])


@dataclass(slots=True)
class _State:
    """What the statuses of one message say together. `first` is the earliest time of each status, Unix seconds."""

    first: dict[str, int] = field(default_factory=dict)
    priced_at: int = -1
    pricing: dict[str, Any] = field(default_factory=dict)
    error: int | None = None

    def add(self, row: ParentRow) -> None:
        _, status, pricing, errors = row.fields
        time = int(dt.datetime.fromisoformat(row.at).timestamp())
        self.first[status] = min(time, self.first.get(status, time))
        if isinstance(pricing, dict) and time > self.priced_at:
            self.priced_at, self.pricing = time, pricing
        if status == "failed" and self.error is None and isinstance(errors, list) and errors and isinstance(errors[0], dict):
            self.error = errors[0].get("code")

    def begins(self) -> dt.datetime | None:
        """No status of the message can be older than this; None where nothing tells."""
        if "sent" in self.first:
            return dt.datetime.fromtimestamp(self.first["sent"], dt.UTC) - SKEW
        known = [self.first[status] for status in ("delivered", "failed") if status in self.first]
        return dt.datetime.fromtimestamp(min(known), dt.UTC) - UNDELIVERED - SKEW if known else None

    def record(self, key: tuple[str, ...]) -> bytes:
        reached = [state for state in STATES if state in self.first]
        number, id_, recipient = key
        told = {
            "phone_number_id": number,
            "id": id_,
            "recipient_id": recipient,
            **{f"{state}_at": self.first.get(state) for state in (*STATES, "failed")},
            "first_status_at": min(self.first.values()),
            "final_status": "failed" if "failed" in self.first else reached[-1] if reached else min(self.first),
            "pricing_category": self.pricing.get("category"),
            "pricing_type": self.pricing.get("type"),
            "error_code": self.error,
        }
        return msgspec.json.encode(told)


def _tell_states(ask: Ask, states: dict[tuple[str, ...], _State], first: int) -> Iterator[Page]:
    """The states, completed from the commits before `first`, back to where no status of theirs can be any more."""
    assert ask.parent is not None
    unsure = dict(states)
    for sequence in range(first - 1, 0, -1):
        commit = ask.parent.read(sequence)
        written = dt.datetime.fromisoformat(commit.committed_at)
        unsure = {key: state for key, state in unsure.items() if (begins := state.begins()) is None or begins <= written}
        if not unsure:
            break
        for row in rows_of(ask.parent, commit, _STATUS):
            if state := unsure.get(_message(row)):
                state.add(row)
    at = utc_now()
    for key, state in states.items():
        yield Page([state.record(key)], at)
