"""Identify the CI system and the event, and decide whether the run may push. The only provider-specific code.

GitHub: https://docs.github.com/en/actions/reference/workflows-and-actions/variables
GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
Jenkins: https://www.jenkins.io/doc/book/pipeline/multibranch/ and GLOBAL-VARIABLES in its pipeline syntax pages
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.buildlog import remarks
from buildkit_tasks.core import readfile, shapes
from buildkit_tasks.core.world import World

#: Maximum size of an event file in bytes. GitHub sends up to 25 MB, but parsed JSON takes up to thirty times as much.
#: Without the event, a pull request counts as one from a fork, and only main or master as the default branch.
_LARGEST_EVENT = 5 * 1024 * 1024

#: For each provider and its event name: our name, and whether the event may push. Unlisted events may not:
#: `workflow_run`, `issue_comment` and `pull_request_target` run on the default branch on behalf of untrusted code.
EVENTS: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "github": {
        "push": ("push", True),
        "schedule": ("schedule", True),
        "workflow_dispatch": ("manual", True),
        "pull_request": ("pull-request", False),
        "merge_group": ("merge-queue", False),
    },
    "gitlab": {
        "push": ("push", True),
        "schedule": ("schedule", True),
        "web": ("manual", True),
        "merge_request_event": ("pull-request", False),
        "external_pull_request_event": ("pull-request", False),
    },
    "jenkins": {"branch": ("push", True), "change": ("pull-request", False)},
}

#: Default branches to assume if the provider does not report one.
_USUAL = ("main", "master")


@dataclass(frozen=True)
class Context:
    """One CI run. `raw_event`: the provider's name for the event; `base`: the branch or commit to compare with.

    `why_not`: why the run may not push. `groups`: the provider of the log folding syntax, or empty.
    """

    provider: str = "none"
    event: str = "none"
    raw_event: str = ""
    branch: str = ""
    tag: str = ""
    sha: str = ""
    base: str = ""
    is_default_branch: bool = False
    pull_request: str = ""
    from_fork: bool = False
    may_push: bool = False
    why_not: str = "this is not a CI run"
    run_url: str = ""
    groups: str = ""

    @property
    def trusted(self) -> bool:
        """Whether the job may use passwords. False for forks and unknown events."""
        return not self.from_fork and self.event != "other"


#: The job's variables with the user, password and host of a registry.
USER, PASSWORD, HOST = "REGISTRY_USER", "REGISTRY_PASSWORD", "REGISTRY_HOST"
#: Variables with passwords. Programs that a job starts do not receive them.
SECRETS = (PASSWORD, "CI_REGISTRY_PASSWORD", "CI_JOB_TOKEN", "GITHUB_TOKEN")


def credentials(env: Mapping[str, str], host: str) -> tuple[str, str] | None:
    """Return the login for a registry: REGISTRY_USER and REGISTRY_PASSWORD, or GitLab's login for its own registry.

    The two variables apply to REGISTRY_HOST, if set.
    """
    if env.get(USER) and env.get(PASSWORD) and (env.get(HOST) or host) == host:
        return env[USER], env[PASSWORD]
    if env.get("CI_REGISTRY") == host and env.get("CI_REGISTRY_USER") and env.get("CI_REGISTRY_PASSWORD"):
        return env["CI_REGISTRY_USER"], env["CI_REGISTRY_PASSWORD"]
    return None


def group(context: Context, title: str, at: float, *, end: bool = False) -> str:
    """Return the line that starts or ends a foldable log section. `at`: seconds since the epoch."""
    title = remarks.clean(title)
    if context.groups == "github":
        return "::endgroup::" if end else f"::group::{title}"
    if context.groups == "gitlab":
        name = re.sub(r"[^a-z0-9]+", "_", title.lower())
        word, more = ("end", "") if end else ("start", title)
        return f"\x1b[0Ksection_{word}:{at:.0f}:{name}\r\x1b[0K{more}"
    return "" if end else f"--- {title}"


def fenced(context: Context, token: str) -> tuple[str, str]:
    """Return the lines around a program's output that keep the CI system from interpreting it as commands."""
    return (f"::stop-commands::{token}", f"::{token}::") if context.groups == "github" else ("", "")


def read(world: World, default_branch: str = "") -> Context:
    """Identify the current run. On GitHub, this reads the event's JSON file."""
    payload: Any = {}
    path = world.env.get("GITHUB_EVENT_PATH", "")
    if path and _is_github(world.env):
        try:
            if Path(path).is_file() and Path(path).stat().st_size <= _LARGEST_EVENT:
                payload = shapes.loads(readfile.content(Path(path)), dict)
        except (OSError, ValueError, RecursionError):
            payload = {}
    return context(world.env, payload, default_branch)


def context(env: Mapping[str, str], payload: Any = None, default_branch: str = "") -> Context:
    """Identify the run from its environment. `default_branch`: for providers that do not report it."""
    if _is_github(env):
        return _github(env, payload, default_branch)
    if env.get("GITLAB_CI") == "true" or env.get("CI_PIPELINE_SOURCE"):
        return _gitlab(env, default_branch)
    if env.get("JENKINS_URL"):
        return _jenkins(env, default_branch)
    if World(env, Path("/"), Path("/")).ci:
        return Context("generic", "other", why_not="unknown CI system")
    return Context()


def allowed(world: World, policy: str, default_branch: str = "") -> tuple[bool, str]:
    """Return whether packs.push allows this run to push and, if not, why. Outside CI, everyone may push."""
    if policy == "always":
        return True, ""
    if policy == "never":
        return False, "the packs.push setting is `never`"
    found = read(world, default_branch)
    return found.may_push or found.provider == "none", "" if found.provider == "none" else found.why_not


def _is_github(env: Mapping[str, str]) -> bool:
    return env.get("GITHUB_ACTIONS") == "true"


def _decided(provider: str, raw: str, *, refusal: str = "", usual: str = "other", **facts: Any) -> Context:
    """Look up the event in `EVENTS`. `refusal`: the caller's reason why the run may not push."""
    event, may = EVENTS[provider].get(raw, (usual, False))
    if facts.get("tag") and event == "push":
        event = "tag"
    why = refusal
    if event == "pull-request":
        why = "this is a pull request, and its code is not trusted"
    elif facts.get("tag"):
        why = "this is a tag; only the default branch may push"
    elif not may:
        why = f"runs for the event {raw or '(none)'} may not push"
    elif not why and not facts.get("is_default_branch"):
        branch = facts.get("branch") or "an unknown branch"
        why = f"only the default branch may push, but this is {branch}"
    return Context(provider, event, raw, may_push=not why, why_not=why, **facts)


def _github(env: Mapping[str, str], payload: Any, default_branch: str) -> Context:
    raw, ref = env.get("GITHUB_EVENT_NAME", ""), env.get("GITHUB_REF", "")
    repository = env.get("GITHUB_REPOSITORY", "")
    change = _table(payload, "pull_request")
    kind = env.get("GITHUB_REF_TYPE", "")
    branch = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") and kind in ("", "branch") else ""
    tag = ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else ""
    number = re.fullmatch(r"refs/pull/(\d+)/\w+", ref)
    default = _text(_table(payload, "repository"), "default_branch") or default_branch
    fork = raw.startswith("pull_request") and _text(_table(_table(change, "head"), "repo"), "full_name") != repository
    server, run = env.get("GITHUB_SERVER_URL", ""), env.get("GITHUB_RUN_ID", "")
    base = env.get("GITHUB_BASE_REF", "")
    if raw == "push":
        base = _commit(_text(payload, "before"))
    elif raw == "merge_group":
        base = _text(_table(payload, "merge_group"), "base_sha")
    return _decided(
        "github",
        raw,
        branch=env.get("GITHUB_HEAD_REF") or branch,
        tag=tag,
        sha=env.get("GITHUB_SHA", ""),
        base=base,
        is_default_branch=_is_default(branch, default),
        pull_request=number[1] if number else "",
        from_fork=fork,
        run_url=f"{server}/{repository}/actions/runs/{run}" if server and run else "",
        groups="github",
    )


def _gitlab(env: Mapping[str, str], default_branch: str) -> Context:
    raw = env.get("CI_PIPELINE_SOURCE", "")
    number = env.get("CI_MERGE_REQUEST_IID", "") or env.get("CI_EXTERNAL_PULL_REQUEST_IID", "")
    if number:  # this is a merge request, regardless of the source's name
        raw = raw if EVENTS["gitlab"].get(raw, ("", False))[0] == "pull-request" else "merge_request_event"
    source = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "")
    target = env.get("CI_MERGE_REQUEST_PROJECT_ID") or env.get("CI_PROJECT_ID", "")
    external = raw == "external_pull_request_event"
    ours = env.get("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY", "")
    theirs = env.get("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY", "")
    branch, tag = env.get("CI_COMMIT_BRANCH", ""), env.get("CI_COMMIT_TAG", "")
    refusal = ""
    if env.get("CI_COMMIT_REF_PROTECTED") == "false" and not number:
        refusal = f"the branch {branch} is not protected"
    found = _decided(
        "gitlab",
        raw,
        refusal=refusal,
        branch=env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or branch,
        tag=tag,
        sha=env.get("CI_COMMIT_SHA", ""),
        base=env.get("CI_MERGE_REQUEST_DIFF_BASE_SHA") or _commit(env.get("CI_COMMIT_BEFORE_SHA", "")),
        is_default_branch=not number
        and not tag
        and _is_default(branch, env.get("CI_DEFAULT_BRANCH") or default_branch),
        pull_request=number,
        from_fork=bool(number) and ((not ours or ours != theirs) if external else (not source or source != target)),
        run_url=env.get("CI_PIPELINE_URL", ""),
        groups="gitlab",
    )
    if env.get("CI_MERGE_REQUEST_EVENT_TYPE") == "merge_train" and number:
        return Context(**{**vars(found), "event": "merge-queue"})
    return found


def _jenkins(env: Mapping[str, str], default_branch: str) -> Context:
    change = env.get("CHANGE_ID", "")
    tag = env.get("TAG_NAME", "")
    branch = env.get("CHANGE_BRANCH") or ("" if tag else env.get("BRANCH_NAME", ""))
    primary = env.get("BRANCH_IS_PRIMARY") == "true" or _is_default(branch, default_branch)
    refusal = ""
    if not change and not tag and not branch:
        branch = env.get("GIT_BRANCH", "").removeprefix("origin/")
        refusal = "this is not a multibranch job, so it may run for a pull request"
    return _decided(
        "jenkins",
        "change" if change else "branch",
        refusal=refusal,
        branch=branch,
        tag=tag,
        sha=env.get("GIT_COMMIT", ""),
        base=env.get("CHANGE_TARGET", "") or env.get("GIT_PREVIOUS_SUCCESSFUL_COMMIT", ""),
        is_default_branch=not change and not tag and not refusal and primary,
        pull_request=change,
        from_fork=bool(change and env.get("CHANGE_FORK")),
        run_url=env.get("BUILD_URL", ""),
    )


def _commit(text: str) -> str:
    """Return a full commit id, or empty, because providers send zeros for a missing commit."""
    return text if re.fullmatch(r"[0-9a-f]{40}", text) and text.strip("0") else ""


def _is_default(branch: str, default: str) -> bool:
    return bool(branch) and branch in ((default,) if default else _USUAL)


def _table(value: Any, key: str) -> Any:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""
