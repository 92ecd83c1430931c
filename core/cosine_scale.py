"""What the cosines of an embedding model mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CosineScale:
    """What was measured on texts that have nothing to do with one another."""

    #: The mean cosine of unrelated texts.
    floor: float
    #: A chunk with a lower cosine to a question is not relevant to it.
    threshold: float
    #: The points of the store at the time; 0: it was measured on the texts that the program brings.
    points: int = 0
