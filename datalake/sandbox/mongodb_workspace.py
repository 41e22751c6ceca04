"""A made-up Rocket.Chat workspace: its documents as they lie in MongoDB, and what happens to them as days pass.

The state is plain data from a seed. Writing it into a server lives in `mongodb`.
"""

from __future__ import annotations

import datetime as dt
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bson import Int64, ObjectId

from datalake.model import Source, Table
from datalake.sandbox.fill import Filler, company, person

Document = dict[str, Any]

COUNTS = {
    "users": 60, "rooms": 50, "messages": 1200, "subscriptions": 300, "statistics": 60, "sessions": 300, "teams": 8,
    "team_members": 40, "livechat_visitors": 80, "livechat_contacts": 80, "livechat_inquiries": 40, "livechat_departments": 8,
    "livechat_department_agents": 24, "livechat_agent_activity": 90, "trash": 12, "permissions": 90, "settings": 120,
    "uploads": 80, "read_receipts": 200, "server_events": 90, "integration_history": 60,
}  # fmt: skip
"""Documents of each table at scale 1; of all others there are `FEW`."""
FEW = 20
FEWEST = 6
GROWTH, CHANGE, LOSS = 0.04, 0.05, 0.02
"""Share of a table that is written, changed and deleted in a day."""
UNCHANGING = {"statistics", "read_receipts", "server_events", "trash"}
TRASH_DAYS = 30
LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Write:
    """One write: the document as it is afterwards, or None where it was deleted. `before` is None where it was inserted."""

    table: Table
    id: Any
    before: Document | None
    after: Document | None


@dataclass
class Workspace:
    """All documents by table and `_id`, also those that are gone."""

    source: Source
    seed: int
    scale: float
    now: int
    living: dict[str, dict[Any, Document]] = field(default_factory=dict)
    gone: dict[str, dict[Any, Document]] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=dict)
    _chance: random.Random = field(init=False)
    _filler: Filler = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._filler = Filler(self.source, self.seed, self.now, lambda _column, seconds: self._date(seconds))
        self.living = {name: {} for name in self.source.tables}
        self.gone = {name: {} for name in self.source.tables}
        for table in self._referred_first():
            wanted = max(FEWEST, round(COUNTS.get(table.name, FEW) * self.scale))
            for _ in range(wanted):
                self._insert(table, self.now - self._chance.randrange(1, 300 * 86_400))

    def pass_days(self, seconds: int) -> Iterator[Write]:
        """Let time pass: documents come, change and go in every table."""
        until = self.now + seconds
        while self.now < until:
            step = min(86_400, until - self.now)
            self.now += step
            yield from self._day(step / 86_400)

    def _day(self, share: float) -> Iterator[Write]:
        for table in self._referred_first():
            if table.name == "trash":
                continue
            documents = self.living[table.name]
            for _ in range(max(1, round(len(documents) * GROWTH * share))):
                document = self._insert(table, self.now - self._chance.randrange(3600))
                yield Write(table, document["_id"], None, document)
            if table.name not in UNCHANGING:
                for id_ in self._some(documents, CHANGE * share):
                    before = documents[id_]
                    documents[id_] = self._changed(table, before)
                    yield Write(table, id_, before, documents[id_])
            for id_ in self._some(documents, LOSS * share):
                yield from self._delete(table, id_)
        yield from self._empty_trash()

    def _some(self, documents: dict[Any, Document], share: float) -> list[Any]:
        return self._chance.sample(list(documents), min(len(documents), max(1, round(len(documents) * share))))

    def _insert(self, table: Table, at: int) -> Document:
        number = self._made[table.name] = self._made.get(table.name, 0) + 1
        document = self._document(table, number, at)
        self.living[table.name][document["_id"]] = document
        self.gone[table.name].pop(document["_id"], None)
        return document

    def _delete(self, table: Table, id_: Any) -> Iterator[Write]:
        """Rocket.Chat writes a copy into the trash first, of most collections."""
        before = self.living[table.name].pop(id_)
        if "rocketchat__trash" in table.deletes:
            trash, copied = self.source.tables["trash"], self._copy(table, before)
            old = self.living["trash"].get(id_)
            self.living["trash"][id_] = copied
            yield Write(trash, id_, old, copied)
        self.gone[table.name][id_] = before
        yield Write(table, id_, before, None)

    def _copy(self, table: Table, document: Document) -> Document:
        return document | {"_deletedAt": self._date(self.now), "__collection__": table.path.removeprefix("rocketchat_")}

    def _empty_trash(self) -> Iterator[Write]:
        """The trash keeps 30 days; of the sandbox's it loses at least one document a day, so that a loss can be seen."""
        trash, kept_from = self.source.tables["trash"], self._date(self.now - TRASH_DAYS * 86_400)
        by_age = sorted(self.living["trash"].values(), key=lambda document: (document["_deletedAt"], str(document["_id"])))
        for place, document in enumerate(by_age):
            if document["_deletedAt"] < kept_from or place == 0:
                self.gone["trash"][document["_id"]] = self.living["trash"].pop(document["_id"])
                yield Write(trash, document["_id"], document, None)

    # Documents

    def _document(self, table: Table, number: int, at: int) -> Document:
        if table.name == "trash":
            messages = self.source.tables["messages"]
            return self._copy(messages, self._document(messages, 1_000_000 + number, at)) | {
                "_deletedAt": self._date(self.now - number * 86_400)
            }
        known: Document = {"_id": self._id(table, number)}
        for column in table.columns:
            if column.refers and column.refers[0] == self.source.name:
                known[column.name] = self._referred(table, column.refers[1])
            elif column.type.kind == "timestamp" and column.field in (("ts",), ("createdAt",), ("_createdAt",)):
                known[column.name] = self._date(at)
            elif column.field == ("_updatedAt",):
                known[column.name] = self._date(at + 60)
            elif column.name in ("u", "created_by"):
                someone = person(number % 60)
                known[column.name] = {"_id": None, "username": someone.email.partition("@")[0], "name": someone.name}
        document = self._filler.record(table, number, **known)
        for path in table.secrets:
            _put(document, path.split("."), f"SECRET of {table.name} {number}")
        if special := _SPECIAL.get(table.name):
            document |= special(self, number, at)
        # MongoDB leaves out what has no value more often than it holds null.
        return {name: value for name, value in document.items() if value is not None or number % 3 == 0}

    def _changed(self, table: Table, before: Document) -> Document:
        """The document with some fields as of another one, and its update field of now."""
        number = self._made[table.name] = self._made[table.name] + 1
        other = self._document(table, number, self.now)
        kept = {column.field[0] for column in table.columns if column.refers or column.field in (("ts",), ("createdAt",))}
        names = [name for name in other if name not in kept | {"_id"}]
        changed = {name: other[name] for name in self._chance.sample(names, max(1, len(names) // 4))}
        after = before | changed
        if "_updatedAt" in before:
            written = self._date(self.now - self._chance.randrange(600))
            after["_updatedAt"] = max(written, before["_updatedAt"] + dt.timedelta(milliseconds=1))
        return after

    def _id(self, table: Table, number: int) -> str:
        """Seventeen letters and digits as Meteor makes them, or 24 hexadecimal digits as text; some have a meaning."""
        chance = random.Random(f"{self.seed}/{table.name}/{number}")
        if table.name == "rooms" and number == 1:
            return "GENERAL"
        if table.name in ("settings", "permissions"):
            return f"{chance.choice(('Accounts', 'FileUpload', 'Livechat', 'Message'))}_Option_{number}"
        if number % 4 == 0:
            return f"{chance.getrandbits(96):024x}"
        return "".join(chance.choice(LETTERS) for _ in range(17))

    def _referred(self, table: Table, name: str) -> str | None:
        others = self.living[name]
        if name == table.name and self._chance.random() < 0.8:
            return None
        return self._chance.choice(list(others)) if others else None

    def _date(self, seconds: int) -> dt.datetime:
        """BSON dates have milliseconds."""
        return dt.datetime.fromtimestamp(seconds, dt.UTC) + dt.timedelta(milliseconds=seconds % 1000)

    def _referred_first(self) -> list[Table]:
        """Tables, those that others point at before the ones that do."""
        ordered: dict[str, Table] = {}

        def add(table: Table, path: tuple[str, ...] = ()) -> None:
            for column in table.columns:
                if column.refers and column.refers[1] not in (*path, *ordered, table.name):
                    add(self.source.tables[column.refers[1]], (*path, table.name))
            ordered.setdefault(table.name, table)

        for table in self.source.tables.values():
            add(table)
        return list(ordered.values())


def _put(document: Document, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(document.get(name), dict):
            document[name] = {}
        document = document[name]
    document[path[-1]] = value


def _user(_workspace: Workspace, number: int, at: int) -> Document:
    """The fields that must never leave the server, in their true form."""
    token = {
        "when": dt.datetime.fromtimestamp(at, dt.UTC),
        "hashedToken": f"SECRET-token-{number}",
        "type": "personalAccessToken",
    }
    return {
        "services": {
            "password": {"bcrypt": f"$2b$10$SECRET-{number}"},
            "resume": {"loginTokens": [token]},
            "totp": {"enabled": True, "secret": f"SECRET-totp-{number}"},
        },
        "e2e": {"public_key": "key", "private_key": f"SECRET-key-{number}"},
    }


def _message(workspace: Workspace, number: int, at: int) -> Document:
    size = Int64(number * 1_000) if number % 2 else Int64(5_000_000_000 + number)
    return {
        "msg": f'Olá! "Pedido" nº {number}:\n{company(number % 40).name} — 😀',
        "attachments": [
            {"ts": workspace._date(at), "image_size": size, "ref": ObjectId(f"{number:024x}"), "ratio": number / 8}
        ],
        "urls": [],
    }


def _statistics(workspace: Workspace, number: int, at: int) -> Document:
    """Some of its dates are text in some documents."""
    date = workspace._date(at)
    return {
        "installedAt": date.isoformat() if number % 3 == 0 else date,
        "totalMessages": Int64(number),
    }


_SPECIAL: dict[str, Callable[[Workspace, int, int], Document]] = {
    "users": _user,
    "messages": _message,
    "statistics": _statistics,
}
