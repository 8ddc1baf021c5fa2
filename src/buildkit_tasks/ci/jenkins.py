"""The declarative pipeline for Jenkins multibranch jobs. Pure.

https://www.jenkins.io/doc/book/pipeline/syntax/
"""

from __future__ import annotations

from .workflow import DEFAULT, NIGHT, REPORT, Job, Workflow

PATH = "Jenkinsfile"

_HEAD = """\
// Requires agents with the label `{label}` (with an engine, git and python3){more}.
pipeline {{
  agent {{ label '{label}' }}
  options {{
    timeout(time: 180, unit: 'MINUTES')
    disableConcurrentBuilds()
    buildDiscarder(logRotator(numToKeepStr: '30'))
  }}
{triggers}  stages {{
"""

_SETUP = """\
sh '''
  rm -rf "$WORKSPACE_TMP/report" "$WORKSPACE_TMP/tasks"
  python3 -m venv "$WORKSPACE_TMP/tasks"
  "$WORKSPACE_TMP/tasks/bin/pip" install --quiet --disable-pip-version-check {what}
'''"""

_POST = """\
always {
  // Stages write reports outside the workspace, to keep them out of the build context.
  sh 'rm -rf REPORT && mkdir -p "$WORKSPACE_TMP/report" && cp -R "$WORKSPACE_TMP/report" REPORT'
  archiveArtifacts artifacts: 'REPORT/**', allowEmptyArchive: true
}
cleanup {
  sh 'rm -rf REPORT "$WORKSPACE_TMP/tasks" "$WORKSPACE_TMP/report"'
}""".replace("REPORT", REPORT)


def render(flow: Workflow) -> str:
    """Render the Jenkinsfile."""
    more = " and a multibranch job"
    if flow.host:
        more = ", a multibranch job,\n// and credentials named `registry` (user and password)"
    night = any(job.when == NIGHT for job in flow.jobs)
    triggers = (
        f"  triggers {{ cron(env.BRANCH_NAME == '{flow.default_branch}' ? 'H 2 * * *' : '') }}\n" if night else ""
    )
    text = _HEAD.format(label=flow.jobs[0].label("docker"), more=more, triggers=triggers)
    if flow.install:
        text += _indented(["stage('Set up') {", "  steps {", *(f"    {line}" for line in _setup(flow)), "  }", "}"], 4)
    tail = "  }\n  post {\n" + _indented(_POST.splitlines(), 4) + "  }\n}\n"
    return text + "".join(_stage(flow, job, night=night) for job in flow.jobs) + tail


def _setup(flow: Workflow) -> list[str]:
    what = flow.install if flow.install.startswith("-r ") else f'"{flow.install}"'
    return _SETUP.format(what=what).splitlines() if flow.install else []


def _stage(flow: Workflow, job: Job, *, night: bool) -> str:
    alone = job.name.endswith("-arm64")
    inner = [f"sh {_string(_command(flow, job))}"]
    if flow.host and job.writes:
        given = "credentialsId: 'registry', usernameVariable: 'REGISTRY_USER', passwordVariable: 'REGISTRY_PASSWORD'"
        inner = [f"withCredentials([usernamePassword({given})]) {{", f"  {inner[0]}", "}"]
    lines = [f"stage({_string(job.title)}) {{"]
    if alone:  # another agent has its own workspace
        lines.append(f"  agent {{ label '{job.label('arm64')}' }}")
        inner = [*_setup(flow), *inner]
    if when := _when(flow, job, night=night):
        lines.append(f"  when {{ {'beforeAgent true; ' if alone else ''}{when} }}")
    lines += ["  steps {", *(f"    {line}" for line in inner), "  }"]
    if alone:
        lines += ["  post {", *(f"    {line}" for line in _POST.splitlines()), "  }"]
    return _indented([*lines, "}"], 4)


def _indented(lines: list[str], columns: int) -> str:
    return "".join(f"{' ' * columns}{line}".rstrip() + "\n" for line in lines)


def _when(flow: Workflow, job: Job, *, night: bool) -> str:
    timer = "triggeredBy 'TimerTrigger'"
    branch = f"branch '{flow.default_branch}'; not {{ changeRequest() }}; not {{ buildingTag() }}"
    if job.when == NIGHT:
        return f"allOf {{ {branch}; {timer} }}"
    if job.when == DEFAULT:
        return f"allOf {{ {branch}{f'; not {{ {timer} }}' if night else ''} }}"
    return f"not {{ {timer} }}" if night else ""


def _command(flow: Workflow, job: Job) -> str:
    tool = f'"$WORKSPACE_TMP/tasks/bin"/{job.command}' if flow.install and job.report else job.command
    return f'{tool} --report "$WORKSPACE_TMP/report/{job.name}"' if job.report else tool


def _string(text: str) -> str:
    """Return a Groovy string without interpolation."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
