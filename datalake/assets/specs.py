"""What the UI shows of a table before it ever ran: keys, owners, kinds, columns, links. What a run adds lives in `metadata`."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import Any

import dagster as dg

import datalake
from datalake.model import SYSTEM_COLUMNS, Column, Layer, Source, Table
from datalake.settings import Settings

PACKAGE = Path(datalake.__file__).parent

RAW_IO, TREATED_IO = "raw_io_manager", "treated_io_manager"
IO_MANAGERS = {Layer.RAW: RAW_IO, Layer.TREATED: TREATED_IO}
"""Registration has no IO manager: its result is the registered table itself."""


def asset_key(table: Table, layer: Layer) -> dg.AssetKey:
    return dg.AssetKey(list(table.asset_key(layer)))


def output_name(table: Table, layer: Layer) -> str:
    """The name Dagster gives the output of a spec's asset."""
    return asset_key(table, layer).to_python_identifier()


def layer_specs(source: Source, table: Table, settings: Settings, present: set[str]) -> list[dg.AssetSpec]:
    """The table's three assets, raw → treated → athena. `present` names the tables of the source that are loaded."""
    parents = [asset_key(source.tables[name], Layer.RAW) for name in (table.parent, *table.also) if name in present and name]
    return [
        _spec(source, table, Layer.RAW, settings, parents),
        _spec(source, table, Layer.TREATED, settings, [asset_key(table, Layer.RAW)]),
        _spec(source, table, Layer.ATHENA, settings, [asset_key(table, Layer.TREATED)]),
    ]


def _spec(source: Source, table: Table, layer: Layer, settings: Settings, deps: list[dg.AssetKey]) -> dg.AssetSpec:
    spec = dg.AssetSpec(
        key=asset_key(table, layer),
        deps=deps,
        description=_description(source, table, layer),
        metadata=_metadata(source, table, layer, settings),
        group_name=source.group(layer),
        owners=[table.technical_owner, table.business_owner],
        tags={
            "source": source.name,
            "layer": str(layer),
            "tier": table.tier,
            "classification": str(table.classification),
            "pii": "yes" if any(column.pii for column in table.columns) else "no",
        },
        kinds=_kinds(source, layer, settings),
        freshness_policy=_freshness(table) if layer is Layer.TREATED else None,
    )
    manager = IO_MANAGERS.get(layer)
    return spec.with_io_manager_key(manager) if manager else spec


def _kinds(source: Source, layer: Layer, settings: Settings) -> set[str]:
    match layer:
        case Layer.RAW:
            return {source.name, "json", "s3" if settings.lake_url.startswith("s3://") else "file"}
        case Layer.TREATED:
            return {"iceberg", "duckdb"}
        case Layer.ATHENA:
            return {"athena"} if settings.on_aws else {"duckdb"}


def _freshness(table: Table) -> dg.FreshnessPolicy:
    """The contract's promise; a warning when three quarters of the time are gone."""
    promised = dt.timedelta(hours=table.fresh_within_hours)
    return dg.FreshnessPolicy.time_window(fail_window=promised, warn_window=promised * 0.75)


def _description(source: Source, table: Table, layer: Layer) -> str:
    """The catalog shows only the first 70 characters: each layer's first words tell it from the others."""
    match layer:
        case Layer.RAW:
            follows = f" It follows the changes of `{table.parent}`." if table.parent else ""
            return (
                f"As received from {source.title}: {table.about}\n\nAn append-only log of commits, one JSON line a record, "
                f"every version kept.{follows}"
            )
        case Layer.TREATED:
            return f"{table.about}\n\n{_card(table)}"
        case Layer.ATHENA:
            proven = "The published table as the query engine knows it, proven by a count."
            return f"For queries: {table.about}\n\n{proven}\n\n{_card(table)}"


def _card(table: Table) -> str:
    lines = [
        ("Key", ", ".join(f"`{name}`" for name in table.key) or f"none: {table.no_key}"),
        ("Deletes", table.deletes),
        ("Note", table.note),
    ]
    return "\n".join(f"- **{name}**: {text}" for name, text in lines if text)


def _metadata(source: Source, table: Table, layer: Layer, settings: Settings) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "datalake/source": table.source,
        "datalake/table": table.name,
        "vendor_docs": dg.MetadataValue.url(table.doc),
        "dagster/code_references": _code_references(source, table),
    }
    if layer is Layer.RAW:
        metadata |= {"dagster/table_name": table.raw_prefix, "dagster/uri": f"{settings.lake_url}/{table.raw_prefix}"}
    else:
        metadata["dagster/table_name"] = ".".join(table.identifier)
        metadata["dagster/storage_kind"] = "iceberg" if layer is Layer.TREATED else "athena" if settings.on_aws else "duckdb"
        metadata["dagster/column_schema"] = dg.MetadataValue.table_schema(schema(table))
    return metadata


def _code_references(source: Source, table: Table) -> dg.CodeReferencesMetadataValue:
    """Links to the contract and to the module that reads the source, for whoever runs the UI on their own machine."""
    files = {
        "contract": PACKAGE / "contracts" / source.name / f"{table.name}.yaml",
        f"source ({table.rows})": PACKAGE / "sources" / f"{source.name}.py",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references are beta in Dagster 1.13; losing them costs a link
        return dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(path), line_number=1, label=label) for label, path in files.items()
            ]
        )


def schema(table: Table) -> dg.TableSchema:
    """The table's columns as the UI shows them: type, sentence, constraints and personal data."""
    return dg.TableSchema([_column(table, column) for column in table.columns] + _system_columns())


def _column(table: Table, column: Column) -> dg.TableColumn:
    pills = [str(column.classification)]
    if len(table.key) > 1 and column.name in table.key:
        pills.append("part of the key")
    if column.unit:
        pills.append(f"unit: {column.unit}")
    if column.mask:
        pills.append(f"masked: {column.mask}")
    if column.refers:
        pills.append("→ " + ".".join(column.refers[1:] if column.refers[0] == table.source else column.refers))
    if column.values:
        pills.append("one of " + ", ".join(column.values))
    return dg.TableColumn(
        column.name,
        str(column.type),
        column.about,
        dg.TableColumnConstraints(
            nullable=column.nullable and column.name not in table.key, unique=table.key == (column.name,), other=pills
        ),
        {"pii": column.pii} if column.pii else {},
    )


def _system_columns() -> list[dg.TableColumn]:
    return [
        dg.TableColumn(name, str(type_), about, dg.TableColumnConstraints(other=["system"]))
        for name, (type_, about) in SYSTEM_COLUMNS.items()
    ]
