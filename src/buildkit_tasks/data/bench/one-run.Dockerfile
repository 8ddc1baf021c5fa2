# Cache mounts, incremental compilation, and all programs in a single RUN: BuildKit runs the step once for all services.
# Like the classic recipe, it trusts modification times. Only used as a reference in benchmarks.
FROM rust:1-bookworm AS build
ARG SOURCE=.
ARG CARGO_INCREMENTAL=0
WORKDIR /app
COPY ${SOURCE} .
ARG BINS
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/app/target,sharing=locked \
    cargo build --release --locked $(printf -- '--bin %s ' ${BINS}) && \
    mkdir /out && for bin in ${BINS}; do cp target/release/$bin /out/; done

FROM debian:bookworm-slim
ARG BIN
COPY --from=build /out/${BIN} /usr/local/bin/service
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
