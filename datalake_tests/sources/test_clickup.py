"""ClickUp read from its stand-in into raw logs: shifting pages, what is silently left out, what vanishes, what goes wrong."""

import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.fed import fed
from datalake.settings import SettingError, Settings
from datalake.sources import clickup_children, clickup_tasks, identify
from datalake.sources.base import AuthenticationFailed, Permanent, Skipped, Transient, Window
from datalake.sources.clickup_fields import read as field_value
from datalake.webhooks.receiver import Call, Receiver
from datalake_tests.sources.raw_lake import RawLake

SOURCE = contracts.load_source("clickup")
PLACES = ("workspaces", "spaces", "folders", "lists")
TASKS = (*PLACES, "tasks")
NOW = 1_795_000_000
DAY = 86_400
TEAM, OTHER = "9000100", "9000101"


@pytest.fixture
def server() -> Iterator[Server]:
    """A small agency of its own, to change."""
    with running("clickup", seed=5, scale=0.15, now=NOW, limits=False) as server:
        yield server


@pytest.fixture
def big() -> Iterator[Server]:
    """One with several pages of tasks."""
    with running("clickup", seed=5, scale=1.4, now=NOW, limits=False) as server:
        yield server


@pytest.fixture(scope="module")
def still() -> Iterator[Server]:
    """One that nobody changes."""
    with running("clickup", seed=5, scale=0.15, now=NOW, limits=False) as server:
        yield server


def paths(calls: list[dict[str, Any]], part: str) -> list[str]:
    return [call["path"] for call in calls if part in call["path"]]


def notes(done: dict[str, Any]) -> str:
    return " ".join(note for extraction in done.values() for note in extraction.notes)


def milliseconds(task: dict[str, Any]) -> int:
    return int(task["date_updated"])


# Tasks


def test_tasks_that_are_edited_while_pages_are_read_are_not_lost(big: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, big.env)
    before = {row.record["id"] for row in big.ledger("tasks")}
    big.control(edit_while_paging=3)
    lake.sync(*TASKS)
    edited = {row.record["id"] for row in big.ledger("tasks") if milliseconds(row.record) > NOW * 1000}
    assert len(edited) >= 2
    # Each was on a page that had been read; none that moved up to the place of another one was passed over.
    assert {key for (key,) in lake.living("tasks")} == before
    big.advance(0.01)
    lake.sync(*TASKS)
    assert lake.differences("tasks", big.ledger("tasks")) == []


def test_counting_pages_would_lose_tasks(big: Server) -> None:
    """The stand-in's pages do shift: the test above is no empty one."""
    import urllib.request

    big.control(edit_while_paging=3)
    found, page, last = set(), 0, False
    while not last:
        query = f"order_by=updated&reverse=true&subtasks=true&include_closed=true&date_updated_lt={NOW * 1000}&page={page}"
        address = f"{big.url}/api/v2/team/{TEAM}/task?{query}"
        request = urllib.request.Request(address, headers={"Authorization": "pk_183_SANDBOX"})
        with urllib.request.urlopen(request) as reply:
            answer = json.load(reply)
        found |= {task["id"] for task in answer["tasks"]}
        page, last = page + 1, answer["last_page"]
    wanted = [row.record for row in big.ledger("tasks") if row.record["team_id"] == TEAM and not row.record["archived"]]
    assert len({task["id"] for task in wanted if milliseconds(task) < NOW * 1000} - found) > 0


def test_more_tasks_of_one_moment_than_fit_a_page_are_all_read(big: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, big.env)
    big.control(same_moment=260)
    big.advance(0.01)
    lake.sync(*TASKS)
    assert lake.differences("tasks", big.ledger("tasks")) == []


def test_subtasks_closed_and_archived_tasks_are_read(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    done = lake.sync(*TASKS)
    assert lake.differences("tasks", still.ledger("tasks")) == []
    found = [row.record for row in lake.living("tasks").values()]
    assert any(task["parent"] for task in found)
    assert any(task["status"]["type"] == "closed" for task in found)
    assert any(task["archived"] for task in found)
    assert notes(done) == ""


def test_where_archived_is_not_kept_to_each_list_is_asked(server: Server, tmp_path: Path) -> None:
    server.control(archived_filter=False)
    lake = RawLake("clickup", tmp_path, server.env)
    done = lake.sync(*TASKS)
    assert lake.differences("tasks", server.ledger("tasks")) == []
    assert "cannot be filtered by archived" in notes(done)
    server.calls(clear=True)
    lake.sync(*TASKS)
    assert not [path for path in paths(server.calls(), "/task") if "/list/" in path]
    server.advance(1)
    lake.sync(*TASKS)
    assert lake.differences("tasks", server.ledger("tasks")) == []


def test_a_filter_that_is_silently_dropped_is_an_error(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    server.advance(0.1)
    server.control(drop_filters=True)
    error = lake.error("workspaces", "tasks")
    assert isinstance(error, Permanent)
    assert "the filter by date_updated was not kept to" in str(error)


def test_an_unchanged_workspace_tells_nothing(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    everything = [name for name in SOURCE.tables if name != "webhook_events"]
    names = sorted(everything, key=depth)
    lake.sync(*names)
    still.calls(clear=True)
    again = lake.sync(*names)
    assert {name: done.rows for name, done in again.items() if done.rows} == {}
    assert len(still.calls()) < 90
    assert not paths(still.calls(), "/comment")
    for name in names:
        assert lake.differences(name, still.ledger(name)) == [], name


def depth(name: str) -> int:
    parent = SOURCE.tables[name].parent
    return 1 + depth(parent) if parent else 0


def test_only_changed_tasks_are_asked_for_their_comments(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS, "task_comments", "comment_replies")
    before = {row.record["id"]: milliseconds(row.record) for row in server.ledger("tasks")}
    server.advance(2)
    server.calls(clear=True)
    lake.sync(*TASKS, "task_comments", "comment_replies")
    asked = Counter(path.split("/")[4] for path in paths(server.calls(), "/comment") if "/v2/task/" in path)
    after = {row.record["id"]: milliseconds(row.record) for row in server.ledger("tasks")}
    changed = {id_ for id_, updated in after.items() if before.get(id_) != updated}
    read_again = {id_ for id_, updated in before.items() if updated >= (NOW - 600) * 1000}
    assert changed <= set(asked) <= changed | read_again
    assert len(changed) < len(after) / 2
    assert lake.differences("task_comments", server.ledger("task_comments")) == []
    assert lake.differences("comment_replies", server.ledger("comment_replies")) == []


def test_comments_beyond_the_first_page_are_read(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    lake.sync(*TASKS)
    still.calls(clear=True)
    lake.sync("workspaces", "task_comments")
    pages = [call["query"] for call in still.calls() if call["path"] == "/api/v2/task/86a1t0001/comment"]
    mine = [row for row in still.ledger("task_comments") if row.add["task_id"] == "86a1t0001"]
    assert len(mine) > 50
    assert len(pages) == len(mine) // 25 + 1
    assert all(not query or ("start=" in query and "start_id=" in query) for query in pages)
    assert lake.differences("task_comments", still.ledger("task_comments")) == []


def test_what_changes_without_a_date_is_told_once_a_day_and_nothing_is_asked_again(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    kinds = ("task_custom_field_values", "task_tags", "task_comments")
    lake.sync(*TASKS, *kinds)
    dated = {row.record["id"]: row.record["date_updated"] for row in server.ledger("tasks")}
    server.advance(1)  # an option was renamed, a tag deleted
    server.calls(clear=True)
    lake.sync(*TASKS, *kinds)
    silent = [line for line in lake.lines("tasks") if line["_lake"].get("add", {}).get("silent")]
    assert silent
    assert all(dated[line["record"]["id"]] == line["record"]["date_updated"] for line in silent)
    asked = {path.split("/")[4] for path in paths(server.calls(), "/comment")}
    assert not asked & {line["record"]["id"] for line in silent}
    for name in ("tasks", *kinds):
        assert lake.differences(name, server.ledger(name)) == [], name


def test_a_first_load_that_stops_goes_on_where_it_was(big: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickup_tasks, "STEPS_BETWEEN_CHECKPOINTS", 1)
    lake = RawLake("clickup", tmp_path, big.env)
    lake.sync(*PLACES)
    big.fault(f"/team/{TEAM}/task", skip=2, status=400, body='{"err": "odd", "ECODE": "ODD_001"}')
    assert isinstance(lake.error("workspaces", "tasks"), Permanent)
    told = len(lake.lines("tasks"))
    assert told == 199  # two pages, which share the task at their seam
    lake.sync("workspaces", "tasks")
    assert lake.differences("tasks", big.ledger("tasks")) == []
    assert Counter(line["record"]["id"] for line in lake.lines("tasks")).most_common(1)[0][1] == 1


def test_a_window_of_the_past_leaves_the_cursor_alone(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    lake.sync(*TASKS, "time_entries")
    cursor = lake.cursor("tasks")
    since, until = NOW - 60 * DAY, NOW - 30 * DAY
    stretch = Window(datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))
    done = lake.sync("workspaces", "tasks", "time_entries", window=stretch)
    inside = [row for row in still.ledger("tasks") if since * 1000 <= milliseconds(row.record) < until * 1000]
    entries = [row for row in still.ledger("time_entries") if since * 1000 <= int(row.record["start"]) < until * 1000]
    assert (done["tasks"].rows, done["time_entries"].rows) == (len(inside), len(entries))
    assert len(inside) > 5
    assert len(entries) > 5
    assert lake.cursor("tasks") == cursor


def test_a_whole_new_reading_tells_everything_and_what_vanished(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    gone = next(iter(lake.living("tasks")))[0]
    server.control(delete=["task", gone])
    done = lake.sync(*TASKS, full=True)
    assert done["tasks"].rows >= len(server.ledger("tasks")) + 1
    assert lake.differences("tasks", server.ledger("tasks")) == []


# What vanishes


def test_deleted_tasks_and_what_hung_on_them_are_gone_the_next_day(server: Server, tmp_path: Path) -> None:
    names = (*TASKS, "task_comments", "task_assignees", "task_time_in_status", "task_attachments")
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*names)
    server.control(delete=["task", "86a1t0001"])
    lake.sync(*names)
    assert ("86a1t0001",) in lake.living("tasks")  # nothing tells so soon
    server.advance(1)
    lake.sync(*names)
    for name in names:
        assert lake.differences(name, server.ledger(name)) == [], name
    assert ("86a1t0001",) not in lake.living("tasks")


def test_tasks_of_a_deleted_list_are_gone_by_one_question(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    counted = Counter(row.record["list"]["id"] for row in server.ledger("tasks"))
    list_, tasks = counted.most_common(1)[0]
    server.control(delete=["list", list_])
    server.advance(1)
    server.calls(clear=True)
    lake.sync(*TASKS)
    assert tasks > 2
    assert paths(server.calls(), f"/v2/list/{list_}") == [f"/api/v2/list/{list_}"] * 2  # for the list, and for its tasks
    assert lake.differences("tasks", server.ledger("tasks")) == []
    assert lake.differences("lists", server.ledger("lists")) == []


def test_what_the_token_lost_sight_of_stays(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    list_ = Counter(row.record["list"]["id"] for row in server.ledger("tasks")).most_common(1)[0][0]
    mine = {row.record["id"] for row in server.ledger("tasks") if row.record["list"]["id"] == list_}
    server.control(hide=["list", list_])
    server.advance(1.01)
    done = lake.sync(*TASKS)
    left = mine & {row.record["id"] for row in server.ledger("tasks")}
    assert left
    assert left <= {key for (key,) in lake.living("tasks")}
    assert (list_,) in lake.living("lists")
    assert "access was lost" in notes(done)
    assert "is not listed any more, but not deleted either" in notes(done)


def test_a_task_that_is_gone_when_its_comments_are_asked_for_has_none(server: Server, tmp_path: Path) -> None:
    names = ("task_comments", "task_members", "task_attachments", "task_time_in_status")
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    server.control(delete=["task", "86a1t0001"])
    lake.sync("workspaces", *names)
    for name in names:
        assert lake.differences(name, server.ledger(name)) == [], name


def test_a_workspace_out_of_sight_holds_up_no_other_and_keeps_its_rows(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    names = (*TASKS, "goals", "time_entries", "workspace_plan")
    lake.sync(*names)
    kept = {name: len(lake.living(name)) for name in names}
    server.control(hide=["team", OTHER])
    done = lake.sync(*names)
    assert f"workspace {OTHER} is left out" in notes(done)
    assert {name: len(lake.living(name)) for name in names} == kept


# Places


def test_lists_in_no_folder_and_archived_places_are_read(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    lake.sync(*PLACES)
    for name in PLACES:
        assert lake.differences(name, still.ledger(name)) == [], name
    found = [row.record for row in lake.living("lists").values()]
    assert {(row["archived"], row["folder"]["hidden"]) for row in found} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert {row.record["archived"] for row in lake.living("spaces").values()} == {True, False}
    assert {row.record["archived"] for row in lake.living("folders").values()} == {True, False}


def test_places_that_move_change_and_go_are_followed(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    names = (*PLACES, "space_tags", "space_statuses", "custom_fields", "custom_field_options", "views", "list_members")
    lake.sync(*names)
    for _ in range(3):
        server.advance(1)
        lake.sync(*names)
        for name in names:
            assert lake.differences(name, server.ledger(name)) == [], name
    space = server.ledger("spaces")[0].record["id"]
    server.control(delete=["space", space])
    server.advance(1.01)
    lake.sync(*names)
    for name in names:
        assert lake.differences(name, server.ledger(name)) == [], name


def test_only_the_workspaces_that_a_setting_names_are_read(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env, CLICKUP_WORKSPACES=OTHER)
    lake.sync(*TASKS)
    assert {row.record["team_id"] for row in lake.living("tasks").values()} == {OTHER}
    with pytest.raises(SettingError, match="names 77, which this token cannot see"):
        RawLake("clickup", tmp_path / "none", still.env, CLICKUP_WORKSPACES="77").sync("workspaces")


# Time


def test_time_entries_of_all_members_are_read_in_windows(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    lake.sync("workspaces")
    still.calls(clear=True)
    lake.sync("workspaces", "time_entries")
    assert lake.differences("time_entries", still.ledger("time_entries")) == []
    assert len({row.record["user"]["id"] for row in lake.living("time_entries").values()}) > 3
    asked = [call["query"] for call in still.calls() if "time_entries" in call["path"]]
    assert len(asked) == 2 * 6  # 160 days by 30, two workspaces
    assert all("assignee=183%2C184" in query and "start_date=" in query and "end_date=" in query for query in asked)


def test_changed_and_deleted_time_entries_are_found(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync("workspaces", "time_entries")
    for _ in range(2):
        server.advance(1)
        done = lake.sync("workspaces", "time_entries")
        assert lake.differences("time_entries", server.ledger("time_entries")) == []
        assert 0 < done["time_entries"].rows < len(server.ledger("time_entries"))


def test_old_time_entries_are_read_again_once_a_month(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    server.advance(30)
    lake.sync("workspaces", "time_entries")
    oldest = min(server.ledger("time_entries"), key=lambda row: int(row.record["start"])).record["id"]
    server.control(delete=["entry", oldest])
    server.advance(0.1)
    lake.sync("workspaces", "time_entries")
    assert (oldest,) in lake.living("time_entries")
    server.advance(30)
    lake.sync("workspaces", "time_entries")
    assert (oldest,) not in lake.living("time_entries")


def test_a_members_token_reads_its_own_time_and_says_so(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env, CLICKUP_TOKEN="pk_186_MEMBER")
    done = lake.sync("workspaces", "time_entries")
    assert {row.record["user"]["id"] for row in lake.living("time_entries").values()} == {186}
    assert "only the token owner's own time entries are read" in notes(done)
    assert "neither owner nor admin" in identify(SOURCE, lake.settings)


def test_talk_is_read_back_to_what_is_known(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    names = (
        "workspaces",
        "chat_channels",
        "chat_messages",
        "chat_message_replies",
        "chat_channel_members",
        "docs",
        "doc_pages",
    )
    lake.sync(*names)
    server.advance(2)
    server.calls(clear=True)
    lake.sync(*names)
    for name in names:
        assert lake.differences(name, server.ledger(name)) == [], name
    assert 0 < len(paths(server.calls(), "/messages")) < len(server.ledger("chat_channels")) + 5


def test_the_audit_log_is_read_page_by_page_and_then_its_news(tmp_path: Path) -> None:
    with running("clickup", seed=5, scale=2, now=NOW, limits=False) as server:
        lake = RawLake("clickup", tmp_path, server.env)
        lake.sync("workspaces", "audit_logs")
        assert len(server.ledger("audit_logs")) > 200
        assert lake.differences("audit_logs", server.ledger("audit_logs")) == []
        assert lake.sync("workspaces", "audit_logs")["audit_logs"].rows == 0
        server.advance(1)
        server.calls(clear=True)
        assert 0 < lake.sync("workspaces", "audit_logs")["audit_logs"].rows < 100
        assert lake.differences("audit_logs", server.ledger("audit_logs")) == []
        assert len(paths(server.calls(), "/auditlogs")) <= 3


# Values


DROP_DOWN = {
    "type": "drop_down",
    "type_config": {
        "options": [{"id": "a-1", "name": "Alta", "orderindex": 0}, {"id": "b-2", "name": "Baixa", "orderindex": 1}]
    },
}
LABELS = {"type": "labels", "type_config": {"options": [{"id": "l-1", "label": "Código"}, {"id": "l-2", "label": "Vendas"}]}}


@pytest.mark.parametrize(
    "field, value, told",
    [
        (DROP_DOWN, 1, {"option_id": "b-2", "text": "Baixa"}),
        (DROP_DOWN, "1", {"option_id": "b-2", "text": "Baixa"}),
        (DROP_DOWN, "a-1", {"option_id": "a-1", "text": "Alta"}),
        (DROP_DOWN, 9, {}),
        (LABELS, ["l-2", "l-1"], {"list": ["l-2", "l-1"], "names": ["Vendas", "Código"]}),
        (LABELS, ["l-9"], {"list": ["l-9"], "names": ["l-9"]}),
        ({"type": "users"}, [{"id": 183, "username": "Ana"}], {"list": ["183"], "names": ["Ana"]}),
        ({"type": "tasks"}, [{"id": "86a", "name": "Outra"}], {"list": ["86a"], "names": ["Outra"]}),
        ({"type": "currency"}, "1234.50", {"number": "1234.50"}),
        ({"type": "number"}, "0.30000000000000004", {"number": "0.30000000000000004"}),
        ({"type": "formula"}, "=n/a", {"text": "=n/a"}),
        ({"type": "emoji"}, 4, {"number": "4"}),
        ({"type": "checkbox"}, "true", {"bool": True}),
        ({"type": "checkbox"}, False, {"bool": False}),
        ({"type": "date"}, "1700000000000", {"timestamp": "1700000000000"}),
        ({"type": "manual_progress"}, {"percent_completed": 25, "current": "5"}, {"number": "25"}),
        ({"type": "location"}, {"formatted_address": "Av. Paulista"}, {"text": "Av. Paulista"}),
        ({"type": "short_text"}, "olá", {"text": "olá"}),
        ({"type": "votes"}, {"count": 1}, {}),
        ({"type": "short_text"}, "", None),
        ({"type": "users"}, [], None),
        ({"type": "number"}, None, None),
    ],
)
def test_values_of_custom_fields_are_read_by_their_definition(field: dict[str, Any], value: Any, told: Any) -> None:
    assert field_value(json.dumps({**field, "value": value}).encode()) == told


def test_a_number_keeps_its_digits() -> None:
    assert field_value(b'{"type":"number","value":12345678901234567890.10}') == {"number": "12345678901234567890.10"}
    assert field_value(b'{"type":"number"}') is None


def test_options_are_named_as_the_tasks_own_row_named_them(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    names = (*TASKS, "custom_fields", "custom_field_options", "task_custom_field_values")
    lake.sync(*names)
    server.advance(1)  # the first option is renamed
    lake.sync(*names)
    options = {row.record["id"]: row.record["name"] for row in server.ledger("custom_field_options") if "name" in row.record}
    chosen = [row for row in lake.living("task_custom_field_values").values() if row.record["type"] == "drop_down"]
    assert any(row.add["text"].endswith("✔") for row in chosen)
    assert all(row.add["text"] == options[row.add["option_id"]] for row in chosen)
    assert {type(row.record["value"]) for row in chosen} == {int, str}  # as received
    assert lake.differences("task_custom_field_values", server.ledger("task_custom_field_values")) == []


def test_secrets_never_reach_the_raw_log(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    names = (*TASKS, "goals", "webhooks")
    lake.sync(*names)
    for name, fields in (("tasks", "share-"), ("goals", "editor_token"), ("lists", "inbound_address"), ("webhooks", "secret")):
        text = json.dumps(lake.lines(name))
        assert len(text) > 500
        assert fields not in text, name


# What goes wrong


def test_tokens(still: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path / "oauth", still.env, CLICKUP_TOKEN="oauth_sandbox")
    lake.sync("workspaces", "authorized_user")
    assert lake.differences("authorized_user", still.ledger("authorized_user")) == []
    wrong = RawLake("clickup", tmp_path / "wrong", still.env, CLICKUP_TOKEN="pk_999_WRONG")
    error = wrong.error("workspaces")
    assert isinstance(error, AuthenticationFailed)
    assert "OAUTH_025" in str(error)
    assert "pk_999_WRONG" not in str(error)
    with pytest.raises(SettingError, match="CLICKUP_TOKEN is not set"):
        RawLake("clickup", tmp_path / "none", {**still.env, "CLICKUP_TOKEN": ""}).sync("workspaces")
    with pytest.raises(SettingError, match="CLICKUP_SINCE is 'monday'"):
        RawLake("clickup", tmp_path / "since", {**still.env, "CLICKUP_SINCE": "monday"}).sync("workspaces")
    told = identify(SOURCE, RawLake("clickup", tmp_path / "who", still.env).settings)
    assert told.startswith("user Ana Almeida; workspaces: Agência Aurora [9000100], Aurora Interno [9000101]")


def test_a_token_that_is_revoked_in_the_middle_ends_the_run(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*PLACES)
    server.control(revoke=True)
    assert isinstance(lake.error("workspaces"), AuthenticationFailed)
    server.control(revoke=False)
    server.fault("/task", status=401, body='{"err": "Token invalid", "ECODE": "OAuth_025"}')
    assert isinstance(lake.error("tasks"), AuthenticationFailed)


@pytest.mark.parametrize(
    "fault, kind, says",
    [
        ({"status": 400, "body": '{"err": "Time tracking off", "ECODE": "TIMEENTRY_059"}'}, Skipped, "plan or ClickApps"),
        ({"status": 401, "body": '{"err": "Team not authorized", "ECODE": "OAUTH_027"}', "times": 9}, Skipped, "may not see"),
        ({"status": 400, "body": '{"err": "Bad", "ECODE": "INPUT_009"}'}, Permanent, "Bad INPUT_009"),
        ({"status": 404, "body": "<!DOCTYPE html><p>Cannot GET"}, Permanent, "not ClickUp's form"),
        ({"status": 200, "body": "<!DOCTYPE html><p>Log in"}, Permanent, "web page"),
        ({"status": 200, "body": '{"err": "odd", "ECODE": "X_1"}'}, Permanent, "no list at 'data'"),
    ],
)
def test_errors_say_what_happened(
    still: Server, tmp_path: Path, fault: dict[str, Any], kind: type[Exception], says: str
) -> None:
    lake = RawLake("clickup", tmp_path, still.env)
    still.fault("/time_entries", **{"times": 2, **fault})
    try:
        error = lake.error("workspaces", "time_entries")
    finally:
        still.clear_faults()
    assert isinstance(error, kind)
    assert says in str(error)
    assert "clickup.time_entries" in str(error)


def test_features_that_the_plan_lacks_skip_their_table(server: Server, tmp_path: Path) -> None:
    server.control(off=["auditlogs", "task_time_in_status"])
    lake = RawLake("clickup", tmp_path, server.env)
    assert isinstance(lake.error("workspaces", "audit_logs"), Skipped)
    lake.sync(*TASKS)
    assert isinstance(lake.error("task_time_in_status"), Skipped)


def test_an_object_that_clickup_fails_at_is_left_out_and_its_rows_stay(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*PLACES, "list_members")
    kept = lake.living("list_members")
    list_ = next(key[0] for key in kept)
    server.advance(0.5)
    server.advance(0.51)
    server.fault(f"/list/{list_}/member", status=500, body='{"err": "invalid input syntax for integer"}', times=5)
    done = lake.sync(*PLACES, "list_members")
    assert "1 of" in notes(done)
    assert "failed 5 times running" in notes(done)
    assert {key for key in kept if key[0] == list_} <= lake.living("list_members").keys()


def test_a_task_that_clickup_fails_at_is_asked_for_again_in_the_next_run(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    server.fault("/task/86a1t0003/comment", status=500, times=5)
    mine = [row.record["id"] for row in server.ledger("task_comments") if row.add["task_id"] == "86a1t0003"]
    done = lake.sync("workspaces", "task_comments")
    assert "ClickUp failed at 1 of" in notes(done)
    assert mine
    assert lake.differences("task_comments", server.ledger("task_comments")) == [f"missing: {(id_,)}" for id_ in mine]
    server.calls(clear=True)
    lake.sync("workspaces", "task_comments")
    assert paths(server.calls(), "/comment") == ["/api/v2/task/86a1t0003/comment"]
    assert lake.differences("task_comments", server.ledger("task_comments")) == []
    assert "again" not in lake.cursor("task_comments")


def test_children_that_stop_go_on_where_they_were(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickup_children, "BATCH", 10)
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    server.fault("/member", skip=25, status=400, body='{"err": "odd", "ECODE": "ODD_001"}')
    assert isinstance(lake.error("task_members"), Permanent)
    assert lake.cursor("task_members")["rows"] == 20
    server.advance(1)
    lake.sync(*TASKS)
    server.calls(clear=True)
    lake.sync("task_members")
    assert lake.differences("task_members", server.ledger("task_members")) == []
    asked = Counter(paths(server.calls(), "/member"))
    assert max(asked.values()) <= 2  # once for what was left over, once for what changed meanwhile


@pytest.mark.parametrize("calls", [60])
def test_a_minute_is_filled_and_never_overrun(server: Server, tmp_path: Path, calls: int) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    lake.sync(*TASKS)
    seconds = 2.0
    server.control(limit=calls, window=seconds)
    server.calls(clear=True)
    began = time.monotonic()
    done = lake.sync("workspaces", "task_comments", "task_members", "task_attachments")
    windows = (time.monotonic() - began) / seconds
    made = server.calls()
    assert [call for call in made if call["status"] == 429] == []
    assert sum(int(extraction.calls["calls"]) for extraction in done.values()) == len(made)
    assert len(made) > 2 * calls
    assert windows < len(made) / calls * 1.8 + 1  # whole seconds are told: up to one of two is lost to being sure


def test_being_refused_without_a_word_on_when_to_come_back_is_waited_out(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    server.fault("/space", status=429, body='{"err": "Rate limit reached", "ECODE": "APP_002"}', times=2)
    done = lake.sync(*PLACES)
    assert done["spaces"].calls["limited"] == 2
    assert lake.differences("spaces", server.ledger("spaces")) == []


def test_a_source_that_stays_down_is_transient(still: Server, tmp_path: Path) -> None:
    still.fault("/api/v2/user", status=503, times=5)
    assert isinstance(RawLake("clickup", tmp_path, still.env).error("authorized_user"), Transient)


# Webhooks


def test_webhooks_become_rows_once_each(server: Server, tmp_path: Path) -> None:
    lake = RawLake("clickup", tmp_path, server.env)
    with fed("clickup", server, lake.settings):
        lake.sync("webhook_events")
        server.advance(1)
        done = lake.sync("webhook_events")
        assert done["webhook_events"].rows > 20
        assert lake.differences("webhook_events", server.ledger("webhook_events")) == []
        assert lake.sync("webhook_events")["webhook_events"].rows == 0
    events = {row.record["event"] for row in lake.living("webhook_events").values()}
    assert {"taskCreated", "taskUpdated", "taskDeleted", "folderDeleted"} <= events
    assert all(row.add["signature_valid"] for row in lake.living("webhook_events").values())


def test_a_webhook_that_clickup_did_not_sign_is_refused(tmp_path: Path) -> None:
    receiver = Receiver(Settings.load({"DATALAKE_URL": str(tmp_path), "CLICKUP_WEBHOOK_SECRET": "hush"}), ())
    body = b'{"event": "taskDeleted", "task_id": "86a", "webhook_id": "w"}'
    good = hmac.new(b"hush", body, hashlib.sha256).hexdigest()

    def status(signature: str, path: str = "/clickup") -> int:
        headers = {"x-signature": signature} if signature else {}
        return receiver.receive(Call("POST", "localhost", path, "", headers, body)).status

    assert (status(good), status(good.upper())) == (200, 200)
    assert (status("0" * 64), status(""), status(good, "/dialog_360")) == (401, 401, 404)
