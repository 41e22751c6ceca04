"""The stand-in for 360dialog: its bodies and answers against Meta's description and examples, its rules over real HTTP."""

import http.server
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.dialog_360 import Dialog360, build
from datalake.sandbox.dialog_360_webhooks import LATE

SPECS = Path(__file__).parent.parent / "specs" / "dialog_360"
SPEC = json.loads((SPECS / "schema.json").read_text())
PUBLISHED: dict[str, Any] = json.loads((SPECS / "webhooks.json").read_text())
SOURCE = contracts.load_source("dialog_360")
NOW = 1_795_036_000
HUB = "/hub.360dialog.io/api/v2/partners/SANDBOXPA"


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SPEC["answers"][name], "$defs": SPEC["$defs"]})


def made(seed: int = 5, scale: float = 0.3) -> Dialog360:
    return build(seed=seed, scale=scale, now=NOW, limits=False)


# Bodies


def changes(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((change["field"], change["value"]) for entry in body.get("entry", ()) for change in entry["changes"])


def shapes(value: Any, place: str = "") -> set[tuple[str, str]]:
    """Every place in a value and the kind of what stands there; a list counts as its elements."""
    kind = {dict: "object", list: "list", str: "text", bool: "bool"}.get(type(value), "number")
    found = {(place, kind)}
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= shapes(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            found |= shapes(inner, f"{place}[]")
    return found


KNOWN = {(field, *shape) for body in PUBLISHED.values() for field, value in changes(body) for shape in shapes(value)}
NAMED = {
    (field, f".{column.field[0]}") for table in SOURCE.tables.values() for field in table.events for column in table.columns
}
"""Members that the contracts name: Meta's documentation tells more than its examples show."""
OF_ALERTS = {(".entity_type", "text"), (".alert_severity", "text"), (".alert_type", "text")}


def test_every_body_is_as_meta_describes_it_or_shows_it() -> None:
    """Meta's description knows some kinds of messages; of the others its examples show all members."""
    stand_in, described = made(), validator("webhook")
    stand_in.advance(2 * 86_400)
    seen = set()
    for delivery in stand_in.traffic.deliveries:
        body = json.loads(delivery.body)
        if "entry" not in body or described.is_valid(body):
            seen.add("described")
            continue
        for field, value in changes(body):
            seen.add(field)
            new = {shape for shape in shapes(value) if shape[0] and (field, *shape) not in KNOWN}
            assert {shape for shape in new if (field, shape[0]) not in NAMED} <= OF_ALERTS, field
    assert seen >= {"described", *(field for table in SOURCE.tables.values() for field in table.events)}


def test_the_same_seed_makes_the_same_days() -> None:
    def days(seed: int) -> list[Any]:
        stand_in = made(seed)
        stand_in.advance(2 * 86_400)
        for delivery in stand_in.traffic.deliveries:
            delivery.delivered = True
        ledgers = {name: [row.record for row in stand_in.ledger(name)] for name in SOURCE.tables}
        return [ledgers, [delivery.body for delivery in stand_in.traffic.deliveries]]

    assert days(5) == days(5)
    assert days(5) != days(6)


def test_a_day_changes_what_it_says() -> None:
    stand_in = made()
    names = ("channels", "waba_templates", "clients")
    before = {name: json.dumps([row.record for row in stand_in.ledger(name)]) for name in names}
    told = stand_in.advance(86_400)
    assert told["webhooks"] > 20
    for name, rows in before.items():
        now = list(stand_in.ledger(name))
        assert json.dumps([row.record for row in now]) != rows
        assert any(row.deleted for row in now), name


def test_more_scale_is_more_business() -> None:
    assert len(made(scale=3).traffic.deliveries) > 3 * len(made(scale=0.3).traffic.deliveries)
    with pytest.raises(KeyError):
        made().ledger("nothing")


# Deliveries


class Receiver(http.server.ThreadingHTTPServer):
    """Takes whatever is posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.status = 200
        self.taken: list[tuple[str, bytes, dict[str, str]]] = []


class Door(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, body, dict(self.headers)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_webhooks_come_out_of_order_some_twice_some_late(receiver: Receiver) -> None:
    stand_in = made(scale=1)
    stand_in.control({"webhook": f"http://127.0.0.1:{receiver.server_port}/dialog_360"})
    first = [body for _, body, _ in receiver.taken]
    told = [delivery.body for delivery in stand_in.traffic.deliveries if delivery.delivered]
    assert set(first) == set(told)
    assert len(first) > len(set(first))
    assert list(dict.fromkeys(first)) != told
    late = [delivery for delivery in stand_in.traffic.deliveries if not delivery.delivered]
    assert 0 < len(late) < 2 * LATE * len(stand_in.traffic.deliveries)
    stand_in.advance(86_400)
    assert all(delivery.delivered for delivery in late)
    assert {path.partition("/dialog_360")[2] for path, _, _ in receiver.taken} == {"", *(f"/{each}" for each in stand_in.keyed)}
    signed = [headers for _, _, headers in receiver.taken if "X-360dialog-Signature" in headers]
    tokens = [headers for _, _, headers in receiver.taken if "Authorization" in headers]
    assert signed
    assert tokens
    assert len(signed) + len(tokens) == len(receiver.taken)


def test_what_was_refused_comes_again_and_is_no_row_before(receiver: Receiver) -> None:
    stand_in = made()
    receiver.status = 503
    stand_in.control({"webhook": f"http://127.0.0.1:{receiver.server_port}/dialog_360"})
    assert list(stand_in.ledger("messages")) == []
    receiver.status = 200
    stand_in.control({"webhook": f"http://127.0.0.1:{receiver.server_port}/dialog_360"})
    assert len(list(stand_in.ledger("messages"))) > 5


# Answers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("dialog_360", seed=5, scale=0.3, now=NOW) as server:
        yield server


def get(server: Server, path: str, **headers: str) -> tuple[int, Any, Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()} or {"X-API-Key": "hub-sandbox-key"}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=given)) as reply:
            return reply.status, json.load(reply), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def test_answers_are_as_meta_describes_them(server: Server) -> None:
    number = {"D360_API_KEY": "key-101CH"}
    graph = {"Authorization": "Bearer meta-sandbox-token"}
    accounts = sorted({row.record["external_id"] for row in server.ledger("waba_accounts")})
    answers = [
        ("business_profiles", get(server, "/waba-v2.360dialog.io/whatsapp_business_profile", **number)),
        ("flows", get(server, f"{HUB}/waba_accounts/1000WA/flows")),
        *(
            ("phone_numbers", get(server, f"/graph.facebook.com/v23.0/{account}/phone_numbers", **graph))
            for account in accounts
        ),
    ]
    for name, (status, answer, _) in answers:
        assert status == 200
        assert answer["data"]
        validator(name).validate(answer)


def test_a_file_is_told_as_meta_describes_it() -> None:
    stand_in = made()
    for id_ in stand_in.traffic.media:
        validator("media").validate(stand_in._media(id_))


def test_keys_open_their_own_host_only(server: Server) -> None:
    assert get(server, f"{HUB}/clients", X_API_Key="wrong")[0] == 401
    assert get(server, f"{HUB}/clients", D360_API_KEY="key-101CH")[0] == 401
    assert get(server, "/waba-v2.360dialog.io/health_status", X_API_Key="hub-sandbox-key")[0] == 401
    assert get(server, "/graph.facebook.com/v23.0/1", X_API_Key="hub-sandbox-key")[1]["error"]["code"] == 190
    status, answer, _ = get(server, "/hub.360dialog.io/api/v2/partners/OTHERPA/clients")
    assert (status, answer["meta"]["success"]) == (403, False)


def test_pages_need_a_sort_to_stand_still(server: Server) -> None:
    seen = {json.dumps(get(server, f"{HUB}/channels?limit=2")[1]["partner_channels"]) for _ in range(8)}
    assert len(seen) > 1
    sort = "sort=%5B%22id%22%5D"
    first, second = (get(server, f"{HUB}/channels?limit=2&offset={offset}&{sort}")[1] for offset in (0, 2))
    ids = [record["id"] for record in (*first["partner_channels"], *second["partner_channels"])]
    assert ids == sorted(ids)
    assert first["total"] == len([row for row in server.ledger("channels") if not row.deleted])
    time.sleep(1)  # the hub's limit a second


def test_balances_are_limited_as_documented(server: Server) -> None:
    path = f"{HUB}/clients/1000CL/info/balance?start_date=0&end_date=1&granularity=day"
    statuses = [get(server, path)[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    assert 1 <= int(get(server, path)[2]["Retry-After"]) <= 31
