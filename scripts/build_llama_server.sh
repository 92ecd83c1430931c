#!/usr/bin/env bash
# Builds llama.cpp's own server, of the same revision as the installed llama-cpp-python, for the benchmarks to compare with.
# Takes about 12 minutes on two cores. The benchmarks find it by the variable LLAMA_SERVER.
#
#   scripts/build_llama_server.sh [FOLDER]      (default: build/llama-server)
set -euo pipefail
cd "$(dirname "$0")/.."

FOLDER="$(mkdir -p "${1:-build/llama-server}" && cd "${1:-build/llama-server}" && pwd)"
PYTHON=.venv/bin/python
VERSION="$("$PYTHON" -c 'import importlib.metadata as m; print(m.version("llama-cpp-python"))')"
CORES="$(getconf _NPROCESSORS_ONLN)"
SOURCE="$FOLDER/llama_cpp_python-$VERSION"

if [ ! -d "$SOURCE" ]; then
    "$PYTHON" -m pip download --disable-pip-version-check --quiet --no-deps --no-binary llama-cpp-python \
        --dest "$FOLDER" "llama-cpp-python==$VERSION"
    tar -xzf "$SOURCE.tar.gz" -C "$FOLDER"
fi

CMAKE=cmake
if ! command -v cmake >/dev/null; then
    "$PYTHON" -m venv "$FOLDER/tools"
    "$FOLDER/tools/bin/pip" install --disable-pip-version-check --quiet cmake
    CMAKE="$FOLDER/tools/bin/cmake"
fi
read -ra OPTIONS <<<"$(scripts/llama_cmake_args.sh)"
"$CMAKE" -S "$SOURCE/vendor/llama.cpp" -B "$FOLDER/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=ON -DLLAMA_CURL=OFF \
    -DLLAMA_OPENSSL=OFF ${OPTIONS[@]+"${OPTIONS[@]}"}
"$CMAKE" --build "$FOLDER/build" --target llama-server --parallel "$CORES"
echo "LLAMA_SERVER=$FOLDER/build/bin/llama-server"
