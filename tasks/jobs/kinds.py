"""The table of job kinds, which submission, routing, running, reconciliation and rendering all read.

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
from core.messages import (
    CompleteRequest,
    DetokenizeRequest,
    DocumentsRequest,
    EmbedRequest,
    EvaluateRequest,
    GenerateRequest,
    PullRequest,
    RerankRequest,
    SearchRequest,
    TokenizeRequest,
)
from tasks.jobs.queues import Task, Tasks

#: Events that a job of any kind may emit.
COMMON_EVENTS: frozenset[type[events.Event]] = frozenset({events.Queued, events.Accepted, *events.TERMINAL_EVENTS})
_GENERATION_EVENTS: frozenset[type[events.Event]] = frozenset(
    {
        events.Started,
        events.TextDelta,
        events.ReasoningDelta,
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

    #: The name in records, catalog rows and `/v1/jobs`.
    name: str
    #: The type of the request that the record holds.
    request: type[msgspec.Struct]
    #: The first task of a job. Its queue decides which workers take the job.
    task: Task
    #: The paths of the endpoints that submit such jobs, each with its renderer of results (`api.renderers.Renderer`).
    endpoints: Mapping[str, str] = field(default_factory=dict)
    #: Tasks that a job may be handed over to.
    later_tasks: tuple[Task, ...] = ()
    #: Whether a client may wait for the events. Such a job is cancelled when its client leaves.
    interactive: bool = True
    #: Whether the job may outlive its client (`Prefer: respond-async`). Such a job has a row in the catalog.
    durable: bool = True
    #: Events that the job may emit, besides `COMMON_EVENTS`.
    events: frozenset[type[events.Event]] = frozenset()
    #: For jobs that no worker runs until their end: a function of a catalog and a job (`core.catalog`) that returns the
    #: job's result once everything that the job waits for has ended, and None before. Reconciliation calls it.
    result_when_settled: str | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (self.task, *self.later_tasks)

    def task_named(self, name: str) -> Task:
        """Return the task of this name, or the first task if the name is one that an earlier release used."""
        return next((task for task in self.tasks if task.name == name), self.task)

    def renderer(self, path: str) -> Any:
        """Return the renderer of results for the endpoint at `path`.

        Raises:
            InternalError: if that endpoint submits no jobs of this kind.
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
        # Releases before raw completions answered this endpoint by chats, whose results are still in catalogs.
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
        "/v1/completions": "api.renderers:text_completion",  # of earlier releases, as above
        "/v1/rag/chat": "api.renderers:rag_answer",
    },
    events=_GENERATION_EVENTS | {events.Retrieved},
)
COMPLETION = JobKind(
    name="completion",
    request=CompleteRequest,
    task=Tasks.COMPLETE,
    endpoints={"/v1/completions": "api.renderers:text_completion"},
    events=frozenset({events.Started, events.TextDelta, events.ChoiceFinished}),
)
TOKENIZE = JobKind(
    name="tokenize",
    request=TokenizeRequest,
    task=Tasks.TOKENIZE,
    endpoints={"/v1/tokenize": "api.renderers:result"},
)
DETOKENIZE = JobKind(
    name="detokenize",
    request=DetokenizeRequest,
    task=Tasks.DETOKENIZE,
    endpoints={"/v1/detokenize": "api.renderers:result"},
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
RERANK = JobKind(
    name="rerank",
    request=RerankRequest,
    task=Tasks.RERANK,
    endpoints={"/v1/rerank": "api.renderers:rerank_results"},
)
#: Takes minutes, and nobody waits for it.
EVALUATION = JobKind(
    name="evaluation",
    request=EvaluateRequest,
    task=Tasks.EVALUATE,
    endpoints={"/v1/rag/evaluations": "api.renderers:result"},
    interactive=False,
)
PULL = JobKind(
    name="pull",
    request=PullRequest,
    task=Tasks.PULL,
    endpoints={"/v1/models/pull": "api.renderers:result"},
    events=frozenset({events.Progress}),
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
        ValueError: if another kind has this name, or one of its tasks has the name of another task.
    """
    if kind.name in _kinds:
        raise ValueError(f"There is a job kind {kind.name!r} already.")
    for task in kind.tasks:
        if _tasks.get(task.name, task) != task:
            raise ValueError(f"There is another task {task.name!r} already.")
    _tasks.update({task.name: task for task in kind.tasks})
    _kinds[kind.name] = kind
    return kind


for _kind in (
    CHAT,
    RAG_CHAT,
    COMPLETION,
    TOKENIZE,
    DETOKENIZE,
    SEARCH,
    EMBEDDINGS,
    RERANK,
    EVALUATION,
    PULL,
    DOCUMENTS,
):
    register(_kind)


def all_kinds() -> list[JobKind]:
    """Return all kinds in the order of registration."""
    return list(_kinds.values())


def all_tasks() -> list[Task]:
    """Return all tasks, including those of registered kinds."""
    return list(_tasks.values())


def kind_named(name: str) -> JobKind:
    """Return the kind of this name.

    Raises:
        InternalError: if there is none, because another release made the job.
    """
    if name not in _kinds:
        raise InternalError(f"This release knows no jobs of the kind {name!r}.")
    return _kinds[name]
