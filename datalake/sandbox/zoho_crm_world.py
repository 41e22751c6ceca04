"""The records of one organisation on the Zoho stand-in, its clock, and what happens day by day. Answers live in `zoho_crm`.

The same seed, scale and start give the same organisation. Every day has dice of its own, so it does not matter in how many
steps time passes.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from datalake import contracts
from datalake.model import Table, Type
from datalake.sandbox.base import Row
from datalake.sandbox.fill import Filler, cnpj, cpf, person
from datalake.sandbox.zoho_crm_org import (
    CUSTOM_FIELDS,
    CUSTOM_MODULES,
    LATER_FIELDS,
    LATER_MODULE,
    SUBFORMS,
    SYSTEM_FIELDS,
    Module,
    Object,
    api_name,
    contract_fields,
    custom_fields,
    display_field,
    moment,
    stamp,
    standard,
)

DAY = 86_400
FIRST_ID = 5_123_456_000_000_000_000
SIZES = {
    "accounts": 120, "contacts": 200, "leads": 260, "deals": 70, "campaigns": 10, "products": 50, "price_books": 6,
    "quotes": 22, "sales_orders": 18, "invoices": 22, "purchase_orders": 12, "tasks": 120, "events": 40, "calls": 90,
    "notes": 90, "cases": 40, "vendors": 20, "solutions": 20, "services": 8, "appointments": 20,
    "appointments_rescheduled_history": 10, "consents": 30, "data_subject_requests": 10,
}  # fmt: skip
"""Records of each standard module at scale 1."""
CUSTOM_SIZE = 24
SETTLED = 5
"""Days after its last change from which a record may be deleted."""
STAGES = ("Qualificação", "Proposta", "Negociação", "Fechado ganho", "Fechado perdido")
CHOICES = ("Alta", "Média", "Baixa")
EVERY_MODULE = ("layouts", "custom_views", "related_lists", "tags", "assignment_rules")
"""Settings that each module has some of."""
OF_A_RECORD = {
    "campaign_contacts": "Campaigns",
    "campaign_leads": "Campaigns",
    "deal_contact_roles": "Deals",
    "deal_stage_history": "Deals",
    "attachments": "Deals",
    "record_timeline": "Deals",
    "record_emails": "Contacts",
    "event_participants": "Events",
}
"""Lists that hang on records, with the module of the records."""
MEMBERS = {"campaign_contacts": "Contacts", "deal_contact_roles": "Contacts", "campaign_leads": "Leads"}
"""Lists whose rows are records themselves."""
HISTORIES = ("deal_stage_history", "record_timeline")
LEFT_ALONE = ("Tag", "Name", "Full_Name", "Currency")
STEADY = ("modules", "organization", "user_territories", "fiscal_year", "business_hours", "layouts", "users")
"""Settings of which nothing comes or goes day by day."""
REFERRED_TO = ("roles", "profiles", "territories", "scoring_rules", "currencies")
"""Settings of which nothing goes: records name them."""
TAGGED = ("Deals", "Accounts", "Contacts", "Leads")


class World:
    """One organisation. `lists` holds settings by table and scope (module, layout, user), `related` what hangs on records."""

    def __init__(self, seed: int, scale: float, now: int) -> None:
        self.source = contracts.load_source("zoho_crm")
        self.seed, self.scale, self.now, self.started = seed, scale, now, now
        self.filler = Filler(self.source, seed, now, moment)
        self.org_id = "700123456"
        self.modules: dict[str, Module] = {}
        self.lists: dict[str, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))
        self.gone: dict[str, list[Row]] = defaultdict(list)
        """Rows that no answer shows any more, by table."""
        self.related: dict[str, dict[str, list[Object]]] = defaultdict(lambda: defaultdict(list))
        self._ids = 0
        self._numbers: dict[str, int] = defaultdict(int)
        self._like: dict[str, Object] = {}
        """A description of a field of each data type: a field differs from it by what tells it apart."""
        self._days = 0
        self._touched: dict[str, int] = {}
        """The day on which a record came or changed. Nothing is deleted soon after: somebody must have read it before."""
        self._found()

    # How it begins

    def _found(self) -> None:
        dice = random.Random(f"{self.seed}/start")
        for table in self.source.tables.values():
            if table.rows == "full_list" and "{" not in table.path and table.name != "modules":
                for _ in range(1 if table.name in ("organization", "fiscal_year", "business_hours") else 4):
                    self._setting(table, "")
        self._link_settings(dice)
        for table in standard(self.source):
            self._module(api_name(table), table.name.replace("_", " ").title(), "default", table)
        for name, (label, kind, _) in CUSTOM_MODULES.items():
            self._module(name, label, kind, None)
        for module in list(self.modules.values()):
            self._describe(module)
        for module in self.modules.values():
            size = SIZES[module.table.name] if module.table else CUSTOM_SIZE
            for _ in range(max(4, round(size * self.scale))):
                self.add(module, dice, self.now - dice.randrange(DAY, 300 * DAY))
        for table_name, parent in OF_A_RECORD.items():
            for id_ in self.modules[parent].records:
                self._hang(table_name, parent, id_, dice, dice.randrange(4))
        self._scores(dice)
        for module in self.modules.values():
            doomed = list(module.records)[:: max(4, len(module.records) // 2)][:2]
            for id_ in doomed[1:]:
                self.delete(module, id_, self.now - dice.randrange(3600, 50 * DAY))
                for table_name in HISTORIES:  # nobody can have read them
                    self.related[table_name].pop(id_, None)

    def _setting(self, table: Table, scope: str, **known: Any) -> Object:
        id_ = self.id()
        record = self.filler.record(table, self._number(table.name), id=id_, **known)
        if table.name == "organization":
            record["zgid"] = self.org_id
            record["license_details"] = {**(record["license_details"] or {}), "paid_type": "enterprise"}
        if table.name == "assignment_rules":
            for by in filter(None, (record["created_by"], record["modified_by"])):
                by["zuid"] = 6_000_000 + self._number("zuid")
        if table.name == "currencies":
            record["exchange_rate"] = "1.000000000"
        self.lists[table.name][scope][id_] = record
        return record

    def _link_settings(self, dice: random.Random) -> None:
        """References among the settings."""
        users = list(self.lists["users"][""].values())
        for number, user in enumerate(users):
            someone = person(number)
            user |= {
                "full_name": someone.name,
                "email": someone.email,
                "status": "active",
                "Modified_Time": stamp(self.now - DAY),
            }
            user["profile"] = self._named(dice.choice(list(self.lists["profiles"][""].values())), "name")
            user["role"] = self._named(dice.choice(list(self.lists["roles"][""].values())), "name")
        for role in self.lists["roles"][""].values():
            role["reporting_to"] = None
        for territory in self.lists["territories"][""].values():
            territory["manager"] = self._named(users[0], "full_name")
        for rate, currency in zip((1.0, 5.43, 6.17, 0.0039), self.lists["currencies"][""].values(), strict=False):
            currency["exchange_rate"] = f"{rate:.9f}"
        table = self.source.tables["user_territories"]
        for user in users:
            for territory in dice.sample(list(self.lists["territories"][""].values()), 2):
                member = self.filler.record(table, self._number(table.name), id=territory["id"], name=territory["name"])
                self.lists["user_territories"][user["id"]][territory["id"]] = member

    @staticmethod
    def _named(record: Object, name: str) -> Object:
        return {"name": record[name], "id": record["id"]}

    def _module(self, name: str, label: str, kind: str, table: Table | None) -> Module:
        described = self.filler.record(
            self.source.tables["modules"],
            self._number("modules"),
            id=self.id(),
            api_name=name,
            module_name=label,
            plural_label=label,
            singular_label=label,
            generated_type=kind,
            api_supported=True,
            viewable=True,
            visible=True,
            status="visible",
            deletable=True,
        )
        self.lists["modules"][""][described["id"]] = described
        made = self.modules[name] = Module(described, [], table)
        return made

    def _describe(self, module: Module) -> None:
        """Its fields, and the settings that every module has some of."""
        name = module.name
        if module.table is not None:
            made = [*contract_fields(self.source, module.table), *((*each, "") for each in CUSTOM_FIELDS.get(name, ()))]
            own = len(made) - len(CUSTOM_FIELDS.get(name, ()))
        else:
            specs = {**CUSTOM_MODULES, LATER_MODULE[0]: LATER_MODULE[1]}[name]
            made, own = list(custom_fields(specs[2], linking=specs[1] == "linking")), 0
        for number, (field, label, kind, target) in enumerate(made):
            self.add_field(module, field, label, kind, target, custom=number >= own and field not in SYSTEM_FIELDS)
        if name in SUBFORMS:
            self.add_field(module, SUBFORMS[name][0], SUBFORMS[name][0], "subform", "", custom=False)
        shown = display_field(name, module.fields)
        module.described["display_field"] = {"api_name": shown, "id": next(
            each["id"] for each in module.fields if each["api_name"] == shown
        )}  # fmt: skip
        for table_name in EVERY_MODULE:
            for number in range(2):
                self._setting(self.source.tables[table_name], name, name=f"{name} {number}")
        if name == "Deals":
            for layout in self.lists["layouts"][name]:
                for _ in range(2):
                    self._pipeline(layout)

    def _pipeline(self, layout: str) -> None:
        pipeline = self._setting(self.source.tables["pipelines"], layout)
        stages = self.source.tables["pipeline_stages"]
        pipeline["maps"] = [
            self.filler.record(stages, self._number("pipeline_stages"), id=self.id(), display_value=stage) for stage in STAGES
        ]

    def add_field(self, module: Module, name: str, label: str, kind: str, target: str, *, custom: bool) -> Object:
        """A field as the settings describe it."""
        if kind not in self._like:
            bare: Object = {"default_value": None, "file_upolad_optionlist": [], "allowed_modules": []}
            self._like[kind] = self.filler.record(self.source.tables["fields"], len(self._like), **bare)
        field = copy.deepcopy(self._like[kind]) | {
            "id": self.id(),
            "api_name": name,
            "display_label": label,
            "field_label": label,
            "data_type": kind,
            "custom_field": custom,
            "visible": True,
            "virtual_field": False,
            "type": "used",
            "decimal_place": 2,
            "private": {"restricted": True, "type": "Low", "export": True} if name == "CPF" else None,
            "lookup": {"module": {"api_name": target, "id": self.modules[target].described["id"]}} if target else {},
            "formula": {},
            "rollup_summary": {},
            "view_type": {"view": True, "edit": True, "create": True, "quick_create": False},
            "pick_list_values": [],
        }
        if kind in ("picklist", "multiselectpicklist"):
            values = self.source.tables["field_picklist_values"]
            field["pick_list_values"] = [
                self.filler.record(values, self._number(values.name), id=self.id(), display_value=text, actual_value=text)
                for text in (STAGES if name == "Stage" else CHOICES)
            ]
        module.fields.append(field)
        return field

    # Records

    def id(self) -> str:
        self._ids += 1
        return str(FIRST_ID + self._ids * 1_009)

    def _number(self, table: str) -> int:
        self._numbers[table] += 1
        return self._numbers[table]

    def user(self, dice: random.Random) -> Object:
        user = dice.choice(list(self.lists["users"][""].values()))
        return {"name": user["full_name"], "id": user["id"], "email": user["email"]}

    def add(self, module: Module, dice: random.Random, at: int) -> Object:
        """A new record of a module."""
        id_, owner = self.id(), self.user(dice)
        known: Object = {"id": id_}
        if module.table is not None:
            names = {column.name for column in module.table.columns}
            known |= {name: owner for name in ("owner", "created_by", "modified_by") if name in names}
            known |= {name: stamp(at) for name in ("created_time", "modified_time") if name in names}
            targets = {field["api_name"]: field["lookup"]["module"]["api_name"] for field in module.fields if field["lookup"]}
            known |= {
                column.name: self._shaped(column.type, self._reference(targets[column.field[0]], dice))
                for column in module.table.columns
                if len(column.field) == 1 and column.field[0] in targets
            }
            if "tag" in names:
                known["tag"] = self._tags(module, dice)
            record = self.filler.record(module.table, self._number(module.table.name), **known)
            for field in module.fields:
                value = record.get(field["api_name"])
                if field["data_type"] == "picklist" and value is not None:
                    record[field["api_name"]] = dice.choice(field["pick_list_values"])["display_value"]
                if field["data_type"] == "lookup" and isinstance(value, dict) and value["id"] is None:
                    record[field["api_name"]] = None
        else:
            record = {}
        for field in module.fields:
            if field["api_name"] not in record:
                record[field["api_name"]] = self._custom(field, owner, at, dice)
        record = {"id": id_, **record}
        if module.name == "Leads":
            self._lead(record, dice)
        if module.name in SUBFORMS:
            self._lines(module, record, dice)
        module.records[id_] = record
        if self._days:
            self._touched[id_] = self._days
        return record

    def _lead(self, record: Object, dice: random.Random) -> None:
        record |= {"Converted__s": False, "Converted_Account": None, "Converted_Contact": None, "Converted_Deal": None}
        if dice.random() < 0.2:
            self._convert(record, dice)

    def _convert(self, record: Object, dice: random.Random) -> None:
        record["Converted__s"] = True
        for field, target in (
            ("Converted_Account", "Accounts"),
            ("Converted_Contact", "Contacts"),
            ("Converted_Deal", "Deals"),
        ):
            record[field] = self._reference(target, dice)

    def _reference(self, target: str, dice: random.Random) -> Object | None:
        module = self.modules[target]
        if not module.records or dice.random() < 0.1:
            return None
        id_ = dice.choice(list(module.records))
        return {"name": module.records[id_].get(module.described["display_field"]["api_name"]), "id": id_}

    @staticmethod
    def _shaped(type_: Type, reference: Object | None) -> Object | None:
        return None if reference is None else {name: reference.get(name) for name, _ in type_.fields}

    def _tags(self, module: Module, dice: random.Random) -> list[Object]:
        tags = list(self.lists["tags"][module.name].values())
        chosen = dice.sample(tags, dice.randrange(len(tags) + 1))
        return [{"name": tag["name"], "id": tag["id"], "color_code": tag["color_code"]} for tag in chosen]

    def value(self, field: Object, dice: random.Random) -> Any:
        """A value of a field that somebody adds now."""
        return self._custom(field, self.user(dice), self.now, dice)

    def _custom(self, field: Object, owner: Object, at: int, dice: random.Random) -> Any:
        """The value of a field that no contract names."""
        name, number = field["api_name"], dice.randrange(10_000)
        if name in ("Created_Time", "Modified_Time"):
            return stamp(at)
        if name == "Tag":
            return []
        if name != "Name" and dice.random() < 0.1:
            return None
        if name in ("CNPJ", "CPF"):
            return cnpj(number) if name == "CNPJ" else cpf(number)
        make: dict[str, Callable[[], Any]] = {
            "ownerlookup": lambda: owner,
            "lookup": lambda: self._reference(field["lookup"]["module"]["api_name"], dice),
            "currency": lambda: dice.randrange(1, 10**8) / 100,
            "percent": lambda: dice.randrange(1, 10_000) / 100,
            "integer": lambda: dice.randrange(1, 60),
            "boolean": lambda: dice.random() < 0.5,
            "date": lambda: stamp(at + dice.randrange(100) * DAY)[:10],
            "datetime": lambda: stamp(at + dice.randrange(100) * DAY),
            "email": lambda: person(number % 100).email,
            "multiselectpicklist": lambda: dice.sample(("Português", "Inglês", "Espanhol"), dice.randrange(1, 3)),
            "picklist": lambda: dice.choice(CHOICES),
            "subform": list,
        }
        return make[field["data_type"]]() if field["data_type"] in make else f"{name} {number}"

    def _lines(self, module: Module, record: Object, dice: random.Random) -> None:
        """The rows of a record's subform. Those that were there and are not any more are gone."""
        field, table_name = SUBFORMS[module.name]
        table = self.source.tables[table_name]
        self._lose(table_name, record["id"], record.get(field) or [])
        lines = []
        for place in range(dice.randrange(1, 4)):
            known: Object = {"id": self.id(), "parent_id": self._named(record | {"n": f"{module.name} {record['id']}"}, "n")}
            if any(column.name == "product_name" for column in table.columns):
                product = self._reference("Products", dice)
                quantity, price = dice.randrange(1, 9), dice.randrange(100, 99_999) / 100
                known |= {
                    "product_name": self._shaped(table.column("product_name").type, product),
                    "sequence_number": place + 1,
                }
                known |= {"quantity": quantity, "list_price": price, "total": round(quantity * price, 2)}
                known |= {"price_book_name": self._reference("Price_Books", dice)}
            lines.append(self.filler.record(table, self._number(table_name), **known))
        record[field] = lines

    def _lose(self, table_name: str, parent: str, rows: list[Object]) -> None:
        add = {"org_id": self.org_id, **self._facts(self.source.tables[table_name], parent)}
        self.gone[table_name] += [Row(dict(row), add, deleted=True) for row in rows]

    def _facts(self, table: Table, parent: str) -> Object:
        facts = {column.field[0] for column in table.columns if column.from_request} - {"org_id"}
        module = OF_A_RECORD.get(table.name)
        return {fact: module if fact == "module" and module else parent for fact in facts}

    def _hang(self, table_name: str, parent: str, id_: str, dice: random.Random, count: int) -> None:
        """More rows of a list that hangs on a record."""
        table = self.source.tables[table_name]
        rows = self.related[table_name][id_]
        keys = {row.get("participant") or row.get("id") for row in rows}
        for _ in range(count):
            known: Object = {}
            if target := {"campaign_contacts": "Contacts", "deal_contact_roles": "Contacts", "campaign_leads": "Leads"}.get(
                table_name
            ):
                key = dice.choice(list(self.modules[target].records))
                known = {"id": key, "full_name": self.modules[target].records[key]["Full_Name"]}
            elif table_name == "event_participants":
                key = dice.choice(list(self.modules["Contacts"].records))
                known = {"participant": key, "type": "contact"}
            elif table_name == "record_emails":
                key = f"{id_}.{self._number('message')}@example.com"
                known = {"message_id": key, "owner": self.user(dice)}
            else:
                key = self.id()
                known = {"id": key}
            if key not in keys:
                keys.add(key)
                rows.append(self.filler.record(table, self._number(table_name), **known))
        if table_name == "event_participants" and id_ in self.modules[parent].records:
            self.modules[parent].records[id_]["Participants"] = [dict(row) for row in rows]

    def _scores(self, dice: random.Random) -> None:
        rules = list(self.lists["scoring_rules"][""].values())
        for score in self.lists["entity_scores"][""].values():
            score["Scoring_Rule"] = self._named(dice.choice(rules), "name")

    # What happens

    def delete(self, module: Module, id_: str, at: int) -> None:
        record = module.buried[id_] = module.records.pop(id_)
        module.tombstones[id_] = {
            "deleted_by": self._named(next(iter(self.lists["users"][""].values())), "full_name"),
            "id": id_,
            "display_name": str(record.get(module.described["display_field"]["api_name"])),
            "type": "recycle",
            "created_by": None,
            "deleted_time": stamp(at),
        }

    def update(self, module: Module, record: Object, dice: random.Random, at: int) -> None:
        """Somebody works on a record, and on what hangs on it."""
        self._touched[record["id"]] = self._days
        texts = [
            field["api_name"]
            for field in module.fields
            if field["data_type"] in ("text", "textarea") and field["api_name"] not in LEFT_ALONE
        ]
        for name in dice.sample(sorted(texts), min(2, len(texts))):
            record[name] = f"revisto {self._number('change')}"
        if "Modified_Time" in record:
            record["Modified_Time"] = stamp(at)
        if module.name in SUBFORMS:
            self._lines(module, record, dice)
        if module.name in TAGGED:
            self._retag(module, record, self._tags(module, dice))
        for table_name, parent in OF_A_RECORD.items():
            if parent == module.name:
                self._rehang(table_name, record["id"], dice)

    def _retag(self, module: Module, record: Object, tags: list[Object]) -> None:
        kept = {tag["id"] for tag in tags}
        facts = {"org_id": self.org_id, "module": module.name, "record_id": record["id"]}
        self.gone["record_tags"] += [Row(tag, facts, deleted=True) for tag in record["Tag"] if tag["id"] not in kept]
        record["Tag"] = tags

    def _rehang(self, table_name: str, id_: str, dice: random.Random) -> None:
        rows = self.related[table_name][id_]
        if rows and table_name not in HISTORIES and dice.random() < 0.5:
            self._lose(table_name, id_, [rows.pop(0)])
        self._hang(table_name, OF_A_RECORD[table_name], id_, dice, 1 + dice.randrange(2))

    def advance(self, seconds: int) -> Object:
        """Let time pass, day by day. Tells how much happened."""
        told: dict[str, int] = defaultdict(int)
        until = self.now + seconds
        while self.started + (self._days + 1) * DAY <= until:
            self._days += 1
            self.now = self.started + self._days * DAY
            self._day(random.Random(f"{self.seed}/day {self._days}"), told)
        self.now = until
        return dict(told)

    def _day(self, dice: random.Random, told: dict[str, int]) -> None:
        for module in list(self.modules.values()):
            late = max((record["Modified_Time"] for record in module.records.values() if "Modified_Time" in record), default="")
            for number, id_ in enumerate(
                dice.sample(sorted(module.records), min(len(module.records), 1 + len(module.records) // 50))
            ):
                at = self.now - dice.randrange(60, DAY // 2)
                self.update(module, module.records[id_], dice, at)
                if number == 0 and late:  # stamped before what was seen last
                    module.records[id_]["Modified_Time"] = late
                told["updated"] += 1
            for _ in range(1 + len(module.records) // 100):
                record = self.add(module, dice, self.now - dice.randrange(60, DAY // 2))
                for table_name, parent in OF_A_RECORD.items():
                    if parent == module.name:
                        self._hang(table_name, parent, record["id"], dice, 2)
                told["added"] += 1
            if known := sorted(id_ for id_ in module.records if self._touched.get(id_, -SETTLED) <= self._days - SETTLED):
                self.delete(module, dice.choice(known), self.now - dice.randrange(60, 3600))
                told["deleted"] += 1
        leads = self.modules["Leads"]
        for lead in [record for record in leads.records.values() if not record["Converted__s"]][:1]:
            self._convert(lead, dice)
            lead["Modified_Time"] = stamp(self.now - 30)
            self._touched[lead["id"]] = self._days
        self._settings()
        if self._days == 2:
            self._reshape(dice)

    def _settings(self) -> None:
        """Somebody works on the settings: one entry of each list changes, one comes, one goes."""
        for table_name, scopes in self.lists.items():
            if table_name in (
                "modules",
                "organization",
                "user_territories",
                "fiscal_year",
                "business_hours",
                "layouts",
                "users",
            ):
                continue
            table = self.source.tables[table_name]
            scope = sorted(scopes)[0]
            rows = scopes[scope]
            changed = rows[sorted(rows)[0]]
            field = next((f for f in ("description", "display_value", "name") if f in changed), None)
            if field:
                changed[field] = f"revisto {self._number('change')}"
            if table_name == "pipelines":
                self._pipeline(scope)
                continue
            self._setting(table, scope)
            if table_name not in REFERRED_TO and len(rows) > 2:
                gone = rows.pop(sorted(rows)[1])
                facts = {column.field[0] for column in table.columns if column.from_request} - {"org_id"}
                self.gone[table_name].append(Row(gone, {"org_id": self.org_id} | dict.fromkeys(facts, scope), deleted=True))
        user = next(iter(self.lists["users"][""].values()))
        user |= {"status": "active", "city": f"cidade {self._number('change')}", "Modified_Time": stamp(self.now)}

    def _reshape(self, dice: random.Random) -> None:
        """Somebody adds fields, and a module."""
        for name, (field, label, kind) in LATER_FIELDS.items():
            module = self.modules[name]
            described = self.add_field(module, field, label, kind, "", custom=True)
            for record in module.records.values():
                record[field] = None
            changed = module.records[sorted(module.records)[0]]
            changed[field] = self.value(described, dice) or CHOICES[0]
            changed["Modified_Time"] = stamp(self.now - 20)
        name, (label, kind, _) = LATER_MODULE
        module = self._module(name, label, kind, None)
        self._describe(module)
        for _ in range(4):
            self.add(module, dice, self.now - dice.randrange(60, 3600))

    # The truth

    def ledger(self, table_name: str) -> Iterator[Row]:
        """Every row of a table. Raises KeyError for one that the organisation does not have."""
        table = self.source.tables[table_name]
        org = {"org_id": self.org_id}
        if table.rows in ("modified_since", "module_list"):
            yield from self._of_module(self.modules[api_name(table)], org)
        elif table.rows == "custom_modules":
            for module in self.modules.values():
                if module.table is None:
                    yield from self._of_module(module, {**org, "module": module.name})
        elif table_name == "deleted_records":
            for module in self.modules.values():
                yield from (Row(each, {**org, "module": module.name}) for each in module.tombstones.values())
        elif table_name == "fields":
            for module in self.modules.values():
                yield from (Row(each, {**org, "module": module.name}) for each in module.fields)
        elif table_name == "field_picklist_values":
            for module in self.modules.values():
                for field in module.fields:
                    for value in field["pick_list_values"]:
                        yield Row(value, {**org, "module": module.name, "field_id": field["id"]})
        elif table_name == "pipeline_stages":
            for layout, pipelines in self.lists["pipelines"].items():
                for pipeline in pipelines.values():
                    for stage in pipeline["maps"]:
                        yield Row(stage, {**org, "layout_id": layout, "pipeline_id": pipeline["id"]})
        elif table_name == "record_tags":
            yield from self._tagged(org)
        elif table_name in OF_A_RECORD:
            yield from self._hanging(table, org)
        elif table.rows == "inside_record":
            yield from self._inside(table, org)
        else:
            facts = {column.field[0] for column in table.columns if column.from_request} - {"org_id"}
            yield from self.gone[table_name]
            for scope, rows in self.lists[table_name].items():
                yield from (Row(row, org | dict.fromkeys(facts, scope)) for row in rows.values())

    def custom(self, name: str) -> Iterator[Row]:
        """Every row of a module that has no contract."""
        yield from self._of_module(self.modules[name], {"org_id": self.org_id, "module": name})

    def _of_module(self, module: Module, add: Object) -> Iterator[Row]:
        yield from (Row(record, add, deleted=True) for record in module.buried.values())
        yield from (Row(record, add) for record in module.records.values())

    def _tagged(self, org: Object) -> Iterator[Row]:
        yield from self.gone["record_tags"]
        for name in TAGGED:
            module = self.modules[name]
            for deleted, records in ((True, module.buried), (False, module.records)):
                for record in records.values():
                    facts = {**org, "module": name, "record_id": record["id"]}
                    yield from (Row(tag, facts, deleted=deleted) for tag in record["Tag"])

    def _hanging(self, table: Table, org: Object) -> Iterator[Row]:
        yield from self.gone[table.name]
        module = self.modules[OF_A_RECORD[table.name]]
        for parent, rows in self.related[table.name].items():
            deleted = parent not in module.records and table.name not in HISTORIES
            yield from (Row(row, {**org, **self._facts(table, parent)}, deleted=deleted) for row in rows)

    def _inside(self, table: Table, org: Object) -> Iterator[Row]:
        yield from self.gone[table.name]
        name, (field, _) = next((name, each) for name, each in SUBFORMS.items() if each[1] == table.name)
        module = self.modules[name]
        for deleted, records in ((True, module.buried), (False, module.records)):
            for record in records.values():
                yield from (Row(row, {**org, **self._facts(table, record["id"])}, deleted=deleted) for row in record[field])
