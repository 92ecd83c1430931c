"""`/v1/markdown`: the Markdown of answers as HTML that a page can insert."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import JsonRoute, in_thread, json_response
from api.markdown import render_blocks, utf16_length
from api.render import Wire
from api.schemas import markdown as schema
from api.scopes import needs

router = APIRouter(prefix="/v1/markdown", tags=["chat"], route_class=JsonRoute)


@router.post("", responses={200: {"model": schema.Markdown}})
@needs()
async def render_markdown(body: schema.MarkdownText) -> Response:
    """Render Markdown block by block, as HTML without scripts, styles, images and raw HTML of the text.

    Links lead to `http:`, `https:` and `mailto:` only. `[1]` becomes `<button class="citation" data-source="1">`. While
    an answer is streamed, send what follows `end` again: what was rendered before does not change.
    """
    # In a thread, as a long text takes a moment.
    return json_response(await in_thread(_rendered, body.text, body.complete))


def _rendered(text: str, complete: bool) -> Wire:
    blocks: list[Wire] = []
    end = end_utf16 = 0
    for block in render_blocks(text, complete=complete):
        end_utf16 += utf16_length(text[end : block.end])
        end = block.end
        blocks.append({"html": block.html, "end": end, "end_utf16": end_utf16})
    if complete:
        end_utf16 += utf16_length(text[end:])
        end = len(text)
    return {"object": "markdown", "blocks": blocks, "end": end, "end_utf16": end_utf16}
