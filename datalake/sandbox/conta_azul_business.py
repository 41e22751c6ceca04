"""The company behind the stand-in Conta Azul: what it has, and what happens in it as days pass. How it is served: `conta_azul`.

Everything that happens has its time of day, so that the same days bring the same things however they are let pass.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from datalake.sandbox.conta_azul_records import DAY, OPERATIONS, Record, Shapes, day, local, reais, seconds_of
from datalake.sandbox.fill import company

HISTORY = 100
"""Days of business before the stand-in starts."""
QUIET = 120
"""Nothing happened in the last seconds before now: what the change feed does not tell yet is not there yet."""
SETTLED = 4 * DAY
"""What is deleted or cancelled is older than this, so that a reader has seen it."""


class Business:
    """State by table: `rows` as a list (or the list's nearest thing) serves them, `full` where one call serves one of them.

    `gone` holds what was deleted, `changed` when a row of a list last changed, `feed` when an event was last saved.
    Records are replaced, never changed in place: others may hold them as they were.
    """

    def __init__(self, seed: int, scale: float, now: int) -> None:
        self.seed, self.scale, self.now, self.started = seed, scale, now, now
        self.shapes = Shapes(seed, now)
        self.rows: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self.full: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self.items: dict[str, list[Record]] = {}
        """Lines of each sale."""
        self.events: dict[str, Record] = {}
        self.gone_events: dict[str, Record] = {}
        self.gone: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self.gone_at: dict[tuple[str, str], int] = {}
        self.changed: dict[tuple[str, str], int] = {}
        self.made: dict[tuple[str, str], int] = {}
        self.feed: dict[str, int] = {}
        self.balances: dict[str, int] = {}
        self.tree: list[Record] = []
        self._numbers: Counter[str] = Counter()
        self._sale_of: dict[str, str] = {}
        begin = seconds_of(day(now - HISTORY * DAY))
        self._through = begin
        self._set_up(begin)
        self._live(now - QUIET)

    def advance(self, seconds: int) -> dict[str, Any]:
        """Let time pass; tells how often what happened."""
        self.now += seconds
        return dict(self._live(self.now - QUIET))

    # What the company has from the start

    def _set_up(self, at: int) -> None:
        shapes, many = self.shapes, self._many
        self.company = {
            "id_empresa": shapes.id("company", 0),
            "razao_social": company(7).name,
            "nome_fantasia": "Sandbox",
            "documento": company(7).cnpj,
            "email": company(7).email,
            "data_fundacao": "2015-03-02",
        }
        for number in range(4):
            account = shapes.account(number)
            self._put("contas_financeiras", account, at)
            self.balances[account["id"]] = 1_000_000 + 12_345 * number
            opening = {
                "tipo": "RECEITA",
                "id_conta_financeira": account["id"],
                "data_competencia": day(at),
                "saldo_inicial": reais(12_345 * number + 7),
            }
            self._put("saldos_iniciais", opening, at, id_=account["id"])
        for number in range(20):
            self._put("categorias", shapes.category(number), at)
        self.tree = shapes.statement(list(self.rows["categorias"].values()))
        for number in range(5):
            centre = {"id": shapes.id("centre", number), "codigo": str(number), "nome": f"Centro {number}", "ativo": True}
            self._put("centros_de_custo", centre, at)
        for operation in OPERATIONS:
            category = shapes.category(len(operation) % 20)
            standard = {
                "tipo_operacao": operation,
                "id_categoria": category["id"],
                "nome_categoria": category["nome"],
                "sugestao_padrao": {"id": category["id"], "nome": operation.replace("_", " ").capitalize()},
            }
            self._put("categorias_configuracao_padrao", standard, at, id_=operation)
        for number in range(1, 6):
            self._catalogue("produto_categorias", number, at, uuid=shapes.id("category", number), descricao=f"Linha {number}")
            self._catalogue("produto_ncm", number, at, codigo=f"{number:08d}")
            self._catalogue("produto_cest", number, at, codigo=f"{number:07d}")
            self._catalogue("produto_unidades_medida", number, at, abreviacao=f"U{number}")
            brand = {"id": shapes.id("brand", number), "nome": f"Marca {number}"}
            self._put("produto_ecommerce_marcas", brand, at)
            seller = {"id": shapes.id("seller", number), "nome": f"Vendedora {number}", "id_legado": number}
            self._put("vendedores", seller, at)
        random_ = self._random(at, "set up", 0)
        for act, base in (("person_new", 24), ("product_new", 12), ("service_new", 8), ("contract_new", 6), ("sale_new", 2)):
            for number in range(many(base)):
                self._do(act, at + number, random_)

    def _many(self, base: int) -> int:
        return max(4, round(base * self.scale))

    def _catalogue(self, table: str, number: int, at: int, **known: Any) -> None:
        self._put(table, self.shapes.filled(table, number, id=number, **known), at, id_=str(number))

    # What happens

    ACTS: dict[str, tuple[float, int]] = {  # noqa: RUF012 - never changed
        "person_new": (0.1, 1),
        "person_edit": (0.3, 1),
        "person_delete": (0.02, 2),
        "product_new": (0.05, 2),
        "product_edit": (0.2, 1),
        "product_delete": (0.02, 2),
        "service_new": (0.02, 2),
        "service_edit": (0.05, 1),
        "service_delete": (0.01, 2),
        "seller_new": (0.01, 2),
        "seller_delete": (0.0, 2),
        "set_up_edit": (0.02, 1),
        "contract_new": (0.02, 2),
        "contract_edit": (0.05, 1),
        "contract_delete": (0.02, 2),
        "sale_new": (0.4, 1),
        "sale_edit": (0.2, 1),
        "sale_cancel": (0.04, 2),
        "quote_new": (0.25, 1),
        "quote_edit": (0.1, 1),
        "quote_delete": (0.03, 2),
        "expense_new": (0.25, 1),
        "expense_delete": (0.03, 2),
        "event_saved": (0.1, 1),
        "parcel_paid": (0.5, 1),
        "payment_undone": (0.03, 2),
        "parcel_lost": (0.02, 2),
        "product_invoice": (0.25, 1),
        "product_invoice_cancel": (0.03, 2),
        "service_invoice": (0.2, 1),
        "service_invoice_cancel": (0.05, 1),
        "transfer_new": (0.15, 1),
        "transfer_delete": (0.02, 2),
        "opening_edit": (0.01, 2),
    }
    """What happens: how often a day at scale 1, and every how many days at least since the stand-in started."""

    def _live(self, through: int) -> Counter[str]:
        """Let everything happen up to a moment, in the order of its time."""
        happened: Counter[str] = Counter()
        midnight = seconds_of(day(self._through))
        while midnight <= through:
            due = []
            for place, (act, (often, every)) in enumerate(self.ACTS.items()):
                chance = self._random(midnight, act, -1)
                times = int(often * self.scale + chance.random())
                if midnight + DAY > self.started and midnight // DAY % every == place % every:
                    times = max(times, 1)
                due += [
                    (midnight + 8 * 3600 + place * 900 + 60 * number + chance.randrange(60), act, number)
                    for number in range(times)
                ]
            for at, act, number in sorted(due):
                if self._through < at <= through and self._do(act, at, self._random(midnight, act, number)):
                    happened[act] += 1
            midnight += DAY
        self._through = max(self._through, through)
        return happened

    def _random(self, midnight: int, act: str, number: int) -> random.Random:
        return random.Random(f"{self.seed}/{midnight // DAY}/{act}/{number}")

    def _do(self, act: str, at: int, chance: random.Random) -> bool:
        """One thing that happens; False where there was nothing that it could happen to."""
        method: Callable[[int, random.Random], bool | None] = getattr(self, f"_{act}")
        return method(at, chance) is not False

    def _next(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]

    def _put(self, table: str, record: Record, at: int, full: Record | None = None, id_: str = "") -> None:
        id_ = id_ or record["id"]
        self.rows[table][id_] = record
        if full is not None:
            self.full[table][id_] = full
        self.changed[table, id_] = at
        self.made.setdefault((table, id_), at)

    def _remove(self, table: str, id_: str, at: int) -> None:
        self.gone[table][id_] = self.rows[table].pop(id_)
        self.gone_at[table, id_] = at

    def _one(self, table: str, chance: random.Random, settled: int = 0) -> str | None:
        """One of a table's rows; with `settled`, one that was made before then."""
        ids = [id_ for id_ in self.rows[table] if not settled or self.made[table, id_] < settled]
        return chance.choice(ids) if ids else None

    def _edit(self, table: str, id_: str, at: int, listed: Record, full: Record | None = None) -> None:
        """Replace a row by one with these members; times and versions follow."""
        stamps = {"data_alteracao": local(at), "ultima_atualizacao": local(at)}
        row = self.rows[table][id_]
        new = {**row, **listed, **{name: text for name, text in stamps.items() if name in row}}
        if "versao" in row:
            new["versao"] = (row["versao"] or 0) + 1
        detail = self.full[table].get(id_)
        if detail is not None and "venda" not in detail:
            detail = {**detail, **(full or {}), **{name: text for name, text in stamps.items() if name in detail}}
        self._put(table, new, at, detail, id_)

    def _some(self, table: str, chance: random.Random) -> Record:
        return chance.choice(list(self.rows[table].values()))

    def _customer(self, chance: random.Random) -> Record:
        """Somebody who buys or sells; the others never do."""
        people = list(self.rows["pessoas"].values())
        return chance.choice(people[: max(3, len(people) * 2 // 3)])

    # People, products, services, set-up

    def _person_new(self, at: int, chance: random.Random) -> None:  # noqa: ARG002 - all acts are called alike
        listed, full = self.shapes.person(self._next("person"), at)
        self._put("pessoas", listed, at, full)

    def _person_edit(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("pessoas", chance)
        if id_ is None:
            return False
        active = chance.random() < 0.8
        self._edit(
            "pessoas", id_, at, {"ativo": active, "observacoes_gerais": "Revista"}, {"ativo": active, "observacao": "Revista"}
        )
        return None

    def _person_delete(self, at: int, chance: random.Random) -> bool | None:
        """Only people without movements can be deleted."""
        used = {event["_who"]["id"] for event in [*self.events.values(), *self.gone_events.values()]}
        for table in ("orcamentos", "contratos"):
            used |= {row["cliente"]["id"] for row in [*self.rows[table].values(), *self.gone[table].values()]}
        free = [id_ for id_ in self.rows["pessoas"] if id_ not in used and self.made["pessoas", id_] < at - SETTLED]
        if len(free) < 2:
            return False
        self._remove("pessoas", chance.choice(free), at)
        return None

    def _product_new(self, at: int, chance: random.Random) -> None:
        number = self._next("product")
        others = list(self.rows["produtos"].values())
        parts = chance.sample(others, 2) if number % 2 == 0 and len(others) > 2 else []
        listed, full = self.shapes.product(number, at, chance.randrange(199, 99_999), parts)
        self._put("produtos", listed, at, full)

    def _product_edit(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("produtos", chance)
        if id_ is None:
            return False
        self._edit("produtos", id_, at, {"saldo": chance.randrange(100) / 4}, {"descricao": f"Revisto {at}"})
        return None

    def _product_delete(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("produtos", chance, at - SETTLED)
        if id_ is None or len(self.rows["produtos"]) < 4:
            return False
        self._remove("produtos", id_, at)
        return None

    def _service_new(self, at: int, chance: random.Random) -> None:
        self._put("servicos", self.shapes.service(self._next("service"), at, chance.randrange(5_000, 500_000)), at)

    def _service_edit(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("servicos", chance)
        if id_ is None:
            return False
        scenarios = [{**each, "iss_aliquota": 3.25} for each in self.rows["servicos"][id_]["lista_cenario_tributario"]]
        self._edit(
            "servicos", id_, at, {"preco": reais(chance.randrange(5_000, 500_000)), "lista_cenario_tributario": scenarios}
        )
        return None

    def _service_delete(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("servicos", chance, at - SETTLED)
        if id_ is None or len(self.rows["servicos"]) < 3:
            return False
        self._remove("servicos", id_, at)
        return None

    def _seller_new(self, at: int, chance: random.Random) -> None:  # noqa: ARG002 - all acts are called alike
        number = 100 + self._next("seller")
        seller = {"id": self.shapes.id("seller", number), "nome": f"Vendedora {number}", "id_legado": number}
        self._put("vendedores", seller, at)

    def _seller_delete(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("vendedores", chance, at - SETTLED)
        if id_ is None or len(self.rows["vendedores"]) < 3:
            return False
        self._remove("vendedores", id_, at)
        return None

    def _set_up_edit(self, at: int, chance: random.Random) -> None:
        """Somebody tidies up: names, a cost centre switched off, the tree of the income statement."""
        category, centre = self._some("categorias", chance), self._some("centros_de_custo", chance)
        self._edit("categorias", category["id"], at, {"nome": f"Categoria {at}"})
        self._edit("centros_de_custo", centre["id"], at, {"ativo": not centre["ativo"]})
        account = self._some("contas_financeiras", chance)
        self._edit("contas_financeiras", account["id"], at, {"nome": f"Conta {at}"})
        self.tree = [{**self.tree[0], "descricao": f"Linha {at}"}, *self.tree[1:]]
        for table in ("produto_categorias", "produto_ncm", "produto_cest", "produto_unidades_medida"):
            id_ = self._one(table, chance)
            assert id_ is not None
            self._edit(table, id_, at, {"descricao": f"Revisto {at}"})
        number = 10 + self._next("catalogue")
        self._catalogue("produto_ncm", number, at, codigo=f"{number:08d}")
        self._put("produto_ecommerce_marcas", {"id": self.shapes.id("brand", number), "nome": f"Marca {number}"}, at)
        operation = chance.choice(OPERATIONS)
        self._edit("categorias_configuracao_padrao", operation, at, {"id_categoria": category["id"], "nome_categoria": "Nova"})

    # Contracts, sales, quotes

    def _contract_new(self, at: int, chance: random.Random) -> None:
        listed, full = self.shapes.contract(
            self._next("contract"),
            at,
            self._customer(chance),
            self._some("contas_financeiras", chance),
            self._some("vendedores", chance),
            chance.randrange(10_000, 900_000),
        )
        self._put("contratos", listed, at, full)

    def _contract_edit(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("contratos", chance)
        if id_ is None:
            return False
        due = day(at + 30 * DAY)
        self._edit("contratos", id_, at, {"proximo_vencimento": due}, {"data_proximo_vencimento": due})
        return None

    def _contract_delete(self, at: int, chance: random.Random) -> bool | None:
        """It leaves the list; by its id it answers on."""
        id_ = self._one("contratos", chance, at - SETTLED)
        if id_ is None or len(self.rows["contratos"]) < 3:
            return False
        self.full["contratos"][id_] = {**self.full["contratos"][id_], "status": "DELETADO"}
        self._remove("contratos", id_, at)
        return None

    def _goods(self, chance: random.Random) -> list[tuple[Record, int]]:
        known = [*self.rows["produtos"].values(), *self.rows["servicos"].values()]
        return [(good, chance.randrange(50, 900)) for good in chance.sample(known, min(len(known), chance.randrange(1, 4)))]

    def _sale_new(self, at: int, chance: random.Random) -> None:
        number = self._next("sale")
        goods = self._goods(chance)
        items = self.shapes.items(self.shapes.id("sale", number), goods)
        cents = sum(round(item["quantidade"] * item["valor"] * 100) for item in items)
        customer, account = self._customer(chance), self._some("contas_financeiras", chance)
        event = self._event_new(at, chance, income=True, who=customer, account=account, cents=cents)
        contract = self._one("contratos", chance) if number % 5 == 0 else None
        listed, full = self.shapes.sale(number, at, customer, self._some("vendedores", chance), account, event, cents, contract)
        self.items[listed["id"]] = items
        self._sale_of[event["id"]] = listed["id"]
        self._put("vendas", listed, at, full)

    def _sale_edit(self, at: int, chance: random.Random) -> bool | None:
        """The notes are changed, and a line goes (the total stays: a discount)."""
        id_ = self._one("vendas", chance)
        if id_ is None:
            return False
        detail = self.full["vendas"][id_]
        sale = {**detail["venda"], "observacoes": f"Revista {at}", "versao": detail["venda"]["versao"] + 1}
        self.full["vendas"][id_] = {**detail, "venda": sale}
        self.items[id_] = self.items[id_][: max(1, len(self.items[id_]) - 1)]
        self._edit("vendas", id_, at, {})
        return None

    def _sale_cancel(self, at: int, chance: random.Random) -> bool | None:
        """It leaves the list and answers on by its id; its financial event is deleted, which nothing tells."""
        unpaid = [
            id_
            for event, id_ in self._sale_of.items()
            if id_ in self.rows["vendas"]
            and event in self.events
            and self.made["vendas", id_] < at - SETTLED
            and not any(parcel["baixas"] for parcel in self.events[event]["parcelas"])
        ]
        if not unpaid:
            return False
        id_ = chance.choice(unpaid)
        detail = self.full["vendas"][id_]
        situation = {"nome": "CANCELADO", "descricao": "Cancelado", "ativado": False}
        self.full["vendas"][id_] = {**detail, "venda": {**detail["venda"], "status": "CANCELADO", "situacao": situation}}
        self._remove("vendas", id_, at)
        self._event_delete(detail["evento_financeiro"]["id"])
        return None

    def _quote_new(self, at: int, chance: random.Random) -> None:
        listed, full = self.shapes.quote(
            self._next("quote"), at, self._customer(chance), self._some("vendedores", chance), self._goods(chance)
        )
        self._put("orcamentos", listed, at, full)

    def _quote_edit(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("orcamentos", chance)
        if id_ is None:
            return False
        lines = self.full["orcamentos"][id_]["itens"]
        kept = lines[: max(1, len(lines) - 1)]
        self._edit("orcamentos", id_, at, {"situacao": "ORCAMENTO_ACEITO"}, {"situacao": "ORCAMENTO_ACEITO", "itens": kept})
        return None

    def _quote_delete(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("orcamentos", chance, at - SETTLED)
        if id_ is None:
            return False
        self._remove("orcamentos", id_, at)
        return None

    # Financial events

    def _event_new(self, at: int, chance: random.Random, *, income: bool, who: Record, account: Record, cents: int) -> Record:
        event = self.shapes.event(
            self._next("event"),
            at,
            income=income,
            origin="VENDA" if income else "LANCAMENTO_FINANCEIRO",
            who=who,
            account=account,
            cents=cents,
            parts=chance.randrange(1, 4),
            category=self._some("categorias", chance),
            centre=self._some("centros_de_custo", chance),
        )
        self.events[event["id"]] = event
        self.feed[event["id"]] = at
        return event

    def _expense_new(self, at: int, chance: random.Random) -> None:
        who, account = self._customer(chance), self._some("contas_financeiras", chance)
        self._event_new(at, chance, income=False, who=who, account=account, cents=chance.randrange(1_999, 999_999))

    def _expense_delete(self, at: int, chance: random.Random) -> bool | None:
        old = [
            id_ for id_, event in self.events.items() if event["evento"]["tipo"] == "DESPESA" and event["_at"] < at - SETTLED
        ]
        if len(old) < 3:
            return False
        self._event_delete(chance.choice(old))
        return None

    def _event_delete(self, id_: str) -> None:
        self.gone_events[id_] = self.events.pop(id_)
        del self.feed[id_]

    def _event_saved(self, at: int, chance: random.Random) -> bool | None:
        """Somebody opens an event and saves it as it is: the feed tells, nothing changed."""
        if not self.events:
            return False
        self.feed[chance.choice(list(self.events))] = at
        return None

    def _parcels(self, wanted: Callable[[Record], bool]) -> list[tuple[Record, int]]:
        return [
            (event, place) for event in self.events.values() for place, parcel in enumerate(event["parcelas"]) if wanted(parcel)
        ]

    def _parcel_change(self, event: Record, place: int, at: int, **members: Any) -> None:
        parcel = event["parcelas"][place]
        new = {**parcel, **members, "versao": parcel["versao"] + 1, "data_alteracao": local(at)}
        parcels = [*event["parcelas"][:place], new, *event["parcelas"][place + 1 :]]
        self.events[event["id"]] = {**event, "parcelas": parcels}
        self.feed[event["id"]] = at

    def _parcel_paid(self, at: int, chance: random.Random) -> bool | None:
        """An instalment is paid, now and then in part."""
        unpaid = self._parcels(lambda parcel: parcel["status"] == "PENDENTE")
        if not unpaid:
            return False
        event, place = chance.choice(unpaid)
        parcel = event["parcelas"][place]
        owed = round(parcel["nao_pago"] * 100)
        cents = owed // 2 if chance.random() < 0.2 else owed
        payment = self.shapes.payment(self._next("payment"), at, parcel, event, cents)
        self._parcel_change(
            event, place, at, status="QUITADO" if cents == owed else "RECEBIDO_PARCIAL", valor_pago=reais(cents),
            nao_pago=reais(owed - cents), baixas=[*parcel["baixas"], payment],
        )  # fmt: skip
        sign = 1 if event["evento"]["tipo"] == "RECEITA" else -1
        self.balances[parcel["id_conta_financeira"]] += sign * cents
        return None

    def _payment_undone(self, at: int, chance: random.Random) -> bool | None:
        paid = self._parcels(lambda parcel: bool(parcel["baixas"]))
        if not paid:
            return False
        event, place = chance.choice(paid)
        whole = event["parcelas"][place]["valor_total_liquido"]
        self._parcel_change(event, place, at, status="PENDENTE", valor_pago=0, nao_pago=whole, baixas=[])
        return None

    def _parcel_lost(self, at: int, chance: random.Random) -> bool | None:
        unpaid = self._parcels(lambda parcel: parcel["status"] == "PENDENTE" and parcel["data_vencimento"] < day(at))
        if not unpaid:
            return False
        event, place = chance.choice(unpaid)
        lost = {"data": day(at), "valor": event["parcelas"][place]["nao_pago"]}
        self._parcel_change(event, place, at, status="PERDIDO", perda=lost)
        return None

    # Invoices, transfers, opening balances

    def _product_invoice(self, at: int, chance: random.Random) -> None:
        invoice = self.shapes.product_invoice(self._next("product invoice"), at, self._customer(chance))
        self._put("notas_fiscais", invoice, at, id_=invoice["chave_acesso"])

    def _product_invoice_cancel(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("notas_fiscais", chance, at - SETTLED)
        if id_ is None:
            return False
        self._remove("notas_fiscais", id_, at)
        return None

    def _service_invoice(self, at: int, chance: random.Random) -> None:
        sale = self._one("vendas", chance)
        customer = self._customer(chance)
        cents = chance.randrange(5_000, 500_000)
        self._put("notas_fiscais_servico", self.shapes.service_invoice(self._next("invoice"), at, customer, sale, cents), at)

    def _service_invoice_cancel(self, at: int, chance: random.Random) -> bool | None:
        """Within the weeks in which an invoice can be cancelled."""
        young = [id_ for id_ in self.rows["notas_fiscais_servico"] if self.made["notas_fiscais_servico", id_] > at - 50 * DAY]
        if not young:
            return False
        why = {"motivo": "Erro", "usuario": "Ana Lima"}
        self._edit("notas_fiscais_servico", chance.choice(young), at, {"status": "CANCELADA", "informacoes_cancelamento": why})
        return None

    def _transfer_new(self, at: int, chance: random.Random) -> None:
        origin, target = chance.sample(list(self.rows["contas_financeiras"].values()), 2)
        cents = chance.randrange(10_000, 99_999)
        self._put("transferencias", self.shapes.transfer(self._next("transfer"), at, origin, target, cents), at)
        self.balances[origin["id"]] -= cents
        self.balances[target["id"]] += cents

    def _transfer_delete(self, at: int, chance: random.Random) -> bool | None:
        id_ = self._one("transferencias", chance, at - SETTLED)
        if id_ is None:
            return False
        self._remove("transferencias", id_, at)
        return None

    def _opening_edit(self, at: int, chance: random.Random) -> None:
        account = self._some("contas_financeiras", chance)
        self._edit("saldos_iniciais", account["id"], at, {"saldo_inicial": reais(chance.randrange(100_000))})
