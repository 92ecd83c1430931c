"""Inserts retrieved text into a conversation, within a budget of tokens.

The passages come first, the best one last, then its best sentence once more (or one for each part of a question that
has several), then a short instruction with the question. A small model mostly uses what is near the end of its prompt,
and takes up the words of longer instructions instead of following them.

All passages but the best stand in the order of the documents, which does not depend on the question, and are numbered
from the end. So prompts with the same passages begin alike, and what was computed for one serves the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from core.messages import ChatMessage, Hit
from inference.text.overlap import terms_of
from inference.text.question_parts import parts_of
from inference.text.sentences import best_sentences
from inference.text.sources import Source

#: For the user's turn: anyone may have written the retrieved text, so it must not have the system's authority.
DEFAULT_TEMPLATE = "{documents}\nAnswer the question briefly.\nQuestion: {question}"
#: A part of a chunk with fewer tokens than this is not worth quoting.
LEAST_CHUNK_TOKENS = 24
#: A sentence is repeated if it takes at most 1 / REPEATED_SHARE of the room. Small models mix two sentences up.
REPEATED_SHARE = 4
#: The characters of a heading path that are shown.
LONGEST_HEADING = 160
#: The tokens that a chat template adds to each message, and to the whole prompt (a default system message, dates).
MESSAGE_OVERHEAD_TOKENS = 8
TEMPLATE_OVERHEAD_TOKENS = 64
_PLACEHOLDER = re.compile(r"\{documents\}|\{question\}")
_PASSAGE_NUMBER = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class _Passage:
    """A hit, and as much of its text as is quoted."""

    hit: Hit
    text: str


def rag_messages(
    messages: Sequence[ChatMessage],
    hits: Sequence[Hit],
    budget_tokens: int,
    count_tokens: Callable[[str], int],
    template: str = DEFAULT_TEMPLATE,
) -> tuple[list[ChatMessage], list[Hit]]:
    """Return the messages with as many of the best hits as fit in the last user message, and these hits by number.

    The best hit has number 1.

    `budget_tokens` is for the whole prompt, including what the chat template adds. The first hit that does not fit
    completely is cut at the end of a word; those after it are left out, and so are repeated texts.
    """
    at = _last_user(messages)
    if at is None or not hits:
        return list(messages), []
    question = messages[at].content or ""
    taken = sum(count_tokens(message.content or "") + MESSAGE_OVERHEAD_TOKENS for message in messages)
    left = budget_tokens - taken - TEMPLATE_OVERHEAD_TOKENS - count_tokens(_filled(template, "", ""))
    repeated = _repeated(hits, question)
    if count_tokens(repeated) * REPEATED_SHARE > left:
        repeated = ""
    passages = _chosen(hits, left - count_tokens(repeated), count_tokens)
    if not passages:
        return list(messages), []
    arranged = _arranged(passages)
    quotes = [_quote(len(arranged) - at, passage) for at, passage in enumerate(arranged)]
    documents = "\n".join(quotes) + repeated
    put = ChatMessage("user", _filled(template, documents, question), messages[at].name)
    return [*messages[:at], put, *messages[at + 1 :]], [passage.hit for passage in reversed(arranged)]


def _repeated(hits: Sequence[Hit], question: str) -> str:
    """Return what to repeat: the best sentence of the best passage, or of all passages for each part of a question."""
    parts = parts_of(question)
    sources = [Source.of(hit) for hit in (hits if len(parts) > 1 else hits[:1])]
    sentences = [sentence for part in parts for sentence in best_sentences(sources, part, 1)]
    return f"\n{' '.join(dict.fromkeys(sentences))}\n" if sentences else ""


def _chosen(hits: Sequence[Hit], tokens: int, count_tokens: Callable[[str], int]) -> list[_Passage]:
    """Return the best hits that fit, the best one first."""
    chosen: list[_Passage] = []
    known: set[str] = set()
    for hit in hits:
        words = " ".join(hit.text.split())
        if words in known:
            continue
        known.add(words)
        text = _fit(hit.text, tokens - count_tokens(_quote(len(hits), _Passage(hit, ""))), count_tokens)
        if text:
            chosen.append(_Passage(hit, text))
            tokens -= count_tokens(_quote(len(hits), chosen[-1]))
        if text != hit.text:
            return chosen
    return _completed(chosen, tokens, count_tokens)


def _completed(passages: Sequence[_Passage], tokens: int, count_tokens: Callable[[str], int]) -> list[_Passage]:
    """Return the passages with the rest of the paragraphs that they are cut out of, the best first, as far as it fits.

    A part that another passage has is not added.
    """
    shown = {(passage.hit.document_id, passage.hit.chunk_index) for passage in passages}
    completed: list[_Passage] = []
    for passage in passages:
        hit = passage.hit
        before = "" if (hit.document_id, hit.chunk_index - 1) in shown else hit.before
        after = "" if (hit.document_id, hit.chunk_index + 1) in shown else hit.after
        needed = count_tokens(before) + count_tokens(after)
        if needed and needed <= tokens:
            tokens -= needed
            passage = _widened(hit, before, after)
        completed.append(passage)
    return completed


def _widened(hit: Hit, before: str, after: str) -> _Passage:
    text = f"{before}{hit.text}{after}"
    start = None if hit.start is None else hit.start - len(before)
    end = None if hit.end is None else hit.end + len(after)
    moved = [replace(one, start=one.start + len(before), end=one.end + len(before)) for one in hit.highlights]
    return _Passage(replace(hit, text=text, start=start, end=end, highlights=moved, before="", after=""), text)


def _arranged(passages: Sequence[_Passage]) -> list[_Passage]:
    """Return the passages in the order of the prompt, without text that overlaps an earlier one.

    The best one is the last. The others follow one another by document and by position in it.
    """
    best, *others = passages
    others.sort(key=lambda passage: (passage.hit.document_id, passage.hit.chunk_index))
    arranged: list[_Passage] = []
    for passage in [*others, best]:
        arranged.append(_without_overlap(arranged, passage))
    return arranged


def _without_overlap(earlier: Sequence[_Passage], passage: _Passage) -> _Passage:
    hit, text = passage.hit, passage.text
    for before in earlier:
        end = before.hit.end
        if before.hit.document_id == hit.document_id and end is not None and hit.start is not None:
            shared = text[: max(0, end - hit.start)]
            if shared and before.text.endswith(shared):
                return _Passage(hit, text[len(shared) :].lstrip() or text)
    return passage


def _last_user(messages: Sequence[ChatMessage]) -> int | None:
    return max((at for at, message in enumerate(messages) if message.role == "user"), default=None)


def _fit(text: str, tokens: int, count_tokens: Callable[[str], int]) -> str:
    """Return a beginning of `text` with at most `tokens` tokens that ends with a word, or "" if that is too short."""
    total = count_tokens(text)
    if total <= tokens:
        return text
    if tokens < LEAST_CHUNK_TOKENS:
        return ""
    keep = len(text) * tokens // total
    while keep > 0:
        cut = text[:keep].rpartition(" ")[0] or text[:keep]
        if count_tokens(cut) <= tokens:
            return cut.rstrip()
        keep = keep * 9 // 10
    return ""


def _quote(number: int, passage: _Passage) -> str:
    """Return a passage with its number. It has no empty line and no other number, so that it cannot pose as two."""
    lines = [_without_number(line) for line in passage.text.splitlines() if line.strip()]
    return f"[{number}] {_heading(passage.hit)}" + "\n".join(lines) + "\n"


def _heading(hit: Hit) -> str:
    """Return what a hit is about, if its text does not say so: passages may differ in nothing else."""
    header = " ".join((hit.header or hit.section or "").split())[:LONGEST_HEADING]
    return f"{_without_number(header)}: " if terms_of(header) - terms_of(hit.text) else ""


def _without_number(line: str) -> str:
    """Return a line that does not begin as a passage does."""
    begun = line.lstrip()
    found = _PASSAGE_NUMBER.match(begun)
    return f"({found[1]}){begun[found.end() :]}" if found else line


def _filled(template: str, documents: str, question: str) -> str:
    """Fill in the template; a placeholder within a document or question stays text."""
    parts = {"{documents}": documents, "{question}": question}
    return _PLACEHOLDER.sub(lambda found: parts[found.group()], template)
