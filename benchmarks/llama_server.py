"""llama.cpp's own server, for comparison: `scripts/build_llama_server.sh` builds it, LLAMA_SERVER names it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.idle_stack import free_port
from core.settings import Settings
from inference.engine.llama_backend import faster_starter
from inference.engine.model_files import resolve_model

START_SECONDS = 120.0


def llama_server() -> Path | None:
    """Return the program that LLAMA_SERVER names, or None if it is not set.

    Raises:
        FileNotFoundError: there is no such file.
    """
    name = os.environ.get("LLAMA_SERVER")
    if name is None:
        return None
    return Path(name).resolve(strict=True)


@contextmanager
def running_llama_server(settings: Settings, *, slots: int, context_tokens: int) -> Iterator[str | None]:
    """Run the server on the model that the stack uses, and yield its base URL; None if LLAMA_SERVER is not set.

    Args:
        context_tokens: of each slot, which has a stream of the cache for itself.
    """
    program = llama_server()
    if program is None:
        yield None
        return
    port = free_port()
    threads = settings.inference_threads or settings.cores
    command = [
        str(program), "--model", str(model_path(settings)), "--host", "127.0.0.1", "--port", str(port),
        "--parallel", str(slots), "--ctx-size", str(slots * context_tokens), "--threads", str(threads),
        "--no-webui", "--log-disable", "--jinja",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base_url = f"http://127.0.0.1:{port}"
        _wait_until_ready(base_url, server)
        yield base_url
    finally:
        server.terminate()
        server.wait(30)


def model_path(settings: Settings) -> Path:
    """Return the GGUF file that the inference worker loads."""
    file = resolve_model(settings)
    return (faster_starter(file, settings.state_dir / "starter") if file.is_starter else file).path


def _wait_until_ready(base_url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{base_url}/health", timeout=10).is_success:
                return
        time.sleep(0.1)
    raise TimeoutError("llama-server did not start")
