"""Chat templates of well-known families: chosen for files without one, and rendered as `transformers` renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from core.errors import ConfigurationError
from core.messages import ChatMessage
from inference.text.chat_template import ChatTemplate
from inference.text.template_choice import ModelTraits, choose_template, families, family_of, family_template

BOS, EOS = "<s>", "</s>"
CHAT = [
    ("system", "You are a helpful assistant"),
    ("user", "Hello"),
    ("assistant", "Hi there"),
    ("user", "Who are you"),
    ("assistant", "   I am an assistant   "),
    ("user", "Another question"),
]
#: What the models of each family were trained with: the texts are those of their authors.
EXPECTED = {
    "chatml": "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    "<|im_start|>assistant\nHi there<|im_end|>\n<|im_start|>user\nWho are you<|im_end|>\n"
    "<|im_start|>assistant\n   I am an assistant   <|im_end|>\n<|im_start|>user\nAnother question<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama2": "<s>[INST] <<SYS>>\nYou are a helpful assistant\n<</SYS>>\n\nHello [/INST] Hi there </s>"
    "<s>[INST] Who are you [/INST] I am an assistant </s><s>[INST] Another question [/INST]",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful assistant<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHi there<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho are you<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nI am an assistant<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nAnother question<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral-v1": "<s> [INST] You are a helpful assistant\n\nHello [/INST] Hi there</s> [INST] Who are you [/INST]"
    "    I am an assistant   </s> [INST] Another question [/INST]",
    "mistral-v3": "<s>[INST] Hello[/INST] Hi there</s>[INST] Who are you[/INST] I am an assistant</s>"
    "[INST] You are a helpful assistant\n\nAnother question[/INST]",
    "mistral-v3-tekken": "<s>[INST]Hello[/INST]Hi there</s>[INST]Who are you[/INST]   I am an assistant   </s>"
    "[INST]You are a helpful assistant\n\nAnother question[/INST]",
    "mistral-v7": "<s>[SYSTEM_PROMPT] You are a helpful assistant[/SYSTEM_PROMPT][INST] Hello[/INST] Hi there</s>"
    "[INST] Who are you[/INST]    I am an assistant   </s>[INST] Another question[/INST]",
    "mistral-v7-tekken": "<s>[SYSTEM_PROMPT]You are a helpful assistant[/SYSTEM_PROMPT][INST]Hello[/INST]Hi there</s>"
    "[INST]Who are you[/INST]   I am an assistant   </s>[INST]Another question[/INST]",
    "gemma": "<s><start_of_turn>user\nYou are a helpful assistant\n\nHello<end_of_turn>\n"
    "<start_of_turn>model\nHi there<end_of_turn>\n<start_of_turn>user\nWho are you<end_of_turn>\n"
    "<start_of_turn>model\nI am an assistant<end_of_turn>\n<start_of_turn>user\nAnother question<end_of_turn>\n"
    "<start_of_turn>model\n",
    "phi3": "<|system|>\nYou are a helpful assistant<|end|>\n<|user|>\nHello<|end|>\n<|assistant|>\nHi there<|end|>\n"
    "<|user|>\nWho are you<|end|>\n<|assistant|>\n   I am an assistant   <|end|>\n<|user|>\nAnother question<|end|>\n"
    "<|assistant|>\n",
    "phi4": "<|im_start|>system<|im_sep|>You are a helpful assistant<|im_end|><|im_start|>user<|im_sep|>Hello<|im_end|>"
    "<|im_start|>assistant<|im_sep|>Hi there<|im_end|><|im_start|>user<|im_sep|>Who are you<|im_end|>"
    "<|im_start|>assistant<|im_sep|>   I am an assistant   <|im_end|>"
    "<|im_start|>user<|im_sep|>Another question<|im_end|><|im_start|>assistant<|im_sep|>",
    "zephyr": "<|system|>\nYou are a helpful assistant</s>\n<|user|>\nHello</s>\n<|assistant|>\nHi there</s>\n"
    "<|user|>\nWho are you</s>\n<|assistant|>\n   I am an assistant   </s>\n<|user|>\nAnother question</s>\n"
    "<|assistant|>\n",
    "vicuna": "You are a helpful assistant\n\nUSER: Hello\nASSISTANT: Hi there</s>\nUSER: Who are you\n"
    "ASSISTANT:    I am an assistant   </s>\nUSER: Another question\nASSISTANT:",
    "openchat": "<s>GPT4 Correct System: You are a helpful assistant<|end_of_turn|>GPT4 Correct User: Hello"
    "<|end_of_turn|>GPT4 Correct Assistant: Hi there<|end_of_turn|>GPT4 Correct User: Who are you<|end_of_turn|>"
    "GPT4 Correct Assistant:    I am an assistant   <|end_of_turn|>GPT4 Correct User: Another question<|end_of_turn|>"
    "GPT4 Correct Assistant:",
    "deepseek": "<s>You are a helpful assistant### Instruction:\nHello\n### Response:\nHi there\n<|EOT|>\n"
    "### Instruction:\nWho are you\n### Response:\n   I am an assistant   \n<|EOT|>\n### Instruction:\n"
    "Another question\n### Response:\n",
    "deepseek2": "<s>You are a helpful assistant\n\nUser: Hello\n\nAssistant: Hi there</s>User: Who are you\n\n"
    "Assistant:    I am an assistant   </s>User: Another question\n\nAssistant:",
    "deepseek3": "<s>You are a helpful assistant<｜User｜>Hello<｜Assistant｜>Hi there<｜end▁of▁sentence｜>"
    "<｜User｜>Who are you<｜Assistant｜>   I am an assistant   <｜end▁of▁sentence｜><｜User｜>Another question"
    "<｜Assistant｜>",
    "command-r": "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>You are a helpful assistant<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hello<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hi there<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Who are you<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>I am an assistant<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Another question<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "chatglm3": "[gMASK]sop<|system|>\n You are a helpful assistant<|user|>\n Hello<|assistant|>\n Hi there<|user|>\n "
    "Who are you<|assistant|>\n    I am an assistant   <|user|>\n Another question<|assistant|>",
    "chatglm4": "[gMASK]<sop><|system|>\nYou are a helpful assistant<|user|>\nHello<|assistant|>\nHi there<|user|>\n"
    "Who are you<|assistant|>\n   I am an assistant   <|user|>\nAnother question<|assistant|>\n",
}


def rendered(source: str, chat: list[tuple[str, str]], **options: Any) -> str:
    template = ChatTemplate(source, bos=BOS, eos=EOS)
    pieces = template.render([ChatMessage(role, text) for role, text in chat], options=options)
    return "".join(text for text, _ in pieces)


def by_transformers(source: str, chat: list[tuple[str, str]], **options: Any) -> str:
    messages = [{"role": role, "content": text} for role, text in chat]
    found, _ = render_jinja_template(
        [messages], chat_template=source, add_generation_prompt=True, bos_token=BOS, eos_token=EOS, **options
    )
    return str(found[0])


def test_every_family_has_its_words() -> None:
    assert families() == sorted(EXPECTED)


@pytest.mark.parametrize("family", EXPECTED)
def test_a_conversation_is_rendered_word_for_word(family: str) -> None:
    assert rendered(family_template(family), CHAT) == EXPECTED[family]


@pytest.mark.parametrize("family", EXPECTED)
def test_a_family_is_rendered_as_transformers_renders_it(family: str) -> None:
    source = family_template(family)
    chat = CHAT if family != "gemma" else CHAT[1:]  # whose template refuses system messages
    for messages in (chat, chat[1:] if family != "gemma" else chat, [("user", " <b> \u00e9 ")]):
        assert rendered(source, messages) == by_transformers(source, messages)


#: What templates of models use beyond plain loops.
FEATURES = """\
{%- generation %}{{ messages[0].content }}{% endgeneration %}
{%- macro twice(text) %}{{ text ~ text }}{% endmacro %}
{%- set ns = namespace(found=false, names=[]) %}
{%- for message in messages recursive %}
    {%- if loop.index0 > 5 %}{% break %}{% endif %}
    {%- if loop.first and loop.length > 1 and not loop.last %}{% set ns.found = true %}{% endif %}
    {{ loop.revindex }} {{ loop.cycle('a', 'b') }} {{ loop.previtem is defined }} {{ loop.nextitem is defined }}
{%- else %}none{% endfor %}
{{ ns.found }} {{ twice('é<') }}
{{ {'a': ['é<', 1]} | tojson(indent=2) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}
{%- for key, value in {'x': 1 + 2 * 3 ** 2}.items() %}{{ key + '=' + value | string }}{% endfor %}
{{- 'a-b'.split('-') | join('+') | upper }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{- dict(a=1).a }} {{ messages[::-1][0].content[:3] }} {{ undefined_name is defined }} {{ level | default('none') }}"""


def test_what_templates_use_is_rendered_as_transformers_renders_it() -> None:
    assert rendered(FEATURES, CHAT, level="high") == by_transformers(FEATURES, CHAT, level="high")


def traits(
    *tokens: str, architecture: str = "llama", names: str = "", tokenizer: str = "llama", vocab_size: int = 32_000
) -> ModelTraits:
    return ModelTraits(architecture, names, tokenizer, vocab_size, frozenset(tokens).__contains__)


@pytest.mark.parametrize(
    ("found", "family"),
    [
        (traits(names="LLaMA v2 llama-2-7b-chat.Q4_K_M"), "llama2"),
        (traits(names="unknown"), "llama2"),
        (traits(names="Vicuna 13B v1.5"), "vicuna"),
        (traits(names="zephyr-7b-beta"), "zephyr"),
        (traits(names="TinyLlama 1.1B Chat"), "zephyr"),
        (traits(names="mistralai_Mixtral-8x7B-Instruct-v0.1"), "mistral-v1"),
        (traits("[INST]", "[/INST]", names="Mistral-7B-Instruct-v0.3"), "mistral-v3"),
        (traits("[INST]", tokenizer="gpt2", names="Mistral Nemo"), "mistral-v3-tekken"),
        (traits("[INST]", "[SYSTEM_PROMPT]"), "mistral-v7"),
        (traits("[INST]", "[SYSTEM_PROMPT]", tokenizer="gpt2"), "mistral-v7-tekken"),
        (traits("<|im_start|>", names="OpenHermes 2.5 Mistral"), "chatml"),
        (traits("<|im_start|>", architecture="qwen2", tokenizer="gpt2"), "chatml"),
        (traits("<|im_start|>", "<|im_sep|>", architecture="phi3"), "phi4"),
        (traits("<|start_header_id|>", tokenizer="gpt2", vocab_size=128_256), "llama3"),
        (traits("<start_of_turn>", architecture="gemma2"), "gemma"),
        (traits("<|end|>", architecture="phi3"), "phi3"),
        (traits("<|START_OF_TURN_TOKEN|>", architecture="command-r"), "command-r"),
        (traits("<｜User｜>", "<|EOT|>", architecture="deepseek2"), "deepseek3"),
        (traits("<|EOT|>", names="deepseek-coder-6.7b-instruct"), "deepseek"),
        (traits(architecture="deepseek2", vocab_size=102_400), "deepseek2"),
        (traits(architecture="chatglm"), "chatglm3"),
        (traits("<sop>", architecture="chatglm"), "chatglm4"),
        (traits(architecture="starcoder2", tokenizer="gpt2"), "chatml"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_family_follows_from_vocabulary_name_and_architecture(found: ModelTraits, family: str) -> None:
    assert family_of(found) == family and family in families()


def test_the_setting_comes_before_the_file_and_the_file_before_the_family(tmp_path: Path) -> None:
    own = tmp_path / "own.jinja"
    own.write_text("{{ messages[0].content }}")
    for setting, embedded, source, origin in [
        (str(own), "x", "{{ messages[0].content }}", f"setting:{own}"),
        ("gemma", "x", family_template("gemma"), "setting:gemma"),
        (None, "x", "x", "file"),
        (None, None, family_template("llama2"), "family:llama2"),
        (None, "", family_template("llama2"), "family:llama2"),
    ]:
        chosen = choose_template(setting, embedded, traits())
        assert (chosen.source, chosen.origin) == (source, origin)


def test_a_setting_that_is_neither_a_name_nor_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    for setting in ("lama2", str(tmp_path), str(tmp_path / "binary")):
        with pytest.raises(ConfigurationError, match=r"CHAT_TEMPLATE=.*chatml, command-r,"):
            choose_template(setting, "x", traits())
