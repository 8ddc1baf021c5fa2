"""Repositories whose services keep running, in more forms from public repositories: files by path, for the tests."""

from __future__ import annotations

from tests.support.repositories import Files, locked, manifest

BUILD = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release --locked\n"
COPIED = "COPY --from=build /app/target/release/{0} /usr/local/bin/{0}\n"


def program(word: str) -> str:
    """Return a main that prints a word (a Rust expression) and, if SERVE is set, serves port 8080 until stopped."""
    return (
        f'fn main() {{\n    let word = {word};\n    println!("{{word}}");\n'
        '    if std::env::var_os("SERVE").is_none() {\n        return;\n    }\n'
        '    let door = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();\n'
        "    for caller in door.incoming() {\n"
        "        use std::io::Write;\n"
        '        let _ = caller.unwrap().write_all(format!("HTTP/1.0 200 OK\\r\\n\\r\\n{word}\\n").as_bytes());\n'
        "    }\n}\n"
    )


def crate(name: str, word: str, *more: str) -> Files:
    """Return a crate in the root."""
    return {
        "Cargo.toml": manifest(name, *more),
        "Cargo.lock": locked(name),
        "src/main.rs": program(word),
        ".gitignore": "target\n",
    }


def database() -> Files:
    """A Dockerfile in the root, and a compose file that only starts what the program needs during development."""
    return {
        **crate("till", 'include_str!("till.txt").trim()'),
        "src/till.txt": "till\n",
        "Dockerfile": BUILD
        + "FROM debian:bookworm-slim\n"
        + COPIED.format("till")
        + 'ENV SERVE=1\nEXPOSE 8080\nCMD ["till"]\n',
        "docker-compose.yml": (
            "---\n# what the till needs\nservices:\n  db:\n    image: postgres:15\n"
            "    environment:\n      POSTGRES_PASSWORD: till\n"
        ),
    }


def published() -> Files:
    """A compose file that starts the published image, next to the Dockerfile that builds it."""
    return {
        **crate("clock", '"clock"'),
        "Dockerfile": BUILD + "FROM debian:bookworm-slim\n" + COPIED.format("clock") + 'ENTRYPOINT ["clock"]\n',
        "compose.yaml": (
            "services:\n  time:   # as published\n    image: example.org/tools/clock:2\n    environment:\n"
            '      SERVE: "1"\n    restart: unless-stopped\n'
        ),
    }


def distroless() -> Files:
    """Alpine's toolchain, a static program, and an image without a shell that defines the name of its user."""
    return {
        **crate("lamp", '"lamp"'),
        "Dockerfile": (
            "FROM rust:1.80-alpine AS build\nRUN apk add --no-cache musl-dev zlib-static\nWORKDIR /app\nCOPY . .\n"
            "RUN cargo build --release --target x86_64-unknown-linux-musl\n"
            "FROM gcr.io/distroless/static-debian12:nonroot\n"
            "COPY --from=build --chown=nonroot:nonroot /app/target/x86_64-unknown-linux-musl/release/lamp /lamp\n"
            'USER nonroot\nENTRYPOINT ["/lamp"]\n'
        ),
        "compose.yaml": 'services:\n  lamp:\n    build: .\n    environment: {SERVE: "1"}\n',
    }


def profiles() -> Files:
    """Several compose files, one of them included, a profile, and a job that exits before the service starts."""
    files: Files = {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n',
        "Cargo.lock": locked("desk", "desk-jobs", "desk-migrate"),
        "Dockerfile": (
            BUILD.replace("--locked", "--locked --workspace")
            + "FROM debian:bookworm-slim AS base\nRUN useradd -m desk\nUSER desk\n"
            + "".join(
                f"FROM base AS {n}\n" + COPIED.format(n) + f'CMD ["{n}"]\n'
                for n in ("desk", "desk-jobs", "desk-migrate")
            )
        ),
        "compose.yaml": (
            "include:\n  - deploy/jobs.yaml\nservices:\n  migrate:\n    build: {context: ., target: desk-migrate}\n"
            "  desk:\n    build: {context: ., target: desk}\n    stop_grace_period: 1s\n"
            "    depends_on:\n      migrate:\n"
            "        condition: service_completed_successfully\n"
        ),
        "compose.override.yaml": 'services:\n  desk:\n    environment:\n      SERVE: "1"   # while developing\n',
        "deploy/jobs.yaml": (
            "services:\n  jobs:\n    profiles: [jobs]\n    build:\n      context: ..\n      target: desk-jobs\n"
            '    environment: {SERVE: "1"}\n'
        ),
    }
    for name in ("desk", "desk-jobs", "desk-migrate"):
        files[f"crates/{name}/Cargo.toml"] = manifest(name)
        files[f"crates/{name}/src/main.rs"] = program(f'"{name}"')
    return files


def twins() -> Files:
    """Two workspaces, each in a separate directory with its own Dockerfile."""
    files: Files = {
        "docker-compose.yaml": (
            "services:\n"
            + "".join(f'  {n}:\n    build: ./{n}\n    environment: {{SERVE: "1"}}\n' for n in ("left", "right"))
        )
    }
    for name in ("left", "right"):
        inner = crate(name, f'"{name}"')
        inner["Dockerfile"] = BUILD + "FROM debian:bookworm-slim\n" + COPIED.format(name) + f'CMD ["{name}"]\n'
        files |= {f"{name}/{path}": text for path, text in inner.items()}
    return files


def embedded() -> Files:
    """A stage in another language generates files that the program embeds."""
    return {
        **crate("shelf", 'include_str!("../dist/index.html").trim()'),
        ".gitignore": "target\ndist\n",
        "web/index.html": "<p>shelf</p>\n",
        "web/build.sh": "#!/bin/sh\nset -e\nmkdir -p dist\nsed 's/shelf/SHELF/' index.html > dist/index.html\n",
        "Dockerfile": (
            "FROM debian:bookworm-slim AS web\nWORKDIR /web\nCOPY web .\nRUN sh build.sh\n"
            + BUILD.replace("COPY . .", "COPY . .\nCOPY --from=web /web/dist ./dist")
            + "FROM debian:bookworm-slim\n"
            + COPIED.format("shelf")
            + 'CMD ["shelf"]\n'
        ),
        "compose.yaml": 'services:\n  shelf:\n    build: .\n    environment: {SERVE: "1"}\n',
    }


def prepared() -> Files:
    """A command of the compile stage generates files for the program and for its image; all features."""
    word = 'concat!(include_str!("../gen/label.txt"), env!("COLOR"))'
    return {
        **crate("label", f'if cfg!(feature = "bold") {{ {word} }} else {{ "thin" }}', "\n[features]\nbold = []"),
        ".gitignore": "target\ngen\n",
        "label.in": "paper",
        "gen.sh": "#!/bin/sh\nset -e\nmkdir -p gen\nprintf '%s!' \"$(cat label.in)\" > gen/label.txt\n",
        "Dockerfile": (
            BUILD.replace("RUN cargo", "ENV COLOR=-red\nRUN sh gen.sh\nRUN cargo").replace("--locked", "--all-features")
            + "FROM debian:bookworm-slim\n"
            + COPIED.format("label")
            + 'COPY --from=build /app/gen /srv/gen\nCMD ["sh", "-c", "cat /srv/gen/label.txt; exec label"]\n'
        ),
        "compose.yaml": 'services:\n  label:\n    build: .\n    environment: {SERVE: "1"}\n',
    }


def options() -> Files:
    """A feature, a custom profile, cargo configuration, a renamed program, a health check, a start script."""
    return {
        **crate(
            "gate",
            'if cfg!(feature = "loud") { "GATE" } else { "gate" }',
            '\n[features]\nloud = []\n\n[profile.dist]\ninherits = "release"\nstrip = true\n\n[[bin]]\nname = "gated"\n'
            'path = "src/main.rs"',
        ),
        ".cargo/config.toml": '[env]\nGATE = "1"\n',
        "docker/start.sh": '#!/bin/sh\nexec "$@"\n',
        "Dockerfile": (
            "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\n"
            "RUN cargo install --locked --path . --profile dist --features loud --root /app/out\n"
            "FROM debian:bookworm-slim\nRUN groupadd -r gate && useradd -r -g gate gate\nWORKDIR /srv\n"
            "COPY --from=build --chown=gate:gate /app/out/bin /srv/bin\nCOPY --chmod=755 docker/start.sh /start.sh\n"
            "USER gate\nHEALTHCHECK --interval=1s CMD test -x /srv/bin/gated\n"
            'ENTRYPOINT ["/start.sh"]\nCMD ["/srv/bin/gated"]\n'
        ),
        "compose.yaml": 'services:\n  gate:\n    build: .\n    environment: {SERVE: "1"}\n',
    }


#: Query the database at `DATABASE_URL`, up to its first answer, so that no client has to be compiled.
ASKS = r"""
use std::io::{Read, Write};

#[test]
fn adds() {
    assert_eq!(ledger_store::sum(&[1, 2]), 3);
}

#[test]
#[ignore = "needs the database"]
fn the_database_answers() {
    let url = std::env::var("DATABASE_URL").unwrap();
    let place = url.rsplit('@').next().unwrap().split('/').next().unwrap();
    let mut server = std::net::TcpStream::connect(place).unwrap();
    let words = b"\0\x03\0\0user\0ledger\0database\0ledger\0\0";
    server.write_all(&(words.len() as u32 + 4).to_be_bytes()).unwrap();
    server.write_all(words).unwrap();
    let mut answer = [0];
    server.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], b'R');
}
"""


def ledger() -> Files:
    """A workspace with PostgreSQL and sqlx migrations: a server, two workers with one image, an agent in a profile."""
    built = BUILD.replace("--locked", "--locked --workspace")
    stages = "".join(
        f"FROM debian:bookworm-slim AS {n}\n" + COPIED.format(n) + f'CMD ["{n}"]\n' for n in ("api", "worker")
    )
    files: Files = {
        "Cargo.toml": (
            '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n\n[workspace.dependencies]\nsqlx = "0.8"\n'
        ),
        "Cargo.lock": locked("api: ledger-store", "worker: ledger-store", "ledger-store"),
        "crates/store/Cargo.toml": manifest("ledger-store"),
        "crates/store/src/lib.rs": (
            "pub fn sum(entries: &[i64]) -> i64 {\n    entries.iter().sum()\n}\n\n"
            'pub fn word() -> &\'static str {\n    "ledger"\n}\n'
        ),
        "crates/store/tests/database.rs": ASKS.lstrip(),
        "migrations/20240101000000_accounts.up.sql": "CREATE TABLE accounts (id int PRIMARY KEY, name text);\n",
        "migrations/20240101000000_accounts.down.sql": "DROP TABLE accounts;\n",
        "migrations/20240201000000_entries.sql": "CREATE TABLE entries (account int REFERENCES accounts);\n",
        "seeds/demo.sql": "INSERT INTO accounts VALUES (1, 'cash');\nINSERT INTO entries VALUES (1);\n",
        "deny.toml": "[licenses]\nallow = []\n",
        ".env.example": "POSTGRES_PASSWORD=\nAPI_PORT=8080\n",
        ".gitignore": "target\n.env\n",
        "Dockerfile": built + stages,
        "compose.yaml": (
            "services:\n"
            "  api:\n    build: {context: ., target: api}\n    stop_grace_period: 1s\n"
            '    environment:\n      SERVE: "1"\n'
            "      DATABASE_URL: postgres://ledger:${POSTGRES_PASSWORD}@db:5432/ledger\n"
            '    ports: ["127.0.0.1:${API_PORT:-8080}:8080"]\n'
            "    depends_on:\n      db: {condition: service_healthy}\n"
            + "".join(
                f"  worker-{n}:\n    build: {{context: ., target: worker}}\n    stop_grace_period: 1s\n"
                '    environment: {SERVE: "1"}\n'
                for n in ("base", "mail")
            )
            + "  agent:\n    profiles: [agent]\n    build: {context: ., target: worker}\n    stop_grace_period: 1s\n"
            '    environment: {SERVE: "1"}\n'
            "  db:\n    image: postgres:15-bookworm\n    stop_signal: SIGINT\n    environment:\n"
            "      POSTGRES_USER: ledger\n      POSTGRES_DB: ledger\n      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}\n"
            "    volumes: [data:/var/lib/postgresql/data]\n    healthcheck:\n"
            "      test: [CMD-SHELL, pg_isready -q -h 127.0.0.1 -U ledger]\n      interval: 1s\n"
            "      start_period: 60s\nvolumes:\n  data: {}\n"
        ),
    }
    for name in ("api", "worker"):
        files[f"crates/{name}/Cargo.toml"] = manifest(name, '\n[dependencies]\nledger-store = { path = "../store" }')
        files[f"crates/{name}/src/main.rs"] = program(f'format!("{name} {{}}", ledger_store::word())')
    return files


#: For each shape: the arguments of `init`, the service to check, its output, and an edit that changes the output.
SHAPES = {f.__name__: f for f in (database, published, distroless, profiles, twins, embedded, prepared, options)}
CASES = {
    "database": ((), "till", "till", ("src/till.txt", "till", "toll")),
    "published": ((), "time", "clock", ("src/main.rs", "clock", "watch")),
    "distroless": (("--images", "bookworm"), "lamp", "lamp", ("src/main.rs", "lamp", "lantern")),
    "profiles": ((), "desk", "desk", ("crates/desk/src/main.rs", '"desk"', '"table"')),
    "twins": ((), "right", "right", ("right/src/main.rs", "right", "wrong")),
    "embedded": ((), "shelf", "<p>SHELF</p>", ("web/index.html", "<p>", "<b>")),
    "prepared": ((), "label", "paper!paper!-red", ("label.in", "paper", "wood")),
    "options": ((), "gate", "GATE", ("src/main.rs", "GATE", "DOOR")),
}
