"""Records of the stand-in for GitHub beyond the core tables, in the official shapes. Which there are lives in `github_more`."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from datalake.sandbox.github_records import (
    API,
    WEB,
    Owner,
    Record,
    Repository,
    Thing,
    account,
    actor,
    brief_organization,
    commit_record,
    iso,
    number_of,
    optional_iso,
    reactions_to,
    repository_record,
    rollup,
    run_record,
    small_repository,
)


def sha_of(*parts: object) -> str:
    return hashlib.sha1("-".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def app_record(owner: Owner) -> Record:
    """The App behind checks (`integration`)."""
    return {
        "id": 15_368,
        "slug": "github-actions",
        "client_id": "Iv1.05c79e9ad1f6bdfa",
        "node_id": "MDM6QXBwMTUzNjg=",
        "owner": account("github", 9919, "Organization"),
        "name": "GitHub Actions",
        "description": f"Automate the workflow of {owner.login}",
        "external_url": "https://help.github.com/en/actions",
        "html_url": f"{WEB}/apps/github-actions",
        "created_at": "2018-07-30T09:30:17Z",
        "updated_at": "2024-04-10T20:33:16Z",
        "permissions": {"checks": "write", "contents": "read", "metadata": "read"},
        "events": ["push"],
    }


def artifact(run: Thing, at: int, expired: bool) -> Record:
    repository: Repository = run.data["repository"]
    id_ = number_of("artifact", run.id)
    url = f"{repository.url}/actions/artifacts/{id_}"
    return {
        "id": id_,
        "node_id": f"MDg6QXJ0aWZhY3Q{id_}",
        "name": f"dist-{run.data['number']}",
        "size_in_bytes": 1_000 + run.id % 90_000,
        "url": url,
        "archive_download_url": f"{url}/zip",
        "expired": expired,
        "created_at": iso(at),
        "updated_at": iso(at),
        "expires_at": iso(at + 30 * 86_400),
        "digest": f"sha256:{hashlib.sha256(str(id_).encode()).hexdigest()}",
        "workflow_run": {
            "id": run.id,
            "repository_id": repository.id,
            "head_repository_id": repository.id,
            "head_branch": "main",
            "head_sha": run.data["sha"],
        },
    }


def attempt_record(run: Thing, attempt: int) -> Record:
    """An earlier attempt of a run: it failed, or nobody would have run it again."""
    record = run_record(run)
    at = run.created + 60 * attempt
    return {
        **record,
        "run_attempt": attempt,
        "status": "completed",
        "conclusion": "failure",
        "run_started_at": iso(at),
        "updated_at": iso(at + 50),
        "previous_attempt_url": f"{record['url']}/attempts/{attempt - 1}" if attempt > 1 else None,
    }


def job(run: Thing, attempt: int, name: str) -> Record:
    repository: Repository = run.data["repository"]
    id_ = number_of("job", run.id, attempt, name)
    at = run.created + 60 * attempt
    url = f"{repository.url}/actions/jobs/{id_}"
    steps = [
        {
            "name": step,
            "status": "completed",
            "conclusion": "success",
            "number": number,
            "started_at": iso(at + 10 * number),
            "completed_at": iso(at + 10 * number + 8),
        }
        for number, step in enumerate(("Set up job", "Check out", f"Run {name}"), 1)
    ]
    return {
        "id": id_,
        "run_id": run.id,
        "run_url": f"{repository.url}/actions/runs/{run.id}",
        "node_id": f"CR_kwDO{id_:x}",
        "head_sha": run.data["sha"],
        "url": url,
        "html_url": f"{repository.html}/actions/runs/{run.id}/job/{id_}",
        "status": "completed",
        "conclusion": "failure" if id_ % 7 == 0 else "success",
        "created_at": iso(at),
        "started_at": iso(at + 5),
        "completed_at": iso(at + 45),
        "name": name,
        "steps": steps,
        "check_run_url": f"{repository.url}/check-runs/{id_}",
        "labels": ["ubuntu-latest"],
        "runner_id": id_ % 90,
        "runner_name": f"GitHub Actions {id_ % 90}",
        "runner_group_id": 0,
        "runner_group_name": "GitHub Actions",
        "run_attempt": attempt,
        "workflow_name": run.data["workflow"].data["name"],
        "head_branch": "main",
    }


def check_run(repository: Repository, sha: str, number: int, began: int, ended: int | None) -> Record:
    id_ = number_of("check", sha, number)
    return {
        "id": id_,
        "name": ("test", "lint")[number],
        "node_id": f"CR_kwDO{id_:x}",
        "head_sha": sha,
        "external_id": str(id_),
        "url": f"{repository.url}/check-runs/{id_}",
        "html_url": f"{repository.html}/runs/{id_}",
        "details_url": f"{repository.html}/runs/{id_}",
        "status": "completed" if ended else "in_progress",
        "conclusion": ("failure" if id_ % 5 == 0 else "success") if ended else None,
        "started_at": iso(began),
        "completed_at": optional_iso(ended),
        "output": {
            "title": "Done" if ended else None,
            "summary": None,
            "text": None,
            "annotations_count": 0,
            "annotations_url": f"{repository.url}/check-runs/{id_}/annotations",
        },
        "check_suite": {"id": number_of("suite", sha)},
        "app": app_record(repository.owner),
        "pull_requests": [],
    }


def check_suite(repository: Repository, sha: str, branch: str, began: int, ended: int | None) -> Record:
    id_ = number_of("suite", sha)
    who = {"name": "Dev", "email": "dev@example.com"}
    url = f"{repository.url}/check-suites/{id_}"
    return {
        "id": id_,
        "node_id": f"CS_kwDO{id_:x}",
        "head_branch": branch,
        "head_sha": sha,
        "status": "completed" if ended else "in_progress",
        "conclusion": "success" if ended else None,
        "url": url,
        "before": sha_of(sha, "before"),
        "after": sha,
        "pull_requests": [],
        "app": app_record(repository.owner),
        "repository": small_repository(repository),
        "created_at": iso(began),
        "updated_at": iso(ended or began),
        "head_commit": {
            "id": sha,
            "tree_id": sha_of(sha, "tree"),
            "message": "Work",
            "timestamp": iso(began),
            "author": who,
            "committer": who,
        },
        "latest_check_runs_count": 2,
        "check_runs_url": f"{url}/check-runs",
        "rerequestable": True,
        "runs_rerequestable": True,
    }


def status(repository: Repository, sha: str, state: str, at: int, creator: Record) -> Record:
    id_ = number_of("status", sha, state)
    return {
        "url": f"{repository.url}/statuses/{sha}",
        "avatar_url": creator["avatar_url"],
        "id": id_,
        "node_id": f"SC_kwDO{id_:x}",
        "state": state,
        "description": f"The build is {state}",
        "target_url": f"https://ci.example.com/{sha}",
        "context": "ci/build",
        "created_at": iso(at),
        "updated_at": iso(at),
        "creator": creator,
    }


def commit_details(commit: Thing) -> Record:
    """A commit with its files; one in fifty touches more of them than a page holds."""
    sha = commit.data["sha"]
    count = 130 if commit.id % 50 == 0 else 1 + commit.id % 3
    files = [file_record(commit.data["repository"], sha, number) for number in range(count)]
    added, gone = sum(f["additions"] for f in files), sum(f["deletions"] for f in files)
    return {**commit_record(commit), "stats": {"additions": added, "deletions": gone, "total": added + gone}, "files": files}


def file_record(repository: Repository, sha: str, number: int) -> Record:
    """A file that a commit or a pull request touches (`diff-entry`)."""
    dice = number_of("file", sha, number)
    name = f"src/module_{number}.py"
    record = {
        "sha": sha_of(sha, number),
        "filename": name,
        "status": ("added", "modified", "renamed")[dice % 3],
        "additions": dice % 90,
        "deletions": dice % 40,
        "changes": dice % 90 + dice % 40,
        "blob_url": f"{repository.html}/blob/{sha}/{name}",
        "raw_url": f"{repository.html}/raw/{sha}/{name}",
        "contents_url": f"{repository.url}/contents/{name}?ref={sha}",
        "patch": "@@ -1 +1 @@\n-old\n+new",
    }
    return record | ({"previous_filename": f"src/old_{number}.py"} if dice % 3 == 2 else {})


def pull_commit(pull: Thing, number: int, author: Record) -> Record:
    """A commit of a pull request, as its list tells it."""
    repository: Repository = pull.data["repository"]
    sha = sha_of("pull", pull.id, number)
    commit = Thing(pull.id, f"C_kwDO{sha[:12]}", pull.created + number, pull.created, {}, commit_record)
    commit.data = {
        "parents": [sha_of("pull", pull.id, number - 1)],
        "message": f"Step {number}",
        "author": author,
        "name": author["login"].title(),
        "email": f"{author['login']}@example.com",
        "sha": sha,
        "repository": repository,
    }
    return commit_record(commit)


def commit_comment(repository: Repository, id_: int, commit: str, born: int, changed: int, user: Record) -> Record:
    url = f"{repository.url}/comments/{id_}"
    return {
        "url": url,
        "html_url": f"{repository.html}/commit/{commit}#commitcomment-{id_}",
        "id": id_,
        "node_id": f"CC_kwDO{id_:x}",
        "user": user,
        "position": None,
        "line": None,
        "path": None,
        "commit_id": commit,
        "created_at": iso(born),
        "updated_at": iso(changed),
        "author_association": "MEMBER",
        "body": f"A remark, as of {iso(changed)}",
        "reactions": rollup(url, reactions_to(id_, changed)),
    }


def reaction(parent: int, number: int, content: str, at: int, user: Record) -> Record:
    id_ = number_of("reaction", parent, number)
    return {"id": id_, "node_id": f"REA_kwDO{id_:x}", "user": user, "content": content, "created_at": iso(at)}


def branch(repository: Repository, name: str, sha: str) -> Record:
    place = f"{repository.url}/branches/{name}/protection"
    protected = name == "main"
    more: Record = {"protection": {"enabled": True}} if protected else {}
    commit = {"sha": sha, "url": f"{repository.url}/commits/{sha}"}
    return {"name": name, "commit": commit, "protected": protected, "protection_url": place, **more}


def tag(repository: Repository, name: str, sha: str) -> Record:
    return {
        "name": name,
        "zipball_url": f"{repository.url}/zipball/refs/tags/{name}",
        "tarball_url": f"{repository.url}/tarball/refs/tags/{name}",
        "commit": {"sha": sha, "url": f"{repository.url}/commits/{sha}"},
        "node_id": f"REF_kwDO{number_of(repository.id, name):x}",
    }


def environment(repository: Repository, name: str, born: int, changed: int) -> Record:
    id_ = number_of("environment", repository.id, name)
    url = f"{repository.url}/environments/{name}"
    return {
        "id": id_,
        "node_id": f"EN_kwDO{id_:x}",
        "name": name,
        "url": url,
        "html_url": f"{repository.html}/deployments/activity_log?environments_filter={name}",
        "created_at": iso(born),
        "updated_at": iso(changed),
        "protection_rules": [{"id": id_ + 1, "node_id": f"GA_kwDO{id_ + 1:x}", "type": "branch_policy"}],
        "deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False},
    }


def ruleset(place: str, html: str, source: str, kind: str, id_: int, born: int, changed: int) -> Record:
    """A rule set whole; its list leaves out what `short_ruleset` leaves out."""
    return {
        "id": id_,
        "name": f"Protect main, as of {iso(changed)[:10]}",
        "target": "branch",
        "source_type": kind,
        "source": source,
        "enforcement": "active" if id_ % 3 else "evaluate",
        "bypass_actors": [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}],
        "current_user_can_bypass": "never",
        "node_id": f"RRS_kwDO{id_:x}",
        "_links": {"self": {"href": f"{place}/rulesets/{id_}"}, "html": {"href": f"{html}/rules/{id_}"}},
        "conditions": {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        "rules": [{"type": "deletion"}, {"type": "non_fast_forward"}],
        "created_at": iso(born),
        "updated_at": iso(changed),
    }


def short_ruleset(whole: Record) -> Record:
    left_out = ("bypass_actors", "current_user_can_bypass", "conditions", "rules")
    return {name: value for name, value in whole.items() if name not in left_out}


def package_of_sbom(name: str, version: str) -> Record:
    place = f"pkg:pypi/{name}@{version}"
    return {
        "name": name,
        "SPDXID": f"SPDXRef-pypi-{name}",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "MIT",
        "copyrightText": f"Copyright (c) the authors of {name}",
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": place},
        ],
    }


def sbom(repository: Repository, packages: list[Record], now: int) -> Record:
    return {
        "sbom": {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"com.github.{repository.full_name}",
            "documentNamespace": f"https://spdx.org/spdxdocs/protobom/{sha_of(repository.id, now)}",
            # New in every answer.
            "creationInfo": {"created": iso(now), "creators": ["Tool: GitHub.com-Dependency-Graph"]},
            "packages": packages,
            "relationships": [],
        }
    }


def community_profile(repository: Repository, changed: int) -> Record:
    html = repository.html
    file = {"url": f"{repository.url}/contents/README.md", "html_url": f"{html}/blob/main/README.md"}
    mit = {"key": "mit", "name": "MIT License", "spdx_id": "MIT", "url": f"{API}/licenses/mit", "node_id": "MDc6TGljZW5zZTEz"}
    return {
        "health_percentage": 40 + number_of(repository.id, changed) % 60,
        "description": f"The {repository.name} of {repository.owner.login}",
        "documentation": None,
        "files": {
            "code_of_conduct": None,
            "code_of_conduct_file": None,
            "contributing": None,
            "issue_template": None,
            "pull_request_template": None,
            "license": mit,
            "readme": file,
        },
        "updated_at": iso(changed),
        "content_reports_enabled": False,
    }


def readme(repository: Repository, changed: int) -> Record:
    text = f"# {repository.name}\n\nAs of {iso(changed)}. Olá!\n".encode()
    sha = sha_of(repository.id, changed)
    url = f"{repository.url}/contents/README.md?ref=main"
    git, html = f"{repository.url}/git/blobs/{sha}", f"{repository.html}/blob/main/README.md"
    return {
        "name": "README.md",
        "path": "README.md",
        "sha": sha,
        "size": len(text),
        "url": url,
        "html_url": html,
        "git_url": git,
        "download_url": f"https://raw.githubusercontent.com/{repository.full_name}/main/README.md",
        "type": "file",
        "content": base64.encodebytes(text).decode(),
        "encoding": "base64",
        "_links": {"self": url, "git": git, "html": html},
    }


def deployment(repository: Repository, id_: int, sha: str, where: str, born: int, changed: int, creator: Record) -> Record:
    url = f"{repository.url}/deployments/{id_}"
    return {
        "url": url,
        "id": id_,
        "node_id": f"DE_kwDO{id_:x}",
        "sha": sha,
        "ref": "main",
        "task": "deploy",
        "payload": {"by": "robot"} if id_ % 2 else "",
        "original_environment": where,
        "environment": where,
        "description": None,
        "creator": creator,
        "created_at": iso(born),
        "updated_at": iso(changed),
        "statuses_url": f"{url}/statuses",
        "repository_url": repository.url,
        "transient_environment": False,
        "production_environment": where == "production",
        "performed_via_github_app": None,
    }


def deployment_status(repository: Repository, parent: Record, number: int, state: str, at: int) -> Record:
    id_ = number_of("deployment status", parent["id"], number)
    return {
        "url": f"{parent['url']}/statuses/{id_}",
        "id": id_,
        "node_id": f"DES_kwDO{id_:x}",
        "state": state,
        "creator": parent["creator"],
        "description": f"It is {state}",
        "environment": parent["environment"],
        "target_url": "",
        "created_at": iso(at),
        "updated_at": iso(at),
        "deployment_url": parent["url"],
        "repository_url": repository.url,
        "environment_url": f"https://{parent['environment']}.acme.example",
        "log_url": "",
        "performed_via_github_app": None,
    }


def activity(id_: int, at: int, who: Record) -> Record:
    return {
        "id": id_,
        "node_id": f"PSH_kwLO{id_:x}",
        "before": sha_of("activity", id_, 0),
        "after": sha_of("activity", id_, 1),
        "ref": "refs/heads/main",
        "timestamp": iso(at),
        "activity_type": ("push", "force_push", "pr_merge", "branch_creation")[id_ % 4],
        "actor": who,
    }


def event(repository: Repository, id_: int, at: int, who: Record) -> Record:
    def shown(person: Record) -> Record:
        return {
            "id": person["id"],
            "login": person["login"],
            "display_login": person["login"],
            "gravatar_id": "",
            "url": person["url"],
            "avatar_url": person["avatar_url"],
        }

    owner = repository.owner
    push = {"before": sha_of("event", id_, 0), "head": sha_of("event", id_, 1)}
    told = {
        "id": str(id_),
        "type": "PushEvent",
        "actor": shown(who),
        "repo": {"id": repository.id, "name": repository.full_name, "url": repository.url},
        "payload": {**push, "repository_id": repository.id, "push_id": id_ + 1, "ref": "refs/heads/main"},
        "public": "private" not in repository.traits,
        "created_at": iso(at),
    }
    return told | ({"org": shown(account(owner.login, owner.id, owner.kind))} if owner.kind == "Organization" else {})


def fork(repository: Repository, id_: int, born: int, changed: int) -> Record:
    owner = account(f"fork-{id_ % 100_000}", id_ + 1)
    whole = repository_record(repository)
    name = f"{owner['login']}/{repository.name}"
    moved = {
        key: value.replace(f"/{repository.full_name}", f"/{name}") if isinstance(value, str) else value
        for key, value in whole.items()
    }
    return {
        **moved,
        "id": id_,
        "node_id": f"R_kgDO{id_:x}",
        "full_name": name,
        "owner": owner,
        "fork": True,
        "private": False,
        "visibility": "public",
        "created_at": iso(born),
        "updated_at": iso(changed),
        "pushed_at": iso(changed),
        "stargazers_count": number_of(id_, changed) % 90,
        "archived": False,
    }


def advisory(repository: Repository, number: int, born: int, changed: int, author: Record) -> Record:
    text = f"{number_of('advisory', repository.id, number):012x}"
    ghsa = f"GHSA-{text[:4]}-{text[4:8]}-{text[8:12]}"
    published = changed > born
    return {
        "ghsa_id": ghsa,
        "cve_id": f"CVE-2026-{10_000 + number}" if published else None,
        "url": f"{repository.url}/security-advisories/{ghsa}",
        "html_url": f"{repository.html}/security/advisories/{ghsa}",
        "summary": f"Weak check {number}",
        "description": "Details follow." if published else None,
        "severity": ("low", "medium", "high", "critical")[number % 4],
        "author": author,
        "publisher": author if published else None,
        "identifiers": [{"type": "GHSA", "value": ghsa}],
        "state": "published" if published else "draft",
        "created_at": iso(born),
        "updated_at": iso(changed),
        "published_at": iso(changed) if published else None,
        "closed_at": None,
        "withdrawn_at": None,
        "submission": None,
        "vulnerabilities": [
            {
                "package": {"ecosystem": "pip", "name": repository.name},
                "vulnerable_version_range": "< 1.0",
                "patched_versions": "1.0",
                "vulnerable_functions": [],
            }
        ],
        "cvss_severities": {"cvss_v3": {"vector_string": None, "score": None}, "cvss_v4": None},
        "cwes": [{"cwe_id": "CWE-79", "name": "Cross-site scripting"}],
        "cwe_ids": ["CWE-79"],
        "credits": [{"login": author["login"], "type": "finder"}],
        "credits_detailed": [{"user": author, "type": "finder", "state": "accepted"}],
        "collaborating_users": [author],
        "collaborating_teams": [],
        "private_fork": None,
    }


def _alert(repository: Repository, kind: str, number: int, born: int, changed: int) -> Record:
    return {
        "number": number,
        "created_at": iso(born),
        "updated_at": iso(changed),
        "url": f"{repository.url}/{kind}/alerts/{number}",
        "html_url": f"{repository.html}/security/{kind}/{number}",
        "repository": small_repository(repository),
    }


def code_scanning_alert(repository: Repository, number: int, born: int, changed: int) -> Record:
    fixed = changed > born
    alert = _alert(repository, "code-scanning", number, born, changed)
    state = "fixed" if fixed else "open"
    return {
        **alert,
        "instances_url": f"{alert['url']}/instances",
        "state": state,
        "fixed_at": iso(changed) if fixed else None,
        "dismissed_by": None,
        "dismissed_at": None,
        "dismissed_reason": None,
        "dismissed_comment": None,
        "rule": {
            "id": "py/weak-hash",
            "name": "py/weak-hash",
            "severity": "error",
            "security_severity_level": "high",
            "description": "Weak hash",
            "full_description": "A weak hash guards something",
            "tags": ["security"],
            "help": None,
            "help_uri": None,
        },
        "tool": {"name": "CodeQL", "guid": None, "version": "2.20.0"},
        "most_recent_instance": {
            "ref": "refs/heads/main",
            "analysis_key": ".github/workflows/codeql.yml:analyze",
            "environment": "{}",
            "category": "python",
            "state": state,
            "commit_sha": sha_of("alert", number),
            "message": {"text": "A weak hash"},
            "location": {"path": "src/main.py", "start_line": 7, "end_line": 7, "start_column": 1, "end_column": 9},
            "classifications": ["test"],
        },
        "dismissal_approved_by": None,
        "assignees": [],
    }


def dependabot_alert(repository: Repository, number: int, born: int, changed: int) -> Record:
    fixed = changed > born
    package = {"ecosystem": "pip", "name": "requests"}
    vulnerability = {
        "package": package,
        "severity": "high",
        "vulnerable_version_range": "< 2.32",
        "first_patched_version": {"identifier": "2.32"},
    }
    return {
        **_alert(repository, "dependabot", number, born, changed),
        "state": "fixed" if fixed else "open",
        "dependency": {
            "package": package,
            "manifest_path": "requirements.txt",
            "scope": "runtime",
            "relationship": "direct",
        },
        "security_advisory": {
            "ghsa_id": "GHSA-9wx4-h78v-vm56",
            "cve_id": "CVE-2024-35195",
            "summary": "Requests keeps verify=False",
            "description": "…",
            "severity": "high",
            "identifiers": [{"type": "CVE", "value": "CVE-2024-35195"}],
            "references": [{"url": "https://example.com/advisory"}],
            "published_at": "2024-05-20T20:15:00Z",
            "updated_at": "2024-06-10T18:50:00Z",
            "withdrawn_at": None,
            "vulnerabilities": [vulnerability],
            "cvss_severities": {"cvss_v3": {"vector_string": None, "score": 5.6}, "cvss_v4": None},
            "cwes": [{"cwe_id": "CWE-670", "name": "Always-incorrect control flow"}],
        },
        "security_vulnerability": vulnerability,
        "dismissed_at": None,
        "dismissed_by": None,
        "dismissed_reason": None,
        "dismissed_comment": None,
        "fixed_at": iso(changed) if fixed else None,
        "auto_dismissed_at": None,
        "assignees": [],
    }


def secret_scanning_alert(repository: Repository, number: int, born: int, changed: int, who: Record) -> Record:
    resolved = changed > born
    alert = _alert(repository, "secret-scanning", number, born, changed)
    return {
        **alert,
        "locations_url": f"{alert['url']}/locations",
        "state": "resolved" if resolved else "open",
        "resolution": "revoked" if resolved else None,
        "resolved_at": iso(changed) if resolved else None,
        "resolved_by": who if resolved else None,
        "resolution_comment": None,
        "secret_type": "aws_access_key_id",
        "secret_type_display_name": "AWS Access Key ID",
        "push_protection_bypassed": False,
        "push_protection_bypassed_by": None,
        "push_protection_bypassed_at": None,
        "validity": "inactive" if resolved else "active",
        "publicly_leaked": False,
        "multi_repo": False,
        "is_base64_encoded": False,
        "has_more_locations": False,
        "first_location_detected": None,
        "assigned_to": None,
    }


def issue_type(id_: int, name: str, born: int, changed: int) -> Record:
    return {
        "id": id_,
        "node_id": f"IT_kwDO{id_:x}",
        "name": name,
        "description": f"As of {iso(changed)}",
        "color": "red" if name == "Bug" else "blue",
        "created_at": iso(born),
        "updated_at": iso(changed),
        "is_enabled": True,
    }


def package(owner: Owner, repository: Repository, kind: str, id_: int, born: int, changed: int) -> Record:
    name = f"{kind}-package-{id_ % 1000}"
    return {
        "id": id_,
        "name": name,
        "package_type": kind,
        "owner": account(owner.login, owner.id, owner.kind),
        "version_count": 1 + number_of(id_, changed) % 40,
        "visibility": "private",
        "url": f"{API}/orgs/{owner.login}/packages/{kind}/{name}",
        "created_at": iso(born),
        "updated_at": iso(changed),
        "repository": small_repository(repository),
        "html_url": f"{WEB}/orgs/{owner.login}/packages/{kind}/{name}",
    }


def project(owner: Owner, number: int, id_: int, born: int, changed: int, creator: Record) -> Record:
    closed = number % 4 == 3
    return {
        "id": id_,
        "node_id": f"PVT_kwDO{id_:x}",
        "owner": account(owner.login, owner.id, owner.kind),
        "creator": creator,
        "title": f"Plan {number}",
        "description": None,
        "public": False,
        "closed_at": iso(changed) if closed else None,
        "created_at": iso(born),
        "updated_at": iso(changed),
        "number": number,
        "short_description": f"As of {iso(changed)}",
        "deleted_at": None,
        "deleted_by": None,
        "state": "closed" if closed else "open",
        "latest_status_update": None,
        "is_template": False,
    }


def project_field(parent: Record, owner: Owner, id_: int, name: str, kind: str, born: int, changed: int) -> Record:
    field: Record = {
        "id": id_,
        "node_id": f"PVTF_kwDO{id_:x}",
        "project_url": f"{API}/orgs/{owner.login}/projectsV2/{parent['number']}",
        "name": name,
        "data_type": kind,
        "created_at": iso(born),
        "updated_at": iso(changed),
    }
    if kind == "single_select":
        texts = [("Todo", "GRAY"), ("Doing", "BLUE"), ("Done", "GREEN")]
        field["options"] = [
            {
                "id": f"{id_ + n:x}",
                "name": {"raw": text, "html": text},
                "color": color,
                "description": {"raw": "", "html": ""},
            }
            for n, (text, color) in enumerate(texts)
        ]
    return field


def project_item(
    parent: Record, owner: Owner, id_: int, born: int, changed: int, creator: Record, fields: list[Record]
) -> Record:
    place = f"{API}/orgs/{owner.login}/projectsV2/{parent['number']}"
    return {
        "id": id_,
        "node_id": f"PVTI_kwDO{id_:x}",
        "project_url": place,
        "content_type": "DraftIssue",
        "content": {"id": id_ + 1, "title": f"Idea {id_ % 1000}", "body": None},
        "creator": creator,
        "created_at": iso(born),
        "updated_at": iso(changed),
        "archived_at": None,
        "item_url": f"{place}/items/{id_}",
        "fields": [
            {"id": f["id"], "name": f["name"], "data_type": f["data_type"], "value": f"{f['name']} at {iso(changed)}"}
            for f in fields
        ],
    }


def seat(owner: Owner, who: Record, born: int, active: int) -> Record:
    return {
        "created_at": iso(born),
        "updated_at": iso(active),
        "pending_cancellation_date": None,
        "last_activity_at": iso(active),
        "last_activity_editor": "vscode/1.95.0/copilot/1.246.0",
        "last_authenticated_at": iso(active),
        "plan_type": "business",
        "assignee": who,
        "assigning_team": None,
        "organization": brief_organization(owner),
    }


def usage(owner: Owner, day: str, product: str, sku: str, quantity: int, price: str, repository: str) -> Record:
    gross = round(quantity * float(price), 6)
    line = {
        "date": day,
        "product": product,
        "sku": sku,
        "quantity": quantity,
        "unitType": "minutes" if product == "Actions" else "seats",
        "pricePerUnit": float(price),
        "grossAmount": gross,
        "discountAmount": 0,
        "netAmount": gross,
        "organizationName": owner.login,
    }
    return line | ({"repositoryName": repository} if repository else {})


def discussion_category(repository: Repository, name: str, born: int, changed: int) -> Record:
    """The row of `discussion_categories`, as GraphQL tells it under the names that the table uses."""
    return {
        "id": f"DIC_kwDO{repository.id:x}{name}",
        "name": name,
        "slug": name.lower(),
        "description": f"As of {iso(changed)}",
        "emoji": ":speech_balloon:",
        "is_answerable": name == "Q&A",
        "created_at": iso(born),
        "updated_at": iso(changed),
    }


def discussion_comment(asked: Thing, id_: str, number: int, at: int, user: Record, above: str | None, answer: bool) -> Record:
    """The row of `discussion_comments`, as GraphQL tells it under the names that the table uses."""
    told = actor(user)
    return {
        "id": id_,
        "database_id": number_of(id_) % 2**31,
        "body": f"Thought {number}",
        "author": {"__typename": user["type"], **told} if told else None,
        "author_association": "MEMBER",
        "is_answer": answer,
        "upvote_count": number % 5,
        "deleted_at": iso(at + 60) if number % 17 == 13 else None,
        "url": f"{asked.data['repository'].html}/discussions/{asked.data['number']}#discussioncomment-{number_of(id_)}",
        "created_at": iso(at),
        "updated_at": iso(at),
        "reply_to": {"id": above} if above else None,
    }


def cross_reference(source: Thing, at: int, who: Record) -> Record:
    """An event of a time line that has no id of its own."""
    return {
        "event": "cross-referenced",
        "actor": who,
        "created_at": iso(at),
        "updated_at": iso(at),
        "source": {"type": "issue", "issue": source.record},
    }


def timeline_event(told: Thing) -> Record:
    """An event of an issue as its time line tells it: without the issue."""
    return {name: value for name, value in told.record.items() if name != "issue"}


def timeline_review(review: Thing) -> Record:
    data, pull = review.data, review.data["pull"]
    repository: Repository = data["repository"]
    number = pull.data["issue"].data["number"]
    url = f"{repository.url}/pulls/{number}"
    html = f"{repository.html}/pull/{number}#pullrequestreview-{review.id}"
    return {
        "id": review.id,
        "node_id": review.node,
        "user": data["user"],
        "body": data["body"],
        "commit_id": pull.data["head_sha"],
        "submitted_at": iso(review.created),
        "state": data["state"].lower(),
        "html_url": html,
        "pull_request_url": url,
        "author_association": "MEMBER",
        "_links": {"html": {"href": html}, "pull_request": {"href": url}},
        "event": "reviewed",
    }


def timeline_commit(pull: Thing, number: int, author: Record) -> Record:
    commit = pull_commit(pull, number, author)
    inside: dict[str, Any] = commit["commit"]
    return {
        "sha": commit["sha"],
        "node_id": commit["node_id"],
        "url": inside["url"],
        "html_url": commit["html_url"],
        "author": inside["author"],
        "committer": inside["committer"],
        "tree": inside["tree"],
        "message": inside["message"],
        "parents": commit["parents"],
        "verification": inside["verification"],
        "event": "committed",
    }
