# The controller with the filters inside: one static binary, no shell, no user but 65532.
#
#   docker build -t gaugeway .
#
# Locked dependencies, and no paths of the place in it: the same input gives the same binary wherever it is built
# (`cargo xtask reproducible --binary` compares two).
FROM docker.io/library/rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev && rustup target add wasm32-wasip1
# Instead of the channel that rust-toolchain.toml names.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
ENV RUSTFLAGS="--remap-path-prefix=/src=gaugeway --remap-path-prefix=/usr/local/cargo=cargo"
RUN cargo build --profile image --locked --package gaugeway --bin gaugeway \
    && size="$(stat -c %s target/image/gaugeway)" \
    && if [ "$size" -gt 29500000 ]; then echo "$size bytes: too large for an image below 30 MB" >&2; exit 1; fi

# Nothing else is in the image but the authorities that a kubeconfig may leave out.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/image/gaugeway /usr/local/bin/gaugeway
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/gaugeway"]
CMD ["controller", "--kubernetes"]
