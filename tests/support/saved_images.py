"""Archives in the format of `docker image save`, created in memory: layers, configurations, both formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: A file: its content, its content and mode, or a complete member.
File = bytes | tuple[bytes, int] | tarfile.TarInfo


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, **more: Any) -> tarfile.TarInfo:
    """Return a member without content."""
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, mode
    for key, value in more.items():
        setattr(made, key, value)
    return made


def layer(files: Mapping[str, File], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a layer as a tar archive. Names that end in `/` are directories; their content is ignored."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
        for name, file in files.items():
            if isinstance(file, tarfile.TarInfo):
                tar.addfile(file, io.BytesIO(bytes(file.size)) if file.isreg() else None)
                continue
            content, mode = file if isinstance(file, tuple) else (file, 0o755 if name.endswith("/") else 0o644)
            made = member(name.rstrip("/"), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE, mode)
            made.size = 0 if name.endswith("/") else len(content)
            tar.addfile(made, io.BytesIO(content))
    return raw.getvalue()


@dataclass
class Saved:
    """An archive that is being created."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[dict[str, Any]] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, content: bytes) -> str:
        """Add a blob and return its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def image(
        self,
        layers: Sequence[bytes],
        config: Mapping[str, Any] | None = None,
        history: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        arch: str = "amd64",
        pack: Callable[[bytes], bytes] = bytes,
        tag: str = "shop/api:dev",
    ) -> str:
        """Add an image and return the digest of its configuration: the image id in docker's own store."""
        steps = history if history is not None else [f"COPY f{n} / # buildkit" for n in range(len(layers))]
        document = {
            "os": "linux",
            "architecture": arch,
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]},
            "history": [{"created_by": one} if isinstance(one, str) else dict(one) for one in steps],
        }
        identity = self.blob(json.dumps(document).encode())
        digests = [self.blob(pack(content)) for content in layers]
        listed = [{"digest": digest, "mediaType": "application/vnd.oci.image.layer.v1.tar"} for digest in digests]
        manifest = {"schemaVersion": 2, "config": {"digest": identity}, "layers": listed}
        self.manifests.append({"digest": self.blob(json.dumps(manifest).encode())})
        names = [f"blobs/{digest.replace(':', '/')}" for digest in digests]
        self.saved.append({"Config": f"blobs/{identity.replace(':', '/')}", "RepoTags": [tag], "Layers": names})
        return identity

    @property
    def manifest(self) -> str:
        """Return the digest of the last manifest: the image id in containerd's store."""
        return str(self.manifests[-1]["digest"])

    def oci(self) -> bytes:
        """Return an OCI layout with a manifest.json, as written by Docker 25 and newer."""
        files: dict[str, File] = {f"blobs/{d.replace(':', '/')}": c for d, c in sorted(self.blobs.items())}
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": self.manifests}).encode()
        files["manifest.json"] = json.dumps(self.saved).encode()
        files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        return layer(files)

    def docker(self) -> bytes:
        """Return the archive of Docker 24 and older: a directory per layer, and a symlink for repeated layers."""
        files: dict[str, File] = {}
        entries = []
        for number, entry in enumerate(self.saved):
            names = []
            for n, blob in enumerate(entry["Layers"]):
                name = f"{number}{n}/layer.tar"
                content = self.blobs[f"sha256:{blob.rpartition('/')[2]}"]
                twice = next((known for known, other in files.items() if other == content), "")
                files[name] = member(name, tarfile.SYMTYPE, linkname=f"../{twice}") if twice else content
                files[f"{number}{n}/VERSION"], files[f"{number}{n}/json"] = b"1.0", b"{}"
                names.append(name)
            digest = entry["Config"].rpartition("/")[2]
            files[f"{digest}.json"] = self.blobs[f"sha256:{digest}"]
            entries.append({**entry, "Config": f"{digest}.json", "Layers": names})
        files["manifest.json"] = json.dumps(entries).encode()
        files["repositories"] = b"{}"
        return layer(files)


def zipped(content: bytes) -> bytes:
    """Return a gzip stream."""
    return gzip.compress(content, 1)
