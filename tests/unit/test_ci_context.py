"""Which run an environment describes, and whether that run may push."""

# ruff: noqa: E501 - a row of the table is a line

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.ci import context as ci_context
from buildkit_tasks.core.world import World

SHA = "1f" * 20
DEFAULT = {"repository": {"default_branch": "main", "full_name": "o/r"}}
OWN = {**DEFAULT, "pull_request": {"number": 7, "head": {"repo": {"full_name": "o/r"}}}}
FORK = {**DEFAULT, "pull_request": {"number": 7, "head": {"repo": {"full_name": "stranger/r"}}}}
GONE = {**DEFAULT, "pull_request": {"number": 7, "head": {"repo": None}}}


def github(event: str, ref: str = "refs/heads/main", **more: str) -> dict[str, str]:
    return {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_REF": ref,
        "GITHUB_REF_TYPE": "tag" if ref.startswith("refs/tags/") else "branch",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_SHA": SHA,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "42",
        **more,
    }


def gitlab(source: str, **more: str) -> dict[str, str]:
    base = {"CI": "true", "GITLAB_CI": "true", "CI_PIPELINE_SOURCE": source, "CI_DEFAULT_BRANCH": "main"}
    return {**base, "CI_PROJECT_ID": "1", "CI_COMMIT_SHA": SHA, "CI_PIPELINE_URL": "https://gitlab/p/1", **more}


def merge_request(source: str = "merge_request_event", project: str = "1", **more: str) -> dict[str, str]:
    request = {
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": project,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
    }
    return gitlab(source, **request, **more)


def jenkins(**more: str) -> dict[str, str]:
    return {"JENKINS_URL": "https://ci/", "BUILD_URL": "https://ci/job/1/", "GIT_COMMIT": SHA, **more}


#: name, environment, description of the event, and: provider, event, branch, default branch?, fork?, may push?
CASES: list[tuple[str, Mapping[str, str], Any, tuple[str, str, str, bool, bool, bool]]] = [
    ("github push main", github("push"), DEFAULT, ("github", "push", "main", True, False, True)),
    ("github push topic", github("push", "refs/heads/a/b"), DEFAULT, ("github", "push", "a/b", False, False, False)),
    ("github push master, default is main", github("push", "refs/heads/master"), DEFAULT, ("github", "push", "master", False, False, False)),
    ("github push trunk is default", github("push", "refs/heads/trunk"), {"repository": {"default_branch": "trunk"}}, ("github", "push", "trunk", True, False, True)),
    ("github push without description", github("push"), None, ("github", "push", "main", True, False, True)),
    ("github pull request", github("pull_request", "refs/pull/7/merge", GITHUB_HEAD_REF="topic"), OWN, ("github", "pull-request", "topic", False, False, False)),
    ("github pull request of main", github("pull_request", "refs/pull/7/merge", GITHUB_HEAD_REF="main"), OWN, ("github", "pull-request", "main", False, False, False)),
    ("github fork", github("pull_request", "refs/pull/7/merge", GITHUB_HEAD_REF="main"), FORK, ("github", "pull-request", "main", False, True, False)),
    ("github fork that was deleted", github("pull_request", "refs/pull/7/merge"), GONE, ("github", "pull-request", "", False, True, False)),
    ("github pull request without description", github("pull_request", "refs/pull/7/merge"), None, ("github", "pull-request", "", False, True, False)),
    ("github pull_request_target", github("pull_request_target", GITHUB_HEAD_REF=""), FORK, ("github", "other", "main", True, True, False)),
    ("github tag", github("push", "refs/tags/v1"), DEFAULT, ("github", "tag", "", False, False, False)),
    ("github tag called main", github("push", "refs/tags/main"), DEFAULT, ("github", "tag", "", False, False, False)),
    ("github tag that claims a branch's ref", github("push", GITHUB_REF_TYPE="tag"), DEFAULT, ("github", "push", "", False, False, False)),
    ("github schedule", github("schedule"), DEFAULT, ("github", "schedule", "main", True, False, True)),
    ("github dispatch on main", github("workflow_dispatch"), DEFAULT, ("github", "manual", "main", True, False, True)),
    ("github dispatch on a topic", github("workflow_dispatch", "refs/heads/x"), DEFAULT, ("github", "manual", "x", False, False, False)),
    ("github dispatch on a tag", github("workflow_dispatch", "refs/tags/main"), DEFAULT, ("github", "manual", "", False, False, False)),
    ("github merge queue", github("merge_group", "refs/heads/gh-readonly-queue/main/pr-7-x"), DEFAULT, ("github", "merge-queue", "gh-readonly-queue/main/pr-7-x", False, False, False)),
    ("github workflow_run", github("workflow_run"), DEFAULT, ("github", "other", "main", True, False, False)),
    ("github issue_comment", github("issue_comment"), DEFAULT, ("github", "other", "main", True, False, False)),
    ("github repository_dispatch", github("repository_dispatch"), DEFAULT, ("github", "other", "main", True, False, False)),
    ("github release", github("release", "refs/tags/v1"), DEFAULT, ("github", "other", "", False, False, False)),
    ("github event of tomorrow", github("quantum_push"), DEFAULT, ("github", "other", "main", True, False, False)),
    ("github without an event", github(""), DEFAULT, ("github", "other", "main", True, False, False)),
    ("gitlab default branch", gitlab("push", CI_COMMIT_BRANCH="main"), None, ("gitlab", "push", "main", True, False, True)),
    ("gitlab protected", gitlab("push", CI_COMMIT_BRANCH="main", CI_COMMIT_REF_PROTECTED="true"), None, ("gitlab", "push", "main", True, False, True)),
    ("gitlab unprotected", gitlab("push", CI_COMMIT_BRANCH="main", CI_COMMIT_REF_PROTECTED="false"), None, ("gitlab", "push", "main", True, False, False)),
    ("gitlab branch", gitlab("push", CI_COMMIT_BRANCH="topic"), None, ("gitlab", "push", "topic", False, False, False)),
    ("gitlab branch called master", gitlab("push", CI_COMMIT_BRANCH="master"), None, ("gitlab", "push", "master", False, False, False)),
    ("gitlab merge request", merge_request(), None, ("gitlab", "pull-request", "topic", False, False, False)),
    ("gitlab merge request of a fork", merge_request(project="9"), None, ("gitlab", "pull-request", "topic", False, True, False)),
    ("gitlab merge request by hand", merge_request("web", CI_COMMIT_BRANCH="main"), None, ("gitlab", "pull-request", "topic", False, False, False)),
    ("gitlab merge train", merge_request(CI_MERGE_REQUEST_EVENT_TYPE="merge_train"), None, ("gitlab", "merge-queue", "topic", False, False, False)),
    ("gitlab external pull request", gitlab("external_pull_request_event", CI_EXTERNAL_PULL_REQUEST_IID="3", CI_COMMIT_BRANCH="main"), None, ("gitlab", "pull-request", "main", False, True, False)),
    ("gitlab tag", gitlab("push", CI_COMMIT_TAG="v1"), None, ("gitlab", "tag", "", False, False, False)),
    ("gitlab tag called main", gitlab("push", CI_COMMIT_TAG="main", CI_COMMIT_REF_NAME="main"), None, ("gitlab", "tag", "", False, False, False)),
    ("gitlab schedule", gitlab("schedule", CI_COMMIT_BRANCH="main"), None, ("gitlab", "schedule", "main", True, False, True)),
    ("gitlab schedule of a topic", gitlab("schedule", CI_COMMIT_BRANCH="topic"), None, ("gitlab", "schedule", "topic", False, False, False)),
    ("gitlab web", gitlab("web", CI_COMMIT_BRANCH="main"), None, ("gitlab", "manual", "main", True, False, True)),
    ("gitlab trigger", gitlab("trigger", CI_COMMIT_BRANCH="main"), None, ("gitlab", "other", "main", True, False, False)),
    ("gitlab api", gitlab("api", CI_COMMIT_BRANCH="main"), None, ("gitlab", "other", "main", True, False, False)),
    ("gitlab child pipeline", gitlab("parent_pipeline", CI_COMMIT_BRANCH="main"), None, ("gitlab", "other", "main", True, False, False)),
    ("gitlab-ci-local", {**gitlab("push", CI_COMMIT_BRANCH="main"), "GITLAB_CI": "false"}, None, ("gitlab", "push", "main", True, False, True)),
    ("jenkins main", jenkins(BRANCH_NAME="main"), None, ("jenkins", "push", "main", True, False, True)),
    ("jenkins primary", jenkins(BRANCH_NAME="trunk", BRANCH_IS_PRIMARY="true"), None, ("jenkins", "push", "trunk", True, False, True)),
    ("jenkins branch", jenkins(BRANCH_NAME="topic"), None, ("jenkins", "push", "topic", False, False, False)),
    ("jenkins change", jenkins(BRANCH_NAME="PR-7", CHANGE_ID="7", CHANGE_BRANCH="main", BRANCH_IS_PRIMARY="true"), None, ("jenkins", "pull-request", "main", False, False, False)),
    ("jenkins change of a fork", jenkins(BRANCH_NAME="PR-7", CHANGE_ID="7", CHANGE_FORK="stranger"), None, ("jenkins", "pull-request", "PR-7", False, True, False)),
    ("jenkins tag called main", jenkins(BRANCH_NAME="main", TAG_NAME="main"), None, ("jenkins", "tag", "", False, False, False)),
    ("jenkins, not multibranch", jenkins(GIT_BRANCH="origin/main"), None, ("jenkins", "push", "main", False, False, False)),
    ("another CI", {"CI": "true", "BRANCH_NAME": "main"}, None, ("generic", "other", "", False, False, False)),
    ("CI=false", {"CI": "false"}, None, ("none", "none", "", False, False, False)),
    ("at home", {}, None, ("none", "none", "", False, False, False)),
]  # fmt: skip


@pytest.mark.parametrize(("env", "payload", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_contexts(env: Mapping[str, str], payload: Any, expected: tuple[Any, ...]) -> None:
    found = ci_context.context(env, payload)
    facts = (found.provider, found.event, found.branch, found.is_default_branch, found.from_fork, found.may_push)
    assert facts == expected
    assert bool(found.why_not) != found.may_push


def test_the_rest_of_a_context() -> None:
    found = ci_context.context(github("pull_request", "refs/pull/7/merge", GITHUB_BASE_REF="main"), OWN)
    assert (found.pull_request, found.base, found.sha) == ("7", "main", SHA)
    assert found.run_url == "https://github.com/o/r/actions/runs/42"
    assert found.groups == "github"
    assert ci_context.context(github("push"), {**DEFAULT, "before": "0" * 40}).base == ""
    assert ci_context.context(github("push"), {**DEFAULT, "before": "0f" * 20}).base == "0f" * 20
    assert ci_context.context(github("push", "refs/heads/x"), {**DEFAULT, "before": "--output=x"}).base == ""
    assert ci_context.context(jenkins(BRANCH_NAME="x"), default_branch="x").may_push
    assert not ci_context.context(jenkins(BRANCH_NAME="main"), default_branch="x").may_push


@pytest.mark.parametrize(
    ("policy", "env", "may"),
    [
        ("ci-main", {}, True),
        ("never", {}, False),
        ("always", github("issue_comment"), True),
        ("ci-main", github("issue_comment"), False),
        ("ci-main", jenkins(BRANCH_NAME="main"), True),
        ("never", jenkins(BRANCH_NAME="main"), False),
        ("ci-main", {"CI": "1"}, False),
    ],
)
def test_who_may_push_packs(policy: str, env: Mapping[str, str], may: bool) -> None:
    assert ci_context.allowed(World(env, Path("/"), Path("/")), policy)[0] is may


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"pull_request": []}', '{"repository": "main"}', "{", '{"before": 1}', "[" * 9999]
)
def test_any_description_of_an_event_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "event.json"
    path.write_text(text)
    env = github("pull_request", "refs/pull/7/merge", GITHUB_EVENT_PATH=str(path))
    found = ci_context.read(World(env, tmp_path, tmp_path))
    assert found.from_fork
    assert not found.may_push


def test_the_description_of_the_event_is_read(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"repository": {"default_branch": "trunk"}}))
    for env, may in ((github("push", "refs/heads/trunk"), True), (github("push"), False)):
        world = World({**env, "GITHUB_EVENT_PATH": str(path)}, tmp_path, tmp_path)
        assert ci_context.read(world).may_push is may


NAMES = [
    "GITHUB_ACTIONS",
    "GITHUB_EVENT_NAME",
    "GITHUB_REF",
    "GITHUB_REF_TYPE",
    "CI",
    "GITLAB_CI",
    "CI_PIPELINE_SOURCE",
]
NAMES += [
    "CI_COMMIT_BRANCH",
    "CI_COMMIT_TAG",
    "CI_MERGE_REQUEST_IID",
    "CI_DEFAULT_BRANCH",
    "JENKINS_URL",
    "BRANCH_NAME",
]
NAMES += ["CHANGE_ID", "TAG_NAME", "BRANCH_IS_PRIMARY", "CI_EXTERNAL_PULL_REQUEST_IID"]
WORDS = ["true", "main", "push", "schedule", "web", "branch", "tag", "refs/heads/main", "refs/tags/main", "7", ""]
WORDS += ["pull_request", "pull_request_target", "workflow_run", "issue_comment", "merge_request_event"]


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORDS)))
def test_no_environment_of_a_change_or_a_tag_may_push(env: dict[str, str]) -> None:
    found = ci_context.context(env)
    if found.may_push:
        assert found.is_default_branch
        assert found.event in ("push", "schedule", "manual")
        assert (found.pull_request, found.tag, found.from_fork) == ("", "", False)


def test_a_password_goes_to_its_own_registry_only() -> None:
    env = {"REGISTRY_USER": "u", "REGISTRY_PASSWORD": "p", "REGISTRY_HOST": "ghcr.io"}
    assert ci_context.credentials(env, "ghcr.io") == ("u", "p")
    assert ci_context.credentials(env, "registry.example") is None
