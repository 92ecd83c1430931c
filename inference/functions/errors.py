"""Errors of functions: one for the author of a function, one for its caller."""

from __future__ import annotations


class FunctionDefinitionError(Exception):
    """A function cannot be registered; the message names it and says what to change."""


class FunctionError(Exception):
    """Raised by a function to tell the model why it has no answer. The message is all that the model sees."""
