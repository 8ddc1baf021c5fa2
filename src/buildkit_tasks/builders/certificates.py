"""Creates the certificates of a remote builder: a CA, a key pair for each node, and one for the clients."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem

#: Syntax of host names: https://www.rfc-editor.org/rfc/rfc1123#section-2.1
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

#: Our own directory names, which hosts must not use.
_OURS = ("authority", "client")


def _check_host(name: str) -> None:
    """Check a host name, which becomes a directory name and part of a certificate. Raises `Problem` bad-argument."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not _HOST.fullmatch(name) or name.lower() in _OURS:
            why = "this directory name is reserved for other keys" if name.lower() in _OURS else ""
            raise Problem(
                "bad-argument",
                f"{name!r} is not a valid host name or address.",
                causes=[why] if why else [],
                hint="pass host names or addresses, for example --host builder.example --host 10.0.0.7",
            ) from None


def make(session: Session, hosts: Sequence[str], out: str) -> None:
    """Write OUT/authority, OUT/HOST for each host, and OUT/client. An existing authority is reused for new hosts.

    Never overwrites a file. Problems: bad-argument, command-missing.
    """
    if not hosts:
        raise Problem(
            "bad-argument",
            "No host given.",
            hint="pass host names or addresses, for example --host builder.example --host 10.0.0.7",
        )
    for name in hosts:
        _check_host(name)
    try:
        from . import authority
    except ImportError:
        raise Problem(
            "command-missing",
            "This task requires the Python package `cryptography`.",
            hint="run `pip install 'buildkit-tasks[mtls]'`, or use your own CA (see docs/how-to/builders.md)",
        ) from None
    place = readfile.real(session.world.cwd / Path(out).expanduser())
    home = place / "authority"
    if (home / "key.pem").exists():
        signer = authority.Pair(readfile.content(home / "ca.pem"), readfile.content(home / "key.pem"))
    else:
        signer = authority.authority(place.name)
        _write(home, {"ca.pem": signer.certificate, "key.pem": signer.key})
    made = []
    for name in (*hosts, "client"):
        folder = place / name.replace(":", "_")
        if (folder / "key.pem").exists():
            until = authority.expiry(readfile.content(folder / "cert.pem"))
            session.report.say(f"  {folder} already exists; its certificate is valid until {until:%Y-%m-%d}")
            continue
        pair = authority.client(signer, name) if name == "client" else authority.server(signer, [name])
        _write(folder, {"ca.pem": signer.certificate, "cert.pem": pair.certificate, "key.pem": pair.key})
        made.append(str(folder))
    if session.report.json_only:
        session.report.envelope({"certificates": {"authority": str(home), "made": made}})
        return
    for done in made:
        session.report.answer(done)
    session.report.say(
        f"certificates are valid for {authority.LEAF_DAYS} days; to renew one, delete its directory and rerun this "
        "command"
    )
    session.report.say(
        "copy each node's directory to that node, and client/ to the clients; never copy authority/key.pem"
    )
    session.report.say(
        "on the node: buildkitd --addr tcp://0.0.0.0:1234 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem"
    )


def _write(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, data in content.items():
        # create the key with mode 0600: others could read it before a later chmod
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name == "key.pem" else 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
