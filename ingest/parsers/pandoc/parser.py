"""OpenDocument text, reStructuredText and Org, converted to HTML by pandoc."""

from __future__ import annotations

import logging
import re
import tempfile
from functools import lru_cache, partial
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument, title_property
from ingest.parsers import detection, text
from ingest.parsers.html.page import add_html
from ingest.parsers.pandoc import open_document, plain_markup
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import SourceFile
from ingest.sandbox.programs import ProgramFailed, run_program

log = logging.getLogger(__name__)

_FORMATS = {detection.ODT: "odt", detection.RST: "rst", detection.ORG: "org"}
#: Task lists are written as plain text instead of form elements.
_EXTENSIONS = {"org": "-task_lists"}
#: Formats whose source is readable as plain text if pandoc fails.
_TEXT_FORMATS = frozenset(("rst", "org"))
_TEMPLATE = Path(__file__).with_name("pandoc.html")
_CPU_SECONDS = 60
_HEAP_MEGABYTES = 768
_NOTE_BACKLINK = re.compile(r'<a href="#[^"]*" class="footnote-back"[^>]*>[^<]*</a>')
_NOTE_REFERENCE = re.compile(r'(<a href="#[^"]*" class="footnote-ref"[^>]*>)<sup>([^<]*)</sup>(</a>)')


def parse(source: SourceFile) -> ParsedDocument:
    """Parse headings, paragraphs, lists, tables and code. Nothing outside the file is read.

    Raises:
        DocumentRejected: If the file is broken or takes too long.
    """
    name = _FORMATS[source.media_type]
    is_text = name in _TEXT_FORMATS
    builder = DocumentBuilder()
    pictures = Pictures(source.options, None if is_text else partial(open_document.read_picture, source.path))
    try:
        add_html(builder, _simplify_note_links(_convert_to_html(source, name)), pictures)
    except ProgramFailed as error:
        if not is_text:
            raise DocumentRejected(f"The file is broken: pandoc cannot read it ({error.message}).") from error
        log.warning("pandoc failed, %s is read as plain text: %s", source.filename, error)
        return text.parse(source)
    title = {} if is_text else title_property(open_document.read_title(source.path), source.filename)
    return builder.build(source.media_type, **title, **pictures.properties)


def _convert_to_html(source: SourceFile, name: str) -> str:
    # `--sandbox`: pandoc reads only the files named here, and uses no network. The path below is absolute, because a
    # file name may begin with a dash.
    options = ["--sandbox", f"--from={name}{_EXTENSIONS.get(name, '')}", "--to=html", f"--template={_TEMPLATE}",
               "--shift-heading-level-by=1", "--wrap=none", "--syntax-highlighting=none",
               "--reference-location=block"]  # fmt: skip
    command = [_program(), "+RTS", f"-M{_HEAP_MEGABYTES}m", "-RTS", *options]
    if name in _TEXT_FORMATS:
        markup = plain_markup.prepare(name, source.read_text())
        return run_program(command, cpu_seconds=_CPU_SECONDS, stdin=markup.encode()).decode()
    with tempfile.TemporaryDirectory(prefix="pandoc-") as folder:
        path = open_document.prepare(source.path, Path(folder))
        return run_program([*command, str(path.absolute())], cpu_seconds=_CPU_SECONDS).decode()


def _simplify_note_links(html: str) -> str:
    """Remove the links back from notes, and put note references in brackets to separate them from the word before."""
    return _NOTE_REFERENCE.sub(r"\1[\2]\3", _NOTE_BACKLINK.sub("", html))


@lru_cache(maxsize=1)
def _program() -> str:
    import pypandoc

    return str(pypandoc.get_pandoc_path())
