"""DuckDB as the lake uses it: extensions from their PyPI packages, no network, UTC. What it reads and writes is elsewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from datalake.lake.sql import literal
from datalake.settings import SettingError, Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXTENSIONS = ("avro", "httpfs", "iceberg")
"""In the order in which they need each other."""


BUFFERS = 0.6
"""Share of DATALAKE_MEMORY that DuckDB gets for its buffers. What it holds outside of them, Python and the libraries need the
rest: with 1 GB to treat 1 GB of lines the process grows to 0.96 GB."""


def size_in_bytes(size: str) -> float:
    """Bytes of a size as people and DuckDB write it. Raises ValueError.

    >>> size_in_bytes("1GB"), size_in_bytes("953.6 MiB")
    (1000000000.0, 999922073.6)
    """
    match = re.fullmatch(r"([0-9.]+)\s*(?:([KMGT]?)(i?)B|bytes)", size.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"'{size}' is no size: write a number and KB, MB or GB")
    number, letter, binary = match.groups(default="")
    return float(number) * (1024.0 if binary else 1000.0) ** " KMGT".index(letter.upper() or " ")


def _memory(settings: Settings) -> float:
    try:
        return size_in_bytes(settings["DATALAKE_MEMORY"])
    except ValueError as error:
        raise SettingError(f"DATALAKE_MEMORY: {error}, such as 1GB") from None


def open_duckdb(settings: Settings) -> DuckDBPyConnection:
    """A new DuckDB instance in memory that reads Iceberg; takes 0.2 s. Its cursors share its memory and threads."""
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "memory_limit": f"{int(_memory(settings) * BUFFERS)}B",
    }
    if settings["DATALAKE_THREADS"]:
        config["threads"] = settings["DATALAKE_THREADS"]
    connection = duckdb.connect(config=config)
    for name in EXTENSIONS:
        connection.execute(f"LOAD {literal(str(_extension(name)))}")
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def _extension(name: str) -> Path:
    """The signed extension file in its PyPI package, whose version must be DuckDB's own."""
    import duckdb

    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ImportError(f"the package duckdb-extension-{name}=={duckdb.__version__} is missing: pip install it")
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise ImportError(f"duckdb-extension-{name} is not of DuckDB's version {duckdb.__version__}: pip install that one")
    return path


def lost_race(error: Exception) -> bool:
    """Whether DuckDB says that another writer published to a table first: the transaction must be begun again.

    COMMIT is refused with a TransactionException (the catalog's 409). A table that got its first snapshot while the transaction
    was open has "no reachable state" in it (seen with DuckDB 1.5.5).
    """
    import duckdb

    return isinstance(error, duckdb.TransactionException) or (
        isinstance(error, duckdb.Error) and "does not have a reachable state" in str(error)
    )
