# One image for every role; the command chooses the role. README.md shows the API and the batch job, and
# compose.yaml a Prefect worker of a process pool.
#
# Settings come from the environment, or from a mounted file that CONFIG_FILE names. /data has the ledger. It must
# outlive the container, on a local disk, because SQLite's write-ahead log cannot be shared over a network.
#
# A tag can be moved; a release build should name the digest of the tested base image:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:… .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/venv
COPY requirements/runtime.txt /tmp/runtime.txt
# pip compiles the packages; otherwise each start would take some seconds longer.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input \
        --require-hashes --requirement /tmp/runtime.txt
WORKDIR /app
COPY prefect.yaml ./
COPY api/ api/
COPY cli/ cli/
COPY core/ core/
COPY flows/ flows/
COPY tasks/ tasks/
# COPY keeps the modes of the checkout, which are private under a strict umask.
RUN chmod -R a+rX . \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash api cli core flows tasks \
    && printf '#!/bin/sh\nexec python -P -m cli "$@"\n' > /opt/venv/bin/risk-alerts \
    && chmod +x /opt/venv/bin/risk-alerts

FROM ${PYTHON_IMAGE}
# tini, as process 1, forwards SIGTERM; the kernel drops signals to a process 1 that has no handler yet. Debian's
# release decides its version. Arrow reads the time zones of SOURCE_TIMEZONE from tzdata.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid app --home-dir /home/app --create-home --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app /data
COPY --from=build /opt/venv /opt/venv
# Root owns the code, so that the service can only read it.
COPY --from=build /app /app

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    DATABASE_URL=sqlite:////data/risk_alerts.db \
    PREFECT_HOME=/data/prefect \
    # Runs use many threads, and glibc would keep an arena of memory for each.
    MALLOC_ARENA_MAX=2 \
    # No telemetry. Version 2 of Prefect's UI calls amplitude.com even so.
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_UI_V2_ENABLED=false

WORKDIR /app
# A number, so that a cluster that admits only non-root users can check it.
USER 10001:10001
VOLUME /data
EXPOSE 8000
# For the API, and not through a proxy. Other commands have no port, and run with --no-healthcheck.
HEALTHCHECK --timeout=5s --start-period=90s \
    CMD ["python", "-c", "from urllib.request import *; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["uvicorn", "api.app:app", "--host", "0.0.0.0", "--port", "8000", "--workers", "1"]
