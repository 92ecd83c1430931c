"""What a file is: from its content first, then from its name."""

from __future__ import annotations

import json
import mimetypes
import re
from pathlib import Path, PurePosixPath

from core.errors import DocumentRejected
from ingest.parsers.archives import ENCRYPTED, check_archive, refuse_nested
from ingest.parsers.charsets import decode, is_text, marked_charset

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
NOTEBOOK = "application/x-ipynb+json"
CODE = "text/x-source-code"
PLAIN = "text/plain"
UNKNOWN = "application/octet-stream"

_HEAD_BYTES = 4096
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: The part that makes a zip archive an Office file.
_OFFICE_PARTS = {"word/document.xml": DOCX, "xl/workbook.xml": XLSX, "ppt/presentation.xml": PPTX}
#: Streams of legacy Office files, by their names in the directory.
_OLE_STREAMS = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
}
_MAGIC = (
    (b"{\\rtf", "application/rtf"),
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
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
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".csv": CSV, ".tsv": TSV, ".tab": TSV,
    ".json": JSON, ".geojson": JSON, ".ipynb": NOTEBOOK,
}  # fmt: skip
_CODE_SUFFIX_NAMES = (
    ".py .pyi .js .mjs .cjs .ts .tsx .jsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh .cs .go .rs .rb .php .pl "
    ".pm .lua .r .jl .swift .m .mm .dart .ex .exs .erl .hs .ml .clj .sh .bash .zsh .fish .ps1 .bat .cmd .sql .proto "
    ".graphql .css .scss .less .vue .svelte .xml .svg .yaml .yml .toml .ini .cfg .conf .env .properties .tf .cmake "
    ".mk .gradle .diff .patch .tex .bib .jsonl .ndjson .zig .nim .asm .s .v .vhd .f90 .f .pas .groovy"
)
_CODE_SUFFIXES = frozenset(_CODE_SUFFIX_NAMES.split())
_CODE_NAMES = frozenset({"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "jenkinsfile"})
#: Each comment is an atomic group: otherwise a run of them can be divided in exponentially many ways.
_HTML_START = re.compile(r"\s*+(?><!--.*?-->\s*)*+(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+html|<html[\s>])", re.I | re.S)


def detect_media_type(path: Path, filename: str) -> str:
    """The media type of a file that is not empty.

    Raises:
        DocumentRejected: it is an archive that is broken or a bomb, or it is encrypted.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _is_pdf(head):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _office_type(path)
    if head.startswith(_OLE):
        return _legacy_type(path.read_bytes())
    known = _known_format(head)
    if known:
        return known
    return _text_type(path, head, filename) if is_text(head) else _guessed_binary(filename)


def _is_pdf(head: bytes) -> bool:
    """Readers accept anything within the first kilobyte before a PDF's mark; a text may speak of that mark."""
    return head.lstrip().startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and not is_text(head))


def _office_type(path: Path) -> str:
    names = check_archive(path)
    found = next((media_type for part, media_type in _OFFICE_PARTS.items() if part in names), None)
    if found:
        refuse_nested(names)
        return found
    if "mimetype" in names:
        return _named_inside(path)
    return "application/zip"


def _named_inside(path: Path) -> str:
    """OpenDocument and EPUB files say what they are in their first entry."""
    import zipfile

    with zipfile.ZipFile(path) as archive, archive.open("mimetype") as entry:
        name = entry.read(100).decode("ascii", errors="replace").strip()
    return name if re.fullmatch(r"[\w.+-]+/[\w.+-]+", name) else "application/zip"


def _legacy_type(data: bytes) -> str:
    """Which OLE file it is. Its directory holds the names of its streams in UTF-16."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise DocumentRejected(ENCRYPTED)
    streams = _OLE_STREAMS.items()
    return next((media for name, media in streams if name.encode("utf-16-le") in data), "application/x-ole-storage")


def _known_format(head: bytes) -> str | None:
    """The format of common files that are no documents, by the bytes they begin with."""
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return next((media_type for start, media_type in _MAGIC if head.startswith(start)), None)


def _guessed_binary(filename: str) -> str:
    guess, _ = mimetypes.guess_type(filename)
    # Its content is not text, whatever its name says.
    return UNKNOWN if guess is None or guess.startswith("text/") else guess


def _text_type(path: Path, head: bytes, filename: str) -> str:
    start = head.decode(marked_charset(head) or "utf-8", errors="replace").lstrip("\ufeff")
    if _HTML_START.match(start):
        return HTML
    name = PurePosixPath(filename.lower())
    if name.name in _CODE_NAMES or name.suffix in _CODE_SUFFIXES:
        return CODE
    if name.suffix in (".json", ".geojson", ".ipynb") or (name.suffix == "" and start.lstrip()[:1] in ("{", "[")):
        return _BY_SUFFIX.get(name.suffix, JSON) if _is_json(path) else PLAIN
    return _BY_SUFFIX.get(name.suffix, PLAIN)


def _is_json(path: Path) -> bool:
    try:
        json.loads(decode(path.read_bytes()))
    except (ValueError, RecursionError):
        return False
    return True
