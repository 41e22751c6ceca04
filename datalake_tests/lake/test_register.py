"""People find what was published, with what the contract says of it, and the count is proved."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from datalake.lake.engine import open_duckdb
from datalake.lake.lake import Lake
from datalake.lake.register import CountDiffers, NotPublished, query_connection, register, registered
from datalake.settings import Settings
from datalake_tests.lake.build import merge, open_lake, table


def ask_file(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    """An answer through lake.duckdb, as `datalake query` asks."""
    with query_connection(lake.settings) as connection:
        return connection.execute(sql).fetchall()


def test_a_published_table_is_a_view_with_its_contract(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 100)
    merge(lake, charges, 50, 120, 1)
    assert not registered(lake, charges)
    done = register(lake, charges)
    assert (done.rows, done.engine) == (120, "duckdb")
    assert done.metadata_location == lake.catalog.load_table(charges.identifier).metadata_location
    assert registered(lake, charges)
    assert ask_file(lake, "SELECT count(*), count(DISTINCT id), max(_raw_commit) FROM stripe.charges") == [(120, 120, 1)]
    [(comment,)] = ask_file(lake, "SELECT comment FROM duckdb_views() WHERE view_name = 'charges'")
    for words in (charges.about, "Key: id", "data@example.com", "finance@example.com", "confidential", charges.doc):
        assert words in comment
    [(comment,)] = ask_file(
        lake, "SELECT comment FROM duckdb_columns() WHERE table_name = 'charges' AND column_name = 'amount'"
    )
    assert comment == "What amount is. [restricted]"
    [row] = ask_file(lake, "SELECT source, name, rows, metadata_location FROM datalake.registrations")
    assert row == ("stripe", "charges", 120, done.metadata_location)


def test_it_is_out_of_date_after_a_publication_or_a_change_of_contract(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    register(lake, charges)
    other_owner = dataclasses.replace(charges, business_owner="ceo@example.com")
    assert not registered(lake, other_owner)
    merge(lake, charges, 5, 15, 1)
    assert not registered(lake, charges)
    register(lake, charges)
    assert registered(lake, charges)


def test_a_table_never_published_is_an_error(lake: Lake) -> None:
    assert not registered(lake, table())
    with pytest.raises(NotPublished, match=r"datalake sync stripe\.charges"):
        register(lake, table())
    with pytest.raises(FileNotFoundError, match="datalake sync"):
        query_connection(lake.settings)


def test_open_readers_keep_what_they_have_and_later_ones_see_the_new(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    register(lake, charges)
    reader = query_connection(lake.settings)
    assert reader.execute("SELECT count(*) FROM stripe.charges").fetchone() == (10,)
    merge(lake, charges, 0, 20, 1)
    register(lake, charges)
    assert reader.execute("SELECT count(*) FROM stripe.charges").fetchone() == (10,)
    assert ask_file(lake, "SELECT count(*) FROM stripe.charges") == [(20,)]
    reader.close()


def test_a_count_that_differs_leaves_the_old_registration(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    register(lake, charges)
    before = ask_file(lake, "SELECT * FROM datalake.registrations")
    _promise_more_rows(lake)
    with pytest.raises(CountDiffers, match=r"duckdb counts 10 rows where 11 were published"):
        register(lake, charges)
    assert ask_file(lake, "SELECT * FROM datalake.registrations") == before
    assert not list(Path(lake.settings.lake_url).glob(".lake.duckdb.build*"))
    assert not registered(lake, charges)


def _promise_more_rows(lake: Lake) -> None:
    """Publish a snapshot whose summary promises one row more than its files hold."""
    from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate

    published = lake.catalog.load_table(("stripe", "charges"))
    snapshot = published.metadata.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    body = snapshot.model_dump(by_alias=True)
    body |= {"snapshot-id": 77, "parent-snapshot-id": snapshot.snapshot_id, "sequence-number": 2}
    body["summary"] = dict(body["summary"]) | {"total-records": "11"}
    lake.catalog.commit_table(
        published,
        (),
        (
            AddSnapshotUpdate.model_validate({"snapshot": body}),
            SetSnapshotRefUpdate.model_validate({"ref-name": "main", "type": "branch", "snapshot-id": 77}),
        ),
    )


@pytest.mark.slow
def test_two_processes_register_at_once(lake: Lake) -> None:
    names = ("a", "b", "c", "d")
    for name in names:
        lake.ensure_table(table(name))
        merge(lake, table(name), 0, 10)
    code = (
        "import sys\n"
        "from datalake_tests.lake.build import *\n"
        "from datalake.lake.register import register\n"
        "lake = open_lake(sys.argv[1])\n"
        "for name in sys.argv[2] * 3: register(lake, table(name))\n"
        "lake.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, lake.settings.lake_url]
    other = subprocess.Popen([*command, "ab"], stderr=subprocess.PIPE, text=True)
    while other.poll() is None:
        for name in "cd":
            register(lake, table(name))
        ask_file(lake, "SELECT count(*) FROM datalake.registrations")
    assert other.communicate()[1] == ""
    assert ask_file(lake, "SELECT name, rows FROM datalake.registrations ORDER BY ALL") == [(name, 10) for name in names]


def test_any_duckdb_client_opens_the_file(lake: Lake) -> None:
    """Beside our settings, only the extension is needed."""
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    register(lake, charges)
    with open_duckdb(Settings({})) as client:
        client.execute(f"ATTACH '{lake.settings.lake_url}/lake.duckdb' AS company (READ_ONLY)")
        assert client.execute("SELECT count(*) FROM company.stripe.charges").fetchone() == (10,)


def test_a_query_needs_no_catalog_and_under_a_second_more_than_duckdb(lake: Lake) -> None:
    lake.ensure_table(table())
    merge(lake, table(), 0, 10)
    register(lake, table())
    code = (
        "import sys, time\n"
        "import duckdb\n"
        "begun = time.process_time()\n"
        "from datalake.settings import Settings\n"
        "from datalake.lake.register import query_connection\n"
        "connection = query_connection(Settings({'DATALAKE_URL': sys.argv[1]}))\n"
        "assert connection.execute('SELECT count(*) FROM stripe.charges').fetchone() == (10,)\n"
        "assert not {'pyiceberg', 'sqlalchemy', 'pyarrow'} & set(sys.modules)\n"
        "print(time.process_time() - begun)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, lake.settings.lake_url], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1, "CPU seconds beside importing DuckDB"


def test_missing_extensions_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ImportError, match=rf"duckdb-extension-avro=={duckdb.__version__}"):
        open_duckdb(Settings({}))


def test_a_folder_with_an_awkward_name(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "with 'quote' and space")
    lake.ensure_table(table())
    merge(lake, table(), 0, 10)
    assert register(lake, table()).rows == 10
    assert ask_file(lake, "SELECT count(*) FROM stripe.charges") == [(10,)]
    lake.close()
