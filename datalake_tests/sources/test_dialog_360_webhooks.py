"""Webhooks from the receiver's door to the tables: Meta's own payloads, any order, broken bodies, kills in between."""

import base64
import hashlib
import hmac
import http.client
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from datalake import contracts
from datalake.lake.inbox import Inbox
from datalake.lake.lake import Lake
from datalake.lake.raw import Commit
from datalake.pipeline import run_source
from datalake.settings import Settings
from datalake.sources.progress import LogProgress
from datalake.webhooks.server import running

pytestmark = pytest.mark.slow

SOURCE = contracts.load_source("dialog_360")
PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "specs" / "dialog_360" / "webhooks.json").read_text())
SECRET = "a-signing-secret"
RECEIVED = [name for name, table in SOURCE.tables.items() if table.rows.startswith(("webhook", "partner_events", "latest"))]
NUMBER = {"display_phone_number": "551130000000", "phone_number_id": "106540352242922"}


class World:
    """A lake, its inbox, and the tables that webhooks become."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.load({"DATALAKE_URL": str(folder), "DIALOG_360_WEBHOOK_SECRET": SECRET})
        self.lake = Lake(self.settings)
        self.inbox = Inbox(self.lake.objects, "dialog_360")
        self.notes: list[str] = []

    def receive(self, *bodies: Any) -> None:
        for body in bodies:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.inbox.put(content, channel="C1", signed=True)

    def sync(self, *names: str, full: bool = False) -> None:
        """All layers of the tables and of those that they follow."""
        tables = [SOURCE.tables[name] for name in dict.fromkeys(("webhook_events_raw", *names))]
        for step in run_source(self.lake, SOURCE, tables, run_id=uuid.uuid4().hex, full=full, progress=LogProgress()):
            assert step.error is None, step.error
            step.commit()
            self.notes += step.notes + getattr(step.result, "notes", [])

    def rows(self, name: str, columns: str = "*", where: str = "_deleted_at IS NULL") -> list[tuple[Any, ...]]:
        connection = self.lake.connect()
        try:
            sql = f'SELECT {columns} FROM lake.dialog_360."{name}" WHERE {where} ORDER BY ALL'
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def commits(self, name: str) -> list[Commit]:
        return self.lake.log(SOURCE.tables[name]).since(0)

    def quarantined(self) -> list[tuple[Any, ...]]:
        connection = self.lake.connect()
        try:
            return connection.execute('SELECT "table", "column", reason FROM lake.quality.quarantine ORDER BY ALL').fetchall()
        finally:
            connection.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.lake.close()


def envelope(value: dict[str, Any], field: str = "messages", time: int | None = None) -> dict[str, Any]:
    entry = {"id": "102290129340398", "changes": [{"field": field, "value": value}]}
    return {"object": "whatsapp_business_account", "entry": [{**entry, **({"time": time} if time else {})}]}


def status(step: str, at: int, id_: str = "wamid.1", **more: Any) -> dict[str, Any]:
    told = {"id": id_, "status": step, "timestamp": str(at), "recipient_id": "5511999990000", **more}
    return envelope({"messaging_product": "whatsapp", "metadata": NUMBER, "statuses": [told]})


def message(at: int, id_: str = "wamid.1", name: str = "Ana", **more: Any) -> dict[str, Any]:
    told = {"from": "5511999990000", "id": id_, "timestamp": str(at), "type": "text", "text": {"body": "Olá"}, **more}
    contacts = [{"profile": {"name": name}, "wa_id": "5511999990000"}]
    return envelope({"messaging_product": "whatsapp", "metadata": NUMBER, "contacts": contacts, "messages": [told]})


# Meta's published payloads


def values(field: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Entry and value of every published change of a field."""
    return [
        (entry, change["value"])
        for body in PUBLISHED.values()
        for entry in body["entry"]
        for change in entry["changes"]
        if change["field"] == field
    ]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Meta's payloads as they stand, posted to the real receiver in a random order, some twice, read in two syncs."""
    world = World(tmp_path_factory.mktemp("published"))
    bodies = [json.dumps(body, indent=2).encode() for body in PUBLISHED.values()]
    posts = bodies + bodies[::3]
    random.Random(3).shuffle(posts)
    with running(world.settings) as address:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        for third in (posts[:50], posts[50:]):
            for body in third:
                signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                connection.request("POST", "/dialog_360", body, {"X-Hub-Signature-256": f"sha256={signature}"})
                reply = connection.getresponse()
                assert (reply.status, reply.read()) == (200, b"")
            world.sync(*RECEIVED)
        connection.close()
    yield world
    world.lake.close()


def test_every_published_payload_is_received_once(published: World) -> None:
    told = {hashlib.sha256(json.dumps(body, indent=2).encode()).hexdigest(): body for body in PUBLISHED.values()}
    found = published.rows("webhook_events_raw", "event_id, kind, signed, entry")
    assert {row[0] for row in found} == set(told)
    assert {row[1:3] for row in found} == {("meta", True)}
    assert all(json.loads(row[3]) == told[row[0]]["entry"] for row in found)


def test_published_messages_are_there_with_their_newest_version(published: World) -> None:
    newest: dict[tuple[str, str], int] = {}
    for _, value in values("messages"):
        for each in value.get("messages", ()):
            key = (value["metadata"]["phone_number_id"], each["id"])
            newest[key] = max(newest.get(key, 0), int(each["timestamp"]))
    gone = [
        (value["metadata"]["phone_number_id"], each["revoke"]["original_message_id"])
        for _, value in values("messages")
        for each in value.get("messages", ())
        if each["type"] == "revoke"
    ]
    found = published.rows("messages", "phone_number_id, id, CAST(epoch(timestamp) AS BIGINT)")
    assert {(number, id_): at for number, id_, at in found} == newest
    assert published.rows("messages", "phone_number_id, id", "_deleted_at IS NOT NULL") == sorted(gone)


def test_published_statuses_fold_into_the_last_state(published: World) -> None:
    steps: dict[tuple[str, str, str], set[str]] = {}
    for _, value in values("messages"):
        for each in value.get("statuses", ()):
            key = (value["metadata"]["phone_number_id"], each["id"], each["recipient_id"])
            steps.setdefault(key, set()).add(each["status"])
    rank = ["sent", "delivered", "read", "played", "failed"]
    found = published.rows("message_latest_status", "phone_number_id, id, recipient_id, final_status, error_code")
    assert {row[:3]: row[3] for row in found} == {key: max(told, key=rank.index) for key, told in steps.items()}
    assert [row[4] for row in found if row[3] == "failed"] == [130472]
    assert len(published.rows("message_statuses")) == sum(len(told) for told in steps.values())


@pytest.mark.parametrize(
    "table, field",
    [
        ("account_updates", "account_update"),
        ("template_status_updates", "message_template_status_update"),
        ("template_category_updates", "template_category_update"),
        ("template_components_updates", "message_template_components_update"),
        ("template_quality_updates", "message_template_quality_update"),
    ],
)
def test_published_events_of_accounts_and_templates_are_rows(published: World, table: str, field: str) -> None:
    told = sorted((entry["id"], entry["time"]) for entry, _ in values(field))
    assert published.rows(table, "waba_id, CAST(epoch(time) AS BIGINT)") == told


def test_published_ids_of_templates_keep_their_digits(published: World) -> None:
    told = sorted((str(value["message_template_id"]), value["event"]) for _, value in values("message_template_status_update"))
    assert published.rows("template_status_updates", "message_template_id, event") == told


def test_published_calls_echoes_wishes_and_errors_are_rows(published: World) -> None:
    calls = {
        (value["metadata"]["phone_number_id"], each["id"], each.get("event") or each["status"])
        for _, value in values("calls")
        for each in [*value.get("calls", ()), *value.get("statuses", ())]
    }
    assert set(published.rows("calls", "phone_number_id, id, event")) == calls
    echoes = {each["id"] for _, value in values("smb_message_echoes") for each in value["message_echoes"]}
    assert {row[0] for row in published.rows("message_echoes", "id")} == echoes
    wishes = sorted(each["value"] for _, value in values("user_preferences") for each in value["user_preferences"])
    assert published.rows("user_preferences", "count(*)") == [(1,)], f"of one second and person: {wishes}"
    errors = [each["code"] for field in ("messages", "calls") for _, value in values(field) for each in value.get("errors", ())]
    assert sorted(row[0] for row in published.rows("webhook_errors", "code")) == sorted(errors)


def test_published_people_are_known_by_number_and_gone_under_the_old_one(published: World) -> None:
    gone = published.rows("contacts", "contact_key", "_deleted_at IS NOT NULL")
    assert gone == [("972987654321",)]


def test_nothing_published_is_left_in_quarantine(published: World) -> None:
    assert published.quarantined() == []


# Order


STORY = [
    status("sent", 1_790_000_000, pricing={"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"}),
    status("delivered", 1_790_000_005),
    status("read", 1_790_090_000),
    status("sent", 1_790_000_100, "wamid.2"),
    status("failed", 1_790_000_101, "wamid.2", errors=[{"code": 131026, "title": "Undeliverable"}]),
    status("delivered", 1_790_000_200, "wamid.3"),
    message(1_790_000_300, "wamid.4", "Ana"),
    message(1_790_000_400, "wamid.5", "Ana Lima"),
    message(1_790_000_500, "wamid.6", type="revoke", text=None, revoke={"original_message_id": "wamid.4"}),
    envelope({"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SPAM"}}, "account_update", 1_790_000_600),
    envelope({"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "ADULT"}}, "account_update", 1_790_000_600),
]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_order_they_come_in_the_tables_are_the_same(world: World, seed: int) -> None:
    chance = random.Random(seed)
    story = STORY * 2
    chance.shuffle(story)
    for portion in (6, 5, 11):
        world.receive(*[story.pop() for _ in range(portion)])
        world.sync("messages", "message_statuses", "message_latest_status", "contacts", "account_updates")
    times = "CAST(epoch({}_at) AS BIGINT)".format
    assert world.rows(
        "message_latest_status", f"id, final_status, {times('sent')}, {times('delivered')}, {times('read')}, error_code"
    ) == [
        ("wamid.1", "read", 1_790_000_000, 1_790_000_005, 1_790_090_000, None),
        ("wamid.2", "failed", 1_790_000_100, None, None, 131026),
        ("wamid.3", "delivered", None, 1_790_000_200, None, None),
    ]
    assert world.rows("message_latest_status", "pricing_category", "id = 'wamid.1'") == [("utility",)]
    assert world.rows("messages", "id") == [("wamid.5",), ("wamid.6",)]
    assert world.rows("messages", "id", "_deleted_at IS NOT NULL") == [("wamid.4",)]
    [(name, seen)] = world.rows("contacts", "profile_name, CAST(epoch(last_seen_at) AS BIGINT)")
    assert (name, seen) == ("Ana", 1_790_000_500)
    assert len(world.rows("account_updates")) == 2


def test_a_state_is_completed_from_statuses_read_months_before(world: World) -> None:
    day = 86_400
    now = 1_790_000_000
    tables = ("message_statuses", "message_latest_status")
    world.receive(status("sent", now - 90 * day))
    world.sync(*tables)
    world.receive(status("delivered", now - 89 * day), status("sent", now, "wamid.9"))
    world.sync(*tables)
    world.receive(status("read", now))
    world.sync(*tables)
    [row] = world.rows("message_latest_status", "final_status, sent_at, delivered_at, read_at", "id = 'wamid.1'")
    assert row[0] == "read"
    assert None not in row


@pytest.mark.slow
def test_a_full_reading_changes_no_row(world: World) -> None:
    world.receive(*STORY)
    names = ("messages", "message_statuses", "contacts", "account_updates")
    world.sync(*names)
    before = {name: world.rows(name, "* EXCLUDE (_extracted_at, _raw_commit)") for name in names}
    world.sync(*names, full=True)
    assert {name: world.rows(name, "* EXCLUDE (_extracted_at, _raw_commit)") for name in names} == before


# The inbox as a source


def test_a_body_that_lands_late_is_read_by_the_next_run_and_then_never_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(message(1_790_000_000)).encode()
    with monkeypatch.context() as patch:
        keep = world.inbox._keep
        patch.setattr(world.inbox, "_keep", lambda key, content: keep(key, content) if "arrivals" in key else None)
        world.inbox.put(body, channel="C1", signed=True)  # its body is still under way
    world.receive(message(1_790_000_100, "wamid.2"))
    world.sync("messages")
    assert world.rows("messages", "id") == [("wamid.2",)]
    world.inbox._keep(world.inbox._body(hashlib.sha256(body).hexdigest()), body)
    world.sync("messages")
    assert world.rows("messages", "id") == [("wamid.1",), ("wamid.2",)]
    commits = len(world.commits("webhook_events_raw"))
    world.sync("messages")
    assert len(world.commits("webhook_events_raw")) == commits


def test_a_delivery_that_was_killed_and_came_again_is_one_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        keep = world.inbox._keep
        patch.setattr(world.inbox, "_keep", lambda key, content: keep(key, content) if "arrivals" in key else None)
        world.receive(message(1_790_000_000))
    world.receive(message(1_790_000_000))
    world.sync("messages")
    assert len(world.rows("webhook_events_raw")) == 1
    assert len(world.rows("messages")) == 1


def test_many_arrivals_are_read_in_portions_and_none_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalake.sources.received.CHUNK", 7)
    for number in range(40):
        world.receive(message(1_790_000_000 + number, f"wamid.{number:03d}"))
        if number == 20:
            world.sync("messages")
    world.sync("messages")
    assert [row[0] for row in world.rows("messages", "id")] == [f"wamid.{number:03d}" for number in range(40)]


# Bodies that are not as they should be


def test_what_is_no_webhook_lands_as_it_came(world: World) -> None:
    strange = [
        b"no json",
        b'["a", "list"]',
        b'{"entry": [{"changes": [{"field": "messages", "value": "text"}]}]}',
        b'{"entry": "nothing"}',
        b'{"number": NaN}',
        b"\xff\xfe\x00",
        b'{"half": ',
    ]
    world.receive(*strange, message(1_790_000_000))
    world.sync("messages")
    rows = {row[0]: row[1:] for row in world.rows("webhook_events_raw", "event_id, kind, unreadable, _unmapped, entry")}
    assert len(rows) == len(strange) + 1
    for body in strange:
        kind, unreadable, unmapped, entry = rows[hashlib.sha256(body).hexdigest()]
        assert kind == "other"
        if unreadable is not None:
            assert base64.b64decode(unreadable) == body
        else:
            assert unmapped is not None or entry is not None
    assert sum("unknown form" in note for note in world.notes) == len(strange)
    assert len(world.rows("messages")) == 1
    assert world.quarantined() == []


def test_a_body_in_any_layout_is_read_exactly(world: World) -> None:
    body = json.dumps(message(1_790_000_000, text={"body": "☎ \u2028", "n": 12345678901234567890}), indent=3).encode()
    world.receive(body.replace(b"\n", b"\r\n"))
    world.sync("messages", "contacts")
    [(text,)] = world.rows("messages", "text")
    assert json.loads(text) == {"body": "☎ \u2028", "n": 12345678901234567890}
    assert len(world.rows("contacts")) == 1


def test_broken_text_keeps_only_its_own_row_back(world: World) -> None:
    """Half a surrogate pair is no text: the message that holds one goes to quarantine, who sent it does not."""
    world.receive(message(1_790_000_000, text={"body": "cut \ud83d off"}))
    world.sync("messages", "contacts")
    assert [row[0] for row in world.quarantined()] == ["messages", "webhook_events_raw"]
    assert len(world.rows("contacts")) == 1


def test_a_hidden_number_is_known_by_its_user_and_unknown_types_land(world: World) -> None:
    value = {
        "metadata": NUMBER,
        "contacts": [{"profile": {"name": "Ana"}, "user_id": "BR.1"}],
        "messages": [
            {"id": "wamid.1", "from_user_id": "BR.1", "timestamp": "1790000000", "type": "hologram", "hologram": {"a": 1}}
        ],
        "statuses": [{"id": "wamid.2", "status": "sent", "timestamp": "1790000000", "recipient_user_id": "BR.1"}],
    }
    world.receive(envelope(value))
    world.sync("messages", "contacts", "message_statuses")
    assert world.rows("contacts", "contact_key, wa_id, user_id") == [("BR.1", None, "BR.1")]
    [(sender, kind, rest)] = world.rows("messages", '"from_user_id", type, _unmapped')
    assert (sender, kind, json.loads(rest)) == ("BR.1", "hologram", {"hologram": {"a": 1}})
    assert world.rows("message_statuses", "recipient_id") == [("BR.1",)]


def test_a_row_without_its_key_goes_to_quarantine_with_its_reason(world: World) -> None:
    value = {"messages": [{"id": "wamid.1", "timestamp": "1790000000", "type": "text"}]}
    world.receive(envelope(value))
    world.sync("messages")
    assert world.rows("messages") == []
    assert world.quarantined() == [("messages", "phone_number_id", "is empty, but part of the key")]


def test_a_time_that_is_none_gives_way_to_the_arrival(world: World) -> None:
    world.receive(message(99_999_999_999, "wamid.1"), message(1_790_000_000, "wamid.2", name="Bia"))
    world.sync("contacts")
    [(seen,)] = world.rows("contacts", "year(last_seen_at)")
    assert seen < 2100


def test_events_of_the_partner_hub_and_old_bodies_are_told_apart(world: World) -> None:
    old = {"contacts": [{"profile": {"name": "Ana"}, "wa_id": "55119"}], "messages": [{"id": "m1", "timestamp": "1790000000"}]}
    event = {"id": "evt-1", "event": "channel_live", "data": {"id": "C1CH"}}
    nameless = {"event": "client_created", "data": {}}
    world.receive(old, event, nameless)
    world.sync("partner_events", "messages", "contacts")
    assert world.rows("partner_events", "id, event")[0][1] in ("client_created", "channel_live")
    assert {row[1] for row in world.rows("partner_events", "id, event")} == {"client_created", "channel_live"}
    assert ("evt-1",) in world.rows("partner_events", "id")
    assert world.rows("messages", "phone_number_id, id") == [("C1", "m1")]
    assert sorted(world.rows("webhook_events_raw", "kind")) == [("on_premise",), ("partner",), ("partner",)]
