"""Small shapes of Xero's records: points in time, ids, addresses. What they mean together lives in `xero_books`."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

from datalake.model import Column
from datalake.sandbox import fill

Object = dict[str, Any]


def ms(milliseconds: int) -> str:
    return f"/Date({milliseconds}+0000)/"


def milliseconds(text: str) -> int:
    """The other way round."""
    return int(text[6:].partition("+")[0])


def iso(seconds: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def moment(column: Column, seconds: int) -> str:
    """A point in time as the API of the column writes it: only the accounting API has its own form."""
    field = column.field[-1]
    if field[0].islower() or field.endswith("Utc"):
        return iso(seconds) if column.type.kind == "timestamp" else iso(seconds)[:10]
    return ms(seconds * 1000 + 250) if column.type.kind == "timestamp" else ms(seconds // 86_400 * 86_400_000)


def address(type_: str, number: int) -> Object:
    city, region = fill.CITIES[number % len(fill.CITIES)]
    return {
        "AddressType": type_, "AddressLine1": f"Rua {number}", "City": city, "Region": region,
        "PostalCode": f"{number:05d}-000", "Country": "Brazil", "AttentionTo": fill.person(number).name,
    }  # fmt: skip


def phone(type_: str, number: int) -> Object:
    digits = fill.phone(number)
    return {"PhoneType": type_, "PhoneNumber": digits[4:], "PhoneAreaCode": digits[2:4], "PhoneCountryCode": digits[:2]}


def depreciation() -> Object:
    return {
        "depreciationMethod": "StraightLine", "averagingMethod": "ActualDays", "depreciationRate": 20.5,
        "depreciationCalculationMethod": "None",
    }  # fmt: skip


def without_nulls(value: Any) -> Any:
    """The value without members that are null, at any depth."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def guid_of(text: str) -> str:
    """An id that is always the same for the same text."""
    return str(uuid.UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest(), version=4))
