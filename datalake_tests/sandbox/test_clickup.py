"""The stand-in for ClickUp answers as ClickUp does: its shapes against the official description, its rules over real HTTP."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datalake import contracts
from datalake.sandbox.base import Server, running

SPEC = json.loads((Path(__file__).parent.parent / "specs" / "clickup" / "schema.json").read_text())["answers"]
SOURCE = contracts.load_source("clickup")
NOW = 1_795_000_000
TEAM = "9000100"


def ask(server: Server, path: str, token: str = "pk_183_SANDBOX", body: Any = None) -> tuple[int, Any, dict[str, str]]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(server.url + path, data, {"Authorization": token} if token else {})
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            content = error.read()
            return error.code, json.loads(content) if content.startswith(b"{") else content, dict(error.headers)


def get(server: Server, path: str) -> Any:
    status, body, _ = ask(server, path)
    assert status == 200, (path, body)
    return body


@pytest.fixture(scope="module")
def clickup() -> Iterator[Server]:
    with running("clickup", seed=3, scale=0.4, now=NOW, limits=False) as server:
        server.advance(2)
        yield server


def ids(server: Server, table: str, name: str = "id") -> list[Any]:
    return [row.record[name] for row in server.ledger(table)]


def addresses(server: Server, path: str) -> list[str]:
    """Real addresses for a described path: one for each object that it can be asked of."""
    spaces, folders, lists = ids(server, "spaces"), ids(server, "folders"), ids(server, "lists")
    tasks = ids(server, "tasks")
    known: dict[str, list[Any]] = {
        "team_id": [TEAM, "9000101"],
        "team_Id": [TEAM, "9000101"],
        "workspace_id": [TEAM],
        "space_id": spaces,
        "folder_id": folders,
        "list_id": lists,
        "task_id": tasks,
        "goal_id": ids(server, "goals"),
        "comment_id": [row.record["id"] for row in server.ledger("task_comments") if row.record["reply_count"]][:5],
        "view_id": [row.record["id"] for row in server.ledger("views") if row.record["type"] == "conversation"],
        "user_id": [183, 184],
        "channel_id": ids(server, "chat_channels"),
        "message_id": [row.record["id"] for row in server.ledger("chat_messages") if row.record["replies_count"]],
        "doc_id": ids(server, "docs"),
        "entity_type": ["attachments"],
        "entity_id": list({row.record["parent_id"] for row in server.ledger("task_attachments")}),
    }
    if path == "/api/v3/workspaces/{workspace_id}/docs/{doc_id}/pages":
        known["doc_id"] = [row.record["id"] for row in server.ledger("docs") if str(row.record["workspace_id"]) == TEAM]
    if "{channel_id}" in path or "{message_id}" in path:
        known["workspace_id"] = [TEAM]
    names = re.findall(r"{(\w+)}", path)
    if not names:
        query = {"/api/v2/group": "?team_id=9000100"}
        return [path + query.get(path, "")]
    *first, last = names
    base = path
    for name in first:
        base = base.replace(f"{{{name}}}", str(known[name][0]))
    made = [base.replace(f"{{{last}}}", str(id_)) for id_ in known[last]]
    query = {
        "task": "?subtasks=true&include_closed=true&include_markdown_description=true",
        "time_entries": f"?start_date={(NOW - 60 * 86_400) * 1000}&end_date={(NOW + 3 * 86_400) * 1000}"
        "&assignee=183,184,185,186&include_task_tags=true&include_location_names=true",
        "taskTemplate": "?page=0",
    }
    return [address + query.get(path.rpartition("/")[2], "") for address in made]


@pytest.mark.parametrize("path", sorted(SPEC))
def test_answers_have_the_official_shape(clickup: Server, path: str) -> None:
    validator = jsonschema.Draft202012Validator(SPEC[path])
    asked = addresses(clickup, path)
    assert asked
    filled = 0
    for address in asked[:40]:
        body = get(clickup, address)
        faults = [f"{error.json_path}: {error.message[:150]}" for error in validator.iter_errors(body)]
        assert faults[:4] == [], address
        filled += any(body.values()) if isinstance(body, dict) else bool(body)
    assert filled, "no answer held anything: the comparison would prove nothing"


def test_a_shape_that_is_not_official_is_found(clickup: Server) -> None:
    validator = jsonschema.Draft202012Validator(SPEC["/api/v2/team/{team_Id}/task"])
    good = get(clickup, f"/api/v2/team/{TEAM}/task?subtasks=true&include_closed=true")
    assert not list(validator.iter_errors(good))
    for name, wrong in (("name", 1), ("date_updated", 1_700_000_000_000), ("creator", None), ("dependencies", "none")):
        assert list(validator.iter_errors({"tasks": [{**good["tasks"][0], name: wrong}]})), name
    assert list(validator.iter_errors({"tasks": [{"id": "x"}]}))


def test_time_in_status_of_many_is_that_of_each(clickup: Server) -> None:
    tasks = ids(clickup, "tasks")[:3]
    found = get(clickup, "/api/v2/task/bulk_time_in_status/task_ids?" + "&".join(f"task_ids={id_}" for id_ in tasks))
    assert found == {id_: get(clickup, f"/api/v2/task/{id_}/time_in_status") for id_ in tasks}


@pytest.mark.parametrize(
    "path, token, status, code",
    [
        ("/api/v2/team", "", 401, "OAUTH_017"),
        ("/api/v2/team", "pk_0_OTHER", 401, "OAUTH_025"),
        ("/api/v2/team", "Bearer pk_183_SANDBOX", 401, "OAUTH_025"),
        ("/api/v2/team", "oauth_sandbox", 401, "OAUTH_025"),
        ("/api/v2/team/77/space", "pk_183_SANDBOX", 401, "OAUTH_027"),
        ("/api/v2/space/77/folder", "pk_183_SANDBOX", 404, "SPACE_002"),
        ("/api/v2/task/nothing", "pk_183_SANDBOX", 404, "ITEM_013"),
        ("/api/v2/task/nothing/comment", "pk_183_SANDBOX", 404, "ITEM_013"),
        (f"/api/v2/team/{TEAM}/taskTemplate", "pk_183_SANDBOX", 400, "INPUT_001"),
        ("/api/v2/task/86a1t0001/comment?start=1", "pk_183_SANDBOX", 400, "INPUT_002"),
        (f"/api/v2/team/{TEAM}/time_entries?assignee=183,184", "pk_186_MEMBER", 403, "TIMEENTRY_060"),
    ],
)
def test_wrong_questions_are_refused_in_clickups_form(clickup: Server, path: str, token: str, status: int, code: str) -> None:
    found, body, _ = ask(clickup, path, token)
    assert (found, body["ECODE"]) == (status, code)
    assert body["err"]


def test_both_kinds_of_token_are_taken(clickup: Server) -> None:
    assert ask(clickup, "/api/v2/user")[1] == ask(clickup, "/api/v2/user", "Bearer oauth_sandbox")[1]


def test_a_wrong_path_is_a_web_page(clickup: Server) -> None:
    status, body, _ = ask(clickup, "/api/v2/nothing")
    assert status == 404
    assert body.startswith(b"<!DOCTYPE html>")


def tasks_of(server: Server, query: str) -> list[dict[str, Any]]:
    tasks, page = [], 0
    while True:
        found = get(server, f"/api/v2/team/{TEAM}/task?page={page}&{query}")
        tasks += found["tasks"]
        page += 1
        if found["last_page"]:
            return tasks


def test_tasks_are_left_out_unless_asked_for(clickup: Server) -> None:
    mine = [row.record for row in clickup.ledger("tasks") if row.record["team_id"] == TEAM]
    living = {task["id"] for task in mine if not task["archived"]}
    assert {task["id"] for task in tasks_of(clickup, "subtasks=true&include_closed=true")} == living
    assert {task["id"] for task in tasks_of(clickup, "subtasks=true")} < living
    assert {task["id"] for task in tasks_of(clickup, "include_closed=true")} < living
    archived = tasks_of(clickup, "subtasks=true&include_closed=true&archived=true")
    assert {task["id"] for task in archived} == {task["id"] for task in mine} - living


def test_tasks_are_ordered_and_cut_by_their_last_change(clickup: Server) -> None:
    found = tasks_of(clickup, "subtasks=true&include_closed=true&order_by=updated&reverse=true")
    times = [int(task["date_updated"]) for task in found]
    assert times == sorted(times)
    low, high = times[10], times[-10]
    bounds = f"date_updated_gt={low}&date_updated_lt={high}"
    inside = tasks_of(clickup, f"subtasks=true&include_closed=true&order_by=updated&reverse=true&{bounds}")
    assert [task["id"] for task in inside] == [task["id"] for task in found if low <= int(task["date_updated"]) < high]


def test_comments_come_newest_first_in_pages_of_twenty_five(clickup: Server) -> None:
    path = "/api/v2/task/86a1t0001/comment"
    comments: list[dict[str, Any]] = []
    sizes = []
    while not sizes or sizes[-1] == 25:
        after = f"?start={comments[-1]['date']}&start_id={comments[-1]['id']}" if comments else ""
        page = get(clickup, path + after)["comments"]
        sizes.append(len(page))
        comments += page
    assert sizes[:2] == [25, 25]
    mine = [row.record["id"] for row in clickup.ledger("task_comments") if row.add["task_id"] == "86a1t0001"]
    assert sorted(mine) == sorted(comment["id"] for comment in comments)
    assert [int(comment["date"]) for comment in comments] == sorted((int(each["date"]) for each in comments), reverse=True)


def test_time_entries_are_ones_own_of_thirty_days_unless_asked_otherwise(clickup: Server) -> None:
    plain = get(clickup, f"/api/v2/team/{TEAM}/time_entries")["data"]
    assert plain
    assert {entry["user"]["id"] for entry in plain} == {183}
    ago = f"start_date={(NOW - 60 * 86_400) * 1000}&end_date={(NOW + 9 * 86_400) * 1000}"
    everybody = get(clickup, f"/api/v2/team/{TEAM}/time_entries?{ago}&assignee=183,184,185,186,187,188")["data"]
    assert len(everybody) > len(plain)
    assert any(int(entry["duration"]) < 0 and "end" not in entry for entry in everybody)
    assert {type(entry["start"]) for entry in everybody} == {str, int}
    assert any(entry["task"] == "0" for entry in everybody)


def test_a_list_in_no_folder_is_the_spaces_own(clickup: Server) -> None:
    space = ids(clickup, "spaces")[0]
    folders = get(clickup, f"/api/v2/space/{space}/folder")["folders"]
    loose = get(clickup, f"/api/v2/space/{space}/list")["lists"]
    assert loose
    assert all(each["folder"]["hidden"] for each in loose)
    in_folders = {each["id"] for folder in folders for each in folder["lists"]}
    assert not in_folders & {each["id"] for each in loose}
    archived = get(clickup, f"/api/v2/space/{space}/list?archived=true")["lists"]
    assert all(each["archived"] for each in archived)


def test_v3_lists_go_on_by_their_cursor(clickup: Server) -> None:
    channel = ids(clickup, "chat_channels")[0]
    path = f"/api/v3/workspaces/{TEAM}/chat/channels/{channel}/messages?limit=2"
    messages, cursor = [], ""
    while True:
        page = get(clickup, path + (f"&cursor={cursor}" if cursor else ""))
        messages += [message["id"] for message in page["data"]]
        if not (cursor := page["next_cursor"]):
            break
    mine = [row.record["id"] for row in clickup.ledger("chat_messages") if row.record["parent_channel"] == channel]
    assert sorted(messages) == sorted(mine)


def test_limits_are_told_and_kept() -> None:
    with running("clickup", scale=0.1, now=NOW) as server:
        server.control(limit=5, window=1)
        told = [ask(server, "/api/v2/user") for _ in range(7)]
        assert [status for status, _, _ in told] == [200] * 5 + [429] * 2
        assert [headers["x-ratelimit-remaining"] for _, _, headers in told] == ["4", "3", "2", "1", "0", "0", "0"]
        assert {headers["x-ratelimit-limit"] for _, _, headers in told} == {"5"}
        assert {headers["x-ratelimit-reset"] for _, _, headers in told} == {str(NOW + 1)}
        assert "Retry-After" not in told[-1][2]
        assert told[-1][1]["ECODE"] == "APP_002"
        time.sleep(1.1)
        assert ask(server, "/api/v2/user")[0] == 200


def test_every_table_has_rows_and_references_hold(clickup: Server) -> None:
    rows = {name: clickup.ledger(name) for name in SOURCE.tables if name not in ("workspace_plan", "workspace_seats")}
    assert [name for name, found in rows.items() if not found] == ["webhook_events"]  # nobody receives them here
    tasks = {row.record["id"] for row in rows["tasks"]}
    lists = {row.record["id"] for row in rows["lists"]}
    fields = {row.record["id"] for row in rows["custom_fields"]}
    assert {row.record["list"]["id"] for row in rows["tasks"]} <= lists
    assert {row.record["parent"] for row in rows["tasks"]} - {None} <= tasks
    assert {
        row.add["task_id"] for name in rows if name.startswith("task_") for row in rows[name] if "task_id" in row.add
    } <= tasks
    assert {row.record["id"] for row in rows["task_custom_field_values"]} <= fields
    assert {row.record["depends_on"] for row in rows["task_dependencies"]} <= tasks
    assert {row.record["parent_id"] for row in rows["task_attachments"]} <= tasks


def test_the_same_seed_gives_the_same_agency() -> None:
    def story(seed: int, steps: list[float]) -> tuple[str, dict[str, int]]:
        with running("clickup", seed=seed, scale=0.2, now=NOW, limits=False) as server:
            happened: dict[str, int] = {}
            for days in steps:
                for what, times in server.advance(days).items():
                    happened[what] = happened.get(what, 0) + times
            return json.dumps(
                [row.record for name in ("tasks", "task_comments", "views") for row in server.ledger(name)]
            ), happened

    first, happened = story(5, [1])
    assert story(5, [0.25, 0.75]) == (first, happened)
    assert story(6, [1])[0] != first
    assert {
        "task created",
        "task updated",
        "task deleted",
        "folder deleted",
        "entry deleted",
        "field deleted",
    } <= happened.keys()
