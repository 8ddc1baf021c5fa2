# The classic recipe with every cache mount locked, as recommended where parallel builds corrupted a shared mount: builds
# of several services wait for each other. Only used as a reference in benchmarks.
FROM rust:1-bookworm AS build
ARG SOURCE=.
ARG CARGO_INCREMENTAL=0
WORKDIR /app
COPY ${SOURCE} .
ARG BIN
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/usr/local/cargo/git,sharing=locked \
    --mount=type=cache,target=/app/target,sharing=locked \
    cargo build --release --locked --bin ${BIN} && cp target/release/${BIN} /service

FROM debian:bookworm-slim
COPY --from=build /service /usr/local/bin/service
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
