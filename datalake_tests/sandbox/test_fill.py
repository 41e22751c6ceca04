"""Made-up records: whole, the same each time, with documents that a validator accepts."""

import pytest

from datalake import contracts
from datalake.model import Column
from datalake.sandbox.fill import Filler, cnpj, company, cpf, person

SOURCE = contracts.load_source("xero")


def filler(seed: int = 1) -> Filler:
    return Filler(SOURCE, seed, 1_800_000_000, lambda _column, seconds: f"/Date({seconds}000+0000)/")


def _at(record: dict[str, object], column: Column) -> object:
    value: object = record
    for step in column.field:
        assert isinstance(value, dict)
        value = value[step]
    return value


def test_every_column_of_the_contract_is_there_and_what_is_known_stays() -> None:
    table = SOURCE.tables["invoices"]
    record = filler().record(table, 5, invoice_id="a-1", total=12.5)
    for column in table.columns:
        if not column.from_request:
            _at(record, column)
    assert _at(record, table.column("invoice_id")) == "a-1"
    assert _at(record, table.column("total")) == 12.5


def test_the_same_seed_makes_the_same_record_and_another_one_does_not() -> None:
    table = SOURCE.tables["contacts"]
    assert filler().record(table, 3) == filler().record(table, 3)
    assert filler().record(table, 3) != filler(2).record(table, 3) != filler(2).record(table, 4)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(KeyError, match="no columns nonsense"):
        filler().record(SOURCE.tables["contacts"], 1, nonsense=1)


def test_documents_have_valid_check_digits() -> None:
    # Published examples of valid numbers: the rule that makes ours must accept them.
    assert all(_valid(document) for document in ("52998224725", *map(cpf, range(200))))
    assert all(_valid(document) for document in ("11222333000181", *map(cnpj, range(200))))
    assert len({*map(cpf, range(2000))}) == len({*map(cnpj, range(2000))}) == 2000
    assert person(3).cpf == cpf(3)
    assert company(3).cnpj == cnpj(3)


def _valid(document: str) -> bool:
    """The rule of the Receita Federal, written the other way round: both digits from the number without them."""
    digits = [int(digit) for digit in document]
    for size in (len(digits) - 2, len(digits) - 1):
        total, current = 0, size - 7 if len(digits) == 14 else size + 1
        for digit in digits[:size]:
            total += digit * current
            current = 9 if current == 2 else current - 1
        if digits[size] != (total * 10 % 11) % 10:
            return False
    return True
