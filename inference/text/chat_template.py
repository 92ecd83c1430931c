"""Renders messages as a prompt with a chat template: a Jinja template in a sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from jinja2 import TemplateSyntaxError

from core.errors import ConfigurationError, InvalidRequest
from core.messages import ChatMessage, PromptEnd
from inference.grammars.call_formats import CallFormat, TaggedFormat, native_format
from inference.grammars.call_formats.tagged import CLOSE, OPEN
from inference.text.reasoning import Beginning, Reasoning, reasoning_format
from inference.text.template_sandbox import TemplateTooExpensive, compile_template, render, to_json

TOOLS_PROMPT = """\
You can call functions. The available ones, as JSON schemas:
<tools>
{tools}
</tools>
To call one, answer with nothing but a JSON object with its name and arguments, in these tags, one per call:
<tool_call>
{{"name": "function_name", "arguments": {{"argument": "value"}}}}
</tool_call>"""

#: A conversation that every template can render.
_PROBE: list[dict[str, Any]] = [{"role": "user", "content": "Probe."}]


class ChatTemplate:
    """Renders conversations. Safe to use from several threads."""

    def __init__(
        self,
        source: str,
        *,
        bos: str = "",
        eos: str = "",
        control_tokens: Mapping[str, int] | None = None,
        token_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        """Compile a template.

        `control_tokens` are the texts that the tokenizer reads as control tokens; `token_of` returns the token whose
        whole text a text is, if there is one.

        Raises:
            ConfigurationError: if it is not a template, or does not end.
        """
        controls = control_tokens or {}
        try:
            self._template = compile_template(source)
            self._names = {"bos_token": bos, "eos_token": eos}
            self._reserved = frozenset({"messages", "tools", "add_generation_prompt", *self._names})
            self._check()
        except TemplateSyntaxError as error:
            raise _unusable(f"line {error.lineno}: {error.message}") from None
        except TemplateTooExpensive as error:
            raise _unusable(str(error)) from None
        #: The template's own call format, if it can be enforced and parsed, because the prompt and the grammar must use
        #: the same format. For other templates, a system message describes the tagged format.
        self._native = native_format(self._rendered, controls)
        #: The format in which this model writes calls.
        self.call_format: CallFormat = self._native.form if self._native else TaggedFormat(controls)
        #: The format in which this model marks its reasoning, or None if it does not reason.
        self.reasoning = reasoning_format(source, controls, token_of)
        texts = sorted((text for text in controls if len(text) > 1), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts))) if texts else None

    def render(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        prompt_end: PromptEnd = "answer",
    ) -> list[tuple[str, bool]]:
        """Return the prompt as pieces of (text, trusted).

        Control tokens are recognised only in trusted pieces, so that a message that spells one out cannot end its turn
        and pose as another role. `options` are values for the template, such as `enable_thinking`.

        Raises:
            InvalidRequest: if the template refuses the conversation (for instance an unknown role), if an option is
                none, or if the last message, which is to be continued, is hidden.
        """
        guard = _Guard(self._control)
        values = _guarded(self._options(options or {}), guard)
        if self._native is not None:
            as_text = self._native.arguments_as_text
            shaped = [_shape(message, guard, as_text) for message in self.call_format.conversation(messages)]
            pieces = guard.split(self._text(shaped, _guarded(list(tools), guard), values, prompt_end))
        else:
            shaped = _plain_tool_messages([_shape(message, guard) for message in messages])
            shaped = _with_tools_prompt(shaped, tools, guard) if tools else shaped
            pieces = guard.split(self._text(shaped, [], values, prompt_end))
        is_off = prompt_end == "answer" and values.get("enable_thinking") is False
        if is_off and self._is_inside(pieces) and self.reasoning is not None:
            # A template that always begins with reasoning does not know this option.
            pieces.append((f"\n{self.reasoning.closing}\n\n", True))
        return pieces

    def reasoning_after(self, pieces: Sequence[tuple[str, bool]], prompt_end: PromptEnd = "answer") -> Reasoning | None:
        """Return how the answer to a prompt may contain reasoning, or None if this model does not reason."""
        form = self.reasoning
        if form is None:
            return None
        if self._is_inside(pieces):
            return Reasoning(form, Beginning.INSIDE)
        text, is_trusted = pieces[-1] if pieces else ("", False)
        is_closed = is_trusted and text.rstrip().endswith(form.closing.rstrip())
        is_closed |= prompt_end == "continued"
        return Reasoning(form, Beginning.NONE if is_closed else Beginning.OPTIONAL)

    def _is_inside(self, pieces: Sequence[tuple[str, bool]]) -> bool:
        """Return whether a prompt ends with a tag that opens reasoning."""
        if self.reasoning is None or not pieces:
            return False
        text, is_trusted = pieces[-1]
        return is_trusted and text.rstrip().endswith(self.reasoning.opening.rstrip())

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values for the template: models have several names for what `enable_thinking` says.

        Raises:
            InvalidRequest: if a value has the name of something that the template gets anyway.
        """
        if taken := sorted(name for name in given if name in self._reserved or name in self._template.globals):
            raise InvalidRequest(
                f"chat_template_kwargs: {', '.join(taken)} cannot be set.", param="chat_template_kwargs"
            )
        options = dict(given)
        if "reasoning_effort" in options:
            options.setdefault("enable_thinking", options["reasoning_effort"] != "none")
        if "enable_thinking" in options:
            options.setdefault("thinking", options["enable_thinking"])
        return options

    def _check(self) -> None:
        """Render a question. Raise TemplateTooExpensive if that does not end."""
        try:
            self._rendered(_PROBE, [])
        except TemplateTooExpensive:
            raise
        except Exception:
            # Some templates demand more, such as a system message: requests are told what it is.
            return

    def _text(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        options: dict[str, Any],
        prompt_end: PromptEnd,
    ) -> str:
        if prompt_end == "continued":
            last = messages[-1]
            messages = [*messages[:-1], {**last, "content": last["content"] + _Guard.END}]
            text, end, _ = self._first_accepted(messages, tools, options, begin_answer=False).rpartition(_Guard.END)
            if not end:
                raise InvalidRequest("The model's chat template hides the message to continue.", param="messages")
            return text
        return self._first_accepted(messages, tools, options, begin_answer=prompt_end == "answer")

    def _first_accepted(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        options: dict[str, Any],
        *,
        begin_answer: bool,
    ) -> str:
        alternating = _alternating(messages)
        refusals: list[Exception] = []
        for attempt in (messages, alternating, _alternating(_without_system(alternating))):
            try:
                return self._rendered(attempt, tools, options, begin_answer=begin_answer)
            except TemplateTooExpensive as error:
                raise InvalidRequest(
                    f"The model's chat template cannot render these messages: {error}.", param="messages"
                ) from error
            except Exception as error:
                # A template is a program that may raise anything on an unusual conversation, which only the client can
                # change.
                refusals.append(error)
        raise InvalidRequest(
            f"The model's chat template refuses these messages: {refusals[0]}", param="messages"
        ) from refusals[0]

    def _rendered(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        options: Mapping[str, Any] | None = None,
        *,
        begin_answer: bool = True,
    ) -> str:
        names = {**(options or {}), **self._names, "add_generation_prompt": begin_answer}
        return render(self._template, messages=messages, tools=tools or None, **names)


def _unusable(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The model's chat template cannot be used: {reason}. Set CHAT_TEMPLATE to the name of a family or to a file."
    )


class _Guard:
    """Replaces control tokens in users' texts with marks, and restores them after rendering as untrusted pieces."""

    #: A private-use character. In users' texts it is itself replaced by a mark, so that it cannot forge one.
    MARK = "\ue0f7"
    #: The end of a message that is to be continued. Templates may write more after it, which is cut off.
    END = f"{MARK}end{MARK}"

    def __init__(self, control: re.Pattern[str] | None) -> None:
        self._control = control
        self._found: list[str] = []

    def protect(self, text: str) -> str:
        text = text.replace(self.MARK, self._mark(self.MARK)) if self.MARK in text else text
        return self._control.sub(lambda match: self._mark(match.group()), text) if self._control else text

    def split(self, text: str) -> list[tuple[str, bool]]:
        if not self._found:
            return [(text, True)]
        parts = re.split(f"{self.MARK}(\\d+){self.MARK}", text)
        pieces = [(self._found[int(part)], False) if at % 2 else (part, True) for at, part in enumerate(parts)]
        return [piece for piece in pieces if piece[0]]

    def _mark(self, text: str) -> str:
        self._found.append(text)
        return f"{self.MARK}{len(self._found) - 1}{self.MARK}"


def _shape(message: ChatMessage, guard: _Guard, arguments_as_text: bool = False) -> dict[str, Any]:
    """Return a message as templates expect it: content always a string, tool arguments as objects or as text."""
    shaped: dict[str, Any] = {"role": message.role, "content": guard.protect(message.content or "")}
    if message.name:
        shaped["name"] = guard.protect(message.name)
    if message.tool_call_id:
        shaped["tool_call_id"] = guard.protect(message.tool_call_id)
    if message.tool_calls:
        calls = (_with_arguments(call, arguments_as_text) for call in message.tool_calls)
        shaped["tool_calls"] = [_guarded(call, guard) for call in calls]
    if message.reasoning:
        # Templates know it by one of these names, or not at all.
        shaped["reasoning_content"] = shaped["thinking"] = guard.protect(message.reasoning)
    return shaped


def _with_arguments(call: dict[str, Any], as_text: bool) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    text = function["arguments"] or "{}"
    try:
        arguments = text if as_text else json.loads(text)
    except ValueError:
        return call  # arguments that a model wrote need not be JSON: they are rendered unchanged
    return {**call, "function": {**function, "arguments": arguments}}


def _guarded(value: Any, guard: _Guard) -> Any:
    if isinstance(value, str):
        return guard.protect(value)
    if isinstance(value, list):
        return [_guarded(item, guard) for item in value]
    if isinstance(value, dict):
        return {_guarded(name, guard): _guarded(item, guard) for name, item in value.items()}
    return value


def _with_tools_prompt(
    messages: list[dict[str, Any]], tools: Sequence[dict[str, Any]], guard: _Guard
) -> list[dict[str, Any]]:
    """Return the messages with the tools in the system message, for templates that ignore tools."""
    listed = "\n".join(to_json(_guarded(tool, guard)) for tool in tools)
    prompt = TOOLS_PROMPT.format(tools=listed)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{prompt}".strip()}, *messages[1:]]
    return [{"role": "system", "content": prompt}, *messages]


def _plain_tool_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with calls and results as plain text.

    Consecutive results become one message, because many templates insist that the roles alternate.
    """
    plain: list[dict[str, Any]] = []
    for is_result, group in groupby(messages, lambda message: bool(message["role"] == "tool")):
        converted = [_plain_tool_message(message) for message in group]
        plain += [{**converted[0], "content": _joined("\n", converted)}] if is_result else converted
    return plain


def _alternating(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with consecutive ones of a role merged, and an empty answer between a result and a question.

    Many templates refuse a conversation that does not alternate between user and assistant.
    """
    turns: list[dict[str, Any]] = []
    for (role, is_merged), group in groupby(messages, _role_to_merge):
        if turns and turns[-1]["role"] == "tool" and role == "user":
            turns.append({"role": "assistant", "content": ""})
        found = list(group)
        turns += [{**found[0], "content": _joined("\n\n", found)}] if is_merged else found
    return turns


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with the first one, if it is the system's, at the beginning of the first user message.

    Some templates know no system messages.
    """
    if len(messages) < 2 or messages[0]["role"] not in ("system", "developer"):
        return messages
    return [{**messages[0], "role": "user"}, *messages[1:]]


def _role_to_merge(message: dict[str, Any]) -> tuple[str, bool]:
    """Return the role of a message, and whether consecutive ones of this kind become one."""
    return message["role"], message["role"] != "tool" and "tool_calls" not in message


def _joined(separator: str, messages: Sequence[dict[str, Any]]) -> str:
    # At once: to append them one by one copies what is there for each of them.
    return separator.join(message["content"] for message in messages)


def _plain_tool_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its calls or its result as plain text, for templates that know neither."""
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
    if message.get("tool_calls"):
        calls = [call.get("function", call) for call in message["tool_calls"]]
        text = "\n".join(f"{OPEN}\n{to_json(call)}\n{CLOSE}" for call in calls)
        content = f"{message['content']}\n{text}".strip()
        return {name: value for name, value in message.items() if name != "tool_calls"} | {"content": content}
    return message
