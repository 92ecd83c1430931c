"""The language model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from core.settings.values import (
    GgufName,
    GgufPath,
    LayersOrAuto,
    TokensOrAuto,
)


class GenerationSettings(BaseSettings):
    """The language model."""

    model_path: GgufPath | None = Field(None, description="A GGUF file on this machine. Wins over MODEL_REPO_ID.")
    model_repo_id: str | None = Field(None, description="A Hugging Face repository to download MODEL_FILENAME from.")
    model_filename: GgufName | None = Field(None, description="The GGUF file in MODEL_REPO_ID.")
    models_dir: Path | None = Field(
        None, description="Folder of GGUF files to serve by name, and for pulled ones (default: DATA_DIR/models)."
    )
    model_alias: str | None = Field(None, description="Name of the model in answers (default: the file's name).")
    chat_template: str | None = Field(
        None, description="A Jinja file, or the name of a family such as `llama2` (default: the model's own)."
    )
    strict_models: bool = Field(False, description="Answer 404 to an unknown model name instead of serving it.")
    context_length: TokensOrAuto = Field(
        "auto",
        description="Tokens of a conversation with its answer (auto: what the model was trained for, at most 16384, as "
        "far as memory allows for two).",
    )
    truncation: Literal["off", "oldest"] = Field(
        "off",
        description="What a conversation gets that is longer than the context: a 400 (off), or an answer without its "
        "oldest turns (oldest), and their number in a header.",
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens of an answer at most, if the request sets no limit (default: what is left)."
    )
    temperature: float = Field(0.2, ge=0, le=2, description="Sampling temperature, if the request sets none.")
    model_keep_alive: float = Field(
        1800,
        ge=-1,
        description="Seconds after its last answer at which a model is unloaded, except the default; -1: never.",
    )
    model_memory_bytes: int = Field(
        0, ge=0, description="Memory that all loaded models may take together (0: four fifths of the machine's)."
    )
    inference_slots: int | None = Field(None, ge=1, le=64, description="Sequences decoded at once (default: by cores).")
    inference_waiting_limit: int = Field(64, ge=1, le=1024, description="Requests that may wait for a worker's slot.")
    inference_threads: int | None = Field(None, ge=1, description="Threads of llama.cpp (default: the cores).")
    n_gpu_layers: LayersOrAuto = Field(
        "auto", description="Layers on the GPU in a GPU build (auto: as many as fit; -1: all)."
    )
    n_batch: int | None = Field(
        None, ge=32, le=8192, description="Tokens of one engine step (default: 512 in a GPU build, else 256)."
    )
    flash_attention: Literal["auto", "on", "off"] = Field(
        "auto",
        description="auto: where the device has it. On CPUs, off is faster in conversations of more than about 1,000 "
        "tokens, and slower in shorter ones.",
    )
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] = Field("f16", description="Type of the KV cache.")
    stream_gap_ms: float = Field(
        250,
        ge=0,
        description="How long a running stream may pause while a piece of another prompt is computed; at least a step.",
    )
    kv_layout: Literal["auto", "streams", "unified"] = Field(
        "auto", description="A stream of the KV cache for each slot, or one for all (auto: streams on CPUs)."
    )
    prompt_cache_bytes: int | None = Field(
        None,
        ge=0,
        description="Memory for finished prompts (default: 4 contexts, at most as much as the KV cache and a tenth of "
        "free memory).",
    )
    functions_dir: Path | None = Field(None, description="A folder of Python files with registered functions.")
    function_timeout_seconds: float = Field(30, gt=0, description="Time limit for a call of a registered function.")
