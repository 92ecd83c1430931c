"""A data folder that an earlier release has written, with its watched folder: `tests/data/data-folder-0008.tar.gz`.

Catalog revision 0008, vectors of the starter model, Redis's append-only file. In it: two texts and, in the collection
`contracts`, four uploads (one replaced by a second version, one that cannot be read); a mirrored folder with two
documents, one that was deleted over the API and is ignored since, and a file that `.llmignore` excludes; a finished
documents job, a finished embeddings job, and a chat job that no worker has taken yet.
"""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

#: A data folder of catalog revision 0014, before chunks had headers: vectors of the starter model, and five uploads.
#: The manuals differ in their first heading and in the fuse that their last chunks name.
UNHEADED_ARCHIVE = Path(__file__).parent / "data" / "data-folder-0014.tar.xz"
FUSES = {"KX-10": "16 A", "KX-20": "25 A", "KX-30": "10 A"}
OFFERS = {"offer 889": "offer_889.txt", "offer 890": "offer_890.txt"}

ARCHIVE = Path(__file__).parent / "data" / "data-folder-0008.tar.gz"
#: Where the watched folder was when the archive was made.
OLD_INBOX = "/srv/llm-api/inbox"

WATCHED = {"harbour.txt", "reports/lighthouse.md"}
UPLOADED = {"contract.txt", "rowing.txt", "prices.csv", "text-3cf0ee8aca46.txt", "text-b24beba28451.txt"}
REFUSED = "broken.bin"
DOCUMENTS_JOB = "job-1a229ab4d83df733e2fde208"
EMBEDDINGS_JOB = "job-1a229ab4da772e11f1c6ba7f"
WAITING_JOB = "job-1a229ab8ba575dde866f0bed"
QUESTION, ANSWER = "When does the contract of the sailing boat end?", "contract.txt"


def unpack(folder: Path) -> None:
    """Unpack the archive as `data` and `inbox` into a folder, and let the catalog name the inbox there."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    with closing(sqlite3.connect(folder / "data" / "catalog.sqlite3")) as connection, connection:
        for table in ("documents", "watched_folders", "skipped_files"):
            moved = (str(folder / "inbox"), OLD_INBOX)
            connection.execute(f"UPDATE {table} SET root = ? WHERE root = ?", moved)  # noqa: S608 - one of three names
