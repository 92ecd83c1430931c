"""sentence-transformers, imported without what only training and compiling need: 100 MB and a second less."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from core.stub_modules import replace_module, stubbed

#: Losses of training and functions of evaluation take these.
_OF_TRAINING = ("scipy.optimize", "scipy.sparse", "sklearn.metrics")
_COMPILER = "torch._dynamo"
#: A module of the compiler that transformers uses without it. It needs nothing of the others.
_USED_MODULE = "_trace_wrapped_higher_order_op"


def import_library(*, with_compiler: bool) -> ModuleType:
    """Return the package `sentence_transformers`.

    Args:
        with_compiler: import torch's compiler too. Otherwise it is imported when something is compiled. Then functions
            that torch and transformers have marked for it before are not marked.
    """
    if not with_compiler:
        _defer_compiler()
    with stubbed(*_OF_TRAINING):
        return importlib.import_module("sentence_transformers")


def _defer_compiler() -> None:
    import torch

    markers = dict.fromkeys(("allow_in_graph", "assume_constant_result", "disable"), _unmarked)
    replace_module(_COMPILER, markers, is_package=True)
    name = f"{_COMPILER}.{_USED_MODULE}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(torch.__file__).with_name("_dynamo") / f"{_USED_MODULE}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


def _unmarked(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Return the function, or a decorator that does."""
    return _unmarked if function is None else function
