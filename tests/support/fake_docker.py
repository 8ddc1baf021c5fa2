#!/usr/bin/env python3
"""A fake docker that records its calls and answers from a script; first on PATH in tests/cli.

FAKE_DOCKER is a directory: replies.json is a list of {"match", "stdout", "stderr", "code", "wait"}. The fake returns
the first reply with a `match` that occurs in the joined arguments. Calls are appended to calls.jsonl. A reply with
`once` only answers the first matching call. A reply with `after` only answers calls after the first call with that word
in its arguments. `leaves` are files to write to the export directory of a bake definition; the reply then only matches
definitions with an export directory. `task` are files to write to the directory that a container mounts at /task.
`@NOW@` in a reply is replaced with the time of the call. `file` is a file with the bytes of the answer.
"""

import json
import os
import re
import signal
import sys
from datetime import datetime, timezone
from pathlib import Path

place = Path(os.environ["FAKE_DOCKER"])
line = " ".join(sys.argv[1:])
call = {
    "argv": sys.argv[1:],
    "cwd": str(Path.cwd()),
    "env": {
        k: os.environ.get(k)
        for k in ("DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD", "BUILDX_NO_DEFAULT_ATTESTATIONS", "BUILDX_BUILDER")
    },
    "stdin": sys.stdin.read() if "--file -" in line or " -f - " in line else "",
}
with (place / "calls.jsonl").open("a+") as log:
    log.seek(0)
    before = [" ".join(json.loads(earlier)["argv"]) for earlier in log]
    log.write(json.dumps(call) + "\n")
for reply in json.loads((place / "replies.json").read_text()):
    spent = reply.get("once") and any(reply["match"] in earlier for earlier in before)
    early = reply.get("after") and not any(reply["after"] in earlier for earlier in before)
    exported = re.search(r"type=local,dest=([^\"]+)", str(call["stdin"]))
    if reply["match"] in line and not spent and not early and ("leaves" not in reply or exported):
        place_left = exported[1] if exported else ""
        for name, text in reply.get("leaves", {}).items():
            Path(place_left, name).write_text(text)
        if shared := re.search(r"source=(\S+),target=/task", line):
            for name, text in reply.get("task", {}).items():
                Path(shared[1], name).write_text(text)
        if "--metadata-file" in sys.argv and "metadata" in reply:
            Path(sys.argv[sys.argv.index("--metadata-file") + 1]).write_text(json.dumps(reply["metadata"]))
        now = datetime.now(timezone.utc).isoformat()
        sys.stdout.write(reply.get("stdout", "").replace("@NOW@", now))
        sys.stdout.flush()
        if "file" in reply:
            sys.stdout.buffer.write(Path(reply["file"]).read_bytes())
            sys.stdout.flush()
        sys.stderr.write(reply.get("stderr", ""))
        sys.stderr.flush()
        if reply.get("wait"):

            def ended(_signal: int, _frame: object) -> None:
                (place / "interrupted").touch()
                sys.exit(1)

            signal.signal(signal.SIGINT, ended)
            (place / "waiting").touch()
            signal.pause()
        sys.exit(reply.get("code", 0))
sys.stderr.write(f"fake docker has no reply for: {line}\n")
sys.exit(125)
