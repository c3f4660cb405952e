# The sidecar. Redis is not part of the image: set LIMITER_REDIS_URL.
#
#   docker build -t limiter .
#   docker run --read-only -e LIMITER_REDIS_URL=redis://redis:6379 -v ./limiter.yaml:/etc/limiter/limiter.yaml:ro -p 8080:8080 limiter

FROM debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY api ./api
COPY lua ./lua
COPY limiter ./limiter
# The sidecar needs no installer, and nothing of what its packages bring along for building and testing.
RUN python3 -m venv /opt/limiter \
    && /opt/limiter/bin/python -m pip install --no-cache-dir --no-compile '.[sidecar]' \
    && /opt/limiter/bin/python -m pip uninstall --yes pip \
    && find /opt/limiter -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
    && /opt/limiter/bin/python -m compileall -q /opt/limiter/lib

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin limiter
COPY --from=build /opt/limiter /opt/limiter
ENV PATH=/opt/limiter/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can verify that this is not root.
USER 10001
EXPOSE 8080 8081
# /readyz is 503 while Redis does not answer. A restart would not help then, so this asks whether the process answers.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/healthz', timeout=2)"]
ENTRYPOINT ["limiter"]
CMD ["serve", "--config", "/etc/limiter/limiter.yaml", "--host", "0.0.0.0"]
