"""The inbox keeps each body once, finds it in the order of arrival, and loses none, whatever is killed in between."""

import datetime as dt
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from datalake.lake.inbox import Inbox
from datalake.lake.lake import Lake
from datalake.lake.objects import Objects
from datalake.settings import Settings
from datalake_tests.lake import servers
from datalake_tests.webhooks.conftest import Place


class Killed(BaseException):
    """Ends a delivery as a kill would."""


def test_a_body_comes_back_byte_for_byte_with_what_is_known_of_it(place: Place) -> None:
    body = b'{"a": 1.10,\r\n "\xff": "no utf-8"}'
    assert place.inbox.put(body, channel="C1", signed=True)
    [(key, time)] = place.inbox.arrivals(None)
    found = place.inbox.get(key)
    assert found is not None
    arrival, kept = found
    assert kept == body
    assert (arrival.channel, arrival.signed, arrival.sha256) == ("C1", True, hashlib.sha256(body).hexdigest())
    assert dt.datetime.fromisoformat(arrival.received_at) == time


def test_the_same_bytes_are_kept_once_however_many_come_at_once(place: Place) -> None:
    with ThreadPoolExecutor(16) as pool:
        new = list(pool.map(lambda number: place.inbox.put(b"same %d" % (number % 5), channel="", signed=False), range(100)))
    assert sum(new) == 5
    assert place.bodies() == [b"same %d" % number for number in range(5)]
    assert len(place.arrivals()) == 5


def test_a_second_inbox_knows_what_the_first_one_kept(place: Place) -> None:
    place.inbox.put(b"body", channel="", signed=False)
    assert not Inbox(Objects(str(place.folder)), "dialog_360").put(b"body", channel="", signed=False)
    assert len(place.arrivals()) == 1


def test_arrivals_come_in_the_order_of_their_time_from_any_moment_on(place: Place) -> None:
    for number in range(5):
        place.inbox.put(b"%d" % number, channel="", signed=False)
    every = list(place.inbox.arrivals(None))
    assert [time for _, time in every] == sorted(time for _, time in every)
    assert [key for key, _ in place.inbox.arrivals(every[3][1])] == [key for key, _ in every[3:]]
    assert place.arrivals(every[-1][1] + dt.timedelta(days=1)) == []
    assert len(place.arrivals(every[0][1] - dt.timedelta(days=2))) == 5


def test_a_delivery_killed_before_its_body_is_no_delivery_and_comes_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_key: str, _body: bytes) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        real = place.inbox._keep
        patch.setattr(place.inbox, "_keep", lambda key, body: real(key, body) if "arrivals" in key else die(key, body))
        with pytest.raises(Killed):
            place.inbox.put(b"body", channel="", signed=False)
    [left] = place.arrivals()
    assert place.inbox.get(left) is None
    assert place.inbox.put(b"body", channel="", signed=False)
    assert [found[1] for key in place.arrivals() if (found := place.inbox.get(key))] == [b"body", b"body"]


@pytest.mark.slow
def test_a_bucket_serves_as_a_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET_KEY)
    with servers.seaweedfs(tmp_path) as s3:
        boto3.client("s3", endpoint_url=s3, region_name=servers.REGION).create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": servers.REGION}
        )
        settings = {"DATALAKE_URL": "s3://lake/here", "DATALAKE_S3_ENDPOINT": s3, "AWS_REGION": servers.REGION}
        inbox = Inbox(Lake(Settings(settings)).objects, "dialog_360")
        assert inbox.put(b"one", channel="C1", signed=False)
        assert not inbox.put(b"one", channel="C1", signed=False)
        assert inbox.put(b"two", channel="C1", signed=False)
        keys = [key for key, _ in inbox.arrivals(None)]
        assert [found[1] for key in keys if (found := inbox.get(key))] == [b"one", b"two"]
        [_, (second, time)] = inbox.arrivals(None)
        assert [key for key, _ in inbox.arrivals(time)] == [second]


def test_what_is_kept_survives_a_loss_of_power(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and folders are told to the disk before the delivery is answered."""
    synced: list[Path] = []
    monkeypatch.setattr("datalake.lake.inbox._sync", synced.append)
    place.inbox.put(b"body", channel="", signed=False)
    files = {path for path in place.folder.rglob("*") if path.is_file()}
    folders = {path for path in place.folder.rglob("*") if path.is_dir()}
    assert files | folders | {place.folder} <= set(synced)
