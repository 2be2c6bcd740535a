# The image holds the program and the libraries it needs at run time, on the Debian that builds it.
#
#   docker build -t gatepost .
#   docker run --rm -p 8080:8080 gatepost --imap-url imaps://imap.example.com

FROM debian:trixie-slim AS base

FROM base AS build
COPY scripts/deps /src/scripts/deps
RUN /src/scripts/deps image-build
WORKDIR /src
# .dockerignore lets in what the program is built from, and nothing else.
COPY . .
RUN cmake --preset release && cmake --build build/release --target gatepost && strip build/release/gatepost

FROM base
RUN --mount=type=bind,from=build,source=/src/scripts,target=/mnt \
    /mnt/deps image-run && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=build /src/build/release/gatepost /usr/local/bin/gatepost
USER 65532:65532
ENV GATEPOST_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["gatepost", "--healthcheck"]
ENTRYPOINT ["gatepost"]
