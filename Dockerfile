# Two images of one server: not root, nothing written outside /tmp and /var/lib/egopack.
#   docker build -t egopack .                       for a processor (the last stage is the default)
#   docker build -t egopack:cuda --target cuda .    for an NVIDIA GPU; run with --gpus all
#   docker build -t egopack:scale --build-arg REQUIREMENTS=scale .    with Ray, for deploy/;
#     with --target cuda as well, egopack:scale-cuda
#   docker run --rm --cap-drop=ALL --security-opt=no-new-privileges --read-only --tmpfs /tmp \
#     -v egopack:/var/lib/egopack -p 127.0.0.1:8080:8080 -e EGOPACK_API_KEY=... egopack
# What is inside, and what that asks of who publishes an image: THIRD_PARTY_NOTICES.md.
# `python -m tests.image` carries the same steps out in a bare Debian, without an engine.

FROM python:3.11-slim AS build
ARG REQUIREMENTS=run
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
# The installer has an environment of its own, which no image keeps. What builds source packages is
# pinned, too: it is in place before, and nothing else is fetched for a build.
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes -r requirements/uv.txt \
    && python3 -m venv --without-pip /opt/egopack \
    && /opt/tools/bin/uv pip install --python /opt/egopack/bin/python --no-cache \
        --require-hashes -r requirements/build.txt \
    && /opt/tools/bin/uv pip install --python /opt/egopack/bin/python --no-cache \
        --no-build-isolation --require-hashes -r "requirements/${REQUIREMENTS}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY weights weights
COPY extract extract
COPY model model
COPY server server
COPY clients clients
RUN /opt/tools/bin/uv pip install --python /opt/egopack/bin/python --no-cache \
        --no-build-isolation --no-deps .

FROM build AS build-cuda
RUN /opt/tools/bin/uv pip uninstall --python /opt/egopack/bin/python faiss-cpu onnxruntime \
    && /opt/tools/bin/uv pip install --python /opt/egopack/bin/python --no-cache \
        --no-build-isolation --require-hashes -r requirements/gpu.txt

FROM python:3.11-slim AS base
LABEL org.opencontainers.image.title="EgoPack Server" \
      org.opencontainers.image.description="Egocentric video in, four answers and their evidence out" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later AND LGPL-3.0-only AND LicenseRef-NVIDIA-Proprietary" \
      io.egopack.notices="/usr/share/doc/egopack/THIRD_PARTY_NOTICES.md" \
      io.egopack.sbom="/usr/share/doc/egopack/sbom.cdx.json"
# The base image's pip, and the copy of it that Python carries: a server installs nothing.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin egopack \
    && install -d -o egopack -g egopack /var/lib/egopack \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/ensurepip \
        /usr/local/lib/python3.*/site-packages/pip /usr/local/lib/python3.*/site-packages/pip-*
COPY LICENSE THIRD_PARTY_NOTICES.md sbom.cdx.json /usr/share/doc/egopack/
ENV PATH=/opt/egopack/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    EGOPACK_HOST=0.0.0.0 EGOPACK_PORT=8080 EGOPACK_STATE_DIR=/var/lib/egopack \
    EGOPACK_CACHE=/var/lib/egopack/cache
VOLUME /var/lib/egopack
USER 10001
WORKDIR /tmp
EXPOSE 8080
# Readiness is /readyz; this only tells a hung process from a living one.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
CMD ["python", "-m", "server"]

FROM base AS cuda
# Triton builds a launcher for each kernel with the system's C compiler.
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER 10001
ENV EGOPACK_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    TRITON_CACHE_DIR=/var/lib/egopack/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/egopack/cache/inductor
COPY --from=build-cuda /opt/egopack /opt/egopack

FROM base AS cpu
COPY --from=build /opt/egopack /opt/egopack
