"""Glue and Athena: what a table's entry in the company's catalog says, and queries that Athena answers.

pyiceberg's commits keep the entry's schema, location and table parameters; here is what they leave out. Needs the `aws` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datalake.lake.catalog import COMMIT_TRIES
from datalake.lake.sql import quote
from datalake.model import QUALITY, Table
from datalake.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from datalake.lake.lake import Lake
    from datalake.lake.s3 import S3

CONTRACT = "datalake.contract"
"""Table parameter: fingerprint of the contract that the entry tells of."""
PROVED = "datalake.proved"
"""Table parameter: the metadata file whose rows Athena has counted."""

_INPUT = (
    "Name",
    "Description",
    "Owner",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
    "TargetTable",
)
"""Fields of Glue's GetTable that UpdateTable takes back (Glue API reference, TableInput)."""


def described(lake: Lake, table: Table, published: IcebergTable, contract: str) -> bool:
    """Whether the entry tells of this contract and its published rows were counted."""
    parameters = _glue(lake).get_table(DatabaseName=table.source, Name=table.name)["Table"].get("Parameters", {})
    return bool(parameters.get(CONTRACT) == contract and parameters.get(PROVED) == published.metadata_location)


def count(settings: Settings, s3: S3, table: Table) -> int:
    """Rows of the table as Athena counts them."""
    with _connect(settings, s3) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {quote(*table.identifier)}")  # noqa: S608 - the names are quoted
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def query(settings: Settings, sql: str) -> Any:
    """Run a query and give its DB-API cursor; `as_arrow()` on it reads the whole answer into a pyarrow Table."""
    import pyarrow as pa
    from pyathena.cursor import Cursor

    from datalake.lake.s3 import S3

    class Answer(Cursor):
        def as_arrow(self) -> pa.Table:
            names = [column[0] for column in self.description or ()]
            values = zip(*self.fetchall(), strict=True)
            return pa.table(dict(zip(names, map(list, values), strict=True)) or {name: [] for name in names})

    return _connect(settings, S3(settings)).cursor(Answer).execute(sql)


def describe(lake: Lake, table: Table, metadata_location: str, contract: str) -> None:
    """Bring description, owners, classification, key, freshness and column comments into the table's Glue entry.

    The pointer to the metadata is taken back as it is found: VersionId refuses the update if a commit came between, and it is
    done again on what the commit left.
    """
    from botocore.exceptions import ClientError

    _describe_database(lake, table.source)
    glue = _glue(lake)
    for attempt in range(COMMIT_TRIES):
        found = glue.get_table(DatabaseName=table.source, Name=table.name)["Table"]
        entry = {name: found[name] for name in _INPUT if name in found}
        entry["Description"] = table.about[:2048]
        entry["Owner"] = table.technical_owner[:255]
        entry["Parameters"] = found.get("Parameters", {}) | _parameters(table, metadata_location, contract)
        entry["StorageDescriptor"] = _with_comments(found["StorageDescriptor"], table)
        version = {"VersionId": found["VersionId"]} if "VersionId" in found else {}
        try:
            glue.update_table(DatabaseName=table.source, TableInput=entry, SkipArchive=True, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConcurrentModificationException" or attempt == COMMIT_TRIES - 1:
                raise
            continue
        return


def _parameters(table: Table, metadata_location: str, contract: str) -> dict[str, str]:
    personal = sorted(column.name for column in table.columns if column.pii)
    tags = {"datalake.personal-data": ",".join(personal)} if personal else {}
    return {**tags, CONTRACT: contract, PROVED: metadata_location}


def _with_comments(descriptor: dict[str, Any], table: Table) -> dict[str, Any]:
    """Comments (255 characters at most, Glue's limit) and classification on every column of the contract."""
    contract = {column.name: column for column in table.columns}
    columns = []
    for column in descriptor.get("Columns", []):
        known = contract.get(column["Name"])
        if known:
            tags = {"datalake.classification": str(known.classification)} | ({"datalake.pii": known.pii} if known.pii else {})
            column = column | {"Comment": known.about[:255], "Parameters": column.get("Parameters", {}) | tags}
        columns.append(column)
    return descriptor | {"Columns": columns}


def _describe_database(lake: Lake, name: str) -> None:
    from datalake import contracts

    if name == QUALITY:
        description = "The lake's own records: rows in quarantine, verdicts, metrics."
    else:
        source = contracts.load_source(name)
        description = f"{source.title}: {source.about} {source.doc}"[:2048]
    glue = _glue(lake)
    found = glue.get_database(Name=name)["Database"]
    if found.get("Description") != description:
        kept = {key: found[key] for key in ("LocationUri", "Parameters", "CreateTableDefaultPermissions") if key in found}
        glue.update_database(Name=name, DatabaseInput={"Name": name, "Description": description} | kept)


def _glue(lake: Lake) -> Any:
    assert lake.s3 is not None
    return lake.s3.client("glue")


def _connect(settings: Settings, s3: S3) -> Any:
    from pyathena import connect

    return connect(
        work_group=settings["ATHENA_WORKGROUP"],
        s3_staging_dir=settings["ATHENA_OUTPUT"] or None,
        region_name=s3.region,
        session=s3.session,
    )
