"""The workflow for GitHub Actions. Pure.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

from __future__ import annotations

from .workflow import CHANGE, DEFAULT, NIGHT, REPORT, Job, Workflow

PATH = ".github/workflows/buildkit-tasks.yml"

#: Actions pinned to the commit of a release tag.
CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
UPLOAD = "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0"

#: Pull requests from forks receive no password.
_OWN = "github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository"

_HEAD = """\
name: buildkit-tasks
on:
  push:
    branches: [{branch}]
  pull_request:
  merge_group:
  workflow_dispatch:
{schedule}
permissions: {{}}

# A new commit cancels older runs of its pull request. Runs on the default branch always finish.
concurrency:
  group: ${{{{ github.workflow }}}}-${{{{ github.event_name }}}}-${{{{ github.ref }}}}
  cancel-in-progress: ${{{{ github.event_name == 'pull_request' }}}}

jobs:
"""

_SCHEDULE = """\
  schedule:
    - cron: "23 2 * * *"
"""

_INSTALL = """\
      - name: Install the tasks
        run: |
          python3 -m venv "$RUNNER_TEMP/tasks"
          "$RUNNER_TEMP/tasks/bin/pip" install --quiet --disable-pip-version-check {what}
          echo "$RUNNER_TEMP/tasks/bin" >> "$GITHUB_PATH"
"""

_KEEP = """\
      - name: Upload the report
        if: ${{{{ !cancelled() }}}}
        uses: {action}
        with:
          name: report-{name}
          path: {report}
          if-no-files-found: ignore
          retention-days: 14
"""


def render(flow: Workflow) -> str:
    """Render the workflow file."""
    schedule = _SCHEDULE if any(job.when == NIGHT for job in flow.jobs) else ""
    head = _HEAD.format(branch=flow.default_branch, schedule=schedule)
    return head + "\n".join(_job(flow, job) for job in flow.jobs)


def _job(flow: Workflow, job: Job) -> str:
    packages = flow.host == "ghcr.io" and job.report
    lines = [f"  {job.name}:", f"    name: {_scalar(job.title)}", *_condition(flow, job)]
    if job.needs:
        lines.append(f"    needs: [{', '.join(job.needs)}]")
    lines += [
        f"    runs-on: {job.runner}",
        f"    timeout-minutes: {job.minutes}",
        "    permissions:",
        "      contents: read # checkout",
    ]
    if packages:
        lines.append(
            "      packages: write # push images and packs" if job.writes else "      packages: read # pull packs"
        )
    lines += [
        "    steps:",
        "      - name: Check out",
        f"        uses: {CHECKOUT}",
        "        with:",
        *(["          fetch-depth: 0 # to compare with the base"] if job.history else []),
        "          persist-credentials: false",
    ]
    text = "\n".join(lines) + "\n"
    if flow.install:
        text += _INSTALL.format(what=_quoted(flow.install))
    text += f"      - name: {_scalar(job.title)}\n"
    if flow.host and job.report:
        text += _environment(flow.host, job)
    text += f"        run: |\n          {job.command}{f' --report {REPORT}' if job.report else ''}\n"
    return text + (_KEEP.format(action=UPLOAD, name=job.name, report=REPORT) if job.report else "")


def _condition(flow: Workflow, job: Job) -> list[str]:
    branch = f"github.ref == 'refs/heads/{flow.default_branch}'"
    if job.when == NIGHT:
        return [f"    if: github.event_name == 'schedule' && {branch}"]
    if job.when == DEFAULT:
        return [f"    if: (github.event_name == 'push' || github.event_name == 'workflow_dispatch') && {branch}"]
    return ["    if: github.event_name != 'schedule'"] if any(j.when == NIGHT for j in flow.jobs) else []


def _environment(host: str, job: Job) -> str:
    user, password = "github.actor", "secrets.GITHUB_TOKEN"
    if host != "ghcr.io":
        user, password = "secrets.REGISTRY_USER", "secrets.REGISTRY_PASSWORD"
    given = f"({_OWN}) && {password} || ''" if job.when == CHANGE else password
    return (
        f"        env:\n          REGISTRY_HOST: {host}\n"
        f"          REGISTRY_USER: ${{{{ {user} }}}}\n          REGISTRY_PASSWORD: ${{{{ {given} }}}}\n"
    )


def _quoted(requirement: str) -> str:
    """Quote a requirement for the shell; `-r FILE` is two words."""
    return requirement if requirement.startswith("-r ") else f"'{requirement}'"


def _scalar(text: str) -> str:
    """Quote a YAML scalar if needed."""
    plain = text.replace(" ", "").replace("(", "").replace(")", "").isalnum()
    return text if plain else "'" + text.replace("'", "''") + "'"
