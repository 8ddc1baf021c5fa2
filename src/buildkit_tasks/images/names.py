"""Base images: what a reference means, which ones can be built from Debian packages, and which to use. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from buildkit_tasks.dockerfiles.document import lookup_name

HUB = "docker.io"

#: Registries with copies of Docker Hub's official images, and the path prefix of the copies.
COPIES = {"public.ecr.aws": "docker/library/", "mirror.gcr.io": "library/"}

#: The date in a tag of debian or rust: another build of the same image.
_DATE = re.compile(r"20\d{6}")

#: The registry of our own images. It does not exist, so nobody else's image can ever be pulled under these names.
OWN = "localhost/buildkit-tasks"


@dataclass(frozen=True)
class Reference:
    """A full image reference: Docker Hub's short names are expanded (`rust` = docker.io/library/rust:latest)."""

    registry: str
    path: str
    tag: str
    digest: str = ""


def parse(text: str) -> Reference:
    """Parse a reference as docker does."""
    name, _, digest = text.partition("@")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, name = first, rest
    else:
        registry = HUB
    path, colon, tag = name.rpartition(":")
    if not colon:
        path, tag = name, "" if digest else "latest"
    if registry in (HUB, "index.docker.io", "registry-1.docker.io"):
        registry, path = HUB, path if "/" in path else f"library/{path}"
    return Reference(registry, path, tag, digest)


@dataclass(frozen=True)
class Recipe:
    """An image that can be built from Debian packages.

    `stage`: in the Dockerfile; `path`, `tag`: of the public image it replaces; `version`: pattern for the version part
    of a tag; `words`: other parts that a tag may have; `needs`: parts it must have; `what`: its contents; `bare`: a tag
    without a version also means this image; `asked`: built only if named explicitly, not as part of "all".
    """

    stage: str
    path: str
    tag: str
    version: str
    words: frozenset[str]
    what: str
    needs: frozenset[str] = frozenset()
    bare: bool = False
    asked: bool = False

    @property
    def image(self) -> str:
        """Its name in the engine."""
        return f"{OWN}/{self.path.rpartition('/')[2]}:{self.tag}"


RECIPES = (
    Recipe(
        *("debian", "library/debian", "bookworm-slim", r"12(\.\d+)*"),
        *(frozenset({"bookworm", "slim"}), "minimal Debian 12 with CA certificates"),
        bare=True,
    ),
    Recipe(
        *("rust", "library/rust", "1-bookworm", r"1(\.\d+)*"),
        *(frozenset({"bookworm", "slim", "latest"}), "the newest rustc and cargo in Debian 12, with gcc, mold and git"),
        bare=True,
    ),
    Recipe(
        *("postgres", "library/postgres", "15-bookworm", r"15(\.\d+)*"),
        *(frozenset({"bookworm"}), "PostgreSQL 15 from Debian 12"),
    ),
    Recipe(
        *("rabbitmq", "library/rabbitmq", "3-bookworm", r"3(\.\d+)*"),
        *(frozenset({"bookworm"}), "RabbitMQ 3.10 from Debian 12"),
    ),
    Recipe(
        *("rabbitmq-management", "library/rabbitmq", "3-management-bookworm", r"3(\.\d+)*"),
        *(frozenset({"bookworm", "management"}), "RabbitMQ 3.10 from Debian 12 with the management plugin"),
        frozenset({"management"}),
    ),
    Recipe(
        *("buildkit", "moby/buildkit", "buildx-stable-1", r"v0(\.\d+)*"),
        *(
            frozenset({"buildx", "stable", "1", "latest"}),
            "buildkitd and buildctl (compiled from source), runc and git",
        ),
        bare=True,
        asked=True,
    ),
)


def recipe_for(reference: str) -> Recipe | None:
    """Return the recipe that can replace a public reference, None if there is none.

    A tag is matched word by word: another distribution (alpine), release (trixie) or major version has no recipe; a
    digest refers to exactly one image, which cannot be replaced.
    """
    wanted = parse(reference)
    if wanted.digest:
        return None
    path = wanted.path
    if wanted.registry != HUB:
        prefix = COPIES.get(wanted.registry, "")
        if not prefix or not path.startswith(prefix):
            return None
        path = f"library/{path.removeprefix(prefix)}"
    words = {word for word in wanted.tag.split("-") if not _DATE.fullmatch(word)}
    for recipe in RECIPES:
        if recipe.path != path or not recipe.needs <= words:
            continue
        others = words - recipe.words
        if not others and recipe.bare:
            return recipe
        if len(others) == 1 and re.fullmatch(recipe.version, next(iter(others))):
            return recipe
    return None


#: Distributions and small images that a service can replace with Debian.
_CONVERTIBLE = re.compile(
    r"(?:^|/)(?:[\w.-]*alpine[\w.-]*|debian|ubuntu|buildpack-deps|rust)(?:[:@]|$)"
    r"|(?:^|/)(?:distroless|chainguard|wolfi|busybox)(?:[/:@-]|$)"
)


def convertible(reference: str) -> bool:
    """Return whether `init --images bookworm` replaces a base image with one that can be built from Debian packages."""
    return _CONVERTIBLE.search(reference) is not None


def foreign(image: str, platform: str) -> str:
    """Return the name of one of our images for a platform other than the engine's own."""
    return f"{image}-{platform.split('/')[1]}"


def named(name: str) -> Recipe | None:
    """Find a recipe by its stage (rust), its full tag (rust:1-bookworm) or our own image name."""
    exact = next((r for r in RECIPES if name in (r.stage, r.image)), None)
    return exact or recipe_for(name)


def mirrored(reference: str, base_registry: str) -> str:
    """Return a Docker Hub reference on the mirror: `MIRROR/library/rust:1` for `rust:1`. Keeps other references."""
    wanted = parse(reference)
    if wanted.registry != HUB or not base_registry:
        return reference
    tag = f":{wanted.tag}" if wanted.tag else ""
    digest = f"@{wanted.digest}" if wanted.digest else ""
    return f"{base_registry.rstrip('/')}/{wanted.path}{tag}{digest}"


@dataclass(frozen=True)
class Decision:
    """The image to `use` for `reference`, and its `source` (local, registry, mirror, offline, none)."""

    reference: str
    use: str
    source: str

    @property
    def replaced(self) -> bool:
        """True if a named context or an override must replace the image."""
        return self.use != self.reference


def without_asking(reference: str, local: Collection[str], mode: str, base_registry: str) -> Decision | None:
    """Return the decision if it needs no query to a registry, else None. `mode` is the images.offline setting."""
    recipe = recipe_for(reference)
    if mode == "always" and recipe:
        return Decision(reference, recipe.image, "offline")
    if reference in local:
        return Decision(reference, reference, "local")
    wanted = parse(reference)
    if wanted.registry != HUB and not (recipe and mode == "auto"):
        return Decision(reference, reference, "registry")
    if mode == "never":
        use = mirrored(reference, base_registry)
        return Decision(reference, use, "mirror" if base_registry else "registry")
    return None


def decide(reference: str, base_registry: str, *, answers: bool) -> Decision:
    """Return the decision for a Docker Hub reference, given whether the mirror or registry `answers`."""
    if answers:
        return Decision(reference, mirrored(reference, base_registry), "mirror" if base_registry else "registry")
    recipe = recipe_for(reference)
    return Decision(reference, recipe.image, "offline") if recipe else Decision(reference, reference, "none")


def override(
    built: Mapping[str, Collection[str]], images: Mapping[str, str], use: Mapping[str, str], ca: str = ""
) -> dict[str, object]:
    """Return a compose override with the replacements, `{}` if there are none.

    `built`: each service's base images; `images`: each service's own image; `use`: the replacements; `ca`: a
    PEM file passed to builds as the secret `ca`, because our images do not contain a company's CA.
    """
    services: dict[str, object] = {}
    for name, references in built.items():
        contexts = {lookup_name(r): f"docker-image://{use[r]}" for r in references if r in use}
        if contexts:
            services[name] = {"build": {"additional_contexts": contexts, **({"secrets": ["ca"]} if ca else {})}}
    for name, image in images.items():
        if image in use:
            services[name] = {"image": use[image]}
    if not services:
        return {}
    return {"services": services, **({"secrets": {"ca": {"file": ca}}} if ca else {})}


def foreign_definition(recipe: Recipe, platform: str, recipe_hash: str) -> dict[str, object]:
    """Return the bake definition of an image for another platform; building it runs no programs of that platform."""
    target = {
        "context": ".",
        "target": f"{recipe.stage}-foreign",
        "tags": [foreign(recipe.image, platform)],
        "labels": {LABEL: recipe_hash},
        "platforms": [platform],
    }
    return {"group": {"default": {"targets": [recipe.stage]}}, "target": {recipe.stage: target}}


#: The label on our images that identifies the recipe, to recognize images built from an older one.
LABEL = "io.github.buildkit-tasks.recipe"


def definition(
    recipes: Mapping[Recipe, str],
    secrets: Collection[str],
    args: Mapping[str, str],
    *,
    zstd: bool,
    base: str,
) -> dict[str, object]:
    """Return the bake definition that builds these images in one solve; paths are relative to the working directory.

    `recipes`: each with the hash of its inputs. `secrets`: ids; each secret is a file secrets/ID. `zstd`: the engine
    stores images unchanged, so compress them quickly (a third of gzip's time). `base`: our Debian image to start from;
    empty = from rootfs.tar.
    """
    targets: dict[str, object] = {}
    for recipe, recipe_hash in recipes.items():
        target: dict[str, object] = {
            "context": ".",
            "target": recipe.stage,
            "tags": [recipe.image],
            "labels": {LABEL: recipe_hash},
            "args": dict(args),
            "secret": [f"id={name},src=secrets/{name}" for name in secrets],
        }
        if zstd and recipe.stage != "debian":  # its layer is in every shipped image: gzip is supported everywhere
            # With docker's own media types, engine 26 does not list an image with only zstd layers.
            target["output"] = ["type=image,oci-mediatypes=true,compression=zstd,compression-level=3"]
        if base:
            target["contexts"] = {"rootfs": f"docker-image://{base}", "debian": f"docker-image://{base}"}
        targets[recipe.stage] = target
    return {"group": {"default": {"targets": [r.stage for r in recipes]}}, "target": targets}
