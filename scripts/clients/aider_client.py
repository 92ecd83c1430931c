"""aider, which asks for an edit of a file. Whether the edit succeeds is up to the model alone; aider uses no tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import API_KEY, BASE_URL, MODEL, require, run

SOURCE = "def greet():\n    print('hello')\n"
OPTIONS = (
    "--no-git --yes-always --no-check-update --no-show-release-notes --analytics-disable --no-show-model-warnings "
    "--no-pretty --no-fancy-input --no-suggest-shell-commands --no-detect-urls --map-tokens 0"
)
#: A model that is too small for an edit may go on for as long as it is allowed to.
MAX_TOKENS = 400
#: What litellm and aider print if the server's answer is of no use to them.
FAULTS = ("litellm.", "Traceback", "APIError", "APIConnectionError", "Empty response received")


def edit(*options: str) -> str:
    """Ask for an edit of a file of two lines, and return "edited" or "no edit".

    Raises:
        AssertionError: aider failed, or reports a fault of the server.
    """
    command = [str(Path(sys.executable).with_name("aider")), "--model", f"openai/{MODEL}", *OPTIONS.split(), *options]
    environment = {
        **os.environ,
        "OPENAI_API_BASE": BASE_URL,
        "OPENAI_API_KEY": API_KEY,
        # Or litellm fetches a list of prices.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "greet.py")
        file.write_text(SOURCE)
        settings = [{"name": f"openai/{MODEL}", "edit_format": "diff", "extra_params": {"max_tokens": MAX_TOKENS}}]
        Path(folder, ".aider.model.settings.yml").write_text(json.dumps(settings))  # JSON is YAML, too
        result = subprocess.run(
            [*command, "--message", "Print 'goodbye' instead of 'hello'.", file.name],
            cwd=folder,
            env={**environment, "HOME": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        printed = result.stdout + result.stderr
        require(result.returncode == 0 and not any(fault in printed for fault in FAULTS), printed[-500:])
        # "Tokens: 2k sent, 90 received", or "Output tokens: ~400" if the model did not end by itself.
        require("tokens:" in printed.lower(), f"aider reports no answer: {printed[-500:]}")
        return "edited" if "goodbye" in file.read_text() else "no edit"


run(chat=lambda: edit("--no-stream"), stream=lambda: edit("--stream"), tools=lambda: "not used")
