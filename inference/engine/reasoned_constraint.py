"""Lets a model reason before an answer that a grammar describes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from inference.engine.backend import Tokenizer
from inference.grammars.constraint import Constraint, ConstraintFactory
from inference.grammars.grammar_constraint import only
from inference.text.detokenizer import Detokenizer
from inference.text.reasoning import Beginning, Phase, Reasoning

#: Reasoning may take 1 / REASONING_SHARE of the tokens of an answer. Then its closing tag is written, so that the
#: answer has the others.
REASONING_SHARE = 2


class ReasonedConstraint:
    """A `Constraint` that allows everything while the model reasons, and then what a grammar allows.

    Where the model decides itself whether it reasons, the opening tag is allowed beside what the grammar allows.
    """

    def __init__(
        self, create: ConstraintFactory, reasoning: Reasoning, tokenizer: Tokenizer, vocab_size: int, max_tokens: int
    ) -> None:
        self._create = create
        self._reasoning = reasoning
        self._tokenizer = tokenizer
        self._mask_bytes = bytes(4 * ((vocab_size + 31) // 32))
        self._closing = tokenizer.tokenize(f"\n{reasoning.form.closing}", special=True)
        self._most_reasoning_tokens = max_tokens // REASONING_SHARE - len(self._closing)
        self._begin()

    def _begin(self) -> None:
        form, can_open = self._reasoning.form, self._reasoning.beginning is Beginning.OPTIONAL
        marks = form.marks
        self._detokenizer = Detokenizer(self._tokenizer.token_bytes, marks=marks, reasoning=self._reasoning)
        #: The tokens of the opening tag that have not come.
        self._opening = self._tokenizer.tokenize(form.opening, special=True) if can_open else []
        #: The tokens that must come next to close the reasoning, the last one first.
        self._forced: list[int] = []
        self._used = 0
        #: The grammar's state; None while the model reasons, or writes an opening tag that the grammar does not allow.
        self._grammar: Constraint | None = None if self.is_reasoning else self._create()
        self._grammar_mask: bytes | None = None

    @property
    def is_reasoning(self) -> bool:
        """Whether the model reasons."""
        return self._detokenizer.phase is Phase.REASONING

    @property
    def _is_undecided(self) -> bool:
        return self._detokenizer.phase is Phase.UNDECIDED

    def mask(self) -> bytes | None:
        if self.is_reasoning:
            return None
        if self._grammar is None:
            return only(self._mask_bytes, self._opening[0])
        self._grammar_mask = mask = self._grammar.mask()
        if mask is None or not self._is_undecided or not self._opening:
            return mask
        widened = bytearray(mask)
        widened[self._opening[0] >> 3] |= 1 << (self._opening[0] & 7)
        return bytes(widened)

    def check(self, token: int) -> Future[None] | None:
        grammar = self._grammar_for(token)
        return grammar.check(token) if grammar is not None else None

    def replacement(self, token: int) -> int | None:
        if self.is_reasoning:
            return self.end_reasoning() if self._forced or self._used >= self._most_reasoning_tokens else None
        grammar = self._grammar_for(token)
        return grammar.replacement(token) if grammar is not None else None

    def end_reasoning(self) -> int:
        """Return the next token of the closing tag, which is written from now on."""
        self._forced = self._forced or self._closing[::-1]
        return self._forced[-1]

    def accept(self, token: int) -> None:
        was_reasoning, grammar = self.is_reasoning, self._grammar_for(token)
        self._take(token)
        if self._forced:
            self._forced.pop()
        if was_reasoning and not self.is_reasoning:
            self._forced.clear()
            self._grammar = self._create(self._used)
        elif not was_reasoning:
            self._grammar = None if self.is_reasoning else grammar
            if self._grammar is not None:
                self._grammar.accept(token)

    def resume(self, tokens: Sequence[int]) -> None:
        reasoned = 0
        for token in tokens:
            was_reasoning = self.is_reasoning
            self._take(token)
            if was_reasoning or self.is_reasoning:
                reasoned = self._used
        if self._is_undecided:
            self._begin()
            for token in tokens:
                self.mask()
                self.accept(token)
        elif not self.is_reasoning:
            self._grammar = self._create(reasoned)
            self._grammar.resume(tokens[reasoned:])
        else:
            self._grammar = None
            begun = max(0, self._used - max(0, self._most_reasoning_tokens))
            self._forced = self._closing[begun:][::-1] if begun else []

    @property
    def is_complete(self) -> bool:
        return self._grammar is not None and self._grammar.is_complete

    def _take(self, token: int) -> None:
        self._used += 1
        self._detokenizer.push(token)
        if self._opening[:1] == [token]:
            self._opening = self._opening[1:]

    def _grammar_for(self, token: int) -> Constraint | None:
        """Return the grammar if it allows the token, which then follows it."""
        if self._grammar is None or not self._is_undecided or self._grammar_mask is None:
            return self._grammar
        return self._grammar if self._grammar_mask[token >> 3] >> (token & 7) & 1 else None
