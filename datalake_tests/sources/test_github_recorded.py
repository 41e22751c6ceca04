"""Answers recorded from the real GitHub go over HTTP through extract and treat to published tables."""

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.pipeline import run_source
from datalake.settings import Settings
from datalake.sources.progress import LogProgress
from datalake_tests.sources.scripted import Asked, Reply, Server, serving

RECORDED = json.loads((Path(__file__).parents[1] / "specs" / "github" / "recorded.json").read_text())
GITHUB = "https://api.github.com"
ORGANIZATION = "octokit-fixture-org"
TABLES = ("organizations", "repositories", "labels", "issues", "releases", "release_assets")


def recorded(scenario: str, end: str = "", method: str = "GET") -> dict[str, Any]:
    """The one recorded answer of the scenario whose path has that end."""
    found = [a for a in RECORDED if a["scenario"] == scenario and a["method"] == method and a["path"].endswith(end)]
    assert len(found) == 1
    return found[0]


def repository(scenario: str) -> dict[str, Any]:
    """As the scenario's own first answer described it."""
    body: dict[str, Any] = recorded(scenario, method="POST", end="/repos")["body"]
    return body


class Replay:
    """Serves recorded answers under the paths they were recorded at.

    What was not recorded is put together from what was: the list of repositories from the repositories' own records, the
    list of releases from the release and its files, the redirect of a renamed repository for the paths below it.
    """

    def __init__(self) -> None:
        self.server: Server | None = None
        self.hello = recorded("get-repository")["body"]
        self.repositories = [self.hello]
        self.repositories += [repository(s) for s in ("paginate-issues", "labels", "release-assets", "rename-repository")]
        release = recorded("release-assets", "/tags/v1.0.0")["body"]
        self.release = {**release, "assets": recorded("release-assets", "/assets")["body"]}

    def __call__(self, asked: Asked) -> Reply:
        match asked.path.split("/")[1:]:
            case ["user"]:
                return Reply({"login": "octokit-fixture-user-a"})
            case ["user", "orgs"]:
                return Reply([{"login": ORGANIZATION}])
            case ["orgs", _, "repos"]:
                return Reply(self.repositories)
            case ["repos", owner, name, "releases"] if f"{owner}/{name}" == repository("release-assets")["full_name"]:
                return Reply([self.release])
            case ["repos", owner, name, *rest] if f"{owner}/{name}" == repository("rename-repository")["full_name"]:
                moved = recorded("rename-repository", repository("rename-repository")["name"])
                place = "/".join([moved["headers"]["Location"], *rest])
                return self.reply({**moved, "headers": {**moved["headers"], "Location": place}})
            case ["repositories", "515435940", "issues"]:
                return self.reply(recorded("paginate-issues", f"per_page=3&page={asked.query['page']}"))
        for answer in RECORDED:
            if answer["method"] == asked.method and answer["path"].partition("?")[0] == asked.path:
                return self.reply(answer)
        return Reply([])

    def reply(self, answer: dict[str, Any]) -> Reply:
        """The recorded answer; its links lead here instead of to GitHub, and its `Date` is left to the limits' clock."""
        assert self.server is not None
        headers = {name: value.replace(GITHUB, self.server.url) for name, value in answer["headers"].items()}
        headers.pop("Content-Length", None)
        return Reply(json.dumps(answer["body"]).encode(), status=answer["status"], headers=headers)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Server]]:
    """The lake after one sync of the tables that the recordings can fill."""
    replay = Replay()
    with serving(replay) as server:
        replay.server = server
        url = str(tmp_path_factory.mktemp("lake"))
        settings = {"DATALAKE_URL": url, "GITHUB_BASE_URL": server.url, "GITHUB_TOKEN": "ghp_recorded"}
        lake = Lake(Settings.load(settings))
        try:
            source = contracts.load_source("github")
            tables = [source.tables[name] for name in TABLES]
            for step in run_source(lake, source, tables, run_id=uuid.uuid4().hex, progress=LogProgress()):
                assert step.error is None, f"{step.table.id}: {step.error}"
                step.commit()
            yield lake, server
        finally:
            lake.close()


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    connection = lake.connect()
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_recorded_issues_are_read_through_their_links_into_a_table(published: tuple[Lake, Server]) -> None:
    lake, server = published
    found = rows(lake, "SELECT number, title, id, created_at, repository_id, user_id FROM lake.github.issues ORDER BY number")
    pages = [issue for a in RECORDED if a["scenario"] == "paginate-issues" and a["method"] == "GET" for issue in a["body"]]
    expected = sorted(
        (i["number"], i["title"], i["id"], dt.datetime.fromisoformat(i["created_at"]), 515_435_940, i["user"]["id"])
        for i in pages
    )
    assert [(*row[:3], row[3].astimezone(dt.UTC), *row[4:]) for row in found] == expected
    assert len(found) == 13
    asked = [a.path for a in server.asked if a.path.endswith("/issues")]
    assert asked.count("/repositories/515435940/issues") == 4


def test_recorded_labels_organization_and_repositories(published: tuple[Lake, Server]) -> None:
    lake, _ = published
    labels = recorded("labels", "/labels")["body"]
    assert rows(lake, "SELECT id, name, color, description FROM lake.github.labels ORDER BY id") == sorted(
        (label["id"], label["name"], label["color"], label["description"]) for label in labels
    )
    organization = recorded("get-organization")["body"]
    assert rows(lake, "SELECT id, login, public_repos, plan.name FROM lake.github.organizations") == [
        (organization["id"], ORGANIZATION, organization["public_repos"], organization.get("plan", {}).get("name"))
    ]
    names = rows(lake, "SELECT full_name FROM lake.github.repositories")
    assert {name for (name,) in names} == {r["full_name"] for r in Replay().repositories}


def test_recorded_release_and_its_file(published: tuple[Lake, Server]) -> None:
    lake, _ = published
    (asset,) = recorded("release-assets", "/assets")["body"]
    sql = "SELECT id, name, size, download_count, release_id, snapshot_date FROM lake.github.release_assets"
    ((*found, day),) = rows(lake, sql)
    release = recorded("release-assets", "/tags/v1.0.0")["body"]["id"]
    assert found == [asset["id"], asset["name"], asset["size"], asset["download_count"], release]
    assert day is not None


def test_a_recorded_redirect_is_followed_for_what_is_below_a_renamed_repository(published: tuple[Lake, Server]) -> None:
    _, server = published
    asked = [a.path for a in server.asked]
    assert f"/repos/{repository('rename-repository')['full_name']}/labels" in asked
    assert "/repositories/515436299/labels" in asked


def test_nothing_that_was_recorded_is_refused(published: tuple[Lake, Server]) -> None:
    lake, _ = published
    assert rows(lake, "SELECT * FROM lake.quality.quarantine WHERE source = 'github'") == []
    # Repositories were recorded whole: their list, for which the contract is made, gives less.
    for name in set(TABLES) - {"repositories"}:
        unmapped = rows(lake, f"SELECT DISTINCT _unmapped FROM lake.github.{name}")
        assert unmapped == [(None,)], f"{name}: fields that the contract does not know: {unmapped}"
