"""The organizations behind the stand-in for GitHub: people, repositories and what happens in them as days pass.

Everything comes from a seed. How it is asked for over HTTP or GraphQL lives in `github.py` and `github_graphql.py`.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from datalake.sandbox.base import Row
from datalake.sandbox.github_records import (
    DEFAULT_LABELS,
    Owner,
    Record,
    Repository,
    Thing,
    account,
    asset_record,
    commit_record,
    discussion,
    event_record,
    iso,
    issue_comment_record,
    issue_record,
    label_record,
    milestone_record,
    organization,
    pull_details,
    pull_record,
    release_record,
    repository_record,
    review_comment_record,
    review_record,
    run_record,
    star,
    team_record,
    workflow_record,
)

DAY = 86_400
HISTORY_DAYS = 120

_WORDS = re.findall(
    r"\w+",
    """cache queue parser login upload report export retry webhook index search theme avatar thread channel message
token session worker metric layout button locale timezone calendar backup migration cluster socket plugin importer""",
)
_VERBS = ("Fix", "Add", "Remove", "Speed up", "Document", "Refactor", "Translate", "Guard", "Test")
_REPOSITORIES = (
    # name, events a day at scale 1, traits
    ("platform", 34.0, "busy discussions"),
    ("web", 14.0, "discussions"),
    ("mobile", 10.0, ""),
    ("api", 8.0, "private"),
    ("docs", 4.0, ""),
    ("design", 2.0, ""),
    ("infra", 5.0, "private"),
    ("legacy", 3.0, "archived"),
    ("vault", 2.0, "private forbidden"),
    ("ideas", 0.0, "empty"),
    ("handbook", 1.5, "no_issues"),
    ("tools", 3.0, ""),
)


class World:
    """All owners and repositories. `now` stands still until `advance`."""

    def __init__(self, *, seed: int, scale: float, now: int) -> None:
        self.random = random.Random(f"github-{seed}")
        self.seed = seed
        self.now = now - HISTORY_DAYS * DAY
        self._scale = min(scale, 1.0)
        self._last_id = 1_000_000
        self._pending: list[tuple[int, int, Callable[[int], None]]] = []
        self.gone: dict[str, list[Row]] = {}
        self._known_before: int | None = None
        """Deletions are told by the ledger only for rows that were there before the present advance."""
        self.people = [account(f"dev-{i:02d}", 20_000 + 7 * i) for i in range(max(12, round(40 * scale)))]
        self.bot = account("dependabot[bot]", 49_699_333, "Bot")
        self.owners: dict[str, Owner] = {}
        self.repositories: dict[int, Repository] = {}
        self.names: dict[str, Repository] = {}
        """By lower-case owner/name, former names included."""
        self.nodes: dict[str, tuple[Repository, Thing]] = {}
        self._found(scale)
        self._pass(now)

    # -- beginnings ------------------------------------------------------------------------------------------------

    def _found(self, scale: float) -> None:
        start = self.now
        acme = self._owner("acme", "Organization")
        labs = self._owner("acme-labs", "Organization")
        solo = self._owner("solo", "User")
        for person in self.people:
            acme.members[person["id"]] = person
        for person in self.people[:4]:
            labs.members[person["id"]] = person
        platform = self._team(acme, "Platform", start, None)
        for name, parent in (("Storage", platform), ("Web", None), ("Mobile", None), ("Interns", None)):
            self._team(acme, name, start, parent)
        for repeat in range(max(1, round(scale))):
            for name, rate, traits in _REPOSITORIES:
                suffix = f"-{repeat + 1}" if repeat else ""
                self.found_repository(acme, name + suffix, rate * self._scale, traits, start)
        self.found_repository(labs, "experiments", 2.0 * self._scale, "", start)
        self.found_repository(labs, "spikes", 1.0 * self._scale, "", start)
        self.found_repository(solo, "dotfiles", 1.0 * self._scale, "", start)

    def _owner(self, login: str, kind: str) -> Owner:
        owner = Owner(login, self._id(), kind, self.now - 900 * DAY, self.now)
        self.owners[login] = owner
        return owner

    def _team(self, owner: Owner, name: str, at: int, parent: Thing | None) -> Thing:
        team = self._thing("T_kwDO", at, {"name": name, "slug": name.lower(), "parent": parent, "owner": owner}, team_record)
        team.data["members"] = {p["id"]: "member" for p in self.random.sample(list(owner.members.values()), 4)}
        owner.teams[team.id] = team
        return team

    def found_repository(self, owner: Owner, name: str, rate: float, traits: str, at: int) -> Repository:
        repository = Repository(self._id(), name, owner, frozenset(traits.split()), rate, at, at, at)
        repository.topics = dict.fromkeys(("chat", "api"), at) if "busy" in repository.traits else {}
        self.repositories[repository.id] = repository
        self.names[repository.full_name.lower()] = repository
        for label, color in DEFAULT_LABELS:
            self._add(
                repository, repository.labels, "LA_kwDO", at, {"name": label, "color": color, "about": None}, label_record
            )
        if "empty" not in repository.traits:
            for title in ("1.0", "1.1", "2.0"):
                self._milestone(repository, title, at)
            for file in ("test", "release"):
                data = {"name": file.title(), "path": f".github/workflows/{file}.yml"}
                self._add(repository, repository.workflows, "W_kwDO", at, data, workflow_record)
            self._push(repository, at)
        return repository

    # -- time ------------------------------------------------------------------------------------------------------

    def advance(self, seconds: int) -> dict[str, Any]:
        """Let time pass. With at least a day, each kind of late change happens at least once."""
        self._known_before = self.now
        end = self.now + seconds
        renamed = self._late_changes(self.now + 60) if seconds >= DAY else None
        self._pass(end)
        return {"now": iso(self.now), "renamed": renamed}

    def _pass(self, end: int) -> None:
        """Run to `end`, a day at a time. In archived repositories things happened only before the stand-in began."""
        while self.now < end:
            stop = min(end, self.now + DAY)
            share = (stop - self.now) / DAY
            happenings: list[tuple[int, int, Repository]] = []
            for repository in self.repositories.values():
                if repository.traits & {"empty", "frozen"}:
                    continue
                times = int(repository.rate * share + self.random.random())
                happenings += [(self.random.randrange(self.now, stop), repository.id, repository) for _ in range(times)]
            for at, _, repository in sorted(happenings, key=lambda h: h[:2]):
                self._finish_pending(at)
                self._happen(repository, at)
            self._finish_pending(stop)
            self.now = stop
        for repository in self.repositories.values():
            if "archived" in repository.traits:
                repository.traits |= {"frozen"}

    def _finish_pending(self, until: int) -> None:
        while self._pending and self._pending[0][0] <= until:
            at, _, what = heapq.heappop(self._pending)
            what(at)

    def _happen(self, repository: Repository, at: int) -> None:
        actions: list[tuple[float, Callable[[Repository, int], Any]]] = [
            (10, self._open_issue),
            (9, self._open_pull),
            (16, self._comment),
            (8, self._review),
            (6, self._review_comment),
            (10, self._push),
            (5, self._close_issue),
            (7, self._merge),
            (3, self._edit_comment),
            (5, self._label_issue),
            (120 if "busy" in repository.traits else 12, self._run),
            (1, self._rerun),
            (8, self._star),
            (1, self._unstar),
            (1, self._release),
            (4, self._download),
            (0.5, lambda r, t: self._milestone(r, f"{self.random.randrange(2, 9)}.{r.number}", t)),
            (0.4, self._delete_comment),
            (0.1, self._delete_issue),
            (0.5, self._dismiss_review),
        ]
        if "discussions" in repository.traits:
            actions += [(4, self._discuss), (3, self._answer)]
        weights, functions = zip(*actions, strict=True)
        self.random.choices(functions, weights)[0](repository, at)

    def _late_changes(self, at: int) -> list[str] | None:
        """What tests rely on: every kind of change and deletion, in repositories that hold enough."""
        first = next(r for r in self.repositories.values() if r.name.startswith("platform"))
        for change in (
            self._delete_comment,
            self._delete_review_comment,
            self._delete_issue,
            self._edit_comment,
            self._dismiss_review,
            self._rerun,
            self._unstar,
            self._download,
            self._delete_release,
            self._delete_label,
            self._delete_milestone,
            self._delete_workflow,
            self._merge_old_branch,
            self._wrong_clocks,
            self._many_reviews,
            self._discuss,
            self._answer,
            self._take_back,
            self._review_as_team,
            self._retopic,
        ):
            change(first, at)
        acme = self.owners["acme"]
        acme.updated, acme.description = at, f"{acme.description.rstrip('!')}!"
        self._leave(acme, at)
        self._delete_team(acme, at)
        self._move_team_member(acme)
        web = self.repositories[min(r.id for r in self.repositories.values() if r.name.startswith(("web", "site")))]
        if web.former_names:
            return None
        return self.rename(web, "site")

    def rename(self, repository: Repository, name: str) -> list[str]:
        old = repository.full_name
        repository.former_names.append(repository.name)
        repository.name = name
        repository.updated = self.now
        self.names[repository.full_name.lower()] = repository
        return [old, repository.full_name]

    # -- what happens ----------------------------------------------------------------------------------------------

    def _id(self) -> int:
        self._last_id += self.random.randrange(1, 9)
        return self._last_id

    def _thing(self, prefix: str, at: int, data: Record, render: Callable[[Thing], Record]) -> Thing:
        id_ = self._id()
        return Thing(id_, f"{prefix}{id_:x}", at, at, data, render)

    def _add(
        self,
        repository: Repository,
        where: dict[int, Thing],
        prefix: str,
        at: int,
        data: Record,
        render: Callable[[Thing], Record],
    ) -> Thing:
        thing = self._thing(prefix, at, {**data, "repository": repository}, render)
        where[thing.id] = thing
        self.nodes[thing.node] = (repository, thing)
        return thing

    def _person(self) -> Record:
        return self.random.choice(self.people) if self.random.random() < 0.9 else self.bot

    def _pick(self, things: Iterable[Thing], recent: int = 60) -> Thing | None:
        """One of the latest, as work goes; None if there is none."""
        candidates = list(things)[-recent:]
        return self.random.choice(candidates) if candidates else None

    def _text(self) -> str:
        return f"{self.random.choice(_VERBS)} {self.random.choice(_WORDS)} {self.random.choice(_WORDS)}"

    def _sha(self) -> str:
        return hashlib.sha1(self.random.randbytes(20), usedforsecurity=False).hexdigest()

    def _forget(self, table: str, where: dict[int, Thing], thing: Thing, *, noticed: bool = True, **add: Any) -> None:
        """Delete. What nobody has seen was never there; `noticed` is false for deletions that no list shows at once."""
        del where[thing.id]
        self.nodes.pop(thing.node, None)
        if thing.shown is not None:
            repository: Repository = thing.data["repository"]
            row = Row(thing.shown, {"repository_id": repository.id, **add}, deleted=noticed)
            (self.gone if noticed else repository.unnoticed).setdefault(table, []).append(row)

    def whole_list_read(self, repository: Repository, table: str) -> None:
        """Somebody reads the list from its beginning: what is missing in it is known to be gone."""
        for row in repository.unnoticed.pop(table, []):
            self.gone.setdefault(table, []).append(Row(row.record, row.add, deleted=True))

    def releases_read(self, repository: Repository) -> None:
        """Keep the files as a reader finds them today, if the list is not as it was read before."""
        records = [release.record for release in repository.releases.values()]
        fingerprint = hashlib.sha256(repr(records).encode()).hexdigest()
        if fingerprint != repository.releases_shown:
            repository.releases_shown = fingerprint
            day = iso(self.now)[:10]
            for release in repository.releases.values():
                for asset in release.data["assets"]:
                    facts = {"repository_id": repository.id, "release_id": release.id, "snapshot_date": day}
                    repository.snapshots[asset.id, day] = Row(asset.record, facts)

    def _told_gone(self, table: str, created: int, record: Record, add: Record) -> None:
        if self._known_before is not None and created < self._known_before:
            self.gone.setdefault(table, []).append(Row(record, add, deleted=True))

    def _open_issue(self, repository: Repository, at: int, pull: bool = False) -> Thing:
        repository.number += 1
        labels = [label for label in repository.labels.values() if self.random.random() < 0.2]
        data = {
            "number": repository.number,
            "title": self._text(),
            # A tab, an emoji, a quote and a line end: text as people write it.
            "body": None if self.random.random() < 0.1 else f"{self._text()}\r\n\t“{self._text()}” 🚀",
            "user": self._person(),
            "state": "open",
            "state_reason": None,
            "labels": labels,
            "assignees": [self.random.choice(self.people)] if self.random.random() < 0.5 else [],
            "milestone": self._pick(repository.milestones.values()) if self.random.random() < 0.3 else None,
            "comments": 0,
            "closed": None,
            "closed_by": None,
            "pull": None,
            "below": [],
            "above": None,
            "former": {},
        }
        issue = self._add(repository, repository.issues, "I_kwDO", at, data, issue_record)
        for label in labels:
            named = {"name": label.data["name"], "color": label.data["color"]}
            self._event(repository, issue, at, "labeled", label=named)
        if not pull and "no_issues" in repository.traits:
            del repository.issues[issue.id]
        elif not pull:
            self._hang_below(repository, issue, at)
        return issue

    def _hang_below(self, repository: Repository, issue: Thing, at: int) -> None:
        """Some issues are made of others: the next two that come hang below them."""
        latest = (other for other in reversed(repository.issues.values()) if other is not issue and not other.data["pull"])
        above = next(itertools.islice(latest, 1), None)
        above = above.data["above"] or above if above else None
        if above and above.id % 3 == 0 and len(above.data["below"]) < 2:
            issue.data["above"] = above
            self._touch_issue(above, at, below=[*above.data["below"], issue])

    def _open_pull(self, repository: Repository, at: int) -> Thing:
        issue = self._open_issue(repository, at, pull=True)
        data = {
            "issue": issue,
            "head_sha": self._sha(),
            "branch": f"{issue.data['title'].split()[-1].lower()}-{issue.data['number']}",
            "draft": self.random.random() < 0.1,
            "merged": None,
            "merged_by": None,
            "merge_sha": None,
            "reviewers": [self.random.choice(self.people)],
            "teams": [],
            "former": {},
            "former_heads": {},
            "additions": self.random.randrange(1, 900),
            "deletions": self.random.randrange(0, 400),
            "changed_files": self.random.randrange(1, 30),
            "commits": self.random.randrange(1, 4),
        }
        pull = self._add(repository, repository.pulls, "PR_kwDO", at, data, pull_record)
        issue.touch(at, pull=pull)
        asked = pull.data["reviewers"][0]
        self._event(repository, issue, at, "review_requested", review_requester=issue.data["user"], requested_reviewer=asked)
        return pull

    def _touch_issue(self, issue: Thing, at: int, **changes: Any) -> None:
        issue.touch(at, **changes)
        if issue.data["pull"]:
            issue.data["pull"].touch(at)

    def _event(self, repository: Repository, issue: Thing, at: int, event: str, **more: Any) -> None:
        data = {"issue": issue, "actor": self._person(), "event": event, "repository": repository, "more": more}
        repository.events.append(self._thing("EV_kwDO", at, data, event_record))

    def _comment(self, repository: Repository, at: int) -> None:
        if issue := self._pick(repository.issues.values()):
            data = {"issue": issue, "user": self._person(), "body": self._text()}
            self._add(repository, repository.comments, "IC_kwDO", at, data, issue_comment_record)
            self._touch_issue(issue, at, comments=issue.data["comments"] + 1)

    def _edit_comment(self, repository: Repository, at: int) -> None:
        if comment := self._pick(repository.comments.values()):
            comment.touch(at, body=f"{comment.data['body']} (edited)")

    def _delete_comment(self, repository: Repository, at: int) -> None:
        if comment := self._pick(repository.comments.values()):
            issue = comment.data["issue"]
            self._forget_comment(repository, comment)
            self._touch_issue(issue, at, comments=issue.data["comments"] - 1)

    def _forget_comment(self, repository: Repository, comment: Thing) -> None:
        number = comment.data["issue"].data["number"]
        self._forget("issue_comments", repository.comments, comment, noticed=False, issue_number=number)

    def _delete_issue(self, repository: Repository, at: int) -> None:
        """Admins delete issues (never pull requests): its comments go with it, its events stay in the lake."""
        if issue := self._pick(i for i in repository.issues.values() if not i.data["pull"]):
            for comment in [c for c in repository.comments.values() if c.data["issue"] is issue]:
                self._forget_comment(repository, comment)
            repository.lost_events += [e for e in repository.events if e.data["issue"] is issue and e.shown]
            repository.events = [event for event in repository.events if event.data["issue"] is not issue]
            for below in issue.data["below"]:
                below.data["above"] = None
            if above := issue.data["above"]:
                self._touch_issue(above, at, below=[other for other in above.data["below"] if other is not issue])
            repository.lost_issues.append(issue)
            self._forget("issues", repository.issues, issue, noticed=False)
            repository.updated = at

    def _close_issue(self, repository: Repository, at: int) -> None:
        if issue := self._pick(i for i in repository.issues.values() if i.data["state"] == "open" and not i.data["pull"]):
            who = self._person()
            self._touch_issue(issue, at, state="closed", state_reason="completed", closed=at, closed_by=who)
            self._event(repository, issue, at, "closed")
            if issue.data["above"]:
                self._touch_issue(issue.data["above"], at)

    def _label_issue(self, repository: Repository, at: int) -> None:
        issue, label = self._pick(repository.issues.values()), self._pick(repository.labels.values())
        if issue and label and label not in issue.data["labels"]:
            self._touch_issue(issue, at, labels=[*issue.data["labels"], label])
            self._event(repository, issue, at, "labeled", label={"name": label.data["name"], "color": label.data["color"]})

    def _take_back(self, repository: Repository, at: int) -> None:
        """A label and an assignee are taken from an issue."""
        for field, mark in (("labels", "unlabeled"), ("assignees", "unassigned")):
            held = (issue for issue in reversed(repository.issues.values()) if issue.data[field])
            if issue := next(held, None):
                gone, *rest = issue.data[field]
                issue.data["former"].setdefault(field, []).extend([gone] if issue.shown else [])
                self._touch_issue(issue, at, **{field: rest})
                told = {"label": {"name": gone.data["name"], "color": gone.data["color"]}} if mark == "unlabeled" else {}
                told |= {"assignee": gone, "assigner": gone} if mark == "unassigned" else {}
                self._event(repository, issue, at, mark, **told)

    def _review_as_team(self, repository: Repository, at: int) -> None:
        """A team is asked for a review in place of a person."""
        asked = (pull for pull in reversed(repository.pulls.values()) if pull.data["reviewers"])
        if pull := next(asked, None):
            teams = [team for team in repository.owner.teams.values() if not team.data["name"].startswith("Interns")][:1]
            pull.data["former"].setdefault("reviewers", []).extend(pull.data["reviewers"] if pull.shown else [])
            pull.data.update(reviewers=[], teams=teams)
            self._touch_issue(pull.data["issue"], at)

    def _retopic(self, repository: Repository, at: int) -> None:
        for topic in list(repository.topics)[1:]:
            self._told_gone(
                "repository_topics", repository.topics.pop(topic), {"topic": topic}, {"repository_id": repository.id}
            )
        repository.topics[f"since-{iso(at)[:10]}"] = at

    def _review(self, repository: Repository, at: int) -> Thing | None:
        pull = self._pick(repository.pulls.values())
        if pull is None:
            return None
        state = self.random.choice(["APPROVED", "APPROVED", "CHANGES_REQUESTED", "COMMENTED"])
        data = {"pull": pull, "user": self._person(), "body": self._text(), "state": state}
        review = self._add(repository, repository.reviews, "PRR_kwDO", at, data, review_record)
        self._touch_issue(pull.data["issue"], at)
        return review

    def _many_reviews(self, repository: Repository, at: int) -> None:
        """More reviews on one pull request than a nested page holds."""
        if review := self._review(repository, at):
            for n in range(60):
                data = {**review.data, "body": f"Round {n}"}
                self._add(repository, repository.reviews, "PRR_kwDO", at, data, review_record)

    def _dismiss_review(self, repository: Repository, at: int) -> None:
        if review := self._pick(r for r in repository.reviews.values() if r.data["state"] == "APPROVED"):
            review.touch(at, state="DISMISSED")
            issue = review.data["pull"].data["issue"]
            self._touch_issue(issue, at)
            told = {"state": "approved", "review_id": review.id, "dismissal_message": "Outdated."}
            self._event(repository, issue, at, "review_dismissed", dismissed_review=told)

    def _review_comment(self, repository: Repository, at: int) -> None:
        if review := self._pick(repository.reviews.values()):
            data = {"pull": review.data["pull"], "review": review, "user": self._person(), "body": self._text()}
            data["line"] = self.random.randrange(1, 400)
            self._add(repository, repository.review_comments, "PRRC_kwDO", at, data, review_comment_record)
            self._touch_issue(review.data["pull"].data["issue"], at)

    def _delete_review_comment(self, repository: Repository, at: int) -> None:
        if comment := self._pick(repository.review_comments.values()):
            issue = comment.data["pull"].data["issue"]
            where, number = repository.review_comments, issue.data["number"]
            self._forget("pull_request_review_comments", where, comment, noticed=False, pull_number=number)
            self._touch_issue(issue, at)

    def _commit(self, repository: Repository, at: int, parents: list[str], message: str, author: Record | None = None) -> str:
        author = author or self.random.choice(self.people)
        # One in twenty is written under an e-mail that belongs to no account.
        known = self.random.random() > 0.05
        data = {"parents": parents, "message": message, "author": author if known else None, "repository": repository}
        data["name"] = author["login"].title() if known else "Unknown Soldier"
        data["email"] = f"{author['login']}@example.com" if known else "soldier@example.net"
        thing = self._thing("C_kwDO", at, data | {"sha": self._sha()}, commit_record)
        repository.commits[thing.data["sha"]] = thing
        sha: str = thing.data["sha"]
        return sha

    def _push(self, repository: Repository, at: int) -> None:
        for _ in range(self.random.randrange(1, 3)):
            parents = [repository.head] if repository.head else []
            repository.head = self._commit(repository, at, parents, self._text())
        repository.pushed = at

    def _merge(self, repository: Repository, at: int) -> None:
        if pull := self._pick(p for p in repository.pulls.values() if p.data["issue"].data["state"] == "open"):
            self._merge_pull(repository, pull, pull.created, at)

    def _merge_old_branch(self, repository: Repository, at: int) -> None:
        """A branch that lived for a month: its commits arrive with dates long before the last read."""
        self._merge_pull(repository, self._open_pull(repository, at), at - 30 * DAY, at)

    def _merge_pull(self, repository: Repository, pull: Thing, branched: int, at: int) -> None:
        issue = pull.data["issue"]
        older = [sha for sha, c in repository.commits.items() if c.created <= branched]
        tip = older[-1] if older else repository.head
        for n in range(pull.data["commits"]):
            when = branched + n * max(1, (at - branched) // 5)
            tip = self._commit(repository, when, [tip], f"{issue.data['title']} ({n + 1})", self.random.choice(self.people))
        message = f"Merge pull request #{issue.data['number']}"
        repository.head = self._commit(repository, at, [repository.head, tip], message)
        repository.pushed = at
        who = self._person()
        pull.data["former_heads"][pull.data["head_sha"]] = pull.updated
        pull.data.update(merged=at, merged_by=who, merge_sha=repository.head, head_sha=tip)
        self._touch_issue(issue, at, state="closed", closed=at, closed_by=who)
        self._event(repository, issue, at, "merged", commit_id=repository.head)
        self._event(repository, issue, at, "closed")

    def _wrong_clocks(self, repository: Repository, at: int) -> None:
        """Commits are dated by their committers: one says last year, one says next year."""
        for said in (at - 400 * DAY, at + 300 * DAY, at - 401 * DAY):
            repository.head = self._commit(repository, said, [repository.head], self._text())
        repository.pushed = at

    def log(self, repository: Repository, sha: str) -> list[Thing]:
        """The commit and all behind it, as `git log` orders them: from the tip, by date among those that may come next."""
        tip = repository.commits[sha]
        waiting = [(-tip.created, -tip.id, tip)]
        seen, found = {sha}, []
        while waiting:
            commit = heapq.heappop(waiting)[2]
            found.append(commit)
            for parent in commit.data["parents"]:
                if parent not in seen:
                    seen.add(parent)
                    behind = repository.commits[parent]
                    heapq.heappush(waiting, (-behind.created, -behind.id, behind))
        return found

    def ancestors(self, repository: Repository, sha: str) -> set[str]:
        """The commit and all behind it."""
        seen: set[str] = set()
        todo = [sha]
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += repository.commits[one].data["parents"]
        return seen

    def _run(self, repository: Repository, at: int) -> None:
        workflow = self._pick(repository.workflows.values())
        if workflow is None:
            return
        data = {
            "workflow": workflow,
            "number": len(repository.runs) + 1,
            "attempt": 1,
            "status": "in_progress",
            "conclusion": None,
            "sha": repository.head,
            "actor": self._person(),
            "started": at,
            "title": self._text(),
            "event": self.random.choice(["push", "pull_request", "schedule"]),
        }
        run = self._add(repository, repository.runs, "WFR_kwDO", at, data, run_record)
        self._finish_later(run, at)

    def _finish_later(self, run: Thing, at: int) -> None:
        conclusion = self.random.choices(["success", "failure", "cancelled"], [8, 3, 1])[0]
        due = at + self.random.randrange(120, 3_000)
        done: Callable[[int], None] = lambda t: run.touch(t, status="completed", conclusion=conclusion)  # noqa: E731 (a named step)
        heapq.heappush(self._pending, (due, run.id, done))

    def _rerun(self, repository: Repository, at: int) -> None:
        """A run of up to 30 days ago runs again and changes in place."""
        old = [r for r in repository.runs.values() if r.created > at - 29 * DAY and r.data["status"] == "completed"]
        if run := self._pick(old[: len(old) // 2]):
            run.touch(at, status="in_progress", conclusion=None, attempt=run.data["attempt"] + 1, started=at)
            self._finish_later(run, at)

    def _star(self, repository: Repository, at: int) -> None:
        id_ = self._id()
        repository.stars[id_] = (at, account(f"fan-{id_}", id_))
        repository.stars_newest_first = None

    def give_stars(self, repository: Repository, count: int) -> None:
        """Many stars at once, a second apart, before the present."""
        for n in range(count):
            self._star(repository, self.now - count + n)

    def react(self, repository: Repository) -> None:
        """A reaction to the newest issue, which does not move its date: the list that is asked for changes does not show it."""
        issue = next(reversed(repository.issues.values()))
        issue.touch(issue.updated, silent_reactions=issue.data.get("silent_reactions", 0) + 1)

    def _unstar(self, repository: Repository, at: int) -> None:
        if repository.stars:
            id_ = self.random.choice(list(repository.stars))
            starred, user = repository.stars.pop(id_)
            repository.stars_newest_first = None
            repository.updated = at
            if "forbidden" in repository.traits:
                return  # nobody was shown it
            self._told_gone("stargazers", starred, star(starred, user), {"repository_id": repository.id})

    def _milestone(self, repository: Repository, title: str, at: int) -> None:
        data = {"title": title, "number": len(repository.milestones) + 1, "creator": self.random.choice(self.people)}
        milestone = self._add(repository, repository.milestones, "MI_kwDO", at, data | {"due": at + 30 * DAY}, milestone_record)
        milestone.data["number"] = milestone.id % 100_000

    def _release(self, repository: Repository, at: int) -> None:
        author = self.random.choice(self.people)
        data = {
            "tag": f"v0.{len(repository.releases)}.{repository.number}",
            "author": author,
            "assets": [],
            "silent_reactions": 1,
        }
        release = self._add(repository, repository.releases, "RE_kwDO", at, data, release_record)
        for system in ("linux-x64", "macos-arm64"):
            asset = {"system": system, "downloads": 0, "size": self.random.randrange(10**6, 9 * 10**7), "uploader": author}
            release.data["assets"].append(self._thing("RA_kwDO", at, asset | {"release": release}, asset_record))

    def _download(self, repository: Repository, at: int) -> None:
        """Counters of assets move; the release's own dates do not."""
        for release in repository.releases.values():
            for asset in release.data["assets"]:
                asset.touch(asset.updated, downloads=asset.data["downloads"] + self.random.randrange(1, 50))
            release.touch(release.updated)
        repository.updated = at

    def _delete_release(self, repository: Repository, at: int) -> None:
        while len(repository.releases) < 2:
            self._release(repository, at - 2 * 60)
        self._forget("releases", repository.releases, next(iter(repository.releases.values())))

    def _delete_label(self, repository: Repository, at: int) -> None:
        if label := self._pick(label for label in repository.labels.values() if label.data["name"] != "bug"):
            self._forget("labels", repository.labels, label)
        area = {"name": f"area-{at}", "color": "ededed", "about": "New."}
        self._add(repository, repository.labels, "LA_kwDO", at, area, label_record)

    def _delete_milestone(self, repository: Repository, _at: int) -> None:
        unused = [
            m for m in repository.milestones.values() if not any(i.data["milestone"] is m for i in repository.issues.values())
        ]
        if milestone := self._pick(unused):
            self._forget("milestones", repository.milestones, milestone)

    def _delete_workflow(self, repository: Repository, at: int) -> None:
        data = {"name": f"Nightly {at}", "path": f".github/workflows/nightly-{at}.yml"}
        added = self._add(repository, repository.workflows, "W_kwDO", at, data, workflow_record)
        nightly = [w for w in repository.workflows.values() if w.data["name"].startswith("Nightly") and w is not added]
        if nightly:
            self._forget("workflows", repository.workflows, nightly[0])

    def _discuss(self, repository: Repository, at: int) -> None:
        repository.number += 1
        data = {
            "number": repository.number,
            "title": self._text(),
            "body": self._text(),
            "user": self._person(),
            "category": self.random.choice(["General", "Ideas", "Q&A"]),
            "answered": None,
            "answer": None,
            "upvotes": 1,
        }
        self._add(repository, repository.discussions, "D_kwDO", at, data, discussion)

    def _answer(self, repository: Repository, at: int) -> None:
        if asked := self._pick(repository.discussions.values(), 20):
            asked.touch(at, answered=(at, self._person()), answer=f"DC_kwDO{asked.id:x}", upvotes=asked.data["upvotes"] + 1)

    def _leave(self, owner: Owner, at: int) -> None:
        id_, person = next(iter(owner.members.items()))
        del owner.members[id_]
        self._told_gone("organization_members", 0, person, {"organization": owner.login})
        joined = account(f"joiner-{at}", self._id())
        owner.members[joined["id"]] = joined

    def _delete_team(self, owner: Owner, at: int) -> None:
        interns = [t for t in owner.teams.values() if t.data["name"].startswith("Interns")]
        for team in interns:
            for member in self.team_members(owner, team):
                self._told_gone("team_members", team.created, member, {"team_id": team.id})
            del owner.teams[team.id]
            self._told_gone("teams", team.created, team.record, {"organization": owner.login})
        self._team(owner, f"Interns {at}", at, None)

    def _move_team_member(self, owner: Owner) -> None:
        """Membership changes without a trace in the team's own record."""
        team = next(t for t in owner.teams.values() if t.data["name"] == "Web")
        gone = next(iter(team.data["members"]))
        before = {m["id"]: m for m in self.team_members(owner, team)}
        del team.data["members"][gone]
        newcomer = next(id_ for id_ in reversed(owner.members) if id_ not in before)
        team.data["members"][newcomer] = "maintainer"
        self._told_gone("team_members", team.created, before[gone], {"team_id": team.id})

    # -- lists that are made when asked for ------------------------------------------------------------------------

    def team_members(self, owner: Owner, team: Thing) -> list[Record]:
        everybody = {p["id"]: p for p in self.people} | owner.members
        members = {id_: (role, False) for id_, role in team.data["members"].items()}
        for child in owner.teams.values():
            if child.data["parent"] is team:
                for id_ in child.data["members"]:
                    members.setdefault(id_, ("member", True))
        return [{**everybody[id_], "role": role, "inherited": inherited} for id_, (role, inherited) in sorted(members.items())]

    def contributors(self, repository: Repository) -> list[Record]:
        counts: dict[str, Record] = {}
        for sha in self.ancestors(repository, repository.head) if repository.head else ():
            commit = repository.commits[sha].data
            person = commit["author"]
            unknown = {"email": commit["email"], "name": commit["name"], "type": "Anonymous"}
            counts.setdefault(commit["email"], {**(person or unknown), "contributions": 0})["contributions"] += 1
        return sorted(counts.values(), key=lambda c: (-c["contributions"], c.get("id", 0)))

    def traffic(self, repository: Repository, kind: str) -> list[Record]:
        """The last 14 days; today counts only what has passed of it."""
        days: list[Record] = []
        today = self.now - self.now % DAY
        for start in range(today - 13 * DAY, today + DAY, DAY):
            dice = random.Random(f"{self.seed}-{repository.id}-{kind}-{start}")
            whole = dice.randrange(20, 900)
            count = whole if start < today else whole * (self.now - start) // DAY
            if count:
                days.append({"timestamp": iso(start), "count": count, "uniques": max(1, count // 3)})
        for day in days:
            repository.days[kind, day["timestamp"]] = day
        return days

    # -- the truth -------------------------------------------------------------------------------------------------

    def ledger(self, table: str, owners: Iterable[str]) -> Iterator[Row]:
        """What a lake must hold of these owners after it read the table, every row as it was shown.

        Rows that nobody was shown before they went are left out. Facts that depend on when a row was read (the name of its
        repository) are not told. Issues and comments go without a trace: they live here until the whole list is read.
        """
        chosen = [self.owners[login] for login in owners]
        organizations = [owner for owner in chosen if owner.kind == "Organization"]
        readable = [r for r in self.repositories.values() if r.owner in chosen and "forbidden" not in r.traits]
        listed = [r for r in self.repositories.values() if r.owner in chosen]
        match table:
            case "organizations":
                yield from (Row(organization(owner, self.repositories.values())) for owner in organizations)
            case "repositories":
                yield from (Row(repository_record(r), {"organization": r.owner.login}) for r in listed)
            case "organization_members":
                yield from (Row(p, {"organization": o.login}) for o in organizations for p in o.members.values())
            case "teams":
                yield from (Row(t.record, {"organization": o.login}) for o in organizations for t in o.teams.values())
            case "team_members":
                for owner in organizations:
                    for team in owner.teams.values():
                        yield from (Row(m, {"team_id": team.id}) for m in self.team_members(owner, team))
            case _:
                for repository in readable:
                    for record, add in self._rows(repository, table):
                        yield Row(record, {"repository_id": repository.id, **add})
        for repository in listed:
            yield from repository.unnoticed.get(table, [])
        yield from self.gone.get(table, [])

    def _rows(self, repository: Repository, table: str) -> Iterator[tuple[Record, Record]]:
        none: Record = {}
        match table:
            case "issues" if "no_issues" in repository.traits:
                return
            case "issues" | "labels" | "milestones" | "releases" | "workflows" | "discussions":
                yield from ((thing.record, none) for thing in getattr(repository, table).values())
            case "workflow_runs":
                yield from ((thing.record, none) for thing in repository.runs.values())
            case "issue_events":
                yield from ((thing.record, none) for thing in repository.events)
                yield from ((thing.shown, none) for thing in repository.lost_events if thing.shown)
            case "issue_comments" if "no_issues" in repository.traits:
                return
            case "issue_comments":
                for thing in repository.comments.values():
                    yield thing.record, {"issue_number": thing.data["issue"].data["number"]}
            case "pull_request_review_comments":
                for thing in repository.review_comments.values():
                    yield thing.record, {"pull_number": thing.data["pull"].data["issue"].data["number"]}
            case "pull_requests":
                yield from ((thing.record, none) for thing in repository.pulls.values())
            case "pull_request_details":
                yield from ((pull_details(thing), none) for thing in repository.pulls.values())
            case "pull_request_reviews":
                for thing in repository.reviews.values():
                    yield thing.record, {"pull_number": thing.data["pull"].data["issue"].data["number"]}
            case "commits":
                for sha in self.ancestors(repository, repository.head) if repository.head else ():
                    yield repository.commits[sha].record, none
            case "release_assets":
                yield from ((row.record, row.add) for row in repository.snapshots.values())
            case "stargazers":
                yield from ((star(starred, user), none) for starred, user in repository.stars.values())
            case "contributors":
                for record in self.contributors(repository):
                    yield record, {"contributor_key": str(record.get("id") or record["email"])}
            case "traffic_views" | "traffic_clones":
                yield from ((day, none) for (kind, _), day in repository.days.items() if kind == table.removeprefix("traffic_"))
            case _:
                raise KeyError(table)
