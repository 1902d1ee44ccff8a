# The controller with the filters inside: one static binary, no shell, no user but 65532.
#
#   docker build -t gaugeway .
#
# The build happens at a fixed path from locked dependencies, so that the same input gives the same binary.
FROM docker.io/library/rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev && rustup target add wasm32-wasip1
# Instead of the channel that rust-toolchain.toml names.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package gaugeway --bin gaugeway \
    && strip target/release/gaugeway

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/target/release/gaugeway /usr/local/bin/gaugeway
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/gaugeway"]
CMD ["controller", "--kubernetes"]
