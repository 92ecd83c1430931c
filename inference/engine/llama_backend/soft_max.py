"""exp over a row of logits: by ggml, whose function takes a third of numpy's time, or by numpy where it is missing."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


def _ggml_function() -> Any:
    """Return `ggml_vec_soft_max_f32(count, out, values, largest)`, which returns the sum, or None if it is missing.

    It is not part of ggml's interface, so another build may lack it.
    """
    libraries = sorted((Path(llama.__file__).parent / "lib").glob("libggml-cpu.*"))
    for path in libraries[:1]:
        function = getattr(ctypes.CDLL(str(path)), "ggml_vec_soft_max_f32", None)
        if function is not None:
            function.restype = ctypes.c_double
            function.argtypes = ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float
            return function
    log.info("ggml's softmax is not accessible: numpy's exp is used, and sampling takes longer")
    return None


_ggml = _ggml_function()


def exp_and_sum(values: NDArray[np.float32], largest: float, out: NDArray[np.float32]) -> float:
    """Write exp(value - largest) to `out` and return the sum. All arrays are contiguous, shape [count]."""
    if _ggml is not None:
        return float(_ggml(values.size, out.ctypes.data, values.ctypes.data, largest))
    np.subtract(values, np.float32(largest), out=out)
    np.exp(out, out=out)
    return float(out.sum(dtype=np.float64))
