"""The compose file as `invoke build` reads it, with a recording docker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Bench, service


def services(bench: Bench, **found: dict[str, Any]) -> None:
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": found}).replace("$", "$$"))


def node(bench: Bench, **build: Any) -> dict[str, Any]:
    (bench.root / "web").mkdir(exist_ok=True)
    (bench.root / "web/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    return {"build": {"context": str(bench.root / "web"), **build}}


def test_a_key_that_this_bake_drops_is_built_by_a_build_of_its_own(bench: Bench) -> None:
    services(bench, api=service(bench.root, "api"), web=node(bench, network="none", extra_hosts=["a=1.2.3.4"]))
    bench.reply("--print", stdout=json.dumps({"target": {"api": {}, "web": {"context": "."}}}))
    bench.reply("buildx build", metadata={"containerimage.digest": "sha256:web"})
    done = bench.invoke("build", "--json")
    assert done.code == 0, done.err
    assert [t["digest"] for t in json.loads(done.out)["targets"]] == ["sha256:api", "sha256:web"]
    baked = [c for c in bench.calls if "bake" in c["argv"] and "--print" not in c["argv"]]
    assert [json.loads(c["stdin"])["group"]["default"]["targets"] for c in baked] == [["api"]]
    alone = [c["argv"] for c in bench.calls if c["argv"][:2] == ["buildx", "build"]]
    assert len(alone) == 1
    for flag, value in (("--network", "none"), ("--add-host", "a:1.2.3.4"), ("--tag", "shop-web")):
        assert alone[0][alone[0].index(flag) + 1] == value


def test_a_bake_that_understands_the_keys_builds_all_at_once(bench: Bench) -> None:
    services(bench, web=node(bench, network="none", entitlements=["network.host"]))
    bench.reply(
        "--print", stdout=json.dumps({"target": {"web": {"network": "none", "entitlements": ["network.host"]}}})
    )
    assert bench.invoke("build").code == 0
    call = next(c for c in bench.calls if "bake" in c["argv"] and "--print" not in c["argv"])
    assert "--allow=network.host" in call["argv"]
    assert not [c for c in bench.calls if c["argv"][:2] == ["buildx", "build"]]


def test_nobody_asks_bake_where_no_key_is_in_doubt(bench: Bench) -> None:
    services(bench, web=node(bench))
    assert bench.invoke("build").code == 0
    assert not [c for c in bench.calls if "--print" in c["argv"]]


def test_templates_of_bake_reach_it_as_text(bench: Bench) -> None:
    services(bench, web=node(bench, args={"A": "${B} %{if} $C"}, labels={"${l}": "$${x}"}))
    assert bench.invoke("build").code == 0
    text = bench.call("bake")["stdin"]
    assert '"A": "$${B} %%{if} $C"' in text
    assert '"$${l}": "$$${x}"' in text


def test_a_key_that_nobody_passes_on_is_named_with_its_service(bench: Bench) -> None:
    services(bench, api=service(bench.root, "api"), web=node(bench, brand_new="x"))
    done = bench.invoke("build")
    assert done.code == 8
    assert "error[compose-key-unsupported]: `build.brand_new` of the service 'web' is not supported" in done.err
    assert bench.invoke("build", "--service", "api").code == 0


def test_warnings_of_compose_are_shown_in_its_words(bench: Bench) -> None:
    said = 'time="2026-01-01T00:00:00Z" level=warning msg="The \\"TAG\\" variable is not set."\n'
    bench.reply(
        "config --format json", stdout=json.dumps({"name": "shop", "services": {"web": node(bench)}}), stderr=said
    )
    assert 'warning: compose: The "TAG" variable is not set.' in bench.invoke("build").err


def test_a_service_of_a_profile_is_there_when_it_is_named(bench: Bench) -> None:
    services(bench, api=service(bench.root, "api"))
    everything = {"api": service(bench.root, "api"), "later": node(bench)}
    bench.reply("--profile=* config --format json", stdout=json.dumps({"name": "shop", "services": everything}))
    assert bench.invoke("build", "--service", "later").code == 0
    assert list(json.loads(bench.call("bake")["stdin"])["target"]) == ["later"]
    assert bench.invoke("build", "--service", "latr").code == 7


@pytest.mark.parametrize("text", ["x-bake: {}", "include: [more.yaml]", '"x\\u002dbake": {}'])
def test_the_extension_of_bake_comes_from_compose_s_yaml(bench: Bench, text: str) -> None:
    services(bench, web=node(bench))
    (bench.root / "compose.yaml").write_text(f"name: shop\n{text}\n")
    yaml = "services:\n  web:\n    build:\n      context: .\n      x-bake:\n        tags: ['shop/more:$$1']\n"
    bench.replies.append({"match": "compose config", "stdout": yaml})
    services(bench, web=node(bench))
    assert bench.invoke("build").code == 0
    assert json.loads(bench.call("bake")["stdin"])["target"]["web"]["tags"] == ["shop-web", "shop/more:$1"]


def test_compose_is_asked_once_where_no_file_can_have_an_extension(bench: Bench) -> None:
    assert bench.invoke("build").code == 0
    asked = [call["argv"] for call in bench.calls if "config" in call["argv"]]
    assert asked == [["compose", "config", "--format", "json"]]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ({"dockerfile": "gone"}, "The Dockerfile of the service 'web' cannot be read"),
        ({"dockerfile": "."}, "the path is not a file"),
    ],
)
def test_a_dockerfile_that_cannot_be_read_is_told_with_its_service(
    bench: Bench, build: dict[str, Any], words: str
) -> None:
    services(bench, web=node(bench, **build))
    done = bench.invoke("build")
    assert done.code == 9
    assert words in done.err


def test_a_context_that_is_not_there(bench: Bench) -> None:
    inline = {"context": str(bench.root / "gone"), "dockerfile_inline": "FROM scratch\n"}
    services(bench, web={"build": inline})
    done = bench.invoke("build")
    assert done.code == 9
    assert "error[context-unreadable]: The build context of web cannot be read" in done.err


def test_verify_passes_over_services_that_are_not_ours(bench: Bench) -> None:
    services(bench, web=node(bench))
    bench.reply("ps --all --no-trunc", stdout="")
    done = bench.invoke("verify")
    assert done.code == 0, done.err
    assert "does not compile in a cache mount" in done.out
    # compose lists no containers while an env_file is missing, but the engine does
    assert not [call for call in bench.calls if call["argv"][0] == "compose" and "ps" in call["argv"]]
