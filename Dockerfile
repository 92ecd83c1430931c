# One image for every process of llm-api; docker/entrypoint.sh says which it is. See docker-compose.yml.
#
#   docker build -t llm-api .
#   docker build -t llm-api --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu .    # CPU-only torch: GBs less
#   docker build -t llm-api --build-arg CMAKE_ARGS=-DGGML_NATIVE=OFF .    # to run on other machines than the one that builds

FROM python:3.11-slim AS build

ARG TORCH_INDEX_URL=""
ARG EXTRA_INDEX=""
ARG CMAKE_ARGS=""

RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv

# The dependencies alone first: this layer, which compiles llama.cpp, is built again only when they change.
WORKDIR /app
COPY pyproject.toml requirements.lock scripts/llama_cmake_args.sh /tmp/
RUN python -c "import tomllib; print(*tomllib.load(open('/tmp/pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /tmp/dependencies.txt \
    && indexes="" \
    && for index in $TORCH_INDEX_URL $EXTRA_INDEX; do indexes="$indexes --extra-index-url $index"; done \
    && CMAKE_ARGS="$(bash /tmp/llama_cmake_args.sh)" CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" \
        pip install $indexes -c /tmp/requirements.lock -r /tmp/dependencies.txt

COPY . .
RUN pip install --no-deps -e . && python -m compileall -q /app


FROM python:3.11-slim

# tesseract-ocr reads scans; libgomp1 is llama.cpp's and torch's OpenMP; tini reaps the children of workers and passes signals on.
# There is no VOLUME: each container would get an empty volume of its own for every such folder that it does not mount.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 tini tesseract-ocr \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 llm-api \
    && useradd --uid 10001 --gid 10001 --create-home llm-api \
    && install -d -o llm-api -g llm-api -m 755 /data /cache /secrets /inbox /models /functions

COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

# docker/bin has the `llm-api` for `docker compose exec`.
ENV PATH=/app/docker/bin:/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app \
    TOKENIZERS_PARALLELISM=false \
    DO_NOT_TRACK=1 \
    SCARF_NO_ANALYTICS=1 \
    UNSTRUCTURED_DISABLE_NOTICE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HOME=/cache/huggingface \
    DATA_DIR=/data \
    WATCH_DIRS=/inbox \
    HEARTBEAT_FILE=/tmp/heartbeat

WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

ENTRYPOINT ["tini", "--", "/app/docker/entrypoint.sh"]
CMD ["api"]
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=4 \
    CMD ["/app/docker/healthcheck.sh", "api"]
