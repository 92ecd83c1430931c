"""Types and checks of the values of single settings. A ValueError is reported with the name of the setting."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?|[0-9a-fA-F:.]+")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
#: Marks an entry of `API_KEYS` that is the hash of a key.
KEY_HASH_PREFIX = "sha256:"
_KEY_OR_HASH = re.compile(r"(?!sha256:).*|sha256:[0-9a-fA-F]{64}", re.DOTALL)
#: What CONTEXT_LENGTH may be, in tokens.
SHORTEST_CONTEXT, LONGEST_CONTEXT = 128, 1_048_576


def checked_url(value: str, *schemes: str) -> str:
    """Check a URL here: the libraries that it is for quote it in their errors, with its password."""
    if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        *most, last = (f"{scheme}://" for scheme in schemes)
        raise ValueError(f"must start with {', '.join(most)} or {last}")
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise ValueError(
            "the host or the port is invalid; in a password, write @ : / # ? and other special characters as in a URL, "
            "for example @ as %40"
        ) from None
    return value


def gguf_name(name: str) -> str:
    """Return the name of a GGUF file. Raise ValueError if it is another's."""
    if not name.lower().endswith(".gguf"):
        raise ValueError(
            f"{name} is not a GGUF file. llama.cpp loads GGUF only: choose a .gguf file of the model "
            "(most repositories have a …-GGUF twin), or convert it with llama.cpp's convert_hf_to_gguf.py"
        )
    return name


def gguf_path(path: Path) -> Path:
    """Return the path of a GGUF file. Raise ValueError if it is another's."""
    gguf_name(path.name)
    return path


def whole_key(key: SecretStr) -> SecretStr:
    """Return an entry of `API_KEYS`. Raise ValueError if it is a hash that is cut."""
    if not _KEY_OR_HASH.fullmatch(key.get_secret_value()):
        raise ValueError("`sha256:` must be followed by the 64 hexadecimal digits of the key's SHA-256")
    return key


def read_template(value: str) -> str:
    """Return the text of a prompt template, which is given as text or as the path of a file.

    Raises:
        ValueError: there is no such file, or the placeholders are wrong.
    """
    text = value
    if "{" not in value:
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"this is neither a template with its placeholders nor a file that can be read ({error})"
            ) from None
    found = re.findall(r"\{[a-z_]*\}", text)
    if sorted(found) != ["{documents}", "{question}"]:
        raise ValueError(
            "the template must have the placeholders {documents} and {question}, once each, and no other; it has "
            + (", ".join(found) or "none")
        )
    return text


def regular_expression(value: str) -> str:
    """Return a regular expression. Raise ValueError if it is none."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    return value


def split_commas(value: Any) -> Any:
    """Return the parts of a comma-separated text, and any other value as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def host_name(name: str) -> str:
    """Return the name of a host, `*` or `*.NAME`. Raise ValueError for any other text."""
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a host's name: write names without scheme, port and path")
    return name


def network(value: str) -> str:
    """Return an address, a network or `*`. Raise ValueError for any other text."""
    if value != "*":
        ipaddress.ip_network(value, strict=False)
    return value


def name_pattern(entry: str) -> str:
    """Return an entry of WATCH_IGNORE. Raise ValueError if it is not the pattern of a name."""
    if "/" in entry or not entry.removeprefix("!"):
        raise ValueError(
            f"{entry!r} is not the pattern of a name: write for example *.log or !*.bak, without folders (rules with "
            "folders belong into a file .llmignore)"
        )
    return entry


def path_prefix(value: str) -> str:
    """Return a path without a slash at its end. Raise ValueError if it is no path of plain characters."""
    prefix = value.rstrip("/")
    if prefix and not _PATH.fullmatch(prefix):
        raise ValueError("must be a path such as /llm, of letters, digits and . _ ~ -")
    return prefix


def tokens_or_auto(value: Any) -> Any:
    """Return a length in tokens, or `auto`. Raise ValueError for anything else."""
    text = str(value).strip().lower()
    if text == "auto":
        return text
    if not text.isdecimal() or not SHORTEST_CONTEXT <= int(text) <= LONGEST_CONTEXT:
        raise ValueError(f"must be auto, or a number of tokens from {SHORTEST_CONTEXT} to {LONGEST_CONTEXT}")
    return int(text)


def layers_or_auto(value: Any) -> Any:
    """Return a number of layers, -1 for all, or `auto`. Raise ValueError for anything else."""
    text = str(value).strip().lower()
    if text == "auto":
        return text
    if text != "-1" and not text.isdecimal():
        raise ValueError("must be auto, a number of layers, or -1 for all layers")
    return int(text)


#: Reads a list from a comma-separated variable, and not from JSON.
COMMA_SEPARATED = (NoDecode, BeforeValidator(split_commas))
GgufName = Annotated[str, AfterValidator(gguf_name)]
GgufPath = Annotated[Path, AfterValidator(gguf_path)]
AdminKeys = Annotated[tuple[Annotated[SecretStr, AfterValidator(whole_key)], ...], *COMMA_SEPARATED]
Texts = Annotated[tuple[str, ...], *COMMA_SEPARATED]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(host_name)], ...], *COMMA_SEPARATED]
Networks = Annotated[tuple[Annotated[str, AfterValidator(network)], ...], *COMMA_SEPARATED]
NamePatterns = Annotated[tuple[Annotated[str, AfterValidator(name_pattern)], ...], *COMMA_SEPARATED]
PathPrefix = Annotated[str, AfterValidator(path_prefix)]
RegularExpression = Annotated[str, AfterValidator(regular_expression)]
RedisUrl = Annotated[str, AfterValidator(lambda value: checked_url(value, "redis", "rediss", "unix"))]
HttpUrl = Annotated[str, AfterValidator(lambda value: checked_url(value, "http", "https"))]
TokensOrAuto = Annotated[int | Literal["auto"], BeforeValidator(tokens_or_auto)]
LayersOrAuto = Annotated[int | Literal["auto"], BeforeValidator(layers_or_auto)]
Template = Annotated[str, AfterValidator(read_template)]
