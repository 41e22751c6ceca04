"""A small agency that works in ClickUp: its people, places, tasks and talk, and what happens to them. How it is shown over
HTTP lives in `clickup`, the forms of what is shown in `clickup_shapes`.

The same seed, scale and start give the same agency. Something happens every six hours, by dice of their own, so it does not
matter in how many steps time passes; each day holds at least one change of every kind.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from datalake.sandbox import clickup_shapes as shape
from datalake.sandbox.clickup_shapes import Object
from datalake.sandbox.fill import person

HOUR = 3_600
TICK = 6 * HOUR
DAY = 24 * HOUR
HISTORY = 120
"""Days of history at the start."""
TRACKED = 50
"""Days of it in which time was tracked."""

WEBHOOK_SECRET = "O94IM25S7PXBPYTMNXLLET230SRP0S89COR7B1YOJ2ZIE8WQNK5UUKEF26W0Z5GA"  # noqa: S105 - the stand-in's own
"""What signs the webhooks. ClickUp gives each a secret of its own; here all have this one."""
NEWCOMERS = 183 + 40
"""Ids of people from here on are of some who joined lately, and leave again."""

STATUSES = (("para fazer", "open", "#d3d3d3"), ("em curso", "custom", "#5cf1d4"), ("concluído", "closed", "#6bc950"))
TAGS = ("urgente", "cliente", "financeiro", "bug", "açaí")
VERBS = ("Revisar", "Enviar", "Corrigir", "Planejar", "Migrar", "Aprovar", "Desenhar")
THINGS = ("contrato", "nota fiscal", "relatório mensal", "página inicial", "proposta 🍇", "integração", "orçamento")


class World:
    """Everything in ClickUp by kind and id, each object as it is kept: fields that begin with `_` are never shown."""

    def __init__(self, seed: int, scale: float, now: int) -> None:
        self.seed, self.scale, self.started, self.now = seed, scale, now, now
        self.things: defaultdict[str, dict[str, Object]] = defaultdict(dict)
        self.happened: Counter[str] = Counter()
        self.events: list[Object] = []
        """Bodies of webhooks, in the order of what they tell of."""
        self._numbers: Counter[str] = Counter()
        self._last_ms = 0
        self._dice = random.Random(f"{seed}/beginning")
        self._found()

    def all(self, kind: str, wanted: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        return [thing for thing in self.things[kind].values() if wanted(thing)]

    def some(self, kind: str, wanted: Callable[[Object], bool] = lambda _: True) -> Object | None:
        found = self.all(kind, wanted)
        return self._dice.choice(found) if found else None

    def advance(self, seconds: int) -> dict[str, int]:
        """Let time pass; returns what happened, by kind of event."""
        before = Counter(self.happened)
        until = self.now + seconds
        while (tick := (self.now // TICK + 1) * TICK) <= until:
            self.now = tick
            self._dice = random.Random(f"{self.seed}/{tick}")
            for chore in CHORES[tick // TICK % len(CHORES)]:
                chore(self)
        self.now = until
        return dict(self.happened - before)

    def moment(self) -> int:
        """Now in milliseconds, a little before the clock's second and never twice."""
        self._last_ms = max(self._last_ms + 1, self.now * 1000 - 1_000)
        return self._last_ms

    def number(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def tell(self, name: str, team: str, field: str = "", **about: str) -> None:
        """Send word to the workspace's webhooks: of a change (`field` names what changed) or of an end."""
        for hook in self.all("webhook", lambda each: str(each["team_id"]) == team):
            (id_,) = about.values()
            number = f"280031{self.number('history_item'):013d}"
            item = shape.history_item(number, field, self.moment(), id_, self.some_user(team)) if field else None
            self.events.append(shape.event(name, hook["id"], about, item))

    def put(self, kind: str, thing: Object) -> Object:
        self.things[kind][str(thing["id"])] = thing
        return thing

    def drop(self, kind: str, wanted: Callable[[Object], bool]) -> list[Object]:
        """Delete for good: nothing at ClickUp tells of it."""
        gone = self.all(kind, wanted)
        for thing in gone:
            del self.things[kind][str(thing["id"])]
        self.happened[f"{kind} deleted"] += len(gone)
        return gone

    def touch(self, task: Object) -> None:
        """A change that ClickUp dates."""
        task["date_updated"] = self.moment()
        self.happened["task updated"] += 1
        self.tell("taskUpdated", task["_team"], "content", task_id=task["id"])

    # The beginning

    def _found(self) -> None:
        for number in range(max(5, round(8 * self.scale))):
            self.add_user(number)
        self.add_user(self.number("newcomer") + 40)
        users = list(self.things["user"].values())
        for number, name in enumerate(("Agência Aurora", "Aurora Interno")):
            members = users if number == 0 else users[:3]
            self.put("team", shape.team(9_000_100 + number, name, [user["id"] for user in members]))
            for index in range(3 if number == 0 else 1):
                self.add_space(f"{9_000_100 + number}", ("Clientes", "Operações", "Arquivo morto")[index], archived=index == 2)
        for field in FIELDS:
            self.add_field(*field)
        for index, place in enumerate(self.all("list")):
            for _ in range(max(3, round(250 * self.scale / len(self.things["list"])))):
                self.add_task(place, past=True)
            self.add_list_comment(place["id"])
            self.add_view("list", place["id"], 6) if index % 3 == 0 else None
        for task in self.all("task"):
            self._live(task)
        for team in self.all("team"):
            self._equip(team)
            space = next(each for each in self.all("space") if each["_team"] == team["id"])
            self.tell("spaceUpdated", team["id"], "name", space_id=space["id"])
        for _ in range(round(400 * self.scale) + 20):
            self.add_time_entry(self._dice.randrange(1, TRACKED * DAY))

    def _live(self, task: Object) -> None:
        """What has come to hang on a task over time."""
        dice = self._dice
        for _ in range(dice.choice((0, 0, 1, 1, 2))):
            self.add_comment(task, past=True)
        if task["id"] == "86a1t0001":
            for _ in range(60):
                self.add_comment(task, past=True)
        if dice.random() < 0.3:
            self.add_attachment(task, past=True)
        if dice.random() < 0.2:
            self.add_checklist(task)
        other = self.some("task", lambda each: each["_team"] == task["_team"] and each is not task)
        if other and dice.random() < 0.15:
            self.link(task, other, self.some_user(task["_team"])["id"])

    def _equip(self, team: Object) -> None:
        id_ = team["id"]
        for name in ("Q1", "Receita"):
            folder = self.put(
                "goal_folder", shape.goal_folder(self.key("goal_folder"), name, id_, self.past(), self.member(id_))
            )
            self.add_goal(id_, folder["id"])
        self.add_goal(id_, None)
        self.add_goal(id_, None)
        for name in ("Design", "Engenharia"):
            self.add_group(id_, name)
        self.put("role", shape.role(self.number("role") + 400, id_, "Convidado interno", self.past(), [self.member(id_)["id"]]))
        for number, name in enumerate(("Bug", "Marco", "Contato")):
            self.put("task_type", shape.task_type(id_, 1_300 + number, name))
        for name in ("reunião", "faturável"):
            self.put("time_tag", shape.time_tag(id_, name, self.member(id_)["id"]))
        self.put("webhook", shape.webhook(self.key("webhook"), self.member(id_)["id"], id_, WEBHOOK_SECRET))
        for kind in ("task_templates", "list_templates", "folder_templates"):
            for number in range(2):
                self.add_template(id_, kind, number)
        self.add_view("team", id_, 7)
        view = self.add_view("team", id_, 7, "conversation")
        for _ in range(30):
            self.add_view_comment(view)
        for space in self.all("space", lambda each: each["_team"] == id_):
            self.add_view("space", space["id"], 4)
        for folder in self.all("folder", lambda each: self.team_of("folder", each) == id_):
            self.add_view("folder", folder["id"], 5)
        for number in range(3):
            self.add_doc(id_, number)
            self.add_channel(id_)
        for _ in range(round(60 * self.scale) + 5):
            self.log_audit(id_, "USER_LOGIN", self.past())
        for kind in ("task", "list", "folder"):
            self.put("shared", shape.shared(id_, kind, self.key("shared"), self.number("shared")))

    # Making things

    def key(self, kind: str) -> str:
        """An id like ClickUp's UUIDs."""
        text = "".join(random.Random(f"{self.seed}/{kind}/{self.number(kind)}").choices("0123456789abcdef", k=32))
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def past(self) -> int:
        """A moment of the history, milliseconds."""
        return (self.started - self._dice.randrange(DAY, HISTORY * DAY)) * 1000 + self._dice.randrange(1000)

    def member(self, team: str) -> Object:
        return self.some_user(team)

    def some_user(self, team: str) -> Object:
        return self.things["user"][str(self._dice.choice(self.things["team"][team]["_members"]))]

    def team_of(self, kind: str, thing: Object) -> str:
        team: str = self.things["space"][thing["_space"]]["_team"] if kind in ("folder", "list") else thing["_team"]
        return team

    def add_user(self, number: int) -> Object:
        someone = person(number)
        role = 1 if number == 0 else 2 if number == 1 else 3
        joined = (self.started - (HISTORY + 30 - number) * DAY) * 1000
        return self.put("user", shape.user(183 + number, someone.name, someone.email, role, joined))

    def add_space(self, team: str, name: str, *, archived: bool = False) -> Object:
        id_ = str(790_000 + self.number("place"))
        statuses = [shape.status(f"p{id_}_{number}", *each, number) for number, each in enumerate(STATUSES)]
        members = self.things["team"][team]["_members"]
        space = self.put("space", shape.space(id_, team, name, statuses, members, archived=archived))
        for tag in TAGS[: 3 + self._dice.randrange(2)]:
            self.put("tag", shape.tag(f"{id_}/{tag}", id_, tag, self.some_user(team)["id"]))
        for number in range(2):
            folder = self.add_folder(id_, f"Pasta {name} {number + 1}", archived=number == 1 and not archived)
            self.add_list(id_, folder["id"], f"Sprint {number + 1}")
            self.add_list(id_, folder["id"], f"Arquivo {number + 1}", archived=True)
        self.add_list(id_, None, "Entrada")
        self.add_list(id_, None, "Ideias antigas", archived=True)
        return space

    def add_folder(self, space: str, name: str, *, archived: bool = False) -> Object:
        id_ = str(457_000 + self.number("place"))
        return self.put("folder", {**shape.folder(id_, name, self.number("order"), archived=archived), "_space": space})

    def add_list(self, space: str, folder: str | None, name: str, *, archived: bool = False) -> Object:
        id_ = str(124_000 + self.number("place"))
        made = shape.list_(id_, name, self.number("order"), archived=archived, due=self.past() if folder else None)
        return self.put("list", {**made, "_space": space, "_folder": folder})

    def add_field(self, level: str, name: str, kind: str, config: Object) -> Object:
        place = {"workspace": "team"}.get(level, level)
        where = next(iter(self.things[place].values()))["id"]
        made = shape.field(self.key("field"), name, kind, config, self.past())
        return self.put("field", {**made, "_level": level, "_level_id": where})

    def fields_of(self, place: Object) -> list[Object]:
        """The fields that tasks of a list have."""
        folder, space = place["_folder"], place["_space"]
        above = {("list", place["id"]), ("folder", folder), ("space", space), ("workspace", self.team_of("list", place))}
        return self.all("field", lambda field: (field["_level"], field["_level_id"]) in above)

    def add_task(self, place: Object, *, past: bool = False, parent: Object | None = None) -> Object:
        dice = self._dice
        team = self.team_of("list", place)
        number = self.number("task")
        created = self.past() if past else self.moment()
        updated = min(created + dice.randrange(1, 20) * DAY * 1000, self.started * 1000 - 90_000) if past else created
        status = dice.choice((0, 0, 1, 1, 2)) if past else 0
        title = f"{dice.choice(VERBS)} {dice.choice(THINGS)} {number}"
        task = self.put("task", shape.task(f"86a1t{number:04d}", title, created, updated, number, team))
        task |= {
            "_list": place["id"],
            "_status": status,
            "_creator": self.some_user(team)["id"],
            "_assignees": sorted({self.some_user(team)["id"] for _ in range(dice.choice((0, 1, 2)))}),
            "_watchers": sorted({self.some_user(team)["id"] for _ in range(dice.choice((0, 1)))}),
            "_groups": [],
            "_tags": [],
            "_values": {},
            "_checklists": [],
            "_locations": [],
            "_members": [self.some_user(team)["id"]],
            "_minutes": {0: 30 * number},
            "parent": parent["id"] if parent else None,
            "top_level_parent": parent["id"] if parent else None,
            "archived": past and number % 11 == 0,
            "custom_item_id": dice.choice((0, 0, 0, 1_300)),
            "date_closed": updated if status == 2 else None,
            "date_done": updated if status == 2 else None,
        }
        tags = self.all("tag", lambda tag: tag["_space"] == place["_space"])
        task["_tags"] = sorted({dice.choice(tags)["id"] for _ in range(dice.choice((0, 1, 2)))}) if tags else []
        for field in self.fields_of(place):
            if dice.random() < 0.6:
                task["_values"][field["id"]] = shape.value_of(field, dice, self.some_user(team), task)
        if number % 9 == 0:
            other = self.some("list", lambda each: each["_space"] == place["_space"] and each is not place)
            task["_locations"] = [other["id"]] if other else []
        group = self.some("group", lambda each: each["team_id"] == team)
        task["_groups"] = [group["id"]] if group and dice.random() < 0.3 else []
        if past and parent is None and number % 6 == 0:
            self.add_task(place, past=True, parent=task)
        if not past:
            self.happened["task created"] += 1
            self.tell("taskCreated", team, "status", task_id=task["id"])
            self.tell("taskStatusUpdated", team, "status", task_id=task["id"])
        return task

    def add_comment(self, task: Object, *, past: bool = False) -> Object:
        id_ = str(90_080_000_000_000_000 + self.number("comment"))
        at = self.past() if past else self.moment()
        made = shape.comment(id_, f"Comentário {id_[-4:]} — ok?", self.some_user(task["_team"])["id"], at)
        made |= {"_task": task["id"]}
        for _ in range(self._dice.choice((0, 0, 0, 1, 2))):
            self.add_reply(made, task["_team"])
        return self.put("comment", made)

    def add_reply(self, comment: Object, team: str) -> None:
        id_ = str(90_080_100_000_000_000 + self.number("reply"))
        made = shape.comment(id_, f"Resposta {id_[-4:]}", self.some_user(team)["id"], int(comment["date"]) + 60_000)
        self.put("reply", {**made, "_comment": comment["id"]})

    def add_list_comment(self, list_: str) -> None:
        team = self.team_of("list", self.things["list"][list_])
        id_ = str(90_080_200_000_000_000 + self.number("list_comment"))
        made = shape.comment(id_, "Sobre esta lista", self.some_user(team)["id"], self.past())
        self.put("list_comment", {**made, "_list": list_})

    def add_view_comment(self, view: Object, *, past: bool = True) -> None:
        id_ = str(90_080_300_000_000_000 + self.number("view_comment"))
        at = self.past() if past else self.moment()
        made = shape.comment(id_, f"Na conversa {id_[-3:]}", self.some_user(view["_team"])["id"], at)
        self.put("view_comment", {**made, "_view": view["id"]})

    def add_attachment(self, task: Object, *, past: bool = False) -> None:
        id_ = f"{self.key('attachment')}.png"
        at = self.past() if past else self.moment()
        user = self.some_user(task["_team"])["id"]
        self.put("attachment", shape.attachment(id_, task["id"], user, at, self.number("size")))

    def add_checklist(self, task: Object) -> None:
        items = [shape.checklist_item(self.key("item"), number, int(task["date_created"])) for number in range(3)]
        items[1]["children"] = [shape.checklist_item(self.key("item"), 0, int(task["date_created"]), items[1]["id"])]
        task["_checklists"].append(shape.checklist(self.key("checklist"), task, items))

    def link(self, task: Object, other: Object, user: int) -> None:
        at = self.past()
        if self._dice.random() < 0.5:
            self.put("dependency", shape.dependency(f"{task['id']}/{other['id']}", task, other, user, at))
        else:
            self.put("link", shape.link(f"{task['id']}/{other['id']}", task, other, user, at))

    def add_time_entry(self, seconds_ago: int) -> Object:
        task = self.some("task")
        assert task is not None
        # Whoever is new tracks no time yet: entries of people that left cannot be asked for.
        staff = [id_ for id_ in self.things["team"][task["_team"]]["_members"] if id_ < NEWCOMERS]
        user = self._dice.choice(staff)
        id_ = str(1_963_465_985_517_000_000 + self.number("entry"))
        start = (self.now - seconds_ago) * 1000
        made = shape.time_entry(id_, task, user, start, self._dice.randrange(5, 240) * 60_000, self.number("form"))
        entry = self.put("entry", made)
        self.add_history(entry, "start", start)
        return entry

    def add_history(self, entry: Object, field: str, at: int) -> None:
        shown = shape.history(f"{entry['id'][-9:]}{self.number('history')}", field, None, str(at), at, entry["_user"])
        self.put("history", {"id": shown["id"], "_entry": entry["id"], "_shown": shown})

    def add_goal(self, team: str, folder: str | None) -> Object:
        goal = self.put(
            "goal", shape.goal(self.key("goal"), self.number("goal"), team, self.some_user(team), self.past(), folder)
        )
        for number in range(2):
            result = shape.key_result(self.key("result"), goal, number, self.past())
            self.put("result", result)
        return goal

    def add_group(self, team: str, name: str) -> Object:
        members = sorted({self.some_user(team)["id"] for _ in range(2)})
        return self.put("group", shape.group(self.key("group"), team, name, self.some_user(team)["id"], self.past(), members))

    def add_template(self, team: str, kind: str, number: int) -> None:
        id_ = f"t-{self.number('template')}"
        self.put("template", {"id": id_, "name": f"Modelo {number}", "_team": team, "_kind": kind})

    def add_view(self, level: str, place: str, kind: int, type_: str = "list") -> Object:
        team = place if level == "team" else self.team_of(level, self.things[level][place])
        id_ = f"3c-{self.number('view')}"
        made = shape.view(id_, place, kind, type_, self.some_user(team)["id"], self.past(), self.number("order"))
        return self.put("view", {**made, "_level": level, "_level_id": place, "_team": team})

    def add_doc(self, team: str, number: int) -> Object:
        user = self.some_user(team)["id"]
        id_ = f"8cd{self.number('doc'):04d}"
        made = shape.doc(id_, team, f"Manual {number}", user, self.past(), archived=number == 1)
        doc = self.put("doc", made)
        for name in ("Início", "Processo"):
            page = self.add_page(doc, name, None)
            self.add_page(doc, f"{name}: detalhe", page["id"])
        return doc

    def add_page(self, doc: Object, name: str, parent: str | None) -> Object:
        id_ = f"{doc['id']}-{self.number('page')}"
        return self.put("page", shape.page(id_, doc, name, parent, int(doc["date_created"]) + 5_000))

    def add_channel(self, team: str) -> Object:
        id_ = f"4-{self.number('channel')}-8"
        channel = self.put(
            "channel", shape.channel(id_, team, self.some_user(team)["id"], self.past() // 1000, self.number("form"))
        )
        channel["_members"] = sorted({self.some_user(team)["id"] for _ in range(3)})
        for _ in range(4 + self._dice.randrange(4)):
            self.add_message(channel, past=True)
        return channel

    def add_message(self, channel: Object, *, past: bool = False) -> Object:
        id_ = str(80_040_000_000_000 + self.number("message"))
        at = self.past() if past else self.moment()
        team = channel["workspace_id"]
        message = self.put("message", shape.message(id_, channel["id"], self.some_user(team)["id"], at, f"Olá {id_[-4:]} 👋"))
        for _ in range(self._dice.choice((0, 0, 1))):
            reply = str(80_040_900_000_000 + self.number("message_reply"))
            made = shape.message(reply, channel["id"], self.some_user(team)["id"], at + 30_000, "Combinado")
            self.put("message_reply", {**made, "parent_message": id_})
        newest = shape.iso(max(each["date"] for each in self.all("message", lambda m: m["parent_channel"] == channel["id"])))
        channel["latest_comment_at"] = channel["updated_at"] = newest
        return message

    def log_audit(self, team: str, event: str, at: int, **data: Any) -> None:
        id_ = self.key("audit")
        self.put("audit", shape.audit(id_, team, event, self.some_user(team), at, data))

    # What happens

    def new_work(self) -> None:
        for _ in range(1 + round(2 * self.scale)):
            place = self.some("list", lambda each: not each["archived"])
            if place:
                task = self.add_task(place)
                self.add_comment(task)
                self.log_audit(task["_team"], "TASK_CREATED", self.moment(), taskId=task["id"])
                self.add_task(place, parent=task)
        for _ in range(2 + round(4 * self.scale)):
            self.add_time_entry(self._dice.randrange(HOUR, 20 * HOUR))

    def change_tasks(self) -> None:
        for change in (
            self._move_on, self._reassign, self._retag, self._revalue, self._comment, self._archive, self._attach,
            self._move_list, self._check,
        ):  # fmt: skip
            task = self.some("task", lambda each: not each["archived"])
            if task:
                change(task)
                self.touch(task)

    def _move_on(self, task: Object) -> None:
        task["_minutes"][task["_status"]] = task["_minutes"].get(task["_status"], 0) + 90
        task["_status"] = (task["_status"] + 1) % 3
        task["_minutes"].setdefault(task["_status"], 1)
        task["date_closed"] = task["date_done"] = self.moment() if task["_status"] == 2 else None

    def _reassign(self, task: Object) -> None:
        task["_assignees"] = [self.some_user(task["_team"])["id"]] if not task["_assignees"] else task["_assignees"][1:]
        task["_members"] = sorted({*task["_members"], self.some_user(task["_team"])["id"]})

    def _retag(self, task: Object) -> None:
        space = self.things["list"][task["_list"]]["_space"]
        tags = self.all("tag", lambda tag: tag["_space"] == space)
        task["_tags"] = task["_tags"][1:] if task["_tags"] else [self._dice.choice(tags)["id"]] if tags else []

    def _revalue(self, task: Object) -> None:
        fields = self.fields_of(self.things["list"][task["_list"]])
        for number, field in enumerate(fields):
            if number % 2 and task["_values"].pop(field["id"], None) is None:
                task["_values"][field["id"]] = shape.value_of(field, self._dice, self.some_user(task["_team"]), task)

    def _comment(self, task: Object) -> None:
        self.add_comment(task)
        edited = self.some("comment", lambda each: each["_task"] in self.things["task"])
        gone = self.some("comment", lambda each: each is not edited and each["_task"] in self.things["task"])
        if edited:
            edited |= {"resolved": True, "comment_text": "Editado", "comment": [{"text": "Editado"}]}
            self.touch(self.things["task"][edited["_task"]])
        if gone:
            self.drop("comment", lambda each: each is gone)
            self.drop("reply", lambda each: each["_comment"] == gone["id"])
            self.touch(self.things["task"][gone["_task"]])

    def _archive(self, task: Object) -> None:
        task["archived"] = True

    def _attach(self, task: Object) -> None:
        self.add_attachment(task)
        gone = self.some("attachment", lambda each: each["parent_id"] in self.things["task"])
        if gone:
            self.drop("attachment", lambda each: each is gone)
            self.touch(self.things["task"][gone["parent_id"]])

    def _move_list(self, task: Object) -> None:
        other = self.some(
            "list",
            lambda each: not each["archived"] and self.team_of("list", each) == task["_team"] and each["id"] != task["_list"],
        )
        if other:
            task["_list"] = other["id"]

    def _check(self, task: Object) -> None:
        with_lists = self.some("task", lambda each: any(one["items"] for one in each["_checklists"][:1]))
        if with_lists:
            with_lists["_checklists"][0]["items"].pop()
            self.touch(with_lists)
        self.add_checklist(task)

    def delete_task(self, task: Object | None = None) -> None:
        """With all that hangs on it. Only the audit log and a webhook ever say so."""
        task = task or self.some("task", lambda each: not self.all("task", lambda child: child["parent"] == each["id"]))
        if task is None:
            return
        id_ = task["id"]
        self.drop("task", lambda each: each["id"] == id_ or each["parent"] == id_)
        left = self.things["task"]
        for comment in self.drop("comment", lambda each: each["_task"] not in left):
            self.drop("reply", lambda each: each["_comment"] == comment["id"])  # noqa: B023 - used at once
        self.drop("attachment", lambda each: each["parent_id"] not in left)
        for kind, ends in (("dependency", ("task_id", "depends_on")), ("link", ("task_id", "link_id"))):
            self.drop(kind, lambda each: any(each[end] not in left for end in ends))  # noqa: B023 - used at once
        for field in self.all("field", lambda each: each["type"] == "tasks"):
            for each in left.values():
                if any(value["id"] not in left for value in each["_values"].get(field["id"], [])):
                    each["_values"].pop(field["id"])
        self.log_audit(task["_team"], "TASK_DELETED", self.moment(), taskId=id_)
        self.tell("taskDeleted", task["_team"], task_id=id_)

    def change_time(self) -> None:
        old = self.all("entry", lambda each: each["_start"] < self.started * 1000)
        if len(old) > 3:
            edited, gone = old[-1], old[self._dice.randrange(len(old) - 1)]
            edited |= {"duration": str(int(edited["duration"]) + 60_000), "billable": True, "at": str(self.moment())}
            self.add_history(edited, "duration", self.moment())
            self.drop("entry", lambda each: each is gone)

    def reorganise(self) -> None:
        """Places come, change and go."""
        space = self.some("space", lambda each: not each["archived"] and each["_team"] == "9000100")
        if space is None:
            return
        space["color"] = f"#{self._dice.randrange(16**6):06x}"
        folder = self.add_folder(space["id"], f"Cliente novo {self.number('client')}")
        self.add_task(self.add_list(space["id"], folder["id"], "Backlog"))
        self.add_task(self.add_list(space["id"], None, f"Avulsa {self.number('loose')}"))
        renamed = self.some("list", lambda each: not each["archived"])
        if renamed:
            renamed["name"] += " (revista)"
        archived = self.some("list", lambda each: not each["archived"] and each["_folder"] is not None)
        if archived:
            archived["archived"] = True
        own = {each["_level_id"] for each in self.all("field")}
        doomed = self.some(
            "folder", lambda each: each["_space"] == space["id"] and each is not folder and each["id"] not in own
        )
        if doomed:
            self.delete_place("folder", doomed["id"])
        loose = self.some("list", lambda each: each["_folder"] is None and each["_space"] == space["id"] and each["archived"])
        if loose:
            self.delete_place("list", loose["id"])
        tag = self.some("tag", lambda each: each["_space"] == space["id"])
        if tag:
            self.delete_tag(tag)
        self.put(
            "tag", shape.tag(f"{space['id']}/n{self.now}", space["id"], f"novo {self.now}", self.some_user("9000100")["id"])
        )

    def delete_tag(self, tag: Object) -> None:
        """Tasks lose it, and their date does not move."""
        self.drop("tag", lambda each: each is tag)
        for task in self.all("task"):
            task["_tags"] = [each for each in task["_tags"] if each != tag["id"]]

    def delete_place(self, kind: str, id_: str) -> None:
        """A space, folder or list with all in it."""
        owner = {"space": "_space", "folder": "_folder"}
        team = self.team_of(kind, self.things[kind][id_])
        self.tell(f"{kind}Deleted", team, **{f"{kind}_id": id_})
        self.drop(kind, lambda each: each["id"] == id_)
        if kind == "space":
            self.drop("folder", lambda each: each["_space"] == id_)
            self.drop("tag", lambda each: each["_space"] == id_)
        if kind != "list":
            self.drop("list", lambda each: each[owner[kind]] == id_)
        left = self.things["list"]
        for task in self.all("task", lambda each: each["_list"] not in left):
            if task["id"] in self.things["task"]:
                self.delete_task(task)
        for task in self.all("task"):
            task["_locations"] = [each for each in task["_locations"] if each in left]
        self.drop("list_comment", lambda each: each["_list"] not in left)
        for what in ("view", "field"):
            self.drop(what, lambda each: each["_level_id"] not in self.things[each["_level"].replace("workspace", "team")])

    def redefine(self) -> None:
        """Fields and options change, and the date of the tasks that show them does not move."""
        field = next((each for each in self.all("field", lambda each: each["type"] == "drop_down")), None)
        if field:
            options = field["type_config"]["options"]
            options[0]["name"] += " ✔"
            options.append(shape.option(self.key("option"), f"Opção {self.number('choice')}", len(options)))
        doomed = self.all("field", lambda each: each["type"] == "short_text")
        if len(doomed) > 1:
            self.drop("field", lambda each: each is doomed[-1])
            for task in self.all("task"):
                task["_values"].pop(doomed[-1]["id"], None)
        self.add_field("space", f"Campo {self.number('extra')}", "short_text", {})

    def change_the_rest(self) -> None:
        """One thing of every other kind comes, one changes, one goes."""
        team = "9000100"
        goal = self.some("goal", lambda each: each["team_id"] == team)
        if goal:
            goal |= {"percent_completed": 60, "date_updated": str(self.moment()), "last_update": str(self.moment())}
            result = self.some("result", lambda each: each["goal_id"] == goal["id"])
            if result:
                result |= {"percent_completed": 0.6, "completed": False}
            doomed = self.some("goal", lambda each: each is not goal)
            if doomed:
                self.drop("goal", lambda each: each is doomed)
                self.drop("result", lambda each: each["goal_id"] == doomed["id"])
        self.add_goal(team, None)
        group = self.some("group")
        if group:
            group["_members"] = group["_members"][1:]
        self.add_group(team, f"Squad {self.number('squad')}")
        for kind in ("template", "time_tag", "role", "task_type", "shared"):
            some = self.all(kind)
            if len(some) > 3:
                self.drop(kind, lambda each: each is some[0])  # noqa: B023 - used at once
        self.add_template(team, "list_templates", self.number("n"))
        self.put("shared", shape.shared(team, "list", self.key("shared"), self.number("shared")))
        self.put("time_tag", shape.time_tag(team, f"etiqueta {self.number('n')}", self.some_user(team)["id"]))
        self.put("task_type", shape.task_type(team, 1_400 + self.number("n"), "Novo tipo"))
        self.put("role", shape.role(self.number("role") + 400, team, "Outro papel", self.moment(), []))
        for hook in self.all("webhook"):
            hook["health"]["fail_count"] += 1
        views = self.all("view", lambda each: each["type"] == "list" and each["_team"] == team)
        if views:
            self.drop("view", lambda each: each is views[0])
            views[-1]["name"] += " (nova)"
        self.add_view("team", team, 7)
        chat = self.some("view", lambda each: each["type"] == "conversation")
        if chat:
            self.add_view_comment(chat, past=False)
            oldest = self.all("view_comment", lambda each: each["_view"] == chat["id"])[0]
            self.drop("view_comment", lambda each: each is oldest)
        doc = self.some("doc", lambda each: not each["deleted"])
        if doc:
            pages = self.all("page", lambda each: each["doc_id"] == doc["id"] and each["parent_page_id"] is not None)
            if pages:
                pages[0] |= {"content": "# Revisto", "date_updated": self.moment()}
                self.drop("page", lambda each: each is pages[-1])
            self.add_page(doc, f"Anexo {self.number('n')}", None)
            doc["date_updated"] = self.moment()
        old = self.some("doc", lambda each: not each["deleted"] and each is not doc)
        if old:
            old |= {"deleted": True, "date_deleted": self.moment(), "deleted_by": self.some_user(team)["id"]}
        self.add_doc(team, self.number("n") + 10)
        channel = self.some("channel")
        if channel:
            self.add_message(channel)
            channel["_members"] = channel["_members"][1:]
        self.add_channel(team)
        comment = self.some("list_comment")
        if comment:
            comment["resolved"] = True
        for list_ in self.all("list")[:1]:
            self.add_list_comment(list_["id"])
        self.people_come_and_go(team)
        for each in self.all("team"):
            self.log_audit(each["id"], "USER_LOGIN", self.moment())

    def people_come_and_go(self, team: str) -> None:
        members = self.things["team"][team]["_members"]
        members.append(self.add_user(self.number("newcomer") + 40)["id"])
        leaver = next(id_ for id_ in members if id_ >= NEWCOMERS)
        members.remove(leaver)
        for group in self.all("group"):
            group["_members"] = [each for each in group["_members"] if each != leaver]
        self.things["user"][str(members[0])]["last_active"] = str(self.moment())


CHORES: tuple[tuple[Callable[[World], None], ...], ...] = (
    (World.new_work, World.change_tasks),
    (World.reorganise, World.delete_task),
    (World.redefine, World.change_tasks, World.change_time),
    (World.change_the_rest, World.new_work),
)
"""What is done at midnight, six, noon and six in the evening."""

FIELDS: tuple[tuple[str, str, str, Object], ...] = (
    ("workspace", "Prioridade comercial", "drop_down", shape.options("drop_down", "Alta", "Média", "Baixa")),
    ("workspace", "Valor", "currency", {"precision": 2, "currency_type": "BRL"}),
    ("space", "Áreas", "labels", shape.options("labels", "Design", "Código", "Vendas")),
    ("space", "Entrega", "date", {}),
    ("space", "Observação", "short_text", {}),
    ("space", "Rascunho", "short_text", {}),
    ("space", "Página", "url", {}),
    ("folder", "Responsáveis", "users", {}),
    ("folder", "Relacionadas", "tasks", {}),
    ("folder", "Nota", "emoji", {"count": 5, "code_point": "2b50"}),
    ("folder", "Local", "location", {}),
    ("list", "Avanço", "manual_progress", {"start": 0, "end": 100}),
    ("list", "Aprovado", "checkbox", {}),
    ("list", "Horas", "number", {}),
)
"""Level, name, type and definition of the custom fields."""
