"""Which sources the lake can read, and how a run of one is opened. How a system is asked lives in its own module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from datalake.model import Source
    from datalake.settings import Settings
    from datalake.sources.base import SourceRun
    from datalake.sources.progress import Progress

CONNECTED = ("stripe", "github")
"""Sources that have a module here. Each has `open_run(settings, source, progress) -> SourceRun`."""


def open_run(source: Source, settings: Settings, progress: Progress) -> SourceRun:
    """One run of a source: its session, token and budget. Only the module asked for is imported."""
    if source.name not in CONNECTED:
        raise ValueError(f"{source.name} is not connected yet; connected are {', '.join(CONNECTED)}")
    module = importlib.import_module(f"datalake.sources.{source.name}")
    return cast("SourceRun", module.open_run(settings, source, progress))
