"""What the checks of each client share. It runs in the client's environment, so it imports the standard library alone.

A client's file is run as `python FILE MODEL`, with BASE_URL and API_KEY in its environment. It prints a line of JSON
for each check: `{"check": "chat", "outcome": "ok"}`. The outcomes are explained in run.py.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]
MODEL = sys.argv[1]
QUESTION = "How is the weather in Paris?"
#: Enough for a sentence or a call, so that a slow model does not take minutes.
MAX_TOKENS = 60
OK = "ok"
NO_CALL = "no call"


def run(**checks: Callable[[], str | None]) -> None:
    """Run the checks and print their outcomes. A check returns its outcome, or None for "ok"."""
    for name, check in checks.items():
        try:
            outcome = check() or OK
        except Exception as error:  # any fault of the client or the server is the outcome of this check
            traceback.print_exc()
            outcome = f"failed: {type(error).__name__}: {error}"
        print(json.dumps({"check": name, "outcome": outcome}), flush=True)


def require(holds: object, what: str) -> None:
    """Raise AssertionError with `what` unless it holds."""
    if not holds:
        raise AssertionError(what)


def get_weather(unit: str) -> str:
    """Return the weather in Paris, in a unit: celsius or fahrenheit."""
    return f"21 degrees {unit}"


#: `get_weather` as the wire has it.
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather in Paris.",
        "parameters": {
            "type": "object",
            "properties": {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    },
}
