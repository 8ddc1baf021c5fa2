#!/usr/bin/env python3
"""The sample's own smoke test: post an action, wait for its event, check that every service took part.

`invoke smoke` and `quickstart` run it when the stack is healthy (`smoke_command` in pyproject.toml), with the addresses
of the services in API_URL and NOTIFIER_URL. No polling: the notifier's event stream says when an action is completed.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

#: Timeout of an action in seconds; it usually takes tens of milliseconds.
PATIENCE = 20.0

#: Services that an action's history must name.
TAKE_PART = ("api", "executor", "worker", "notifier")

#: Asks for the sensor's own actions of the last two minutes; it posts one when it starts and every half minute.
HEARTBEATS = "/actions?source=sensor&state=completed&max_age_seconds=120&limit=1"


def main() -> str:
    """Describe what is wrong; empty if nothing is."""
    began = time.monotonic()
    try:
        action = round_trip(os.environ["API_URL"], os.environ["NOTIFIER_URL"])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"the action did not complete: {type(error).__name__}: {error}"
    took_part = {str(event["service"]) for event in action["history"]}
    missing = [service for service in (*TAKE_PART, "sensor") if service not in took_part]
    wrong = [s["input"] for s in action["steps"] if s["result"] != sha256(s["input"].encode()).hexdigest()]
    if action["state"] != "completed" or missing or wrong:
        return f"the action is {action['state']}" + (f"; no sign of {', '.join(missing)}" if missing else "")
    took = (time.monotonic() - began) * 1000
    sys.stderr.write(f"  action {action['id']} completed by {', '.join(TAKE_PART)} in {took:.0f} ms; sensor reports\n")
    return ""


def round_trip(api: str, notifier: str) -> dict[str, Any]:
    """Listen before posting, so that the event cannot be missed."""
    with closing(connection(notifier)) as feed:
        feed.request("GET", "/events", headers={"Accept": "text/event-stream"})
        stream = feed.getresponse()
        body = {"kind": "digest", "items": [secrets.token_hex(8) for _ in range(3)], "source": "smoke"}
        identity = answer(api, "POST", "/actions", body)["id"]
        for said in events(stream):
            if said.get("action_id") == identity:
                action = answer(api, "GET", f"/actions/{identity}")
                if answer(api, "GET", HEARTBEATS)["actions"]:
                    action["history"].append({"service": "sensor", "event": "heartbeat"})
                return action
    raise ValueError("the event stream ended before the action was completed")


def events(stream: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The server-sent events of a response."""
    for line in stream:
        if line.startswith(b"data:"):
            content = json.loads(line[5:])
            if isinstance(content, dict):
                yield content


def answer(url: str, method: str, path: str, body: object = None) -> dict[str, Any]:
    """The JSON that a service returns; ValueError for an error status."""
    with closing(connection(url)) as asked:
        headers = {"Content-Type": "application/json"}
        asked.request(method, path, json.dumps(body) if body is not None else None, headers)
        got = asked.getresponse()
        text = got.read().decode("utf-8", errors="replace")
        if got.status >= 400:
            raise ValueError(f"{method} {path} returned {got.status}: {text[:300]}")
        return dict(json.loads(text))


def connection(url: str) -> http.client.HTTPConnection:
    """A connection to the service at a URL."""
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)


if __name__ == "__main__":
    sys.exit(main() or 0)
