"""Which sources the lake can read, and how a run of one is opened. How a system is asked lives in its own module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from datalake.model import Source
    from datalake.settings import Settings
    from datalake.sources.base import SourceRun
    from datalake.sources.progress import Progress

CONNECTED = ("stripe", "github", "conta_azul", "xero", "dialog_360", "zoho_crm", "mongodb", "clickup")
"""Sources that have a module here. Each has `open_run(settings, source, progress) -> SourceRun` and `identify(run) -> str`."""


def open_run(source: Source, settings: Settings, progress: Progress) -> SourceRun:
    """One run of a source: its session, token and budget. Only the module asked for is imported."""
    if source.name not in CONNECTED:
        raise ValueError(f"{source.name} is not connected yet; connected are {', '.join(CONNECTED)}")
    module = importlib.import_module(f"datalake.sources.{source.name}")
    return cast("SourceRun", module.open_run(settings, source, progress))


def identify(source: Source, settings: Settings) -> str:
    """Ask the source who is asking and what it may read, in words. Raises SettingError and the errors of `base.py`."""
    from datalake.sources.progress import LogProgress

    module = importlib.import_module(f"datalake.sources.{source.name}")
    run = open_run(source, settings, LogProgress())
    try:
        return str(module.identify(run))
    finally:
        run.close()
