"""Smoke test of the sample stack: posts an action, waits for its event, checks that every service took part.

No polling: the notifier's event stream (server-sent events) reports when an action is completed.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.project.discover import discover

#: Timeout of an action in seconds; it normally takes tens of milliseconds.
PATIENCE = 20.0

#: Services that must appear in an action's history.
TAKE_PART = ("api", "executor", "worker", "notifier")

#: Queries the sensor's own actions of the last two minutes; it posts one at start and every 30 seconds.
HEARTBEATS = "/actions?source=sensor&state=completed&max_age_seconds=120&limit=1"


def smoke(session: Session) -> None:
    """Run the smoke test. Problems: smoke-failed (with what is missing), not-running."""
    space = discover(session, lesser=True).workspace
    api, events = session.settings.stack.smoke_service, session.settings.stack.smoke_events
    if not api:
        raise Problem(
            "bad-argument",
            "This project has no smoke test.",
            hint="set smoke_service and smoke_events under [tool.buildkit-tasks.stack]; see docs/explanation/sample.md",
        )
    began = session.world.clock()
    try:
        action = _round_trip(_address(space, api), _address(space, events))
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise Problem(
            "smoke-failed",
            "The action did not complete.",
            causes=[f"{type(error).__name__}: {error}"],
            hint="invoke ps; invoke logs --since 5m",
        ) from error
    took_part = {str(e["service"]) for e in action["history"]}
    missing = [s for s in (*TAKE_PART, "sensor") if s not in took_part]
    wrong = [s["input"] for s in action["steps"] if s["result"] != sha256(s["input"].encode()).hexdigest()]
    if action["state"] != "completed" or missing or wrong:
        raise Problem(
            "smoke-failed",
            f"The action is {action['state']}" + (f"; no sign of {', '.join(missing)}." if missing else "."),
            hint=f"invoke logs --service {(missing or [api])[0]} --since 5m",
        )
    seconds = session.world.clock() - began
    if session.report.json_only:
        session.report.envelope({"action": action, "seconds": round(seconds, 3)})
    else:
        session.report.say(
            f"  action {action['id']} completed by {', '.join(TAKE_PART)} in {seconds * 1000:.0f} ms; sensor reports"
        )


def _address(space: Workspace, service: str) -> tuple[str, int]:
    for port in space.ports:
        if port.service == service:
            return ("127.0.0.1" if port.host in ("0.0.0.0", "::") else port.host), port.published  # noqa: S104
    raise Problem("not-running", f"The service {service!r} does not publish any ports.", hint="invoke ps")


def _round_trip(api: tuple[str, int], events: tuple[str, int]) -> dict[str, Any]:
    """Subscribe before posting, so that the event cannot be missed."""
    with closing(http.client.HTTPConnection(*events, timeout=PATIENCE)) as feed:
        feed.request("GET", "/events", headers={"Accept": "text/event-stream"})
        stream = feed.getresponse()
        body = {"kind": "digest", "items": [secrets.token_hex(8) for _ in range(3)], "source": "smoke"}
        identity = _json(api, "POST", "/actions", body)["id"]
        for said in _events(stream):
            if said.get("action_id") == identity:
                action = _json(api, "GET", f"/actions/{identity}")
                if _json(api, "GET", HEARTBEATS)["actions"]:
                    action["history"].append({"service": "sensor", "event": "heartbeat"})
                return action
    raise ValueError("the event stream ended before the action was completed")


def _events(stream: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.startswith(b"data:"):
            content = json.loads(line[5:])
            if isinstance(content, dict):
                yield content


def _json(address: tuple[str, int], method: str, path: str, body: object = None) -> dict[str, Any]:
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", errors="replace")
        if answer.status >= 400:
            raise ValueError(f"{method} {path} returned {answer.status}: {text[:300]}")
        return dict(json.loads(text))
