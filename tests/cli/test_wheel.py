"""The wheel contains everything that `init` writes, and works without the rest of this repository."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from tests.support import process, repositories

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and unpack the wheel: the files that an installation puts into site-packages."""
    place = tmp_path_factory.mktemp("wheel")
    argv: list[str | Path] = [
        process.BIN / "python",
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        place,
        REPOSITORY,
    ]
    done = process.run(argv, place)
    assert done.code == 0, done.all
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_it_carries_the_dockerfile_and_the_compile_files_of_this_repository(unpacked: Path) -> None:
    inside = unpacked / "buildkit_tasks" / "data" / "adopt"
    assert {p.name for p in inside.iterdir()} >= {"Dockerfile"}
    for path in inside.iterdir():
        assert path.read_bytes() == (REPOSITORY / "docker" / path.name).read_bytes()
    # the wheel contains every file that the Dockerfile mounts from docker/, and the Dockerfile mounts no others
    text = (inside / "Dockerfile").read_text()
    for name in ("compile.sh", "compile.rs", "cross.sh"):
        assert (f"docker/{name}" in text) == (inside / name).exists(), name


def test_init_works_from_it(unpacked: Path, tmp_path: Path) -> None:
    root = repositories.write(tmp_path / "ping", repositories.bare())
    env = {"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"}
    done = process.run([process.BIN / "python", "-m", "buildkit_tasks", "init", "--yes"], root, env)
    assert done.code == 0, done.all
    where = process.ok(
        [process.BIN / "python", "-c", "import buildkit_tasks; print(buildkit_tasks.__file__)"], root, env
    )
    assert where.out.startswith(str(unpacked))
    assert (root / "docker" / "Dockerfile").is_file()
    carried = unpacked / "buildkit_tasks" / "data" / "adopt"
    for path in carried.iterdir():
        if path.name != "Dockerfile":
            assert (root / "docker" / path.name).read_bytes() == path.read_bytes()


def test_its_metadata_names_the_command_and_where_to_read_more(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    assert "buildkit-tasks = buildkit_tasks.__main__:main" in (info / "entry_points.txt").read_text()
    metadata = (info / "METADATA").read_text()
    assert "Project-URL: Issues" in metadata
    # PyPI shows the README without the files of this repository: every link and image needs a full URL
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", metadata) == []
