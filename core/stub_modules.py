"""Stubs for modules that a library imports though what it does here never uses them: they would only take memory."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def stubbed(*names: str, missing: tuple[str, ...] = ()) -> Iterator[None]:
    """Have a library imported without some modules, within a `with` block. Modules that are loaded already stay.

    Args:
        names: modules whose functions import the real module when they are called, so that nothing is lost.
        missing: modules whose import fails, for libraries that can do without them.
    """
    stubs: dict[str, ModuleType | None] = {name: _Stub(name) for name in names} | dict.fromkeys(missing)
    added = {name: stub for name, stub in stubs.items() if name not in sys.modules}
    sys.modules.update(added)  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)


def replace_module(name: str, contents: Mapping[str, object], *, is_package: bool = False) -> None:
    """Have a module with these contents imported in place of the real one, unless that is loaded.

    The real one is imported as soon as any other attribute, or a module of a package, is asked for. It then replaces
    this one.
    """
    if name not in sys.modules:
        sys.modules[name] = _Replacement(name, contents, is_package)


class _Stub(ModuleType):
    """A module whose every attribute is a function that calls the real module's."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*arguments, **options)

        return call


class _Replacement(ModuleType):
    """A module with some contents, and otherwise those of the real one."""

    def __init__(self, name: str, contents: Mapping[str, object], is_package: bool) -> None:
        super().__init__(name)
        vars(self).update(contents)
        # Other attributes of this form are looked for in every module, by some libraries. That must load nothing.
        self._of_import_system = {"__path__"} if is_package else set[str]()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in self._of_import_system:
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
