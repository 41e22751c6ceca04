"""360dialog's hub, numbers and Meta's figures, read from their stand-in into raw logs: what a reader may trip over."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.dialog_360_webhooks import TOKEN
from datalake.settings import SettingError, Settings
from datalake.sources import identify, open_run
from datalake.sources.base import AuthenticationFailed, Permanent, Skipped, Transient, Window
from datalake.sources.engine import Extraction
from datalake.sources.progress import LogProgress
from datalake.webhooks.server import running as receiving
from datalake_tests.sources.raw_lake import RawLake

SOURCE = contracts.load_source("dialog_360")
NOW = 1_795_036_000


class World(RawLake):
    """Raw logs, and the stand-in that they are read from."""

    def __init__(self, server: Server, folder: Path, env: dict[str, str]) -> None:
        super().__init__("dialog_360", folder, env)
        self.server, self.folder, self.env = server, folder, env

    def without(self, *names: str, **more: str) -> "World":
        """The same lake with other settings."""
        kept = {name: value for name, value in self.env.items() if name not in {f"DIALOG_360_{each}" for each in names}}
        return World(self.server, self.folder, {**kept, **{f"DIALOG_360_{name}": value for name, value in more.items()}})

    def ids(self, name: str) -> list[str]:
        return sorted(line["record"]["id"] for line in self.lines(name) if "record" in line)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("dialog_360", seed=5, scale=0.3, now=NOW, limits=False) as server:
        yield server


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    yield World(server, tmp_path, server.env)
    server.clear_faults()
    server.control(refuse=[], pages=1000, unstable=0, token_seconds=3600, limits={})


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """With a stand-in of its own."""
    with running("dialog_360", seed=5, scale=0.3, now=NOW, limits=False) as server:
        yield World(server, tmp_path, server.env)


# Keys


def test_who_asks_is_told_with_what_the_keys_open(world: World) -> None:
    told = identify(SOURCE, world.settings)
    assert told.startswith("partner SANDBOXPA, channel 101CH (number 100000000000070)")
    less = identify(SOURCE, world.without("API_KEY", "META_TOKEN").settings)
    assert less.endswith("not set: partner hub, Meta token")
    world.server.control(refuse=["key-101CH"])
    with pytest.raises(AuthenticationFailed, match="key of channel 101CH"):
        identify(SOURCE, world.settings)


def test_without_any_key_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="DIALOG_360_API_KEY"):
        open_run(SOURCE, Settings.load({"DATALAKE_URL": str(tmp_path)}), LogProgress())
    for wrong in ("101CH", "=key", "101CH="):
        settings = Settings.load({"DATALAKE_URL": str(tmp_path), "DIALOG_360_CHANNEL_KEYS": wrong})
        with pytest.raises(SettingError, match="id=key"):
            open_run(SOURCE, settings, LogProgress())


def test_a_company_without_a_partner_account_reads_its_numbers(world: World) -> None:
    direct = world.without("API_KEY", "PARTNER_ID", "META_TOKEN")
    found = direct.sync("clients", "channel_health", "message_templates", "template_analytics", "meta_phone_numbers")
    for name, lacking in (("clients", "DIALOG_360_API_KEY"), ("meta_phone_numbers", "DIALOG_360_META_TOKEN")):
        assert found[name].notes == [f"left out: {lacking} is not set"]
        assert found[name].pending is None
    for name in ("channel_health", "message_templates", "template_analytics"):
        assert found[name].rows > 0


@pytest.mark.parametrize("name", ["clients", "waba_templates", "message_templates"])
def test_a_key_that_is_taken_away_deletes_nothing(world: World, name: str) -> None:
    world.sync("clients", "channels", "waba_accounts", name)
    before = len(world.lines(name))
    found = world.without("API_KEY", "CHANNEL_KEYS").sync(name)[name]
    assert found.pending is None
    assert len(world.lines(name)) == before


def test_a_login_is_renewed_when_it_ends(world: World) -> None:
    world.server.control(token_seconds=0.4)
    login = world.without("API_KEY", USERNAME="partner", PASSWORD="hub-sandbox-password")
    login.sync("clients")
    time.sleep(0.5)
    world.server.calls(clear=True)
    run = open_run(SOURCE, login.settings, LogProgress())
    try:
        run.http.get("dialog_360.clients", f"{run._address('https://hub.360dialog.io')}/api/v2/partners/SANDBOXPA")  # type: ignore[attr-defined]  # of this source
        time.sleep(0.5)
        run.http.get("dialog_360.clients", f"{run._address('https://hub.360dialog.io')}/api/v2/partners/SANDBOXPA")  # type: ignore[attr-defined]  # as above
    finally:
        run.close()
    calls = [(call["path"].rpartition("/")[2], call["status"]) for call in world.server.calls()]
    assert calls == [("token", 200), ("SANDBOXPA", 200), ("token", 200), ("SANDBOXPA", 200)]
    wrong = world.without("API_KEY", USERNAME="partner", PASSWORD="another password")
    error = wrong.error("clients")
    assert isinstance(error, AuthenticationFailed)
    assert "another password" not in str(error)


def test_a_refused_key_of_the_hub_leaves_the_numbers_and_webhooks_readable(world: World) -> None:
    world.server.control(refuse=["hub-sandbox-key"])
    found = world.attempt("clients", "message_templates", "webhook_events_raw")
    refused = found["clients"]
    assert isinstance(refused, Skipped)
    assert "hub-sandbox-key" not in str(refused)
    assert isinstance(found["message_templates"], Extraction)
    assert isinstance(found["webhook_events_raw"], Extraction)


def test_a_refused_number_is_told_after_the_others_and_loses_no_row(world: World) -> None:
    world.sync("message_templates")
    world.server.control(refuse=["key-101CH"])
    world.server.advance(1)
    error = world.error("message_templates")
    assert isinstance(error, Skipped)
    assert "channel 101CH" in str(error)
    assert "key-101CH" not in str(error)
    scopes = [line["_lake"]["scope"] for line in world.lines("message_templates") if line["_lake"].get("op") == "complete"]
    assert scopes.count({"channel_id": "101CH"}) == 1
    assert scopes.count({"channel_id": "110CH"}) == 2
    world.server.control(refuse=[])
    assert world.sync("message_templates")["message_templates"].rows > 0


# Paging


def test_a_list_of_many_pages_is_read_whole_and_in_order(world: World) -> None:
    world.server.control(pages=2)
    world.server.calls(clear=True)
    world.sync("clients")
    told = [row.record["id"] for row in world.server.ledger("clients") if not row.deleted]
    assert world.ids("clients") == sorted(told)
    queries = [parse_qs(call["query"]) for call in world.server.calls() if call["path"].endswith("/clients")]
    assert [query["offset"][0] for query in queries] == [str(number) for number in range(0, len(told), 2)]
    assert {query["sort"][0] for query in queries} == {'["id"]'}


def test_a_list_that_changes_while_it_is_walked_is_walked_anew(own: World) -> None:
    own.server.control(pages=1, unstable=1)
    own.sync("clients")
    told = [row.record["id"] for row in own.server.ledger("clients") if not row.deleted]
    assert own.ids("clients") == sorted(told)
    assert "1600CL" in told


def test_a_list_that_never_stands_still_is_an_error_and_tells_nothing(own: World) -> None:
    own.server.control(pages=1, unstable=50)
    error = own.error("clients")
    assert isinstance(error, Transient)
    assert "changed each of 3 times" in str(error)
    assert own.log("clients").head() is None


def test_metas_cursors_are_followed_to_the_end(world: World) -> None:
    world.sync("template_library")
    found = {
        (line["_lake"]["add"]["channel_id"], line["record"]["name"])
        for line in world.lines("template_library")
        if "record" in line
    }
    assert found == {
        (row.add["channel_id"], row.record["name"]) for row in world.server.ledger("template_library") if not row.deleted
    }
    assert len({name for _, name in found}) > 5


def test_an_unchanged_list_is_told_once(world: World) -> None:
    names = (
        "clients",
        "channels",
        "waba_accounts",
        "projects",
        "waba_templates",
        "flows",
        "channel_health",
        "template_analytics",
    )
    world.sync(*names)
    for name, again in world.sync(*names).items():
        assert again.rows == 0, name


# Limits


def test_the_hub_is_asked_again_when_it_says(world: World) -> None:
    world.server.control(limits={"hub": [2, 1.0]})
    world.sync("channels")
    found = world.sync("channel_balance", "partner", "clients")
    limited = sum(each.calls["limited"] for each in found.values())
    assert limited >= 1
    assert len(world.ids("clients")) == len([row for row in world.server.ledger("clients") if not row.deleted])


def test_balances_keep_to_their_limit(world: World) -> None:
    """Five calls in 30 seconds, documented: the sixth would wait, and everything else goes on."""
    run = open_run(SOURCE, world.settings, LogProgress())
    try:
        limits = run._balances.budget._declared  # type: ignore[attr-defined]  # of this source
        assert [(limit.calls, limit.seconds) for limit in limits] == [(5, 30.0)]
    finally:
        run.close()
    world.sync("clients")
    world.server.calls(clear=True)
    found = world.sync("client_balance")["client_balance"]
    asked = [call for call in world.server.calls() if "/info/balance" in call["path"]]
    assert found.calls["calls"] == len(asked) + 1  # and the partner, for the day


def test_metas_way_of_saying_too_many_is_understood(world: World) -> None:
    world.sync("clients", "channels", "waba_accounts")
    error = {"error": {"message": "(#4) Application request limit reached", "type": "OAuthException", "code": 4}}
    world.server.fault("/phone_numbers", status=400, body=json.dumps(error), times=1)
    found = world.sync("meta_phone_numbers")["meta_phone_numbers"]
    assert found.calls["limited"] == 1
    assert found.rows > 0


# Errors


def test_what_goes_wrong_is_told_with_its_place(world: World) -> None:
    world.server.fault("/clients", body=json.dumps({"meta": {"success": False, "developer_message": "no"}}), status=200)
    error = world.error("clients")
    assert isinstance(error, Permanent)
    assert "dialog_360.clients" in str(error)
    world.server.fault("/clients", body="<html>login</html>", status=200)
    error = world.error("clients")
    assert isinstance(error, Permanent)
    assert "web page" in str(error)
    world.server.fault("/clients", status=500, times=2)
    assert world.sync("clients")["clients"].calls["retries"] == 2


def test_what_is_gone_by_the_time_it_is_asked_has_nothing(world: World) -> None:
    world.sync("clients", "channels")
    world.server.fault("/info/usage", status=404, body="{}", times=1)
    found = world.sync("channel_usage")["channel_usage"]
    assert found.rows > 0
    assert len(world.cursor("channel_usage")["digests"]) == len(world.ids("channels"))


# Figures


def asked_for(world: World, what: str) -> list[tuple[datetime, datetime]]:
    """The stretches that calls of a path asked for."""
    queries = [parse_qs(call["query"]) for call in world.server.calls() if what in call["path"]]
    return [
        (datetime.fromtimestamp(int(query["start_date"][0]), UTC), datetime.fromtimestamp(int(query["end_date"][0]), UTC))
        for query in queries
    ]


def test_figures_are_read_far_back_once_and_then_as_long_as_they_move(world: World) -> None:
    world.sync("clients", "channels")
    world.server.calls(clear=True)
    world.sync("channel_usage")
    today = datetime.fromtimestamp(world_now(world), UTC).replace(hour=0, minute=0, second=0)
    assert {*asked_for(world, "/usage")} == {(today - timedelta(365), today + timedelta(1))}
    world.server.advance(1)
    world.server.calls(clear=True)
    world.sync("channel_usage")
    assert {*asked_for(world, "/usage")} == {(today - timedelta(35), today + timedelta(2))}
    world.server.calls(clear=True)
    window = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    cursor = world.log("channel_usage").head()
    world.sync("channel_usage", window=window)
    assert {*asked_for(world, "/usage")} == {(window.since, window.until)}
    after = world.log("channel_usage").head()
    assert cursor is not None
    assert after is not None
    assert after.cursor == cursor.cursor


def world_now(world: World) -> int:
    """The stand-in's clock."""
    run = open_run(SOURCE, world.settings, LogProgress())
    try:
        return int(run.now(SOURCE.tables["partner"]).timestamp())  # type: ignore[attr-defined]  # of this source
    finally:
        run.close()


def test_a_first_day_of_ones_own_is_kept_to(world: World) -> None:
    world.sync("clients", "channels")
    world.server.calls(clear=True)
    world.without(SINCE="2026-11-10").sync("channel_usage")
    assert {start for start, _ in asked_for(world, "/usage")} == {datetime(2026, 11, 10, tzinfo=UTC)}
    with pytest.raises(SettingError, match="YYYY-MM-DD"):
        world.without(SINCE="yesterday").sync("channel_usage")


def test_no_more_than_ten_templates_are_asked_for_at_once(tmp_path: Path) -> None:
    with running("dialog_360", seed=5, scale=4, now=NOW, limits=False) as server:
        world = World(server, tmp_path, server.env)
        world.sync("message_templates", "template_analytics")
        told = {row.record["id"] for row in server.ledger("message_templates") if not row.deleted}
        queries = [parse_qs(call["query"]) for call in server.calls() if "template_analytics" in call["path"]]
    asked = [json.loads(query["template_ids"][0]) for query in queries]
    assert max(map(len, asked)) == 10
    assert {id_ for some in asked for id_ in some} == told


# Secrets and files


@pytest.fixture
def fed(own: World) -> World:
    """With webhooks delivered."""
    with receiving(own.settings) as address:
        own.server.control(webhook=f"{address}/dialog_360")
    return own


def test_no_secret_is_stored(fed: World) -> None:
    first = ("clients", "channels", "waba_accounts", "webhook_events_raw", "messages", "message_statuses", "client_balance")
    rest = [name for name in SOURCE.tables if name not in first]
    fed.sync(*first, *rest)
    secrets = [TOKEN, "hub-sandbox-key", "meta-sandbox-token", "key-101CH", "sandbox-platform-secret", "hash="]
    for name in SOURCE.tables:
        text = "".join(map(json.dumps, fed.lines(name)))
        assert text, name
        assert [secret for secret in secrets if secret in text] == [], name
    [hooks, *_] = [line for line in fed.lines("channel_webhook_config") if "record" in line]
    assert hooks["record"] == {}
    assert hooks["_lake"]["add"]["header_names"] == ["Authorization"]
    assert hooks["_lake"]["add"]["url"] == "https://hooks.example.com/dialog_360/101CH/***"


def test_files_are_kept_as_they_were_sent(fed: World) -> None:
    fed.sync("webhook_events_raw", "messages")
    fed.server.fault("/attachments/", status=200, body="cut short")
    error = fed.error("media_files")
    assert isinstance(error, Transient)
    assert "sha256 differs" in str(error)
    fed.sync("media_files")
    told = {row.record["id"]: row.add["object_key"] for row in fed.server.ledger("media_files")}
    lines = fed.lines("media_files")
    assert {line["record"]["id"]: line["_lake"]["add"]["object_key"] for line in lines} == told
    assert {key is None for key in told.values()} == {True, False}
    for line in lines:
        if key := line["_lake"]["add"]["object_key"]:
            assert len(fed.objects.get(key)) == int(line["record"]["file_size"])


def test_snapshots_are_of_the_sources_day(world: World) -> None:
    world.sync("clients", "client_balance")
    [first, *_] = [line for line in world.lines("client_balance") if "record" in line]
    day = datetime.fromtimestamp(world_now(world), UTC)
    assert first["_lake"]["add"]["snapshot_date"] == f"{day:%Y-%m-%d}"
