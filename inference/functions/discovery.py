"""Finds and loads functions: the built-in ones, those in `FUNCTIONS_DIR`, and those of installed packages."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from core.settings import Settings
from inference.functions import builtin
from inference.functions.registry import FunctionRegistry, function_registry

log = logging.getLogger(__name__)

#: The entry point group in which a package names its module; importing the module registers its functions.
ENTRY_POINT_GROUP = "llm_api.functions"
_MODULE_PREFIX = "llm_api_user_functions"


@dataclass(frozen=True)
class LoadFailure:
    """A source of functions that could not be loaded, and why; the other sources are not affected."""

    source: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """The names of all loaded functions, and the sources that could not be loaded."""

    names: list[str]
    failures: list[LoadFailure]


def load_functions(settings: Settings, registry: FunctionRegistry = function_registry) -> LoadReport:
    """Load all functions into the registry, and set its time limit.

    Only tests pass another `registry`; the files themselves import `function_registry`.
    """
    registry.timeout_seconds = settings.function_timeout_seconds
    for module in pkgutil.iter_modules(builtin.__path__):
        importlib.import_module(f"{builtin.__name__}.{module.name}")
    failures = _load_folder(settings.functions_dir, registry)
    failures += [
        failure
        for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)
        if (failure := _attempt(f"package {entry.value}", entry.module, registry, _entry_loader(entry)))
    ]
    for failure in failures:
        log.error("Functions of %s are not available: %s", failure.source, failure.reason)
    return LoadReport(registry.names, failures)


def _load_folder(folder: Path | None, registry: FunctionRegistry) -> list[LoadFailure]:
    if folder is None:
        return []
    if not folder.is_dir():
        return [LoadFailure(str(folder), "FUNCTIONS_DIR is not a folder")]
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))  # last, so that its modules do not shadow installed ones
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))
    attempts = (_attempt(str(path), _module_name(path), registry, _file_loader(path)) for path in files)
    return [failure for failure in attempts if failure]


def _attempt(source: str, module_name: str, registry: FunctionRegistry, load: Callable[[], None]) -> LoadFailure | None:
    """Load one source; if it fails, unregister its functions, so that either all of them or none are available."""
    try:
        load()
    except (Exception, SystemExit) as error:  # a user's code may raise anything, and must not stop the server
        log.debug("Loading %s failed", source, exc_info=True)
        registry.unregister_source(module_name)
        return LoadFailure(source, f"{type(error).__name__}: {error}")
    return None


def _entry_loader(entry: EntryPoint) -> Callable[[], None]:
    def load() -> None:
        entry.load()

    return load


def _file_loader(path: Path) -> Callable[[], None]:
    def load() -> None:
        name = _module_name(path)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # annotations and pickling look up the module by its name
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise

    return load


def _module_name(path: Path) -> str:
    """Return a unique module name, even if files in other folders have the same name."""
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return f"{_MODULE_PREFIX}_{key}_{path.stem}"
