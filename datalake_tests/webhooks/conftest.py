"""A lake that receives webhooks: its settings, its inbox, and what is in it."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pytest

from datalake.lake.inbox import Inbox
from datalake.lake.objects import Objects
from datalake.settings import Settings

SECRET, TOKEN = "a-signing-secret", "a-shared-token"


@dataclass
class Place:
    folder: Path
    settings: Settings
    inbox: Inbox

    def bodies(self) -> list[bytes]:
        """Every body that is kept, as a file."""
        return sorted(path.read_bytes() for path in self.folder.glob("inbox/dialog_360/bodies/*/*"))

    def arrivals(self, since: dt.datetime | None = None) -> list[str]:
        return [key for key, _ in self.inbox.arrivals(since)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = Settings.load(
        {"DATALAKE_URL": str(tmp_path), "DIALOG_360_WEBHOOK_SECRET": SECRET, "DIALOG_360_WEBHOOK_TOKEN": TOKEN}
    )
    return Place(tmp_path, settings, Inbox(Objects(str(tmp_path)), "dialog_360"))
