"""The catalog's REST face: who may ask, what it answers, and that two writers never both win."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import requests

from datalake.lake.catalog import CatalogServer, serve
from datalake.lake.lake import Lake
from datalake.lake.sql import relation
from datalake.lake.upkeep import compact
from datalake.model import QUALITY
from datalake_tests.lake.build import ask, fingerprint, merge, merge_sql, open_lake, table


@pytest.fixture
def server(lake: Lake) -> Iterator[CatalogServer]:
    """A writable face of the lake's catalog with one table of ten rows."""
    lake.ensure_table(table())
    merge(lake, table(), 0, 10)
    server = CatalogServer(lake.catalog, writable=True)
    server.start()
    yield server
    server.shutdown()
    server.server_close()


def call(server: CatalogServer, path: str, method: str = "GET", token: str | None = None, **more: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token if token is None else token}"}
    return requests.request(method, server.url + path, headers=headers, timeout=10, **more)


@pytest.mark.parametrize("token", ["", "wrong", "Bearer"])
def test_nobody_gets_in_without_the_token(server: CatalogServer, token: str) -> None:
    for method, path in (
        ("GET", "/v1/config"),
        ("POST", "/v1/transactions/commit"),
        ("GET", "/v1/namespaces/stripe/tables/charges"),
    ):
        answer = call(server, path, method, token)
        assert answer.status_code == 401
        assert server.token not in answer.text


def test_answers_and_errors_of_the_protocol(server: CatalogServer) -> None:
    assert "POST /v1/{prefix}/transactions/commit" in call(server, "/v1/config").json()["endpoints"]
    assert call(server, "/v1/namespaces").json() == {"namespaces": [["stripe"]]}
    assert call(server, "/v1/namespaces/stripe").json()["namespace"] == ["stripe"]
    assert call(server, "/v1/namespaces/stripe/tables").json() == {
        "identifiers": [{"namespace": ["stripe"], "name": "charges"}]
    }
    assert call(server, "/v1/namespaces/stripe/tables/charges", "HEAD").status_code == 200
    for path, kind in (
        ("/v1/namespaces/stripe/tables/nothing", "NoSuchTableException"),
        ("/v1/namespaces/nowhere", "NoSuchNamespaceException"),
        ("/v1/views", "NotFoundException"),
        ("/v1/namespaces/stripe/tables/charges/plan", "NotFoundException"),
    ):
        answer = call(server, path)
        assert (answer.status_code, answer.json()["error"]["type"], answer.json()["error"]["code"]) == (404, kind, 404)
    for body in ("{", '{"requirements": [{"type": "no such"}]}'):
        assert call(server, "/v1/namespaces/stripe/tables/charges", "POST", data=body).status_code == 400


def test_a_requirement_that_no_longer_holds_is_a_conflict(server: CatalogServer, lake: Lake) -> None:
    before = lake.properties(table())
    body = {
        "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 1}],
        "updates": [{"action": "set-properties", "updates": {"a": "b"}}],
    }
    answer = call(server, "/v1/namespaces/stripe/tables/charges", "POST", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "CommitFailedException")
    assert lake.properties(table()) == before


def test_a_transaction_with_one_stale_table_changes_none(server: CatalogServer, lake: Lake) -> None:
    lake.ensure_table(table("refunds"))

    def change(name: str, snapshot: int | None) -> dict[str, object]:
        return {
            "identifier": {"namespace": ["stripe"], "name": name},
            "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": snapshot}],
            "updates": [{"action": "set-properties", "updates": {"touched": "yes"}}],
        }

    changes = [change("refunds", None), change("charges", 1)]
    assert call(server, "/v1/transactions/commit", "POST", json={"table-changes": changes}).status_code == 409
    assert "touched" not in lake.properties(table("refunds"))
    current = lake.catalog.load_table(("stripe", "charges")).metadata.current_snapshot_id
    changes = [change("refunds", None), change("charges", current)]
    assert call(server, "/v1/transactions/commit", "POST", json={"table-changes": changes}).status_code == 204
    assert lake.properties(table("refunds"))["touched"] == lake.properties(table())["touched"] == "yes"


def test_verdicts_are_committed_before_the_data_they_judge(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    charges, verdicts = table(), table("verdicts", {"id": "string", "verdict": "string"}, source=QUALITY)
    lake.ensure_table(charges)
    lake.ensure_table(verdicts)
    order = []
    original = lake.catalog.commit_table
    monkeypatch.setattr(lake.catalog, "commit_table", lambda t, r, u: (order.append(t.name()), original(t, r, u))[1])
    connection = lake.connect()
    connection.execute("BEGIN")
    connection.execute(f"INSERT INTO {relation(charges)} (id) VALUES ('a')")
    connection.execute(f"INSERT INTO {relation(verdicts)} (id, verdict) VALUES ('a', 'good')")
    connection.execute("COMMIT")
    assert order == [("quality", "verdicts"), ("stripe", "charges")]
    assert ask(lake, f"SELECT verdict FROM {relation(verdicts)}") == [("good",)]
    assert ask(lake, f"SELECT column_name FROM (DESCRIBE {relation(verdicts)})") == [("id",), ("verdict",)]


def test_a_harmless_change_in_between_is_no_conflict(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    connection = lake.connect()
    connection.execute("BEGIN")
    connection.execute(f"INSERT INTO {relation(charges)} (id) VALUES ('a')")
    with lake.catalog.load_table(charges.identifier).transaction() as transaction:
        transaction.set_properties({"note": "from somebody else"})
    lake.on_commit(charges.identifier, {"datalake.raw_commit": "1"})
    connection.execute("COMMIT")
    properties = lake.properties(charges)
    assert (properties["note"], properties["datalake.raw_commit"]) == ("from somebody else", "1")
    assert fingerprint(lake, charges)[0] == 1


def test_a_commit_that_breaks_off_is_an_unknown_state_not_a_refusal(
    server: CatalogServer, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(lake.catalog, "commit_table", broken)
    body = {"requirements": [], "updates": [{"action": "set-properties", "updates": {"a": "b"}}]}
    answer = call(server, "/v1/namespaces/stripe/tables/charges", "POST", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "CommitStateUnknownException")
    assert "disk full" in answer.text


def test_the_present_state_is_the_last_of_the_snapshot_log(lake: Lake) -> None:
    """DuckDB 1.5.5 reads the log's last entry. A table whose log lags (rolled back elsewhere) must not get doubled keys."""
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    merge(lake, charges, 0, 20, 1)
    published = lake.catalog.load_table(charges.identifier)
    metadata = json.loads(published.metadata.model_dump_json())
    metadata["snapshot-log"] = metadata["snapshot-log"][:1]
    location = Path(published.metadata_location).with_name("99999-lagging.metadata.json")
    location.write_text(json.dumps(metadata))
    lake.catalog.drop_table(charges.identifier)
    lake.catalog.register_table(charges.identifier, str(location))

    assert fingerprint(lake, charges)[:2] == (20, 20)
    merge(lake, charges, 5, 30, 2)
    assert fingerprint(lake, charges)[:2] == (30, 30)


def test_old_metadata_files_do_not_pile_up(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    with lake.catalog.load_table(charges.identifier).transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "3"})
    for step in range(6):
        merge(lake, charges, 0, 5, step)
    published = lake.catalog.load_table(charges.identifier)
    files = {str(path) for path in Path(published.metadata_location).parent.glob("*.metadata.json")}
    assert files == {published.metadata_location} | {entry.metadata_file for entry in published.metadata.metadata_log}
    assert len(files) == 4


def test_a_served_catalog_is_for_reading_with_the_token(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    said: list[str] = []
    ready = threading.Event()

    def announce(text: str) -> None:
        said.append(text)
        if "Python" in text:
            ready.set()

    other = open_lake(lake.settings.lake_url, DATALAKE_CATALOG_TOKEN="told-beforehand")
    threading.Thread(target=serve, args=(other, 0, announce), daemon=True).start()
    assert ready.wait(30)
    url = said[0].split(" at ")[1].split(",")[0]
    assert "told-beforehand" in said[0]
    attach = f"ATTACH 'lake' AS served (TYPE iceberg, ENDPOINT '{url}', TOKEN 'told-beforehand', READ_ONLY false)"
    connection = lake.connect()
    connection.execute(attach)
    assert connection.execute("SELECT count(*) FROM served.stripe.charges").fetchone() == (10,)
    with pytest.raises(duckdb.Error, match=r"reading only|not support"):
        connection.execute("INSERT INTO served.stripe.charges (id) VALUES ('x')")
    from pyiceberg.catalog.rest import RestCatalog

    with RestCatalog("lake", uri=url, token="told-beforehand") as rest:
        assert rest.load_table(("stripe", "charges")).scan().to_arrow().num_rows == 10


def test_two_processes_create_a_lake_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from datalake.lake.engine import lost_race\n"
        "from datalake_tests.lake.build import *\n"
        "lake = open_lake(sys.argv[1])\n"
        "lake.catalog\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for name in 'abcde': lake.ensure_table(table(name))\n"
        "for attempt in range(20):\n"
        "    try: merge(lake, table('a'), 0, 50, int(sys.argv[2])); break\n"
        "    except duckdb.Error as error:\n"
        "        if not lost_race(error): raise\n"
        "lake.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "lake")]
    both = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [(process.returncode, error) for process, error in zip(both, errors, strict=True)] == [(0, ""), (0, "")]
    lake = open_lake(tmp_path / "lake")
    assert len(lake.catalog.list_tables("stripe")) == 5
    assert fingerprint(lake, table("a"))[:2] == (50, 50)
    lake.close()


def test_a_rest_catalog_takes_our_commits(server: CatalogServer, lake: Lake) -> None:
    """A lake whose catalog is somebody's REST catalog writes through it, and is refused by it."""
    charges = table()
    other = open_lake(lake.settings.lake_url, DATALAKE_CATALOG=server.url, DATALAKE_CATALOG_TOKEN=server.token)
    other.ensure_table(charges)
    other.on_commit(charges.identifier, {"datalake.raw_commit": "3"})
    merge(other, charges, 5, 30, 1)
    assert fingerprint(other, charges)[:2] == (30, 30)
    assert other.properties(charges)["datalake.raw_commit"] == "3"
    slow = other.connect()
    slow.execute("BEGIN")
    slow.execute(merge_sql(charges), {"start": 0, "stop": 10, "step": 2})
    merge(other, charges, 20, 40, 3)
    with pytest.raises(duckdb.TransactionException, match="409"):
        slow.execute("COMMIT")
    slow.close()
    assert compact(other, charges) is not None
    assert fingerprint(other, charges)[:2] == (40, 40)
    other.close()
