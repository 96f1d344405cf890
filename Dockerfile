# docker build -t cinemae .                                              for CPUs
# docker build -t cinemae:gpu --build-arg EXTRAS=gpu,serve,formats .     for NVIDIA's GPUs: docs/containers.md
# BASE is any Debian or Ubuntu; Python is installed where the base has none.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS base
RUN command -v python3 || (apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*)

FROM base AS build
ARG EXTRAS=cpu,serve,formats
RUN python3 -c "import ensurepip" || (apt-get update && apt-get install -y --no-install-recommends python3-venv)
RUN python3 -m venv /opt/cinemae
ENV PATH=/opt/cinemae/bin:$PATH
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache pip wheel --no-deps -w /dist .
# The product goes to /own: a layer of its own. Nothing in the dependencies' layer names a time, so that
# it stays the same while they do.
RUN --mount=type=cache,target=/root/.cache pip install --no-compile "$(echo /dist/*.whl)[${EXTRAS}]" \
    && pip uninstall -qy pip setuptools && cd /opt/cinemae \
    && python -m compileall -q --invalidation-mode unchecked-hash lib \
    && mkdir -p /own/opt/cinemae && cp -a --parents bin/cinemae* lib/python3*/site-packages/cinemae* /own/opt/cinemae \
    && rm -r bin/cinemae* lib/python3*/site-packages/cinemae* \
    && find /opt/cinemae /own -exec touch -hd @0 {} +

FROM base
COPY --from=build /opt/cinemae /opt/cinemae
COPY --from=build /own /
ENV PATH=/opt/cinemae/bin:$PATH
USER 65532:65532
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --start-period=60s --timeout=5s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"CINEMAE_PORT\", 8000)}/healthz', timeout=4)"]
ENTRYPOINT ["cinemae"]
CMD ["serve", "--host", "0.0.0.0"]
