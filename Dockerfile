# One image for every role: serve, worker, schedule, one-off ingestion.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY deploy/constraints.txt deploy/requirements.lock deploy/
COPY pear pear
COPY pipelines pipelines
COPY service service
# The build context has no git: `--build-arg VERSION=1.2.3` tells the version.
ARG VERSION=0+unknown
# CPU wheels: an image with CUDA is five times larger and the service needs none.
RUN python -m venv /opt/pear \
 && /opt/pear/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu \
      -c deploy/constraints.txt torch \
 && /opt/pear/bin/pip install --no-cache-dir --no-deps --require-hashes -r deploy/requirements.lock \
 && SETUPTOOLS_SCM_PRETEND_VERSION_FOR_PEAR_WEATHER=$VERSION \
    /opt/pear/bin/pip install --no-cache-dir --no-deps . \
 && /opt/pear/bin/pip check

FROM python:3.11-slim
ARG REVISION=unknown
LABEL org.opencontainers.image.title="PEAR" \
      org.opencontainers.image.description="Weather forecasts on HEALPix" \
      org.opencontainers.image.licenses="GPL-2.0-or-later" \
      org.opencontainers.image.revision="$REVISION"
# The attention kernels are compiled at first use, for the processor that is there.
# hadolint ignore=DL3008 # any g++ of this Debian will do, and old ones leave its archive
RUN apt-get update && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 pear && mkdir /data && chown pear:pear /data
COPY --from=build /opt/pear /opt/pear
ENV PATH=/opt/pear/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib PEAR_CACHE=/tmp/kernels
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# An empty volume is filled by `pear demo --once --output /data` or `pear ingest … --data /data`.
ENTRYPOINT ["pear"]
CMD ["serve", "--data", "/data", "--host", "0.0.0.0", "--port", "8000"]
