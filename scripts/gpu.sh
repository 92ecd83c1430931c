#!/usr/bin/env bash
# Prints the GPU of this machine, and what makes llama.cpp use it, separated by tabs; nothing if there is none:
#
#   nvidia   EXTRA_INDEX=https://abetlen.github.io/llama-cpp-python/whl/cu124   NVIDIA GeForce RTX 4090
#   nvidia   CMAKE_ARGS=-DGGML_CUDA=on                                          NVIDIA GH200
#
# EXTRA_INDEX is an index of ready-made wheels, and CMAKE_ARGS an option for compiling. scripts/setup.sh takes either.
set -euo pipefail
# Output is always read to its end: a program that cannot write it would count as failed.

WHEELS=https://abetlen.github.io/llama-cpp-python/whl
# The versions of CUDA for which there are wheels, the newest first.
CUDA_VERSIONS='13.2 13.0 12.5 12.4 12.3 12.2 12.1 11.8'

# Succeeds if version $1 is at least version $2.
at_least() {
    [ "${1%%.*}" -gt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -ge "${2#*.}" ]; }
}

# Prints the wheels for the newest CUDA that the driver runs, if there are any for this machine.
cuda_wheels() {
    local runs version
    [ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || return 0
    runs=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' | sed -n 1p)
    [ -n "$runs" ] || return 0
    for version in $CUDA_VERSIONS; do
        if at_least "$runs" "$version"; then
            printf 'EXTRA_INDEX=%s/cu%s' "$WHEELS" "${version/./}"
            return
        fi
    done
}

nvidia() {
    local name options
    name=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | sed -n 1p) || return 1
    [ -n "$name" ] || return 1
    options=$(cuda_wheels)
    printf 'nvidia\t%s\t%s\n' "${options:-CMAKE_ARGS=-DGGML_CUDA=on}" "$name"
}

# On a Mac, llama.cpp is compiled with Metal unless that is switched off.
metal() {
    [ "$(uname -s)/$(uname -m)" = Darwin/arm64 ] || return 1
    printf 'metal\tEXTRA_INDEX=%s/metal\t%s\n' "$WHEELS" "Apple GPU"
}

# A driver that computes on the CPU counts as no GPU.
vulkan() {
    local name options=CMAKE_ARGS=-DGGML_VULKAN=on
    name=$(vulkaninfo --summary 2>/dev/null |
        awk -F ' *= *' '/deviceType/ { gpu = /_GPU/ && !/_CPU/ } /deviceName/ && gpu && !found++ { print $2 }') || return 1
    [ -n "$name" ] || return 1
    [ "$(uname -s)/$(uname -m)" != Linux/x86_64 ] || options="EXTRA_INDEX=$WHEELS/vulkan"
    printf 'vulkan\t%s\t%s\n' "$options" "$name"
}

nvidia || metal || vulkan || true
