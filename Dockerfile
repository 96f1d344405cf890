# docker build -t cinemae .                                                  the CPU
# docker build -t cinemae:gpu --build-arg EXTRAS=gpu,serve,formats .         NVIDIA: docs/containers.md
# BASE: a Debian or Ubuntu image; Python comes from it, or from its packages where it has none.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS base
RUN command -v python3 || (apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*)

FROM base AS build
ARG EXTRAS=cpu,serve,formats
RUN python3 -c "import ensurepip" || (apt-get update && apt-get install -y --no-install-recommends python3-venv)
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/cinemae
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache /pip/bin/pip wheel --no-deps -w /dist .
# Bytecode that names no times, and one time for all files: equal dependencies are an equal layer.
RUN --mount=type=cache,target=/root/.cache \
    /pip/bin/pip --python /opt/cinemae/bin/python install --no-compile "$(echo /dist/*.whl)[${EXTRAS}]" \
    && /opt/cinemae/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/cinemae/lib \
    && cd /opt/cinemae && mkdir -p /own/opt/cinemae && cp -a --parents bin/cinemae* lib/python3*/site-packages/cinemae* /own/opt/cinemae \
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
