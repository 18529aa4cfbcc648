# One image for producers, jobs and dashboard: compose.yaml says which command each service runs.
FROM python:3.11-slim-bookworm AS base
# Spark needs Java 17 or newer, and its scripts bash, which is there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app

# The same set-up as everywhere (docs/decisions/0011): packages and jars by their locks, each checked against its hash.
FROM base AS build
COPY pyproject.toml README.md LICENSE requirements.lock requirements-dev.lock requirements-setup.lock ./
COPY conf/setup.sh conf/setup.sh
COPY conf/jars conf/jars
COPY headwater/__init__.py headwater/errors.py headwater/jars.py headwater/setup_env.py headwater/
RUN conf/setup.sh run
# What changes often comes last; the set-up then only registers the packages that are new to it.
COPY . .
RUN conf/setup.sh run && rm -rf /root/.cache

FROM base
RUN useradd --uid 10001 --create-home headwater \
    && install -d -o headwater -g headwater /var/lib/headwater
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HEADWATER_HOME=/var/lib/headwater
USER 10001
EXPOSE 8050
CMD ["python", "-m", "dashboards.app"]
