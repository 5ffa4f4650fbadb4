# syntax=docker/dockerfile:1
# One image for masters of every role, the router and workers.
#
#   docker build -t muster .
#   docker run --rm muster --version

FROM rust:1.88-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p muster \
    && install -D --strip target/release/muster /out/muster

FROM debian:bookworm-slim
# Python evaluates master.cfg; git is for pollers, for the Git step, and for a master.cfg from a repository.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git openssh-client python3 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 muster \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/muster --create-home --shell /usr/sbin/nologin muster \
    && install -d -o muster -g muster /var/lib/muster-worker
COPY --from=build /out/muster /usr/local/bin/muster
COPY deploy/health.py /usr/local/lib/muster/health.py
USER 10001:10001
WORKDIR /var/lib/muster
ENV PYTHONDONTWRITEBYTECODE=1 MUSTER_PROBE=9980
EXPOSE 8010 9980 9989 9990
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python3", "/usr/local/lib/muster/health.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["muster"]
CMD ["master", "/var/lib/muster"]
