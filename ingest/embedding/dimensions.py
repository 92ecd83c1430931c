"""The lengths that vectors of a model can have. The first numbers of a Matryoshka model's vector are a vector too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingest.embedding.model_files import EmbeddingModel

#: Families of Matryoshka models, by their model cards, whose files do not say so.
MATRYOSHKA_NAMES = re.compile(
    r"^(nomic-embed-text-v1\.5|nomic-embed-text-v2|mxbai-embed-(large|2d)|qwen3-embedding|embeddinggemma"
    r"|jina-embeddings-v[3-9]|snowflake-arctic-embed-.*v(1\.5|2))"
)
#: The tag that sentence-transformers writes into the card of a model that it trained with this loss.
_CARD_TAG = re.compile(
    r"^[ \t]*-[ \t]*['\"]?(loss:MatryoshkaLoss|matryoshka)['\"]?[ \t]*$", re.MULTILINE | re.IGNORECASE
)


@dataclass(frozen=True)
class Dimensions:
    """The lengths that vectors of a model may have.

    Attributes:
        full: the length that the model computes.
        is_matryoshka: whether vectors can be cut.
        listed: the lengths that they can be cut to, if the model lists them; any length otherwise.
    """

    full: int
    is_matryoshka: bool = False
    listed: tuple[int, ...] = ()

    def allows(self, length: int) -> bool:
        """Return whether vectors can have this length."""
        if length == self.full:
            return True
        return self.is_matryoshka and 1 <= length < self.full and (not self.listed or length in self.listed)

    @property
    def description(self) -> str:
        """The allowed lengths as part of a sentence for people."""
        if not self.is_matryoshka:
            return f"{self.full} dimensions and cannot be shortened"
        shorter = ", ".join(str(length) for length in self.listed if length < self.full)
        return f"{self.full} dimensions and can be shortened to {shorter or f'any number from 1 to {self.full - 1}'}"


def dimensions_of(model: EmbeddingModel, full: int) -> Dimensions:
    """Return the lengths that the model's own files name, or those known of its family.

    The files name them by `matryoshka_dimensions`, `is_matryoshka` or `truncate_dim` in `config.json` or
    `config_sentence_transformers.json`, or by the tag `loss:MatryoshkaLoss` of the model card.
    """
    configs = [model.read_json("config.json"), model.read_json("config_sentence_transformers.json")]
    for config in configs:
        listed = config.get("matryoshka_dimensions")
        if isinstance(listed, list) and listed:
            return Dimensions(full, True, tuple(sorted(int(length) for length in listed)))
    is_declared = any(config.get("is_matryoshka") or config.get("truncate_dim") for config in configs)
    is_known = MATRYOSHKA_NAMES.match(model.name.rpartition("/")[2].lower())
    return Dimensions(full, bool(is_declared or is_known or _has_card_tag(model)))


def _has_card_tag(model: EmbeddingModel) -> bool:
    card = model.find_file("README.md")
    if card is None:
        return False
    # Only the front matter, since the text may mention Matryoshka models for comparison.
    _, _, rest = card.read_text("utf-8", errors="replace").partition("---\n")
    return bool(_CARD_TAG.search(rest.partition("\n---")[0]))
