# The service without databases; docker-compose.yml adds one.
# Packages are installed from requirements.lock; --build-arg BASE=python@sha256:... pins the base image too.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY setup.cfg pyproject.toml requirements.lock README.md LICENSE ./
COPY config/default.toml config/default.toml
COPY config/docs config/docs
COPY sql sql
COPY service service
# The virtual environment has no pip; the image's pip installs into it.
RUN python -m venv --without-pip /opt/cdr-api \
 && pip --python /opt/cdr-api/bin/python install --require-hashes --requirement requirements.lock \
 && pip --python /opt/cdr-api/bin/python install --no-deps --no-build-isolation . \
 && pip --python /opt/cdr-api/bin/python uninstall --yes setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="cdr-api" \
      org.opencontainers.image.description="The CDR part of the Yeti \"customer v1\" JSON:API" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="the cdr-api authors"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin cdr-api && pip uninstall --yes pip
COPY --from=build /opt/cdr-api /opt/cdr-api
ENV PATH=/opt/cdr-api/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    CDR_API_LISTEN__HOST=0.0.0.0 CDR_API_LISTEN__PORT=8080 CDR_API_LOG__FORMAT=json
USER cdr-api
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["cdr-api", "healthcheck"]
CMD ["cdr-api", "serve"]
