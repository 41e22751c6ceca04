"""What every table is: one YAML file a table, loaded into the frozen objects of `datalake.model`.

How a contract is written is told in docs/contract.md. A company's own contracts lie in the folder that DATALAKE_CONTRACTS
names, laid out as this one: `mongodb/orders.yaml` there adds a table or replaces the one of that name, `mongodb/_source.yaml`
the source's defaults. Asking the sources, storing and checking data live elsewhere.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from datalake.contracts.fields import ContractError
from datalake.contracts.reading import Reference, read_source
from datalake.model import Source
from datalake.settings import SettingError, Settings

__all__ = ["FOLDER", "SOURCES", "ContractError", "load", "load_folder", "load_source", "own_folder"]

FOLDER = Path(__file__).parent
SOURCES = tuple(sorted(file.parent.name for file in FOLDER.glob("*/_source.yaml")))
"""Names of the sources that have contracts."""


@cache
def load() -> dict[str, Source]:
    """Every source by name, with all its tables and every reference resolved. Raises ContractError, SettingError.

    Read once in a process, DATALAKE_CONTRACTS too.
    """
    return load_folder(FOLDER, own_folder())


@cache
def load_source(name: str) -> Source:
    """One source by name; references to other sources are not followed. Raises as `load`, and KeyError for an unknown name."""
    if name not in SOURCES:
        raise KeyError(f"no source is called '{name}'; there are {', '.join(SOURCES)}")
    own = own_folder()
    source, references = _read(FOLDER / name, own / name if own else None)
    _resolve([reference for reference in references if reference.target[0] == name], {name: source})
    return source


def load_folder(folder: Path, own: Path | None = None) -> dict[str, Source]:
    """As `load`, from another place: a folder that holds one folder a source, with those of `own` on top."""
    sources: dict[str, Source] = {}
    references: list[Reference] = []
    for file in sorted(folder.glob("*/_source.yaml")):
        source, pending = _read(file.parent, own / file.parent.name if own else None)
        sources[source.name] = source
        references += pending
    for file in sorted(own.glob("*/*.yaml")) if own else ():
        if file.parent.name not in sources:
            raise ContractError(f"{file}:1: the lake has no source '{file.parent.name}'; name the folder {', '.join(sources)}")
    _resolve(references, sources)
    return sources


def own_folder() -> Path | None:
    """The company's folder of contracts; None where the setting names none. Raises SettingError where it does not exist."""
    name = Settings.load()["DATALAKE_CONTRACTS"]
    folder = Path(name).expanduser() if name else None
    if folder is not None and not folder.is_dir():
        raise SettingError(f"DATALAKE_CONTRACTS: there is no folder {folder}. Make it, or leave the setting out")
    return folder


_read = cache(read_source)


def _resolve(references: list[Reference], sources: dict[str, Source]) -> None:
    for reference in references:
        source, table, column = reference.target
        if source not in sources or table not in sources[source].tables:
            reference.refuse(
                f"there is no table '{source}.{table}'", "name a table of the lake, or tell in about what it points at"
            )
        columns = {each.name: each for each in sources[source].tables[table].columns}
        if column not in columns:
            reference.refuse(f"{source}.{table} has no column '{column}'", f"use {', '.join(columns)}")
        if columns[column].type != reference.column.type:
            reference.refuse(
                f"is {reference.column.type}, and {source}.{table}.{column} is {columns[column].type}", "give both one type"
            )
