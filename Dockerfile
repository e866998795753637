# syntax=docker/dockerfile:1
#
# Three images from one file; docker-compose.yml builds each by its target:
#   tempest        the front, and every other command of the tool
#   worker-rust    the hello worker in Rust
#   worker-python  the hello worker on the Python client
# All run as a user without rights and end on SIGTERM after finishing what they hold.

ARG RUST_VERSION=1.95
ARG PYTHON_VERSION=3.13

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches live in the builder, so the programs are copied out of them within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package tempest --package tempest-example-hello \
    && install -D -t /out target/release/tempest target/release/hello-rust

FROM debian:bookworm-slim AS base
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin tempest
USER tempest
STOPSIGNAL SIGTERM

FROM base AS worker-rust
COPY --from=build /out/hello-rust /usr/local/bin/hello-rust
ENTRYPOINT ["hello-rust"]

FROM python:${PYTHON_VERSION}-slim-bookworm AS worker-python
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin tempest
ENV PYTHONUNBUFFERED=1
COPY clients/python /src/clients/python
RUN pip install --no-cache-dir --constraint /src/clients/python/requirements.lock /src/clients/python
COPY examples/hello/python-sdk /app
WORKDIR /app
USER tempest
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "hello.py"]

# Last, so that a plain `docker build .` gives the tool.
FROM base AS tempest
COPY --from=build /out/tempest /usr/local/bin/tempest
ENV TEMPEST_LISTEN=0.0.0.0:1337
EXPOSE 1337
# Whether requests are welcome here; it says no while Redis is away. A page of the front itself would be a job for a worker.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1338 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["tempest"]
CMD ["front"]
