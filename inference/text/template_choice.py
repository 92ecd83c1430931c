"""Chooses the chat template of a model: the one that a setting names, that of its file, or that of its family.

The families have the names that llama.cpp gives them; their templates are in `templates/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from core.errors import ConfigurationError

_TEMPLATES = files("inference.text") / "templates"
_SUFFIX = ".jinja"


@dataclass(frozen=True)
class ModelTraits:
    """What a model's file says about its family."""

    #: `general.architecture`, such as `llama`.
    architecture: str
    #: `general.name` and the name of the file.
    names: str
    #: `tokenizer.ggml.model`: `llama` is SentencePiece, `gpt2` is BPE.
    tokenizer: str
    vocab_size: int
    #: Tells whether a text is a single token, as the parts of a family's template are.
    is_token: Callable[[str], bool]


@dataclass(frozen=True)
class ChosenTemplate:
    """A chat template, and where it is from: `file`, `family:NAME`, or `setting:NAME`."""

    source: str
    origin: str


def families() -> list[str]:
    """Return the names of the families whose templates are known."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in _TEMPLATES.iterdir() if file.name.endswith(_SUFFIX))


def family_template(name: str) -> str:
    """Return the template of a family."""
    return (_TEMPLATES / f"{name}{_SUFFIX}").read_text("utf-8")


def choose_template(setting: str | None, embedded: str | None, traits: ModelTraits) -> ChosenTemplate:
    """Return the template of CHAT_TEMPLATE, or else the one in the model's file, or else that of its family.

    Raises:
        ConfigurationError: if CHAT_TEMPLATE is neither the name of a family nor a file that can be read.
    """
    if setting is not None:
        return ChosenTemplate(_named(setting), f"setting:{setting}")
    if embedded:
        return ChosenTemplate(embedded, "file")
    family = family_of(traits)
    return ChosenTemplate(family_template(family), f"family:{family}")


#: Families by a token that no other family's vocabulary has. The first one found counts.
_BY_TOKEN = (
    ("<|im_sep|>", "phi4"),
    ("<|im_start|>", "chatml"),
    ("<|start_header_id|>", "llama3"),
    ("<start_of_turn>", "gemma"),
    ("<|START_OF_TURN_TOKEN|>", "command-r"),
    ("<｜User｜>", "deepseek3"),
    ("<|EOT|>", "deepseek"),
    ("<|end_of_turn|>", "openchat"),
    ("<sop>", "chatglm4"),
    ("<|end|>", "phi3"),
)
#: Families by a part of the model's name, in lower case and without `-`, `_` and spaces.
_BY_NAME = (
    ("vicuna", "vicuna"),
    ("zephyr", "zephyr"),
    ("tinyllama", "zephyr"),
    ("openchat", "openchat"),
    ("mistral", "mistral-v1"),
    ("mixtral", "mistral-v1"),
    ("llama2", "llama2"),
    ("llamav2", "llama2"),
)
_BY_ARCHITECTURE = {
    "chatglm": "chatglm3",
    "command-r": "command-r",
    "cohere2": "command-r",
    "deepseek2": "deepseek2",
    "gemma": "gemma",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "phi3": "phi3",
}
#: The size of the vocabulary that Llama 1, Llama 2 and the first Mistral models share.
_LLAMA_2_VOCABULARY = 32_000


def family_of(traits: ModelTraits) -> str:
    """Return the family of a model: by its vocabulary, else by its name, else by its architecture, else `chatml`."""
    if traits.is_token("[INST]"):
        return _mistral(traits)
    if family := next((family for text, family in _BY_TOKEN if traits.is_token(text)), None):
        return family
    name = "".join(character for character in traits.names.lower() if character not in "-_ ")
    if family := next((family for text, family in _BY_NAME if text in name), None):
        return family
    if traits.architecture == "llama" and traits.tokenizer == "llama" and traits.vocab_size == _LLAMA_2_VOCABULARY:
        return "llama2"
    return _BY_ARCHITECTURE.get(traits.architecture, "chatml")


def _mistral(traits: ModelTraits) -> str:
    version = "v7" if traits.is_token("[SYSTEM_PROMPT]") else "v3"
    return f"mistral-{version}-tekken" if traits.tokenizer == "gpt2" else f"mistral-{version}"


def _named(setting: str) -> str:
    if setting in families():
        return family_template(setting)
    try:
        return Path(setting).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"CHAT_TEMPLATE={setting} is neither a file that can be read ({error}) nor one of these names: "
            f"{', '.join(families())}."
        ) from None
