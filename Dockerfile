# The service alone; the databases are elsewhere. docker-compose.yml shows it with one.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY setup.cfg pyproject.toml README.md ./
COPY config/default.toml config/default.toml
COPY config/docs config/docs
COPY sql sql
COPY service service
# The virtual environment has no pip of its own: the image's pip installs into it.
RUN python -m venv --without-pip /opt/cdr-api && pip --python /opt/cdr-api/bin/python install '.[docs,s3]'

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin cdr-api && pip uninstall --yes pip
COPY --from=build /opt/cdr-api /opt/cdr-api
ENV PATH=/opt/cdr-api/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    CDR_API_LISTEN__HOST=0.0.0.0 CDR_API_LISTEN__PORT=8080 CDR_API_LOG__FORMAT=json
USER cdr-api
EXPOSE 8080
# Whatever HTTP status is answered, the process is alive; an unrouted path asks neither for a token nor for a database.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["python", "-c", "import http.client, os; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['CDR_API_LISTEN__PORT']), timeout=4); probe.request('GET', '/'); probe.getresponse()"]
CMD ["cdr-api", "serve"]
