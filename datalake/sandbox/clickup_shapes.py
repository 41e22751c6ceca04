"""The forms of ClickUp's objects as its answers show them. Points in time are milliseconds as text in the older API, numbers
in the newer. Who and what they are about lives in `clickup_world`."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

Object = dict[str, Any]

FEATURES = ("time_tracking", "tags", "time_estimates", "checklists", "custom_fields", "portfolios")
DUE_DATES = {"enabled": True, "start_date": True, "remap_due_dates": True, "remap_closed_due_date": False}
PICTURE = "https://attachments.clickup.com/profilePictures/{id}.jpg"


def iso(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def team(id_: int, name: str, members: list[int]) -> Object:
    avatar = f"https://attachments.clickup.com/team_avatars/{id_}.png"
    return {"id": str(id_), "name": name, "color": "#40bc86", "avatar": avatar, "_members": members}


def user(id_: int, name: str, email: str, role: int, joined: int) -> Object:
    return {
        "id": id_,
        "username": name,
        "email": email,
        "color": f"#{id_ * 7919 % 16**6:06x}",
        "profilePicture": PICTURE.format(id=id_) if id_ % 3 else None,
        "initials": "".join(word[0] for word in name.split()[:2]),
        "week_start_day": 1,
        "global_font_support": True,
        "timezone": "America/Sao_Paulo",
        "role": role,
        "role_key": ("owner", "admin", "member", "guest")[role - 1],
        "custom_role": None,
        "last_active": str(joined + 90_000_000),
        "date_joined": str(joined),
        "date_invited": str(joined - 86_400_000),
    }


def short(user_: Object) -> Object:
    """A person as other objects show them."""
    return {name: user_[name] for name in ("id", "username", "email", "color", "initials", "profilePicture")}


def status(id_: str, name: str, kind: str, color: str, order: int) -> Object:
    return {"id": id_, "status": name, "type": kind, "orderindex": order, "color": color}


def space(id_: str, team_: str, name: str, statuses: list[Object], members: list[int], *, archived: bool) -> Object:
    return {
        "id": id_,
        "name": name,
        "color": "#7b68ee",
        "private": False,
        "avatar": None,
        "admin_can_manage": True,
        "statuses": statuses,
        "multiple_assignees": True,
        "features": {**{feature: {"enabled": True} for feature in FEATURES}, "due_dates": DUE_DATES},
        "archived": archived,
        "_team": team_,
        "_members": members,
    }


def folder(id_: str, name: str, order: int, *, archived: bool) -> Object:
    return {
        "id": id_,
        "name": name,
        "orderindex": order,
        "override_statuses": False,
        "hidden": False,
        "archived": archived,
        "permission_level": "create",
    }


def list_(id_: str, name: str, order: int, *, archived: bool, due: int | None) -> Object:
    return {
        "id": id_,
        "name": name,
        "orderindex": order,
        "content": f"Tudo sobre {name}",
        "status": {"status": "red", "color": "#e50000", "hide_label": True} if order % 2 else None,
        "priority": {"priority": "high", "color": "#f50000"} if order % 3 else None,
        "assignee": None,
        "due_date": str(due) if due else None,
        "start_date": None,
        "archived": archived,
        "override_statuses": False,
        "permission_level": "create",
    }


def tag(id_: str, space_: str, name: str, creator: int) -> Object:
    shown = {"name": name, "tag_fg": "#ffffff", "tag_bg": "#800000", "creator": creator, "project_id": space_}
    return {"id": id_, "_space": space_, "_shown": shown}


def field(id_: str, name: str, kind: str, config: Object, created: int) -> Object:
    return {
        "id": id_,
        "name": name,
        "type": kind,
        "type_config": config,
        "date_created": str(created),
        "hide_from_guests": False,
        "required": False,
    }


def option(id_: str, name: str, order: int) -> Object:
    return {"id": id_, "name": name, "orderindex": order, "color": None}


def options(kind: str, *names: str) -> Object:
    made = [option(f"{order:08x}-0000-4000-8000-{len(name):012x}", name, order) for order, name in enumerate(names)]
    if kind == "labels":
        made = [{"id": each["id"].replace("-4000-", "-4001-"), "label": each["name"], "color": "#ff7fab"} for each in made]
    return {"options": made} if kind == "labels" else {"default": 0, "placeholder": None, "options": made}


def value_of(field_: Object, dice: random.Random, someone: Object, task_: Object) -> Any:
    """A value of a custom field, in the form that its type has in answers."""
    config = field_["type_config"]
    match field_["type"]:
        case "drop_down":
            chosen = dice.choice(config["options"])
            return chosen["orderindex"] if dice.random() < 0.8 else chosen["id"]
        case "labels":
            return [each["id"] for each in config["options"][: dice.randrange(1, 3)]]
        case "currency":
            return f"{dice.randrange(1, 10**7) / 100:.2f}"
        case "number":
            return dice.choice((dice.randrange(100), "12.125", "0.30000000000000004"))
        case "date":
            return str(int(task_["date_created"]) + 86_400_000)
        case "users":
            return [short(someone)]
        case "tasks":
            return [{"id": task_["id"], "name": task_["name"], "status": "open", "color": "#d3d3d3", "access": True}]
        case "emoji":
            return dice.randrange(1, 6)
        case "checkbox":
            return dice.choice(("true", "false", True))
        case "manual_progress":
            return {"percent_completed": dice.randrange(0, 101), "current": str(dice.randrange(0, 101))}
        case "location":
            return {"location": {"lat": -23.5505, "lng": -46.6333}, "formatted_address": "Av. Paulista, São Paulo - SP"}
        case "url":
            return f"https://example.com/{task_['id']}"
        case _:
            return f"Anotação de {task_['name']}"


def task(id_: str, name: str, created: int, updated: int, number: int, team_: str) -> Object:
    due = created + 14 * 86_400_000 if number % 3 else None
    return {
        "id": id_,
        "custom_id": f"AUR-{number}" if number % 2 else None,
        "custom_item_id": 0,
        "name": name,
        "text_content": f"{name}.\nDetalhes.",
        "description": f"{name}.\nDetalhes.",
        "markdown_description": f"**{name}**",
        "orderindex": f"{number * 1000}.00000000000000000000000000000000",
        "date_created": created,
        "date_updated": updated,
        "date_closed": None,
        "date_done": None,
        "archived": False,
        "parent": None,
        "top_level_parent": None,
        "due_date": due,
        "start_date": created if number % 4 == 0 else None,
        "points": number % 8 if number % 3 else None,
        "time_estimate": 3_600_000 * (number % 5) or None,
        "_team": team_,
        "_priority": number % 5,
    }


def nothing(task_: Object) -> str | None:
    """How a date is written that is not there: ClickUp has three ways."""
    return (None, None, None, "", "0")[task_["_priority"]]


PRIORITIES = (None, ("1", "urgent", "#f50000"), ("2", "high", "#ffcc00"), ("3", "normal", "#6fddff"), ("4", "low", "#d8d8d8"))


def priority(number: int) -> Object | None:
    found = PRIORITIES[number]
    return {"id": found[0], "priority": found[1], "color": found[2], "orderindex": found[0]} if found else None


def checklist(id_: str, task_: Object, items: list[Object]) -> Object:
    return {
        "id": id_,
        "task_id": task_["id"],
        "name": "Antes de enviar",
        "date_created": str(task_["date_created"]),
        "orderindex": 0,
        "creator": task_["_creator"],
        "resolved": 0,
        "unresolved": len(items),
        "items": items,
    }


def checklist_item(id_: str, order: int, created: int, parent: str | None = None) -> Object:
    return {
        "id": id_,
        "name": f"Passo {order + 1}",
        "orderindex": order,
        "assignee": None,
        "resolved": order == 0,
        "parent": parent,
        "date_created": str(created),
        "children": [],
    }


def dependency(id_: str, task_: Object, other: Object, user_: int, at: int) -> Object:
    shown = {"task_id": task_["id"], "depends_on": other["id"], "type": 1, "date_created": str(at), "userid": str(user_)}
    return {"id": id_, **shown, "workspace_id": task_["_team"], "chain_id": None}


def link(id_: str, task_: Object, other: Object, user_: int, at: int) -> Object:
    shown = {"task_id": task_["id"], "link_id": other["id"], "date_created": str(at), "userid": str(user_)}
    return {"id": id_, **shown, "workspace_id": task_["_team"]}


def comment(id_: str, text: str, user_: int, at: int) -> Object:
    return {
        "id": id_,
        "comment": [{"text": text}],
        "comment_text": text,
        "resolved": False,
        "reactions": [],
        "date": str(at),
        "_user": user_,
    }


def attachment(id_: str, task_: str, user_: int, at: int, size: int) -> Object:
    url = f"https://t9000100.p.clickup-attachments.com/{id_}"
    return {
        "id": id_,
        "parent_id": task_,
        "parent_entity_type": "tasks",
        "title": f"captura {size}.png",
        "extension": "png",
        "mime_type": "image/png",
        "size": size * 1_337,
        "url": url,
        "thumbnail_small": f"{url}?small",
        "thumbnail_medium": f"{url}?medium",
        "thumbnail_large": f"{url}?large",
        "signed": False,
        "user_id": user_,
        "date_created": at,
        "date_updated": at,
    }


def time_entry(id_: str, task_: Object, user_: int, start: int, duration: int, form: int) -> Object:
    """ClickUp writes moments now as text, now as number; a timer that runs has a negative duration and no end."""
    running = form % 17 == 0
    end = start + duration
    made: Object = {
        "id": id_,
        "wid": task_["_team"],
        "billable": form % 4 == 0,
        "start": str(start) if form % 2 else start,
        "duration": str(-start if running else duration),
        "description": "" if form % 3 else "Ligação com o cliente",
        "tags": [],
        "source": "clickup",
        "at": str(end),
        "task_url": f"https://app.clickup.com/t/{task_['id']}",
        "_task": task_["id"] if form % 7 else None,
        "_team": task_["_team"],
        "_user": user_,
        "_start": start,
    }
    if not running:
        made["end"] = str(end) if form % 2 else end
    return made


def history(id_: str, field_: str, before: str | None, after: str, at: int, user_: int) -> Object:
    return {
        "id": id_,
        "field": field_,
        "before": before,
        "after": after,
        "date": str(at),
        "user": {"id": user_},
        "source": None,
    }


def goal_folder(id_: str, name: str, team_: str, at: int, creator: Object) -> Object:
    return {
        "id": id_,
        "name": name,
        "team_id": team_,
        "private": False,
        "date_created": str(at),
        "creator": creator["id"],
        "members": [
            {
                **short(creator),
                "permission_level": "create",
                "date_added": at,
                "added_by": creator["id"],
                "profilePicture": PICTURE.format(id=creator["id"]),
            }
        ],
    }


def goal(id_: str, number: int, team_: str, creator: Object, at: int, folder_: str | None) -> Object:
    return {
        "id": id_,
        "pretty_id": str(number),
        "name": f"Meta {number}",
        "team_id": team_,
        "creator": creator["id"],
        "owner": None,
        "color": "#32a852",
        "date_created": str(at),
        "start_date": None,
        "due_date": str(at + 90 * 86_400_000),
        "description": "Crescer com calma",
        "private": False,
        "archived": False,
        "multiple_owners": True,
        "editor_token": f"token-{id_}",
        "date_updated": str(at),
        "last_update": str(at),
        "folder_id": folder_,
        "pinned": False,
        "owners": [short(creator)],
        "members": [],
        "group_members": [],
        "percent_completed": 0,
    }


def key_result(id_: str, goal_: Object, number: int, at: int) -> Object:
    return {
        "id": id_,
        "goal_id": goal_["id"],
        "name": f"Resultado {number}",
        "type": "number",
        "unit": "R$",
        "creator": goal_["creator"],
        "date_created": str(at),
        "goal_pretty_id": goal_["pretty_id"],
        "percent_completed": None if number else 0.25,
        "completed": False,
        "task_ids": [],
        "list_ids": [],
        "subcategory_ids": [],
        "owners": goal_["owners"],
        "last_action": {"id": id_[:8], "type": "key_result_creation", "note": "", "date_modified": str(at)},
    }


def group(id_: str, team_: str, name: str, creator: int, at: int, members: list[int]) -> Object:
    return {
        "id": id_,
        "team_id": team_,
        "userid": creator,
        "name": name,
        "handle": name.lower(),
        "date_created": str(at),
        "initials": name[0],
        "avatar": {"attachment_id": None, "color": None, "source": None, "icon": None},
        "_members": members,
    }


def role(id_: int, team_: str, name: str, at: int, members: list[int]) -> Object:
    return {"id": id_, "team_id": team_, "name": name, "inherited_role": 3, "date_created": str(at), "members": members}


def task_type(team_: str, id_: int, name: str) -> Object:
    made = {"name": name, "name_plural": f"{name}s", "description": f"Tipo {name}", "avatar": {"source": None, "value": None}}
    return {"id": f"{team_}/{id_}", "_team": team_, "_shown": {"id": id_, **made}}


def time_tag(team_: str, name: str, creator: int) -> Object:
    shown = {"name": name, "creator": creator, "tag_bg": "#BF55EC", "tag_fg": "#FFFFFF"}
    return {"id": f"{team_}/{name}", "_team": team_, "_shown": shown}


def event(name: str, webhook_: str, about: Object, item: Object | None) -> Object:
    """A body that ClickUp posts. What was deleted comes without a history item."""
    return {"event": name, **({"history_items": [item]} if item else {}), **about, "webhook_id": webhook_}


def history_item(id_: str, field_: str, at: int, parent: str, user_: Object) -> Object:
    made = {"id": id_, "type": 1, "date": str(at), "field": field_, "parent_id": parent, "data": {}, "source": None}
    return {**made, "user": short(user_), "before": None, "after": None}


def webhook(id_: str, user_: int, team_: str, secret: str) -> Object:
    return {
        "id": id_,
        "userid": user_,
        "team_id": int(team_),
        "endpoint": "https://lake.example.com/clickup",
        "client_id": "QVOQP06ZXC6CMGVFKB0ZT7J9Y7APOYGO",
        "events": ["taskCreated", "taskUpdated", "taskDeleted"],
        "task_id": None,
        "list_id": None,
        "folder_id": None,
        "space_id": None,
        "health": {"status": "active", "fail_count": 0},
        "secret": secret,
    }


def shared(team_: str, kind: str, id_: str, number: int) -> Object:
    """Something shared directly. A folder and a task show less than a list."""
    made: Object = {"id": id_, "name": f"Partilhado {number}", "orderindex": number, "content": None, "archived": False}
    made |= {"task_count": str(number), "due_date": None}
    if kind == "list":
        made |= {"status": None, "priority": None, "assignee": None, "start_date": None}
    return {"id": f"{kind}/{id_}", "_team": team_, "_kind": kind, "_shown": made}


def view(id_: str, place: str, kind: int, type_: str, creator: int, at: int, order: int) -> Object:
    return {
        "id": id_,
        "name": f"Vista {id_}",
        "type": type_,
        "parent": {"id": place, "type": kind},
        "grouping": {"field": "status", "dir": 1, "collapsed": [], "ignore": False},
        "divide": {"field": None, "dir": None, "collapsed": []},
        "sorting": {"fields": []},
        "filters": {"op": "AND", "fields": [], "search": "", "show_closed": False},
        "columns": {"fields": []},
        "team_sidebar": {"assignees": [], "assigned_comments": False, "unassigned_tasks": False},
        "settings": {"show_task_locations": False, "show_subtasks": 3, "me_comments": True},
        "date_created": str(at),
        "creator": creator,
        "visibility": "public",
        "protected": False,
        "orderindex": order,
    }


def doc(id_: str, team_: str, name: str, user_: int, at: int, *, archived: bool) -> Object:
    return {
        "id": id_,
        "date_created": at,
        "date_updated": at + 1_000,
        "name": name,
        "type": 1,
        "parent": {"id": team_, "type": 12},
        "public": False,
        "workspace_id": int(team_),
        "creator": user_,
        "deleted": False,
        "archived": archived,
        **({"archived_by": user_, "date_archived": at + 500} if archived else {}),
    }


def page(id_: str, doc_: Object, name: str, parent: str | None, at: int) -> Object:
    return {
        "id": id_,
        "doc_id": doc_["id"],
        "parent_page_id": parent,
        "workspace_id": doc_["workspace_id"],
        "name": name,
        "sub_title": "",
        "content": f"# {name}",
        "date_created": at,
        "date_updated": at,
        "creator_id": doc_["creator"],
        "deleted": False,
        "archived": False,
        "authors": [doc_["creator"]],
        "contributors": [doc_["creator"]],
        "protected": False,
        "avatar": {"color": "#7b68ee", "value": "book", "source": "fas"},
        "cover": {"color": "#7b68ee"},
        "presentation_details": {"show_page_outline": True, "font": "default"},
    }


def channel(id_: str, team_: str, user_: int, created: int, number: int) -> Object:
    kind = "CHANNEL" if number % 3 else "DM"
    made: Object = {
        "id": id_,
        "name": f"canal-{number}",
        "type": kind,
        "visibility": "PUBLIC" if kind == "CHANNEL" else "PRIVATE",
        "parent": {"id": team_, "type": 12},
        "creator": str(user_),
        "created_at": iso(created * 1000),
        "updated_at": iso(created * 1000),
        "workspace_id": team_,
        "archived": False,
        "links": {"members": f"/{id_}/members", "followers": f"/{id_}/followers"},
    }
    if kind == "CHANNEL":
        made |= {"description": "Conversa do time", "topic": "Semana", "is_canonical_channel": False, "is_hidden": False}
    return made


def message(id_: str, channel_: str, user_: int, at: int, text: str) -> Object:
    return {
        "id": id_,
        "parent_channel": channel_,
        "content": text,
        "date": at,
        "resolved": False,
        "type": "message",
        "user_id": str(user_),
        "links": {"reactions": f"/{id_}/reactions", "replies": f"/{id_}/replies", "tagged_users": f"/{id_}/tagged_users"},
    }


def member_of_channel(user_: Object) -> Object:
    names = {"name": user_["username"], "username": user_["username"], "initials": user_["initials"]}
    return {"id": str(user_["id"]), "email": user_["email"], **names}


def audit(id_: str, team_: str, event: str, user_: Object, at: int, data: Object) -> Object:
    return {
        "id": id_,
        "eventType": event,
        "eventStatus": "SUCCESS",
        "userId": str(user_["id"]),
        "userEmail": user_["email"],
        "eventTime": at,
        "ip": f"203.0.113.{at % 250}",
        "data": data,
        "_team": team_,
    }
