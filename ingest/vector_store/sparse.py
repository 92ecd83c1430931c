"""The sparse vectors of BM25: terms hashed to 32 bits with their saturated frequencies. The stores add the IDF.

The encoder is that of `qdrant-edge-py` and needs no server: English stemming and stop words, accents folded. It splits
words only where letters end, so runs of text that is written without spaces are divided into pairs of characters first.
Each Chinese character is a term too, since a single one can be a word, and so is each code (`codes`) as a whole.

A change here or in `codes` changes the terms of stored chunks: raise `CHUNK_FORMAT` of the catalog, so that they are
written again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from qdrant_edge import Bm25, Bm25Config

from core.normal_form import normal_form
from ingest.vector_store.codes import codes_in, with_codes

#: Runs of letters of scripts without spaces between words: Thai, Lao, Myanmar, Khmer, Hiragana, Katakana and Han. Their
#: words are found by pairs of characters, without a dictionary.
_WITHOUT_SPACES = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff]{2,}"
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN_LETTER = re.compile(f"[{_HAN}]")
#: A Han letter between letters of other scripts is often a word, as in Japanese. In a run of them it says little.
_LONE_HAN_LETTER = re.compile(f"(?<![{_HAN}])[{_HAN}](?![{_HAN}])")


#: A word with hyphens. It is a term without them too, since they may be those of a line end.
_HYPHENATED = re.compile(r"(?<![^\W\d_])[^\W\d_]+(?:-[^\W\d_]+)+")

#: The beginning of a query that is searched for by its words. Taking a text apart holds the interpreter's lock, and no
#: store looks up more than some dozen terms.
QUERY_CHARACTERS = 8192


@dataclass(frozen=True)
class SparseTerms:
    """Term ids (unsigned 32 bits, each once) and their weights."""

    indices: list[int]
    values: list[float]

    def __bool__(self) -> bool:
        return bool(self.indices)


def query_terms(text: str) -> SparseTerms:
    """Return the terms of a query's beginning, each with weight 1; none if it consists of stop words."""
    return _terms_of_query(text[:QUERY_CHARACTERS])


# A search asks for the terms of its query several times. They take long to find, with the interpreter's lock held.
@lru_cache(maxsize=16)
def _terms_of_query(text: str) -> SparseTerms:
    vector = _encoder().embed_query(_in_pairs(_with_all_words(text), _LONE_HAN_LETTER))
    return SparseTerms(list(vector.indices), list(vector.values))


def code_terms(text: str) -> list[int]:
    """Return the terms of the codes in a query's beginning, each as a whole: such a query is about exactly those."""
    vector = _encoder().embed_query(" ".join(codes_in(normal_form(text[:QUERY_CHARACTERS]))))
    return list(vector.indices)


def weighted(terms: SparseTerms, factors: Mapping[int, float]) -> SparseTerms:
    """Return the terms with their weights multiplied by the factors; a missing factor is 1."""
    values = [value * factors.get(term, 1.0) for term, value in zip(terms.indices, terms.values, strict=True)]
    return SparseTerms(terms.indices, values)


def document_terms(text: str) -> SparseTerms:
    """Return the terms of a chunk, weighted by their frequency and its length (k 1.2, b 0.75)."""
    vector = _encoder().embed_document(_in_pairs(_with_all_words(text), _HAN_LETTER))
    return SparseTerms(list(vector.indices), list(vector.values))


def _with_all_words(text: str) -> str:
    """Return the text in its normal form, with words without their hyphens, and with codes as a whole."""
    return with_codes(_with_joined_words(normal_form(text)))


def _with_joined_words(text: str) -> str:
    if "-" not in text:
        return text
    # The expression reads each letter of a text twice, so that it is kept from words without a hyphen.
    return " ".join(_HYPHENATED.sub(_twice, word) if "-" in word else word for word in text.split())


def _twice(word: re.Match[str]) -> str:
    return f"{word[0]} {word[0].replace('-', '')}"


def _in_pairs(text: str, letters: re.Pattern[str]) -> str:
    """Return the text with runs of letters as pairs, followed by the letters that `letters` finds in each run."""
    if text.isascii():
        return text

    def divided(run: re.Match[str]) -> str:
        pairs = (run[0][at : at + 2] for at in range(len(run[0]) - 1))
        return f" {' '.join([*pairs, *letters.findall(run[0])])} "

    return _WITHOUT_SPACES.sub(divided, text)


@cache
def _encoder() -> Bm25:
    return Bm25(Bm25Config(language="english", ascii_folding=True))
