"""GitHub's extended tables against the stand-in over real HTTP: what days bring, what is refused, what a broken run leaves."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.sandbox.base import Row, Server, running
from datalake.sources import github_children, github_numbers
from datalake.sources.base import Permanent, Skipped, Window
from datalake.sources.frontier import earlier
from datalake_tests.sources.raw_lake import RawLake
from datalake_tests.sources.test_github import four_syncs

pytestmark = pytest.mark.slow

SOURCE = contracts.load_source("github")
NOW = 1_795_000_000
"""2026-11-18T11:06:40Z."""
EXTENDED = [table.name for table in SOURCE.tables.values() if not table.core]
PARENTS = {parent for name in EXTENDED if (parent := SOURCE.tables[name].parent)}
ORDER = [name for name in sorted(PARENTS) if SOURCE.tables[name].parent is None]
ORDER += sorted(set(EXTENDED) - set(ORDER), key=lambda name: (name not in PARENTS, name))
"""Parents before children."""
BROKEN: dict[str, Any] = {"status": 200, "body": "<html>Unicorn!</html>"}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch, running("github", seed=3, scale=0.1, now=NOW, limits=False) as server:
        patch.setattr(github_numbers, "STATISTICS_WAITS", (0.01,))
        return four_syncs(server, tmp_path_factory.mktemp("raw"), ORDER, EXTENDED)


@contextmanager
def fresh(tmp_path: Path, *, scale: float = 0.1, **settings: str) -> Iterator[tuple[Server, RawLake]]:
    """A stand-in of its own, for tests that change it."""
    with running("github", seed=5, scale=scale, now=NOW) as server:
        yield server, RawLake("github", tmp_path, server.env, **settings)


@pytest.mark.parametrize("name", EXTENDED)
@pytest.mark.parametrize("sync", [0, 1, 2])
def test_the_newest_rows_equal_the_ledger(history: list[dict[str, Any]], name: str, sync: int) -> None:
    assert history[sync]["wrong"][name][:3] == []
    assert history[sync]["counts"][name] > 0, "the stand-in has no such rows: the comparison proves nothing"


def test_an_unchanged_source_writes_nothing(history: list[dict[str, Any]]) -> None:
    assert {name: e.rows for name, e in history[3]["done"].items() if e.rows or e.commits} == {}


def test_children_are_asked_only_for_changed_parents(history: list[dict[str, Any]]) -> None:
    def asked(sync: int) -> Counter[str]:
        return Counter(call["path"].rpartition("/")[2] for call in history[sync]["calls"])

    first, later, again = asked(0), asked(1), asked(3)
    for what in ("timeline", "jobs", "files", "commits"):
        assert 0 < later[what] < first[what] / 2, what
    for what in ("timeline", "jobs", "files", "reactions", "sub_issues"):
        assert again[what] == 0, what


def test_no_secret_reaches_the_lake(history: list[dict[str, Any]]) -> None:
    lake = history[4]["lake"]
    for name in ("secret_scanning_alerts", "team_repositories", "repository_details", "forks"):
        stored = json.dumps(lake.lines(name))
        assert "AKIALEAKED" not in stored, name
        assert "CLONE" not in stored, name
    asked = [call for call in history[0]["calls"] if call["path"].endswith("/secret-scanning/alerts")]
    assert asked
    assert all("hide_secret=true" in call["query"] for call in asked)


def test_features_that_are_off_are_told_and_the_rest_is_read(history: list[dict[str, Any]]) -> None:
    notes = {name: extraction.notes for name, extraction in history[0]["done"].items()}
    (note,) = notes["dependency_packages"]
    assert note.startswith("1 of 14 repositories left out (acme/docs): not allowed"), "the other one refused before"
    assert sum("acme-labs)" in note for told in notes.values() for note in told) == 1, "an organization is told once"
    assert notes["readmes"] == [], "to have no README is nothing to tell"


def test_all_files_of_a_large_commit_are_in_its_one_record(history: list[dict[str, Any]]) -> None:
    files = [len(row.record["files"]) for row in history[4]["lake"].rows("commit_details").values()]
    assert max(files) > 100


def test_usage_is_asked_for_two_years_and_then_for_two_months(history: list[dict[str, Any]]) -> None:
    def months(sync: int) -> list[str]:
        asked = [call["query"] for call in history[sync]["calls"] if "acme/settings/billing" in call["path"]]
        return sorted(asked)

    assert len(months(0)) == 24
    assert months(1) == ["year=2026&month=10", "year=2026&month=11"]


def test_profiles_are_read_again_after_a_week(history: list[dict[str, Any]]) -> None:
    def asked(sync: int) -> int:
        return sum(call["path"].startswith("/users/") for call in history[sync]["calls"])

    assert asked(0) > 10
    assert asked(1) < 3, "only who joined"
    assert asked(2) >= asked(0)
    assert asked(3) == 0


# -- what moves without a trace ----------------------------------------------------------------------------------------


def test_a_reaction_without_a_trace_is_found_by_the_weekly_reading(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/mobile") as (server, lake):
        lake.sync("issues", "issue_reactions")
        newest = max(lake.rows("issues").values(), key=lambda row: row.record["id"]).record["number"]

        def reactions() -> int:
            return sum(row.add["issue_number"] == newest for row in lake.rows("issue_reactions").values())

        before = reactions()
        server.control(react="acme/mobile")
        lake.sync("issues", "issue_reactions")
        assert reactions() == before
        server.advance(7)
        lake.sync("issues", "issue_reactions")
        assert reactions() > before


def test_checks_are_read_until_they_have_settled(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform", scale=0.5) as (server, lake):

        def running_checks(rows: list[Row]) -> set[int]:
            return {row.record["id"] for row in rows if row.record["status"] != "completed"}

        while not running_checks(of_platform(server, "check_runs")):
            server.advance(0.1)
        names = ("pull_requests", "check_runs", "check_suites", "commit_statuses")
        lake.sync(*names)
        unfinished = running_checks(list(lake.rows("check_runs").values()))
        assert unfinished
        server.advance(0.5)
        lake.sync(*names)
        rows = {row.record["id"]: row.record for row in lake.rows("check_runs").values()}
        assert {rows[id_]["status"] for id_ in unfinished} == {"completed"}
        for name in names[1:]:
            assert lake.differences(name, of_platform(server, name)) == [], name
        server.advance(3)
        lake.sync("pull_requests", "check_runs")
        (still_open,) = lake.cursor("check_runs")["open"].values()
        pulls = [row.record for row in lake.rows("pull_requests").values()]
        newest = max(pull["updated_at"] for pull in pulls)
        recent = {pull["head"]["sha"] for pull in pulls if pull["updated_at"] >= earlier(newest, dt.timedelta(days=2))}
        assert still_open.keys() <= recent, "later nobody asks for them any more"


# -- statistics --------------------------------------------------------------------------------------------------------


def test_statistics_that_are_not_ready_are_left_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_numbers, "STATISTICS_WAITS", (0.01, 0.01))
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform, acme/mobile") as (server, lake):
        server.fault("mobile/stats", status=202, body="{}", times=3)
        extraction = lake.sync("contributor_stats")["contributor_stats"]
        assert extraction.notes == [
            "GitHub is still computing the statistics of 1 repositories (acme/mobile): left for the next run"
        ]
        read = {row.add["repository"] for row in lake.rows("contributor_stats").values()}
        assert read == {"acme/platform"}
        assert lake.sync("contributor_stats")["contributor_stats"].notes == []
        read = {row.add["repository"] for row in lake.rows("contributor_stats").values()}
        assert read == {"acme/platform", "acme/mobile"}
        assert any(row.add["user_id"] == github_numbers.GHOST for row in lake.rows("contributor_stats").values())


def test_a_repository_too_large_for_statistics_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_numbers, "STATISTICS_WAITS", (0.01,))
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform, acme/mobile") as (server, lake):
        body = json.dumps({"message": "This endpoint is not available for repositories with 10,000 commits or more."})
        server.fault("mobile/stats", status=422, body=body)
        (note,) = lake.sync("code_frequency")["code_frequency"].notes
        assert note.startswith("1 of 2 repositories left out (acme/mobile)")
        assert "10,000 commits" in note
        assert lake.rows("code_frequency")


# -- what is refused or gone -------------------------------------------------------------------------------------------


def test_a_table_that_all_refuse_is_skipped_and_passes_over_nothing(tmp_path: Path) -> None:
    refusal = json.dumps({"message": "Resource not accessible by personal access token"})
    with fresh(tmp_path) as (server, lake):
        lake.sync("pull_requests")
        server.fault("/pulls/[0-9]+/files", status=403, body=refusal, times=10_000)
        with pytest.raises(Skipped, match=r"github\.pull_request_files: not allowed"):
            lake.sync("pull_request_files")
        assert len([call for call in server.calls() if call["path"].endswith("/files")]) < 14 * 16, "a repository is asked once"
        server.clear_faults()
        lake.sync("pull_request_files")
        assert lake.differences("pull_request_files", server.ledger("pull_request_files")) == []


def test_a_parent_that_is_gone_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform") as (server, lake):
        lake.sync("issues")
        server.fault("/timeline", status=404, body='{"message": "Not Found"}', times=2)
        (note,) = lake.sync("issue_timeline_events")["issue_timeline_events"].notes
        assert note.startswith("2 issues left out, which are gone: ")


def test_a_repository_taken_down_is_left_out(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform, acme/mobile") as (server, lake):
        server.fault("mobile/tags", status=451, body='{"message": "Repository access blocked"}')
        (note,) = lake.sync("tags")["tags"].notes
        assert note.startswith("1 of 2 repositories left out (acme/mobile): blocked for legal reasons")
        assert lake.rows("tags")


def test_a_member_who_was_renamed_is_found_by_id(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_ORGANIZATIONS="acme-labs") as (server, lake):
        server.fault("^/users/dev-02", status=404, body='{"message": "Not Found"}')
        lake.sync("users")
        assert "dev-02" in {row.record["login"] for row in lake.rows("users").values()}
        assert any(call["path"].startswith("/user/2") for call in server.calls())


# -- a run that breaks off ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, path, pages", [("pull_requests", "pulls", 1), ("issues", "issues", 2), ("commits", "commits", 4)]
)
def test_a_long_first_list_goes_on_where_it_broke_off(tmp_path: Path, name: str, path: str, pages: int) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform", scale=1.0) as (server, lake):
        server.fault(rf"platform/{path}\?|repositories/.*/{path}\?", **BROKEN, skip=pages)
        with pytest.raises(Permanent, match="web page"):
            lake.sync(name)
        read = len(lake.rows(name))
        assert 100 * pages - 1 <= read <= 100 * pages, "what was read before is kept"
        server.advance(0.2)
        server.calls(clear=True)
        lake.sync(name)
        assert lake.differences(name, of_platform(server, name)) == []
        asked = [call for call in server.calls() if call["path"].endswith(f"/{path}")]
        assert len(asked) <= (len(of_platform(server, name)) - read) // 100 + 4, "what was read is not read again"
        server.advance(0.2)
        lake.sync(name)
        assert lake.differences(name, of_platform(server, name)) == []


def test_runs_go_on_after_the_pieces_that_were_read(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform", scale=1.0) as (server, lake):
        server.fault("platform/actions/runs|repositories/.*/actions/runs", **BROKEN, skip=20)
        with pytest.raises(Permanent, match="web page"):
            lake.sync("workflow_runs")
        assert lake.rows("workflow_runs")
        (state,) = lake.cursor("workflow_runs")["repositories"].values()
        assert state.keys() == {"created"}
        lake.sync("workflow_runs")
        assert lake.differences("workflow_runs", of_platform(server, "workflow_runs")) == []


def test_children_go_on_at_the_row_where_they_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_children, "PIECE", 7)
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform") as (server, lake):
        lake.sync("issues")
        server.fault("/timeline", **BROKEN, skip=20)
        with pytest.raises(Permanent, match="web page"):
            lake.sync("issue_timeline_events")
        assert lake.cursor("issue_timeline_events") == {"parent_sequence": 0, "rows": 14}
        server.calls(clear=True)
        lake.sync("issue_timeline_events")
        assert lake.cursor("issue_timeline_events") == {"parent_sequence": 1}
        assert lake.differences("issue_timeline_events", of_platform(server, "issue_timeline_events")) == []
        asked = [call for call in server.calls() if call["path"].endswith("/timeline")]
        assert len(asked) == len(lake.rows("issues")) - 14


# -- windows -----------------------------------------------------------------------------------------------------------


def test_a_window_reads_again_what_hangs_on_its_parents(tmp_path: Path) -> None:
    with fresh(tmp_path, GITHUB_REPOSITORIES="acme/platform") as (server, lake):
        names = ("pull_requests", "pull_request_files", "commits", "commit_details", "issues", "issue_label_links")
        lake.sync(*names)
        cursors = {name: lake.cursor(name) for name in names}
        window = Window(dt.datetime(2026, 10, 1, tzinfo=dt.UTC), dt.datetime(2026, 10, 20, tzinfo=dt.UTC))
        server.calls(clear=True)
        done = lake.sync(*names, window=window)
        inside = [row for row in lake.rows("pull_requests").values() if "2026-10-01" <= row.record["updated_at"] < "2026-10-20"]
        asked = [call for call in server.calls() if call["path"].endswith("/files")]
        assert 0 < len(inside) <= len(asked) <= 2 * len(inside), "one call a parent, and one for each further page"
        assert 0 < done["commit_details"].rows == done["commits"].rows
        assert done["issue_label_links"].rows > 0
        assert {name: lake.cursor(name) for name in names} == cursors
        for name in ("pull_request_files", "commit_details", "issue_label_links"):
            assert lake.differences(name, of_platform(server, name)) == [], name


def of_platform(server: Server, name: str) -> list[Row]:
    """The ledger's rows of one repository, for tests that choose it alone."""
    (id_,) = (row.record["id"] for row in server.ledger("repositories") if row.record["full_name"] == "acme/platform")
    if name == "issue_label_links":
        issues = {row.record["id"] for row in server.ledger("issues") if row.add["repository_id"] == id_}
        return [row for row in server.ledger(name) if row.add["issue_id"] in issues]
    return [row for row in server.ledger(name) if row.add["repository_id"] == id_]


def test_a_user_without_organizations_reads_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_numbers, "STATISTICS_WAITS", (0.01,))
    with fresh(tmp_path, GITHUB_TOKEN="ghp_solo") as (_, lake):
        refused = ("collaborators", "traffic_paths", "traffic_referrers")
        done = lake.sync(*(name for name in ORDER if name not in refused))
        assert {row.add["repository"] for row in lake.rows("branches").values()} == {"solo/dotfiles"}
        assert done["users"].rows == done["team_repositories"].rows == done["billing_usage"].rows == 0
        with pytest.raises(Skipped, match="Must have push access"):
            lake.sync("collaborators")
