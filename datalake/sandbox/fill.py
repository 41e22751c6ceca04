"""Made-up people, companies and whole records for the stand-ins, from a seed. What a record means lives with its system.

A stand-in sets by hand what carries meaning (keys, references, states, sums that add up) and has the broad rest filled from
the table's contract, so that every column that a contract promises is served.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from datalake.model import Column, Source, Table, Type

FIRST_NAMES = ("Ana", "Bruno", "Camila", "Diego", "Érica", "Felipe", "Gabriela", "Heitor", "Inês", "João", "Karen", "Luís")
LAST_NAMES = ("Almeida", "Barros", "Conceição", "Duarte", "Esteves", "Ferreira", "Gonçalves", "Lima", "Müller", "Nogueira")
TRADES = ("Padaria", "Oficina", "Livraria", "Mercado", "Clínica", "Estúdio", "Transportes", "Café", "Gráfica", "Farmácia")
PLACES = ("Aurora", "Bela Vista", "Central", "do Porto", "Ipê", "Lua Nova", "Mar Azul", "São João", "Três Rios", "Vila Rica")
CITIES = (
    ("São Paulo", "SP"),
    ("Rio de Janeiro", "RJ"),
    ("Curitiba", "PR"),
    ("Recife", "PE"),
    ("Belém", "PA"),
    ("Itajaí", "SC"),
)
WORDS = (
    "novo",
    "plano",
    "pedido",
    "revisão",
    "entrega",
    "contrato",
    "relatório",
    "reunião",
    "nota",
    "projeto",
    "série",
    "lote",
)

EMPTY = 0.1
"""Share of the values of nullable columns that are null."""
DAYS_BACK = 400
"""Points in time lie at most so long before the filler's `now`."""


@dataclass(frozen=True)
class Person:
    name: str
    first: str
    last: str
    email: str
    phone: str
    """With country code, digits only."""
    cpf: str


@dataclass(frozen=True)
class Company:
    name: str
    email: str
    phone: str
    cnpj: str


def person(number: int) -> Person:
    """The `number`th person: always the same one."""
    first, last = FIRST_NAMES[number % len(FIRST_NAMES)], LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
    return Person(f"{first} {last}", first, last, f"pessoa{number}@example.com", phone(number), cpf(number))


def company(number: int) -> Company:
    """The `number`th company: always the same one."""
    name = f"{TRADES[number % len(TRADES)]} {PLACES[number // len(TRADES) % len(PLACES)]} {number} Ltda"
    return Company(name, f"contato{number}@example.com", phone(500_000 + number), cnpj(number))


def phone(number: int) -> str:
    """A Brazilian mobile number, with country code, digits only."""
    return f"55{11 + number % 80}9{number * 7919 % 100_000_000:08d}"


def cpf(number: int) -> str:
    """A person's tax number with valid check digits, digits only."""
    base = [int(digit) for digit in f"{100_000_000 + number * 7_919 % 899_999_999:09d}"]
    for _ in range(2):
        base.append(_check(base, range(len(base) + 1, 1, -1)))
    return "".join(map(str, base))


def cnpj(number: int) -> str:
    """A company's tax number with valid check digits, digits only."""
    base = [int(digit) for digit in f"{10_000_000 + number * 7_919 % 89_999_999:08d}0001"]
    for _ in range(2):
        size = len(base) - 7
        base.append(_check(base, [*range(size, 1, -1), *range(9, 1, -1)]))
    return "".join(map(str, base))


def _check(digits: Iterable[int], weights: Iterable[int]) -> int:
    rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return 0 if rest < 2 else 11 - rest


@dataclass(frozen=True)
class Filler:
    """Fills records of one source. `moment(column, epoch_seconds)` writes a timestamp or date in the source's own form."""

    source: Source
    seed: int
    now: int
    moment: Callable[[Column, int], Any]

    def record(self, table: Table, number: int, **known: Any) -> dict[str, Any]:
        """The `number`th record of a table as its system sends it; `known` are values by column name, put in as they are.

        Same seed, table and number: same record, whatever else is made. Columns of the request are not part of it.

        >>> from datalake import contracts
        >>> stripe = contracts.load_source("stripe")
        >>> filler = Filler(stripe, 1, 1_800_000_000, lambda _column, seconds: seconds)
        >>> filler.record(stripe.tables["coupons"], 1, id="spring", name=None)["id"]
        'spring'
        """
        record: dict[str, Any] = {}
        unknown = known.keys() - {column.name for column in table.columns}
        if unknown:
            raise KeyError(f"{table.id} has no columns {', '.join(sorted(unknown))}")
        # A column that lies inside another one's value comes after it; what is known comes last.
        for column in sorted(table.columns, key=lambda column: (column.name in known, len(column.field))):
            if column.from_request:
                continue
            value = known[column.name] if column.name in known else self.value(table, column, number)
            place = record
            for step in column.field[:-1]:
                if not isinstance(place.get(step), dict):
                    place[step] = {}
                place = place[step]
            if column.name in known or not isinstance(place.get(column.field[-1]), dict):
                place[column.field[-1]] = value
        return record

    def value(self, table: Table, column: Column, number: int) -> Any:
        """One column's value in the `number`th record, null now and then where the contract allows it."""
        chance = random.Random(f"{self.seed}/{table.id}/{number}/{column.name}")
        if column.nullable and column.name not in table.key and chance.random() < EMPTY:
            return None
        if column.values:
            return chance.choice(column.values)
        return self._of_type(column, column.type, number, chance)

    def _of_type(self, column: Column, type_: Type, number: int, chance: random.Random) -> Any:
        match type_.kind:
            case "string":
                return self._text(column, number, chance)
            case "int64":
                return chance.randrange(1, 1000)
            case "float64":
                return chance.randrange(1, 10_000) / 8
            case "decimal":
                scale = min(type_.scale, 2)
                most = 10 ** min(type_.precision - type_.scale + scale, 7)
                return chance.randrange(1, most) / 10**scale
            case "bool":
                return chance.random() < 0.5
            case "timestamp" | "date":
                return self.moment(column, self.now - chance.randrange(1, DAYS_BACK * 86_400))
            case "json":
                return {"text": chance.choice(WORDS), "number": number}
            case "list":
                assert type_.element is not None
                return [self._of_type(column, type_.element, number, chance) for _ in range(chance.randrange(3))]
            case "struct":
                return {name: self._of_type(column, inner, number, chance) for name, inner in type_.fields}
        raise AssertionError(f"no filling for {type_}")

    def _text(self, column: Column, number: int, chance: random.Random) -> str:
        someone = person(chance.randrange(100))
        match column.pii:
            case "name" | "person":
                return someone.name
            case "email":
                return someone.email
            case "phone":
                return someone.phone
            case "document":
                return someone.cpf
            case "address" | "location":
                return ", ".join((f"Rua {chance.choice(PLACES)} {chance.randrange(1, 999)}", *chance.choice(CITIES)))
            case "handle":
                return someone.email.partition("@")[0]
            case "birth":
                return (dt.date(1990, 1, 1) + dt.timedelta(days=chance.randrange(9000))).isoformat()
            case "ip":
                return f"203.0.113.{chance.randrange(1, 255)}"
        name = column.name
        if name.endswith(("_url", "url", "_uri", "link")):
            return f"https://example.com/{table_word(name)}/{number}"
        if name.endswith("currency") or name == "currency_code":
            return chance.choice(("BRL", "USD", "EUR"))
        if name.endswith(("_id", "id", "_code", "code", "number", "_key")):
            return f"{chance.randrange(1, 10**9):09d}"
        return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 4)))


def table_word(name: str) -> str:
    """A path-like word out of a column's name."""
    return name.removesuffix("_url").replace("_", "-")
