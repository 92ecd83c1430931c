"""The command `llm`, which gets the server's models from its file extra-openai-models.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import API_KEY, BASE_URL, MAX_TOKENS, MODEL, NO_CALL, QUESTION, require, run

FUNCTION = '''
def get_weather(unit: str) -> str:
    """Return the weather in Paris, in a unit: celsius or fahrenheit."""
    return "21 degrees " + unit
'''


def llm(*options: str) -> subprocess.CompletedProcess[str]:
    """Run a prompt, and return what the command printed.

    Raises:
        AssertionError: the command failed; the message has what it printed last.
    """
    command = [str(Path(sys.executable).with_name("llm")), "-m", MODEL, "-o", "max_tokens", str(MAX_TOKENS), "-n"]
    with tempfile.TemporaryDirectory() as folder:
        # A JSON value is YAML, too.
        model = {
            "model_id": MODEL,
            "model_name": MODEL,
            "api_base": BASE_URL,
            "api_key_name": "server",
            "supports_tools": True,
        }
        Path(folder, "extra-openai-models.yaml").write_text(json.dumps([model]))
        Path(folder, "keys.json").write_text(json.dumps({"server": API_KEY}))
        environment = {**os.environ, "LLM_USER_PATH": folder}
        result = subprocess.run(
            [*command, *options, QUESTION], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    require(result.returncode == 0, result.stderr[-500:])
    return result


def chat() -> None:
    """Check an answer."""
    require(llm("--no-stream").stdout.strip(), "the answer has no text")


def stream() -> None:
    """Check a streamed answer."""
    require(llm().stdout.strip(), "no chunk has text")


def tools() -> str | None:
    """Offer a tool, whole and streamed. The command cannot enforce a call."""
    called = [
        "Tool call: get_weather" in llm("--functions", FUNCTION, "--td", *way).stderr for way in ((), ("--no-stream",))
    ]
    return None if any(called) else NO_CALL


run(chat=chat, stream=stream, tools=tools)
