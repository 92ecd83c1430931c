"""To which lengths vectors may be cut: of Matryoshka models, since the first numbers of theirs are vectors too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingest.embedding.model_files import EmbeddingModel

#: Families trained so, whose files do not say it. From their model cards.
MATRYOSHKA_NAMES = re.compile(
    r"^(nomic-embed-text-v1\.5|nomic-embed-text-v2|mxbai-embed-(large|2d)|qwen3-embedding|embeddinggemma"
    r"|jina-embeddings-v[3-9]|snowflake-arctic-embed-.*v(1\.5|2))"
)
#: How sentence-transformers tags the card of a model that it has trained so.
_CARD_TAG = re.compile(r"^\s*-\s*['\"]?(loss:MatryoshkaLoss|matryoshka)['\"]?\s*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Dimensions:
    """The lengths that vectors of a model may have.

    Attributes:
        full: what the model computes.
        is_matryoshka: whether shorter ones are vectors too.
        listed: the only shorter ones, where the model names them.
    """

    full: int
    is_matryoshka: bool = False
    listed: tuple[int, ...] = ()

    def allows(self, length: int) -> bool:
        """Whether vectors may be cut to this length."""
        if length == self.full:
            return True
        return self.is_matryoshka and 1 <= length < self.full and (not self.listed or length in self.listed)

    @property
    def described(self) -> str:
        """The lengths that are allowed, for a person."""
        if not self.is_matryoshka:
            return f"{self.full} dimensions and cannot be shortened"
        shorter = ", ".join(str(length) for length in self.listed if length < self.full)
        return f"{self.full} dimensions and can be shortened to {shorter or f'any number from 1 to {self.full - 1}'}"


def dimensions_of(model: EmbeddingModel, full: int) -> Dimensions:
    """What the model's own files say, or what is known of its family.

    `matryoshka_dimensions` or `is_matryoshka` in `config.json` or `config_sentence_transformers.json`, `truncate_dim`
    there, or the tag `loss:MatryoshkaLoss` of its card.
    """
    configs = [model.read_json("config.json"), model.read_json("config_sentence_transformers.json")]
    for config in configs:
        listed = config.get("matryoshka_dimensions")
        if isinstance(listed, list) and listed:
            return Dimensions(full, True, tuple(sorted(int(length) for length in listed)))
    says_so = any(config.get("is_matryoshka") or config.get("truncate_dim") for config in configs)
    known = MATRYOSHKA_NAMES.match(model.name.rpartition("/")[2].lower())
    return Dimensions(full, bool(says_so or known or _card_says_so(model)))


def _card_says_so(model: EmbeddingModel) -> bool:
    card = model.find_file("README.md")
    if card is None:
        return False
    # Only the front matter: the text may well speak of what the model is not.
    _, _, rest = card.read_text("utf-8", errors="replace").partition("---\n")
    return bool(_CARD_TAG.search(rest.partition("\n---")[0]))
