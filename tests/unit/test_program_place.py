"""The location of a service's program in its image: Dockerfiles written by `init`, and ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.dockerfiles import program
from buildkit_tasks.dockerfiles.document import Dockerfile
from tests.unit.test_adopt_recipes import BUILD, derived

ARGS = {"BIN": "app", "CACHE_SCOPE": "shop"}


@pytest.mark.parametrize(
    ("copy", "place"),
    [
        ("COPY --from=build /app/target/release/app /usr/local/bin/app", "/usr/local/bin/app"),
        ("COPY --from=build /app/target/release/app /usr/local/bin", "/usr/local/bin/app"),
        ("WORKDIR /srv\nCOPY --from=build /app/target/release/app .", "/srv/app"),
        ("WORKDIR /srv\nWORKDIR x\nCOPY --from=build /app/target/release/app ./tool", "/srv/x/tool"),
        ("COPY --from=build /app/target/release/app /opt/app/bin/", "/opt/app/bin/app"),
        ('COPY --from=build ["/app/target/release/app", "/opt/my app"]', "/opt/my app"),
    ],
)
def test_the_program_is_where_the_recipe_puts_it(tmp_path: Path, copy: str, place: str) -> None:
    text, _ = derived(tmp_path, BUILD + copy + "\nENTRYPOINT app\n")
    assert program.place(Dockerfile.read(text), ARGS, "", "app") == place


SEVERAL = """\
FROM scratch AS compile
FROM debian AS a
ARG BIN
COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/share/ /usr/local/share/
COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /bin/a
COPY --from=compile /out/${CACHE_SCOPE}/extra/bin/service /bin/extra
FROM debian AS b
COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /bin/
"""


def test_other_stages_and_other_programs_do_not_count() -> None:
    file = Dockerfile.read(SEVERAL)
    assert program.place(file, ARGS, "a", "app") == "/bin/a"
    assert program.place(file, ARGS, "b", "app") == "/bin/service"
    assert program.place(file, ARGS, "a", "extra") == "/bin/extra"
    assert program.place(file, {}, "a", "nothing") == program.USUAL
    assert program.place(Dockerfile.read(""), ARGS, "", "app") == program.USUAL


def test_our_own_dockerfile_puts_it_at_the_usual_place() -> None:
    text = (Path(__file__).parents[2] / "docker" / "Dockerfile").read_text("utf-8")
    assert program.place(Dockerfile.read(text), ARGS, "", "app") == program.USUAL
