"""Renderers of job results. The table of job kinds (`tasks.jobs.kinds`) names one for each endpoint of a kind.

The same renderer serves a client that waits and one that asks `/v1/jobs` for the result later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from api import render, render_lists, text_completions
from api.callers import Caller
from api.dependencies import Services, in_thread
from api.document_intake import document_list
from api.render import Answer, Head, ToolForm, Wire

#: The parts of a request that determine the form of its answer.
Options = Mapping[str, str]


@dataclass(frozen=True)
class FinishedJob:
    """A finished job, and what a renderer needs besides. Through `services` it can look up the current state."""

    services: Services
    #: Who reads the result.
    caller: Caller
    head: Head
    answer: Answer
    options: Options


#: Turns a finished job into the JSON of its endpoint.
Renderer = Callable[[FinishedJob], Awaitable[Wire]]


async def chat_completion(job: FinishedJob) -> Wire:
    """Render `chat.completion`. With the option `calls` = "functions", calls have the legacy form."""
    form: ToolForm = "functions" if job.options.get("calls") == "functions" else "tools"
    return render.chat_completion(job.head, job.answer, form)


async def text_completion(job: FinishedJob) -> Wire:
    """Render the legacy `text_completion`. The option `logprobs` is the number of alternatives to each token."""
    top = job.options.get("logprobs")
    return text_completions.text_completion(job.head, job.answer, None if top is None else int(top))


async def result(job: FinishedJob) -> Wire:
    """Render the result of a job as it is."""
    wire: Wire = job.answer.result
    return wire


async def rag_answer(job: FinishedJob) -> Wire:
    """Render the answer of `/v1/rag/chat`."""
    return render.rag_answer(job.head, job.answer)


async def search_results(job: FinishedJob) -> Wire:
    """Render the hits of a search."""
    return render_lists.search_results(job.head, job.answer)


async def embedding_list(job: FinishedJob) -> Wire:
    """Render embeddings in the format of the option `encoding_format`: "float" (the default) or "base64"."""
    return render_lists.embedding_list(job.answer, job.options.get("encoding_format", "float"))


async def rerank_results(job: FinishedJob) -> Wire:
    """Render the documents of a rerank job, best first."""
    return render_lists.rerank_results(job.head, job.answer)


async def documents(job: FinishedJob) -> Wire:
    """Render the documents of a documents job in their current state. Those no longer there or seen are left out."""
    ids, reach = job.answer.result["documents"], job.caller.reach
    found = await in_thread(job.services.catalog.documents_by_id, ids)
    kept = [found[document_id] for document_id in ids if document_id in found]
    return await document_list(job.services, [document for document in kept if reach.sees(document.collection)])
