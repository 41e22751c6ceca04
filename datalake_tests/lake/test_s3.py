"""The whole lake on S3, Glue and Athena: a real S3 server, and a server that behaves like the other two."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from datalake.lake.lake import Lake
from datalake.lake.objects import AlreadyExists
from datalake.lake.raw import Commit, PartWriter, now
from datalake.lake.register import CountDiffers, athena_query, query_connection, register, registered
from datalake.lake.sql import relation
from datalake.lake.upkeep import compact
from datalake.settings import SettingError
from datalake_tests.lake import servers
from datalake_tests.lake.build import ask, column, fingerprint, merge, open_lake, reference, table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(S3, Glue and Athena)."""
    with pytest.MonkeyPatch.context() as environment, contextlib.ExitStack() as stack:
        s3 = stack.enter_context(servers.seaweedfs(tmp_path_factory.mktemp("s3")))
        aws = stack.enter_context(servers.aws())
        for name, value in {
            "AWS_ACCESS_KEY_ID": servers.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": servers.SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_GLUE": aws,
            "AWS_ENDPOINT_URL_ATHENA": aws,
        }.items():
            environment.setenv(name, value)
        boto3.client("s3", endpoint_url=s3, region_name=servers.REGION).create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": servers.REGION}
        )
        yield s3, aws


@pytest.fixture
def aws(endpoints: tuple[str, str]) -> str:
    return endpoints[1]


@pytest.fixture
def lake(endpoints: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Lake]:
    """A lake of its own: prefix of the bucket, tables under a database named after the test."""
    lake = open_lake(
        f"s3://lake/{request.node.name}",
        DATALAKE_CATALOG="glue",
        DATALAKE_S3_ENDPOINT=endpoints[0],
        AWS_REGION=servers.REGION,
        ATHENA_OUTPUT="s3://lake/athena/",
    )
    yield lake
    lake.close()


def test_folders_right_below_a_folder(lake: Lake) -> None:
    for key in ("raw/stripe/charges/commits/1.json", "raw/stripe/charges/read_at", "raw/stripe/refunds/data/x", "raw/xero/a/b"):
        lake.objects.put(key, b"{}")
    assert lake.objects.folders("raw/stripe") == ("charges", "refunds")
    assert lake.objects.folders("raw/nothing") == ()


def test_one_of_many_writers_wins_a_raw_commit(lake: Lake) -> None:
    log = lake.log(table())
    writer = PartWriter(lake.objects, table())
    writer.write(b'{"_lake":{"at":"2026-01-01T00:00:00Z"},"record":{"id":"a"}}\n', 1)
    part = writer.close()
    start = threading.Barrier(8)

    def write(run: int) -> bool:
        commit = Commit(1, "stripe", "charges", str(run), "sync", now(), now(), parts=(part,))
        start.wait()
        try:
            lake.objects.put_new(f"{table().raw_prefix}/commits/{commit.sequence:020d}.json", str(run).encode())
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    assert list(lake.objects.list(f"{table().raw_prefix}/commits")) == [f"{table().raw_prefix}/commits/{1:020d}.json"]
    commit = Commit(2, "stripe", "charges", "r", "sync", now(), now(), parts=(part,))
    log.append(commit)
    assert log.read(2) == commit
    assert list(log.lines(commit)) == [b'{"_lake":{"at":"2026-01-01T00:00:00Z"},"record":{"id":"a"}}']


def test_the_road_from_merge_to_athena(lake: Lake, aws: str) -> None:
    charges = table("road", partition="at")
    versions = [(0, 500, 0), (300, 800, 1), (0, 10, 2)]
    lake.ensure_table(charges)
    for version in versions:
        lake.on_commit(charges.identifier, {"datalake.raw_commit": str(version[2])})
        merge(lake, charges, *version)
    [expected] = reference(versions, "SELECT count(*), count(DISTINCT id), sum(amount) FROM r")
    before = fingerprint(lake, charges)
    assert before[:3] == expected
    assert lake.properties(charges)["datalake.raw_commit"] == "2"
    done = compact(lake, charges)
    assert done is not None
    assert fingerprint(lake, charges) == before
    assert lake.catalog.load_table(charges.identifier).scan().to_arrow().num_rows == 800

    servers.will_answer(aws, 800)
    assert not registered(lake, charges)
    registration = register(lake, charges)
    assert (registration.rows, registration.engine) == (800, "athena")
    assert registration.uri.startswith("s3://lake/test_the_road_from_merge_to_athena/treated/")
    assert registered(lake, charges)

    entry = boto3.client("glue", region_name=servers.REGION).get_table(DatabaseName="stripe", Name="road")["Table"]
    parameters = entry["Parameters"]
    assert entry["Description"] == charges.about
    assert entry["Owner"] == "data@example.com"
    assert parameters["metadata_location"] == registration.metadata_location
    assert parameters["table_type"] == "ICEBERG"
    assert parameters["datalake.owner.business"] == "finance@example.com"
    assert parameters["datalake.classification"] == "confidential"
    assert parameters["datalake.key"] == "id"
    assert parameters["datalake.fresh-within-hours"] == "26"
    columns = {each["Name"]: each for each in entry["StorageDescriptor"]["Columns"]}
    assert columns["amount"]["Comment"] == "What amount is."
    assert columns["amount"]["Type"] == "decimal(18,2)"
    assert columns["at"]["Type"] == "timestamp"
    assert columns["amount"]["Parameters"]["datalake.classification"] == "restricted"

    merge(lake, charges, 0, 20, 3)
    assert fingerprint(lake, charges)[:2] == (800, 800)
    assert not registered(lake, charges), "published anew"


def test_what_athena_counts_must_be_what_was_published(lake: Lake, aws: str) -> None:
    charges = table("counted")
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    servers.will_answer(aws, 9)
    with pytest.raises(CountDiffers, match="athena counts 9 rows where 10 were published"):
        register(lake, charges)
    assert not registered(lake, charges)


def test_a_commit_between_reading_and_describing_survives(lake: Lake, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Glue refuses a stale VersionId, and the entry is described again on what the commit left."""
    from botocore.exceptions import ClientError

    charges = table("raced", columns={"id": "string"})
    lake.ensure_table(charges)
    assert lake.s3 is not None
    glue = lake.s3.client("glue")
    original, calls = glue.update_table, []

    def stale_once(**arguments: object) -> object:
        calls.append(arguments["VersionId"])
        if len(calls) == 1:
            with lake.catalog.load_table(charges.identifier).transaction() as transaction:
                transaction.set_properties({"note": "another commit"})
            raise ClientError({"Error": {"Code": "ConcurrentModificationException", "Message": "stale"}}, "UpdateTable")
        return original(**arguments)

    monkeypatch.setattr(glue, "update_table", stale_once)
    servers.will_answer(aws, 0)
    register(lake, charges)
    assert len(calls) == 2
    assert calls[0] != calls[1], "the second try is on the new version"
    assert lake.properties(charges)["note"] == "another commit"


def test_personal_data_is_tagged(lake: Lake, aws: str) -> None:
    people = table("people", columns={"id": "string"})
    people = dataclasses.replace(people, columns=(*people.columns, column("email", "string", pii="email")))
    lake.ensure_table(people)
    servers.will_answer(aws, 0)
    register(lake, people)
    entry = boto3.client("glue", region_name=servers.REGION).get_table(DatabaseName="stripe", Name="people")["Table"]
    assert entry["Parameters"]["datalake.personal-data"] == "email"
    [email] = [each for each in entry["StorageDescriptor"]["Columns"] if each["Name"] == "email"]
    assert email["Parameters"]["datalake.pii"] == "email"


def test_a_query_on_an_s3_lake_goes_through_its_catalog(lake: Lake) -> None:
    charges = table("queried")
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    with query_connection(lake.settings) as connection:
        assert connection.execute("SELECT count(*) FROM stripe.queried").fetchone() == (10,)


def test_athena_answers_queries(lake: Lake, aws: str) -> None:
    servers.will_answer(aws, 7, 7)
    assert athena_query(lake.settings, "SELECT count(*) FROM stripe.charges").fetchall() == [(7,)]
    assert athena_query(lake.settings, "SELECT count(*) FROM stripe.charges").as_arrow().to_pylist() == [{"_col0": 7}]


def test_renewed_credentials_reach_duckdb(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = table("renewed")
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    assert lake.s3 is not None
    monkeypatch.setattr(lake.s3._credentials, "secret_key", "wrong")
    with pytest.raises(Exception, match=r"403|Forbidden|Signature"):
        ask(lake, f"SELECT sum(amount) FROM {relation(charges)}")
    monkeypatch.undo()
    assert ask(lake, f"SELECT count(amount) FROM {relation(charges)}") == [(10,)]


def test_settings_that_cannot_work_say_so(endpoints: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="sqlite serves folder lakes only"):
        _ = open_lake("s3://lake/x", AWS_REGION=servers.REGION).catalog
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingError, match="AWS_REGION is not set"):
        _ = open_lake("s3://lake/x").s3
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SettingError, match="No AWS credentials found"):
        _ = open_lake("s3://lake/x", AWS_REGION=servers.REGION).s3
