"""No secret gets out: after runs that went well and runs that went wrong, keys and tokens stand nowhere but in their store."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet
import pytest
import zstandard

from datalake import contracts
from datalake.model import job_name
from datalake.sandbox.base import Server, running
from datalake.settings import SETTINGS
from datalake.sources import CONNECTED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("source", CONNECTED)
def test_no_secret_in_logs_errors_metadata_raw_data_or_the_ui(source: str, tmp_path: Path) -> None:
    """The UI shows what Dagster's databases hold: they are searched, with all that the processes said and wrote."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with running(source, seed=7, scale=0.1, limits=False) as server:
        url = {"DATALAKE_URL": str(tmp_path / "lake"), "DAGSTER_HOME": str(home)}
        env = {**os.environ, **url, **server.env, "PYTHONWARNINGS": "ignore"}
        said = [_run(env, "dagster", "job", "execute", "-m", "datalake.definitions", "-j", _job(source))]
        hidden = _secrets(server, tmp_path)
        server.advance(1)
        # The source gives back what it was told, in errors of all kinds: some servers do.
        gossip = json.dumps({"error": f"not for {' nor '.join(sorted(hidden))}"})
        for status in (400, 403, 404, 500):
            server.fault("^/(?!.*(token|oauth))", status=status, body=gossip, times=2, skip=3)
        said += [
            _run(env, "dagster", "job", "execute", "-m", "datalake.definitions", "-j", _job(source)),
            _run(env, "datalake.cli", "sync", source),
            _run(env, "datalake.cli", "doctor"),
            _run(env, "datalake.cli", "settings"),
            _run(env, "datalake.cli", "status", "--json"),
        ]
    hidden |= _secrets(server, tmp_path)
    assert hidden
    assert all(said)
    found = [("what the processes said", text) for text in said]
    found += [(str(path.relative_to(tmp_path)), text) for path, text in _written(tmp_path)]
    assert len(found) > 20
    assert [(place, secret) for place, text in found for secret in hidden if secret in text] == []


def test_the_search_finds_a_secret_wherever_it_stands(tmp_path: Path) -> None:
    import pyarrow

    secret = "rk_canary_4711"
    (tmp_path / "a.zst").write_bytes(zstandard.compress(secret.encode()))
    pyarrow.parquet.write_table(pyarrow.table({"x": ["y" * 100 + secret] * 50}), tmp_path / "b.parquet", compression="zstd")
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database, database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("INSERT INTO t VALUES (?)", ("z" * 4090 + secret,))
    (tmp_path / "d.json").write_text(f'{{"url": "https://example.com?key={secret}"}}')
    assert {path.name for path, text in _written(tmp_path) if secret in text} == {"a.zst", "b.parquet", "c.db", "d.json"}


def _job(source: str) -> str:
    loaded = contracts.load_source(source)
    return job_name(loaded, loaded.cadence)


def _run(env: dict[str, str], *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], env=env, capture_output=True, text=True, cwd=ROOT, timeout=300)
    return done.stdout + done.stderr


def _secrets(server: Server, folder: Path) -> set[str]:
    """Every secret in play, as it is and as it travels."""
    known = {setting.name for setting in SETTINGS if setting.secret}
    plain = {name: value for name, value in server.env.items() if name in known}
    secrets = set(plain.values())
    for name, value in plain.items():
        if name.endswith("_CLIENT_SECRET"):
            client = plain[name.replace("_SECRET", "_ID")]
            secrets |= {base64.b64encode(f"{client}:{value}".encode()).decode()}
            secrets -= {client}  # an id is no secret, and some systems show it
    store = folder / "lake.secrets.json"
    if store.exists():
        for text in json.loads(store.read_text()).values():
            token = json.loads(text)
            secrets |= {token.get(name, "") for name in ("access", "refresh", "previous")}
    secrets -= {""}
    return secrets | {quote(secret, safe="") for secret in secrets}


def _written(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file with its content as text, unpacked; the secret store is left out."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "secrets.json" in path.name:
            continue
        if path.suffix == ".zst":
            with path.open("rb") as file:
                yield path, zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8", "replace")
        elif path.suffix == ".parquet":
            yield path, str(pyarrow.parquet.read_table(path).to_pylist())
        elif path.suffix == ".db":
            with contextlib.closing(sqlite3.connect(path)) as database:
                yield path, "\n".join(database.iterdump())
        else:
            yield path, path.read_bytes().decode("utf-8", "replace")
