"""The stand-in for Conta Azul: shapes against the official description, rules over real HTTP, a company that adds up."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from datalake import contracts
from datalake.model import Table
from datalake.sandbox.base import Row, Server, running
from datalake.sandbox.conta_azul import CLIENT_ID, CLIENT_SECRET, build
from datalake.sources.conta_azul import DATED, DUE_TABLES

SPEC = json.loads((Path(__file__).parent.parent / "specs" / "conta_azul" / "schema.json").read_text())
SOURCE = contracts.load_source("conta_azul")
NOW = 1_795_036_000
EVENTS = "/v1/financeiro/eventos-financeiros"

DESCRIBED = {
    "baixas": "financial.Baixa",
    "categorias": "financial.Categoria",
    "categorias_configuracao_padrao": "financial.ConfiguracaoPadraoCategoria",
    "categorias_dre": "financial.CategoriaDRE",
    "categorias_dre_vinculos": "financial.CategoriaFinanceira",
    "centros_de_custo": "financial.CentroDeCusto",
    "contas_a_pagar": "financial.ContaAPagar",
    "contas_a_receber": "financial.ContaAReceber",
    "contas_financeiras": "financial.ContaFinanceira",
    "contas_financeiras_saldo": "financial.SaldoAtualResponse",
    "contratos": "scheduled-sales.ItemContrato",
    "contratos_detalhe": "scheduled-sales.ContratoResumo",
    "evento_rateio_centros_custo": "financial.RateioCentroCusto",
    "evento_rateios": "financial.Rateio",
    "eventos_alteracoes": "financial.EventoFinanceiro",
    "eventos_financeiros": "financial.Evento",
    "orcamento_itens": "proposal.ItemOrcamento",
    "orcamentos": "proposal.ItemOrcamentoPorFiltro",
    "orcamentos_detalhe": "proposal.Orcamento",
    "parcela_anexos": "financial.AnexoParcela",
    "parcelas": "financial.Parcela",
    "saldos_iniciais": "financial.SaldoInicialContaFinanceira",
    "solicitacoes_cobranca": "financial.SolicitacaoCobranca",
    "transferencias": "financial.TransferenciaContaFinanceira",
    "venda_itens": "sales.Item",
    "venda_parcelas": "sales.ParcelaNegociacao",
    "vendas": "sales.Venda",
    "vendas_detalhe": "sales.ObterVendaResponse",
    "vendedores": "sales.Vendedor",
}


def faults(table: str, record: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{DESCRIBED[table]}", "$defs": SPEC["$defs"]})
    return [f"{table} {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(record)]


class Caller:
    """Calls the stand-in as a client with a login does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        status, told, _ = self.login(refresh_token=server.env["CONTA_AZUL_REFRESH_TOKEN"])
        assert status == 200, told
        self.access, self.refresh = told["access_token"], told["refresh_token"]

    def login(self, client: str = f"{CLIENT_ID}:{CLIENT_SECRET}", **form: str) -> tuple[int, Any, str]:
        proof = base64.b64encode(client.encode()).decode()
        body = urllib.parse.urlencode({"grant_type": "refresh_token", **form}).encode()
        return self._ask("/oauth2/token", {"Authorization": f"Basic {proof}"}, body)

    def get(self, path: str, **params: object) -> tuple[int, Any, str]:
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        return self._ask(path + query, {"Authorization": f"Bearer {self.access}"})

    def _ask(self, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, Any, str]:
        request = urllib.request.Request(self.server.url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply), reply.headers["content-type"]
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
                kind = error.headers.get("content-type", "")
                return error.code, json.loads(text) if kind == "application/json" else text.decode(), kind


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("conta_azul", now=NOW, limits=False) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def caller(server: Server) -> Caller:
    return Caller(server)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    """Every table's truth after three days."""
    stand_in = build(seed=5, scale=0.5, now=NOW, limits=False)
    stand_in.advance(3 * 86_400)
    for account in list(stand_in.business.balances):
        stand_in._find(f"/v1/conta-financeira/{account}/saldo-atual", {})
    feed = {"data_inicio": "2026-10-01T00:00:00", "data_fim": "2026-11-30T00:00:00", "tamanho_pagina": "1000"}
    stand_in._find(f"{EVENTS}/alteracoes", feed)
    return {name: list(stand_in.ledger(name)) for name in SOURCE.tables}


@pytest.mark.parametrize("table", DESCRIBED)
def test_answers_have_the_official_shape(rows: dict[str, list[Row]], table: str) -> None:
    assert rows[table]
    assert [fault for row in rows[table] for fault in faults(table, row.record)][:5] == []


def test_a_shape_that_is_not_official_is_found(rows: dict[str, list[Row]]) -> None:
    record = rows["parcelas"][0].record
    assert faults("parcelas", {**record, "made_up": 1})
    assert faults("parcelas", {**record, "valor_pago": "1"})
    assert faults("parcelas", {**record, "metodo_pagamento": "CONCHAS"})
    assert faults("contas_a_receber", {**rows["contas_a_receber"][0].record, "id": None})


@pytest.mark.parametrize("table", [SOURCE.tables[name] for name in DESCRIBED], ids=lambda table: table.name)
def test_contracts_name_every_official_field_and_no_other(table: Table) -> None:
    fields = set(SPEC["$defs"][DESCRIBED[table.name]]["properties"])
    named = {column.field[0] for column in table.columns if not column.from_request}
    assert named <= fields
    left_out = {"subitens"} if table.name == "categorias_dre" else set()
    assert fields <= named | set(table.ignore) | {path.split(".")[0] for path in table.secrets} | left_out


@pytest.mark.parametrize("table", [table for table in SOURCE.tables.values() if table.path in SPEC["parameters"]], ids=str)
def test_what_is_asked_for_is_documented(table: Table) -> None:
    known: dict[str, bool] = SPEC["parameters"][table.path]
    sent = set(dict(table.params)) | ({"pagina"} if "tamanho_pagina" in dict(table.params) else set())
    if table.name in DATED:
        sent |= {DATED[table.name].filter.low, DATED[table.name].filter.high}
    if table.rows == "modified_window":
        sent |= {"data_alteracao_de", "data_alteracao_ate"}
    if table.rows in ("change_feed", "date_window") and table.name not in DATED:
        sent |= {"data_inicio", "data_fim"}
    if table.rows != "from_parent":
        assert sent <= set(known)
        assert {name for name, required in known.items() if required} <= sent
    assert (table.name in DUE_TABLES) == ("data_vencimento_de" in known)


# Rules over HTTP


def test_a_refresh_token_works_once() -> None:
    with running("conta_azul", now=NOW, scale=0.1) as server:
        caller = Caller(server)
        assert caller.login(refresh_token=server.env["CONTA_AZUL_REFRESH_TOKEN"])[:2] == (400, {"error": "invalid_grant"})
        assert caller.get("/v1/pessoas")[0] == 200
        status, told, _ = caller.login(refresh_token=caller.refresh)
        assert (status, told["expires_in"], told["token_type"]) == (200, 3600, "Bearer")
        assert caller.get("/v1/pessoas")[0] == 200  # the access token before it lives on
        assert caller.login(client="sandbox-client:wrong", refresh_token=told["refresh_token"])[1] == {
            "error": "invalid_client"
        }
        caller.access = told["access_token"]
        assert caller.get("/v1/pessoas")[0] == 200
        server.advance(1 / 24)
        assert caller.get("/v1/pessoas")[0] == 401


def test_pages_have_fixed_sizes(caller: Caller) -> None:
    for size in (10, 20, 50, 100, 200, 500, 1000):
        assert caller.get("/v1/pessoas", tamanho_pagina=size)[0] == 200
    for path, size in (("/v1/pessoas", 300), ("/v1/servicos", 200), ("/v1/notas-fiscais", 200), ("/v1/contratos", 100)):
        status, told, _ = caller.get(path, tamanho_pagina=size, data_inicial="2026-11-01", data_final="2026-11-10")
        assert (status, told["status"]) == (400, 400)
    assert caller.get("/v1/pessoas", pagina=0)[::2] == (400, "text/html; charset=utf-8")
    pages = [caller.get("/v1/pessoas", pagina=page, tamanho_pagina=10)[1] for page in range(1, 6)]
    ids = [row["id"] for page in pages for row in page["items"]]
    assert len(ids) == len(set(ids)) == pages[0]["totalItems"]
    assert pages[-1]["items"] == []


def test_envelopes_differ_and_totals_lie(caller: Caller) -> None:
    window = {"data_inicial": "2026-11-08", "data_final": "2026-11-22", "tamanho_pagina": 100}
    invoices = caller.get("/v1/notas-fiscais", **window)[1]
    assert invoices["paginacao"]["total_itens"] == len(invoices["itens"]) + 7
    quotes = caller.get("/v1/orcamentos", tamanho_pagina=1000)[1]
    assert quotes["total_itens"] == len(quotes["itens"]) - 1
    assert caller.get("/v1/pessoas", data_alteracao_de="2001-01-01T00:00:00", data_alteracao_ate="2001-01-02T00:00:00")[1] == {
        "totalItems": 0,
        "items": None,
    }
    assert set(caller.get("/v1/produtos/ncm")[1]) == {"total_items", "items"}
    assert isinstance(caller.get("/v1/venda/vendedores")[1], list)


def test_filters_are_pairs_in_local_time_and_unknown_ones_are_ignored(caller: Caller) -> None:
    everybody = caller.get("/v1/pessoas", tamanho_pagina=1000)[1]["items"]
    newest = max(row["data_alteracao"] for row in everybody)
    assert not newest.endswith("Z")
    second = newest[:19]
    found = caller.get("/v1/pessoas", data_alteracao_de=second, data_alteracao_ate=second)[1]["items"]
    assert [row["data_alteracao"] for row in found] == [newest]
    assert caller.get("/v1/pessoas", data_alteracao_desde=second, tamanho_pagina=1000)[1]["items"] == everybody
    assert caller.get("/v1/orcamentos", data_alteracao_de=second)[0] == 400
    assert caller.get(f"{EVENTS}/contas-a-receber/buscar")[0] == 400
    year = {"data_inicio": "2025-01-01T00:00:00", "data_fim": "2026-06-01T00:00:00"}
    assert caller.get(f"{EVENTS}/alteracoes", **year)[0] == 400
    fortnight = {"data_inicial": "2026-11-01", "data_final": "2026-11-22"}
    assert caller.get("/v1/notas-fiscais", **fortnight)[0] == 400


def test_what_is_gone_answers_in_many_ways(server: Server, caller: Caller) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    assert caller.get(f"/v1/pessoas/{nobody}") == (404, "", "")
    assert caller.get(f"/v1/contratos/{nobody}")[0] == 500
    assert caller.get(f"{EVENTS}/{nobody}/parcelas")[0] == 404
    cancelled = [row.record for row in server.ledger("vendas") if row.deleted]
    assert cancelled
    status, sale, _ = caller.get(f"/v1/venda/{cancelled[0]['id']}")
    assert (status, sale["venda"]["status"]) == (200, "CANCELADO")
    assert cancelled[0]["id"] not in [row["id"] for row in caller.get("/v1/venda/busca", tamanho_pagina=1000)[1]["itens"]]


def test_ten_calls_a_second() -> None:
    with running("conta_azul", now=NOW, scale=0.1) as server:
        caller = Caller(server)
        answers = [caller.get("/v1/venda/vendedores") for _ in range(12)]
        assert [status for status, _, _ in answers] == [200] * 10 + [429] * 2
        assert answers[-1][1]["message"] == "Too Many Requests"


# The company


def test_the_same_seed_gives_the_same_company_however_time_passes() -> None:
    def truth(*steps: int, seed: int = 3) -> str:
        stand_in = build(seed=seed, scale=0.3, now=NOW, limits=False)
        for seconds in steps:
            stand_in.advance(seconds)
        return json.dumps([[name, [row.record for row in stand_in.ledger(name)]] for name in SOURCE.tables])

    at_once = truth(4 * 86_400)
    assert truth(86_400, 50_000, 3 * 86_400 - 50_000) == at_once
    assert truth(4 * 86_400, seed=4) != at_once


def check_digits_hold(document: str) -> bool:
    digits = [int(digit) for digit in document]
    weights = (*range(6, 10), *range(2, 10)) if len(digits) == 14 else tuple(range(1, 10))
    for _ in range(2):
        if sum(digit * weight for digit, weight in zip(digits, weights, strict=False)) % 11 % 10 != digits[len(weights)]:
            return False
        weights = (5, *weights) if len(digits) == 14 else (0, *weights)
    return True


def test_the_company_adds_up(rows: dict[str, list[Row]]) -> None:
    alive = {name: [row for row in told if not row.deleted] for name, told in rows.items()}
    people = {row.record["id"]: row.record for row in rows["pessoas"]}
    for person in people.values():
        assert len(person["documento"]) == (14 if person["tipo_pessoa"] == "Jurídica" else 11)
        assert check_digits_hold(person["documento"])
    assert not check_digits_hold("12345678901")
    for sale in alive["vendas"]:
        assert sale.record["cliente"]["id"] in people
    parcels = {row.record["id"]: row for row in alive["parcelas"]}
    listed = [*alive["contas_a_receber"], *alive["contas_a_pagar"]]
    assert {row.record["id"] for row in listed} == set(parcels)
    for row in listed:
        parcel = parcels[row.record["id"]].record
        assert row.record["total"] == parcel["valor_total_liquido"]
        assert round(row.record["pago"] + row.record["nao_pago"], 2) == row.record["total"]
        assert round(sum(each["valor_composicao"]["valor_liquido"] for each in parcel["baixas"]), 2) == row.record["pago"]
    for event in alive["eventos_financeiros"]:
        shares = round(sum(share["valor"] for share in event.record["rateio"]), 2)
        of_event = [row.record for row in parcels.values() if row.add["id_evento"] == event.record["id"]]
        assert shares == round(sum(parcel["valor_total_liquido"] for parcel in of_event), 2)
        assert event.record["condicao_pagamento"]["quantidade_parcelas"] == len(of_event)
    origins = {event.record["id"] for event in rows["eventos_financeiros"]}
    assert {row.record["evento_financeiro"]["id"] for row in rows["vendas_detalhe"]} <= origins
    assert any(row.record["status"] == "OVERDUE" for row in listed)
    assert {row.record["status"] for row in listed} >= {"ACQUITTED", "PENDING", "OVERDUE"}
