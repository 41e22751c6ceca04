"""The asset checks of a table: what a run must prove before it publishes, and what is observed afterwards.

What a gating check computes lives in `treat`; here its verdict becomes Dagster's. A check that cannot tell yields no verdict:
unknown is never green.
"""

import datetime as dt
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from datalake.assets.specs import asset_key
from datalake.model import Layer, Source, Table
from datalake.resources import LakeResource
from datalake.settings import SettingError
from datalake.sources.base import SourceError
from datalake.treat.gates import gates

if TYPE_CHECKING:
    from datalake.lake.lake import Lake
    from datalake.pipeline import Step

OUTCOME = {Layer.RAW: "extracted", Layer.TREATED: "published", Layer.ATHENA: "registered"}
"""One check a layer tells whether its step worked, with the reason if not."""

OUTCOMES = {
    Layer.RAW: "The source was read to its end and what came is committed to the raw log.",
    Layer.TREATED: "Everything in raw is typed, merged and published; if not, the reason.",
    Layer.ATHENA: "The query engine knows the table, and its count equals what was published.",
}

FRESHNESS, VOLUME = "freshness", "volume"

DAY = dt.timedelta(days=1)
HISTORY_DAYS = 14
LEAST_DAYS = 4
"""Days of history below which volume has no opinion."""
LEAST_ROWS = 50
"""A band is never narrower than this many rows: small tables jump."""
MOST_RECORDS = 500


def step_check_specs(table: Table) -> Iterator[dg.AssetCheckSpec]:
    """Checks that are judged inside the source's step: one outcome a layer, and the gates before publication."""
    for layer, name in OUTCOME.items():
        yield dg.AssetCheckSpec(name, asset=asset_key(table, layer), description=OUTCOMES[layer], blocking=True)
    for name, description in gates(table).items():
        yield dg.AssetCheckSpec(name, asset=asset_key(table, Layer.TREATED), description=description, blocking=True)


def step_results(step: "Step") -> Iterator[dg.AssetCheckResult]:
    """The verdicts of a finished step, committed or failed."""
    from datalake.treat import Batch

    key = asset_key(step.table, step.layer)
    if isinstance(step.result, Batch):
        for check in step.result.checks:
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=check.name,
                passed=check.passed,
                description=check.description,
                metadata=check.metadata,
            )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=OUTCOME[step.layer],
        passed=step.error is None,
        description=reason(step.error) if step.error else None,
        metadata={"error": type(step.error).__name__} if step.error else {},
    )


def standing_results(table: Table) -> Iterator[dg.AssetCheckResult]:
    """The gates of a table that had nothing new."""
    for name in gates(table):
        yield dg.AssetCheckResult(
            asset_key=asset_key(table, Layer.TREATED),
            check_name=name,
            passed=True,
            description="Nothing new to judge: the table stands as the last batch left it.",
        )


def foreseen(error: Exception) -> bool:
    """Whether the error is one of the lake's own, whose message says it all."""
    from datalake.pipeline import GateClosed

    return isinstance(error, SourceError | SettingError | GateClosed)


def reason(error: Exception) -> str:
    """What went wrong, for people."""
    return str(error) if foreseen(error) else f"{type(error).__name__}: {error}"


def observing_keys(tables: Sequence[Table]) -> list[dg.AssetCheckKey]:
    return [dg.AssetCheckKey(asset_key(table, Layer.TREATED), name) for table in tables for name in (FRESHNESS, VOLUME)]


def observing_checks(source: Source, tables: Sequence[Table]) -> dg.AssetChecksDefinition:
    """Freshness and volume of a source's tables, in one step that runs alone, whenever somebody asks."""
    by_key = {asset_key(table, Layer.TREATED): table for table in tables}

    @dg.multi_asset_check(
        name=f"{source.name}_observations",
        description="Freshness and volume, from what the lake and Dagster know; no call to the source.",
        specs=[spec for table in tables for spec in _observing_specs(table)],
        can_subset=True,
    )
    def observe(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[LakeResource]) -> Iterator[dg.AssetCheckResult]:
        now = dt.datetime.now(dt.UTC)
        for key in sorted(context.selected_asset_check_keys, key=lambda each: (each.asset_key.path, each.name)):
            table = by_key[key.asset_key]
            result = freshness(lake.open(), table, now) if key.name == FRESHNESS else volume(context.instance, table, now)
            if result is None:
                context.log.info(f"{table.id}: too little history to judge the {key.name}")
            else:
                yield result

    return observe


def _observing_specs(table: Table) -> Iterator[dg.AssetCheckSpec]:
    treated = asset_key(table, Layer.TREATED)
    yield dg.AssetCheckSpec(
        FRESHNESS,
        asset=treated,
        description=f"The source was last read and published within {table.fresh_within_hours:g} hours.",
    )
    yield dg.AssetCheckSpec(
        VOLUME,
        asset=treated,
        description=f"The rows received in the last day lie within the band of the {HISTORY_DAYS} days before.",
    )


def freshness(lake: "Lake", table: Table, now: dt.datetime) -> dg.AssetCheckResult:
    """The age of what people see: since the source was last read to its end, if all of that is published."""
    properties = lake.properties(table)
    log = lake.log(table)
    consumed = int(properties.get("datalake.raw_commit", 0))
    head = log.head(consumed)
    behind = head.sequence - consumed if head else 0
    proof = properties.get("datalake.published_at") if behind else log.last_read()
    age = (now - dt.datetime.fromisoformat(proof)).total_seconds() / 3600 if proof else None
    facts: dict[str, Any] = {"promised_hours": table.fresh_within_hours, "raw_commits_behind": behind}
    return dg.AssetCheckResult(
        asset_key=asset_key(table, Layer.TREATED),
        check_name=FRESHNESS,
        passed=age is not None and age <= table.fresh_within_hours,
        severity=dg.AssetCheckSeverity.WARN,
        description="never published" if age is None else f"what people see is {age:.1f} hours old",
        metadata=facts if age is None else facts | {"age_hours": round(age, 3)},
    )


def volume(instance: dg.DagsterInstance, table: Table, now: dt.datetime) -> dg.AssetCheckResult | None:
    """The last 24 hours' rows against those of the days before: median and its absolute deviation, as outliers move neither."""
    days = _rows_per_day(instance, table, now)
    today, before = days[0], days[1:]
    if len(before) < LEAST_DAYS:
        return None
    usual = statistics.median(before)
    spread = 1.4826 * statistics.median(abs(rows - usual) for rows in before)
    margin = max(4 * spread, usual / 2, LEAST_ROWS)
    low, high = max(0.0, usual - margin), usual + margin
    return dg.AssetCheckResult(
        asset_key=asset_key(table, Layer.TREATED),
        check_name=VOLUME,
        passed=low <= today <= high,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{today:,} rows in the last day; usual are {low:,.0f} to {high:,.0f}",
        metadata={"rows": today, "usual": usual, "low": low, "high": high, "days": len(before)},
    )


def _rows_per_day(instance: dg.DagsterInstance, table: Table, now: dt.datetime) -> list[int]:
    """Rows received in each stretch of 24 hours before `now`, newest first, as far back as there is a materialisation."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=asset_key(table, Layer.RAW), after_timestamp=(now - (HISTORY_DAYS + 1) * DAY).timestamp()
        ),
        limit=MOST_RECORDS,
    ).records
    days: dict[int, int] = {0: 0}
    for record in records:
        age = (now - dt.datetime.fromtimestamp(record.timestamp, dt.UTC)) // DAY
        days[age] = days.get(age, 0) + _rows_in(record)
    return [days.get(age, 0) for age in range(max(days) + 1)]


def _rows_in(record: dg.EventLogRecord) -> int:
    materialization = record.asset_materialization
    value: Any = materialization.metadata["rows_in"].value if materialization and "rows_in" in materialization.metadata else 0
    return int(value)
