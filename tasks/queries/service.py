"""Runs jobs that search, embed and rerank, with the models and vector stores of the index worker."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from core import events
from core.catalog import Catalog, Collection, Document
from core.errors import InvalidRequest
from core.messages import (
    EmbedRequest,
    EvaluateRequest,
    GenerateRequest,
    Hit,
    HitPlace,
    RerankRequest,
    SearchOptions,
    SearchRequest,
    Timings,
    Usage,
)
from inference.text.question_parts import parts_of
from inference.text.rewriting import is_follow_up
from ingest.embedding.service import Priority
from ingest.retrieval.cross_encoder import CrossEncoderReranker
from ingest.retrieval.evaluation import evaluation_of
from ingest.retrieval.explanation import Explanation
from ingest.retrieval.reranking import NO_RERANKER
from ingest.retrieval.retriever import Retriever, Scope, search_together
from ingest.vector_store.fusion import DEFAULT_DENSE_WEIGHT, Fusion
from tasks.documents.embedding_models import Model, Models
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Tasks
from tasks.jobs.runner import JobResult, JobRunner, RunningJob
from tasks.queries.cosine_scales import CosineScales

#: Inputs of an embedding request, or documents of a rerank request, that are computed before bulk work. A request with
#: more is bulk work itself.
INTERACTIVE_INPUTS = 16

Place = TypeVar("Place", Hit, HitPlace)


class QueryService:
    """Runs `query.search`, `query.retrieve`, `query.evaluate`, `query.embed` and `query.rerank`."""

    def __init__(
        self,
        runner: JobRunner,
        producer: Producer,
        catalog: Catalog,
        models: Models,
        retrievers: Mapping[Model, Retriever],
        *,
        scales: CosineScales,
        reranker: CrossEncoderReranker | None = None,
        rewrites: bool = True,
        expands: bool = False,
        dense_weight: float = DEFAULT_DENSE_WEIGHT,
        threshold: float | None = None,
    ) -> None:
        """
        Args:
            models: the open models. The default one embeds texts that belong to no collection.
            retrievers: the retriever for each model, which searches the collections in it.
            scales: what the cosines of each model mean.
            reranker: the model of rerank jobs, if there is one.
            rewrites: whether the inference worker rewrites follow-up questions before they are searched for.
            expands: whether it writes search queries for every question.
            dense_weight: the weight of the cosine in the score of a hit, for collections without one of their own.
            threshold: least cosine of a relevant chunk; None: by the scale of each model.
        """
        self._runner = runner
        self._producer = producer
        self._catalog = catalog
        self._models = models
        self._retrievers = retrievers
        self._reranker = reranker
        self._rewrites = rewrites
        self._expands = expands
        self._scales = scales
        self._dense_weight = dense_weight
        self._threshold = threshold

    def search(self, job_id: str) -> None:
        """Find the hits of a search job."""
        self._runner.run(job_id, Tasks.SEARCH, self._search)

    def retrieve(self, job_id: str) -> None:
        """Find the hits of a RAG chat, and hand it over to an inference worker."""
        self._runner.run(job_id, Tasks.RETRIEVE, self._retrieve)

    def embed(self, job_id: str) -> None:
        """Embed the inputs of a job. Vectors travel as base64 of little-endian float32."""
        self._runner.run(job_id, Tasks.EMBED, self._embed)

    def evaluate(self, job_id: str) -> None:
        """Search for the questions of a job with each of its settings, and measure what is found."""
        self._runner.run(job_id, Tasks.EVALUATE, self._evaluate)

    def rerank(self, job_id: str) -> None:
        """Score the documents of a job for its query, and order them by their scores."""
        self._runner.run(job_id, Tasks.RERANK, self._rerank)

    def _search(self, job: RunningJob) -> None:
        request = job.request(SearchRequest)
        started = time.perf_counter()
        explanation = Explanation() if request.explain else None
        hits = self._find(request.queries, request, request.within, explanation)
        model = self._models.default.service.embedder.model_name
        accepted = events.Accepted(**job.event_fields(), model=model)
        job.emit(accepted, events.Retrieved(**job.event_fields(), hits=hits), state="running")
        timings, result = Timings(retrieval_ms=_ms_since(started)), explanation and explanation.as_dict()
        self._runner.complete(job, JobResult(model=model, hits=hits, timings=timings, result=result))

    def _evaluate(self, job: RunningJob) -> None:
        request = job.request(EvaluateRequest)

        def find(question: str, options: SearchOptions) -> list[Hit]:
            job.check()
            return self._find([question], options, request.within)

        model = self._models.default.service.embedder.model_name
        accepted = events.Accepted(**job.event_fields(), model=model)
        result = evaluation_of(request.questions, request.settings, find)
        self._runner.complete(job, JobResult(model=model, result=result), accepted)

    def _embed(self, job: RunningJob) -> None:
        request = job.request(EmbedRequest)
        service = self._models.named(request.model).service
        embedder = service.embedder
        dimension = request.dimensions or embedder.dimension
        embedder.check_dimensions(dimension)
        texts = [embedder.decode(item) if isinstance(item, list) else item for item in request.inputs]
        tokens = sum(embedder.count_tokens(text) for text in texts)
        accepted = events.Accepted(**job.event_fields(), model=embedder.model_name, prompt_tokens=tokens)
        vectors = embedder.shorten(service.embed(texts, request.purpose, _priority(texts)), dimension)
        encoded = [base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode() for row in vectors]
        result = {"embeddings": encoded, "dimension": dimension}
        usage = Usage(prompt_tokens=tokens)
        # Nobody streams vectors, so `Accepted` is emitted with the result, which saves a round trip.
        self._runner.complete(job, JobResult(model=embedder.model_name, usage=usage, result=result), accepted)

    def _rerank(self, job: RunningJob) -> None:
        request, reranker = job.request(RerankRequest), self._reranker
        if reranker is None:
            raise InvalidRequest(NO_RERANKER, param="model", code="no_rerank_model")
        texts = request.documents
        tokens = reranker.token_counts(request.query, texts)
        accepted = events.Accepted(**job.event_fields(), model=reranker.model_name, prompt_tokens=sum(tokens))
        scores = reranker.relevances(request.query, texts, tokens, _priority(texts), before_each_batch=job.check)
        best = sorted(range(len(texts)), key=lambda index: -scores[index])[: request.top_n]
        documents = {index: {"document": {"text": texts[index]}} for index in best if request.return_documents}
        results = [{"index": index, "relevance_score": scores[index]} | documents.get(index, {}) for index in best]
        usage = Usage(prompt_tokens=sum(tokens))
        # As with embeddings, nobody streams the scores.
        self._runner.complete(job, JobResult(reranker.model_name, usage=usage, result={"results": results}), accepted)

    def _retrieve(self, job: RunningJob) -> None:
        request = job.request(GenerateRequest)
        options = request.rag
        if options is None:
            raise InvalidRequest("A RAG chat needs a query.", param="query")
        rewrite = self._producer.records.load_rewrite(job.id)
        if rewrite is None and (self._expands or (self._rewrites and is_follow_up(request.messages))):
            job.hand_over(self._producer, Tasks.REWRITE)
            return
        started = time.perf_counter()
        # The original question is searched for too, as the rewrite may have missed its point.
        queries = [*rewrite.splitlines(), options.query] if rewrite else [options.query]
        parts = parts_of(queries[0])
        if len(parts) > 1:
            queries += parts
        # Neighbours are whole chunks, and what is around them is not asked for.
        options = msgspec.structs.replace(options, paragraphs=not options.neighbours)
        hits = self._find(queries, options, request.within)
        if len(parts) == 1:
            hits = near_the_best(hits, options.least_share)
        job.store_hits(hits, _ms_since(started))
        job.hand_over(self._producer, Tasks.GENERATE)

    def _find(
        self,
        queries: Sequence[str],
        options: SearchOptions,
        within: Sequence[str] | None,
        explanation: Explanation | None = None,
    ) -> list[Hit]:
        """Return the hits in the named collections, or in all of them. Those that are not `within` do not exist."""
        known = self._catalog.list_collections()
        collections = [one for one in known if within is None or one.name in within]
        names = {collection.name for collection in collections}
        unknown = [name for name in options.collections if name not in names]
        if unknown:
            raise InvalidRequest(f"There is no collection named {unknown[0]!r}.", param="collection")
        searched = [one for one in collections if not options.collections or one.name in options.collections]
        scopes = self._scopes(searched, is_everything=not options.collections and within is None)
        hits = search_together(scopes, queries, options, explanation)
        self._producer.changes.count(searches=1)
        # Names come from the catalog, as renaming a file or collection does not change its points at once.
        ids = {hit.document_id for hit in hits} | {place.document_id for hit in hits for place in hit.also_in}
        documents = self._catalog.documents_by_id(sorted(ids))
        documents = {key: one for key, one in documents.items() if within is None or one.collection in within}
        return [_with_current_names(hit, documents) for hit in hits if hit.document_id in documents]

    def _scopes(self, searched: Sequence[Collection], *, is_everything: bool) -> list[Scope]:
        """Return what to search in the model of each of the collections."""
        keys: dict[Model, list[str]] = {}
        for collection in searched:
            keys.setdefault(self._models.placement(collection).serving, []).append(collection.point_key)
        if is_everything and len(keys) <= 1:
            keys = {model: [] for model in keys or [self._models.default]}
        own = {one.point_key: one.dense_weight for one in searched if one.dense_weight is not None}
        return [self._scope(model, named, own) for model, named in keys.items()]

    def _scope(self, model: Model, keys: list[str], own_weights: Mapping[str, float]) -> Scope:
        scale = self._scales.of(model)
        fusion = Fusion(self._dense_weight, own_weights, scale.floor)
        threshold = scale.threshold if self._threshold is None else self._threshold
        return Scope(self._retrievers[model], keys, fusion, threshold)


def _with_current_names(hit: Hit, documents: Mapping[str, Document]) -> Hit:
    places = [_renamed(place, documents) for place in hit.also_in if place.document_id in documents]
    return msgspec.structs.replace(_renamed(hit, documents), also_in=places)


def _renamed(place: Place, documents: Mapping[str, Document]) -> Place:
    document = documents[place.document_id]
    names = {"filename": document.filename, "path": document.path, "collection": document.collection}
    return msgspec.structs.replace(place, **names)


def near_the_best(hits: Sequence[Hit], least_share: float) -> list[Hit]:
    """Return the hits whose score is at least this share of the best one's. Reranked hits are all kept."""
    if not hits or hits[0].rerank_score is not None:
        return list(hits)
    return [hit for hit in hits if hit.score >= least_share * hits[0].score]


def _priority(texts: Sequence[str]) -> Priority:
    return "bulk" if len(texts) > INTERACTIVE_INPUTS else "interactive"


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
