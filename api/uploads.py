"""Multipart uploads, streamed to disk. Only one network chunk and the small form fields are held in memory, and one
file of an upload is open at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.dependencies import in_thread
from api.document_intake import Original, clean_path, storage, too_large
from api.schemas.rag import checked_attributes
from core.blobs import BlobStore, StagedBlob
from core.errors import InvalidRequest

MAX_FILES = 100
MAX_FIELD_BYTES = 256 * 1024
MAX_FIELDS = 100
#: `TYPE/SUBTYPE` of RFC 9110, in lower case.
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,63}/[!#$%&'*+.^_`|~0-9a-z-]{1,63}")
#: How browsers write the three characters that a quoted name cannot have.
_ESCAPED_IN_NAMES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass
class _Part:
    """The part that is being received: a staged file, or a form field."""

    name: str = ""
    filename: str | None = None
    media_type: str | None = None
    headers: dict[str, bytes] = field(default_factory=dict)
    staged: StagedBlob | None = None
    value: bytearray = field(default_factory=bytearray)


class UploadReceiver:
    """Receives the body of one upload. `close` removes the staged files that `commit` has not made durable.

    `feed` and `commit` block: call them in a thread, one at a time.
    """

    def __init__(self, blobs: BlobStore, content_type: str, max_file_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidRequest("The body must be multipart/form-data with a boundary.", code="invalid_multipart")
        self._blobs = blobs
        self._max_file_bytes = max_file_bytes
        self._stack = ExitStack()
        self._part = _Part()
        self._header = (bytearray(), bytearray())
        self._files: list[_Part] = []
        self._part_count = 0
        self.fields: dict[str, str] = {}
        self._complete = False
        try:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())
        except FormParserError as error:
            raise _broken(error) from error

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body.

        Raises:
            InvalidRequest: the body is not multipart.
            TooLarge: a file is larger than MAX_UPLOAD_BYTES.
            Unavailable: the disk is full or cannot be written.
        """
        try:
            with storage(self._blobs):
                self._parser.write(data)
        except FormParserError as error:
            raise _broken(error) from error

    def commit(self) -> list[Original]:
        """Make the files durable, after the whole body has been received.

        Raises:
            InvalidRequest: the body is incomplete, has no file, or has invalid metadata.
            Unavailable: the disk is full or cannot be written.
        """
        if not self._complete:
            raise InvalidRequest("The multipart body ends too early.", code="invalid_multipart")
        if not self._files:
            raise InvalidRequest("No file was sent. Send at least one part with a filename.", param="files")
        attributes = self._attributes()
        committed: list[Original] = []
        with storage(self._blobs, committed):
            for part, values in zip(self._files, attributes, strict=True):
                assert part.staged is not None, "only parts with a staged blob are among the files"
                blob, path = part.staged.commit(), clean_path(part.filename or "")
                committed.append(Original(blob, path, values, part.media_type))
        return committed

    def flag(self, name: str) -> bool:
        """Return the value of a field that is `true` or `false` (the default).

        Raises:
            InvalidRequest: it has another value.
        """
        value = self.fields.get(name) or "false"
        if value not in ("true", "false"):
            raise InvalidRequest(f"Invalid '{name}': write true or false.", param=name)
        return value == "true"

    def close(self) -> None:
        """Remove the files that were staged and not committed."""
        self._stack.close()

    def _attributes(self) -> list[dict[str, Any]]:
        name = "attributes" if "attributes" in self.fields else "metadata"
        raw = self.fields.get(name, "")
        if not raw.strip():
            return [{} for _ in self._files]
        try:
            given = msgspec.json.decode(raw, type=dict[str, Any] | list[dict[str, Any]])
            items = given if isinstance(given, list) else [given] * len(self._files)
            checked = [checked_attributes(item) for item in items]
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors too
            raise InvalidRequest(f"Invalid '{name}': {error}", param=name) from error
        if len(checked) != len(self._files):
            raise InvalidRequest(f"'{name}' has {len(checked)} items for {len(self._files)} files.", param=name)
        return checked

    # Callbacks of the parser

    def _begin_part(self) -> None:
        self._part = _Part()
        self._part_count += 1
        if self._part_count > MAX_FILES + MAX_FIELDS:
            raise InvalidRequest(
                f"At most {MAX_FILES + MAX_FIELDS} parts: {MAX_FILES} files and {MAX_FIELDS} fields.",
                code="invalid_multipart",
            )

    def _end_header(self) -> None:
        name, value = self._header
        self._part.headers[name.decode("latin-1").lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        part = self._part
        disposition = part.headers.get("content-disposition", b"")
        _, options = parse_options_header(disposition)
        part.name = _unescaped(options.get(b"name", b""))
        encoding = part.headers.get("content-transfer-encoding", b"binary").decode("latin-1").strip().lower()
        if encoding not in ("7bit", "8bit", "binary"):
            message = (
                f"The part {part.name!r} has the Content-Transfer-Encoding {encoding!r}; send its bytes as they are."
            )
            raise InvalidRequest(message, param=part.name or None, code="invalid_multipart")
        part.filename = _unescaped(options[b"filename"]) if b"filename" in options else _extended_filename(disposition)
        if part.filename is None:
            if len(self.fields) >= MAX_FIELDS:
                raise InvalidRequest(f"More than {MAX_FIELDS} fields were sent.", code="invalid_multipart")
            return
        part.media_type = _media_type(part.headers.get("content-type", b""))
        if len(self._files) >= MAX_FILES:
            raise InvalidRequest(f"At most {MAX_FILES} files at a time.", param=part.name or None)
        part.staged = self._stack.enter_context(self._blobs.stage(part.filename))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.staged is not None:
            if part.staged.write(data[start:end]) > self._max_file_bytes:
                raise too_large(f"The file {part.filename!r}", self._max_file_bytes, param=part.name or None)
            return
        part.value += data[start:end]
        if len(part.value) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"The field {part.name!r} is larger than {MAX_FIELD_BYTES} bytes.", param=part.name)

    def _end_part(self) -> None:
        part = self._part
        if part.staged is None:
            self.fields[part.name] = part.value.decode("utf-8", "replace")
            return
        part.staged.seal()
        if part.filename or part.staged.size_bytes:  # browsers send an empty file input without name and content
            self._files.append(part)

    def _end(self) -> None:
        self._complete = True


def _broken(error: FormParserError) -> InvalidRequest:
    return InvalidRequest(f"The multipart body is broken: {error}", code="invalid_multipart")


def _media_type(content_type: bytes) -> str | None:
    kind, _ = parse_options_header(content_type)
    name = kind.decode("latin-1").lower()
    return name if _MEDIA_TYPE.fullmatch(name) and name != "application/octet-stream" else None


def _unescaped(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    for escape, character in _ESCAPED_IN_NAMES.items():
        text = text.replace(escape, character)
    return text


def _extended_filename(disposition: bytes) -> str | None:
    """Return the name in `filename*=`, which some clients send for names that are not ASCII, or None."""
    if b"filename*" not in disposition.lower():
        return None
    message = Message()
    message["content-disposition"] = disposition.decode("latin-1")
    return message.get_filename()


async def receive(receiver: UploadReceiver, body: AsyncIterator[bytes]) -> None:
    """Feed the whole body to the receiver, which stages its files on disk."""
    async for chunk in body:
        if chunk:
            await in_thread(receiver.feed, chunk)
