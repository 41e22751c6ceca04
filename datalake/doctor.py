"""The doctor: are the settings right, the lake writable, the catalog and each source reachable? Nothing it does stays."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.lake.objects import AlreadyExists
from datalake.settings import SETTINGS, SettingError, Settings
from datalake.sources import CONNECTED, identify
from datalake.sources.base import SourceError


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `verdict` is `ok`, `warn` or `fail`; the message says what to do where it is not `ok`."""

    subject: str
    verdict: str
    message: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; a finding each, in the order in which a person would put it right."""
    lake = Lake(settings)
    try:
        findings = [
            _settings(settings),
            _finding("lake", lambda: _writable(lake)),
            _finding("catalog", lambda: _catalog(lake)),
        ]
        if settings.on_aws:
            findings.append(_finding("athena", lambda: _athena(settings)))
    finally:
        lake.close()
    return findings + [_source(settings, name) for name in CONNECTED]


def _settings(settings: Settings) -> Finding:
    known = {setting.name for setting in SETTINGS}
    unknown = sorted(name for name in settings.values if name.startswith("DATALAKE_") and name not in known)
    if unknown:
        return Finding("settings", "warn", f"{', '.join(unknown)}: no such setting; `datalake settings` lists them")
    return Finding("settings", "ok", f"lake {settings.lake_url}, catalog {settings['DATALAKE_CATALOG']}")


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "ok", look())
    except Exception as error:  # noqa: BLE001  whatever is wrong there is the finding
        return Finding(subject, "fail", f"{type(error).__name__}: {error}")


def _writable(lake: Lake) -> str:
    """Create an object, see a second creation refused, remove it."""
    key = f"raw/.doctor-{uuid.uuid4().hex}"
    lake.objects.put_new(key, b"")
    try:
        lake.objects.put_new(key, b"")
    except AlreadyExists:
        return f"{lake.objects.url} is writable and refuses a second writer"
    finally:
        lake.objects.delete(key)
    raise RuntimeError(
        f"{lake.objects.url} lets a second writer overwrite an object (If-None-Match is ignored): two syncs at once could "
        "lose a commit. Use a store with conditional writes"
    )


def _catalog(lake: Lake) -> str:
    namespaces = [".".join(name) for name in lake.catalog.list_namespaces()]
    return f"answers; databases: {', '.join(sorted(namespaces)) or 'none yet'}"


def _athena(settings: Settings) -> str:
    from datalake.lake.register import athena_query

    athena_query(settings, "SELECT 1")
    return f"workgroup {settings['ATHENA_WORKGROUP']} answers"


def _source(settings: Settings, name: str) -> Finding:
    try:
        return Finding(name, "ok", identify(contracts.load_source(name), settings))
    except SettingError as error:
        return Finding(name, "warn", f"not read until its key is set: {error}")
    except SourceError as error:
        return Finding(name, "fail", str(error))
