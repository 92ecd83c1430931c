"""`make run` finds a GPU by programs on the PATH, which are imitated here, and says what makes llama.cpp use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEELS = "https://abetlen.github.io/llama-cpp-python/whl"
LINUX = 'case "$1" in -s) echo Linux;; -m) echo x86_64;; esac'
ARM = 'case "$1" in -s) echo Linux;; -m) echo aarch64;; esac'
MAC = 'case "$1" in -s) echo Darwin;; -m) echo arm64;; esac'
NVIDIA = """case "$1" in
--query-gpu=name) echo "NVIDIA L4" ; echo "NVIDIA L4" ;;
*) echo "| NVIDIA-SMI 550.54    Driver Version: 550.54    CUDA Version: {cuda}  |" ;;
esac"""
NO_DRIVER = 'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver" ; exit 9'
VULKAN = """cat <<END
GPU0:
    deviceType         = PHYSICAL_DEVICE_TYPE_CPU
    deviceName         = llvmpipe (LLVM 17.0.6, 256 bits)
{gpu}
END"""
RADEON = """GPU1:
    deviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
    deviceName         = AMD Radeon RX 7900 XTX"""


def path_with(folder: Path, programs: Mapping[str, str]) -> str:
    """Return a PATH with these programs and those that the script needs."""
    folder.mkdir()
    for name in ("bash", "sed", "awk", "cat", "env"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    for name, text in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({"uname": LINUX}, ""),
        ({"uname": LINUX, "nvidia-smi": NO_DRIVER}, ""),
        ({"uname": LINUX, "nvidia-smi": NVIDIA.format(cuda="12.4")}, f"nvidia\tEXTRA_INDEX={WHEELS}/cu124\tNVIDIA L4"),
        ({"uname": LINUX, "nvidia-smi": NVIDIA.format(cuda="12.9")}, f"nvidia\tEXTRA_INDEX={WHEELS}/cu125\tNVIDIA L4"),
        ({"uname": LINUX, "nvidia-smi": NVIDIA.format(cuda="13.1")}, f"nvidia\tEXTRA_INDEX={WHEELS}/cu130\tNVIDIA L4"),
        ({"uname": LINUX, "nvidia-smi": NVIDIA.format(cuda="11.4")}, "nvidia\tCMAKE_ARGS=-DGGML_CUDA=on\tNVIDIA L4"),
        ({"uname": ARM, "nvidia-smi": NVIDIA.format(cuda="12.4")}, "nvidia\tCMAKE_ARGS=-DGGML_CUDA=on\tNVIDIA L4"),
        ({"uname": MAC}, f"metal\tEXTRA_INDEX={WHEELS}/metal\tApple GPU"),
        ({"uname": LINUX, "vulkaninfo": VULKAN.format(gpu="")}, ""),
        (
            {"uname": LINUX, "vulkaninfo": VULKAN.format(gpu=RADEON)},
            f"vulkan\tEXTRA_INDEX={WHEELS}/vulkan\tAMD Radeon RX 7900 XTX",
        ),
        (
            {"uname": ARM, "vulkaninfo": VULKAN.format(gpu=RADEON)},
            "vulkan\tCMAKE_ARGS=-DGGML_VULKAN=on\tAMD Radeon RX 7900 XTX",
        ),
    ],
)
def test_the_gpu_and_what_uses_it_are_found(tmp_path: Path, programs: Mapping[str, str], found: str) -> None:
    path = path_with(tmp_path / "bin", programs)
    bash = shutil.which("bash")
    assert bash
    ran = subprocess.run([bash, str(ROOT / "scripts/gpu.sh")], env={"PATH": path}, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, found, "")


#: An interpreter that makes an environment and writes down what pip is asked for.
PYTHON = """case "$*" in
"-m venv --clear .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
*"pip install"*) echo "CMAKE_ARGS=${CMAKE_ARGS:-} $*" >>asked ; touch .venv/bin/llm-api ; chmod +x .venv/bin/llm-api ;;
--version) echo "Python 3.11.9" ;;
*"pip --version"*) echo "pip 25 from $PWD/.venv/lib" ;;
esac"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with nothing but what the setup reads."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("setup.sh", "gpu.sh", "llama_cmake_args.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


def set_up(checkout: Path, programs: Mapping[str, str], **environment: str) -> tuple[int, str, str]:
    """Run the setup. Return its exit status, what it said, and what pip was asked for."""
    own = checkout.parent / "bin"
    shutil.rmtree(own, ignore_errors=True)
    path = path_with(own, {"python3.11": PYTHON, "cc": "exit 0", "c++": "exit 0", "uname": LINUX, **programs})
    path = f"{path}:{os.environ['PATH']}"
    settings = {"PATH": path, "REDIS_URL": "redis://elsewhere", "CPUINFO": "/dev/null", **environment}
    ran = subprocess.run(
        ["bash", "scripts/setup.sh", "run"], cwd=checkout, env=settings, capture_output=True, text=True, timeout=60
    )
    asked = checkout / "asked"
    return ran.returncode, ran.stdout + ran.stderr, asked.read_text() if asked.exists() else ""


CUDA = {"nvidia-smi": NVIDIA.format(cuda="12.4")}


@pytest.mark.check
def test_the_setup_says_how_the_gpu_is_used_and_leaves_it_alone(checkout: Path) -> None:
    status, said, asked = set_up(checkout, CUDA)
    assert status == 0, said
    assert f"There is a GPU (NVIDIA L4): `make run GPU=1` uses it (with EXTRA_INDEX={WHEELS}/cu124)." in said
    assert WHEELS not in asked


@pytest.mark.check
def test_with_gpu_the_wheels_for_it_are_installed(checkout: Path) -> None:
    # Given an environment for the CPU
    set_up(checkout, CUDA)
    # When it is set up for the GPU
    status, said, asked = set_up(checkout, CUDA, GPU="1")
    # Then the wheels come from the index for it, and nothing is compiled instead
    assert status == 0, said
    assert f"--extra-index-url {WHEELS}/cu124 --only-binary llama-cpp-python -e ." in asked.splitlines()[-1]
    # And the environment is kept from then on
    assert set_up(checkout, CUDA, GPU="1")[1] == set_up(checkout, CUDA)[1] == ""


@pytest.mark.check
def test_with_gpu_llama_cpp_is_compiled_for_it_where_there_are_no_wheels(checkout: Path) -> None:
    status, said, asked = set_up(checkout, {"nvidia-smi": NVIDIA.format(cuda="11.4")}, GPU="1")
    assert status == 0, said
    assert asked.startswith("CMAKE_ARGS=-DGGML_CUDA=on") and "--only-binary" not in asked


@pytest.mark.check
def test_given_options_win(checkout: Path) -> None:
    asked = set_up(checkout, CUDA, GPU="1", EXTRA_INDEX="https://example.org/wheels")[2]
    assert "https://example.org/wheels" in asked and WHEELS not in asked


@pytest.mark.check
def test_gpu_without_a_gpu_is_refused(checkout: Path) -> None:
    status, said, asked = set_up(checkout, {"nvidia-smi": NO_DRIVER, "vulkaninfo": "exit 1"}, GPU="1")
    assert (status, asked) == (1, "")
    assert "GPU=1: no GPU was found" in said
