"""llama.cpp's log, and the last error in it."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

import llama_cpp.llama_cpp as llama

_LOG_LEVELS = {3: logging.WARNING, 4: logging.ERROR}

log = logging.getLogger(__name__)
_last_error = ""


def _forward_log(level: int, text: bytes, _data: Any) -> None:
    """Forward llama.cpp's warnings and errors to this process' log."""
    global _last_error
    # All slots share the context, so the warning that it is longer than the model was trained for means nothing.
    if level in _LOG_LEVELS and b"n_ctx_seq" not in text:
        message = text.decode("utf-8", errors="replace").strip()
        if level == 4:
            _last_error = message
        log.log(_LOG_LEVELS[level], "llama.cpp: %s", message)


#: Kept at module level, because C holds a pointer to it for ever.
_on_log = llama.llama_log_callback(_forward_log)


def forward_log() -> None:
    """Send llama.cpp's warnings and errors to this process' log from now on."""
    llama.llama_log_set(_on_log, ctypes.c_void_p(0))


def last_error() -> str:
    """Return the last error that llama.cpp logged; its functions only return that they failed."""
    return _last_error
