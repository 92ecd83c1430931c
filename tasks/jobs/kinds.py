"""The table of job kinds. Whoever submits, routes, runs, reconciles or renders jobs reads it.

A new kind is an entry here (or a call of `register`), a task function that runs it, and a renderer of its result:
CONTRIBUTING.md shows the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

import msgspec

from core import events
from core.errors import InternalError
from core.messages import DocumentsRequest, EmbedRequest, GenerateRequest, SearchRequest
from tasks.jobs.queues import Task, Tasks

#: Events that a job of any kind may make.
COMMON_EVENTS: frozenset[type[events.Event]] = frozenset({events.Queued, events.Accepted, *events.TERMINAL_EVENTS})
_GENERATION_EVENTS: frozenset[type[events.Event]] = frozenset(
    {
        events.Started,
        events.TextDelta,
        events.ToolCallDelta,
        events.ToolResult,
        events.RoundFinished,
        events.ChoiceFinished,
    }
)


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    Functions are named by import path (`package.module:function`), so that a process which reads the table loads
    neither a model nor the HTTP side.
    """

    #: As records, catalog rows and `/v1/jobs` show it.
    name: str
    #: The type of its request: the body of its record.
    request: type[msgspec.Struct]
    #: The task that a job begins with. Its queue decides which workers take it.
    task: Task
    #: Where a job may come from: the path of each endpoint, with the renderer (`api.renderers.Renderer`) of its result.
    endpoints: Mapping[str, str] = field(default_factory=dict)
    #: Tasks that a job may be handed over to.
    later_tasks: tuple[Task, ...] = ()
    #: Whether a client may wait for its events: the job then ends with its client.
    interactive: bool = True
    #: Whether it may outlive its client (`Prefer: respond-async`), with a row in the catalog.
    durable: bool = True
    #: Events that it makes, besides `COMMON_EVENTS`.
    events: frozenset[type[events.Event]] = frozenset()
    #: For a job that no worker holds until its end: a function of a catalog and a job (`core.catalog`) that returns the
    #: job's result once everything that the job waits for has ended, and None before. Reconciliation calls it.
    result_when_settled: str | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (self.task, *self.later_tasks)

    def task_named(self, name: str) -> Task:
        """Return the task of this name, or the first one if an earlier release named its task otherwise."""
        return next((task for task in self.tasks if task.name == name), self.task)

    def renderer(self, path: str) -> Any:
        """Return the renderer of results for the endpoint at `path`.

        Raises:
            InternalError: no job of this kind comes from there.
        """
        if path not in self.endpoints:
            raise InternalError(f"A job of the kind {self.name!r} does not come from {path}.")
        return resolve_name(self.endpoints[path])


CHAT = JobKind(
    name="chat",
    request=GenerateRequest,
    task=Tasks.GENERATE,
    endpoints={
        "/v1/chat/completions": "api.renderers:chat_completion",
        "/v1/completions": "api.renderers:text_completion",
    },
    events=_GENERATION_EVENTS,
)
RAG_CHAT = JobKind(
    name="rag_chat",
    request=GenerateRequest,
    task=Tasks.RETRIEVE,
    later_tasks=(Tasks.REWRITE, Tasks.GENERATE),
    endpoints={
        "/v1/chat/completions": "api.renderers:chat_completion",
        "/v1/completions": "api.renderers:text_completion",
        "/v1/rag/chat": "api.renderers:rag_answer",
    },
    events=_GENERATION_EVENTS | {events.Retrieved},
)
SEARCH = JobKind(
    name="search",
    request=SearchRequest,
    task=Tasks.SEARCH,
    endpoints={"/v1/rag/search": "api.renderers:search_results"},
    events=frozenset({events.Retrieved}),
)
EMBEDDINGS = JobKind(
    name="embeddings",
    request=EmbedRequest,
    task=Tasks.EMBED,
    endpoints={"/v1/embeddings": "api.renderers:embedding_list"},
)
#: Ends when all of its documents have ended.
DOCUMENTS = JobKind(
    name="documents",
    request=DocumentsRequest,
    task=Tasks.ACCEPT_DOCUMENTS,
    endpoints={
        "/v1/rag/documents": "api.renderers:documents",
        "/v1/rag/documents/upload": "api.renderers:documents",
    },
    interactive=False,
    result_when_settled="tasks.documents.settling:documents_result",
)

_kinds: dict[str, JobKind] = {}
_tasks: dict[str, Task] = {task.name: task for task in vars(Tasks).values() if isinstance(task, Task)}


def register(kind: JobKind) -> JobKind:
    """Add a kind to the table.

    Raises:
        ValueError: another kind has this name, or one of its tasks has the name of another task.
    """
    if kind.name in _kinds:
        raise ValueError(f"There is a job kind {kind.name!r} already.")
    for task in kind.tasks:
        if _tasks.get(task.name, task) != task:
            raise ValueError(f"There is another task {task.name!r} already.")
    _tasks.update({task.name: task for task in kind.tasks})
    _kinds[kind.name] = kind
    return kind


for _kind in (CHAT, RAG_CHAT, SEARCH, EMBEDDINGS, DOCUMENTS):
    register(_kind)


def all_kinds() -> list[JobKind]:
    """Return every kind in the order of registration."""
    return list(_kinds.values())


def all_tasks() -> list[Task]:
    """Return every task, those of registered kinds included."""
    return list(_tasks.values())


def kind_named(name: str) -> JobKind:
    """Return the kind of this name.

    Raises:
        InternalError: there is none: the job was made by a release that knew more kinds.
    """
    if name not in _kinds:
        raise InternalError(f"This release knows no jobs of the kind {name!r}.")
    return _kinds[name]
