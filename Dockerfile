# One image: not root, read-only at run time, bundle mounted or the shipped one.
#   docker build -t egopack .
#   docker run --rm --read-only --tmpfs /tmp -p 8080:8080 -e EGOPACK_API_KEY=... egopack
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
RUN python -m venv /opt/egopack \
    && /opt/egopack/bin/pip install --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY weights weights
COPY extract extract
COPY model model
COPY server server
COPY clients clients
RUN /opt/egopack/bin/pip install --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home egopack
COPY --from=build /opt/egopack /opt/egopack
ENV PATH=/opt/egopack/bin:$PATH PYTHONUNBUFFERED=1 EGOPACK_HOST=0.0.0.0 EGOPACK_PORT=8080
USER egopack
WORKDIR /tmp
EXPOSE 8080
# Readiness is /readyz; this only tells a hung process from a living one.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
CMD ["python", "-m", "server"]
