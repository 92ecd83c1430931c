"""The chat template of a real model: of its file, of its family, or of the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.messages import ChatMessage
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend
from inference.engine.model_files import resolve_model
from tests.gguf_files import changed_copy

CHAT = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hi"), ChatMessage("user", "You?")]

pytestmark = pytest.mark.check


@pytest.mark.parametrize(
    ("embedded", "setting", "origin", "prompt"),
    [
        ("", None, "family:chatml", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
         "<|im_start|>user\nYou?<|im_end|>\n<|im_start|>assistant\n"),
        ("{{ 1", "llama2", "setting:llama2",
         "<|im_start|>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi\n\nYou? [/INST]"),
        ("{{ messages[1].content }}", None, "file", "Hi"),
    ],
    ids=["family", "setting", "file"],
)  # fmt: skip
def test_a_model_has_the_template_that_is_shown(
    tmp_path: Path, embedded: str, setting: str | None, origin: str, prompt: str
) -> None:
    engine = engine_of(tmp_path, embedded, setting)
    try:
        assert (engine.model.chat_template, engine.model.reasons) == (origin, False)
        assert engine.prepare(CHAT).text == prompt
    finally:
        engine.close()


def test_a_template_that_does_not_compile_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"chat template cannot be used: line 1: .* Set CHAT_TEMPLATE"):
        engine_of(tmp_path, "{% if %}", None)


def engine_of(folder: Path, embedded: str, setting: str | None) -> Engine:
    starter = resolve_model(load_settings(_env_file=None)).path
    path = changed_copy(starter, folder / "changed.gguf", embedded, {})
    settings = load_settings(_env_file=None, model_path=path, context_length=512, chat_template=setting)
    return Engine(LlamaBackend(resolve_model(settings), settings), slots=1, sink=lambda _: None)
