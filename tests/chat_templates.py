"""Chat templates that write calls and refuse messages as those of well-known models do."""

from __future__ import annotations

#: Calls in `<tool_call>` tags: Hermes, Qwen 2.5 and SmolLM3.
TAGGED = (
    "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}{% for message in messages %}{{ message.role }}:"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{{ message.content }};{% endfor %}"
)
#: One call at a time, without tags: Llama 3.1 and models derived from it.
BARE = """\
{%- if tools %}Respond in the format {"name": function name, "parameters": dictionary}.
{%- for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}
{%- for message in messages %}<|{{ 'ipython' if message.role == 'tool' else message.role }}|>
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception("single tool-calls at once!") }}{% endif %}
{%- set call = message.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", ' }}{{ '"parameters": ' }}{{ call.arguments | tojson }}{{ "}" }}
{%- else %}{{ message.content }}{% endif %}{% endfor %}"""

_MISTRAL = """\
{%- set seen = namespace(turns=0) %}
{%- for message in messages if message.role == "user" or message.role == "assistant" and not message.tool_calls %}
{%- if (message.role == "user") == (seen.turns % 2 == 1) %}
{{- raise_exception("user and assistant take turns") }}{% endif %}
{%- set seen.turns = seen.turns + 1 %}{% endfor %}
{{- bos_token }}
{%- set questions = messages | selectattr("role", "equalto", "user") | list %}
{%- for message in messages %}
{%- if message.role == "system" %}[SYSTEM_PROMPT]{{ message.content }}[/SYSTEM_PROMPT]
{%- elif message.role == "user" %}
{%- if tools is not none and message == questions[-1] %}
{{- "[AVAILABLE_TOOLS]" + (tools | tojson) + "[/AVAILABLE_TOOLS]" }}{% endif %}
{{- "[INST]" + message.content + "[/INST]" }}
{%- elif message.tool_calls is defined %}<calls>
{{- eos_token }}
{%- elif message.role == "assistant" %}{{ message.content + eos_token }}
{%- elif message.role == "tool" %}<result>
{%- else %}{{ raise_exception("no such role") }}{% endif %}{% endfor %}"""
_CHECKED_CALL = """\
{% if call.id is not defined or call.id | length != 9 %}{{ raise_exception("an id has nine characters") }}{% endif %}"""
_CHECKED_RESULT = _CHECKED_CALL.replace("call.id", "message.tool_call_id")


def _mistral(calls: str, result: str) -> str:
    return _MISTRAL.replace("<calls>", calls).replace("<result>", result)


#: A list of calls after a control token: Mistral's models up to Small 3.1.
LISTED = _mistral(
    "[TOOL_CALLS][{% for call in message.tool_calls %}"
    + _CHECKED_CALL
    + """\
{{ (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}{{ ", " if not loop.last }}{% endfor %}]""",
    _CHECKED_RESULT
    + """\
{{ '[TOOL_RESULTS]{"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}""",
)
_NAMED_CALLS = "{% for call in message.tool_calls %}[TOOL_CALLS]{{ call.function.name }}"
_NAMED_ARGUMENTS = "[ARGS]{{ call.function.arguments | tojson }}{% endfor %}"
_RESULT_TEXT = "{{ message.content }}[/TOOL_RESULTS]"
#: Each call after its own control token: Mistral's newer models.
NAMED = _mistral(_NAMED_CALLS + _NAMED_ARGUMENTS, "[TOOL_RESULTS]" + _RESULT_TEXT)
#: The same with ids.
NAMED_WITH_IDS = _mistral(
    _NAMED_CALLS + _CHECKED_CALL + "[CALL_ID]{{ call.id }}" + _NAMED_ARGUMENTS,
    _CHECKED_RESULT + "[TOOL_RESULTS]{{ message.tool_call_id }}[TOOL_CONTENT]" + _RESULT_TEXT,
)
#: Calls in tags with the function's name: Functionary 3.1. It takes arguments as text only.
FUNCTION_TAGS = """\
{%- for tool in tools or [] %}Use '{{ tool.function.name }}': {{ tool.function | tojson }}, as in
<function=example_name>{"example": "value"}</function>
{% endfor %}
{%- for message in messages %}<|{{ 'ipython' if message.role == 'tool' else message.role }}|>{{ message.content }}
{%- for call in message.tool_calls or [] %}
{{- '<function=' + call.function.name + '>' + call.function.arguments + '</function>' }}
{%- endfor %}{% endfor %}"""
#: A tag for each parameter: Qwen3-Coder.
PARAMETER_TAGS = """\
{%- for tool in tools or [] %}<function><name>{{ tool.function.name }}</name></function>{% endfor %}
{%- if tools %}Reply as in: <tool_call>
<function=example_name>
<parameter=example>
value
</parameter>
</function>
</tool_call>{% endif %}
{%- for message in messages %}{{ "<|" + message.role + "|>" + message.content }}
{%- for call in message.tool_calls or [] %}{{- "\\n<tool_call>\\n<function=" + call.function.name + ">\\n" }}
{%- for key, value in call.function.arguments | items %}{{- "<parameter=" + key + ">\\n" }}
{{- value if value is string else value | tojson }}{{- "\\n</parameter>\\n" }}{% endfor %}
{{- "</function>\\n</tool_call>" }}{% endfor %}{% endfor %}"""
