# Two static programs on nothing: the controller, and the helper that carries image volumes and the
# template `helper`. `docker build .` does all of it. Without an engine or a network, `make image`
# takes a folder of its own for the stage `build`, so the final stage may only copy from below /out.

# The compiler of rust-toolchain.toml. It runs on the platform that the image is for: musl-tools are
# no cross compiler, and the crate ring has C in it.
FROM docker.io/library/rust:1.95.0-bookworm AS build
ARG TARGETARCH
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN case "${TARGETARCH:-amd64}" in \
        amd64) target=x86_64-unknown-linux-musl ;; \
        arm64) target=aarch64-unknown-linux-musl ;; \
        *) echo "no image for $TARGETARCH: only amd64 and arm64" >&2; exit 1 ;; \
    esac \
    && rustup target add "$target" \
    && TARGET_CC=musl-gcc cargo build --profile dist --locked --target "$target" \
    && mkdir /out \
    && cp "target/$target/dist/quayctl-controller" "target/$target/dist/pause" /out/ \
    && cat /usr/share/ca-certificates/mozilla/*.crt >/out/ca-certificates.crt

FROM scratch AS final
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="quayctl-controller" \
      org.opencontainers.image.description="Puts container images on Kubernetes nodes before anyone needs them, with nothing but Jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/pause /pause
COPY --from=build /out/quayctl-controller /quayctl-controller
# Numeric, so that the kubelet can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/quayctl-controller"]
