"""What a file is: from its content first, then from its name."""

from __future__ import annotations

import json
import mimetypes
import re
import zipfile
from pathlib import Path, PurePosixPath

from core.errors import DocumentRejected
from ingest.parsers.archives import BROKEN_ARCHIVE, ENCRYPTED, broken_archive, check_archive, refuse_nested
from ingest.parsers.charsets import decode, is_text, marked_charset
from ingest.parsers.mail.detection import EML, MBOX, mail_type
from ingest.parsers.ole import DOC, MSG, PPT, SIGNATURE, XLS, ole_media_type

__all__ = ["DOC", "EML", "MBOX", "MSG", "PPT", "XLS", "detect_media_type"]

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
#: Excel's binary workbooks.
XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
NOTEBOOK = "application/x-ipynb+json"
CODE = "text/x-source-code"
PLAIN = "text/plain"
JSON_LINES = "application/jsonl"
XML = "application/xml"
RST = "text/x-rst"
ORG = "text/org"
RTF = "application/rtf"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
GIF = "image/gif"
WEBP = "image/webp"
BMP = "image/bmp"
UNKNOWN = "application/octet-stream"

_HEAD_BYTES = 4096
_PDF_MARK = re.compile(rb"(?:^|[\r\n\xbf])%PDF-\d")
_PDF_END_BYTES = 2048
#: Formats that are text, beside those that say so in their name.
_WRITTEN = frozenset((JSON, JSON_LINES, NOTEBOOK, XML, RTF, "application/sql", "application/javascript"))
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
#: Templates, and texts that consist of others, are read as what they are templates of.
_OPEN_DOCUMENT_KINDS = {"text": ODT, "spreadsheet": ODS, "presentation": ODP}
_FLAT_OPEN_DOCUMENT = re.compile(rb"""\boffice:mimetype=["']([\w.+/-]+)["']""")
#: Its root names dozens of namespaces first.
_FLAT_HEAD_BYTES = 2**16
_MANIFEST = "META-INF/manifest.xml"
_MANIFEST_BYTES = 2**20
#: Where books keep the keys of their rights management; fonts alone may be encrypted without it.
_RIGHTS = "META-INF/rights.xml"
#: The part that makes a zip archive an Office file. Some programs put a number to its name.
_OFFICE_PARTS = {
    re.compile(r"word/document\d*\.xml"): DOCX,
    re.compile(r"xl/workbook\d*\.xml"): XLSX,
    re.compile(r"ppt/presentation\d*\.xml"): PPTX,
    re.compile(r"xl/workbook\d*\.bin"): XLSB,
}
_MAGIC = (
    (b"{\\rtf", RTF),
    (b"\x89PNG", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF8", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"GGUF", "application/x-gguf"),
)
_BY_SUFFIX = {
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN, ".rmd": MARKDOWN, ".qmd": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".csv": CSV, ".tsv": TSV, ".tab": TSV,
    ".json": JSON, ".geojson": JSON, ".ipynb": NOTEBOOK, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES,
    ".rst": RST, ".rest": RST, ".org": ORG, ".eml": EML, ".mbox": MBOX, ".xml": XML,
}  # fmt: skip
_CODE_SUFFIX_NAMES = (
    ".py .pyi .js .mjs .cjs .ts .tsx .jsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh .cs .go .rs .rb .php .pl "
    ".pm .lua .r .jl .swift .m .mm .dart .ex .exs .erl .hs .ml .clj .sh .bash .zsh .fish .ps1 .bat .cmd .sql .proto "
    ".graphql .css .scss .less .vue .svelte .svg .yaml .yml .toml .ini .cfg .conf .env .properties .tf .cmake "
    ".mk .gradle .diff .patch .tex .bib .zig .nim .asm .s .v .vhd .f90 .f .pas .groovy"
)
_CODE_SUFFIXES = frozenset(_CODE_SUFFIX_NAMES.split())
_CODE_NAMES = frozenset({"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "jenkinsfile"})
#: Each comment is an atomic group: otherwise a run of them can be divided in exponentially many ways.
_HTML_START = re.compile(r"\s*+(?><!--.*?-->\s*)*+(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+html|<html[\s>])", re.I | re.S)
_PROGRAM_IN_PAGE = re.compile(rb"<\?(?:php|=)|<%[=@!-]?\s")
#: Of a page, where code in it is looked for.
_TEMPLATE_BYTES = 2**20
_JSON_SUFFIXES = (".json", ".geojson", ".ipynb")
_SHEET_SUFFIXES = (".xls", ".xlsx", ".ods")
_LINES_SAMPLE_CHARACTERS = 2**20


def detect_media_type(path: Path, filename: str) -> str:
    """The media type of a file that is not empty.

    Raises:
        DocumentRejected: it is an archive that is broken or a bomb, or it is encrypted.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _is_pdf(path, head):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _office_type(path)
    if head.startswith(SIGNATURE):
        return ole_media_type(path)
    known = _known_format(head)
    # Some formats begin with letters, as a text may.
    if known == RTF or not is_text(head):
        return known or _guessed_binary(path, filename)
    return _text_type(path, head, filename)


def _is_pdf(path: Path, head: bytes) -> bool:
    """Readers accept anything within the first kilobyte before a PDF's mark; a text may speak of that mark."""
    if head.lstrip().startswith(b"%PDF-"):
        return True
    if not _PDF_MARK.search(head[:1024]):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _PDF_END_BYTES))
        return b"startxref" in file.read() or not is_text(head)


def _office_type(path: Path) -> str:
    names = check_archive(path)
    found = next(
        (media_type for part, media_type in _OFFICE_PARTS.items() if any(part.fullmatch(name) for name in names)), None
    )
    if found:
        refuse_nested(names)
        return found
    if "mimetype" in names:
        return _named_inside(path)
    return "application/zip"


def _named_inside(path: Path) -> str:
    """OpenDocument and EPUB files say what they are in their first entry."""
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("mimetype") as entry:
                name = entry.read(100).decode("ascii", errors="replace").strip()
            if name.startswith(_OPEN_DOCUMENT) and _has_encrypted_parts(archive):
                raise DocumentRejected(ENCRYPTED)
            if name == EPUB and _RIGHTS in archive.namelist():
                raise DocumentRejected("The book has digital rights management: it cannot be read.")
    except BROKEN_ARCHIVE as error:
        raise broken_archive(error) from error
    return _open_document_type(name) if re.fullmatch(r"[\w.+-]+/[\w.+-]+", name) else "application/zip"


def _open_document_type(name: str) -> str:
    """The type that a document is read as, by the one that it names; that one if it is no OpenDocument."""
    if not name.startswith(_OPEN_DOCUMENT):
        return name
    return _OPEN_DOCUMENT_KINDS.get(name.removeprefix(_OPEN_DOCUMENT).partition("-")[0], name)


def _flat_open_document(path: Path, start: str) -> str | None:
    """The type of an OpenDocument that is one file of XML."""
    if "<office:document" not in start:
        return None
    with path.open("rb") as file:
        found = _FLAT_OPEN_DOCUMENT.search(file.read(_FLAT_HEAD_BYTES))
    return _open_document_type(found[1].decode()) if found else None


def _has_encrypted_parts(archive: zipfile.ZipFile) -> bool:
    if _MANIFEST not in archive.namelist():
        return False
    with archive.open(_MANIFEST) as entry:
        return b"encryption-data" in entry.read(_MANIFEST_BYTES)


def _known_format(head: bytes) -> str | None:
    """The format of common files that are no documents, by the bytes they begin with."""
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return next((media_type for start, media_type in _MAGIC if head.startswith(start)), None)


def _guessed_binary(path: Path, filename: str) -> str:
    # Mail servers let anything pass.
    mail = mail_type(path, PurePosixPath(filename.lower()).suffix, is_named=True)
    if mail:
        return mail
    guess, _ = mimetypes.guess_type(filename)
    # Its content is not text, whatever its name says.
    return UNKNOWN if guess is None or guess in _WRITTEN or guess.startswith(("text/", "message/")) else guess


def _text_type(path: Path, head: bytes, filename: str) -> str:
    start = head.decode(marked_charset(head) or "utf-8", errors="replace").lstrip("\ufeff").replace("\r\n", "\n")
    name = PurePosixPath(filename.lower())
    if _HTML_START.match(start):
        return CODE if _is_page_template(path) else HTML
    is_code = name.name in _CODE_NAMES or name.suffix in _CODE_SUFFIXES
    mail = mail_type(path, name.suffix, is_named=is_code or name.suffix in _BY_SUFFIX)
    if mail:
        return mail
    if is_code:
        return CODE
    if start.lstrip().startswith("<?xml"):
        return _flat_open_document(path, start) or XML
    if name.suffix in _JSON_SUFFIXES or (name.suffix == "" and start.lstrip()[:1] in ("{", "[")):
        return _json_type(path, named_notebook=name.suffix == ".ipynb")
    if name.suffix in _SHEET_SUFFIXES:
        return _sheet_type(start)
    found = _BY_SUFFIX.get(name.suffix, PLAIN)
    if found == HTML and _is_page_template(path):
        return CODE
    # What is named so and begins with no header of a mail is none.
    return PLAIN if found in (EML, MBOX) else found


def _is_page_template(path: Path) -> bool:
    """Whether programs make the page: a browser would not show the code in it."""
    with path.open("rb") as file:
        return _PROGRAM_IN_PAGE.search(file.read(_TEMPLATE_BYTES)) is not None


def _json_type(path: Path, *, named_notebook: bool) -> str:
    """What a file that should be JSON is: a notebook, JSON, a record per line, or only text."""
    text = decode(path.read_bytes())
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return JSON_LINES if _is_json_lines(text) else PLAIN
    has_cells = isinstance(content, dict) and "cells" in content
    return NOTEBOOK if has_cells and (named_notebook or "nbformat" in content) else JSON


def _is_json_lines(text: str) -> bool:
    lines = [line for line in text[:_LINES_SAMPLE_CHARACTERS].split("\n") if line.strip()][:5]
    if len(lines) < 2:
        return False
    try:
        return all(isinstance(json.loads(line), dict | list) for line in lines)
    except (ValueError, RecursionError):
        return False


def _sheet_type(start: str) -> str:
    """Programs that export tables often call them Excel files."""
    lines = [line for line in start.split("\n")[:5] if line.strip()]
    if all("\t" in line for line in lines):
        return TSV
    return CSV if all(";" in line or "," in line for line in lines) else PLAIN
