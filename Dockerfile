# syntax=docker/dockerfile:1
# Two stages: the first builds the wheel and its environment out of hash-pinned requirements,
# the second holds nothing but Python and that environment.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements/bootstrap.txt requirements/runtime.txt requirements/dev.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/bootstrap.txt \
    && uv venv /opt/venv \
    && uv pip sync --python /opt/venv --require-hashes requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY prompts prompts
COPY mcp_gateway mcp_gateway
# dev.txt pins the build tool too, so the wheel is made by known bytes alone.
RUN uv build --wheel --require-hashes --build-constraints requirements/dev.txt --out-dir /wheel \
    && uv pip install --python /opt/venv --no-deps /wheel/*.whl

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
# Beyond loopback the gateway refuses to start until MCP_GATEWAY_ALLOWED_HOSTS,
# MCP_GATEWAY_ALLOWED_ORIGINS and JWT_SECRET are given: this image sets none of them.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MCP_GATEWAY_HOST=0.0.0.0 \
    MCP_GATEWAY_PORT=8000 \
    MCP_GATEWAY_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['MCP_GATEWAY_PORT']}/health/live\", timeout=2)"]
ENTRYPOINT ["mcp-gateway"]
CMD ["serve"]
