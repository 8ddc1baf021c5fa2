"""bake runs in a directory without .env, and the paths of a definition keep their meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.dockercli.bake_paths import absolute


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("cache-from", ["a:1", "type=local,src=cache"], ["a:1", "type=local,src=/p/cache"]),
        ("cache-to", ["type=local,dest=../c,mode=max", "type=inline"], ["type=local,dest=/c,mode=max", "type=inline"]),
        ("output", ['type=oci,"dest=a,b"', "type=docker"], ['type=oci,"dest=/p/a,b"', "type=docker"]),
        ("output", ["type=tar,dest=-"], ["type=tar,dest=-"]),
        ("secret", ["id=s,src=./s", "id=e,type=env,env=E"], ["id=s,src=/p/s", "id=e,type=env,env=E"]),
        ("secret", ['id=s,"src=/a,b"', '"not CSV'], ['id=s,"src=/a,b"', '"not CSV']),
        ("ssh", ["default", "k=a,/b"], ["default", "k=/p/a,/b"]),
        (
            "contexts",
            {"a": "more", "b": "../b", "c": "target:x", "d": "docker-image://x", "e": "oci-layout://l"},
            {"a": "/p/more", "b": "/b", "c": "target:x", "d": "docker-image://x", "e": "oci-layout:///p/l"},
        ),
        (
            "contexts",
            {"a": "/x", "b": "https://h/r.git", "c": "git@h:r", "d": "github.com/x/y"},
            {"a": "/x", "b": "https://h/r.git", "c": "git@h:r", "d": "github.com/x/y"},
        ),
        ("args", {"A": "src=./x"}, {"A": "src=./x"}),
    ],
)
def test_a_relative_path_is_that_of_the_folder(key: str, value: Any, expected: Any) -> None:
    given = {"group": {"default": {"targets": ["t"]}}, "target": {"t": {"context": "/c", key: value}}}
    assert absolute(given, Path("/p")) == {**given, "target": {"t": {"context": "/c", key: expected}}}
