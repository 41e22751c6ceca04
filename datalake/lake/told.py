"""What a source told of a table beyond its contract, as it is kept with the raw data. How a source is asked is elsewhere.

Every raw commit carries it whole, so that treating and registering know the table without asking the source, and so that a
column keeps its name for ever once it was given one.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from datalake.model import Column, Table, parse_type


class ToldColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column that no contract names. It is restricted until a contract says otherwise."""

    name: str
    type: str
    field: tuple[str, ...]
    about: str
    pii: str | None = None
    mask: str | None = None


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """Columns beyond the contract; and for a table that has no contract, the one it is made after and what it is."""

    columns: tuple[ToldColumn, ...] = ()
    like: str | None = None
    about: str = ""
    path: str = ""


def told(base: Table, found: Table) -> Told | None:
    """What `found` holds beyond `base`, its contract; None where nothing."""
    known = {column.name for column in base.columns}
    columns = tuple(
        ToldColumn(column.name, str(column.type), column.field, column.about, column.pii, column.mask)
        for column in found.columns
        if column.name not in known
    )
    if found.like is not None:
        return Told(columns, found.like, found.about, found.path)
    return Told(columns) if columns else None


def as_told(table: Table, told: Told | None) -> Table:
    """The table as it was told: its contract, then the columns beyond it. A contract that names a column later wins."""
    if told is None:
        return table
    known = {column.name for column in table.columns} | {column.field for column in table.columns}
    more = tuple(
        Column(column.name, parse_type(column.type), column.about, column.field, pii=column.pii, mask=column.mask)
        for column in told.columns
        if column.name not in known and column.field not in known
    )
    return replace(table, columns=table.columns + more)


def table_like(template: Table, name: str, told: Told) -> Table:
    """The table without a contract that was made after `template`."""
    return as_told(replace(template, name=name, like=template.name, about=told.about, path=told.path), told)
