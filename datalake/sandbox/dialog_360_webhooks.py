"""What happens on WhatsApp and how the stand-in for 360dialog tells it: bodies, deliveries, and the rows they must become.

Deliveries come as real ones do: out of order, some twice, some days late, some events in two different bodies.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from datalake.sandbox.base import Row
from datalake.sandbox.fill import WORDS, person

SECRET = "sandbox-platform-secret"  # noqa: S105 - of the stand-in; signs what the partner hub sends
TOKEN = "sandbox-webhook-token"  # noqa: S105 - of the stand-in; stands in a header of what a number sends
LATE, TWICE = 0.08, 0.1
"""Shares of deliveries that come a day late, and that come twice."""
DAY = 86_400

Record = dict[str, Any]


@dataclass(frozen=True)
class Number:
    """A phone number of ours: its channel, Meta's id, how it is shown, the account it belongs to."""

    channel: str
    id: str
    display: str
    waba: str


@dataclass
class Told:
    """One row that a body brings: the provider's time of it, and the row. `gone` says that the row is taken back."""

    table: str
    key: tuple[Any, ...]
    at: int
    row: Row


@dataclass
class Delivery:
    body: bytes
    channel: str
    signed: bool
    told: list[Told]
    not_before: int
    delivered: bool = False


@dataclass
class Traffic:
    """All that happened, day by day, and what of it was delivered."""

    seed: int
    scale: float
    numbers: list[Number]
    templates: list[tuple[int, str, str]]
    """Meta's id, name and language of templates that events tell of."""
    deliveries: list[Delivery] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)
    """Files by id. One in four that messages name is gone at Meta."""
    address: str = ""
    _names: dict[str, str] = field(default_factory=dict)
    _serial: int = 0
    _files: int = 0

    def day(self, start: int, number: int) -> dict[str, int]:
        """A day's events, `number` days after the first. Every event has a second of its own."""
        chance = random.Random(f"{self.seed}/traffic/{number}")
        clock = iter(range(start + 3600, start + DAY, 7))
        before = len(self.deliveries)
        for one in range(max(4, round(12 * self.scale))):
            self._inbound(chance, clock, one)
        for one in range(max(3, round(10 * self.scale))):
            self._outbound(chance, clock, one)
        self._specials(chance, clock, number)
        for delivery in self.deliveries[before:]:
            if chance.random() < LATE:
                delivery.not_before = start + 2 * DAY
        return {"webhooks": len(self.deliveries) - before}

    # What people and numbers do

    def _inbound(self, chance: random.Random, clock: Iterator[int], one: int) -> None:
        ours, someone = chance.choice(self.numbers), chance.randrange(40)
        kind = ("text", "image", "text", "reaction", "audio", "interactive", "text", "location", "order", "unsupported")[
            one % 10
        ]
        at = next(clock)
        message = self._message(chance, at, someone, kind)
        bodies = [message]
        if one == 0:  # taken back a little later; the two may come in any order
            taken = self._message(chance, next(clock), someone, "revoke")
            taken["revoke"] = {"original_message_id": message["id"]}
            bodies.append(taken)
        for each in bodies:
            self._messages(ours, someone, [each])
        if one == 2:  # several messages, entries and people in one body
            more = [(chance.choice(self.numbers), chance.randrange(40), next(clock)) for _ in range(3)]
            self._many([(number, who, self._message(chance, time, who, "text")) for number, who, time in more])

    def _message(self, chance: random.Random, at: int, someone: int, kind: str) -> Record:
        message: Record = {"from": person(someone).phone, "id": self._id("wamid"), "timestamp": str(at), "type": kind}
        match kind:
            case "text":
                message["text"] = {"body": " ".join(chance.choice(WORDS) for _ in range(5)) + " ☎"}
            case "image" | "audio":
                message[kind] = self._media(chance, kind)
            case "reaction":
                message["reaction"] = {"message_id": self._id("wamid"), "emoji": "👍"}
            case "interactive":
                message["context"] = {"from": self.numbers[0].display, "id": self._id("wamid")}
                message["interactive"] = {"type": "button_reply", "button_reply": {"id": "yes", "title": "Sim"}}
            case "location":
                message["location"] = {"latitude": -23.55052, "longitude": -46.633309}
            case "order":
                item = {"product_retailer_id": "CAFE", "quantity": 2, "item_price": 12.5, "currency": "BRL"}
                message["order"] = {"catalog_id": "354160437058781", "text": "", "product_items": [item]}
            case "unsupported":
                message["errors"] = [{"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}]
        return message

    def _media(self, chance: random.Random, kind: str) -> Record:
        id_, content = str(10**15 + self._next()), chance.randbytes(200)
        self._files += 1
        if self._files % 4 != 2:
            self.media[id_] = content
        mime = {"image": "image/jpeg", "audio": "audio/ogg; codecs=opus"}[kind]
        return {"mime_type": mime, "sha256": hashlib.sha256(content).hexdigest(), "id": id_}

    def _outbound(self, chance: random.Random, clock: Iterator[int], one: int) -> None:
        ours, someone = chance.choice(self.numbers), chance.randrange(40)
        id_ = self._id("wamid")
        steps = (["sent", "delivered", "read"], ["sent", "failed"], ["delivered", "read"], ["sent", "delivered"])[one % 4]
        statuses = [self._status(ours, id_, step, next(clock), person(someone).phone) for step in steps]
        if one % 4 == 0:
            # All in one body, and the last one in a body of its own as well.
            self._statuses(ours, someone, statuses)
            self._statuses(ours, someone, statuses[-1:])
        else:
            for status in statuses:
                self._statuses(ours, someone, [status])

    def _status(self, ours: Number, id_: str, step: str, at: int, recipient: str) -> Record:
        status: Record = {"id": id_, "status": step, "timestamp": str(at), "recipient_id": recipient}
        if step == "failed":
            status["errors"] = [{"code": 131026, "title": "Message undeliverable", "message": "Message undeliverable"}]
        else:
            status["pricing"] = {"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"}
            status["biz_opaque_callback_data"] = f"room-{ours.channel}"
        return status

    def _specials(self, chance: random.Random, clock: Iterator[int], number: int) -> None:
        """One of everything else."""
        ours, someone = self.numbers[number % len(self.numbers)], 40 + number % 5
        self._group_status(ours, clock)
        self._calls(ours, someone, clock)
        self._echoes(ours, someone, clock)
        self._preference(ours, someone, next(clock), ("stop", "resume")[number % 2])
        self._changed_number(ours, 50 + number, next(clock))
        self._names[person(number).phone] = f"{person(number).name} ({number})"
        self._account(ours, next(clock), {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SPAM"}})
        self._account(ours, next(clock), {"event": "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE", "country": "BR"})
        self._alerts(ours, clock)
        self._quality(ours, next(clock), number)
        self._template_events(chance, ours, clock)
        self._error(ours, next(clock))
        self._partner_event(next(clock), number, ours)
        self._on_premise(chance, ours, 60 + number, next(clock))

    def _group_status(self, ours: Number, clock: Iterator[int]) -> None:
        group, id_ = f"grupo{self._next()}", self._id("wamid")
        for member in (70, 71):
            status = self._status(ours, id_, "read", next(clock), group)
            status |= {"recipient_type": "group", "recipient_participant_id": person(member).phone}
            self._statuses(ours, member, [status])

    def _calls(self, ours: Number, someone: int, clock: Iterator[int]) -> None:
        id_, caller = self._id("wacid"), person(someone).phone
        begun, ended, rung = next(clock), next(clock), next(clock)
        connect: Record = {"id": id_, "from": caller, "to": ours.display, "event": "connect", "timestamp": str(begun)}
        connect |= {"direction": "USER_INITIATED", "session": {"sdp": "v=0", "sdp_type": "offer"}}
        end: Record = {"id": id_, "from": caller, "to": ours.display, "event": "terminate", "timestamp": str(ended)}
        end |= {"direction": "USER_INITIATED", "status": "COMPLETED", "start_time": str(begun), "end_time": str(ended)}
        end["duration"] = ended - begun
        ring: Record = {
            "id": self._id("wacid"),
            "timestamp": str(rung),
            "type": "call",
            "status": "RINGING",
            "recipient_id": caller,
        }
        for name, call, at in (("calls", connect, begun), ("calls", end, ended), ("statuses", ring, rung)):
            event = call.get("event") or call["status"]
            value = self._value(ours, someone, {name: [call]})
            told = [self._told("calls", (ours.id, call["id"], event), at, call, ours, event=event)]
            self._meta(ours, "calls", value, [*told, self._contact(someone, at)])

    def _echoes(self, ours: Number, someone: int, clock: Iterator[int]) -> None:
        at, taken_at = next(clock), next(clock)
        base = {"from": ours.display, "to": person(someone).phone}
        sent = {**base, "id": self._id("wamid"), "timestamp": str(at), "type": "text", "text": {"body": "Olá"}}
        kept = {**base, "id": self._id("wamid"), "timestamp": str(at), "type": "text", "text": {"body": "Bom dia"}}
        revoke = {"original_message_id": sent["id"]}
        taken = {**base, "id": self._id("wamid"), "timestamp": str(taken_at), "type": "revoke", "revoke": revoke}
        for time, echoes in ((at, [sent, kept]), (taken_at, [taken])):
            told = [self._told("message_echoes", (ours.id, echo["id"]), time, echo, ours) for echo in echoes]
            if time == taken_at:
                told.append(self._gone("message_echoes", (ours.id, sent["id"]), time, {"id": sent["id"]}, ours))
            value = self._value(ours, someone, {"message_echoes": echoes})
            self._meta(ours, "smb_message_echoes", value, [*told, self._contact(someone, time)])

    def _preference(self, ours: Number, someone: int, at: int, choice: str) -> None:
        wish: Record = {"wa_id": person(someone).phone, "detail": f"User requested to {choice} marketing messages"}
        wish |= {"category": "marketing_messages", "value": choice, "timestamp": at}
        told = self._told("user_preferences", (ours.id, wish["wa_id"], wish["category"], at), at, wish, ours)
        value = self._value(ours, someone, {"user_preferences": [wish]})
        self._meta(ours, "user_preferences", value, [told, self._contact(someone, at)])

    def _changed_number(self, ours: Number, someone: int, at: int) -> None:
        """First they write, a second later they have another number."""
        chance = random.Random(someone)
        self._messages(ours, someone, [self._message(chance, at, someone, "text")])
        old, new = person(someone).phone, person(someone + 1000).phone
        told = {"body": f"User changed from {old} to {new}", "wa_id": new, "type": "user_changed_number"}
        message = {"from": old, "id": self._id("wamid"), "timestamp": str(at + 1), "type": "system", "system": told}
        value = self._value(ours, None, {"messages": [message]})
        gone = Told("contacts", (old,), at + 1, Row({"wa_id": old}, {"contact_key": old}, True))
        self._meta(ours, "messages", value, [self._told("messages", (ours.id, message["id"]), at + 1, message, ours), gone])

    def _account(self, ours: Number, at: int, value: Record) -> None:
        told = self._of_value("account_updates", (ours.waba, value["event"], at), at, value, ours)
        self._meta(ours, "account_update", value, [told], time=at)

    def _alerts(self, ours: Number, clock: Iterator[int]) -> None:
        for name, value in (
            ("account_review_update", {"decision": "APPROVED"}),
            ("business_capability_update", {"max_daily_conversation_per_phone": 1000, "max_phone_numbers_per_business": 25}),
            ("account_alerts", {"entity_type": "BUSINESS", "alert_severity": "WARNING", "alert_type": "PROFILE_PICTURE_LOST"}),
        ):
            at = next(clock)
            told = self._of_value("account_alerts", (ours.waba, name, at), at, value, ours, {"field": name, "value": value})
            self._meta(ours, name, value, [told], time=at)
        at = next(clock)
        named = {"display_phone_number": ours.display, "decision": "APPROVED", "requested_verified_name": "Padaria Aurora"}
        told = self._of_value("phone_number_name_updates", (ours.display, "APPROVED", at), at, named, ours)
        self._meta(ours, "phone_number_name_update", named, [told], time=at)

    def _quality(self, ours: Number, at: int, number: int) -> None:
        value = {
            "display_phone_number": ours.display,
            "event": ("FLAGGED", "UNFLAGGED")[number % 2],
            "current_limit": "TIER_1K",
        }
        told = self._of_value("phone_number_quality_updates", (ours.display, value["event"], at), at, value, ours)
        self._meta(ours, "phone_number_quality_update", value, [told], time=at)

    def _template_events(self, chance: random.Random, ours: Number, clock: Iterator[int]) -> None:
        id_, name, language = chance.choice(self.templates)
        base = {"message_template_id": id_, "message_template_name": name, "message_template_language": language}
        for table, field_, more in (
            ("template_status_updates", "message_template_status_update", {"event": "APPROVED", "reason": "NONE"}),
            (
                "template_category_updates",
                "template_category_update",
                {"previous_category": "UTILITY", "new_category": "MARKETING"},
            ),
            (
                "template_quality_updates",
                "message_template_quality_update",
                {"previous_quality_score": "GREEN", "new_quality_score": "YELLOW"},
            ),
            ("template_components_updates", "message_template_components_update", {"message_template_element": "Olá {{1}}"}),
        ):
            at, value = next(clock), {**base, **more}
            key = (str(id_), more["event"], at) if "event" in more else (str(id_), at)
            self._meta(ours, field_, value, [self._of_value(table, key, at, value, ours)], time=at)

    def _error(self, ours: Number, at: int) -> None:
        error = {"code": 131000, "title": "Something went wrong", "error_data": {"details": "Unsupported webhook payload"}}
        message = {"from": person(3).phone, "id": self._id("wamid"), "timestamp": str(at), "type": "interactive"}
        value = self._value(ours, 3, {"messages": [message], "errors": [error]})
        told = [self._told("messages", (ours.id, message["id"]), at, message, ours), self._contact(3, at)]
        told.append(self._told("webhook_errors", (), at, error, ours, position=0))
        self._meta(ours, "messages", value, told)

    def _partner_event(self, at: int, number: int, ours: Number) -> None:
        name = ("channel_created", "channel_live", "client_created")[number % 3]
        event = {"id": f"evt-{self._next():08d}", "event": name, "data": {"id": ours.channel, "at": at}}
        told = Told("partner_events", (event["id"],), at, Row(event, {"id": event["id"]}))
        self._send(event, "", [told], kind="partner", fields=[], signed=True)

    def _on_premise(self, chance: random.Random, ours: Number, someone: int, at: int) -> None:
        """The form of the retired API: its number is known by the address alone."""
        message = self._message(chance, at, someone, "text")
        body = {"contacts": [self._person(someone)], "messages": [message]}
        told = Told(
            "messages", (ours.channel, message["id"]), at, Row(message, {"phone_number_id": ours.channel, "waba_id": None})
        )
        self._send(body, ours.channel, [told, self._contact(someone, at)], kind="on_premise", fields=["messages"])

    # Bodies

    def _messages(self, ours: Number, someone: int, messages: list[Record]) -> None:
        told = []
        for message in messages:
            at = int(message["timestamp"])
            told.append(self._told("messages", (ours.id, message["id"]), at, message, ours))
            if message["type"] == "revoke":
                original = message["revoke"]["original_message_id"]
                told.append(self._gone("messages", (ours.id, original), at, {"id": original}, ours))
        last = max(int(message["timestamp"]) for message in messages)
        self._meta(ours, "messages", self._value(ours, someone, {"messages": messages}), [*told, self._contact(someone, last)])

    def _many(self, messages: list[tuple[Number, int, Record]]) -> None:
        entries, told = [], []
        for ours, someone, message in messages:
            at = int(message["timestamp"])
            change = {"field": "messages", "value": self._value(ours, someone, {"messages": [message]})}
            entries.append({"id": ours.waba, "changes": [change]})
            told += [self._told("messages", (ours.id, message["id"]), at, message, ours), self._contact(someone, at)]
        body = {"object": "whatsapp_business_account", "entry": entries}
        self._send(body, messages[0][0].channel, told, kind="meta", fields=["messages"])

    def _statuses(self, ours: Number, someone: int, statuses: list[Record]) -> None:
        told = []
        for status in statuses:
            participant = status.get("recipient_participant_id", "")
            facts = {"recipient_id": status["recipient_id"], "recipient_participant_id": participant}
            key = (ours.id, status["id"], status["status"], status["recipient_id"], participant)
            told.append(self._told("message_statuses", key, int(status["timestamp"]), status, ours, **facts))
        last = max(int(status["timestamp"]) for status in statuses)
        value = self._value(ours, someone, {"statuses": statuses})
        self._meta(ours, "messages", value, [*told, self._contact(someone, last)])

    def _value(self, ours: Number, someone: int | None, more: Record) -> Record:
        metadata = {"display_phone_number": ours.display, "phone_number_id": ours.id}
        value: Record = {"messaging_product": "whatsapp", "metadata": metadata}
        if someone is not None:
            value["contacts"] = [self._person(someone)]
        return value | more

    def _person(self, someone: int) -> Record:
        number = person(someone).phone
        name = self._names.get(number, person(someone).name)
        return {"profile": {"name": name}, "wa_id": number, "user_id": f"BR.{10**15 + someone}"}

    def _meta(self, ours: Number, name: str, value: Record, told: list[Told], time: int | None = None) -> None:
        entry: Record = {"id": ours.waba, **({"time": time} if time else {}), "changes": [{"field": name, "value": value}]}
        body = {"object": "whatsapp_business_account", "entry": [entry]}
        self._send(body, ours.channel, told, kind="meta", fields=[name])

    def _send(
        self, content: Record, channel: str, told: list[Told], *, kind: str, fields: list[str], signed: bool | None = None
    ) -> None:
        body = msgspec.json.encode(content)
        sha = hashlib.sha256(body).hexdigest()
        proof = channel.endswith("0CH") if signed is None else signed
        facts = {"event_id": sha, "channel": channel, "kind": kind, "fields": fields, "signed": proof}
        for each in told:
            each.row.add["event_id"] = sha
            if each.table == "webhook_errors":
                each.key = (sha, 131000, 0)
        last = max(each.at for each in told)
        self.deliveries.append(
            Delivery(body, channel, proof, [*told, Told("webhook_events_raw", (sha,), last, Row(content, facts))], 0)
        )

    # Rows

    def _told(self, table: str, key: tuple[Any, ...], at: int, record: Record, ours: Number, **more: Any) -> Told:
        facts = {"phone_number_id": ours.id, "display_phone_number": ours.display, "waba_id": ours.waba, **more}
        return Told(table, key, at, Row(record, facts))

    def _of_value(
        self, table: str, key: tuple[Any, ...], at: int, value: Record, ours: Number, more: Record | None = None
    ) -> Told:
        fingerprint = hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]
        facts = {
            "display_phone_number": ours.display,
            "waba_id": ours.waba,
            "time": at,
            "fingerprint": fingerprint,
            **(more or {}),
        }
        return Told(table, (*key, fingerprint), at, Row(value, facts))

    def _gone(self, table: str, key: tuple[Any, ...], at: int, record: Record, ours: Number) -> Told:
        return Told(table, key, at, Row(record, {"phone_number_id": ours.id}, True))

    def _contact(self, someone: int, at: int) -> Told:
        contact = self._person(someone)
        return Told("contacts", (contact["wa_id"],), at, Row(contact, {"contact_key": contact["wa_id"], "last_seen_at": at}))

    def _id(self, kind: str) -> str:
        return f"{kind}.{self.seed}{self._next():012d}=="

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # Deliveries

    def deliver(self, now: int) -> dict[str, int]:
        """Post what is due to the address, in a random order, some twice. What is not answered with 200 stays due."""
        if not self.address:
            return {}
        parts = urlsplit(self.address)
        chance = random.Random(f"{self.seed}/deliver/{now}")
        due = [each for each in self.deliveries if not each.delivered and each.not_before <= now]
        chance.shuffle(due)
        again = [each for each in due if chance.random() < TWICE]
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        refused = 0
        try:
            for delivery in [*due, *again]:
                headers = {"Content-Type": "application/json", **_proof(delivery)}
                address = f"{parts.path}/{delivery.channel}" if delivery.channel else parts.path
                connection.request("POST", address, delivery.body, headers)
                reply = connection.getresponse()
                reply.read()
                refused += reply.status != 200
                delivery.delivered = delivery.delivered or reply.status == 200
        finally:
            connection.close()
        return {"delivered": len(due) - refused, "delivered_twice": len(again), "refused": refused}

    def rows(self, table: str) -> list[Row]:
        """The newest version of every row that was delivered, by the provider's time."""
        newest: dict[tuple[Any, ...], Told] = {}
        doubtful = set()
        for told in self._delivered(table):
            known = newest.get(told.key)
            if known is not None and known.at == told.at:
                doubtful.add(told.key)  # the same in two bodies: either may be the one that is kept
            if known is None or told.at >= known.at:
                newest[told.key] = told
        found = []
        for key, told in newest.items():
            facts = {name: value for name, value in told.row.add.items() if name != "event_id" or key not in doubtful}
            found.append(Row(told.row.record, facts, told.row.deleted))
        return found

    def _delivered(self, table: str) -> Iterator[Told]:
        return (told for each in self.deliveries if each.delivered for told in each.told if told.table == table)

    def latest(self) -> list[Row]:
        """Every message's state, from the statuses that were delivered."""
        of_message: dict[tuple[str, str, str], list[Record]] = {}
        for told in self._delivered("message_statuses"):
            of_message.setdefault((told.key[0], told.key[1], told.key[3]), []).append(told.row.record)
        return [Row(_state(*key, statuses)) for key, statuses in of_message.items()]


def _state(number: str, id_: str, recipient: str, statuses: list[Record]) -> Record:
    times = {step: [int(each["timestamp"]) for each in statuses if each["status"] == step] for step in RANK}
    state: Record = {f"{step}_at": min(found) if found else None for step, found in times.items()}
    priced: Record = next((each["pricing"] for each in statuses if "pricing" in each), {})
    errors: list[Record] = next((each["errors"] for each in statuses if "errors" in each), [])
    return state | {
        "phone_number_id": number,
        "id": id_,
        "recipient_id": recipient,
        "first_status_at": min(min(found) for found in times.values() if found),
        "final_status": max((step for step, found in times.items() if found), key=RANK.index),
        "pricing_category": priced.get("category"),
        "pricing_type": priced.get("type"),
        "error_code": errors[0]["code"] if errors else None,
    }


RANK = ["sent", "delivered", "read", "played", "failed"]


def _proof(delivery: Delivery) -> dict[str, str]:
    if delivery.signed:
        return {"X-360dialog-Signature": hmac.new(SECRET.encode(), delivery.body, hashlib.sha256).hexdigest()}
    return {"Authorization": f"Bearer {TOKEN}"}
