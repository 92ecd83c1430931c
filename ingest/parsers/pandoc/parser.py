"""OpenDocument texts, reStructuredText and Org, through pandoc."""

from __future__ import annotations

import logging
import re
import tempfile
from functools import lru_cache
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers import detection, text
from ingest.parsers.html.page import add_html
from ingest.parsers.pandoc import open_document, plain_markup
from ingest.parsers.source import SourceFile
from ingest.sandbox.programs import ProgramFailed, run_program

log = logging.getLogger(__name__)

_FORMATS = {detection.ODT: "odt", detection.RST: "rst", detection.ORG: "org"}
#: Items of lists that can be ticked are written as they are, and not as form elements.
_EXTENSIONS = {"org": "-task_lists"}
#: Those whose source is text, which is worth having even if pandoc cannot read it.
_TEXT_FORMATS = frozenset(("rst", "org"))
_TEMPLATE = Path(__file__).with_name("pandoc.html")
_SECONDS = 60
_HEAP_MEGABYTES = 768
_NOTE_BACK = re.compile(r'<a href="#[^"]*" class="footnote-back"[^>]*>[^<]*</a>')
_NOTE_MARK = re.compile(r'(<a href="#[^"]*" class="footnote-ref"[^>]*>)<sup>([^<]*)</sup>(</a>)')


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists, tables and code. Nothing outside the file is read.

    Raises:
        DocumentRejected: it is broken, or takes too long.
    """
    name = _FORMATS[source.media_type]
    builder = DocumentBuilder()
    try:
        add_html(builder, _with_plain_notes(_as_html(source, name)))
    except ProgramFailed as error:
        if name not in _TEXT_FORMATS:
            raise DocumentRejected(f"The file is broken: pandoc cannot read it ({error.message}).") from error
        log.warning("%s is read as plain text: %s", source.filename, error)
        return text.parse(source)
    return builder.build(source.media_type)


def _as_html(source: SourceFile, name: str) -> str:
    # `--sandbox`: no files but those named here, and no network. The file's own name may begin with a dash.
    options = ["--sandbox", f"--from={name}{_EXTENSIONS.get(name, '')}", "--to=html", f"--template={_TEMPLATE}",
               "--shift-heading-level-by=1", "--wrap=none", "--syntax-highlighting=none",
               "--reference-location=block"]  # fmt: skip
    command = [_program(), "+RTS", f"-M{_HEAP_MEGABYTES}m", "-RTS", *options]
    if name in _TEXT_FORMATS:
        given = plain_markup.prepared(name, source.read_text())
        return run_program(command, timeout_seconds=_SECONDS, stdin=given.encode()).decode()
    with tempfile.TemporaryDirectory(prefix="pandoc-") as folder:
        path = open_document.prepared(source.path, Path(folder))
        return run_program([*command, str(path.absolute())], timeout_seconds=_SECONDS).decode()


def _with_plain_notes(html: str) -> str:
    """Without the arrows that lead back from notes, and with the marks of notes apart from the words before them."""
    return _NOTE_MARK.sub(r"\1[\2]\3", _NOTE_BACK.sub("", html))


@lru_cache(maxsize=1)
def _program() -> str:
    import pypandoc

    return str(pypandoc.get_pandoc_path())
