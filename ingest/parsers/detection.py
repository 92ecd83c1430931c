"""Detects the media type of a file from its content, then from its name."""

from __future__ import annotations

import json
import mimetypes
import re
import zipfile
from pathlib import Path, PurePosixPath

from core.errors import DocumentRejected
from ingest.parsers.archives import ARCHIVE_ERRORS, ENCRYPTED, broken_archive_error, check_archive, refuse_nested
from ingest.parsers.charsets import bom_charset, decode, is_text
from ingest.parsers.mail.detection import EML, HEAD_BYTES, MBOX, mail_type
from ingest.parsers.mail.signed import SIGNED, is_mail, is_signed
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
LATEX = "text/x-tex"
RTF = "application/rtf"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
VTT = "text/vtt"
SRT = "application/x-subrip"
SBV = "text/x-sbv"
SSA = "text/x-ssa"
ICALENDAR = "text/calendar"
VCARD = "text/vcard"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
GIF = "image/gif"
WEBP = "image/webp"
BMP = "image/bmp"
#: Pictures of phones, which some builds of the library for images open.
HEIC, AVIF, JPEG_2000 = "image/heic", "image/avif", "image/jp2"
#: Outlook's own format of a message with its files.
TNEF = "application/ms-tnef"
TNEF_SIGNATURE = b"\x78\x9f\x3e\x22"
PAGES, NUMBERS, KEYNOTE = (
    "application/vnd.apple.pages",
    "application/vnd.apple.numbers",
    "application/vnd.apple.keynote",
)
UNKNOWN = "application/octet-stream"

#: Of the beginning of a file, the part that is looked at for anything but e-mail.
_START_BYTES = 4096
_PDF_SIGNATURE = re.compile(rb"(?:^|[\r\n\xbf])%PDF-\d")
_PDF_OBJECT = re.compile(rb"\s*(?:%[^\r\n]{0,100}[\r\n]+\s*){0,3}\d{1,10} \d{1,5} obj\b")
_PDF_END_BYTES = 2048
#: Text formats whose media type does not begin with `text/`.
_TEXT_TYPES = frozenset((JSON, JSON_LINES, NOTEBOOK, XML, RTF, SRT, "application/sql", "application/javascript"))
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
#: Templates and master documents are read as the type of document that they are for.
_OPEN_DOCUMENT_KINDS = {"text": ODT, "spreadsheet": ODS, "presentation": ODP}
_FLAT_OPEN_DOCUMENT = re.compile(rb"""\boffice:mimetype=["']([\w.+/-]+)["']""")
#: Large enough for the dozens of namespace declarations in the root element that precede the media type.
_FLAT_HEAD_BYTES = 2**16
_MANIFEST = "META-INF/manifest.xml"
_MANIFEST_BYTES = 2**20
#: The entry with the keys of an e-book's DRM. Without it, only fonts may be encrypted.
_DRM_ENTRY = "META-INF/rights.xml"
#: The part that identifies a zip archive as an Office file. Some programs add a number to its name.
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
    (TNEF_SIGNATURE, TNEF),
    (b"\0\0\0\x0cjP  \r\n", JPEG_2000),
)
#: The brands of the container format that pictures, sounds and films share, by their beginnings.
_BRANDS = (
    *((brand, HEIC) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
    *((brand, AVIF) for brand in (b"avif", b"avis")),
    *((brand, "audio/mp4") for brand in (b"M4A ", b"M4B ", b"M4P ")),
    (b"qt  ", "video/quicktime"),
    (b"crx ", "image/x-canon-cr3"),
    (b"3g", "video/3gpp"),
)
#: Apple's documents, and others that are zip archives without being read as such, by an entry or its folder.
_ARCHIVES_BY_ENTRY = {
    "FixedDocumentSequence.fdseq": "application/oxps",
    "FixedDocSeq.fdseq": "application/oxps",
    "visio/document.xml": "application/vnd.ms-visio.drawing.main+xml",
}
_APPLE_ENTRIES = frozenset(("Index.zip", "index.xml", "index.apxl"))
_APPLE_SUFFIXES = {".pages": PAGES, ".numbers": NUMBERS, ".key": KEYNOTE}
_BY_SUFFIX = {
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN, ".rmd": MARKDOWN, ".qmd": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".csv": CSV, ".tsv": TSV, ".tab": TSV,
    ".json": JSON, ".geojson": JSON, ".ipynb": NOTEBOOK, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES,
    ".rst": RST, ".rest": RST, ".org": ORG, ".tex": LATEX, ".ltx": LATEX, ".bib": LATEX,
    ".eml": EML, ".mbox": MBOX, ".xml": XML, ".vtt": VTT, ".srt": SRT, ".sbv": SBV, ".ass": SSA, ".ssa": SSA,
    ".ics": ICALENDAR, ".vcs": ICALENDAR, ".ical": ICALENDAR, ".vcard": VCARD,
}  # fmt: skip
_CODE_SUFFIX_NAMES = (
    ".py .pyi .js .mjs .cjs .ts .tsx .jsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh .cs .go .rs .rb .php .pl "
    ".pm .lua .r .jl .swift .m .mm .dart .ex .exs .erl .hs .ml .clj .sh .bash .zsh .fish .ps1 .bat .cmd .sql .proto "
    ".graphql .css .scss .less .vue .svelte .svg .yaml .yml .toml .ini .cfg .conf .env .properties .tf .cmake "
    ".mk .gradle .diff .patch .zig .nim .asm .s .v .vhd .f90 .f .pas .groovy"
)
_CODE_SUFFIXES = frozenset(_CODE_SUFFIX_NAMES.split())
_CODE_NAMES = frozenset({"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "jenkinsfile"})
#: Each comment is an atomic group, because backtracking over a run of comments would take exponential time.
_HTML_START = re.compile(r"\s*+(?>(?:<!--.*?-->|<\?(?!php|=).*?\?>)\s*)*+(?:<!doctype\s+html|<html[\s>])", re.I | re.S)
#: XML without a declaration: a document type, or a root element with a namespace.
_XML_START = re.compile(
    r"(?><!--.*?-->\s*)*+(?:<\?xml|<!DOCTYPE\s+(?!html)[\w:.-]+\s|<[A-Za-z][\w:.-]*(?:\s[^<>]*)?\sxmlns(?::\w+)?=|<rss\s)",
    re.S,
)
_CUE_TIMES = r"(?:\d{1,3}:)?\d{1,2}:\d\d[.,]\d{1,3}"
#: The beginnings of files of records.
_RECORD_STARTS = (
    (re.compile(r"\s*WEBVTT(?:[ \t\n]|\Z)"), VTT),
    (re.compile(rf"\s*\d+[ \t]*\n{_CUE_TIMES}[ \t]*-->[ \t]*{_CUE_TIMES}", re.A), SRT),
    (re.compile(r"\s*\[Script Info\]", re.I), SSA),
    (re.compile(r"\s*BEGIN[ \t]*:[ \t]*V(?:CALENDAR|EVENT|TODO)\b", re.I), ICALENDAR),
    (re.compile(r"\s*BEGIN[ \t]*:[ \t]*VCARD\b", re.I), VCARD),
)
_TEMPLATE_CODE = re.compile(rb"<\?(?:php|=)|<%[=@!-]?\s")
#: How much of a page is searched for template code.
_TEMPLATE_SCAN_BYTES = 2**20
_JSON_SUFFIXES = (".json", ".geojson", ".ipynb")
_SHEET_SUFFIXES = (".xls", ".xlsx", ".ods")
_LINES_SAMPLE_CHARACTERS = 2**20


def detect_media_type(path: Path, filename: str) -> str:
    """Return the media type of a file that is not empty.

    Raises:
        DocumentRejected: If it is encrypted, or an archive that is broken or a bomb.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    start = head[:_START_BYTES]
    if _is_pdf(path, start):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _office_type(path, filename)
    if head.startswith(SIGNATURE):
        return ole_media_type(path)
    if is_signed(start):
        return SIGNED
    known = _known_format(start)
    # The signatures of some formats are letters, which a text may begin with too.
    if known == RTF or not is_text(start):
        return known or _guess_binary_type(head, filename)
    return _text_type(path, head, filename)


def _is_pdf(path: Path, head: bytes) -> bool:
    """Return whether the file is a PDF.

    PDF readers accept up to a kilobyte of other bytes before the signature, but a text file may mention the signature.
    A file that has lost its first line begins with an object, and ends like any other.
    """
    if head.lstrip().startswith(b"%PDF-"):
        return True
    if b" obj" not in head and b"%PDF-" not in head:
        return False
    is_headless = _PDF_OBJECT.match(head) is not None
    if not is_headless and not _PDF_SIGNATURE.search(head[:1024]):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _PDF_END_BYTES))
        end = file.read()
    return b"startxref" in end or (not is_headless and not is_text(head))


def _office_type(path: Path, filename: str) -> str:
    names = check_archive(path)
    found = next(
        (media_type for part, media_type in _OFFICE_PARTS.items() if any(part.fullmatch(name) for name in names)), None
    )
    if found:
        refuse_nested(names)
        return found
    if "mimetype" in names:
        return _declared_type(path)
    found = next((_ARCHIVES_BY_ENTRY[name] for name in names if name in _ARCHIVES_BY_ENTRY), None)
    return found or _apple_type(names, filename)


def _apple_type(names: list[str], filename: str) -> str:
    """Return the type of a document of Pages, Numbers or Keynote, which its name tells, or that of any zip archive."""
    is_apple = any(name.endswith(".iwa") or name.rpartition("/")[2] in _APPLE_ENTRIES for name in names)
    found = _APPLE_SUFFIXES.get(PurePosixPath(filename.lower()).suffix) if is_apple else None
    return found or "application/zip"


def _declared_type(path: Path) -> str:
    """Return the media type that an OpenDocument or EPUB file declares in its `mimetype` entry.

    Raises:
        DocumentRejected: If it is broken, encrypted, or protected by DRM.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("mimetype") as entry:
                name = entry.read(100).decode("ascii", errors="replace").strip()
            if name.startswith(_OPEN_DOCUMENT) and _has_encrypted_parts(archive):
                raise DocumentRejected(ENCRYPTED)
            if name == EPUB and _DRM_ENTRY in archive.namelist():
                raise DocumentRejected("The book is protected by digital rights management and cannot be read.")
    except ARCHIVE_ERRORS as error:
        raise broken_archive_error(error) from error
    return _open_document_type(name) if re.fullmatch(r"[\w.+-]+/[\w.+-]+", name) else "application/zip"


def _open_document_type(name: str) -> str:
    """Return the media type to parse a document as, from its declared type; templates count as documents."""
    if not name.startswith(_OPEN_DOCUMENT):
        return name
    return _OPEN_DOCUMENT_KINDS.get(name.removeprefix(_OPEN_DOCUMENT).partition("-")[0], name)


def _flat_open_document(path: Path, start: str) -> str | None:
    """Return the type of a flat OpenDocument file (a single XML file), or None if it is not one."""
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
    """Return the format that the file's signature indicates, or None if it is unknown."""
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    if head[4:8] == b"ftyp":
        # A general brand of pictures may be followed by that of the format.
        brands = head[8:12] if head[8:12] not in (b"mif1", b"msf1") or b"avif" not in head[16:48] else b"avif"
        return next((media_type for brand, media_type in _BRANDS if brands.startswith(brand)), "video/mp4")
    return next((media_type for start, media_type in _MAGIC if head.startswith(start)), None)


def _guess_binary_type(head: bytes, filename: str) -> str:
    # An e-mail may contain raw bytes, because mail servers do not reject them.
    mail = mail_type(head, PurePosixPath(filename.lower()).suffix, is_named=True)
    if mail:
        return mail
    guess, _ = mimetypes.guess_type(filename)
    # The content is not text, so a name of a text format is wrong.
    return UNKNOWN if guess is None or guess in _TEXT_TYPES or guess.startswith(("text/", "message/")) else guess


def _text_type(path: Path, head: bytes, filename: str) -> str:
    start = head[:_START_BYTES].decode(bom_charset(head) or "utf-8", errors="replace")
    start = start.lstrip("\ufeff").replace("\r\n", "\n")
    name = PurePosixPath(filename.lower())
    if _HTML_START.match(start):
        return CODE if _is_page_template(path) else HTML
    records = next((media_type for pattern, media_type in _RECORD_STARTS if pattern.match(start)), None)
    if records:
        return records
    if name.suffix == ".p7m" and is_mail(head[:_START_BYTES]):
        return EML
    is_code = name.name in _CODE_NAMES or name.suffix in _CODE_SUFFIXES
    mail = mail_type(head, name.suffix, is_named=is_code or name.suffix in _BY_SUFFIX)
    if mail:
        return mail
    if is_code:
        return CODE
    if _XML_START.match(start.lstrip()):
        return _flat_open_document(path, start) or XML
    if name.suffix in _JSON_SUFFIXES or (name.suffix == "" and start.lstrip()[:1] in ("{", "[")):
        return _json_type(path, named_notebook=name.suffix == ".ipynb")
    if name.suffix in _SHEET_SUFFIXES:
        return _sheet_type(start)
    found = _BY_SUFFIX.get(name.suffix, PLAIN)
    if found == HTML and _is_page_template(path):
        return CODE
    # A file with an e-mail's name but without e-mail headers is plain text.
    return PLAIN if found in (EML, MBOX) else found


def _is_page_template(path: Path) -> bool:
    """Return whether the page contains template code, such as PHP, which a browser would not show."""
    with path.open("rb") as file:
        return _TEMPLATE_CODE.search(file.read(_TEMPLATE_SCAN_BYTES)) is not None


def _json_type(path: Path, *, named_notebook: bool) -> str:
    """Return the type of a file that should be JSON: a notebook, JSON, JSON Lines, or plain text."""
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
    """Return the type of a text file with a spreadsheet's name; programs often export CSV or TSV as `.xls`."""
    lines = [line for line in start.split("\n")[:5] if line.strip()]
    if all("\t" in line for line in lines):
        return TSV
    return CSV if all(";" in line or "," in line for line in lines) else PLAIN
