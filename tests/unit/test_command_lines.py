"""The exact command lines of docker, compose and buildx, for every function that builds docker commands."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.core.model import Command
from buildkit_tasks.dockercli import buildx, compose_cli, docker, docker_run
from buildkit_tasks.dockercli.docker_run import Container, Mount

ROOT = Path("/r")
FILES = (Path("a.yml"), Path("b.yml"))

CASES: tuple[tuple[Command, str], ...] = (
    (compose_cli.command(ROOT, (), "version"), "docker compose version"),
    (
        compose_cli.config(ROOT, FILES, profiles=("*",)),
        "docker compose -f a.yml -f b.yml '--profile=*' config --format json",
    ),
    (
        compose_cli.config_yaml(ROOT, FILES, profiles=("dev", "jobs")),
        "docker compose -f a.yml -f b.yml --profile=dev --profile=jobs config",
    ),
    (compose_cli.services(ROOT, FILES), "docker compose -f a.yml -f b.yml config --services"),
    (compose_cli.services(ROOT, (), profiles=["p"]), "docker compose --profile=p config --services"),
    (
        compose_cli.elsewhere(compose_cli.config(ROOT, FILES), "/copy"),
        "docker compose --project-directory /copy -f a.yml -f b.yml config --format json",
    ),
    (compose_cli.environment(ROOT, ()), "docker compose config --environment"),
    (compose_cli.up(ROOT, FILES, ("api",)), "docker compose -f a.yml -f b.yml up --detach --no-build --quiet-pull api"),
    (
        compose_cli.up(ROOT, (), (), recreate=True, orphans=True),
        "docker compose up --detach --no-build --quiet-pull --force-recreate --remove-orphans",
    ),
    (
        compose_cli.up(ROOT, (), ("api",), dependencies=False),
        "docker compose up --detach --no-build --quiet-pull --no-deps api",
    ),
    (compose_cli.remove(ROOT, FILES, ("api",)), "docker compose -f a.yml -f b.yml rm --stop --force api"),
    (compose_cli.by_name(ROOT, "shop", "down"), "docker compose --project-name shop down"),
    (
        docker.service_containers(ROOT, "shop"),
        "docker ps --all --no-trunc --filter label=com.docker.compose.project=shop "
        "--filter label=com.docker.compose.oneoff=False --format '[{{json .ID}},{{json .Names}},{{json .State}},"
        '{{json (.Label "com.docker.compose.service")}},{{json (.Label "com.docker.compose.image")}}]\'',
    ),
    (docker.unpack_into(ROOT, "shop-api-1"), "docker container cp --archive - shop-api-1:/"),
    (
        docker.remove_inside(ROOT, "shop-api-1", ("/a b", "/-c")),
        "docker container exec --user 0 shop-api-1 rm -rf -- '/a b' /-c",
    ),
    (compose_cli.containers(ROOT, FILES), "docker compose -f a.yml -f b.yml ps --all --format json"),
    (compose_cli.logs(ROOT, FILES, ("api", "web")), "docker compose -f a.yml -f b.yml logs --tail all api web"),
    (
        compose_cli.logs(ROOT, FILES, (), tail="20", follow=True, since="10m"),
        "docker compose -f a.yml -f b.yml logs --tail 20 --follow --since 10m",
    ),
    (compose_cli.down(ROOT, FILES), "docker compose -f a.yml -f b.yml down"),
    (
        compose_cli.down(ROOT, FILES, volumes=True, orphans=True),
        "docker compose -f a.yml -f b.yml down --volumes --remove-orphans",
    ),
    (compose_cli.restart(ROOT, FILES, ("api",)), "docker compose -f a.yml -f b.yml restart api"),
    (
        compose_cli.execute(ROOT, FILES, "api", ("sh", "-c", "env; ls"), tty=False),
        "docker compose -f a.yml -f b.yml exec --no-TTY api sh -c 'env; ls'",
    ),
    (compose_cli.execute(ROOT, FILES, "api", ("psql",), tty=True), "docker compose -f a.yml -f b.yml exec api psql"),
    (
        compose_cli.run_once(ROOT, FILES, "api", ("sh", "-c", "a b"), tty=False),
        "docker compose -f a.yml -f b.yml run --rm --quiet-pull --no-TTY api sh -c 'a b'",
    ),
    (
        compose_cli.run_once(ROOT, (), "api", (), tty=True, dependencies=False),
        "docker compose run --rm --quiet-pull --no-deps api",
    ),
    (compose_cli.raw_config(ROOT, FILES), "docker compose -f a.yml -f b.yml config --no-interpolate --format json"),
    (
        buildx.bake(ROOT, {"target": {"api": {"entitlements": ["network.host"]}}}, ROOT / "m", builder="ci"),
        f"docker buildx bake --builder ci --file - --progress rawjson --metadata-file {ROOT}/m --allow=network.host",
    ),
    (buildx.bake_print(ROOT, {"target": {}}), "docker buildx bake --file - --print"),
    (
        buildx.build_target(ROOT, {"context": ".", "dockerfile": "docker/Dockerfile"}, Path("/m")),
        "docker buildx build --progress rawjson --metadata-file /m --file docker/Dockerfile .",
    ),
    (
        buildx.build_target(ROOT, {"context": "/c", "dockerfile-inline": "FROM scratch"}, Path("/m"), builder="ci"),
        "docker buildx build --builder ci --progress rawjson --metadata-file /m --file - /c",
    ),
    (buildx.cache_records(ROOT), "docker buildx du --verbose"),
    (buildx.cache_records(ROOT, "ci", as_json=True), "docker buildx du --builder ci --format json"),
    (buildx.remove_cache_record(ROOT, "abc"), "docker buildx prune --force --all --filter 'id=^abc$'"),
    (
        buildx.remove_cache_record(ROOT, "abc", "def", builder="ci"),
        "docker buildx prune --builder ci --force --all --filter 'id=^(abc|def)$'",
    ),
    (buildx.remove_all_cache(ROOT, "ci"), "docker buildx prune --builder ci --force --all"),
    (buildx.cache_total(ROOT), "docker buildx du"),
    (buildx.builder_details(ROOT), "docker buildx inspect"),
    (buildx.builder_details(ROOT, "ci"), "docker buildx inspect ci"),
    (
        buildx.mount_build(ROOT, "FROM scratch", Path("/c"), base=("busybox", "busybox")),
        "docker buildx build --progress plain --file - --output type=cacheonly /c",
    ),
    (
        buildx.mount_build(
            ROOT, "FROM b", Path("/c"), base=("b", "local/b"), builder="ci", output=Path("/o"), namespace="n"
        ),
        "docker buildx build --builder ci --progress plain --file - --output type=local,dest=/o "
        "--build-context b=docker-image://local/b --build-arg BUILDKIT_CACHE_MOUNT_NS=n /c",
    ),
    (buildx.builder_list(ROOT), "docker buildx ls --format json"),
    (
        buildx.builder_create(ROOT, "ci", "ci0", driver="docker-container"),
        "docker buildx create --name ci --node ci0 --driver docker-container",
    ),
    (
        buildx.builder_create(
            ROOT,
            "ci",
            "ci1",
            driver="remote",
            endpoint="tcp://h:1234",
            platforms=("linux/arm64",),
            options=("cacert=/c/ca.pem",),
            config="/b.toml",
            append=True,
        ),
        "docker buildx create --name ci --node ci1 --driver remote --append --platform linux/arm64 "
        "--driver-opt cacert=/c/ca.pem --buildkitd-config /b.toml tcp://h:1234",
    ),
    (buildx.builder_leave(ROOT, "ci", "ci1"), "docker buildx create --name ci --node ci1 --leave"),
    (buildx.builder_start(ROOT, "ci"), "docker buildx inspect --bootstrap ci"),
    (buildx.builder_remove(ROOT, "ci"), "docker buildx rm --force ci"),
    (
        buildx.builder_remove(ROOT, "ci", keep_daemon=True, keep_state=True),
        "docker buildx rm --force --keep-daemon --keep-state ci",
    ),
    (buildx.builder_use(ROOT, "ci"), "docker buildx use ci"),
    (
        buildx.join_images(
            ROOT, "localhost:5000/api:1", ("localhost:5000/api@sha256:aa", "localhost:5000/api@sha256:bb")
        ),
        "docker buildx imagetools create --tag localhost:5000/api:1 localhost:5000/api@sha256:aa "
        "localhost:5000/api@sha256:bb",
    ),
    (docker.docker(ROOT, "ps", stdin="x"), "docker ps"),
    (docker.ask(ROOT, "ps"), "docker ps"),
    (compose_cli.question(ROOT, (), "ps"), "docker compose ps"),
    (docker.info(ROOT), "docker info --format '{{json .}}'"),
    (
        docker.image_ids(ROOT, ("api", "web")),
        "docker image inspect --format '{{json .RepoTags}} {{.Id}} {{.Os}}/{{.Architecture}}' api web",
    ),
    (
        docker.create_container(ROOT, "n", "api", "linux/arm64", "true"),
        "docker container create --pull never --platform linux/arm64 --network none --name n api true",
    ),
    (docker.container_program(ROOT, "n"), "docker container inspect --format '{{.Path}}' n"),
    (docker.copy_out(ROOT, "n", "/usr/bin/x", Path("/t")), "docker container cp --follow-link n:/usr/bin/x /t"),
    (docker.context_host(ROOT), "docker context inspect --format '{{.Endpoints.docker.Host}}'"),
    (docker.context_storage(ROOT), "docker context inspect --format '{{json .Storage.TLSPath}}'"),
    (
        docker.project_containers(ROOT, "shop"),
        "docker ps --all --filter label=com.docker.compose.project=shop --format '[{{json .Names}},"
        '{{json (.Label "com.docker.compose.service")}}]\'',
    ),
    (
        docker.running(ROOT),
        """docker ps --format '[{{json .Names}},{{json (.Label "com.docker.compose.project.working_dir")}}]'""",
    ),
    (docker.publishing(ROOT, 8080), "docker ps --filter publish=8080/tcp --format '{{.Names}}'"),
    (docker.publishing(ROOT, 53, "udp"), "docker ps --filter publish=53/udp --format '{{.Names}}'"),
    (
        docker.dangling_images(ROOT, "shop"),
        "docker image ls --filter dangling=true --filter label=com.docker.compose.project=shop "
        "--no-trunc --format '{{.ID}} {{.Size}}'",
    ),
    (docker.remove_images(ROOT, ("a", "b")), "docker image rm a b"),
    (
        docker.project_volumes(ROOT, "shop"),
        "docker volume ls --quiet --filter label=com.docker.compose.project=shop",
    ),
    (
        docker.project_networks(ROOT, "shop"),
        "docker network ls --format '[{{json .Name}}]' --filter label=com.docker.compose.project=shop",
    ),
    (
        docker.project_images(ROOT, "shop"),
        "docker image ls --no-trunc --filter label=com.docker.compose.project=shop --format "
        "'{{.ID}} {{.Repository}}:{{.Tag}} {{.Size}}'",
    ),
    (docker.remove_volumes(ROOT, ("a", "b")), "docker volume rm a b"),
    (docker.stop_containers(ROOT, ("a", "b")), "docker container stop a b"),
    (
        docker.container_facts(ROOT, ("a",)),
        "docker container inspect --format '[{{json .Name}},{{json .Config.Image}},"
        '{{json (index .Config.Labels "com.docker.compose.project")}},'
        '{{json (index .Config.Labels "com.docker.compose.project.working_dir")}}]\' a',
    ),
    (docker.registry_mirrors(ROOT), "docker info --format '{{json .RegistryConfig.Mirrors}}'"),
    (docker_run.volume_sizes(ROOT), "docker system df --verbose --format '{{json .Volumes}}'"),
    (docker_run.files_of(ROOT, "c1"), "docker container export c1"),
    (docker.save_image(ROOT, "api", Path("/a.tar")), "docker image save --output /a.tar api"),
    (docker.save_images(ROOT, ("api", "web")), "docker image save api web"),
    (
        docker.image_id(ROOT, ("api", "web")),
        "docker image inspect --format '{{.Id}} {{.Os}}/{{.Architecture}}' api web",
    ),
    (
        docker_run.start_check(ROOT, "n", "api", "linux/amd64", "/usr/local/bin/service", None),
        "docker run --name n --network none --platform linux/amd64 --entrypoint /usr/local/bin/service api --version",
    ),
    (
        docker_run.start_check(ROOT, "n", "api", "linux/arm64", "/usr/local/bin/service", Path("/qemu")),
        "docker run --name n --network none --platform linux/arm64 --mount "
        "type=bind,source=/qemu,target=/run/emulator,readonly --entrypoint /run/emulator api "
        "/usr/local/bin/service --version",
    ),
    (docker.remove_container(ROOT, "n"), "docker container rm --force --volumes n"),
    (
        docker.image_details(ROOT, ("api",)),
        "docker image inspect --format '[{{json .RepoTags}},{{json .Id}},{{.Size}},{{json .Config.Labels}}]' api",
    ),
    (docker.probe_build(ROOT), "docker build --output - -"),
    (
        docker.build_one(
            ROOT,
            ".",
            {"context": ".", "tags": ["api"], "secret": ["id=s"], "output": ["x"]},
            "FROM scratch",
            buildkit=True,
        ),
        "sh -c 'exec \"$@\" 1>&2' sh docker build --progress plain --file - --tag api --secret id=s .",
    ),
    (
        docker.build_one(
            ROOT, ".", {"context": ".", "tags": ["api"], "secret": ["id=s"]}, "FROM scratch", buildkit=False
        ),
        "sh -c 'exec \"$@\" 1>&2' sh docker build --file - --tag api .",
    ),
    (docker.client_version(ROOT), "docker version --format '{{.Client.Version}}'"),
    (docker.context_use(ROOT, "default"), "docker context use default"),
    (docker.server_components(ROOT), "docker version --format '{{json .Server.Components}}'"),
    (docker.git(ROOT, "status"), "git status"),
    (docker.disk_usage(ROOT), "docker system df --format json"),
    (docker.tag_image(ROOT, "a", "b"), "docker image tag a b"),
    (docker.push_image(ROOT, "a"), "docker image push --quiet a"),
    (docker.pull_image(ROOT, "a"), "docker image pull --quiet a"),
    (docker.login(ROOT, "r.example", "me", "pw"), "docker login --username me --password-stdin r.example"),
    (docker.cosign_verify(ROOT, "/k.pub", "a"), "cosign verify --key /k.pub a"),
    (
        docker_run.read_manifest(ROOT, "api"),
        "docker run --rm --network none --entrypoint cat api /usr/local/share/buildkit-tasks/manifest.json",
    ),
    (docker.container_image(ROOT, "n"), "docker container inspect --format '{{.Image}}' n"),
    (
        docker_run.run_container(ROOT, Container("n", "i", ("sh", "-c", "x y"), (Mount("/a", "/b"),), {"A": "1"})),
        "docker run --rm --init --pull never --name n --mount type=bind,source=/a,target=/b --env A=1 --entrypoint sh "
        "i -c 'x y'",
    ),
    (
        docker_run.run_container(
            ROOT,
            Container("n", "i", ("x",), private={"S": "hush"}, user="1:2", network="net", tty=True, labels=("l=1",)),
        ),
        "docker run --rm --init --pull never --name n --user 1:2 --network net --label l=1 --tty --env S "
        "--entrypoint x i",
    ),
    (
        docker_run.image_configuration(ROOT, "i"),
        "docker image inspect --format '[{{json .Id}},{{json .Config.Env}}]' i",
    ),
    (
        docker_run.image_tags(ROOT, "r"),
        "docker image ls --filter reference=r --format '{{.Repository}}:{{.Tag}}'",
    ),
    (docker_run.volumes(ROOT, "l=1"), "docker volume ls --quiet --filter label=l=1"),
    (docker_run.containers_named(ROOT, "a-"), "docker ps --all --filter 'name=^/?a-' --format '{{.Names}}'"),
    (docker_run.networks_named(ROOT, "a-"), "docker network ls --filter 'name=^a-' --format '[{{json .Name}}]'"),
    (docker_run.remove_containers(ROOT, ("a", "b")), "docker container rm --force --volumes a b"),
    (docker_run.remove_networks(ROOT, ("a",)), "docker network rm a"),
    (docker_run.network(ROOT, "n"), "docker network inspect --format '{{.Name}}' n"),
    (
        compose_cli.alone(ROOT, "t", {"services": {}}, "ps"),
        "docker compose --project-name t --project-directory /r -f - ps",
    ),
    (
        compose_cli.up_alone(ROOT, "t", {}, 9),
        "docker compose --project-name t --project-directory /r -f - up --detach --wait --wait-timeout 9 --quiet-pull",
    ),
    (
        compose_cli.down_alone(ROOT, "t", {}),
        "docker compose --project-name t --project-directory /r -f - down --volumes --remove-orphans --timeout 1",
    ),
)

#: Every key of a bake target that a plain build accepts as a flag.
TARGET = {
    "args": {"A": "1", "B": "x y"},
    "labels": {"l": "v"},
    "contexts": {"c": "/c"},
    "extra-hosts": {"db": "10.0.0.1,10.0.0.2"},
    "tags": ["t:1", "t:2"],
    "secret": ["id=s,src=/s"],
    "ssh": ["default"],
    "cache-from": ["type=local,src=/x"],
    "cache-to": ["type=inline"],
    "no-cache-filter": ["build"],
    "ulimits": ["nofile=10"],
    "entitlements": ["network.host"],
    "attest": ["type=sbom"],
    "output": ["type=docker"],
    "target": "final",
    "network": "none",
    "shm-size": "64m",
    "platforms": ["linux/amd64", "linux/arm64"],
    "pull": True,
    "no-cache": True,
}
FLAGS = (
    "--build-arg A --build-arg B --label l=v --build-context c=/c --add-host "
    "db:10.0.0.1 --add-host db:10.0.0.2 "
    "--tag t:1 --tag t:2 --secret id=s,src=/s --ssh default --cache-from type=local,src=/x --cache-to type=inline "
    "--no-cache-filter build --ulimit nofile=10 --allow network.host --attest type=sbom --output type=docker "
    "--target final --network none --shm-size 64m --platform linux/amd64,linux/arm64 --pull --no-cache"
)


@pytest.mark.parametrize(("command", "line"), CASES, ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_a_command_is_spelled_as_docker_documents_it(command: Command, line: str) -> None:
    assert shlex.join(command.argv) == line
    assert command.cwd == ROOT


def test_every_key_of_a_target_becomes_its_flag() -> None:
    assert shlex.join((*docker.build_arguments(TARGET)[0], *docker.build_flags(TARGET))) == FLAGS


def test_buildkit_is_on_for_all_but_the_legacy_builder() -> None:
    for command, line in CASES:
        if line.startswith(("git", "cosign")):
            continue
        legacy = ("DOCKER_BUILDKIT", "0") in command.env
        assert legacy == (line.startswith("sh -c") and "--progress" not in line)
        assert ("DOCKER_BUILDKIT", "1") in command.env


@pytest.mark.parametrize(
    ("target", "git", "described"),
    [({}, False, False), ({}, True, True), ({"attest": ["type=provenance,mode=min"]}, False, True)],
)
def test_buildx_describes_the_commit_where_this_is_used(target: dict[str, Any], git: bool, described: bool) -> None:
    together = buildx.bake(ROOT, {"target": {"api": target}}, ROOT / "m", git=git)
    alone = buildx.build_target(ROOT, {"context": ".", **target}, ROOT / "m", git=git)
    assert [buildx.NO_GIT in command.env for command in (together, alone)] == [not described] * 2


def test_the_user_decides_about_the_commit() -> None:
    assert buildx.asks_for_git({"BUILDX_GIT_INFO": "1", "PATH": "/bin"})
    assert not buildx.asks_for_git({"BUILDX_BUILDER": "farm", "GIT_DIR": ".git"})


def test_no_function_is_left_out() -> None:
    source = inspect.getsource(inspect.getmodule(test_no_function_is_left_out) or docker)
    for module in (docker, docker_run, compose_cli, buildx):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                assert f"{module.__name__.rpartition('.')[2]}.{name}(" in source, f"{name} is not in the table"


def test_text_of_ours_means_what_it_says_to_compose_and_bake() -> None:
    assert compose_cli.for_compose({"a": "$x"}) == '{\n  "a": "$$x"\n}'
    assert compose_cli.read_model('{"a": "$$x"}') == {"a": "$x"}
    assert compose_cli.read_model("a: $$x\nb: [1]", yaml=True) == {"a": "$x", "b": [1]}
    assert compose_cli.without_env_files(["a", 'b"']) == (
        'services:\n  "a": {env_file: !reset []}\n  "b\\"": {env_file: !reset []}\n'
    )
    said = 'time="T" level=warning msg="The \\"A_B\\" variable is not set."\nThe "C" variable is not set.'
    assert compose_cli.unset_variables(f"{said}\n{said}") == ["A_B", "C"]
    assert buildx.for_bake({"a": "${x} %{y} $z"}) == '{"a": "$${x} %%{y} $z"}'
    assert docker.fields(".Name", ".ID") == "[{{json .Name}},{{json .ID}}]"


def test_labels_are_printed_as_json() -> None:
    """A label may contain line breaks, which must not look like further lines of a listing."""
    for module in (docker, docker_run, compose_cli, buildx):
        assert not re.search(r"\{\{ ?(?:\.Labels?|index)\b", inspect.getsource(module)), module.__name__


def test_a_password_is_on_no_command_line() -> None:
    command = docker.login(ROOT, "r.example", "me", "hunter2")
    assert (command.stdin, command.secrets) == ("hunter2", ("hunter2",))
    assert "hunter2" not in " ".join(command.argv)


def test_questions_have_an_end_and_work_has_none() -> None:
    for command in (docker.info(ROOT), compose_cli.config(ROOT, ()), buildx.builder_list(ROOT)):
        assert command.patience
    for command in (docker.pull_image(ROOT, "x"), compose_cli.down(ROOT, ()), docker.tag_image(ROOT, "x", "y")):
        assert not command.patience


def test_values_of_build_arguments_are_not_on_a_command_line_unless_docker_itself_would_read_them() -> None:
    flags, variables = docker.build_arguments({"args": {"KEY": "s3cret", "PATH": "/x", "docker_host": "y", "A-B": "z"}})
    assert flags == (
        *("--build-arg", "KEY", "--build-arg", "PATH=/x", "--build-arg", "docker_host=y", "--build-arg", "A-B=z"),
    )
    assert variables == (("KEY", "s3cret"),)
