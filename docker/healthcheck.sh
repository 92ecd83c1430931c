#!/bin/bash
# Checks the process of this container: exits with status 0 or 1, and prints the reason. It starts no Python, because all
# containers run it twice a minute: on a busy host, that many interpreters do not start in time.
#
#   healthcheck.sh api|flower [PORT]
#   healthcheck.sh ingest|index|inference|maintenance|watcher
set -u

# Workers and the watcher announce themselves every two seconds, and then touch HEARTBEAT_FILE.
SILENCE_SECONDS=15
TIMEOUT_SECONDS=10

unhealthy() {
    echo "$*"
    exit 1
}

check_http() {
    local url="http://127.0.0.1:$1$2" status=''
    {
        printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
        read -r -t "$TIMEOUT_SECONDS" _ status _ <&3
    } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1"
    # Flower answers 401 without a login, which shows that it works.
    case "$status" in
        200 | 401) ;;
        '') unhealthy "$url does not answer" ;;
        *) unhealthy "$url answered $status" ;;
    esac
}

check_heartbeat() {
    local file="${HEARTBEAT_FILE:-/tmp/heartbeat}" now touched
    touched=$(stat -c %Y "$file" 2>/dev/null) || unhealthy "the $1 process has not announced itself yet"
    printf -v now '%(%s)T' -1
    ((now - touched < SILENCE_SECONDS)) ||
        unhealthy "the $1 process has not announced itself for $((now - touched)) seconds"
}

case "${1:-api}" in
    api) check_http "${2:-8000}" /health ;;
    flower) check_http "${2:-5555}" / ;;
    ingest | index | inference | maintenance | watcher) check_heartbeat "$1" ;;
    *) unhealthy "there is no service '$1'" ;;
esac
echo healthy
