"""The pipeline for GitLab. Pure.

https://docs.gitlab.com/ci/yaml/ and https://docs.gitlab.com/ci/docker/using_docker_build/
"""

from __future__ import annotations

import shlex

from .workflow import DEFAULT, NIGHT, REPORT, Job, Workflow

PATH = ".gitlab-ci.yml"

_HEAD = """\
workflow:
  auto_cancel:
    on_new_commit: interruptible
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH

stages: [check, push]

variables:
  # Docker-in-Docker. Remove `services` and these four variables on runners with a persistent engine
  # (shell executor or mounted socket), where caches survive between jobs.
  DOCKER_HOST: tcp://docker:2376
  DOCKER_TLS_CERTDIR: /certs
  DOCKER_TLS_VERIFY: "1"
  DOCKER_CERT_PATH: /certs/client

default:
  image: docker:28-cli
  services:
    - name: docker:28-dind
      alias: docker
{before}

"""

_BEFORE = """\
  before_script:
    - apk add --no-cache git python3
    # Docker-in-Docker shares the checkout directory, but not /tmp.
    - mkdir -p "$PWD.tmp" && export TMPDIR="$PWD.tmp" XDG_STATE_HOME="$PWD.tmp/state"
    - python3 -m venv "$TMPDIR/tasks"
    - export PATH="$TMPDIR/tasks/bin:$PATH"
    - pip install --quiet --disable-pip-version-check {what}
"""

_OWN = """\
  before_script:
    - apk add --no-cache bash git python3
    # Docker-in-Docker shares the checkout directory, but not /tmp.
    - mkdir -p "$PWD.tmp" && export TMPDIR="$PWD.tmp" XDG_STATE_HOME="$PWD.tmp/state"
"""

_RULES = {
    NIGHT: ['if: $CI_PIPELINE_SOURCE == "schedule" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH'],
    DEFAULT: [
        'if: $CI_PIPELINE_SOURCE == "schedule"\n      when: never',
        "if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
    ],
}


def render(flow: Workflow) -> str:
    """Render the pipeline file."""
    before = _BEFORE.format(what=shlex.quote(flow.install)) if flow.install else _OWN
    if flow.install.startswith("-r "):
        before = _BEFORE.format(what=flow.install)
    night = any(job.when == NIGHT for job in flow.jobs)
    return _HEAD.format(before=before.rstrip("\n")) + "\n".join(_job(job, night=night) for job in flow.jobs)


def _job(job: Job, *, night: bool) -> str:
    rules = _RULES.get(job.when, [])
    if not rules and night:
        rules = ['if: $CI_PIPELINE_SOURCE == "schedule"\n      when: never', "when: on_success"]
    lines = [
        f"{job.name}:",
        f"  stage: {'push' if job.writes else 'check'}",
        f"  interruptible: {'false' if job.writes else 'true'}",
        f"  timeout: {job.minutes} minutes",
    ]
    if tag := job.label("arm64" if job.name.endswith("-arm64") else ""):
        lines.append(f"  tags: [{tag}]")
    if job.writes:
        lines.append("  resource_group: push")
    if job.history:
        lines += ["  variables:", '    GIT_DEPTH: "0" # to compare with the base']
    if rules:
        lines += ["  rules:", *(f"    - {rule}" for rule in rules)]
    command = job.command + (f" --report {REPORT}" if job.report else "")
    lines += ["  script:", f"    - {_scalar(command)}"]
    if job.report:
        lines += [
            "  artifacts:",
            "    when: always",
            "    expire_in: 2 weeks",
            f"    paths: [{REPORT}/]",
            "    reports:",
            f"      codequality: {REPORT}/codequality.json",
        ]
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """Quote a YAML scalar if needed."""
    plain = text.replace(" ", "").replace(".", "").replace("-", "").replace("/", "").isalnum()
    return text if plain and text[0].isalnum() else "'" + text.replace("'", "''") + "'"
