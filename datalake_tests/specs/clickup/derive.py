"""Make `schema.json` from ClickUp's published OpenAPI files: the answers that the tables read, as JSON Schema. Run by hand.

    python derive.py clickup-api-v2-reference.json ClickUp_PUBLIC_API_V3.yaml > schema.json

The files are those at developer.clickup.com/openapi (v2 of mid-2026, v3 of 2026-10). Prose and examples are left out.
ClickUp's description of v2 is wrong in places: `CORRECTED` says where, and what clients have received instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

V2 = (
    "/v2/comment/{comment_id}/reply",
    "/v2/folder/{folder_id}/field",
    "/v2/folder/{folder_id}/list",
    "/v2/folder/{folder_id}/view",
    "/v2/goal/{goal_id}",
    "/v2/group",
    "/v2/list/{list_id}/comment",
    "/v2/list/{list_id}/field",
    "/v2/list/{list_id}/member",
    "/v2/list/{list_id}/task",
    "/v2/list/{list_id}/view",
    "/v2/space/{space_id}/field",
    "/v2/space/{space_id}/folder",
    "/v2/space/{space_id}/list",
    "/v2/space/{space_id}/tag",
    "/v2/space/{space_id}/view",
    "/v2/task/{task_id}/comment",
    "/v2/task/{task_id}/member",
    "/v2/task/{task_id}/time_in_status",
    "/v2/team",
    "/v2/team/{team_Id}/task",
    "/v2/team/{team_Id}/time_entries",
    "/v2/team/{team_id}/custom_item",
    "/v2/team/{team_id}/customroles",
    "/v2/team/{team_id}/field",
    "/v2/team/{team_id}/folder_template",
    "/v2/team/{team_id}/goal",
    "/v2/team/{team_id}/list_template",
    "/v2/team/{team_id}/plan",
    "/v2/team/{team_id}/seats",
    "/v2/team/{team_id}/shared",
    "/v2/team/{team_id}/space",
    "/v2/team/{team_id}/taskTemplate",
    "/v2/team/{team_id}/time_entries/tags",
    "/v2/team/{team_id}/user/{user_id}",
    "/v2/team/{team_id}/view",
    "/v2/team/{team_id}/webhook",
    "/v2/user",
    "/v2/view/{view_id}/comment",
)
V3 = (
    "/api/v3/workspaces/{workspace_id}/chat/channels",
    "/api/v3/workspaces/{workspace_id}/chat/channels/{channel_id}/members",
    "/api/v3/workspaces/{workspace_id}/chat/channels/{channel_id}/messages",
    "/api/v3/workspaces/{workspace_id}/chat/messages/{message_id}/replies",
    "/api/v3/workspaces/{workspace_id}/docs",
    "/api/v3/workspaces/{workspace_id}/docs/{doc_id}/pages",
    "/api/v3/workspaces/{workspace_id}/{entity_type}/{entity_id}/attachments",
)

ANY: dict[str, Any] = {}
OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}


def maybe(*types: str) -> dict[str, Any]:
    return {"type": [*types, "null"]}


CORRECTED: dict[str, dict[str, Any]] = {
    # Described as text where objects come, or as one kind of value where several do. `*` stands for any answer.
    "*": {
        "assigned_by": maybe("object"),
        "assignee": maybe("object", "string"),
        "avatar": maybe("string", "object"),
        "children": OBJECTS,
        "color": maybe("string"),
        "profilePicture": maybe("string"),
        "reply_count": {"type": ["string", "integer"]},
        "templates": OBJECTS,
    },
    "/v2/space/{space_id}/folder": {"folders": OBJECTS, "lists": OBJECTS},
    "/v2/team/{team_Id}/task": {
        "date_closed": maybe("string"),
        "dependencies": OBJECTS,
        "due_date": maybe("string"),
        "linked_tasks": OBJECTS,
        "parent": maybe("string"),
        "points": maybe("number"),
        "priority": maybe("object"),
        "start_date": maybe("string"),
        "time_estimate": maybe("number"),
    },
    "/v2/list/{list_id}/task": {
        "assignees": OBJECTS,
        "checklists": OBJECTS,
        "dependencies": OBJECTS,
        "group_assignees": OBJECTS,
        "linked_tasks": OBJECTS,
        "priority": maybe("object"),
        "tags": OBJECTS,
        "time_estimate": maybe("number"),
        "watchers": OBJECTS,
    },
    "/v2/team/{team_Id}/time_entries": {
        "custom_id": maybe("string"),
        "end": {"type": ["string", "integer"]},
        "start": {"type": ["string", "integer"]},
        "tags": OBJECTS,
        "task": {"type": ["object", "string", "null"]},
        "task_location": {"type": "object"},
    },
    "/v2/team/{team_id}/goal": {"owners": OBJECTS},
    "/v2/goal/{goal_id}": {"key_results": OBJECTS, "members": OBJECTS, "history": OBJECTS},
    "/v2/team/{team_id}/shared": {"tasks": OBJECTS},
    "/v2/group": {"avatar": {"type": "object"}},
    "/v2/team/{team_id}/user/{user_id}": {"custom_role": maybe("object")},
}
"""Fields of an answer, wherever in it they stand, and what they really hold."""

ABSENT = {
    "/v2/team/{team_Id}/time_entries": {"end"},  # a timer that runs
    "/v2/task/{task_id}/comment": {"assignee"},
}
"""Fields called required that clients have seen missing."""


class Answers:
    """The answers of one OpenAPI file."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def answer(self, path: str) -> Any:
        content = self.file["paths"][path]["get"]["responses"]["200"]["content"]
        fields = {**CORRECTED["*"], **CORRECTED.get(path, {})}
        return self.plain(next(iter(content.values()))["schema"], fields, ABSENT.get(path, set()), ())

    def plain(self, schema: Any, fields: dict[str, Any], absent: set[str], above: tuple[str, ...]) -> Any:
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            if schema["$ref"] in above:
                return {"type": "object"}  # pages inside pages
            return self.plain(self.find(schema["$ref"]), fields, absent, (*above, schema["$ref"]))
        made: dict[str, Any] = {name: schema[name] for name in ("type", "enum") if name in schema}
        if schema.get("nullable") and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        if required := [name for name in schema.get("required", ()) if name not in absent]:
            made["required"] = required
        if "properties" in schema:
            made["properties"] = {
                name: fields[name] if name in fields else self.plain(inner, fields, absent, above)
                for name, inner in schema["properties"].items()
            }
        if "items" in schema:
            made["items"] = self.plain(schema["items"], fields, absent, above)
        for name in ("allOf", "anyOf", "oneOf"):
            if name in schema:
                made["anyOf" if name == "oneOf" else name] = [self.plain(each, fields, absent, above) for each in schema[name]]
        return made

    def find(self, reference: str) -> Any:
        found = self.file
        for step in reference.removeprefix("#/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")
            found = found[int(name)] if isinstance(found, list) else found[name]
        return found


def main() -> None:
    v2 = Answers(json.loads(Path(sys.argv[1]).read_text()))
    v3 = Answers(yaml.load(Path(sys.argv[2]).read_text(), Loader=yaml.CSafeLoader))
    answers = {f"/api{path}": v2.answer(path) for path in V2} | {path: v3.answer(path) for path in V3}
    comment = "Derived from ClickUp's OpenAPI files by derive.py; do not edit."
    json.dump({"$comment": comment, "answers": answers}, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
