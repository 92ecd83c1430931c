"""`/v1/markdown`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import WireAnswer, WireRequest

#: Twice as long as the longest answers. The slowest texts of this length take two seconds.
MAX_MARKDOWN_CHARACTERS = 2**17


class MarkdownText(WireRequest):
    """Body of `POST /v1/markdown`."""

    text: Annotated[str, StringConstraints(max_length=MAX_MARKDOWN_CHARACTERS)]
    complete: bool = Field(
        False, description="Whether the text is whole. If not, blocks that further text may change are left out."
    )


class MarkdownBlock(WireAnswer):
    html: str
    end: int = Field(description="The characters of the text up to the end of its last line.")
    end_utf16: int = Field(description="The same in UTF-16 code units, as JavaScript counts.")


class Markdown(WireAnswer):
    """HTML of a text, block by block."""

    object: Literal["markdown"] = "markdown"
    blocks: list[MarkdownBlock]
    end: int = Field(
        description="The characters of the text that have been rendered. Send the rest again when it grows."
    )
    end_utf16: int
