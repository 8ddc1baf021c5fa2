"""How each command is converted, and what changes in a file. makefile/examples.py generates the table on the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buildkit_tasks.equivalents.calls import Facts
from buildkit_tasks.equivalents.names import nearest
from buildkit_tasks.makefile import examples, expand, justfile, makefile, mapping, reader, recipes, shim
from buildkit_tasks.makefile.model import Step


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("cargo t -p api -p common", "invoke cargo.test --crate api --crate common"),
        ("cargo test --package=api --lib", "invoke cargo.test --crate api -- --lib"),
        ("cargo test $(ARGS)", "invoke cargo.test -- $(ARGS)"),
        ("cargo test -p '$(CRATE)' -- --nocapture", "invoke cargo.test --crate '$(CRATE)' -- -- --nocapture"),
        ('cargo test --features "a b"', 'invoke cargo.test -- --features "a b"'),
        ("cargo test --workspace --locked --all-features", "invoke cargo.test -- --workspace --all-features"),
        ("RUST_LOG=debug cargo test", "RUST_LOG=debug invoke cargo.test"),
        ("A='x y' cargo clippy", "A='x y' invoke cargo.clippy --env A"),
        ("cargo clippy --all-targets -- -D warnings -A clippy::x", "invoke cargo.clippy -- -- -A clippy::x"),
        ("cargo clippy --fix --allow-dirty", "invoke cargo.clippy --fix"),
        ("cargo fmt -- --check", "invoke cargo.fmt --check"),
        ("cargo update --workspace", "invoke cargo.update --lock"),
        ("cargo doc", "invoke cargo.doc --dependencies"),
        ("cargo deny check", "invoke cargo.deny"),
        ("cargo deny check licenses", "invoke cargo.deny -- check licenses"),
        ("cargo llvm-cov --workspace", "invoke cargo.coverage -- --workspace"),
        ("cargo clean -p api", "invoke cargo.clean --crate api"),
        ("rm -rf ./target", "invoke cargo.clean"),
        ("cargo fmt && cargo clippy; cargo test", "invoke cargo.fmt && invoke cargo.clippy; invoke cargo.test"),
        ("echo hi; cargo test 2>&1", "echo hi; invoke cargo.test 2>&1"),
        ("dropdb shop || true", "invoke db.drop || true"),
        ("@-docker-compose down --remove-orphans", "@-invoke down --remove-orphans"),
        ("docker compose -f ./compose.yaml up -d api worker", "invoke up --service api --service worker"),
        ("docker compose -p x up -d", "COMPOSE_PROJECT_NAME=x invoke up"),
        ("docker compose -f a.yaml -f b.yaml ps", "COMPOSE_FILE=a.yaml:b.yaml invoke ps"),
        ("docker compose build --no-cache", "invoke build --no-cache"),
        ("docker compose logs --tail=100 -f api", "invoke logs --service api --tail 100 --follow"),
        ("docker compose exec -T api ls -l /", "invoke shell --service api --command 'ls -l /'"),
        ("docker compose run --rm --no-deps api x", "invoke run --service api --no-deps -- x"),
        ("docker build -f Dockerfile -t shop/api:dev --no-cache .", "invoke build --service api --no-cache"),
        ("docker compose exec db psql -U shop -d shop", "invoke db.shell --service db"),
        ("docker compose exec db psql shop shop_user", "invoke db.shell --service db"),
        ("sqlx database create", "invoke db.create"),
        ("cargo sqlx database reset -y", "invoke db.reset"),
        ("sqlx migrate info", "invoke db.migrate --status"),
        ("DATABASE_URL=postgres://x@localhost/shop_test sqlx migrate run", "invoke db.migrate --test"),
        ("psql 'postgres://localhost:5432/shop?x=1'", "invoke db.shell"),
        ("createdb -U postgres shop", "invoke db.create"),
    ],
)
def test_a_command_that_a_task_does(command: str, text: str) -> None:
    found = examples.line(command)
    assert (found.text, found.why) == (text, "")


@pytest.mark.parametrize(
    "command",
    [
        "cargo",
        "cargo test --target x86_64-unknown-linux-musl",
        "cargo test --manifest-path x/Cargo.toml",
        "cargo doc --open",
        "cargo run",
        "cargo watch -x test",
        "cargo install sqlx-cli",
        "cargo nextest run",
        "cargo clippy --release",
        "cargo llvm-cov --lcov --output-path x",
        "X=1 cargo fmt",
        "DATABASE_URL=postgres://127.0.0.1/x cargo test",
        "docker compose",
        "docker compose exec db psql -U shop -d other",
        "docker compose exec db mysql other",
        "docker compose exec db psql -d $(DB)",
        "docker compose $(FLAGS) up -d",
        "docker compose --env-file x up -d",
        "docker compose --profile a --profile b up -d",
        "docker compose -f $(F) ps",
        "docker compose up -d --scale api=2",
        "docker compose up",
        "docker compose stop",
        "docker compose down api",
        "docker compose ps -a",
        "docker compose build --build-arg X=1",
        "docker compose exec -u root api sh",
        "docker compose exec db psql -c 'select 1'",
        "docker compose exec api sh -c 'a b'",
        "docker compose run -e X=1 api",
        "docker run --rm x",
        "docker build .",
        "docker build -t other .",
        "docker build -t shop/api:dev -t b .",
        "sqlx migrate revert",
        "sqlx migrate run --source other",
        "dropdb --interactive shop",
        "createdb other",
        "psql -c 'drop table x'",
        "refinery migrate -e DATABASE_URL -p migrations",
        "cd x && cargo test",
        "$(MAKE) -C sub test",
        "cargo test > log",
        "cargo test < in",
        "cargo test &",
        "cargo test || exit_code=1",
        "cargo test || cargo clean",
        "if true; then cargo test; fi",
        "for i in a b; do cargo test -p $$i; done",
        "cargo test -p `x`",
        "cargo test -p $$(x)",
        "X=1",
        "(cargo test)",
        "cargo test 'unclosed",
        "cargo 2>/dev/null test",
        "$(UNKNOWN) test",
        "yarn test",
    ],
)
def test_a_command_that_stays(command: str) -> None:
    found = examples.line(command)
    assert found.why
    assert found.text == command
    assert not found.calls


def rows(text: str, **more: object) -> tuple[mapping.Row, ...]:
    variables = expand.Variables()
    sources = reader.read("Makefile", text, variables=variables)
    facts = replace(examples.FACTS, values=sources[0].variables)
    accept = more.get("accept", ())
    assert isinstance(accept, tuple)
    return mapping.rows(sources, makefile.language(variables.values), facts, "invoke", accept=accept)


def changed(text: str, accept: tuple[str, ...] = ()) -> str:
    return shim.text(reader.read("Makefile", text)[0], rows(text, accept=accept))


def test_only_the_command_changes_and_everything_else_stays() -> None:
    text = (
        '# top\nDC ?= docker compose\nX = 1\n\n.PHONY: up test\n\nup: build ## Start\n\t@echo "Starting"\n'
        "\t@$(DC) up -d \\\n\t  --build $(S)\n\n# comment\nbuild:\n\t./build.sh\n\ntest:\n\tcargo test # all\n"
    )
    want = text.replace("$(DC) up -d \\\n\t  --build $(S)", "invoke up $(addprefix --service ,$(S))")
    assert changed(text) == want.replace("cargo test # all", "invoke cargo.test # all")
    up = rows(text)[0]
    assert up.used == ("DC",)
    assert up.rule.help == "Start"


def test_crlf_prefix_and_a_last_line_without_an_end_stay() -> None:
    assert changed(".PHONY: a\r\na:\r\n\tcargo test\r\n") == ".PHONY: a\r\na:\r\n\tinvoke cargo.test\r\n"
    text = ".RECIPEPREFIX := >\n.PHONY: a\na:\n>cargo test"
    assert changed(text) == text.replace("cargo test", "invoke cargo.test")
    assert changed(".PHONY: a\na: b ; cargo test\n") == ".PHONY: a\na: b\n\tinvoke cargo.test\n"
    text = ".PHONY: a\na: $(if x,b;c) ; cargo test\n"
    assert changed(text) == ".PHONY: a\na: $(if x,b;c)\n\tinvoke cargo.test\n"


def test_replaced_targets_become_phony_and_only_those() -> None:
    text = ".PHONY: a\na:\n\tcargo test\nb$$c:\n\tcargo check\nd:\n\t./x\nrun-%:\n\tcargo test -p $*\n"
    block = f"{shim.MARK}\n.PHONY: b$$c\n\n"
    want = text.replace("cargo ", "invoke cargo.").replace("-p $*", "--crate $*")
    assert changed(text) == want.replace("a:\n", f"{block}a:\n", 1)
    more = changed(text) + "e:\n\tcargo fmt\n"
    assert changed(more) == more.replace(".PHONY: b$$c\n", ".PHONY: b$$c e\n").replace(
        "\tcargo fmt", "\tinvoke cargo.fmt"
    )


def test_the_phony_line_is_above_the_comment_of_the_first_target() -> None:
    assert changed("X = 1\n# do it\n# well\na:\n\tcargo fmt\n") == (
        f"X = 1\n{shim.MARK}\n.PHONY: a\n\n# do it\n# well\na:\n\tinvoke cargo.fmt\n"
    )
    assert changed("X = 1 \\\n# 2\na:\n\tcargo fmt\n") == (
        f"X = 1 \\\n# 2\n{shim.MARK}\n.PHONY: a\n\na:\n\tinvoke cargo.fmt\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a:\n\tcargo test\n\t./deploy.sh\n",
        "ifdef X\na:\n\tcargo test\nendif\n",
        "a::\n\tcargo test\n",
        "a:\n\tcargo test\na:\n\tcargo check\n",
        "out/x:\n\tcargo test\n",
        "SHELL = python3\na:\n\tcargo test\n",
        "export DATABASE_URL = postgres://localhost/x\na:\n\tcargo test\n",
        ".ONESHELL:\na:\n\tcd x\n\tcargo test\n",
        ".ONESHELL:\na:\n\tcargo fmt\n\tcargo test\n",
        "a:\n\tcargo fmt\n\tcargo test\n.ONESHELL:\n",
        "app: src/main.rs\n\tcargo test\n",
        "app: Makefile\n\tcargo test\n",
        "app: $(shell find src)\n\tcargo test\n",
        "app: | target\n\tcargo test\n",
        "define run\ncd x\ncargo test\nendef\na:\n\t$(call run)\n",
        "clean:\n\tcargo clean\nbuild:\n\tcargo build\n",
        "a: b\n",
        "help:\n\t@grep -E '##' $(MAKEFILE_LIST)\n",
        "",
    ],
)
def test_a_file_in_which_nothing_is_certain_stays_as_it_is(text: str) -> None:
    assert changed(text) == text


@pytest.mark.parametrize(
    "text",
    [
        ".PHONY: app\napp: src/main.rs\n\tcargo test\n",
        ".PHONY: docker/test\ndocker/test:\n\tcargo test\n",
        ".PHONY: app build\napp: build\n\tcargo test\n",
        "app: build\n\tcargo test\nbuild:\n\t./x\n",
        "-include more.mk\napp: build\n\tcargo test\n",
        ".ONESHELL:\n.PHONY: a\na:\n\tcargo test\n",
    ],
)
def test_a_target_that_names_no_file_is_replaced(text: str) -> None:
    assert "\tinvoke cargo.test\n" in changed(text)


def test_a_file_target_can_be_accepted() -> None:
    text = "app: src/main.rs\n\tcargo test\n"
    assert rows(text)[0].why == "the target builds the file app from src/main.rs"
    assert "\tinvoke cargo.test\n" in changed(text, accept=("app",))


def test_lines_that_no_task_does_are_listed() -> None:
    row = rows("test:\n\tcargo test\n\t./a.sh | tee x\n\tyarn test\n")[0]
    assert (row.kind, row.left) == (mapping.PERHAPS, ("./a.sh | tee x", "yarn test"))
    assert [call.text("invoke") for call in row.calls] == ["invoke cargo.test"]
    assert row.why == "the line pipes output into another command"


def test_an_accepted_target_gets_the_nearest_task_in_place_of_its_recipe() -> None:
    text = (
        ".PHONY: docker-clean x\ndocker-clean: x\n\tdocker compose down -v --rmi local\n\tdocker system prune -f\nx:\n"
    )
    want = ".PHONY: docker-clean x\ndocker-clean: x\n\tinvoke clean --volumes\nx:\n"
    assert changed(text, accept=("docker-clean",)) == want
    assert "\nclean:\n\tinvoke cargo.clean\nb:\n" in changed("clean:\n\tcargo clean\nb:\n\tcargo build\n", ("clean",))


def test_other_targets_and_tasks_may_be_called_beside_a_task() -> None:
    text = ".PHONY: a\na:\n\t$(MAKE) b\n\tinvoke lint\n\tcargo test\n"
    assert changed(text) == text.replace("cargo test", "invoke cargo.test")
    assert [row.kind for row in rows("a:\n\tinvoke lint\nb:\n\tuvx buildkit-tasks up\nc:\n\t$(MAKE) a\n")] == [
        *(mapping.OURS, mapping.OURS, mapping.STAYS)
    ]


def test_exported_variables_are_passed_by_name() -> None:
    text = "export SQLX_OFFLINE = true\nexport DOCKER_BUILDKIT = 1\n.PHONY: a b\na:\n\tcargo test\n"
    text += "b: export Y = 1\nb:\n\tcargo fmt\n"
    assert "\tinvoke cargo.test --env SQLX_OFFLINE\n" in changed(text)
    assert "\tinvoke cargo.fmt\n" in changed(text)


def test_a_justfile_keeps_parameters_attributes_and_scripts() -> None:
    text = (
        "dc := 'docker compose'\nalias t := test\n\n# Test\n[private]\ntest crate *ARGS: build\n"
        "    @cargo test -p {{crate}} {{ARGS}}\n\nup *services:\n    {{dc}} up -d {{ services }}\n"
        'log service="":\n    {{dc}} logs {{service}}\nbuild:\n    #!/bin/sh\n    cargo test\n'
        "esc:\n    echo {{{{x}}}} && cargo fmt\n"
    )
    source = justfile.read("justfile", text)[0]
    facts = Facts(("compose.yaml",), values=source.variables)
    new = shim.text(source, mapping.rows([source], justfile.language(source.variables), facts, "invoke"), phony=False)
    want = text.replace("cargo test -p {{crate}} {{ARGS}}", "invoke cargo.test --crate {{crate}} -- {{ARGS}}")
    want = want.replace("{{dc}} up -d {{ services }}", "invoke up {{ services }}")
    want = want.replace("{{dc}} logs {{service}}", "invoke logs {{service}}").replace(
        "&& cargo fmt", "&& invoke cargo.fmt"
    )
    assert new == want


@pytest.mark.parametrize(
    ("command", "task", "note"),
    [
        ("docker compose down -t 1", "down", "stop_grace_period"),
        ("docker compose down -v --timeout=1", "down", "stop_grace_period"),
        ("docker compose restart -t 0 api", "restart", "stop_grace_period"),
        ("docker compose up -d --wait --wait-timeout 9", "up", "stack.health_timeout"),
    ],
)
def test_a_time_limit_that_a_task_does_not_take_is_said(command: str, task: str, note: str) -> None:
    (call,) = examples.line(command).calls
    assert call.task == task
    assert note in call.note
    (call,) = examples.line(command.replace("--wait-timeout 9", "").split(" -t")[0].split(" --timeout")[0]).calls
    assert note not in call.note


def test_a_huge_line_stays() -> None:
    line = recipes.line(Step(0, 0, "cargo test " + " $(X)" * 20_000), makefile.syntax({}), Facts(), "x")
    assert line.why == "the line is longer than 10000 characters"


def test_names_that_say_nothing_have_no_task() -> None:
    assert nearest("deploy-production") is None
    assert nearest("x" * 10_000) is None
    assert nearest("docker-build-x;rm") is None
    assert nearest("test-$(shell x)") is None
    assert nearest("docker_logs_api") == nearest("docker-logs-api")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("docker compose up -d", "invoke up"),
        ("docker compose -f compose.yaml up -d", "COMPOSE_FILE=compose.yaml invoke up"),
        ("docker compose -f compose.yaml -f compose.override.yaml up -d", "invoke up"),
        ("docker compose -f compose.yaml -f ci.yaml up -d", "COMPOSE_FILE=compose.yaml:ci.yaml invoke up"),
        ("docker compose -f compose.yaml -f compose.override.yaml -f ci.yaml down", "invoke down --overlay ci.yaml"),
    ],
)
def test_an_override_file_is_read_exactly_where_compose_reads_it(command: str, text: str) -> None:
    facts = replace(examples.FACTS, compose_files=("compose.yaml", "compose.override.yaml"))
    found = recipes.line(Step(0, 0, command), makefile.syntax({}), facts, "invoke")
    assert found.text == text


@pytest.mark.parametrize(
    "lines", ["x: Q = q\nQ = v\n", "Q = v\nx: Q = q\n", "x: Q = q\nQ += v\n", "x: Q = q\nQ := v\nQ ?= w\n"]
)
def test_a_variable_that_a_target_overrides_is_unknown_wherever_it_is_defined(lines: str) -> None:
    variables = expand.Variables()
    reader.read("Makefile", f"{lines}x:\n\techo $(Q)\n", variables=variables)
    assert variables.values["Q"].text is None
