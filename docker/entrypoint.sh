#!/bin/sh
# Starts one process of llm-api: api, worker ROLE, watcher, flower, migrate or secrets. Anything else is run as a command.
# If the secrets that docker-compose.yml generates exist, the addresses of the services are built from them, unless they
# are set already.
set -eu

SECRETS_DIR="${SECRETS_DIR:-/secrets}"

secret() { cat "$SECRETS_DIR/$1"; }

compose_addresses() {
    [ -r "$SECRETS_DIR/redis_password" ] || return 0
    export REDIS_URL="${REDIS_URL:-redis://:$(secret redis_password)@redis:6379/0}"
    export DATABASE_URL="${DATABASE_URL:-postgresql+psycopg://llm_api:$(secret postgres_password)@postgres:5432/llm_api}"
    export FLOWER_PASSWORD="${FLOWER_PASSWORD:-$(secret flower_password)}"
    if [ -z "${QDRANT_URL:-}${QDRANT_HOST:-}" ] && [ "${QDRANT_USE_MEMORY:-false}" != true ]; then
        export QDRANT_URL=http://qdrant:6333
        QDRANT_API_KEY="$(secret qdrant_api_key)"
        export QDRANT_API_KEY
    fi
}

# The API listens on all addresses of its container; the address where its port is published decides who can reach it.
# On loopback no key is needed. On any other address the API requires keys or ALLOW_ANONYMOUS, as it always does.
listen() {
    export HOST=0.0.0.0 PORT=8000
    # For Prometheus, without a key. This port is not published: only the other containers reach it.
    export METRICS_HOST=0.0.0.0 METRICS_PORT=9464
    # The names under which other containers reach it.
    export ALLOWED_HOSTS="${ALLOWED_HOSTS:+$ALLOWED_HOSTS,}api,host.docker.internal"
    case "${BIND_ADDRESS:-}" in
        127.* | ::1 | "[::1]") export ALLOW_ANONYMOUS="${ALLOW_ANONYMOUS:-true}" ;;
    esac
}

# Reads the settings that the command lines need. An invalid setting ends the start here, with one line that names it.
read_settings() {
    values="$(
        python - <<'PYTHON'
import sys

from core.errors import ConfigurationError
from core.settings import load_settings

try:
    settings = load_settings()
except ConfigurationError as error:
    sys.exit(error.message)
pool_threads = settings.slots + settings.inference_waiting_limit
print(settings.log_level.lower(), settings.cores, settings.parsers, pool_threads)
PYTHON
    )"
    read -r LEVEL CORES PARSERS POOL_THREADS <<VALUES
$values
VALUES
}

worker() {
    role="$1"
    read_settings
    case "$role" in
        index | inference) export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$CORES}" ;;
        *) export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" ;;
    esac
    # As in cli/programs.py: waiting threads soon yield their core to others.
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-3000}"
    # Also as there: workers do not need to exchange messages with each other.
    set -- python -m tasks worker --without-gossip --without-mingle --heartbeat-interval=10 \
        -n "$role@%h" -l "$LEVEL"
    case "$role" in
        ingest) set -- "$@" -Q ingest -P prefork -c "$PARSERS" ;;
        index) set -- "$@" -Q query,index -P threads -c 40 ;;
        inference) set -- "$@" -Q inference,batch -P threads -c "$POOL_THREADS" ;;
        maintenance) set -- "$@" -Q maintenance -P solo -B ;;
        *)
            echo "There is no worker '$role': ingest, index, inference or maintenance." >&2
            exit 64
            ;;
    esac
    exec "$@"
}

compose_addresses
case "${1:-}" in
    api)
        listen
        read_settings
        python docker/check_access.py
        exec python -m api.server --host "$HOST" --port "$PORT" --log-level "$LEVEL" --timeout-graceful-shutdown 20
        ;;
    worker) worker "${2:-}" ;;
    watcher) exec python -m watchers ;;
    flower) exec python -m tasks flower --conf=docker/flowerconfig.py ;;
    migrate) exec python docker/migrate.py ;;
    secrets)
        python docker/check_settings.py
        exec python docker/make_secrets.py "$SECRETS_DIR"
        ;;
    *) exec "$@" ;;
esac
