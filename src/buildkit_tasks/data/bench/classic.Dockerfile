# The usual recipe with cache mounts: sources are copied into a layer, and cargo runs once per service. It trusts
# modification times, so it can ship an outdated program (docs/explanation/never-stale.md). It is only used as a
# reference in benchmarks.
FROM rust:1-bookworm AS build
ARG SOURCE=.
ARG CARGO_INCREMENTAL=0
WORKDIR /app
COPY ${SOURCE} .
ARG BIN
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/app/target,sharing=locked \
    cargo build --release --locked --bin ${BIN} && cp target/release/${BIN} /service

FROM debian:bookworm-slim
COPY --from=build /service /usr/local/bin/service
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
