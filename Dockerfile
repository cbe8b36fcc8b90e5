FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
WORKDIR /app

# Before the code: this layer is built anew only when the locked requirements change.
COPY requirements/build.txt requirements/production.txt requirements/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv install --require-hashes --requirement requirements/production.txt \
 && pip install --require-hashes --requirement requirements/build.txt --target /opt/build

# The code stays in /app, beside its migrations; the environment gets a path to it and the
# command `service`. The build tools stay in this stage.
COPY pyproject.toml ./
COPY service/ service/
RUN PYTHONPATH=/opt/build \
    pip --python /opt/venv install --no-deps --no-build-isolation --editable . \
 && python -m compileall -q --invalidation-mode unchecked-hash service


FROM python:3.13-slim

ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/service service
COPY alembic/ alembic/
COPY alembic.ini hypercorn.toml ./

# By number, so that an orchestrator can see that the user is not root. It owns no file.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# Liveness, not readiness: a database that is away is no reason to restart this container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]

CMD ["service", "serve"]
