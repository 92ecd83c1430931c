"""Detects Office files from before 2007 and Outlook messages, which all are OLE containers.

Ours, since olefile opens a container and does not say what is in it.
"""

from __future__ import annotations

import struct
from pathlib import Path

import olefile

from core.errors import DocumentRejected
from ingest.parsers.archives import ENCRYPTED, FILE_ERRORS

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
MSG = "application/vnd.ms-outlook"
OTHER = "application/x-ole-storage"
#: The top-level stream that identifies each type.
_STREAMS = {
    "WordDocument": DOC,
    "Workbook": XLS,
    "Book": XLS,
    "PowerPoint Document": PPT,
    "__properties_version1.0": MSG,
}
#: Streams that exist only in encrypted files.
_ENCRYPTED_STREAMS = ("EncryptedPackage", "EncryptedSummary")
#: Streams of files under rights management ([MS-OFFCRYPTO] 2.2), beside a placeholder for other programs.
_RIGHTS_STREAMS = ("\x09DRMContent", "\x09DRMViewerContent", "\x06DataSpaces/DataSpaceInfo/DRMEncryptedDataSpace",
                   "\x06DataSpaces/DataSpaceInfo/\x09DRMDataSpace")  # fmt: skip
_RIGHTS = (
    "The file is protected by rights management, and only Office opens it for those who have the right. Save it there "
    "without the protection, or as PDF, and drop that."
)
#: The offset of a Word file's flags, and the flag for encryption ([MS-DOC] 2.5.2, fEncrypted).
_WORD_FLAGS_OFFSET, _WORD_ENCRYPTED = 10, 0x100


def ole_media_type(path: Path) -> str:
    """Return the media type, from the streams in the container.

    Raises:
        DocumentRejected: If the container is broken or its content is encrypted.
    """
    try:
        with olefile.OleFileIO(path) as container:
            if any(container.exists(name) for name in _RIGHTS_STREAMS):
                raise DocumentRejected(_RIGHTS)
            if any(container.exists(name) for name in _ENCRYPTED_STREAMS):
                raise DocumentRejected(ENCRYPTED)
            found = next((media for name, media in _STREAMS.items() if container.exists(name)), OTHER)
            if found == DOC and _is_encrypted_word(container):
                raise DocumentRejected(ENCRYPTED)
            return found
    except FILE_ERRORS as error:
        raise DocumentRejected(f"The file is broken: it may have been cut off ({error}).") from error


def _is_encrypted_word(container: olefile.OleFileIO) -> bool:
    with container.openstream("WordDocument") as stream:
        head = stream.read(_WORD_FLAGS_OFFSET + 2)
    return len(head) == _WORD_FLAGS_OFFSET + 2 and bool(struct.unpack_from("<H", head, 10)[0] & _WORD_ENCRYPTED)
