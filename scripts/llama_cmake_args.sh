#!/usr/bin/env bash
# Prints the options with which llama.cpp is to be compiled on this machine: CMAKE_ARGS, and without AMX where the compiler
# miscompiles it. scripts/setup.sh and the Dockerfile use it.
set -euo pipefail

# Some versions of GCC declare that a configuration of AMX tiles has 8 bytes, and drop what is stored in the other 56.
# llama.cpp uses AMX where the processor has it, and would then end with an illegal instruction. The header shows it.
miscompiles_amx() {
    grep -qsw amx_int8 "${CPUINFO:-/proc/cpuinfo}" &&
        [[ $(echo '#include <immintrin.h>' | "${CC:-cc}" -mamx-tile -E - 2>/dev/null) == *'(const void **)__config'* ]]
}

without_amx=''
miscompiles_amx && without_amx='-DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__'
printf '%s' "${CMAKE_ARGS:-}${CMAKE_ARGS:+ }$without_amx"
