"""Which of the files that Office wrote before 2007 a file is, and Outlook's messages: all lie in OLE containers."""

from __future__ import annotations

import struct
from pathlib import Path

import olefile

from core.errors import DocumentRejected
from ingest.parsers.archives import BROKEN_FILE, ENCRYPTED

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
MSG = "application/vnd.ms-outlook"
OTHER = "application/x-ole-storage"
#: The stream at the top of the container that each type has.
_STREAMS = {
    "WordDocument": DOC,
    "Workbook": XLS,
    "Book": XLS,
    "PowerPoint Document": PPT,
    "__properties_version1.0": MSG,
}
#: Streams that say that the rest is encrypted.
_ENCRYPTED_STREAMS = ("EncryptedPackage", "EncryptedSummary")
#: Where a Word file has its flags, and the one for encryption ([MS-DOC] 2.5.2, fEncrypted).
_WORD_FLAGS_OFFSET, _WORD_ENCRYPTED = 10, 0x100


def ole_media_type(path: Path) -> str:
    """The type by the streams in the container.

    Raises:
        DocumentRejected: the container is broken, or what is in it is encrypted.
    """
    try:
        with olefile.OleFileIO(path) as container:
            if any(container.exists(name) for name in _ENCRYPTED_STREAMS):
                raise DocumentRejected(ENCRYPTED)
            found = next((media for name, media in _STREAMS.items() if container.exists(name)), OTHER)
            if found == DOC and _is_encrypted_word(container):
                raise DocumentRejected(ENCRYPTED)
            return found
    except BROKEN_FILE as error:
        raise DocumentRejected(f"The file is broken: it may have been cut off ({error}).") from error


def _is_encrypted_word(container: olefile.OleFileIO) -> bool:
    with container.openstream("WordDocument") as stream:
        head = stream.read(_WORD_FLAGS_OFFSET + 2)
    return len(head) == _WORD_FLAGS_OFFSET + 2 and bool(struct.unpack_from("<H", head, 10)[0] & _WORD_ENCRYPTED)
