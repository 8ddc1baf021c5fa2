# cargo-chef, as in its README (https://github.com/LukeMathWalker/cargo-chef): dependencies are compiled in a layer of
# their own. The benchmark builds the stage `tool` before it measures. Only used as a reference in benchmarks.
FROM rust:1-bookworm AS tool
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt cargo install cargo-chef --locked
WORKDIR /app

FROM tool AS planner
ARG SOURCE=.
COPY ${SOURCE} .
RUN cargo chef prepare --recipe-path recipe.json

FROM tool AS build
ARG SOURCE=.
COPY --from=planner /app/recipe.json recipe.json
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    : bench-run && cargo chef cook --release --locked --recipe-path recipe.json
COPY ${SOURCE} .
ARG BIN
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    cargo build --release --locked --bin ${BIN} && cp target/release/${BIN} /service

FROM debian:bookworm-slim
COPY --from=build /service /usr/local/bin/service
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
