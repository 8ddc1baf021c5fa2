"""`invoke ci.*`: the real command line, real git, the recording docker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, log, solve
from tests.support import jobs, process

IDENTITY = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(root: Path, *words: str) -> None:
    env: dict[str, str | None] = {**IDENTITY, "PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = process.run(["git", *words], root, env)
    assert done.code == 0, done.all


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The shop with a workspace of two programs and a shared crate, committed."""
    crates = {"api": "common", "worker": "common", "common": ""}
    (bench.root / "Cargo.toml").write_text('[workspace]\nmembers = ["api", "worker", "common"]\n')
    for name, need in crates.items():
        (bench.root / name / "src").mkdir(parents=True)
        more = f'[dependencies]\n{need} = {{ path = "../{need}" }}\n' if need else ""
        (bench.root / name / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "0.1.0"\n{more}')
        (bench.root / name / "src" / ("main.rs" if need else "lib.rs")).write_text("// source\n")
    (bench.root / ".dockerignore").write_text("*.md\n")
    git(bench.root, "init", "-q", "-b", "main")
    git(bench.root, "add", "-A")
    git(bench.root, "commit", "-qm", "one")
    return bench


def test_the_services_of_a_change(shop: Bench) -> None:
    (shop.root / "api" / "src" / "main.rs").write_text("// edited\n")
    done = shop.invoke("ci.changed")
    assert (done.code, done.out) == (0, "api\n"), done.all
    assert "api: api/src/main.rs (crate api)" in done.err
    (shop.root / "README.md").write_text("ignored")
    git(shop.root, "add", "-A")
    git(shop.root, "commit", "-qm", "two")
    assert shop.invoke("ci.changed").out == ""  # main, compared with itself
    assert shop.invoke("ci.changed", "--base", "HEAD^").out == "api\n"
    (shop.root / "common" / "new.rs").write_text("// new\n")
    done = shop.invoke("ci.changed", "--json")
    found = json.loads(done.out)["changed"]
    assert (found["services"], found["all"]) == (["api", "worker"], True)
    assert found["reasons"]["api"] == ["common/new.rs (crate common)"]
    assert all(c["argv"][0] in ("compose", "info", "context") for c in shop.calls), shop.calls


def test_a_pull_request_is_compared_with_its_branch(shop: Bench) -> None:
    git(shop.root, "switch", "-qc", "topic")
    (shop.root / "worker" / "src" / "main.rs").write_text("// edited\n")
    git(shop.root, "commit", "-qam", "two")
    shop.env |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_BASE_REF": "main"}
    assert shop.invoke("ci.changed").out == "worker\n"


@pytest.mark.parametrize("base", ["nowhere", "--output=x"])
def test_a_base_that_is_not_there(shop: Bench, base: str) -> None:
    done = shop.invoke("ci.changed", f"--base={base}")
    assert done.code in (33, 91), done.all
    assert not (shop.root / "x").exists()


def test_outside_of_git(bench: Bench) -> None:
    done = bench.invoke("ci.changed")
    assert done.code == 91, done.all
    assert "error[base-missing]" in done.err


def test_the_context(bench: Bench) -> None:
    assert "provider           none" in bench.invoke("ci.context").out
    bench.env |= {"JENKINS_URL": "https://ci/", "BRANCH_NAME": "main", "CI": "true"}
    found = json.loads(bench.invoke("ci.context", "--json").out)["context"]
    assert (found["provider"], found["may_push"]) == ("jenkins", True)
    bench.env |= {"CHANGE_ID": "7", "CHANGE_FORK": "stranger"}
    found = json.loads(bench.invoke("ci.context", "--json").out)["context"]
    assert (found["pull_request"], found["from_fork"], found["may_push"]) == ("7", True, False)


def test_who_may_push_a_pack(bench: Bench) -> None:
    bench.env |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "issue_comment"}
    bench.env |= {"GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main"}
    done = bench.invoke("cache.push", "--ref", "127.0.0.1:1/x")
    assert done.code == 44, done.all
    assert "runs for the event issue_comment may not push" in done.err


FAILED = {
    "digest": "sha256:run",
    "name": "[api compile 2/2] RUN cargo build",
    "started": "2026-01-01T00:00:00Z",
    "completed": "2026-01-01T00:00:01Z",
    "error": 'process "/bin/sh" did not complete successfully: exit code: 101',
}
WORDS = "error[E0425]: cannot find value `x` in this scope\n --> api/src/main.rs:1:4\n::add-mask::hello\n"


def failing(bench: Bench) -> None:
    """Make the code fail to compile from now on."""
    spoken = solve(log("sha256:run", WORDS), {"vertexes": [FAILED]}) + "ERROR: failed to solve\n"
    bench.reply("buildx bake", stderr=spoken, code=1)


def github(bench: Bench, event: str = "push", ref: str = "refs/heads/main", **payload: object) -> Path:
    """Pretend to run in GitHub from now on; return the path of the summary."""
    summary, described = bench.place / "summary.md", bench.place / "event.json"
    described.write_text(json.dumps({"repository": {"default_branch": "main"}, **payload}))
    bench.env |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_REF": ref}
    bench.env |= {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_EVENT_PATH": str(described), "GITHUB_REPOSITORY": "o/r"}
    return summary


def test_a_job_builds_and_reports(shop: Bench) -> None:
    summary = github(shop)
    done = shop.invoke("ci.build", "--report", "out/ci")
    assert done.code == 0, done.all
    lines = done.err.splitlines()
    assert (
        lines.index("::group::Build")
        < lines.index("$ invoke build --yes --no-incremental")
        < lines.index("::endgroup::")
    )
    fence = next(line.removeprefix("::stop-commands::") for line in lines if line.startswith("::stop-commands::"))
    assert f"::{fence}::" in lines
    assert "| Build | passed |" in summary.read_text()
    found = json.loads((shop.root / "out" / "ci" / "job.json").read_text())
    assert (found["passed"], found["steps"][0]["code"]) == (True, 0)
    assert json.loads((shop.root / "out" / "ci" / "codequality.json").read_text()) == []


def test_a_compile_error_is_annotated(shop: Bench) -> None:
    failing(shop)
    summary = github(shop)
    done = shop.invoke("ci.build", "--report", "out")
    assert done.code == 93, done.all
    lines = done.err.splitlines()
    fence = next(n for n, line in enumerate(lines) if line.startswith("::stop-commands::"))
    end = lines.index(f"::{lines[fence].removeprefix('::stop-commands::')}::")
    assert fence < lines.index("::add-mask::hello") < end  # commands in the output of a build are ignored
    annotation = "::error file=api/src/main.rs,line=1,col=4,title=rustc::cannot find value `x` in this scope"
    assert lines.index(annotation) > end
    assert "error[ci-failed]: Build failed: `invoke build --yes --no-incremental` exited with code 20." in lines
    assert "`api/src/main.rs:1`" in summary.read_text()
    assert json.loads((shop.root / "out" / "codequality.json").read_text())[0]["location"]["path"] == "api/src/main.rs"


@pytest.mark.parametrize("kind", ["fifo", "folder", "zero"])
def test_a_summary_that_is_no_file_is_a_warning(shop: Bench, kind: str) -> None:
    summary = github(shop)
    if kind == "fifo":
        os.mkfifo(summary)
    elif kind == "folder":
        summary.mkdir()
    else:
        shop.env["GITHUB_STEP_SUMMARY"] = "/dev/zero"
    done = shop.invoke("ci.build")
    assert done.code == 0, done.all
    assert "cannot write the summary" in done.err


def test_only_what_changed_is_built(shop: Bench) -> None:
    (shop.root / "api" / "src" / "main.rs").write_text("// edited\n")
    done = shop.invoke("ci.build", "--changed")
    assert done.code == 0, done.all
    assert "$ invoke build --yes --no-incremental --service api" in done.err
    git(shop.root, "commit", "-qam", "two")
    done = shop.invoke("ci.build", "--changed")
    assert "the change does not affect any service" in done.err


def test_findings_in_dockerfiles_are_annotated(bench: Bench) -> None:
    github(bench)
    done = bench.invoke("ci.lint")
    assert done.code == 93, done.all
    assert "::error file=docker/Dockerfile,line=10,title=BT003::The target mount /target is shared" in done.err
    (bench.root / "docker" / "Dockerfile").write_text("FROM scratch\n")
    if "cargo.fmt" not in bench.invoke("--list").out:
        assert bench.invoke("ci.lint").code == 0


def test_a_job_that_checks_nothing_does_not_pass(bench: Bench) -> None:
    if "cargo.test" not in bench.invoke("--list").out:
        done = bench.invoke("ci.test")
        assert done.code == 94, done.all
        assert "invoke cargo.test: this version of buildkit-tasks has no task cargo.test" in done.err


PUSHES = {"BUILDKIT_TASKS_CI_IMAGES": "r.example/shop", "BUILDKIT_TASKS_CI_PLATFORMS": "amd64"}
LOGIN = {"REGISTRY_USER": "me", "REGISTRY_PASSWORD": "hunter2hunter2"}


def test_the_default_branch_logs_in_and_pushes_and_nobody_sees_the_password(shop: Bench) -> None:
    summary = github(shop)
    shop.env |= {**PUSHES, **LOGIN}
    shop.reply("login", stdout="Login Succeeded\n")
    config = shop.place / "home" / ".docker"
    config.mkdir()
    (config / "config.json").write_text('{"credsStore": "keychain"}')
    done = shop.invoke("ci.push", "--report", "out")
    login = shop.call("login")
    assert login["argv"] == ["login", "--username", "me", "--password-stdin", "r.example"]
    assert "$ invoke build --yes --platform amd64 --push r.example/shop" in done.err
    assert any("bake" in call["argv"] for call in shop.calls), done.all
    reports = "".join(p.read_text() for p in (shop.root / "out").iterdir())
    assert "hunter2" not in done.all + summary.read_text() + reports
    assert json.loads((config / "config.json").read_text()) == {"credsStore": "keychain"}


@pytest.mark.parametrize(
    ("event", "ref", "payload"),
    [
        ("push", "refs/heads/topic", {}),
        ("push", "refs/tags/main", {}),
        ("pull_request", "refs/pull/7/merge", {"pull_request": {"head": {"repo": {"full_name": "x/r"}}}}),
        ("workflow_run", "refs/heads/main", {}),
    ],
)
def test_other_runs_write_nothing(shop: Bench, event: str, ref: str, payload: dict[str, object]) -> None:
    github(shop, event, ref, **payload)
    shop.env |= {**PUSHES, **LOGIN, "BUILDKIT_TASKS_PACKS_REPOSITORY": "r.example/cache"}
    for job in ("ci.push", "ci.nightly"):
        done = shop.invoke(job)
        assert done.code == 44, done.all
    assert shop.calls == []


def test_a_fork_gets_no_password(shop: Bench) -> None:
    github(shop, "pull_request", "refs/pull/7/merge", pull_request={"head": {"repo": {"full_name": "x/r"}}})
    shop.env |= {**PUSHES, **LOGIN}
    assert shop.invoke("ci.build").code == 0
    assert not any("login" in call["argv"] for call in shop.calls)


def test_a_refused_login_ends_the_job(shop: Bench) -> None:
    github(shop)
    shop.env |= {**PUSHES, **LOGIN}
    shop.reply("login", code=1, stderr="unauthorized: hunter2hunter2 is wrong\n")
    done = shop.invoke("ci.build")
    assert done.code == 41, done.all
    assert "hunter2" not in done.all


# ---- ci.init


@pytest.mark.parametrize("provider", ["github", "gitlab", "jenkins"])
def test_init_shows_asks_writes_and_does_nothing_twice(shop: Bench, provider: str) -> None:
    shop.env["BUILDKIT_TASKS_PACKS_REPOSITORY"] = "r.example/cache"
    path = shop.root / {"github": ".github/workflows/buildkit-tasks.yml", "gitlab": ".gitlab-ci.yml"}.get(
        provider, "Jenkinsfile"
    )
    words = ("ci.init", "--provider", provider)
    done = shop.invoke(*words, "--dry-run")
    assert done.code == 0, done.all
    assert "invoke ci.build" in done.out
    assert not path.exists()
    assert shop.invoke(*words).code == 18  # there is no terminal to ask
    assert not path.exists()
    assert shop.invoke(*words, "--yes").code == 0
    first = path.read_text()
    done = shop.invoke(*words, "--yes")
    assert (done.code, done.out) == (0, ""), done.all
    assert "is up to date" in done.err
    shop.env["BUILDKIT_TASKS_CI_INSTALL"] = "buildkit-tasks==9.9.9"
    done = shop.invoke(*words, "--yes", "--json")
    assert json.loads(done.out)["ci"]["written"], done.all
    assert path.read_text() != first
    edited = path.read_text() + "\n"
    path.write_text(edited)
    del shop.env["BUILDKIT_TASKS_CI_INSTALL"]
    done = shop.invoke(*words, "--yes")
    assert done.code == 92, done.all
    assert path.read_text() == edited
    assert shop.invoke(*words, "--yes", "--file", "ci/other.yml").code == 0
    assert path.read_text() == edited
    assert shop.calls == []


@pytest.mark.parametrize("place", ["/etc/x", "../x", ".git/hooks/x", "."])
def test_init_stays_inside(shop: Bench, place: str) -> None:
    done = shop.invoke("ci.init", "--provider", "gitlab", "--yes", "--file", place)
    assert done.code == 33, done.all


def test_init_does_not_follow_a_link(shop: Bench) -> None:
    target = shop.place / "elsewhere"
    target.write_text("mine")
    (shop.root / "Jenkinsfile").symlink_to(target)
    assert shop.invoke("ci.init", "--provider", "jenkins", "--yes").code == 92
    assert target.read_text() == "mine"
    assert shop.invoke("ci.init", "--provider", "travis").code == 33


# ---- running the templates


SYSTEMS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "github": (".github/workflows/buildkit-tasks.yml", {}, {"build": "build", "lint": "lint", "push": "push"}),
    "gitlab": (
        ".gitlab-ci.yml",
        {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main", "GITLAB_CI": "true"},
        {"build": "build", "lint": "lint", "push": "push"},
    ),
    "jenkins": (
        "Jenkinsfile",
        {"JENKINS_URL": "https://ci/", "BRANCH_NAME": "main"},
        {"build": "Build", "lint": "Lint", "push": "Push"},
    ),
}


class Played:
    """A checkout with a rendered template, whose jobs are started as the CI system would start them."""

    def __init__(self, shop: Bench, provider: str) -> None:
        path, env, self.names = SYSTEMS[provider]
        self.shop, self.provider = shop, provider
        shop.env |= PUSHES
        assert shop.invoke("ci.init", "--provider", provider, "--yes").code == 0
        self.text = (shop.root / path).read_text()
        shims = jobs.shims(shop.place / "shims", process.BIN)
        if provider == "github":
            github(shop)
        for name in ("temp", "workspace-temp"):
            (shop.place / name).mkdir()
        (shop.root / "docker" / "Dockerfile").write_text("FROM scratch\n")
        shop.reply("login", stdout="Login Succeeded\n")
        self.env = {
            "CI": "true",
            "RUNNER_TEMP": str(shop.place / "temp"),
            "GITHUB_PATH": str(shop.place / "path"),
            "WORKSPACE_TMP": str(shop.place / "workspace-temp"),
            "PIP_LOG": str(shop.place / "pip.log"),
            **env,
        }
        self.path = f"{shop.place}/bin:{shims}:/usr/bin:/bin"

    def play(self, job: str, **secrets: str) -> process.Done:
        """Run the scripts of one job, one shell each, until one fails."""
        read = {"github": jobs.github, "gitlab": jobs.gitlab, "jenkins": jobs.jenkins}[self.provider]
        found = read(self.text)
        scripts = found[self.names[job]].scripts
        if self.provider == "jenkins":
            scripts = (*found["Set up"].scripts, *scripts)
        path = self.path
        for script in scripts:
            env: dict[str, str | None] = {**self.shop.environment(), **self.env, **secrets, "PATH": path}
            done = process.run(["bash", "-e", "-c", script], self.shop.root, env, timeout=120)
            if done.code:
                break
            added = self.shop.place / "path"
            path = ":".join([*added.read_text().split(), self.path]) if added.exists() else self.path
        return done


@pytest.mark.parametrize("provider", SYSTEMS)
def test_the_jobs_of_a_template_run(shop: Bench, provider: str) -> None:
    played = Played(shop, provider)
    done = played.play("build")
    assert done.code == 0, done.all
    assert "buildkit-tasks==" in (shop.place / "pip.log").read_text()
    assert sum("bake" in call["argv"] for call in shop.calls) == 1
    assert not any("login" in call["argv"] for call in shop.calls)
    done = played.play("push", **LOGIN)
    assert done.code == 0, done.all
    assert sum("login" in call["argv"] for call in shop.calls) == 1
    assert "hunter2" not in done.all


@pytest.mark.parametrize("provider", SYSTEMS)
def test_a_failing_build_fails_the_job_and_leaves_its_report(shop: Bench, provider: str) -> None:
    played = Played(shop, provider)
    failing(shop)
    done = played.play("build")
    assert done.code == 93, done.all
    place = shop.place / "workspace-temp" / "report" / "build" if provider == "jenkins" else shop.root / "ci-report"
    assert json.loads((place / "job.json").read_text())["passed"] is False


@pytest.mark.parametrize("provider", SYSTEMS)
def test_a_fork_writes_nothing_and_uses_no_password(shop: Bench, provider: str) -> None:
    played = Played(shop, provider)
    if provider == "github":
        github(shop, "pull_request", "refs/pull/7/merge", pull_request={"head": {"repo": {"full_name": "x/r"}}})
    else:
        played.env |= {"CHANGE_ID": "7", "CHANGE_FORK": "x", "CI_MERGE_REQUEST_IID": "7", "CI_PROJECT_ID": "1"}
        played.env |= {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2", "CI_PIPELINE_SOURCE": "merge_request_event"}
        if provider == "jenkins":
            played.env = {name: value for name, value in played.env.items() if not name.startswith("CI_")}
    done = played.play("build", **LOGIN)  # even if the CI system provides one
    assert done.code == 0, done.all
    done = played.play("push", **LOGIN)
    assert done.code == 44, done.all
    assert not any({"login", "push"} & set(call["argv"]) for call in shop.calls)
