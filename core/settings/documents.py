"""Embeddings, documents and retrieval."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from core.settings.values import (
    RegularExpression,
    Template,
    Texts,
)


class DocumentSettings(BaseSettings):
    """Embeddings, documents and retrieval."""

    embedding_model_name: str | None = Field(None, description="A local path or hub id (default: the starter model).")
    embedding_dimension: int | None = Field(
        None, ge=1, description="Length of the vectors (default: the model's; a Matryoshka model allows a shorter one)."
    )
    embedding_models: Texts = Field(
        (), description="Further models that collections may choose: local paths or hub ids, comma-separated."
    )
    embedding_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the CPU has it."
    )
    embedding_token_ids: Literal["named", "own"] = Field(
        "named",
        description="Whose token ids `/v1/embeddings` takes. named: those of requests whose `model` is one of this "
        "server's; own: all are ids of the model that serves the request.",
    )
    embedding_threads: int | None = Field(None, ge=1, description="Threads for embedding (default: the cores).")
    bulk_nice: int = Field(
        19,
        ge=0,
        le=19,
        description="By how much the priority of parsing and of bulk embedding is lowered, so that answers and "
        "searches go first: 0 is not at all; 19 is below everything else.",
    )
    bulk_share: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="The share of time that generation leaves to parsing and bulk embedding on the same host, while "
        "they wait for a processor.",
    )
    trust_remote_code: bool = Field(False, description="Let an embedding model run the Python code it comes with.")
    chunk_tokens: int | None = Field(
        None, ge=16, description="Tokens of a chunk at most (default: the embedding model's window, up to 512)."
    )
    chunk_overlap_tokens: int = Field(32, ge=0, description="Tokens that two neighbouring chunks share.")
    rag_top_k: int = Field(3, ge=1, le=100, description="Chunks retrieved for a question.")
    rag_least_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Chunks with less than this share of the best one's score are not shown to the model, unless the "
        "request says how many it wants.",
    )
    rag_score_threshold: float | None = Field(
        None, ge=-1, le=1, description="Lowest dense cosine similarity of a hit (default: measured for each model)."
    )
    rag_dense_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight of the cosine in the score of a hit; BM25 has the rest. Collections may set their own.",
    )
    rag_prompt_template: Template | None = Field(
        None, description="A text with `{documents}` and `{question}`, or a file with it (default: built in)."
    )
    rag_nothing_found: str = Field(
        "I could not find anything about that in the documents.",
        min_length=1,
        description="The answer if no chunk is relevant to the question.",
    )
    rag_rewrite: bool = Field(True, description="Rewrite follow-up questions into ones that can be searched for.")
    rag_expand: bool = Field(
        False, description="Let the model write search queries for each question, which is searched for with them."
    )
    rag_task_pattern: RegularExpression | None = Field(
        None,
        description="A last message whose beginning this regular expression finds is answered without the documents of "
        "`MODEL@COLLECTION` (default: prompts for titles, tags and the like; `(?!)` finds none).",
    )
    rerank_model: str | None = Field(None, description="A cross-encoder (path, hub id) for searches and `/v1/rerank`.")
    max_upload_bytes: int = Field(100 * 2**20, ge=1, description="Largest file that is ingested.")
    max_upload_body_bytes: int | None = Field(
        None, ge=1, description="Largest upload in all, of up to 100 files (default: ten times MAX_UPLOAD_BYTES)."
    )
    parse_timeout_seconds: float = Field(
        600, gt=0, description="Wall-clock time limit for parsing one file, which may wait for answers and searches."
    )
    parse_cpu_seconds: float = Field(100, ge=1, description="Processor time limit for parsing one file.")
    parse_memory_bytes: int = Field(2 * 2**30, ge=256 * 2**20, description="Memory limit of one parsing process.")
    ocr_languages: str = Field(
        "eng", pattern=r"^[A-Za-z0-9_/]+(\+[A-Za-z0-9_/]+)*$", description="Tesseract's languages, joined by `+`."
    )
    ocr_max_pages: int = Field(200, ge=1, description="Scanned pages of one file that OCR reads at most.")
    ingest_concurrency: int | None = Field(None, ge=1, description="Parsing processes (default: the cores, at most 4).")
