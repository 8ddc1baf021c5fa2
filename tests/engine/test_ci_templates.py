"""The CI templates, run twice by runners on this machine: the second run, on a new engine, starts warm.

GitHub's workflow runs under act, GitLab's pipeline under gitlab-ci-local; the Jenkinsfile's shell steps run in order. A
registry with a password stores packs and base images, like a team's registry. `BT_CI_TREE=large` adds dependencies and
compares the times.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.engine import cache_site
from tests.support import ci_runners, jobs, oci_registry, process, second_engine
from tests.support.ci_runners import Runners
from tests.support.second_engine import SecondEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow]  # `nox -s ci-templates`

LARGE = os.environ.get("BT_CI_TREE") == "large"
KEPT = Path.home() / ".cache/buildkit-tasks-tests"
REPOSITORY = Path(__file__).parents[2]

NUMBER = """\
pub fn number(n: u32) -> String {
    serde_json::json!({ "n": n }).to_string()
}

#[test]
fn speaks() {
    assert_eq!(number(7), r#"{"n":7}"#);
}
"""
MAIN = 'fn main() {\n    println!("NAME {}", common::number(7));\n}\n'
MORE = (
    'axum = "0.7"\ntokio = { version = "1", features = ["full"] }\nregex = "1"\nchrono = "0.4"\n'
    'clap = { version = "4", features = ["derive"] }\n'
    'tracing-subscriber = { version = "0.3", features = ["env-filter"] }\n'
    'uuid = { version = "1", features = ["v4"] }\nserde = { version = "1", features = ["derive"] }\n'
)
PACKAGE = '[package]\nname = "{}"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\n'
OWN = {"api", "common", "worker"}

#: Replaces the upload action. act handles checkout itself.
UPLOAD = """\
name: upload
inputs: {name: {}, path: {}, if-no-files-found: {}, retention-days: {}}
runs:
  using: composite
  steps:
    - shell: bash
      run: mkdir -p "$KEEP/${{ inputs.name }}" && cp -R "${{ inputs.path }}/." "$KEEP/${{ inputs.name }}"
"""


@dataclass
class Team:
    """A repository, its team's registry, and the machine that runs its jobs."""

    root: Path
    engine: SecondEngine
    runners: Runners
    wheels: Path
    bases: Mapping[str, str]
    runs: int = 0
    said: str = field(default="", repr=False)

    def env(self) -> dict[str, str | None]:
        """Return a runner's environment: an engine and an index, without state of earlier runs."""
        home = self.root.parent / f"home-{self.runs}"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return {
            "TMPDIR": str(home / "tmp"),  # the engine has access to this directory, but not to /tmp
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "DOCKER_CONFIG": str(home / "docker"),
            "DOCKER_HOST": self.engine.socket,
            "PIP_FIND_LINKS": str(self.wheels),
            "PATH": f"{home.parent}/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CI": "true",
        }

    def empty_registry(self) -> None:
        """Delete all packs; keep the base images."""
        for tag in (self.engine.place / "registry").rglob("team/cache/_manifests/tags/*"):
            if tag.name.startswith(("deps-", "all-", "cargo-")):
                shutil.rmtree(tag)

    def load(self) -> None:
        """Load the base images into the engine; other projects get them from a public registry."""
        names = [name for name in self.bases.values() if "rust" in name or "debian" in name]
        script = 'docker save "$@" | docker --host "$0" load'
        process.ok(["sh", "-c", script, self.engine.socket, *names], self.root)

    def run(self, provider: str, *, fork: bool = False) -> dict[str, Any]:
        """Run the pipeline of the default branch, or of a fork's pull request, on a new engine; return the reports."""
        self.runs += 1
        self.engine.renew()
        if fork and self.bases:
            self.load()
        play = {"github": self._github, "gitlab": self._gitlab, "jenkins": self._jenkins}[provider]
        done, reports = play(self.env(), fork=fork)
        self.said = done.all
        assert oci_registry.PASSWORD not in done.all
        assert done.code == 0, done.all[-40_000:]
        found = [(path.parent.parent if path.parent.name == "ci-report" else path.parent, path) for path in reports]
        return {folder.name.removeprefix("report-"): json.loads(path.read_text()) for folder, path in found}

    def _github(self, env: dict[str, str | None], *, fork: bool) -> tuple[process.Done, list[Path]]:
        home = Path(str(env["HOME"]))
        stub = home / "upload"
        stub.mkdir()
        (stub / "action.yml").write_text(UPLOAD)
        event: dict[str, Any] = {"repository": {"default_branch": "main", "full_name": "team/shop"}}
        if fork:
            event |= {"number": 7, "pull_request": {"number": 7, "head": {"repo": {"full_name": "x/shop"}}}}
            event["pull_request"]["base"] = {"ref": "main"}
        (home / "event.json").write_text(json.dumps(event))
        secrets = {} if fork else {"REGISTRY_USER": oci_registry.USER, "REGISTRY_PASSWORD": oci_registry.PASSWORD}
        (home / "secrets").write_text("".join(f"{name}='{value}'\n" for name, value in secrets.items()))
        keep = home / "reports"
        keep.mkdir()
        outside = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL")}
        passed = [f"--env={name}={value}" for name, value in {**outside, **env}.items() if value and name != "PATH"]
        workflow = ".github/workflows/buildkit-tasks.yml"
        (upload, *_) = re.findall(r"actions/upload-artifact@\w+", (self.root / workflow).read_text())
        argv = [
            *(self.runners.act, "pull_request" if fork else "push", "-W", workflow, "--eventpath", home / "event.json"),
            *("-P", "ubuntu-24.04=-self-hosted", "--concurrent-jobs", "1", "--secret-file", home / "secrets"),
            *("--local-repository", f"{upload}={stub}", "--action-cache-path", home / "actions"),
            *("--cache-server-addr", "127.0.0.1", "--cache-server-path", home / "act"),
            *(f"--env=KEEP={keep}", *passed),
        ]
        done = process.run(argv, self.root, env, timeout=3000)
        return done, sorted(keep.glob("*/job.json"))

    def _gitlab(self, env: dict[str, str | None], *, fork: bool) -> tuple[process.Done, list[Path]]:
        # adapt it as its comment describes for a runner with an engine; there is also no image to run jobs in
        text = (self.root / ".gitlab-ci.yml").read_text()
        text = re.sub(r"\nvariables:\n(  .*\n)+", "\n", text)
        text = re.sub(r"  image: .*\n  services:\n(    .*\n)+", "", text, count=1)
        (self.root / "ci-here.yml").write_text(text)
        given = {"DOCKER_HOST": self.engine.socket}
        if fork:
            given |= {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7", "CI_PROJECT_ID": "1"}
            given |= {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
        else:
            given |= {"CI_COMMIT_REF_PROTECTED": "true"}
            given |= {"REGISTRY_USER": oci_registry.USER, "REGISTRY_PASSWORD": oci_registry.PASSWORD}
        (self.root / ".gitlab-ci-local-variables.yml").write_text(json.dumps(given))
        out = self.root / ".gitlab-ci-local"
        shutil.rmtree(out, ignore_errors=True)
        argv = [
            *(
                *self.runners.gitlab,
                "--file",
                "ci-here.yml",
                "--force-shell-executor",
                "--shell-isolation",
                "--concurrency",
                "1",
            ),
            *("--ignore-predefined-vars", "CI_PIPELINE_SOURCE,CI_COMMIT_REF_PROTECTED"),
            # gitlab-ci-local also sets CI_COMMIT_BRANCH for merge requests: `push` would start and be refused
            *(("lint", "test", "build", "multiarch") if fork else ()),
        ]
        done = process.run(argv, self.root, env, timeout=3000)
        return done, sorted(out.glob("artifacts/*/ci-report/job.json"))

    def _jenkins(self, env: dict[str, str | None], *, fork: bool) -> tuple[process.Done, list[Path]]:
        home = Path(str(env["HOME"]))
        env |= {
            "JENKINS_URL": "https://ci/",
            "BRANCH_NAME": "PR-7" if fork else "main",
            "WORKSPACE_TMP": str(home / "tmp"),
        }
        if fork:
            env |= {"CHANGE_ID": "7", "CHANGE_FORK": "x"}
        else:  # agents are logged in for reading; only two stages have the credentials
            shutil.copytree(self.root.parent / "login", home / "docker")
        said = ""
        for name, stage in jobs.jenkins((self.root / "Jenkinsfile").read_text()).items():
            if name == "Nightly" or (fork and stage.facts["when"].startswith("allOf")):
                continue
            secret = {"REGISTRY_USER": oci_registry.USER, "REGISTRY_PASSWORD": oci_registry.PASSWORD}
            more = secret if stage.facts["secret"] else {}
            for script in stage.scripts:
                done = process.run(["bash", "-e", "-c", script], self.root, {**env, **more}, timeout=3000)
                said += done.all
                if done.code:
                    return process.Done(done.code, said, ""), []
        return process.Done(0, said, ""), sorted((home / "tmp/report").glob("*/job.json"))


@pytest.fixture(scope="module")
def team(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    runners = ci_runners.installed(KEPT / "ci-runners")
    wheels = tmp_path_factory.mktemp("wheels")
    pip: list[str | Path] = [process.BIN / "python", "-m", "pip", "-q"]
    process.ok([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, REPOSITORY], wheels)
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    binary = oci_registry.program()
    place = tmp_path_factory.mktemp("team")
    with second_engine.running(base, place, binary, password=True) as engine:
        root = place / "shop"
        runners.write_shims(place / "shims")
        write(root, engine.registry, base_images)
        made = Team(root, engine, runners, wheels, base_images)
        if base_images:
            login = place / "login"
            login.mkdir()
            process.ok(
                [
                    "sh",
                    "-c",
                    'printf %s "$3" | docker login --username "$2" --password-stdin "$1"',
                    "sh",
                    engine.registry,
                    oci_registry.USER,
                    oci_registry.PASSWORD,
                ],
                root,
                {"DOCKER_CONFIG": str(login)},
            )
            env = {"DOCKER_CONFIG": str(login), "XDG_STATE_HOME": str(place / "state"), "CI": None}
            process.ok([process.BIN / "buildkit-tasks", "images.push"], root, env)
        yield made


def write(root: Path, registry: str, bases: Mapping[str, str]) -> None:
    """Write a workspace of two services in a git repository, with all three templates."""
    files = {
        "services/Cargo.toml": '[workspace]\nmembers = ["api", "common", "worker"]\nresolver = "2"\n',
        "services/common/Cargo.toml": PACKAGE.format("common") + 'serde_json = "1"\n' + (MORE if LARGE else ""),
        "services/common/src/lib.rs": NUMBER,
        "compose.yaml": json.dumps({"name": "ci-shop", "services": {n: service(n) for n in ("api", "worker")}}),
        ".dockerignore": "*\n!services\n!docker/compile.rs\n!docker/cross.sh\n**/target\n",
        ".gitignore": "target\nci-here.yml\n.gitlab-ci-local-variables.yml\n.gitlab-ci-local\nci-report\n",
        "pyproject.toml": "[tool.buildkit-tasks]\n"
        f'packs.repository = "{registry}/team/cache"\nci.images = "{registry}/team"\nci.platforms = ["amd64"]\n',
    }
    for name in ("api", "worker"):
        files[f"services/{name}/Cargo.toml"] = PACKAGE.format(name) + 'common = { path = "../common" }\n'
        files[f"services/{name}/src/main.rs"] = MAIN.replace("NAME", name)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copytree(REPOSITORY / "docker", root / "docker")
    cache_site.cargo(root / "services", bases, "generate-lockfile")
    for provider in ("github", "gitlab", "jenkins"):
        process.ok([process.BIN / "buildkit-tasks", "ci.init", "--provider", provider, "--yes"], root)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    head = "refs/remotes/origin/main"
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*who, "commit", "-qm", "one"],
        ["remote", "add", "origin", "https://example.org/team/shop.git"],
        ["update-ref", head, "HEAD"],
        ["symbolic-ref", "refs/remotes/origin/HEAD", head],
    ):
        process.ok(["git", *words], root)


def service(name: str) -> dict[str, Any]:
    args = {"BIN": name, "CACHE_SCOPE": "ci-shop"}
    return {"image": f"ci-shop/{name}:dev", "build": {"context": ".", "dockerfile": "docker/Dockerfile", "args": args}}


def seconds(reports: Mapping[str, Any]) -> float:
    """Return the time of all steps, without installing the tasks."""
    return sum(float(step["seconds"]) for report in reports.values() for step in report["steps"])


def stored(team: Team) -> dict[str, bytes]:
    """Return the targets of the registry's tags."""
    links = (team.engine.place / "registry").rglob("current/link")
    return {str(path): path.read_bytes() for path in links}


def compiled(said: str) -> set[str]:
    """Return the crates that cargo compiles or checks in the jobs `lint` and `test`."""
    return set(re.findall(r"(?:Compiling|Checking) (\S+) v", said))


def counted(said: str) -> int:
    """Return the largest number of crates that an image build compiled."""
    return max((int(number) for number in re.findall(r"(\d+) crates? compiled \(", said)), default=0)


@pytest.mark.parametrize("provider", ["github", "gitlab", "jenkins"])
def test_the_second_run_on_a_new_engine_starts_warm(team: Team, provider: str) -> None:
    team.empty_registry()
    first = team.run(provider)
    assert set(first) >= {"lint", "test", "build", "multiarch", "push"}
    assert "there is no pack for this platform and profile" in team.said, team.said
    assert compiled(team.said) > OWN
    assert counted(team.said) > len(OWN)
    second = team.run(provider)
    assert team.said.count("pulled the shared cache in") == 2  # for image builds, and for tests and checks
    assert compiled(team.said) == OWN
    assert counted(team.said) <= len(OWN)  # none if the pack also contains the workspace
    ratio = seconds(second) / seconds(first)
    if LARGE:
        print(f"{provider}: {seconds(first):.0f} s, then {seconds(second):.0f} s ({ratio:.2f})")  # noqa: T201
        assert ratio <= 0.2


@pytest.mark.skipif(LARGE, reason="compiles everything, which shows nothing more than in the small tree")
@pytest.mark.parametrize("provider", ["github", "gitlab", "jenkins"])
def test_a_fork_writes_nothing_and_sees_no_password(team: Team, provider: str) -> None:
    before = stored(team)
    reports = team.run(provider, fork=True)
    assert set(reports) == {"lint", "test", "build", "multiarch"}
    assert "logged in to" not in team.said
    assert stored(team) == before
