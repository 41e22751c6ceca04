"""Conta Azul read from its stand-in over real HTTP: login, silent filters, windows, deletions, money and times."""

import datetime as dt
import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.lake.raw import Commit
from datalake.model import Layer
from datalake.pipeline import run_source
from datalake.sandbox.base import Server, running
from datalake.secret_store import secret_store
from datalake.settings import SettingError, Settings
from datalake.sources import conta_azul, conta_azul_children, conta_azul_lists, identify, open_run
from datalake.sources.base import AuthenticationFailed, Permanent, Skipped, Window
from datalake.sources.conta_azul_lists import ZONE, Filter, Stretch
from datalake.sources.engine import Extraction
from datalake.sources.paging import lines_of
from datalake.sources.progress import LogProgress
from datalake_tests import oracle
from datalake_tests.sources.raw_lake import RawLake

SOURCE = contracts.load_source("conta_azul")
LIMITS = conta_azul.LIMITS
NOW = 1_795_036_000
"""18:06 on a Wednesday in São Paulo."""
WEEKLY = {"CONTA_AZUL_COMPARE_DAYS": "7"}
EVENTS = "/v1/financeiro/eventos-financeiros"


class Company:
    """A lake, the stand-in that it reads, and what reading said."""

    def __init__(self, folder: Path, server: Server, **env: str) -> None:
        self.server = server
        self.raw = RawLake("conta_azul", folder, server.env, **env)
        self.settings = self.raw.settings
        self.lake = Lake(self.settings)

    def read(self, name: str, **how: Any) -> Extraction:
        """Read a table in a run of its own and commit it. Raises what reading raised."""
        return self.raw.sync(name, **how)[name]

    def sync(self, *names: str, upto: Layer = Layer.TREATED) -> dict[str, str]:
        """Bring tables (all of them) up to a layer; the errors by table."""
        tables = [SOURCE.tables[name] for name in names or SOURCE.tables]
        layers = {table.name: list(Layer)[: list(Layer).index(upto) + 1] for table in tables}
        errors = {}
        for step in run_source(self.lake, SOURCE, tables, run_id=uuid.uuid4().hex, layers=layers, progress=LogProgress()):
            if step.error is None:
                step.commit()
            else:
                errors[step.table.name] = str(step.error)
        return errors

    def head(self, name: str) -> Commit:
        head = self.lake.log(SOURCE.tables[name]).head()
        assert head is not None
        return head

    def lines(self, name: str, after: int = 0) -> list[Any]:
        log = self.lake.log(SOURCE.tables[name])
        return [line for commit in log.since(after) for line in lines_of(log, commit)]

    def records(self, name: str, after: int = 0) -> list[dict[str, Any]]:
        return [json.loads(bytes(line.record)) for line in self.lines(name, after) if not line.lake.op]

    def treated(self, name: str) -> list[dict[str, Any]]:
        return list(oracle.published(self.lake, SOURCE.tables[name]).values())

    def difference(self, name: str) -> list[str]:
        table = SOURCE.tables[name]
        told = oracle.expected(SOURCE, table, self.server.ledger(name))
        assert told
        return oracle.difference(told, oracle.published(self.lake, table))


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conta_azul, "LIMITS", ())


@pytest.fixture(scope="module")
def standing_still() -> Iterator[Server]:
    with running("conta_azul", seed=11, scale=0.3, now=NOW, limits=False) as server:
        yield server


@pytest.fixture
def server(standing_still: Server) -> Server:
    """A company in which no time passes, as if it had just been started."""
    standing_still.clear_faults()
    standing_still.control(login=True, ignore=[], forbid=[], shorten={}, company_id=True, expire_after=-1)
    standing_still.calls(clear=True)
    return standing_still


@pytest.fixture
def company(tmp_path: Path, server: Server) -> Iterator[Company]:
    found = Company(tmp_path / "lake", server, **WEEKLY)
    yield found
    found.lake.close()


@pytest.fixture
def lively(tmp_path: Path) -> Iterator[Company]:
    """A company in which days pass."""
    with running("conta_azul", seed=11, scale=0.3, now=NOW, limits=False) as server:
        found = Company(tmp_path / "lake", server, **WEEKLY)
        yield found
        found.lake.close()


def asked(server: Server, path: str, *, clear: bool = True) -> list[dict[str, str]]:
    """The queries of all calls to a path, oldest first."""
    calls = [call for call in server.calls(clear=clear) if re.fullmatch(path, call["path"])]
    return [{name: values[0] for name, values in parse_qs(call["query"]).items()} for call in calls]


# Login


def test_the_first_token_is_used_once_and_its_successor_is_kept(lively: Company) -> None:
    company, server = lively, lively.server
    company.read("vendedores")
    kept = secret_store(company.settings).get("CONTA_AZUL_TOKEN")
    assert kept is not None
    assert company.settings["CONTA_AZUL_REFRESH_TOKEN"] not in json.loads(kept)["refresh"]
    company.read("categorias")
    assert len([call for call in server.calls() if call["path"] == "/oauth2/token"]) == 1
    # An hour later the access token has ended: the kept refresh token works, once more.
    server.advance(1)
    company.read("vendedores")
    assert [call["status"] for call in server.calls() if call["path"] == "/oauth2/token"] == [200, 200]


def test_a_used_token_is_refused(company: Company, server: Server, tmp_path: Path) -> None:
    company.read("vendedores")
    elsewhere = Company(tmp_path / "other", server)
    with pytest.raises(AuthenticationFailed, match="an administrator must consent again") as refused:
        elsewhere.read("vendedores")
    assert server.env["CONTA_AZUL_REFRESH_TOKEN"] not in str(refused.value)
    assert server.env["CONTA_AZUL_CLIENT_SECRET"] not in str(refused.value)
    elsewhere.lake.close()
    company.read("categorias")  # the first lake still gets in


def test_a_token_that_ends_in_the_middle_of_a_run_is_renewed(company: Company, server: Server) -> None:
    company.read("pessoas")
    server.calls(clear=True)
    server.control(expire_after=6)
    read = company.read("pessoas_detalhe")
    assert read.rows == len(company.records("pessoas")) > 8
    calls = server.calls()
    assert len([call for call in calls if call["path"] == "/oauth2/token"]) == 1  # many were refused, one renewed
    assert [call for call in calls if call["status"] == 401]


def test_settings_are_checked(company: Company, server: Server) -> None:
    def opened(**env: str) -> None:
        open_run(SOURCE, Settings.load({**company.settings.values, **env}), LogProgress()).close()

    with pytest.raises(SettingError, match="CONTA_AZUL_CLIENT_ID is not set"):
        opened(CONTA_AZUL_CLIENT_ID="")
    with pytest.raises(SettingError, match="CONTA_AZUL_SINCE is 'spring'"):
        opened(CONTA_AZUL_SINCE="spring")
    with pytest.raises(SettingError, match="CONTA_AZUL_COMPARE_DAYS is '0'"):
        opened(CONTA_AZUL_COMPARE_DAYS="0")


def test_identify_names_the_company_and_what_it_may_not_read(company: Company, server: Server) -> None:
    told = identify(SOURCE, company.settings)
    assert "all core lists can be read" in told
    assert "may also write" in told
    server.control(forbid=["/v1/notas-fiscais-servico", "/v1/produtos"])
    assert "may not read notas_fiscais_servico, produtos" in identify(SOURCE, company.settings)


def test_a_refused_table_is_skipped_with_advice(company: Company, server: Server) -> None:
    server.control(forbid=["/v1/notas-fiscais-servico"])
    with pytest.raises(Skipped, match="datalake connect conta_azul"):
        company.read("notas_fiscais_servico")
    company.read("notas_fiscais")


# The company


def test_the_company_stands_in_every_row_and_every_call_is_taken(company: Company, server: Server) -> None:
    assert company.sync(upto=Layer.RAW) == {}
    (own,) = server.ledger("conta_conectada")
    for name in SOURCE.tables:
        lines = company.lines(name)
        assert lines, name
        for line in lines:
            told = line.lake.scope if line.lake.op == "complete" else line.lake.add
            assert told["empresa_id"] == own.record["id_empresa"], name
        assert set(company.head(name).cursor) == {own.record["id_empresa"]}
    sizes: dict[str, set[str]] = {}
    for call in server.calls():
        size = parse_qs(call["query"]).get("tamanho_pagina")
        if size:
            sizes.setdefault(call["path"], set()).add(size[0])
        assert call["status"] == 200, call
    # Sizes are fixed, and some lists take no more than others.
    assert sizes["/v1/contratos"] == {"50"}
    assert sizes["/v1/servicos"] == sizes["/v1/notas-fiscais"] == sizes["/v1/notas-fiscais-servico"] == {"100"}
    assert set.union(*sizes.values()) == {"50", "100", "500", "1000"}


def test_a_company_without_id_needs_a_name(company: Company, server: Server, tmp_path: Path) -> None:
    server.control(company_id=False)
    with pytest.raises(SettingError, match="CONTA_AZUL_COMPANY"):
        company.read("vendedores")
    named = Company(tmp_path / "lake", server, CONTA_AZUL_COMPANY="matriz", **WEEKLY)
    named.read("vendedores")
    assert {line.lake.add.get("empresa_id", "matriz") for line in named.lines("vendedores")} == {"matriz"}
    named.lake.close()


def test_two_companies_in_one_lake_keep_out_of_each_others_way(company: Company, server: Server, tmp_path: Path) -> None:
    other = Company(tmp_path / "lake", server, CONTA_AZUL_COMPANY="filial", **WEEKLY)
    assert company.sync("orcamentos", "orcamentos_detalhe") == {}
    rows = len(company.treated("orcamentos"))
    assert other.sync("orcamentos", "orcamentos_detalhe") == {}
    assert len(company.treated("orcamentos")) == len(company.treated("orcamentos_detalhe")) == 2 * rows
    assert not any(row["_deleted"] for row in company.treated("orcamentos"))
    server.calls(clear=True)
    assert company.sync("orcamentos", "orcamentos_detalhe") == {}
    assert asked(server, "/v1/orcamentos/.*") == []  # what the other company brought is no news to this one
    other.lake.close()


# Filters that are not heard


@pytest.mark.parametrize(
    "name, ignored, first",
    [
        ("pessoas", ["data_alteracao_de", "data_alteracao_ate"], False),
        ("vendas", ["data_alteracao_de", "data_alteracao_ate"], False),
        ("orcamentos", ["data_alteracao_de", "data_alteracao_ate"], False),
        ("contas_a_pagar", ["data_alteracao_de", "data_alteracao_ate"], False),
        ("notas_fiscais", ["data_inicial", "data_final"], True),
        ("notas_fiscais_servico", ["data_competencia_de", "data_competencia_ate"], True),
        ("transferencias", ["data_inicio", "data_fim"], True),
        ("eventos_alteracoes", ["data_inicio", "data_fim"], True),
        ("saldos_iniciais", ["data_inicio", "data_fim"], True),
    ],
)
def test_an_ignored_filter_is_an_error_and_nothing_is_kept(
    company: Company, server: Server, name: str, ignored: list[str], first: bool
) -> None:
    if not first:
        company.read(name)
    before = company.lake.log(SOURCE.tables[name]).head()
    server.control(ignore=ignored)
    with pytest.raises(Permanent, match=f"ignored {ignored[0]}"):
        company.read(name)
    after = company.lake.log(SOURCE.tables[name]).head()
    assert (after.sequence, after.cursor) == (before.sequence, before.cursor) if before and after else after is None
    server.control(ignore=[])
    company.read(name)
    assert company.records(name)


def test_due_dates_that_are_not_heard_are_an_error(company: Company, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window of a first load holds all; where it is cut, rows outside of the halves tell."""
    monkeypatch.setattr(conta_azul_lists, "MOST_ROWS", 5)
    server.control(ignore=["data_vencimento_de", "data_vencimento_ate"])
    with pytest.raises(Permanent, match="ignored data_vencimento_de"):
        company.read("contas_a_receber")


def test_a_page_size_that_is_not_heard(company: Company, server: Server) -> None:
    server.control(ignore=["tamanho_pagina"])
    read = company.read("categorias")  # ten a page then: every page is read all the same
    assert read.rows == len(server.ledger("categorias")) > 10
    rows = [{"id": str(number)} for number in range(60)]
    server.fault("/v1/contratos", status=200, body=json.dumps({"itens_totais": 60, "itens": rows}))
    with pytest.raises(Permanent, match="60 rows came where tamanho_pagina=50"):
        company.read("contratos")


def test_a_page_number_that_is_not_heard(company: Company, server: Server) -> None:
    server.control(ignore=["pagina", "tamanho_pagina"])
    with pytest.raises(Permanent, match="the same page came again"):
        company.read("categorias")


@pytest.mark.parametrize("body", ['{"error": "Mensagem"}', "<html>Erro</html>", "", '{"totalItems": 3}', "[]"])
def test_an_answer_that_is_no_list_is_an_error(company: Company, server: Server, body: str) -> None:
    server.fault("/v1/pessoas[?]", status=200, body=body)
    with pytest.raises(Permanent, match=r"conta_azul\.pessoas"):
        company.read("pessoas")


def test_lists_come_as_itens_or_items(company: Company, server: Server) -> None:
    for envelope in ("itens", "items"):
        centre = {"id": f"centro-{envelope}", "nome": "Centro", "ativo": True, "codigo": None}
        server.fault("/v1/centro-de-custo", status=200, body=json.dumps({"itens_totais": 1, envelope: [centre]}))
        company.read("centros_de_custo")
    assert [record["id"] for record in company.records("centros_de_custo")] == ["centro-itens", "centro-items"]


# Pages and windows


def test_a_window_with_too_many_rows_is_cut(company: Company, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conta_azul_lists, "MOST_ROWS", 4)
    read = company.read("contas_a_receber")
    living = {row.record["id"] for row in server.ledger("contas_a_receber") if not row.deleted}
    assert {record["id"] for record in company.records("contas_a_receber")} == living
    assert read.rows == len(living) > 12
    windows = [(query["data_vencimento_de"], query["data_vencimento_ate"]) for query in asked(server, ".*/contas-a-receber/.*")]
    assert windows[0] == ("2000-01-01", "2099-12-31")
    assert len(set(windows)) > 6
    company.read("eventos_alteracoes")
    events = {row.record["id"] for row in server.ledger("eventos_alteracoes")}
    assert {record["id"] for record in company.records("eventos_alteracoes")} == events
    assert len({query["data_inicio"] for query in asked(server, ".*/alteracoes")}) > 3


def test_a_stretch_is_cut_without_gap_or_overlap() -> None:
    def at(*parts: int) -> dt.datetime:
        return dt.datetime(*parts, tzinfo=ZONE)  # type: ignore[arg-type]  # the parts of a day and a time

    fortnight = Filter("from", "to", "date", days=True, longest=dt.timedelta(days=15))
    pieces = [tuple(piece.params().values()) for piece in Stretch(fortnight, at(2026, 1, 1), at(2026, 2, 5)).pieces()]
    assert pieces == [("2026-01-01", "2026-01-15"), ("2026-01-16", "2026-01-30"), ("2026-01-31", "2026-02-05")]
    three = Stretch(fortnight, at(2026, 1, 1), at(2026, 1, 3))
    assert [tuple(half.params().values()) for half in three.halves()] == [
        ("2026-01-01", "2026-01-02"),
        ("2026-01-03", "2026-01-03"),
    ]
    assert three.halves()[1].halves() == ()
    moments = Filter("from", "to", "changed", days=False, longest=dt.timedelta(days=365))
    years = [piece.params() for piece in Stretch(moments, at(2024, 1, 1), at(2026, 1, 1)).pieces()]
    assert years[0] == {"from": "2024-01-01T00:00:00", "to": "2024-12-31T00:00:00"}
    assert all(one["to"] == two["from"] for one, two in itertools.pairwise(years))
    assert years[-1]["to"] == "2026-01-01T00:00:00"
    assert Stretch(moments, at(2026, 1, 1), at(2026, 1, 1, 0, 0, 1)).halves() == ()


@pytest.mark.parametrize(
    "days, value, fits",
    [
        (False, "2026-11-22T10:00:00", True),
        (False, "2026-11-22T09:59:58", False),
        (False, "2026-11-22T12:00:00.841", True),
        (False, "2026-11-22T12:00:03", False),
        (False, "2026-11-22T13:00:00Z", True),  # 10:00 in GMT-3, if the Z is meant
        (False, "2026-11-22T17:00:00Z", False),
        (False, None, False),
        (False, "", False),
        (False, "soon", False),
        (True, "2026-11-22", True),
        (True, "2026-11-22T23:59:59", True),
        (True, "2026-11-21", False),
        (True, "2026-11-23", False),
        (True, "2026-11-23T12:00:00", False),
    ],
)
def test_what_a_stretch_holds(days: bool, value: object, fits: bool) -> None:
    low = dt.datetime(2026, 11, 22, 0 if days else 10, tzinfo=ZONE)
    high = low if days else dt.datetime(2026, 11, 22, 12, tzinfo=ZONE)
    assert Stretch(Filter("from", "to", "at", days=days), low, high).holds(value) is fits


def test_invoices_are_asked_for_in_windows_of_fifteen_days(company: Company, server: Server) -> None:
    company.read("notas_fiscais")
    windows = [(query["data_inicial"], query["data_final"]) for query in asked(server, "/v1/notas-fiscais")]
    days = [(dt.date.fromisoformat(high) - dt.date.fromisoformat(low)).days for low, high in windows]
    assert set(days) == {14}
    assert len(set(windows)) == len(days) - sum(count > 1 for count in Counter(windows).values())  # an empty page ends a list
    company.read("notas_fiscais")
    again = {query["data_inicial"] for query in asked(server, "/v1/notas-fiscais")}
    assert min(again) <= "2026-10-04"  # 45 days back
    assert len(again) <= 5


def test_a_stretch_of_the_past_is_read_again_without_moving_on(company: Company, server: Server) -> None:
    company.read("pessoas")
    before = company.head("pessoas")
    window = Window(dt.datetime(2026, 8, 1, tzinfo=dt.UTC), dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
    company.read("pessoas", window=window)
    assert company.head("pessoas").cursor == before.cursor
    assert company.records("pessoas", before.sequence)
    (query,) = {tuple(query.items()) for query in asked(server, "/v1/pessoas")[-1:]}
    assert ("data_alteracao_de", "2026-07-31T21:00:00") in query
    for name in ("notas_fiscais", "eventos_alteracoes"):
        company.read(name)
        cursor = company.head(name).cursor
        assert company.read(name, window=window).rows > 0
        assert company.head(name).cursor == cursor


# What changed


def test_only_changes_are_asked_for_and_told(lively: Company) -> None:
    company, server = lively, lively.server
    names = ("pessoas", "pessoas_detalhe", "vendas", "vendas_detalhe", "venda_itens", "produtos", "produtos_detalhe")
    assert company.sync(*names) == {}
    server.calls(clear=True)
    before = {name: company.head(name).sequence for name in names}
    assert company.sync(*names) == {}
    assert asked(server, "/v1/(pessoas|venda|produtos)/(?!conta-conectada|busca).*", clear=False) == []
    assert all(not company.records(name, before[name]) for name in names)
    (change,) = asked(server, "/v1/pessoas")
    assert change["data_alteracao_ate"] == "2026-11-19T18:06:40"
    happened = server.advance(1)
    assert company.sync(*names) == {}
    people = {record["id"] for record in company.records("pessoas", before["pessoas"])}
    assert 0 < len(people) <= happened["person_new"] + happened["person_edit"]
    assert {record["id"] for record in company.records("pessoas_detalhe", before["pessoas_detalhe"])} == people
    assert len(asked(server, "/v1/pessoas/(?!conta-conectada).*", clear=False)) == len(people)
    products = {record["id"] for record in company.records("produtos_detalhe", before["produtos_detalhe"])}
    assert len(products) == happened["product_edit"] + happened.get("product_new", 0)
    for name in ("pessoas_detalhe", "venda_itens"):
        assert [line for line in company.difference(name) if "deleted" not in line] == []


def test_what_falls_due_becomes_overdue_though_nothing_tells(lively: Company) -> None:
    company, server = lively, lively.server
    names = ("contas_a_receber", "contas_a_pagar", "eventos_alteracoes", "parcelas")
    assert company.sync(*names) == {}
    pending = {row.record["id"] for row in server.ledger("contas_a_receber") if row.record["status"] == "PENDING"}
    server.advance(5)
    overdue = {row.record["id"] for row in server.ledger("contas_a_receber") if row.record["status"] == "OVERDUE"}
    assert pending & overdue
    assert company.sync(*names) == {}
    for name in ("contas_a_receber", "parcelas"):
        assert [line for line in company.difference(name) if "deleted" not in line] == []


def test_the_feed_goes_on_where_it_ended(lively: Company) -> None:
    company, server = lively, lively.server
    company.read("eventos_alteracoes")
    through = company.head("eventos_alteracoes").cursor
    (state,) = through.values()
    assert state == {"through": "2026-11-18T21:05:40Z"}  # a minute before the run
    server.calls(clear=True)
    company.read("eventos_alteracoes")
    assert asked(server, ".*/alteracoes") == []
    server.advance(2)
    company.read("eventos_alteracoes")
    windows = {(query["data_inicio"], query["data_fim"]) for query in asked(server, ".*/alteracoes")}
    assert windows == {
        ("2000-01-01T00:00:00", "2000-01-02T00:00:00"),
        ("2026-11-18T18:05:40", "2026-11-20T18:05:40"),
    }


def test_the_tree_of_the_income_statement_becomes_rows(company: Company, server: Server) -> None:
    assert company.sync("categorias_dre", "categorias_dre_vinculos") == {}
    assert company.difference("categorias_dre") == []
    assert company.difference("categorias_dre_vinculos") == []
    levels = Counter(row["nivel"] for row in company.treated("categorias_dre"))
    assert levels == {0: 2, 1: 4, 2: 2}
    assert all("subitens" not in record for record in company.records("categorias_dre"))
    before = company.head("categorias_dre").sequence
    company.read("categorias_dre")
    assert company.head("categorias_dre").sequence == before


def test_balances_are_photographed_once_a_day(lively: Company) -> None:
    company, server = lively, lively.server
    assert company.sync("contas_financeiras", "contas_financeiras_saldo") == {}
    before = company.head("contas_financeiras_saldo").sequence
    assert company.sync("contas_financeiras", "contas_financeiras_saldo") == {}
    assert company.head("contas_financeiras_saldo").sequence == before
    server.advance(0.3)  # past midnight in São Paulo
    assert company.sync("contas_financeiras", "contas_financeiras_saldo") == {}
    days = Counter(str(row["data_snapshot"]) for row in company.treated("contas_financeiras_saldo"))
    assert days == {"2026-11-18": 4, "2026-11-19": 4}


# What is gone


def test_deletions_are_found_by_the_weekly_comparison(lively: Company) -> None:
    company, server = lively, lively.server
    lists = ("contas_a_pagar", "contas_a_receber", "notas_fiscais", "orcamentos", "transferencias", "vendas")
    names = (*lists, "eventos_alteracoes", "orcamentos_detalhe", "parcelas", "vendas_detalhe")
    assert company.sync(*names, upto=Layer.RAW) == {}
    before = {name: company.head(name).sequence for name in names}
    server.advance(3)
    assert company.sync(*names, upto=Layer.RAW) == {}
    assert not [line for name in lists for line in company.lines(name, before[name]) if line.lake.op]
    happened = server.advance(5)
    server.calls(clear=True)
    assert company.sync(*names) == {}
    assert {name: company.difference(name) for name in names} == {name: [] for name in names}
    # The whole list came, but only what is new, changed or gone in it was asked for one by one.
    news = sum(happened.get(f"quote_{what}", 0) for what in ("new", "edit", "delete"))
    assert 0 < len(asked(server, "/v1/orcamentos/.*", clear=False)) <= news + 2 < len(server.ledger("orcamentos"))
    gone = {name for name in names if any(row["_deleted"] for row in company.treated(name))}
    assert gone >= {"notas_fiscais", "orcamentos", "orcamentos_detalhe", "parcelas", "transferencias", "vendas"}
    # A cancelled sale left the list; asked for by its id it says so, and is no deletion.
    assert any(row["venda"]["status"] == "CANCELADO" for row in company.treated("vendas_detalhe"))
    assert "vendas_detalhe" not in gone
    # The next day nothing is compared.
    server.advance(1)
    server.calls(clear=True)
    company.read("orcamentos")
    assert all("data_alteracao_de" in query for query in asked(server, "/v1/orcamentos"))


@pytest.mark.parametrize("name", ["pessoas", "transferencias"])
def test_what_came_and_went_between_two_comparisons_is_gone(lively: Company, name: str) -> None:
    """The whole list is then as it was the last time, and is told nevertheless."""
    day = dt.datetime(2026, 11, 18, tzinfo=ZONE)
    (window,) = conta_azul._windows(conta_azul.DATED["transferencias"].filter, day, day)
    holds = "/v1/pessoas[?]" if name == "pessoas" else f"/transferencias.*data_inicio={window.low:%Y-%m-%d}"

    def read(*ids: str) -> None:
        """Read the list while it holds these rows and no others."""
        rows = [{"id": id_, "data_alteracao": "2026-11-18T10:00:00", "data": "2026-11-18"} for id_ in ids]
        lively.server.clear_faults()
        body = json.dumps({"itens_totais": len(rows), "items" if name == "pessoas" else "itens": rows})
        lively.server.fault(holds, status=200, body=body, times=100)
        lively.server.fault("/transferencias", status=200, body='{"itens_totais": 0, "itens": []}', times=100)
        lively.read(name)

    read("a")
    read("a", "b")
    assert lively.records(name)[-1]["id"] == "b"
    before = lively.head(name).sequence
    lively.server.advance(8)
    read("a")
    told = [line.lake.op or json.loads(bytes(line.record))["id"] for line in lively.lines(name, before)]
    assert told == ["a", "complete"]


def test_a_contract_that_is_unknown_answers_500(company: Company, server: Server) -> None:
    assert company.sync("contratos", "contratos_detalhe") == {}
    (contract, *_) = [row.record for row in server.ledger("contratos") if not row.deleted]
    rest = [row.record for row in server.ledger("contratos") if not row.deleted and row.record["id"] != contract["id"]]
    server.fault("/v1/contratos[?]", status=200, body=json.dumps({"itens_totais": len(rest), "itens": rest}))
    server.fault(f"/v1/contratos/{contract['id']}", status=500, times=2)
    assert company.sync("contratos", "contratos_detalhe") == {}
    gone = [row["id"] for row in company.treated("contratos_detalhe") if row["_deleted"]]
    assert gone == [contract["id"]]


def test_a_contract_in_the_list_is_not_taken_for_gone_because_of_a_500(company: Company, server: Server) -> None:
    company.read("contratos")
    server.fault("/v1/contratos/.*", status=500, times=2)
    company.read("contratos_detalhe")
    living = {row.record["id"] for row in server.ledger("contratos") if not row.deleted}
    assert {record["id"] for record in company.records("contratos_detalhe")} == living


def test_a_list_that_loses_rows_while_it_is_read_deletes_nothing(company: Company, server: Server) -> None:
    assert company.sync("produtos") == {}
    server.control(shorten={"/v1/produtos": 1})
    read = company.read("produtos")
    assert any("shorter than its total twice" in note for note in read.notes)
    assert not [line for line in company.lines("produtos", 1) if line.lake.op]
    server.control(shorten={})
    assert company.sync("produtos") == {}
    assert company.difference("produtos") == []
    assert not any(row["_deleted"] for row in company.treated("produtos") if row["id"] in {
        each.record["id"] for each in server.ledger("produtos") if not each.deleted
    })  # fmt: skip


def test_a_reading_that_broke_off_goes_on_where_it_was(
    company: Company, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conta_azul_children, "CHUNK", 3)
    for name in ("pessoas", "eventos_alteracoes", "contas_a_receber", "contas_a_pagar"):
        company.read(name)
    for name, path in (("pessoas_detalhe", "/v1/pessoas/(?!conta)[^/]*"), ("parcelas", f"{EVENTS}/[^/]*/parcelas")):
        server.calls(clear=True)
        server.fault(f"^{path}[?]", status=400, body="<html>", skip=8)
        with pytest.raises(Permanent, match="status 400"):
            company.read(name)
        (state,) = company.head(name).cursor.values()
        assert state["done"]
        first = {
            call["path"] for call in server.calls(clear=True) if re.fullmatch(path, call["path"]) and call["status"] == 200
        }
        company.read(name)
        second = [call["path"] for call in server.calls(clear=True) if re.fullmatch(path, call["path"])]
        assert len(first & set(second)) <= 4 * 3  # what was in flight when it broke
        assert len(second) == len(set(second))
    assert {record["id"] for record in company.records("pessoas_detalhe")} == {
        row.record["id"] for row in server.ledger("pessoas") if not row.deleted
    }
    assert {record["id"] for record in company.records("parcelas")} == {
        row.record["id"] for row in server.ledger("parcelas") if not row.deleted
    }


# Values


def test_money_keeps_its_digits(company: Company, server: Server) -> None:
    body = """{"itens_totais": 3, "itens": [
        {"id": "a", "data_vencimento": "2026-12-01", "total": 90071992547409.93, "nao_pago": 0.1, "pago": 100.00},
        {"id": "b", "data_vencimento": "2026-12-01", "total": 0.30, "nao_pago": 781201.79, "pago": 0},
        {"id": "c", "data_vencimento": "2026-12-01", "total": 4.005, "nao_pago": 1, "pago": 0}]}"""
    server.fault(".*/contas-a-pagar/buscar", status=200, body=body)
    company.sync("contas_a_pagar")
    assert b'"total": 90071992547409.93' in bytes(company.lines("contas_a_pagar")[0].record)
    rows = {row["id"]: row for row in company.treated("contas_a_pagar")}
    assert rows["a"]["total"] == Decimal("90071992547409.93")
    assert rows["b"]["total"] == Decimal("0.30")
    assert rows["b"]["nao_pago"] == Decimal("781201.79")
    assert "c" not in rows  # a tenth of a centavo is no money: it went to quarantine, not into two places


def test_times_are_gmt_minus_three_and_days_stay(company: Company, server: Server) -> None:
    person = {"id": "p", "nome": "Ana", "data_criacao": "2026-11-17T23:30:00", "data_alteracao": "2026-11-18T21:15:00.841"}
    server.fault("/v1/pessoas[?]", status=200, body=json.dumps({"totalItems": 1, "items": [person]}))
    assert company.sync("pessoas") == {}
    (row,) = company.treated("pessoas")
    assert row["data_criacao"] == dt.datetime(2026, 11, 18, 2, 30)  # noqa: DTZ001 - the lake's have no zone
    assert row["data_alteracao"] == dt.datetime(2026, 11, 19, 0, 15, 0, 841_000)  # noqa: DTZ001 - as above
    server.calls(clear=True)
    server.fault("/v1/pessoas[?]", status=200, body='{"totalItems": 0, "items": null}')
    assert company.sync("pessoas") == {}
    (query,) = asked(server, "/v1/pessoas")
    assert query["data_alteracao_de"] == "2026-11-17T21:15:00"  # a day below the newest, in the company's time
    invoice = {"chave_acesso": "3" * 44, "data_emissao": "2026-11-18T22:00:00", "numero_nota": 1, "status": "EMITIDA"}
    company.sync("transferencias")
    for row in company.treated("transferencias"):
        told = next(each.record for each in server.ledger("transferencias") if each.record["id"] == row["id"])
        assert row["data"].isoformat() == told["data"]
    assert Stretch(conta_azul.DATED["notas_fiscais"].filter, *2 * [dt.datetime(2026, 11, 18, tzinfo=ZONE)]).holds(
        invoice["data_emissao"]
    )


def test_times_with_an_offset_are_taken_at_their_word_and_told(company: Company, server: Server) -> None:
    person = {"id": "p", "nome": "Ana", "data_alteracao": "2026-11-18T21:15:00Z"}
    people = {"totalItems": 2, "items": [person, {**person, "id": "q"}]}
    server.fault("/v1/pessoas[?]", status=200, body=json.dumps(people))
    (note,) = company.read("pessoas").notes
    assert "times come with a Z" in note


def test_links_that_open_files_are_not_kept(company: Company, server: Server) -> None:
    assert company.sync("eventos_alteracoes", "contas_a_receber", "contas_a_pagar", "parcelas", "parcela_anexos") == {}
    assert company.treated("parcela_anexos")
    for name in ("parcelas", "parcela_anexos"):
        assert all(b"signature" not in bytes(line.record) for line in company.lines(name))


@pytest.mark.parametrize(
    "name, column, pii",
    [
        ("conta_conectada", "documento", "document"),
        ("pessoas", "documento", "document"),
        ("pessoas_detalhe", "documento", "document"),
        ("pessoas_detalhe", "rg", "document"),
        ("notas_fiscais", "chave_acesso", "document"),
        ("notas_fiscais_servico", "documento_cliente", "document"),
        ("pessoa_inscricoes", "inscricao_estadual", "document"),
        ("vendas_detalhe", "cliente", "person"),
        ("contas_financeiras", "numero", "bank"),
        ("parcelas", "conta_financeira", "bank"),
        ("solicitacoes_cobranca", "url", "free_text"),
    ],
)
def test_documents_are_marked_and_masked(name: str, column: str, pii: str) -> None:
    found = SOURCE.tables[name].column(column)
    assert found.pii == pii
    assert found.mask == ("hmac" if found.type.kind == "string" and pii != "free_text" else "hide")
    assert str(found.classification) == "restricted"


# Limits


def test_the_declared_limits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conta_azul, "LIMITS", LIMITS)
    with running("conta_azul", seed=11, scale=0.5, now=NOW) as server:
        company = Company(tmp_path, server)
        assert company.sync("pessoas", "pessoas_detalhe", upto=Layer.RAW) == {}
        calls = [call for call in server.calls() if call["path"].startswith("/v1/")]
        company.lake.close()
    assert len(calls) > 12
    times = [call["at"] for call in calls]
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[10:], strict=False))
    # On a busy machine a call may be late, so that one too many falls into a second.
    assert sum(call["status"] == 429 for call in calls) <= 1
