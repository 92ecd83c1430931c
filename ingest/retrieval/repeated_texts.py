"""The stage that lets passages which say the same take one place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from core.messages import SearchOptions
from ingest.retrieval.candidates import considered_count
from ingest.retrieval.reading import PointReader
from ingest.retrieval.search import RankedPoint, Search, text_key, text_with_header
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import Payload

#: Nearly equal passages differ in at most this share of their words.
MOST_DIFFERENT = 0.05
#: Other places of a passage that a hit names.
MOST_PLACES = 16
#: Points read at a time, at least.
LEAST_READ = 8
#: Words by which passages are compared first: those with the least hashes. Of two nearly equal passages, these are
#: nearly all the same.
SKETCH_WORDS, LEAST_COMMON = 16, 10
_WORD = re.compile(r"[^\W_]+(?:['’.,:/-][^\W_]+)*")
_PLAIN_WORD = re.compile(r"\w+")
#: Words that turn the meaning of a sentence around.
_DECISIVE_WORDS = (
    "no not never none neither nor without except only unless before after above below over under more less "
    "least most must may can cannot shall should always all any yes on off true false left right first last "
    "nicht kein keine ohne nur nie außer vor nach über unter mehr weniger muss darf"
)
_DECISIVE = frozenset(_DECISIVE_WORDS.split())


class CollapseRepeatedTexts:
    """Keeps the best of the points whose texts are equal or nearly so, with the places of the others. Sets `ranking`.

    Texts are nearly equal if few of their words differ, and none of those has a digit or a capital letter or is
    decisive ("not"): contracts and manuals that differ in one number or name say different things. So do equal texts
    under the headings of different things. From here on, all points have been read.
    """

    def __init__(self, reader: PointReader, at_least: Callable[[SearchOptions], int] = lambda _: 0) -> None:
        """
        Args:
            at_least: returns how many points a later stage reads, which may be more than `considered_count`.
        """
        self._reader = reader
        self._at_least = at_least

    def run(self, search: Search) -> Search:
        """Read the ranking, and drop what repeats a better point and all beyond the points considered.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        limit = max(considered_count(search.options), self._at_least(search.options))
        passages = _Passages(limit)
        remaining = [ranked.point for ranked in search.ranking]
        while remaining and passages.room:
            count = max(passages.room, LEAST_READ)
            self._add(passages, remaining[:count])
            remaining = remaining[count:]
        self._add(passages, list(filter(passages.may_be_repeated_by, remaining)))
        return replace(search, ranking=passages.ranking)

    def _add(self, passages: _Passages, points: Sequence[ScoredPoint]) -> None:
        for point in self._reader.read(points):
            passages.add(RankedPoint(point, self._reader.store))


def collapsed(ranking: Iterable[RankedPoint], limit: int) -> list[RankedPoint]:
    """Return up to `limit` passages, each once, best first. All points have been read."""
    passages = _Passages(limit)
    for ranked in ranking:
        passages.add(ranked)
    return passages.ranking


@dataclass
class _Passage:
    """A passage that is kept, with the places of those that repeat it."""

    ranked: RankedPoint
    text: str
    sketch: frozenset[int]
    places: list[Payload] = field(default_factory=list)

    @classmethod
    def of(cls, ranked: RankedPoint) -> Self:
        """Return a point as a passage without other places."""
        text = text_with_header(ranked.point.payload)
        words = set(_PLAIN_WORD.findall(text.lower()))
        return cls(ranked, text, frozenset(sorted(map(hash, words))[:SKETCH_WORDS]))

    @cached_property
    def words(self) -> Counter[str]:
        return Counter(_WORD.findall(self.text))

    @cached_property
    def pairs(self) -> Counter[tuple[str, str]]:
        words = _WORD.findall(self.text)
        return Counter(zip(words, words[1:], strict=False))

    @property
    def with_places(self) -> RankedPoint:
        """Its best point with the places of the others."""
        places = (*self.ranked.places, *self.places)
        return replace(self.ranked, places=places) if places else self.ranked

    def is_elsewhere(self, payload: Payload) -> bool:
        """Return whether a point that repeats it is in a document that is not named yet, and there is room for it."""
        documents = [self.ranked.point.payload["document_id"], *(place["document_id"] for place in self.places)]
        return payload["document_id"] not in documents and len(self.places) < MOST_PLACES


class _Passages:
    """The passages of a ranking, each once, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[_Passage] = []
        self._by_text: dict[str, _Passage] = {}
        self._cosines: set[float] = set()

    @property
    def ranking(self) -> list[RankedPoint]:
        """The best point of each passage with the places of the others, best first."""
        return [one.with_places for one in self._kept]

    @property
    def room(self) -> int:
        """How many more passages are taken. At 0, only equal texts add places to those that are kept."""
        return self._limit - len(self._kept)

    def may_be_repeated_by(self, point: ScoredPoint) -> bool:
        """Return whether a point that has not been read may have the text of another.

        Equal texts have equal vectors, and so the same cosine to a query.
        """
        return _rounded_cosine(point) in self._cosines

    def add(self, ranked: RankedPoint) -> None:
        """Take the next best point as a passage or as another place of one, or drop it."""
        payload = ranked.point.payload
        key = text_key(payload)
        known = self._by_text.get(key)
        if known is None and self.room:
            passage = _Passage.of(ranked)
            near = (one for one in self._kept if len(one.sketch & passage.sketch) >= min(LEAST_COMMON, len(one.sketch)))
            known = next((one for one in near if _say_the_same(one, passage)), None)
            self._by_text[key] = known or passage
            self._cosines.add(_rounded_cosine(ranked.point))
            if known is None:
                self._kept.append(passage)
                return
        if known is not None and known.is_elsewhere(payload):
            known.places.append(payload)


def _rounded_cosine(point: ScoredPoint) -> float:
    # Stores may sum the products of equal vectors in different orders.
    return round(point.dense_score or 0.0, 5)


def _say_the_same(one: _Passage, other: _Passage) -> bool:
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
