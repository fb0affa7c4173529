# The operator: one binary, no shell, not root. How to build it, and what is in it: docs/images.md

ARG DENO_IMAGE=docker.io/denoland/deno:debian-2.9.6@sha256:2014dc167ece617ef7e7ba40631ac2234c59e75ce693e7cc2dc2602b3c87859d
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f

# On the machine's own platform, for whichever is asked for: nothing is emulated.
FROM --platform=$BUILDPLATFORM $DENO_IMAGE AS build
WORKDIR /src
COPY . .
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH=0
# Of the file that Deno downloads to compile in. Without them it is not checked (ADR 20).
ARG DENORT_SHA256_AMD64
ARG DENORT_SHA256_ARM64
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu DENORT_SHA256=$DENORT_SHA256_AMD64 ;; \
      arm64) target=aarch64-unknown-linux-gnu DENORT_SHA256=$DENORT_SHA256_ARM64 ;; \
      *) echo "There is no Deno for $TARGETARCH: build for amd64 or arm64" >&2; exit 1 ;; \
    esac \
 && export DENORT_SHA256 && deno task build --target=$target \
 && chmod 755 dist/trust-manager \
 && touch --date="@$SOURCE_DATE_EPOCH" dist/trust-manager

FROM $BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="trust-manager" \
      org.opencontainers.image.description="Distributes TLS trust bundles in a Kubernetes cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /src/dist/trust-manager /trust-manager
# See OPERATOR_ENVIRONMENT in build.ts.
ENV MALLOC_MMAP_THRESHOLD_=65536
ENV MALLOC_ARENA_MAX=1
ENV DENO_TLS_CA_STORE=
ENV NODE_EXTRA_CA_CERTS=
# Any other user will do as well, as OpenShift has it.
USER 65532:65532
# Probes, webhook, metrics.
EXPOSE 6060 6443 9402
ENTRYPOINT ["/trust-manager"]
