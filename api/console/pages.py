"""The routes of the console's pages. A page is a frame without data: its scripts ask the public API for the rest."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.console.static_files import StaticFiles
from core.release import release

CONSOLE_PATH = "/console"
START_PAGE = "chat"
#: The pages by the last part of their path, with their titles, in the order of the navigation.
PAGES = {
    "chat": "Chat",
    "documents": "Documents",
    "search": "Search",
    "queue": "Queue",
    "models": "Models",
    "connect": "Connect",
}
#: Nothing is loaded from elsewhere, nothing runs that is not a file of this server, and no page can frame these.
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_PAGE_HEADERS = HEADERS | {"cache-control": "no-cache"}
_STATIC_HEADERS = HEADERS | {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}

router = APIRouter(include_in_schema=False)
static_files = StaticFiles()


@router.get("/")
async def start() -> Response:
    """Redirect to the first page."""
    return RedirectResponse(f"{CONSOLE_PATH}/{START_PAGE}", 302)


@router.get(CONSOLE_PATH)
async def console() -> Response:
    """Redirect to the first page."""
    return RedirectResponse(f"{CONSOLE_PATH}/{START_PAGE}", 302)


@router.get(f"{CONSOLE_PATH}/static/{{version}}/{{path:path}}")
async def static(version: str, path: str, request: Request) -> Response:
    """Return a script, a style, an image or the sample document of the current version."""
    file = static_files.find(version, path)
    if file is None:
        raise HTTPException(404, "The console has no such file. Load the page again.")
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers = _STATIC_HEADERS | {"content-encoding": "gzip"}
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.content, headers=_STATIC_HEADERS, media_type=file.media_type)


@router.get(f"{CONSOLE_PATH}/documents/{{document_id}}")
async def document(document_id: str, request: Request) -> Response:
    """Return the page of a document. Its script asks whether there is one."""
    return _page(request, "document", "Document", "documents", document_id=document_id)


@router.get(f"{CONSOLE_PATH}/{{page}}")
async def page(page: str, request: Request) -> Response:
    """Return a page."""
    if page not in PAGES:
        raise HTTPException(404, f"The console has no page {page!r}; it has {', '.join(PAGES)}.")
    return _page(request, page, PAGES[page], page)


def _page(request: Request, name: str, title: str, section: str, **values: str) -> Response:
    root = request.scope.get("root_path", "")
    html = (
        _templates()
        .get_template(f"{name}.html")
        .render(
            name=name,
            title=title,
            section=section,
            pages=PAGES,
            root=root,
            console=root + CONSOLE_PATH,
            static=f"{root}{CONSOLE_PATH}/static/{static_files.version}",
            release=release(),
            **values,
        )
    )
    return HTMLResponse(html, headers=_PAGE_HEADERS)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
