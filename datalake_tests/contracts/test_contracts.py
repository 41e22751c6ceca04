"""What the shipped contracts promise about all tables of the eight sources."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from datalake import contracts
from datalake.model import Classification, Table, Type, snake_case

TABLES = [table for source in contracts.load().values() for table in source.tables.values()]
COLUMNS = [(table, column) for table in TABLES for column in table.columns]

SIZES = {
    "clickup": (52, 18),
    "conta_azul": (49, 29),
    "dialog_360": (44, 21),
    "github": (86, 24),
    "mongodb": (44, 15),
    "stripe": (88, 24),
    "xero": (79, 40),
    "zoho_crm": (66, 27),
}
"""Tables and core tables of each source."""


def names(found: list[Table]) -> list[str]:
    return [table.id for table in found]


def test_every_table_of_every_source_has_a_contract() -> None:
    counted = {
        name: (len(source.tables), sum(table.core for table in source.tables.values()))
        for name, source in contracts.load().items()
    }
    assert counted == SIZES
    assert len(TABLES) == 508


def test_every_table_says_what_it_is_and_who_answers() -> None:
    assert names([table for table in TABLES if len(table.about) < 8]) == []
    assert names([table for table in TABLES if not table.about.endswith((".", "!", "?"))]) == []
    assert names([table for table in TABLES if not table.key and not table.no_key]) == []
    assert names([table for table in TABLES if table.technical_owner == table.business_owner]) == []


def test_a_table_that_is_asked_for_says_where() -> None:
    """Rows that are pushed to us, or sit inside another table's, need no path."""
    assert names([table for table in TABLES if not table.path and not table.parent and table.rows != "webhook_events"]) == []
    assert names([table for table in TABLES if table.rows in ("from_parent", "children_of_changed") and not table.parent]) == []


def test_incremental_tables_name_their_cursor() -> None:
    incremental = {"created_window", "since", "newest_first", "created_windows", "modified_since", "collection"}
    assert names([table for table in TABLES if table.rows in incremental and not table.cursor]) == []


def test_personal_data_is_never_open() -> None:
    assert [f"{table.id}.{column.name}" for table, column in COLUMNS if column.pii and column.classification in OPEN] == []


OPEN = (Classification.PUBLIC, Classification.INTERNAL)
PERSONAL = re.compile(
    r"(^|_)(e_?mails?|email_address|phones?|phone_number|mobile|celular|telefone|cpf|cnpj|documento|passport|ssn|birth\w*|dob"
    r"|nascimento|first_name|last_name|iban|routing_number|account_holder_name|ip|ip_address|latitude|longitude|gravatar_id)$"
)
IMPERSONAL = {
    "conta_azul.vendas.status_email",
    *(f"dialog_360.{name}.display_phone_number" for name in contracts.load()["dialog_360"].tables),
}
"""Columns whose name sounds personal and whose values are not: the state of a mailing, our own number."""


def test_columns_whose_name_tells_of_personal_data_are_marked() -> None:
    unmarked = [
        f"{table.id}.{column.name}"
        for table, column in COLUMNS
        if PERSONAL.search(column.name) and not column.pii and column.type.kind not in ("bool", "int64")
    ]
    assert sorted(set(unmarked) - IMPERSONAL) == []


def test_records_of_people_with_an_address_are_marked() -> None:
    """A struct that carries an e-mail address is personal data as a whole."""

    def fields(type_: Type) -> set[str]:
        inner = fields(type_.element) if type_.element else set()
        return inner | {name for name, _ in type_.fields} | {each for _, field in type_.fields for each in fields(field)}

    unmarked = [
        f"{table.id}.{column.name}"
        for table, column in COLUMNS
        if not column.pii and any(re.search(r"e_?mail(_?address)?$", name.lower()) for name in fields(column.type))
    ]
    assert unmarked == []


CREDENTIAL = re.compile(r"(^|_)(client_secret|secret|password|api_?key|access_token|refresh_token|login_token|join_code|cvc)$")


def test_secrets_are_dropped_and_never_columns() -> None:
    kept = [
        f"{table.id}.{column.name}"
        for table, column in COLUMNS
        if CREDENTIAL.search(column.name) and column.type.kind != "bool"
    ]
    assert kept == []
    tables = {table.id: table for table in TABLES}
    for table, secret in [
        ("stripe.payment_intents", "client_secret"),
        ("stripe.setup_intents", "client_secret"),
        ("stripe.checkout_sessions", "client_secret"),
        ("stripe.invoices", "confirmation_secret"),
        ("stripe.webhook_endpoints", "secret"),
        ("stripe.events", "data.object.client_secret"),
        ("stripe.events", "data.object.confirmation_secret"),
        ("github.repositories", "temp_clone_token"),
        ("github.secret_scanning_alerts", "secret"),
        ("xero.organisations", "APIKey"),
        ("clickup.webhooks", "secret"),
        ("clickup.goals", "editor_token"),
        ("dialog_360.channel_webhook_config", "headers"),
        ("mongodb.users", "services"),
        ("mongodb.rooms", "joinCode"),
        ("mongodb.settings", "value"),
        ("mongodb.trash", "services"),
    ]:
        assert secret in tables[table].secrets, f"{table} keeps {secret}"


def test_money_in_minor_units_is_whole() -> None:
    assert [
        f"{table.id}.{column.name}"
        for table, column in COLUMNS
        if "minor units" in (column.unit or "") and column.type.kind != "int64"
    ] == []
    assert sum("minor units" in (column.unit or "") for _, column in COLUMNS) > 80


def test_rows_of_several_tenants_never_mix() -> None:
    for source, tenant in (("xero", "tenant_id"), ("conta_azul", "empresa_id"), ("zoho_crm", "org_id")):
        tables = contracts.load()[source].tables.values()
        assert [table.name for table in tables if tenant not in table.key and table.name != "connections"] == [], source


def test_column_names_are_what_the_model_makes_of_the_source_s_names() -> None:
    renamed = {
        f"{table.id}.{column.name}"
        for table, column in COLUMNS
        if len(column.field) == 1 and not column.from_request and snake_case(column.field[0]) != column.name
    }
    expected = Counter(name.split(".")[0] for name in renamed)
    assert sum(expected.values()) < 20, renamed


def test_github_s_links_without_content_are_left_out() -> None:
    table = contracts.load()["github"].tables["repositories"]
    assert {"url", "*_url"} <= set(table.ignore)
    assert [column.name for column in table.columns if column.name.endswith("_url")] == ["html_url"]


def test_loading_all_contracts_is_cheap() -> None:
    """CPU seconds of reading all 508 tables, in a process of its own; three times what it takes on a quiet machine."""
    code = (
        "import time; from datalake import contracts; t = time.process_time(); contracts.load(); print(time.process_time() - t)"
    )
    spent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(spent.stdout) < 1.5


def test_one_source_is_loaded_alone() -> None:
    code = "from datalake import contracts as c; c.load_source('stripe'); print(c._read.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "1"


@pytest.mark.parametrize("source", sorted(SIZES))
def test_a_source_loaded_alone_is_the_same(source: str) -> None:
    assert contracts.load_source(source) is contracts.load()[source]
