"""Treating on S3 and Glue gives the table that it gives in a folder."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from datalake.lake.lake import Lake
from datalake.settings import Settings
from datalake_tests.lake import servers
from datalake_tests.treat.build import T2, T3, commit, complete, content, line, quarantined, table, treat

pytestmark = pytest.mark.slow

ORDERS = table({"id": "string", "amount": "decimal(9,2)"})


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    with servers.seaweedfs(tmp_path) as s3, servers.aws() as aws:
        for name, value in {
            "AWS_ACCESS_KEY_ID": servers.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": servers.SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_GLUE": aws,
        }.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=s3, region_name=servers.REGION).create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": servers.REGION}
        )
        lake = Lake(
            Settings(
                {
                    "DATALAKE_URL": "s3://lake/treat",
                    "DATALAKE_CATALOG": "glue",
                    "DATALAKE_S3_ENDPOINT": s3,
                    "AWS_REGION": servers.REGION,
                }
            )
        )
        yield lake
        lake.close()


def test_a_bucket_gets_the_table_of_a_folder(bucket: Lake, lake: Lake) -> None:
    for where in (bucket, lake):
        good = [line(f'{{"id":"k{n}","amount":{n}.10}}') for n in range(30)]
        commit(where, ORDERS, good, [line('{"id":"bad","amount":1.005}'), b"broken"])
        treat(where, ORDERS)
        commit(where, ORDERS, [*(line(f'{{"id":"k{n}","amount":{n}}}', T3) for n in range(20, 40)), complete(T2)])
        treat(where, ORDERS)
    assert len(content(bucket, ORDERS)) == 40
    assert content(bucket, ORDERS) == content(lake, ORDERS)
    assert quarantined(bucket) == quarantined(lake)
    assert bucket.properties(ORDERS)["datalake.raw_commit"] == "2"
