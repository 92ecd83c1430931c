"""Tiny GGUF files of other architectures than Llama's, with random weights and the starter model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.gguf_files import field_of, tokenizer_fields, written_model

Sizes = Mapping[str, tuple[int, ...]]
WIDTH, HEADS, HEAD, FEED_FORWARD = 32, 2, 16, 64
#: The length of Gemma's sliding window; every sixth of its layers has none.
WINDOW_TOKENS, GEMMA_LAYERS = 64, 6
#: Sizes of Mamba's state.
CONVOLUTION, INNER, STATE, RANK = 4, 64, 8, 2


def architecture_file(architecture: str, starter: Path, target: Path) -> Path:
    """Write a model of an architecture (`gemma3`, `mamba`, `t5`, `bert`) to `target`.

    `starter` is the model that the tokenizer and the chat template are of.
    """
    fields = tokenizer_fields(starter)
    (_, (_, tokens)) = fields["tokenizer.ggml.tokens"]
    numbers, sizes = _ARCHITECTURES[architecture]
    common = {"context_length": 4096, "embedding_length": WIDTH, "block_count": _LAYERS[architecture]}
    for name, value in (common | numbers).items():
        fields[f"{architecture}.{name}"] = field_of(value)
    fields["general.architecture"] = field_of(architecture)
    fields["tokenizer.ggml.token_type_count"] = field_of(2)
    random = np.random.default_rng(1)
    tensors = {name: _weights(random, name, size) for name, size in sizes(len(tokens))}
    return written_model(target, fields, tensors)


def _weights(random: np.random.Generator, name: str, size: tuple[int, ...]) -> NDArray[np.float32]:
    if name.endswith("norm.weight"):
        return np.ones(size, np.float32)
    if name.endswith("ssm_a"):
        return -np.exp(random.normal(0, 1, size)).astype(np.float32)
    # So large that what a token attends to decides which one comes next.
    scale = 1.0 if name.startswith("token_embd") else 1.5 / np.sqrt(size[-1])
    return random.normal(0, scale, size).astype(np.float32)


def _gemma3(vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocab_size, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    for layer in range(GEMMA_LAYERS):
        names = {
            "attn_norm": (WIDTH,),
            "attn_q": (HEADS * HEAD, WIDTH),
            "attn_k": (HEAD, WIDTH),
            "attn_v": (HEAD, WIDTH),
            "attn_output": (WIDTH, HEADS * HEAD),
            "attn_q_norm": (HEAD,),
            "attn_k_norm": (HEAD,),
            "post_attention_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (FEED_FORWARD, WIDTH),
            "ffn_up": (FEED_FORWARD, WIDTH),
            "ffn_down": (WIDTH, FEED_FORWARD),
            "post_ffw_norm": (WIDTH,),
        }
        yield from _of_layer(f"blk.{layer}", names)


def _mamba(vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocab_size, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    for layer in range(_LAYERS["mamba"]):
        names = {
            "attn_norm": (WIDTH,),
            "ssm_in": (2 * INNER, WIDTH),
            "ssm_conv1d": (INNER, CONVOLUTION),
            "ssm_x": (RANK + 2 * STATE, INNER),
            "ssm_dt": (INNER, RANK),
            "ssm_out": (WIDTH, INNER),
        }
        yield from _of_layer(f"blk.{layer}", names)
        yield f"blk.{layer}.ssm_conv1d.bias", (INNER,)
        yield f"blk.{layer}.ssm_dt.bias", (INNER,)
        yield f"blk.{layer}.ssm_a", (INNER, STATE)
        yield f"blk.{layer}.ssm_d", (INNER,)


def _t5(vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocab_size, WIDTH)
    attention = {name: (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_o")}
    feed_forward = {"ffn_norm": (WIDTH,), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD)}
    for part in ("enc", "dec"):
        yield f"{part}.output_norm.weight", (WIDTH,)
        for layer in range(_LAYERS["t5"]):
            names: dict[str, tuple[int, ...]] = {"attn_norm": (WIDTH,), "attn_rel_b": (8, HEADS), **attention}
            yield from _of_layer(f"{part}.blk.{layer}", names | feed_forward)
            if part == "dec":
                cross = {name.replace("attn", "cross_attn"): size for name, size in attention.items()}
                yield from _of_layer(f"{part}.blk.{layer}", {"cross_attn_norm": (WIDTH,), **cross})


def _bert(vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocab_size, WIDTH)
    yield "position_embd.weight", (4096, WIDTH)
    yield "token_types.weight", (2, WIDTH)
    yield from _of_layer("token_embd_norm", {"": (WIDTH,)})
    yield "token_embd_norm.bias", (WIDTH,)
    for layer in range(_LAYERS["bert"]):
        names = {
            **{name: (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")},
            "attn_output_norm": (WIDTH,),
            "ffn_up": (FEED_FORWARD, WIDTH),
            "ffn_down": (WIDTH, FEED_FORWARD),
            "layer_output_norm": (WIDTH,),
        }
        yield from _of_layer(f"blk.{layer}", names)
        for name, size in names.items():
            yield f"blk.{layer}.{name}.bias", size[:1]


def _of_layer(prefix: str, names: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, size in names.items():
        yield ".".join(part for part in (prefix, name, "weight") if part), size


_LAYERS = {"gemma3": GEMMA_LAYERS, "mamba": 2, "t5": 1, "bert": 1}
_ATTENTION = {"feed_forward_length": FEED_FORWARD, "attention.head_count": HEADS}
#: The metadata of each architecture, and the function that names its tensors.
_ARCHITECTURES: dict[
    str, tuple[dict[str, int | float | bool], Callable[[int], Iterator[tuple[str, tuple[int, ...]]]]]
] = {
    "gemma3": (
        {
            **_ATTENTION,
            "attention.head_count_kv": 1,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.sliding_window": WINDOW_TOKENS,
            "attention.layer_norm_rms_epsilon": 1e-6,
        },
        _gemma3,
    ),
    "mamba": (
        {
            "feed_forward_length": 0,
            "attention.head_count": 0,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "ssm.conv_kernel": CONVOLUTION,
            "ssm.inner_size": INNER,
            "ssm.state_size": STATE,
            "ssm.time_step_rank": RANK,
        },
        _mamba,
    ),
    "t5": (
        {
            **_ATTENTION,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.relative_buckets_count": 8,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "decoder_start_token_id": 0,
        },
        _t5,
    ),
    "bert": (
        {**_ATTENTION, "attention.causal": False, "attention.layer_norm_epsilon": 1e-12, "pooling_type": 1},
        _bert,
    ),
}
