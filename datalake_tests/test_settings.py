"""Settings: defaults, secrets, and the example file."""

from pathlib import Path

import pytest

from datalake.settings import SETTINGS, SettingError, Settings, example


def test_the_example_file_is_current() -> None:
    assert (Path(__file__).parent.parent / ".env.example").read_text() == example()


def test_a_missing_setting_is_named_with_what_to_write() -> None:
    with pytest.raises(SettingError, match=r"STRIPE_API_KEY is not set.*Restricted key"):
        Settings.load({}).require("STRIPE_API_KEY")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(KeyError):
        Settings.load({})["DATALAKE_TYPO"]


def test_secrets_do_not_show() -> None:
    secret = {setting.name: f"canary-{setting.name}" for setting in SETTINGS if setting.secret}
    settings = Settings.load(secret)
    assert "canary" not in repr(settings)
    assert set(settings.secrets()) == set(secret.values())


@pytest.mark.parametrize(
    "patterns, table, core, runs",
    [
        ("", "stripe.charges", True, True),
        ("", "stripe.top_ups", False, False),
        ("stripe.*", "stripe.top_ups", False, True),
        ("github.forks, stripe.top_*", "stripe.top_ups", False, True),
        ("github.*", "stripe.top_ups", False, False),
    ],
)
def test_which_tables_run(patterns: str, table: str, core: bool, runs: bool) -> None:
    assert Settings.load({"DATALAKE_TABLES": patterns}).selected(table, core) is runs


def test_a_folder_becomes_absolute_and_a_bucket_stays() -> None:
    assert Path(Settings.load({"DATALAKE_URL": "x"}).lake_url).is_absolute()
    assert Settings.load({"DATALAKE_URL": "s3://bucket/lake"}).lake_url == "s3://bucket/lake"


def test_only_a_setting_moves_a_source() -> None:
    assert Settings.load({}).base_url("stripe", "https://api.stripe.com") == ("https://api.stripe.com", False)
    moved = Settings.load({"STRIPE_BASE_URL": "http://127.0.0.1:1/"})
    assert moved.base_url("stripe", "https://api.stripe.com") == ("http://127.0.0.1:1", True)
