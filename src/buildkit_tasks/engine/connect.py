"""A connection to the engine through the Docker SDK, for long-running requests: events, health, logs.

Short commands use the docker command line (ADR 1): importing the SDK takes 150 ms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit_tasks.core import readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import docker

from . import facts as engine_facts

if TYPE_CHECKING:
    from docker.tls import TLSConfig

    from docker import DockerClient

#: Timeout in seconds for one response from the engine; a stream, such as events, has no timeout.
ANSWER_TIMEOUT = 30


@contextlib.contextmanager
def connected(world: World, cwd: Path) -> Iterator[DockerClient]:
    """Yield a client for the engine that the docker command would use: DOCKER_HOST, else the current context.

    Problems: engine-stopped if the engine does not respond.
    """
    import requests

    import docker as sdk

    address = engine_facts.host(world, cwd)
    _check_configuration(world)
    try:
        client = sdk.DockerClient(
            base_url=address,
            tls=_tls(world, cwd) if address.startswith("tcp://") else False,
            timeout=ANSWER_TIMEOUT,
            use_ssh_client=address.startswith("ssh://"),
        )
    except (sdk.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        raise Problem(
            "engine-stopped",
            f"The engine at {address} does not respond.",
            causes=[str(error).splitlines()[0][:200]],
            hint="invoke doctor",
        ) from error
    try:
        yield client
    finally:
        client.close()


def _check_configuration(world: World) -> None:
    """Raise `Problem` system-refused if the docker command's configuration would make the SDK hang or fail."""
    path = world.docker_config / "config.json"
    try:
        shapes.check(shapes.loads(readfile.content(path), dict), {"HttpHeaders": {"*": str}, "proxies": {"*": dict}})
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Problem("system-refused", f"{path} cannot be read: {why}.", hint="fix or remove the file") from None


def _tls(world: World, cwd: Path) -> TLSConfig | bool:
    """Return the certificates of DOCKER_CERT_PATH or the current context; False if there are none."""
    from docker.tls import TLSConfig

    if world.env.get("DOCKER_HOST"):
        if not world.env.get("DOCKER_TLS_VERIFY"):
            return False
        folder = Path(world.env.get("DOCKER_CERT_PATH") or world.home / ".docker")
    else:
        said = run.capture(world, docker.context_storage(cwd), timeout=engine_facts.ANSWER_TIMEOUT).stdout
        try:
            place = shapes.loads(said, object)
        except ValueError:
            return False
        folder = Path(str(place)) / "docker" if isinstance(place, str) and place else Path("/nonexistent")
    cert, key, ca = (folder / name for name in ("cert.pem", "key.pem", "ca.pem"))
    if not ca.is_file() and not cert.is_file():
        return False
    pair = (str(cert), str(key)) if cert.is_file() and key.is_file() else None
    return TLSConfig(client_cert=pair, ca_cert=str(ca) if ca.is_file() else None, verify=True)
