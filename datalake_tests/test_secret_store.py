"""Secrets are kept whole, for their owner only, by name, on a laptop and in AWS."""

import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from datalake.lake.lease import LeaseTaken, lease
from datalake.lake.objects import Objects
from datalake.secret_store import FileStore, secret_store
from datalake.settings import SettingError, Settings


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    store = secret_store(Settings.load({"DATALAKE_URL": str(tmp_path / "lake")}))
    assert store.get("XERO_TOKEN") is None
    store.put("XERO_TOKEN", "one")
    path = tmp_path / "lake.secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        store.get("XERO_TOKEN")


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    names = [f"NAME_{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: FileStore(tmp_path / "secrets").put(name, f"value of {name}"), names))
    assert {name: FileStore(tmp_path / "secrets").get(name) for name in names} == {name: f"value of {name}" for name in names}


def test_a_damaged_file_is_told_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_text('{"XERO_TOKEN": "canary-4711')
    with pytest.raises(ValueError, match="is no JSON") as raised:
        FileStore(path).get("XERO_TOKEN")
    assert "canary" not in repr(raised.value) + repr(raised.value.__cause__) + repr(vars(raised.value))


def test_a_setting_that_is_secret_comes_from_the_store_and_the_environment_wins(tmp_path: Path) -> None:
    url = {"DATALAKE_URL": str(tmp_path / "lake")}
    secret_store(Settings.load(url)).put("STRIPE_API_KEY", "rk_kept")
    assert Settings.load(url).require("STRIPE_API_KEY") == "rk_kept"
    assert Settings.load(url | {"STRIPE_API_KEY": "rk_set"}).require("STRIPE_API_KEY") == "rk_set"
    with pytest.raises(SettingError, match="datalake connect"):
        Settings.load(url).require("GITHUB_APP_ID")


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.mark.parametrize("kind", ["secretsmanager", "ssm"])
def test_aws_keeps_and_replaces_by_name(tmp_path: Path, aws: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(
        {"DATALAKE_URL": str(tmp_path), "DATALAKE_SECRETS": f"{kind}:/lake/", "AWS_REGION": "eu-central-1"}
    )
    store = secret_store(settings)
    assert store.get("ZOHO_CRM_TOKEN") is None
    for value in ("one", "two" * 1500):
        with store.lock("ZOHO_CRM_TOKEN"):
            store.put("ZOHO_CRM_TOKEN", value)
        assert secret_store(settings).get("ZOHO_CRM_TOKEN") == value


def test_a_lease_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    inside: list[int] = []
    most = []
    guard = threading.Lock()

    def work(number: int) -> None:
        with lease(objects, "token", wait=60):
            with guard:
                inside.append(number)
                most.append(len(inside))
            time.sleep(0.01)
            with guard:
                inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(18)))
    assert most == [1] * 18
    assert len(list(objects.list("leases"))) == 1


def test_a_lease_of_a_dead_holder_ends_and_a_living_one_is_waited_for(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    dead = lease(objects, "token", wait=0, seconds=0.5)
    dead.__enter__()  # and never left
    with pytest.raises(LeaseTaken, match="another process holds"), lease(objects, "token", wait=0):
        pass
    with lease(objects, "token", wait=5):
        pass
