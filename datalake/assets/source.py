"""One asset graph a source: raw, treated and athena of all its tables, brought up to date by one step.

Why one step: in Dagster a step is skipped as soon as one output it needs is missing, so that with a step a layer one failed
table would hold back all others (docs/adr/0004-one-step-a-source.md). The work itself is `pipeline.run_source`.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from datalake import checks, contracts
from datalake.assets import metadata
from datalake.assets.specs import asset_key, layer_specs, output_name, schema
from datalake.model import Layer, Source, Table
from datalake.resources import LakeResource
from datalake.settings import SettingError, Settings
from datalake.sources.base import QuotaSpent, Transient, Window
from datalake.sources.progress import LogProgress

if TYPE_CHECKING:
    from datalake.lake.lake import Lake
    from datalake.pipeline import Step


Event = dg.Output[Any] | dg.AssetCheckResult


class SyncConfig(dg.Config):
    """What a run may be asked for beside bringing the tables up to date."""

    since: str | None = Field(None, description="Read a stretch of the past again, from here (ISO 8601, UTC).")
    until: str | None = Field(None, description="End of that stretch, exclusive; empty: now.")
    full: bool = Field(False, description="Forget the cursor and read everything again.")

    def window(self) -> Window | None:
        """Raises SettingError for a stretch that is none."""
        if not self.since:
            if self.until:
                raise SettingError("`until` needs `since`")
            return None
        if self.full:
            raise SettingError("`full` reads everything: leave out `since` and `until`, or `full`")
        since, until = _moment(self.since), _moment(self.until) if self.until else dt.datetime.now(dt.UTC)
        if since >= until:
            raise SettingError(f"since {self.since} is not before until {until:%Y-%m-%dT%H:%M:%SZ}")
        return Window(since, until)


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(f"'{text}' is no point in time: write 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


RETRY = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL)
"""For runs in which a table failed for a passing reason. What succeeded before is not read again: its cursor has moved."""


def selected_tables(source: Source, settings: Settings) -> list[Table]:
    return [table for table in source.tables.values() if settings.selected(table.id, table.core)]


def source_assets(
    source: Source, tables: Sequence[Table], settings: Settings, retry: dg.RetryPolicy = RETRY
) -> dg.AssetsDefinition:
    """The assets of `tables`, and the step that brings any selection of them up to date."""
    present = {table.name for table in tables}

    @dg.multi_asset(
        name=f"{source.name}_sync",
        description=f"{source.about} Reads, treats, checks, publishes and registers the selected tables of {source.title}.",
        specs=[spec for table in tables for spec in layer_specs(source, table, settings, present)],
        check_specs=[spec for table in tables for spec in checks.step_check_specs(table)],
        can_subset=True,
        pool=source.name,
        retry_policy=retry,
    )
    def sync(context: dg.AssetExecutionContext, config: SyncConfig, lake: dg.ResourceParam[LakeResource]) -> Iterator[Event]:
        if not context.selected_asset_keys:
            raise dg.Failure("these checks are judged while their asset is made: materialize the asset", allow_retries=False)
        done: set[str] = set()
        unchanged: list[Table] = []
        failures: dict[dg.AssetKey, Exception] = {}
        try:
            for step in _steps(context, config, lake.open(), source, tables):
                yield from _publish(context, lake.open(), step)
                done.add(step.table.name)
                if step.unchanged and step.layer is Layer.TREATED:
                    unchanged.append(step.table)
                if step.error:
                    failures[asset_key(step.table, step.layer)] = step.error
        except Exception as error:  # a retry policy would retry anything but this
            raise dg.Failure(checks.reason(error), allow_retries=_passing(error)) from error
        if failures:
            # What a red run does not evaluate the UI shows as failed, also of tables that had nothing new.
            yield from _selected(context, (result for table in unchanged for result in checks.standing_results(table)))
            told = {key.to_user_string(): checks.reason(error) for key, error in failures.items()}
            raise dg.Failure(
                f"{len(failures)} of {len(done)} tables failed: {', '.join(told)}",
                metadata=told,
                allow_retries=any(map(_passing, failures.values())),
            )

    return sync


def _steps(
    context: dg.AssetExecutionContext, config: SyncConfig, lake: "Lake", source: Source, tables: Sequence[Table]
) -> "Iterator[Step]":
    """The pipeline's steps for the selected assets."""
    from datalake.pipeline import run_source

    layers = {
        table.name: [layer for layer in Layer if asset_key(table, layer) in context.selected_asset_keys] for table in tables
    }
    return run_source(
        lake,
        source,
        [table for table in tables if layers[table.name]],
        run_id=context.run.run_id,
        layers=layers,
        window=config.window(),
        full=config.full,
        progress=LogProgress(context.log),
    )


def _publish(context: dg.AssetExecutionContext, lake: "Lake", step: "Step") -> Iterator[Event]:
    """Commit a finished step, and tell Dagster: an output for what is published, a failed check for what is not."""
    from datalake.console import sentence

    if not step.error:
        with suppress(Exception):  # the step holds it; one table that fails never stops the others
            step.commit()
    if step.error:
        context.log.error(sentence(step), exc_info=None if checks.foreseen(step.error) else step.error)
    else:
        context.log.info(sentence(step))
        for note in step.notes:
            context.log.info(f"{step.table.id}: {note}")
        if step.table.like is not None:
            context.log_event(_materialization(lake, step))
            return
        yield _output(lake, step)
    yield from _selected(context, checks.step_results(step))


def _selected(context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]) -> Iterator[dg.AssetCheckResult]:
    for result in results:
        assert result.asset_key is not None
        assert result.check_name is not None
        if dg.AssetCheckKey(result.asset_key, result.check_name) in context.selected_asset_check_keys:
            yield result


def _output(lake: "Lake", step: "Step") -> dg.Output[Any]:
    name = output_name(step.table, step.layer)
    facts: dict[str, Any] = {"seconds": round(step.seconds, 3)}
    if step.layer is not Layer.ATHENA:
        return dg.Output(step, name, metadata=facts)  # its IO manager adds what was committed
    from datalake.lake.register import Registration

    registration = step.result if isinstance(step.result, Registration) else None
    if step.table.columns != contracts.load_source(step.table.source).tables[step.table.name].columns:
        # The graph was loaded with the contract's columns; the source told of more.
        facts["dagster/column_schema"] = dg.MetadataValue.table_schema(schema(step.table))
    return dg.Output(None, name, metadata=facts | metadata.athena(lake, step.table, registration))


def _materialization(lake: "Lake", step: "Step") -> dg.AssetMaterialization:
    """For a table that no contract names: the source told of it while it was asked, not when the code was loaded."""
    from datalake.lake.register import Registration
    from datalake.sources.engine import Extraction
    from datalake.treat import Batch

    table, result = step.table, step.result
    facts: dict[str, Any] = {"seconds": round(step.seconds, 3)}
    match step.layer:
        case Layer.RAW:
            facts |= metadata.raw(lake, table, result if isinstance(result, Extraction) else None)
        case Layer.TREATED:
            facts |= metadata.treated(lake, table, result if isinstance(result, Batch) else None)
        case Layer.ATHENA:
            facts |= metadata.athena(lake, table, result if isinstance(result, Registration) else None)
    if step.layer is not Layer.RAW:
        facts["dagster/column_schema"] = dg.MetadataValue.table_schema(schema(lake.as_read(table)))
    return dg.AssetMaterialization(asset_key(table, step.layer), description=table.about, metadata=facts)


def _passing(error: Exception) -> bool:
    """Whether it would likely work later today: a spent quota would not."""
    return isinstance(error, Transient) and not isinstance(error, QuotaSpent)
