# The usual recipe: COPY and three cache mounts.
ARG RUST_IMAGE=rust:1-bookworm
FROM ${RUST_IMAGE} AS compile
WORKDIR /app
ARG CACHE_SCOPE
ARG TARGETARCH
ARG BINS
ARG PROFILE=release
ARG RUSTFLAGS
ARG GREETING
ARG UNTRACKED
COPY . .
RUN --mount=type=cache,id=${CACHE_SCOPE}-cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=${CACHE_SCOPE}-cargo-git,target=/usr/local/cargo/git \
    --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/app/services/target \
    cd services && args= && for bin in $BINS; do args="$args --bin $bin"; done && \
    cargo build --locked --profile "$PROFILE" $args && \
    for bin in $BINS; do mkdir -p "/out/$bin/bin" && cp "target/$PROFILE/$bin" "/out/$bin/bin/service"; done

FROM scratch AS programs
COPY --from=compile /out /
