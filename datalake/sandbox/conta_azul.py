"""Conta Azul's API as a stand-in shows it: login, lists, silent filters, errors. The company lives in `conta_azul_business`.

A login is a refresh token that works once. Access tokens end after an hour of the stand-in's clock. Tests may send to
`/_sandbox/control`:

    {"ignore": ["data_alteracao_de", …]}     parameters that are ignored from now on, as unknown ones are
    {"forbid": ["/v1/notas-fiscais", …]}     paths that answer 403
    {"expire_after": 20}                     after so many more calls, all access tokens end at once
    {"login": true}                          a person logs in anew: the first refresh token works again, all others are dead
    {"company_id": false}                    `conta-conectada` tells no id
    {"limits": {"second": 10, "minute": 600, "seconds": 60}}     calls allowed a second and in `seconds`; {} for none
    {"shorten": {"/v1/pessoas": 1}}          rows that a list loses on its last page, while its total counts them
"""

from __future__ import annotations

import base64
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox.base import Row, answer
from datalake.sandbox.conta_azul_business import Business
from datalake.sandbox.conta_azul_records import (
    DAY,
    SOURCE,
    Record,
    day,
    listed_instalment,
    local,
    reais,
    seconds_of,
    shown_instalment,
)

CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-client-secret"
TOKEN_SECONDS = 3600
SIZES = (10, 20, 50, 100, 200, 500, 1000)
EVENTS = "/v1/financeiro/eventos-financeiros"
YEAR = 365 * DAY


DETAILS = {
    "contratos_detalhe": "contratos",
    "orcamentos_detalhe": "orcamentos",
    "pessoas_detalhe": "pessoas",
    "produtos_detalhe": "produtos",
    "vendas_detalhe": "vendas",
}
"""Table of the records in full -> table of their list."""


class Refusal(Exception):
    """An error as Conta Azul answers it; `body` None means an empty one."""

    def __init__(self, status: int, message: str, *, html: bool = False, empty: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.html, self.empty = status, message, html, empty

    def response(self, path: str, now: int) -> Response:
        if self.empty:
            return Response(b"", self.status)
        if self.html:
            return Response(f"<html><body>{self.message}</body></html>", self.status, media_type="text/html")
        body = {"timestamp": local(now), "status": self.status, "error": "Error", "message": self.message, "path": path}
        return answer(body, self.status)


@dataclass
class Limits:
    """Calls a second and in `seconds`. No answer tells of them."""

    second: int = 10
    minute: int = 600
    seconds: float = 60.0
    _calls: deque[float] = field(default_factory=deque)

    def count(self) -> None:
        now = time.monotonic()
        while self._calls and self._calls[0] <= now - self.seconds:
            self._calls.popleft()
        if len(self._calls) >= self.minute or sum(call > now - 1 for call in self._calls) >= self.second:
            raise Refusal(429, "Too Many Requests")
        self._calls.append(now)


@dataclass(frozen=True)
class Window:
    """A pair of parameters that filters a list. `of` is the row's value: seconds, or a day as text."""

    low: str
    high: str
    of: Callable[[Any], Any]
    days: bool
    required: bool = False
    longest: int = 0


@dataclass(frozen=True)
class List:
    """A list: where its rows come from and how its answers look."""

    rows: Callable[[], list[Any]]
    envelope: Callable[[list[Record], int, int, int], Any]
    windows: tuple[Window, ...] = ()
    largest: int = 1000
    show: Callable[[Any], Record] = lambda row: row
    order: str = ""
    """What `campo_ordenado_ascendente` may name; the rows' own order is the one it asks for."""


def _finance(rows: list[Record], total: int, _page: int, _size: int) -> Any:
    return {"itens_totais": total, "itens": rows, "totais": {}}


def _people(rows: list[Record], total: int, page: int, _size: int) -> Any:
    return {"totalItems": total, "items": rows or (None if page == 1 else [])}


def _catalogue(rows: list[Record], total: int, _page: int, _size: int) -> Any:
    return {"total_items": total, "items": rows}


def _services(rows: list[Record], total: int, page: int, size: int) -> Any:
    pages = -(-total // size)
    paging = {"pagina_atual": page, "total_paginas": pages, "tamanho_pagina": size, "total_itens": total}
    return {"itens": rows, "paginacao": paging}


def _too_many(rows: list[Record], total: int, page: int, size: int) -> Any:
    return _services(rows, total + 7, page, size)


def _sales(rows: list[Record], total: int, _page: int, _size: int) -> Any:
    sums = {"total": sum(row["total"] for row in rows), "aprovado": 0, "cancelado": 0, "esperando_aprovacao": 0}
    return {"totais": sums, "quantidades": {**sums, "total": total}, "total_itens": total, "itens": rows}


def _quotes(rows: list[Record], total: int, _page: int, _size: int) -> Any:
    """Counts one too few."""
    return {"itens": rows, "total_itens": max(0, total - 1)}


def _plain(rows: list[Record], total: int, _page: int, _size: int) -> Any:
    return {"itens_totais": total, "itens": rows}


class ContaAzul:
    """The stand-in: one company, one login."""

    def __init__(self, business: Business, *, limits: bool) -> None:
        self.business = business
        self.limits = Limits() if limits else None
        self.first_token = f"refresh-{secrets.token_hex(12)}"
        self._refresh = self.first_token
        self._access: dict[str, int] = {}
        self._codes: set[str] = set()
        """When an access token ends."""
        self._expire_after = -1
        self._ignored: set[str] = set()
        self._forbidden: set[str] = set()
        self._tells_id = True
        self._shorten: dict[str, int] = {}
        self._fed: dict[tuple[str, str], Row] = {}
        self._photographed: dict[tuple[str, str], Row] = {}
        self._lists = self._make_lists()

    # What `base` asks of a stand-in

    @property
    def now(self) -> int:
        return self.business.now

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/oauth2/authorize", self.authorize),
            Route("/oauth2/token", self.token, methods=["POST"]),
            Route("/v1/{path:path}", self.get, methods=["GET"]),
        ]

    def advance(self, seconds: int) -> dict[str, Any]:
        return self.business.advance(seconds)

    def control(self, change: dict[str, Any]) -> None:
        for what, value in change.items():
            match what:
                case "ignore":
                    self._ignored = set(value)
                case "forbid":
                    self._forbidden = set(value)
                case "expire_after":
                    self._expire_after = value
                case "login":
                    self._refresh, self._access = self.first_token, {}
                case "company_id":
                    self._tells_id = value
                case "limits":
                    self.limits = Limits(**value) if value else None
                case "shorten":
                    self._shorten = value
                case _:
                    raise ValueError(f"no '{what}' can be changed; the module says what can")

    def environment(self, url: str) -> dict[str, str]:
        return {
            "CONTA_AZUL_BASE_URL": url,
            "CONTA_AZUL_CLIENT_ID": CLIENT_ID,
            "CONTA_AZUL_CLIENT_SECRET": CLIENT_SECRET,
            "CONTA_AZUL_REFRESH_TOKEN": self.first_token,
            "CONTA_AZUL_SINCE": day(self.business.started - 100 * DAY),
            # A day of the stand-in is enough to see what was deleted in it.
            "CONTA_AZUL_COMPARE_DAYS": "1",
        }

    def ledger(self, table: str) -> Iterable[Row]:
        company = {"empresa_id": self.business.company["id_empresa"]}
        for row in self._ledger(table):
            yield Row(row.record, {**company, **row.add}, row.deleted)

    # The truth

    def _ledger(self, table: str) -> Iterator[Row]:
        business = self.business
        if table in ("eventos_alteracoes", "contas_financeiras_saldo"):
            yield from (self._fed if table == "eventos_alteracoes" else self._photographed).values()
        elif table == "conta_conectada":
            yield Row(self._company())
        elif table == "categorias_dre":
            yield from self._lines(business.tree, None, 0)
        elif table in ("contas_a_receber", "contas_a_pagar"):
            kind = "RECEITA" if table == "contas_a_receber" else "DESPESA"
            for event, parcel, gone in self._instalments():
                if event["evento"]["tipo"] == kind:
                    yield Row(listed_instalment(event, parcel, self._today), deleted=gone)
        elif table == "parcelas":
            for event, parcel, gone in self._instalments():
                yield Row(shown_instalment(parcel, self._today), {"id_evento": event["id"]}, gone)
        elif table == "eventos_financeiros":
            for gone, events in ((False, business.events), (True, business.gone_events)):
                yield from (Row(event["evento"], deleted=gone) for event in events.values())
        elif table in self._inside:
            yield from self._inside[table]()
        elif table in DETAILS:
            yield from self._in_full(DETAILS[table], table)
        elif table in SOURCE.tables:
            for gone, rows in ((True, business.gone[table]), (False, business.rows[table])):
                yield from (Row(row, deleted=gone) for row in rows.values())
        else:
            raise KeyError(table)

    def _in_full(self, of: str, table: str) -> Iterator[Row]:
        """What answers by its id. Sales and contracts do so after they left their list; a reader knows those that it saw."""
        business = self.business
        for id_, record in business.full[of].items():
            gone = business.gone_at.get((of, id_))
            soft = of in ("vendas", "contratos")
            if gone is None or not soft or gone > business.started:
                yield Row(record, {"id": id_} if table == "vendas_detalhe" else {}, gone is not None and not soft)

    @property
    def _inside(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {
            "baixas": lambda: self._of_instalments("baixas"),
            "categorias_dre_vinculos": self._links,
            "evento_rateio_centros_custo": self._centres,
            "evento_rateios": self._shares,
            "orcamento_itens": lambda: self._of_details("orcamentos", "itens", "id_orcamento", place="posicao"),
            "parcela_anexos": lambda: self._of_instalments("anexos"),
            "pessoa_contatos": lambda: self._of_details("pessoas", "outros_contatos", "id_pessoa"),
            "pessoa_enderecos": lambda: self._of_details("pessoas", "enderecos", "id_pessoa"),
            "pessoa_inscricoes": lambda: self._of_details("pessoas", "inscricoes", "id_pessoa"),
            "pessoa_perfis": lambda: self._of_details("pessoas", "perfis", "id_pessoa"),
            "produto_kit_itens": lambda: self._of_details("produtos", "detalhe_kit.items", "id_kit"),
            "produto_variacoes": lambda: self._of_rows("produtos", "produtos_variacao", "id_produto_pai"),
            "servico_cenarios_tributarios": lambda: self._of_rows("servicos", "lista_cenario_tributario", "id_servico_uuid"),
            "solicitacoes_cobranca": lambda: self._of_instalments("solicitacoes_cobrancas"),
            "venda_itens": self._sold,
            "venda_parcelas": lambda: self._of_details("vendas", "venda.condicao_pagamento.parcelas", "id_venda"),
        }

    def _instalments(self) -> Iterator[tuple[Record, Record, bool]]:
        for gone, events in ((False, self.business.events), (True, self.business.gone_events)):
            for event in events.values():
                yield from ((event, parcel, gone) for parcel in event["parcelas"])

    def _of_instalments(self, field_: str) -> Iterator[Row]:
        for event, parcel, gone in self._instalments():
            for record in parcel[field_]:
                yield Row(record, {"id_evento": event["id"], "id_parcela": parcel["id"]}, gone)

    def _shares(self) -> Iterator[Row]:
        for gone, events in ((False, self.business.events), (True, self.business.gone_events)):
            for event in events.values():
                for place, share in enumerate(event["evento"]["rateio"]):
                    yield Row(share, {"id_evento": event["id"], "posicao": place}, gone)

    def _centres(self) -> Iterator[Row]:
        for row in self._shares():
            for place, centre in enumerate(row.record["rateio_centro_custo"]):
                add = {"id_evento": row.add["id_evento"], "posicao_rateio": row.add["posicao"], "posicao": place}
                yield Row(centre, add, row.deleted)

    def _of_details(self, of: str, path: str, owner: str, place: str = "") -> Iterator[Row]:
        for row in self._in_full(of, ""):
            found: Any = row.record
            for step in path.split("."):
                found = (found or {}).get(step)
            id_ = row.record["venda"]["id"] if of == "vendas" else row.record["id"]
            for number, record in enumerate(found or []):
                yield Row(record, {owner: id_} | ({place: number} if place else {}), row.deleted)

    def _of_rows(self, table: str, field_: str, owner: str) -> Iterator[Row]:
        for row in self._ledger(table):
            yield from (Row(record, {owner: row.record["id"]}, row.deleted) for record in row.record[field_] or [])

    def _sold(self) -> Iterator[Row]:
        for row in self._in_full("vendas", ""):
            id_ = row.record["venda"]["id"]
            yield from (Row(item, {"id_venda": id_}) for item in self.business.items[id_])

    def _lines(self, items: list[Record], parent: str | None, depth: int) -> Iterator[Row]:
        for item in items:
            yield Row(item, {"id_pai": parent, "nivel": depth})
            yield from self._lines(item["subitens"], item["id"], depth + 1)

    def _links(self) -> Iterator[Row]:
        for row in self._lines(self.business.tree, None, 0):
            yield from (Row(each, {"id_categoria_dre": row.record["id"]}) for each in row.record["categorias_financeiras"])

    # Login

    async def authorize(self, request: Request) -> Response:
        """The page on which a person consents: here at once."""
        query = request.query_params
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            return answer({"error": "invalid_request"}, 400)
        code = f"code-{secrets.token_hex(12)}"
        self._codes.add(code)
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query.get('state', '')})}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        proof = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return answer({"error": "invalid_client"}, 400)
        by_code = form.get("grant_type") == "authorization_code"
        if by_code and form.get("code") not in self._codes:
            return answer({"error": "invalid_grant"}, 400)
        self._codes.discard(form.get("code", ""))
        if not by_code and form.get("grant_type") != "refresh_token":
            return answer({"error": "unsupported_grant_type"}, 400)
        if not by_code and form.get("refresh_token") != self._refresh:
            return answer({"error": "invalid_grant"}, 400)
        # Every use makes a new one, and the old one is dead.
        self._refresh = f"refresh-{secrets.token_hex(12)}"
        access = f"access-{secrets.token_hex(12)}"
        self._access[access] = self.now + TOKEN_SECONDS
        return answer(
            {"access_token": access, "refresh_token": self._refresh, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}
        )

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self._expire_after == 0:
            self._access.clear()
        self._expire_after -= 1
        if scheme != "Bearer" or self.now >= self._access.get(token, 0):
            raise Refusal(401, "Unauthorized")

    def _allow(self, path: str) -> None:
        if self.limits:
            self.limits.count()
        if path in self._forbidden:
            raise Refusal(403, "Forbidden")

    # Answers

    async def get(self, request: Request) -> Response:
        path = request.url.path
        try:
            self._authenticate(request)
            self._allow(path)
            query = {name: value for name, value in request.query_params.items() if name not in self._ignored}
            return answer(self._find(path, query))
        except Refusal as refusal:
            return refusal.response(path, self.now)

    def _find(self, path: str, query: dict[str, str]) -> Any:
        business = self.business
        if path in self._lists:
            return self._page(path, self._lists[path], query)
        match path.removeprefix("/v1/").split("/"):
            case ["pessoas", "conta-conectada"]:
                return self._company()
            case ["venda", "vendedores"]:
                return list(business.rows["vendedores"].values())
            case ["categorias", "configuracao-padrao"]:
                return list(business.rows["categorias_configuracao_padrao"].values())
            case ["financeiro", "categorias-dre"]:
                return {"itens": business.tree}
            case ["conta-financeira", account, "saldo-atual"]:
                return self._balance(account)
            case ["venda", sale, "itens"]:
                items = List(lambda: business.items[sale], _finance)
                return self._page(path, items, query) if sale in business.items else self._unknown()
            case ["financeiro", "eventos-financeiros", "parcelas", parcel]:
                found = (each for event in business.events.values() for each in event["parcelas"] if each["id"] == parcel)
                instalment = next(found, None)
                return shown_instalment(instalment, self._today) if instalment else self._unknown()
            case ["financeiro", "eventos-financeiros", event, "parcelas"]:
                if event not in business.events:
                    self._unknown()
                return [shown_instalment(parcel, self._today) for parcel in business.events[event]["parcelas"]]
            case ["contratos", id_]:
                if id_ not in business.full["contratos"]:
                    raise Refusal(500, "Internal Server Error")
                return business.full["contratos"][id_]
            case ["venda", id_]:
                return business.full["vendas"].get(id_) or self._unknown()
            case [("pessoas" | "orcamentos" | "produtos") as table, id_]:
                return business.full[table][id_] if id_ in business.rows[table] else self._unknown()
        raise Refusal(404, "Not Found")

    @staticmethod
    def _unknown() -> Any:
        raise Refusal(404, "", empty=True)

    def _company(self) -> Record:
        return {name: value for name, value in self.business.company.items() if self._tells_id or name != "id_empresa"}

    @property
    def _today(self) -> str:
        return day(self.now)

    def _balance(self, account: str) -> Record:
        if account not in self.business.balances:
            self._unknown()
        balance = {"saldo_atual": reais(self.business.balances[account])}
        add = {"id_conta_financeira": account, "data_snapshot": self._today}
        self._photographed[account, self._today] = Row(balance, add)
        return balance

    # Lists

    def _page(self, path: str, of: List, query: dict[str, str]) -> Any:
        page, size = query.get("pagina", "1"), query.get("tamanho_pagina", "10")
        if not page.isdigit() or page == "0":
            raise Refusal(400, "Bad Request", html=True)
        if not size.isdigit() or int(size) not in SIZES or int(size) > of.largest:
            raise Refusal(400, f"tamanho_pagina deve ser um de {SIZES}, no máximo {of.largest}")
        rows = of.rows()
        for window in of.windows:
            rows = self._filter(window, rows, query)
        if query.get("campo_ordenado_ascendente", "") not in ("", of.order):
            raise Refusal(400, f"campo_ordenado_ascendente deve ser {of.order}")
        start = (int(page) - 1) * int(size)
        shown = [of.show(row) for row in rows[start : start + int(size)]]
        if start + int(size) >= len(rows) and shown and (lost := self._shorten.get(path, 0)):
            shown = shown[:-lost]
        if path == f"{EVENTS}/alteracoes":
            self._note_fed(shown, query)
        return of.envelope(shown, len(rows), int(page), int(size))

    def _note_fed(self, shown: list[Record], query: dict[str, str]) -> None:
        """The feed is what it told, window by window."""
        low, high = query.get("data_inicio", ""), query.get("data_fim", "")
        for record in shown:
            self._fed[record["id"], low] = Row(record, {"janela_inicio": low, "janela_fim": high})

    def _filter(self, window: Window, rows: list[Any], query: dict[str, str]) -> list[Any]:
        low, high = query.get(window.low), query.get(window.high)
        if low is None and high is None and (not window.required or {window.low, window.high} & self._ignored):
            return rows
        if low is None or high is None:
            raise Refusal(400, f"{window.low} e {window.high} devem ser informados")
        try:
            first, last = seconds_of(low), seconds_of(high)
        except ValueError:
            raise Refusal(400, f"{window.low} ou {window.high} inválido") from None
        if window.longest and last - first > window.longest:
            raise Refusal(400, f"O período não pode ser maior que {window.longest // DAY} dias")
        if window.days:
            return [row for row in rows if low <= window.of(row) <= high]
        return [row for row in rows if first <= window.of(row) <= last]

    def _make_lists(self) -> dict[str, List]:
        business = self.business

        def rows(table: str) -> Callable[[], list[Record]]:
            return lambda: list(business.rows[table].values())

        def newest(table: str) -> Callable[[], list[Record]]:
            """What changed last comes first: rows move between pages while somebody reads."""
            return lambda: sorted(business.rows[table].values(), key=lambda row: row["data_alteracao"], reverse=True)

        def changed(table: str, longest: int = 0) -> Window:
            return Window(
                "data_alteracao_de",
                "data_alteracao_ate",
                lambda row: business.changed[table, row["id"]],
                False,
                longest=longest,
            )

        def dated(low: str, high: str, field_: str, longest: int) -> Window:
            return Window(low, high, lambda row: row[field_][:10], True, required=True, longest=longest)

        def instalments(kind: str) -> List:
            def those() -> list[Any]:
                events = (event for event in business.events.values() if event["evento"]["tipo"] == kind)
                return [(event, parcel) for event in events for parcel in event["parcelas"]]

            due = Window(
                "data_vencimento_de", "data_vencimento_ate", lambda row: row[1]["data_vencimento"], True, required=True
            )
            change = Window("data_alteracao_de", "data_alteracao_ate", lambda row: seconds_of(row[1]["data_alteracao"]), False)
            return List(those, _finance, (due, change), show=lambda row: listed_instalment(row[0], row[1], self._today))

        saved = Window("data_inicio", "data_fim", lambda id_: business.feed[id_], False, required=True, longest=YEAR)
        opened = Window(
            "data_inicio",
            "data_fim",
            lambda row: business.changed["saldos_iniciais", row["id_conta_financeira"]],
            False,
            required=True,
            longest=YEAR,
        )
        term = Window("data_inicio", "data_fim", lambda row: row["data_inicio"], True, required=True)
        moved = Window("data_inicio", "data_fim", lambda row: row["data"], True)
        return {
            "/v1/pessoas": List(newest("pessoas"), _people, (changed("pessoas"),)),
            "/v1/produtos": List(rows("produtos"), _people),
            "/v1/servicos": List(rows("servicos"), _services, largest=100),
            "/v1/produtos/categorias": List(rows("produto_categorias"), _catalogue),
            "/v1/produtos/ncm": List(rows("produto_ncm"), _catalogue),
            "/v1/produtos/cest": List(rows("produto_cest"), _catalogue),
            "/v1/produtos/unidades-medida": List(rows("produto_unidades_medida"), _catalogue),
            "/v1/produtos/ecommerce-marcas": List(rows("produto_ecommerce_marcas"), _catalogue),
            "/v1/categorias": List(rows("categorias"), _finance),
            "/v1/centro-de-custo": List(rows("centros_de_custo"), _finance),
            "/v1/conta-financeira": List(rows("contas_financeiras"), _finance),
            "/v1/contratos": List(rows("contratos"), _plain, (term,), largest=50, order="DATA_INICIO"),
            "/v1/venda/busca": List(rows("vendas"), _sales, (changed("vendas", YEAR),), order="NUMERO"),
            "/v1/orcamentos": List(rows("orcamentos"), _quotes, (changed("orcamentos"),), order="NUMERO"),
            f"{EVENTS}/contas-a-receber/buscar": instalments("RECEITA"),
            f"{EVENTS}/contas-a-pagar/buscar": instalments("DESPESA"),
            f"{EVENTS}/alteracoes": List(lambda: list(business.feed), _plain, (saved,), show=lambda id_: {"id": id_}),
            f"{EVENTS}/saldo-inicial": List(rows("saldos_iniciais"), _plain, (opened,)),
            "/v1/financeiro/transferencias": List(rows("transferencias"), _plain, (moved,)),
            "/v1/notas-fiscais": List(
                rows("notas_fiscais"),
                _too_many,
                (dated("data_inicial", "data_final", "data_emissao", 15 * DAY),),
                largest=100,
            ),
            "/v1/notas-fiscais-servico": List(
                rows("notas_fiscais_servico"),
                _services,
                (dated("data_competencia_de", "data_competencia_ate", "data_competencia", 15 * DAY),),
                largest=100,
            ),
        }


def build(*, seed: int, scale: float, now: int, limits: bool) -> ContaAzul:
    """The stand-in as `datalake.sandbox` runs it."""
    return ContaAzul(Business(seed, scale, now), limits=limits)
