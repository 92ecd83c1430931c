"""The language models of this host, for one run of `llm-api up`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from cli.model_workers import ModelWorkers
from cli.programs import Program, model_program, stack_programs
from cli.runtime import RuntimeDir
from cli.stack import Stack
from core.available_memory import memory_limit_bytes
from core.catalog import Catalog
from core.models.library import LibraryModel, ModelLibrary
from core.models.names import model_slug
from core.settings import Settings
from tasks.jobs.producer import Producer

#: The share of the memory of this host that all models may take together, if MODEL_MEMORY_BYTES does not say.
MEMORY_SHARE = 0.8


class HostModels:
    """Makes the processes of a stack, and what starts and stops those of further models."""

    def __init__(
        self, settings: Settings, runtime: RuntimeDir, producer: Producer, report: Callable[[str], None]
    ) -> None:
        self._settings, self._runtime, self._producer, self._report = settings, runtime, producer, report
        self._library = ModelLibrary(settings)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog.open(self._settings.catalog_url)

    @cached_property
    def _chosen(self) -> LibraryModel | None:
        """The model that somebody chose as the default one; None: it is the one that the settings name."""
        chosen = next((wish.model for wish in self._catalog.model_wishes() if wish.is_default), None)
        configured = self._library.configured_name
        if chosen is None or chosen == model_slug(configured):
            return None
        found = next((model for model in self._library.models() if model.slug == chosen), None)
        if found is None:
            self._report(f"the default model, {chosen}, is not on this disk; {configured} answers in its place")
        return found

    def programs(self) -> list[Program]:
        """Return the processes that start together, among them the worker of the default model.

        Raises:
            ConfigurationError: there is no Redis server on this machine, or no model.
            Unavailable: the catalog does not answer.
        """
        return stack_programs(self._settings, self._runtime, self._producer, self._chosen)

    def workers(self, stack: Stack) -> ModelWorkers:
        """Return what starts and stops the workers of the other models."""
        return ModelWorkers(
            self._settings,
            stack,
            self._producer,
            self._catalog,
            self._library,
            default=self._chosen.slug if self._chosen else model_slug(self._library.configured_name),
            memory_bytes=self._settings.model_memory_bytes or int(MEMORY_SHARE * memory_limit_bytes()),
            make_program=partial(model_program, self._settings, self._runtime),
            report=self._report,
        )

    def close(self) -> None:
        """Close the catalog, if it was opened."""
        if "_catalog" in vars(self):
            self._catalog.close()
