"""GitHub's module against its stand-in over real HTTP: every core table, changes, limits, credentials, refusals."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.settings import SettingError, Settings
from datalake.sources import github_access, open_run
from datalake.sources.base import AuthenticationFailed, Permanent, QuotaSpent, Skipped, Window
from datalake.sources.progress import LogProgress
from datalake_tests.sources.raw_lake import RawLake, core
from datalake_tests.sources.scripted import Asked, Reply, serving

SOURCE = contracts.load_source("github")
CORE = core(SOURCE)
NOW = 1_795_000_000
"""2026-11-18T11:06:40Z."""


def four_syncs(server: Server, folder: Path, names: list[str], compared: list[str]) -> list[dict[str, Any]]:
    """The first, one day later, eight days later, and at once again: what each brought. The lake comes last."""
    lake = RawLake("github", folder, server.env)
    told = []
    for days in (0, 1, 8, None):
        if days:
            server.advance(days)
        server.calls(clear=True)
        done = lake.sync(*names)
        ledgers = {name: server.ledger(name) for name in compared} if days is not None else {}
        wrong = {name: lake.differences(name, ledger) for name, ledger in ledgers.items()}
        counts = {name: len(ledger) for name, ledger in ledgers.items()}
        told.append({"done": done, "wrong": wrong, "counts": counts, "calls": server.calls()})
    return [*told, {"lake": lake}]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    with running("github", seed=3, scale=0.5, now=NOW) as server:
        return four_syncs(server, tmp_path_factory.mktemp("raw"), CORE, CORE)


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A stand-in with little in it, for tests that leave it as it was."""
    with running("github", seed=5, scale=0.2, now=NOW) as server:
        yield server


@contextmanager
def fresh(tmp_path: Path, *, scale: float = 0.2, **settings: str) -> Iterator[tuple[Server, RawLake]]:
    """A stand-in of its own, for tests that change it."""
    with running("github", seed=5, scale=scale, now=NOW) as server:
        yield server, RawLake("github", tmp_path, server.env, **settings)


@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("sync", [0, 1, 2])
def test_the_newest_rows_equal_the_ledger(history: list[dict[str, Any]], name: str, sync: int) -> None:
    assert history[sync]["wrong"][name][:3] == []
    assert history[sync]["counts"][name] > 0, "the stand-in has no such rows: the comparison proves nothing"


def test_an_unchanged_source_writes_nothing_and_asks_little(history: list[dict[str, Any]]) -> None:
    again = history[3]
    assert {name: e.rows for name, e in again["done"].items() if e.rows or e.commits} == {}
    assert len(again["calls"]) < 260


def test_a_later_sync_reads_what_changed(history: list[dict[str, Any]]) -> None:
    first, second = history[0]["done"], history[1]["done"]
    for name in (
        "issues",
        "issue_comments",
        "issue_events",
        "pull_requests",
        "pull_request_details",
        "workflow_runs",
        "commits",
    ):
        assert 0 < second[name].rows < first[name].rows * 0.15, name


def test_lists_are_read_once_for_all_tables(history: list[dict[str, Any]]) -> None:
    asked = [call["path"] for call in history[3]["calls"]]
    assert asked.count("/orgs/acme/repos") == asked.count("/orgs/acme/teams") == asked.count("/user/orgs") == 1


def test_quiet_and_archived_repositories_cost_no_call(history: list[dict[str, Any]]) -> None:
    asked = {call["path"] for call in history[3]["calls"]}
    assert "/repos/acme/legacy/issues" not in asked
    assert "/repos/acme/platform/commits" not in asked


def test_what_is_refused_is_told_and_the_rest_is_read(history: list[dict[str, Any]]) -> None:
    notes = [note for extraction in history[0]["done"].values() for note in extraction.notes]
    (note,) = (note for note in notes if "vault" in note)
    assert note.startswith("1 of 14 repositories left out (acme/vault): not allowed to read this table")
    (note,) = (note for note in notes if "acme-labs" in note)
    assert note.startswith("2 of 14 repositories left out (acme-labs/experiments, acme-labs/spikes): not allowed")


def test_refusals_after_the_first_are_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refusal = json.dumps({"message": "Resource not accessible by integration"})
    with fresh(tmp_path) as (server, lake):
        server.fault("/repos/acme/api/(labels|milestones)", status=403, body=refusal, times=2)
        done = lake.sync("labels", "milestones", "issues", "releases")
        assert "acme/api, acme/vault" in done["labels"].notes[0]
        assert [done[name].notes for name in ("milestones", "issues", "releases")] == [[], [], []]
    told = [record.getMessage() for record in caplog.records if "refused them too" in record.getMessage()]
    assert [line.partition(": ")[2] for line in told] == [
        "acme/api is left out, as it refused them too, of: github.milestones",
        "acme/vault is left out, as it refused them too, of: github.issues, github.milestones, github.releases",
    ]


def test_a_branch_that_lived_for_a_month_brings_all_its_commits(history: list[dict[str, Any]]) -> None:
    assert any("/compare/" in call["path"] for call in history[1]["calls"])


def test_runs_are_cut_into_pieces_that_can_be_listed(history: list[dict[str, Any]]) -> None:
    pieces = {call["query"] for call in history[0]["calls"] if call["path"].endswith("platform/actions/runs")}
    assert any(".." in piece for piece in pieces)
    assert (
        sum(row.record["repository"]["name"] == "platform" for row in history[4]["lake"].rows("workflow_runs").values()) > 1_000
    )


def test_a_clone_token_never_reaches_the_lake(history: list[dict[str, Any]]) -> None:
    lake = history[4]["lake"]
    assert "CLONE" not in json.dumps(lake.lines("repositories"))
    assert any(row.record["private"] for row in lake.rows("repositories").values()), "only private ones have such a token"


def test_a_repository_that_is_renamed_after_it_was_listed(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        run = lake.open()
        try:
            lake.read(run, "repositories")
            server.control(rename={"repository": "acme/api", "to": "core"})
            extraction = lake.read(run, "issues")
            lake.read(run, "labels")
        finally:
            run.close()
        assert lake.differences("issues", server.ledger("issues")) == []
        assert lake.differences("labels", server.ledger("labels")) == []
        assert any(call["status"] == 301 and call["path"] == "/repos/acme/api/issues" for call in server.calls())
        assert extraction.rows == len(server.ledger("issues"))


def test_one_repository_that_fails_does_not_hold_the_others_back(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        server.fault(r"^/repos/acme/api/issues\?", status=200, body="<html>Unicorn!</html>")
        with pytest.raises(Permanent, match=r"github\.issues: the answer is a web page.*acme/api/issues.*Unicorn!"):
            lake.sync("issues")
        missing = lake.differences("issues", server.ledger("issues"))
        read = {row.add["repository_id"] for row in lake.rows("issues").values()}
        of_api = sum(row.add["repository_id"] not in read for row in server.ledger("issues"))
        assert 0 < len(missing) == of_api
        lake.sync("issues")
        assert lake.differences("issues", server.ledger("issues")) == []


# -- credentials -------------------------------------------------------------------------------------------------------


def _key() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


def test_an_app_reads_with_tokens_that_end_in_mid_run(tmp_path: Path) -> None:
    private, public = _key()
    file = tmp_path / "app.pem"
    file.write_text(private)
    app = {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "4711", "GITHUB_APP_PRIVATE_KEY": str(file)}
    with fresh(tmp_path / "lake", **app) as (server, lake):
        server.control(app={"id": 4711, "public_key": public}, token_uses=25)
        names = ("repositories", "organizations", "issues", "labels", "pull_requests", "pull_request_details", "discussions")
        lake.sync(*names)
        for name in names:
            assert lake.differences(name, server.ledger(name)) == [], name
        calls = server.calls()
        assert sum(call["path"].endswith("/access_tokens") for call in calls) > 2
        assert any(call["status"] == 401 for call in calls)
        assert not any(call["path"] == "/user" for call in calls)


def test_an_app_reads_only_the_organizations_asked_for(tmp_path: Path) -> None:
    private, public = _key()
    app = {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "4711", "GITHUB_APP_PRIVATE_KEY": private.replace("\n", "\\n")}
    with fresh(tmp_path, **app, GITHUB_ORGANIZATIONS="ACME-labs,nobody") as (server, lake):
        server.control(app={"id": 4711, "public_key": public})
        extraction = lake.sync("repositories")["repositories"]
        assert {row.add["organization"] for row in lake.rows("repositories").values()} == {"acme-labs"}
        assert extraction.notes == ["the App is not installed on nobody: nothing is read there"]


def test_an_app_with_the_wrong_key_stops_the_run(tmp_path: Path) -> None:
    app = {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "4711", "GITHUB_APP_PRIVATE_KEY": _key()[0]}
    with fresh(tmp_path, **app) as (server, lake):
        server.control(app={"id": 4711, "public_key": _key()[1]})
        with pytest.raises(AuthenticationFailed, match="Signature verification failed"):
            lake.sync("repositories")


def test_a_key_that_is_no_key_is_told_without_showing_it(tmp_path: Path, small: Server) -> None:
    broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
    app = {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "4711", "GITHUB_APP_PRIVATE_KEY": broken}
    with pytest.raises(AuthenticationFailed, match="no private key in PEM form") as failure:
        RawLake("github", tmp_path, small.env, **app).sync("repositories")
    assert "c2VjcmV0" not in str(failure.value)
    with pytest.raises(SettingError, match="neither a key in PEM form nor a file"):
        RawLake("github", tmp_path, small.env, **(app | {"GITHUB_APP_PRIVATE_KEY": "/no/such/file"})).sync("repositories")


def test_a_token_that_is_revoked_in_mid_run_stops_it(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        run = lake.open()
        try:
            lake.read(run, "issues")
            server.control(revoke=True)
            server.calls(clear=True)
            with pytest.raises(AuthenticationFailed, match="Bad credentials") as failure:
                lake.read(run, "labels")
        finally:
            run.close()
        assert "ghp_sandbox" not in str(failure.value)
        assert {call["status"] for call in server.calls()} == {401}
        assert lake.differences("issues", server.ledger("issues")) == []
        assert lake.rows("labels") == {}


def test_a_token_without_organizations_reads_the_repositories_of_its_user(tmp_path: Path, small: Server) -> None:
    lake = RawLake("github", tmp_path, small.env, GITHUB_TOKEN="ghp_solo")
    done = lake.sync(*(name for name in CORE if "traffic" not in name))
    assert [row.add["organization"] for row in lake.rows("repositories").values()] == ["solo"]
    assert {row.add["repository"] for row in lake.rows("issues").values()} == {"solo/dotfiles"}
    assert done["organizations"].rows == done["teams"].rows == 0
    assert done["organizations"].notes == [], "told once, by the table that asked first"
    assert any("solo is in no organization" in note for e in done.values() for note in e.notes)


def test_settings_choose_organizations_and_repositories(tmp_path: Path, small: Server) -> None:
    lake = RawLake("github", tmp_path, small.env, GITHUB_ORGANIZATIONS="acme", GITHUB_REPOSITORIES="acme/W*, acme/api")
    lake.sync("repositories", "issues")
    assert {row.add["repository"] for row in lake.rows("issues").values()} == {"acme/web", "acme/api"}
    assert len(lake.rows("repositories")) == 12, "the list itself is whole"
    with pytest.raises(Permanent, match="GITHUB_ORGANIZATIONS names 'nobody', which does not exist"):
        RawLake("github", tmp_path, small.env, GITHUB_ORGANIZATIONS="nobody").sync("repositories")


def test_what_is_all_refused_is_skipped_with_its_reason(tmp_path: Path, small: Server) -> None:
    lake = RawLake("github", tmp_path, small.env, GITHUB_ORGANIZATIONS="acme-labs")
    with pytest.raises(Skipped, match=r"github\.traffic_views: not allowed.*Must have push access"):
        lake.sync("traffic_views")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "neither GITHUB_TOKEN nor GITHUB_APP_ID is set"),
        ({"GITHUB_TOKEN": "x", "GITHUB_SINCE": "yesterday"}, "GITHUB_SINCE is 'yesterday'; write a day as YYYY-MM-DD"),
        ({"GITHUB_APP_ID": "1"}, "GITHUB_APP_PRIVATE_KEY is not set"),
    ],
)
def test_missing_or_wrong_settings_are_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        open_run(SOURCE, Settings.load(settings), LogProgress())


# -- limits ------------------------------------------------------------------------------------------------------------


def test_the_hourly_limit_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        server.control(rate_limit={"limit": 12, "window": 1.5})
        extraction = lake.sync("issues")["issues"]
        assert lake.differences("issues", server.ledger("issues")) == []
        assert extraction.calls["waited"] > 0.5
        refused = [call for call in server.calls() if call["status"] == 403 and "vault" not in call["path"]]
        assert len(refused) <= 3


def test_the_limit_of_graphql_is_its_own(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        server.control(rate_limit={"limit": 5, "window": 1.5, "resource": "graphql"})
        lake.sync("stargazers")
        assert lake.differences("stargazers", server.ledger("stargazers")) == []


SECONDARY = json.dumps({"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."})


def test_a_secondary_limit_is_waited_for(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        server.fault("/labels", status=403, headers={"Retry-After": "1"}, body=SECONDARY, times=2)
        extraction = lake.sync("labels")["labels"]
        assert lake.differences("labels", server.ledger("labels")) == []
        assert extraction.calls["limited"] == 2
        assert extraction.notes[0].startswith("1 of 14"), "only the forbidden repository is left out"


def test_the_limit_that_nobody_tells_is_kept_where_github_has_it() -> None:
    for address, calls in (
        ("https://api.github.com", [900]),
        ("https://api.acme.ghe.com", [900]),
        ("https://github.acme.example/api/v3", []),
    ):
        assert [limit.calls for limit in github_access.limits_of(address)] == calls


def test_a_secondary_limit_without_a_time_shuts_out_everybody_for_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert github_access.SECONDARY_PAUSE == 60
    monkeypatch.setattr(github_access, "SECONDARY_PAUSE", 0.7)
    with fresh(tmp_path) as (server, lake):
        server.fault("/labels", status=403, body=SECONDARY, times=2)
        began = time.monotonic()
        extraction = lake.sync("labels")["labels"]
        assert lake.differences("labels", server.ledger("labels")) == []
        assert time.monotonic() - began > 0.7
        assert extraction.calls["waited"] > 0.7
        assert extraction.calls["limited"] == 2


def test_a_secondary_limit_that_stays_ends_the_table_and_not_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_access, "SECONDARY_PAUSE", 0.05)
    with fresh(tmp_path) as (server, lake):
        server.fault("/labels", status=429, body=SECONDARY, times=1000)
        began = time.monotonic()
        with pytest.raises(QuotaSpent, match="secondary limit held through 4 waits"):
            lake.sync("labels")
        assert time.monotonic() - began > 0.05 * (1 + 2 + 4 + 8), "each wait is twice the one before"
        assert len([call for call in server.calls() if call["status"] == 429]) < 5 * 16


def test_queries_shrink_until_they_can_be_computed(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        server.control(graphql_most=9)
        server.fault("/graphql", status=502, body="<html>Bad gateway</html>")
        names = ("pull_requests", "pull_request_details", "pull_request_reviews", "stargazers", "discussions")
        lake.sync(*names)
        for name in names:
            assert lake.differences(name, server.ledger(name)) == [], name


# -- start date and windows --------------------------------------------------------------------------------------------


def test_a_start_date_bounds_facts_and_never_dictionaries(tmp_path: Path, small: Server) -> None:
    start = "2026-10-20"
    lake = RawLake("github", tmp_path, small.env, GITHUB_SINCE=start)
    lake.sync()
    dates = {
        "issues": "updated_at",
        "issue_comments": "updated_at",
        "pull_requests": "updated_at",
        "issue_events": "created_at",
        "workflow_runs": "created_at",
        "stargazers": "starred_at",
    }
    for name, date in dates.items():
        expected = sum(row.record[date] >= start for row in small.ledger(name))
        assert 0 < len(lake.rows(name)) == expected < len(small.ledger(name)), name
    assert min(row.record["commit"]["committer"]["date"] for row in lake.rows("commits").values()) >= start
    for name in ("labels", "milestones", "workflows", "repositories", "organization_members", "contributors"):
        assert lake.differences(name, small.ledger(name)) == [], name
    completes = [line for name in dates for line in lake.lines(name) if line["_lake"].get("op")]
    assert completes == [], "what was not read is not gone"


def test_a_start_date_holds_for_commits_that_come_later_with_old_dates(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_SINCE="2026-10-20") as (server, lake):
        lake.sync("commits")
        server.advance(1)
        assert lake.sync("commits")["commits"].rows > 0
        found = {key: row.record["commit"]["committer"]["date"] for key, row in lake.rows("commits").items()}
        told = [row for row in server.ledger("commits") if row.record["commit"]["committer"]["date"] >= "2026-10-20"]
        assert sorted(found.values()) == sorted(row.record["commit"]["committer"]["date"] for row in told)


def test_a_window_of_the_past_is_read_again_and_leaves_the_cursor_alone(tmp_path: Path, small: Server) -> None:
    lake = RawLake("github", tmp_path, small.env)
    lake.sync()
    cursors = {name: lake.cursor(name) for name in CORE}
    window = Window(dt.datetime(2026, 10, 1, tzinfo=dt.UTC), dt.datetime(2026, 10, 20, tzinfo=dt.UTC))
    done = lake.sync(window=window)
    dates = {
        "issues": "updated_at",
        "issue_comments": "updated_at",
        "pull_request_review_comments": "updated_at",
        "pull_requests": "updated_at",
        "pull_request_details": "updated_at",
        "issue_events": "created_at",
        "workflow_runs": "created_at",
        "discussions": "updated_at",
        "stargazers": "starred_at",
    }
    for name, date in dates.items():
        inside = [row for row in small.ledger(name) if "2026-10-01" <= row.record[date] < "2026-10-20"]
        assert 0 < done[name].rows == len(inside), name
    inside = [r for r in small.ledger("commits") if "2026-10-01" <= r.record["commit"]["committer"]["date"] < "2026-10-20"]
    assert 0 < done["commits"].rows == len(inside)
    assert done["labels"].rows == len(small.ledger("labels")), "a table without dates is read whole"
    assert {name: lake.cursor(name) for name in CORE} == cursors
    for name in CORE:
        assert lake.differences(name, small.ledger(name)) == [], name


def test_a_full_read_starts_from_nothing(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        lake.sync("issues", "stargazers")
        server.advance(1)
        done = lake.sync("issues", "stargazers", full=True)
        assert done["issues"].rows == sum(not row.deleted for row in server.ledger("issues"))
        for name in ("issues", "stargazers"):
            assert lake.differences(name, server.ledger(name)) == []
            assert any(row.deleted for row in lake.rows(name).values()), "a full read finds what is gone"


# -- lists that move, rows that are left out ---------------------------------------------------------------------------


def test_teams_of_an_organization_that_refuses_them_are_not_gone(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        lake.sync("team_members")
        server.fault("/orgs/acme/teams", status=403, body='{"message": "You must be a member."}', times=2)
        with pytest.raises(Skipped, match="You must be a member"):
            RawLake("github", tmp_path / "acme", server.env, GITHUB_ORGANIZATIONS="acme").sync("team_members")
        extraction = lake.sync("team_members")["team_members"]
        assert extraction.notes[0].startswith("acme is left out: ")
        assert lake.differences("team_members", server.ledger("team_members")) == []


def test_rows_left_out_by_single_sign_on_are_told_and_not_taken_for_gone(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        lake.sync("repositories", "labels", "teams")
        server.advance(1)
        server.control(partial=True)
        done = lake.sync("repositories", "labels", "teams")
        for name, extraction in done.items():
            assert any("left out rows of organizations with single sign-on" in note for note in extraction.notes), name
            assert not any(row.deleted for row in lake.rows(name).values()), name


def test_issues_that_are_turned_off_are_not_gone(tmp_path: Path) -> None:
    with fresh(tmp_path) as (server, lake):
        lake.sync("issues")
        server.control(no_issues="acme/api")
        server.advance(8)
        extraction = lake.sync("issues")["issues"]
        of_api = [row for row in lake.rows("issues").values() if row.add["repository"] == "acme/api"]
        assert of_api
        assert not any(row.deleted for row in of_api)
        assert len(extraction.notes) == 1, "a choice of the repository's owner is nothing to tell"


def test_a_row_that_changes_while_the_list_is_read_pushes_none_out(tmp_path: Path) -> None:
    """With page numbers the 101st row would be lost: it moves up when one before it goes to the end."""
    repository = {"id": 1, "node_id": "R_1", "full_name": "o/r", "created_at": "2026-01-01T00:00:00Z"}
    issues = [{"id": n, "updated_at": f"2026-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"} for n in range(1, 351)]

    def script(asked: Asked) -> Reply:
        match asked.path:
            case "/user":
                return Reply({"login": "o", "type": "User"})
            case "/user/orgs":
                return Reply([])
            case "/user/repos":
                return Reply([repository])
        found = sorted(
            (i for i in issues if i["updated_at"] >= asked.query.get("since", "")), key=lambda i: (i["updated_at"], i["id"])
        )
        body = json.dumps(found[:100]).encode()
        if "since" not in asked.query:
            issues[4]["updated_at"] = "2026-01-02T00:00:00Z"
        more = f'<{server.url}/repositories/1/issues?per_page=100&page=2>; rel="next"'
        return Reply(body, headers={"Link": more} if len(found) > 100 else {})

    with serving(script) as server:
        lake = RawLake("github", tmp_path, {"GITHUB_BASE_URL": server.url, "GITHUB_TOKEN": "ghp_any"})
        extraction = lake.sync("issues")["issues"]
        newest = {row.record["id"]: row.record["updated_at"] for row in lake.rows("issues").values()}
        assert newest == {issue["id"]: issue["updated_at"] for issue in issues}
        assert extraction.rows == 351


def test_many_rows_of_one_second_are_read_by_page(tmp_path: Path) -> None:
    repository = {"id": 1, "node_id": "R_1", "full_name": "o/r", "created_at": "2026-01-01T00:00:00Z"}
    issues = [{"id": n, "updated_at": "2026-01-01T00:00:00Z"} for n in range(250)]
    issues += [{"id": n, "updated_at": f"2026-01-01T00:01:{n % 60:02d}Z"} for n in range(250, 300)]

    def script(asked: Asked) -> Reply:
        match asked.path:
            case "/user":
                return Reply({"login": "o", "type": "User"})
            case "/user/orgs":
                return Reply({"message": "You need at least read:org scope"}, status=403)
            case "/user/repos":
                return Reply([repository])
        found = [i for i in issues if i["updated_at"] >= asked.query.get("since", "")]
        page = int(asked.query.get("page", "1"))
        query = f"per_page=100&page={page + 1}" + (f"&since={asked.query['since']}" if "since" in asked.query else "")
        more = f'<{server.url}/repositories/1/issues?{query}>; rel="next"'
        return Reply(found[(page - 1) * 100 : page * 100], headers={"Link": more} if len(found) > page * 100 else {})

    with serving(script) as server:
        lake = RawLake("github", tmp_path, {"GITHUB_BASE_URL": server.url, "GITHUB_TOKEN": "ghp_any"})
        assert lake.sync("issues")["issues"].rows == 300
        assert len(lake.rows("issues")) == 300


@pytest.mark.slow
def test_stargazers_beyond_the_reach_of_rest(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/tools") as (server, lake):
        server.control(stars={"repository": "acme/tools", "count": 41_000})
        lake.sync("stargazers")
        assert len(lake.rows("stargazers")) > 41_000
        server.calls(clear=True)
        lake.sync("stargazers")
        assert len([call for call in server.calls() if call["path"] == "/graphql"]) <= 40
