# sccache with its local storage in a cache mount (https://github.com/mozilla/sccache#usage). sccache and incremental
# compilation exclude each other. The benchmark builds the stage `tool` before it measures. Only used as a reference in
# benchmarks.
FROM rust:1-bookworm AS tool
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    cargo install sccache --locked --no-default-features

FROM tool AS build
ENV RUSTC_WRAPPER=sccache SCCACHE_DIR=/sccache CARGO_INCREMENTAL=0
ARG SOURCE=.
WORKDIR /app
COPY ${SOURCE} .
ARG BIN
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/sccache \
    cargo build --release --locked --bin ${BIN} && cp target/release/${BIN} /service

FROM debian:bookworm-slim
COPY --from=build /service /usr/local/bin/service
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
