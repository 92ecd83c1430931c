"""The scripts with which the image is built and checked: the health check, and the options for compiling llama.cpp."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.settings import load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import ROOT, free_port

HEALTHCHECK = ROOT / "docker" / "healthcheck.sh"
LLAMA_OPTIONS = ROOT / "scripts" / "llama_cmake_args.sh"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def health(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return the exit status and the output of the health check."""
    command = [str(HEALTHCHECK), *arguments]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin"} | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("age_seconds", "expected"),
    [
        (2, (0, "healthy\n")),
        (600, (1, "the index process has not announced itself for 60")),
        (None, (1, "the index process has not announced itself yet\n")),
    ],
)
def test_a_worker_is_healthy_while_it_announces_itself(
    tmp_path: Path, age_seconds: int | None, expected: tuple[int, str]
) -> None:
    heartbeat = tmp_path / "heartbeat"
    if age_seconds is not None:
        heartbeat.touch()
        os.utime(heartbeat, times=(time.time() - age_seconds,) * 2)
    status, said = health("index", HEARTBEAT_FILE=str(heartbeat))
    assert status == expected[0]
    assert said.startswith(expected[1])


def test_a_process_touches_its_heartbeat_file_when_it_has_announced_itself(redis_url: str, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    producer = Producer(load_settings(_env_file=None, redis_url=redis_url, heartbeat_file=heartbeat))
    producer.announce(Role.MAINTENANCE, "maintenance@test-image", {})
    producer.withdraw(Role.MAINTENANCE, "maintenance@test-image")
    producer.close()
    assert health("maintenance", HEARTBEAT_FILE=str(heartbeat)) == (0, "healthy\n")


@pytest.mark.parametrize(
    ("service", "path", "answer", "expected"),
    [
        ("api", "/health", 200, (0, "healthy\n")),
        ("api", "/health", 503, (1, "http://127.0.0.1:{port}/health answered 503\n")),
        ("flower", "/", 401, (0, "healthy\n")),
        ("api", "/health", None, (1, "http://127.0.0.1:{port}/health does not answer\n")),
    ],
)
def test_a_server_is_healthy_while_it_answers(
    service: str, path: str, answer: int | None, expected: tuple[int, str]
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer is not None:
                self.send_response(answer if self.path == path else 404)
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_port
        assert health(service, str(port)) == (expected[0], expected[1].format(port=port))


def test_what_does_not_run_or_is_not_known_is_not_healthy() -> None:
    port = free_port()
    assert health("api", str(port)) == (1, f"http://127.0.0.1:{port}/health does not answer\n")
    assert health("chef") == (1, "there is no service 'chef'\n")


# Compiling llama.cpp

#: What the header of the wrong compilers says of the operand of `_tile_loadconfig`, and that of the right ones.
WRONG, RIGHT = '"m" (*((const void **)__config))', '"m" (*((const __tile *)__config))'


@pytest.mark.parametrize(
    ("flags", "header", "given", "expected"),
    [
        ("avx2 amx_tile amx_int8", WRONG, "", "-DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__"),
        ("amx_int8", WRONG, "-DX=1", "-DX=1 -DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__"),
        ("amx_int8", RIGHT, "", ""),
        ("avx2", WRONG, "-DX=1", "-DX=1"),
    ],
)
def test_llama_is_compiled_without_amx_where_the_compiler_miscompiles_it(
    tmp_path: Path, flags: str, header: str, given: str, expected: str
) -> None:
    compiler, processor = tmp_path / "cc", tmp_path / "cpuinfo"
    compiler.write_text(f"#!/bin/sh\ncat <<'END'\n{header}\nEND\n")
    compiler.chmod(0o755)
    processor.write_text(f"flags\t\t: fpu {flags} sse\n")
    environment = {**os.environ, "CC": str(compiler), "CPUINFO": str(processor), "CMAKE_ARGS": given}
    printed = subprocess.run([LLAMA_OPTIONS], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.rstrip() == expected


def test_installation_and_image_compile_llama_with_the_same_options() -> None:
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert setup.count("scripts/llama_cmake_args.sh") == 3
    assert 'CMAKE_ARGS="$(bash /tmp/llama_cmake_args.sh)"' in DOCKERFILE
    assert "!scripts/llama_cmake_args.sh" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
