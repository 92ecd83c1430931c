"""The stage that lets passages which say the same take one place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from core.messages import SearchOptions
from ingest.retrieval.candidates import considered_count
from ingest.retrieval.search import RankedPoint, Search, text_key, text_with_header
from ingest.vector_store.base import Payload

#: Nearly equal passages differ in at most this share of their words.
MOST_DIFFERENT = 0.05
#: Other places of a passage that a hit names.
MOST_PLACES = 16
#: Words by which passages are compared first: those with the least hashes. Of two nearly equal passages, these are
#: nearly all the same.
SKETCH_WORDS, LEAST_COMMON = 16, 10
_WORD = re.compile(r"[^\W_]+(?:['’.,:/-][^\W_]+)*")
#: Words that turn the meaning of a sentence around.
_DECISIVE_WORDS = (
    "no not never none neither nor without except only unless before after above below over under more less "
    "least most must may can cannot shall should always all any yes on off true false left right first last "
    "nicht kein keine ohne nur nie außer vor nach über unter mehr weniger muss darf"
)
_DECISIVE = frozenset(_DECISIVE_WORDS.split())


@dataclass
class _Passage:
    """A passage that is kept, with the places of those that repeat it."""

    ranked: RankedPoint
    words: Counter[str]
    pairs: Counter[tuple[str, str]]
    sketch: frozenset[int]
    places: list[Payload] = field(default_factory=list)


class CollapseRepeatedTexts:
    """Keeps the best of the points whose texts are equal or nearly so, with the places of the others. Sets `ranking`.

    Texts are nearly equal if few of their words differ, and none of those has a digit or a capital letter or is
    decisive ("not"): contracts and manuals that differ in one number or name say different things. So do equal texts
    under the headings of different things.
    """

    def __init__(self, at_least: Callable[[SearchOptions], int] = lambda _: 0) -> None:
        """
        Args:
            at_least: returns how many points a later stage reads, which may be more than `considered_count`.
        """
        self._at_least = at_least

    def run(self, search: Search) -> Search:
        """Read the ranking, and drop what repeats a better point and all beyond the points considered."""
        limit = max(considered_count(search.options), self._at_least(search.options))
        return replace(search, ranking=collapsed(search.ranking, limit))


def collapsed(ranking: Iterable[RankedPoint], limit: int) -> list[RankedPoint]:
    """Return up to `limit` passages, each once, best first."""
    kept: list[_Passage] = []
    by_text: dict[str, _Passage] = {}
    for ranked in ranking:
        key = text_key(ranked.point.payload)
        known = by_text.get(key)
        if known is None and len(kept) < limit:
            passage = _passage(ranked)
            known = next((one for one in kept if _say_the_same(one, passage)), None)
            by_text[key] = known or passage
            if known is None:
                kept.append(passage)
                continue
        if known is not None and _is_another_place(known, ranked.point.payload):
            known.places.append(ranked.point.payload)
    return [replace(one.ranked, places=(*one.ranked.places, *one.places)) for one in kept]


def _passage(ranked: RankedPoint) -> _Passage:
    text = text_with_header(ranked.point.payload)
    words = _WORD.findall(text)
    sketch = frozenset(sorted(map(hash, set(_WORD.findall(text.lower()))))[:SKETCH_WORDS])
    return _Passage(ranked, Counter(words), Counter(zip(words, words[1:], strict=False)), sketch)


def _is_another_place(known: _Passage, payload: Payload) -> bool:
    """Return whether a repeated passage is in a document that is not named yet, and there is room for it."""
    documents = [known.ranked.point.payload["document_id"], *(place["document_id"] for place in known.places)]
    return payload["document_id"] not in documents and len(known.places) < MOST_PLACES


def _say_the_same(one: _Passage, other: _Passage) -> bool:
    if len(one.sketch & other.sketch) < min(LEAST_COMMON, len(one.sketch)):
        return False
    most = 2 * MOST_DIFFERENT * max(one.words.total(), other.words.total())
    fewer, more = one.words - other.words, other.words - one.words
    if fewer.total() + more.total() > most:
        return False
    # Each word that differs is part of two pairs, on either side. The same words in another order say something else.
    if (one.pairs - other.pairs).total() + (other.pairs - one.pairs).total() > 2 * most + 2:
        return False
    different = [*fewer, *more]
    folded = Counter(word.lower() for word in different)
    return not any(_is_decisive(word, folded) for word in different)


def _is_decisive(word: str, different: Counter[str]) -> bool:
    """Return whether a word that only one of two texts has may change what it says. Another case does not."""
    if different[word.lower()] > 1:
        return False
    return not word.islower() or any(map(str.isdigit, word)) or word in _DECISIVE
