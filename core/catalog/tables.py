"""The tables of the catalog. A change here needs a migration; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from core.catalog.chunk_format import CHUNK_FORMAT
from core.keys import DEFAULT_OWNER

metadata = sa.MetaData()

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.Double, nullable=False),
    #: The key of the collection in its points; it stays when the collection is renamed.
    sa.Column("point_key", sa.Text, nullable=False, server_default=""),
    #: NULL: the server's setting.
    sa.Column("chunk_tokens", sa.Integer),
    sa.Column("chunk_overlap_tokens", sa.Integer),
    #: Set when the collection is deleted; the row is removed after the last of its documents.
    sa.Column("deleted_at", sa.Double),
    #: One of EMBEDDING_MODELS; NULL: the server's EMBEDDING_MODEL_NAME.
    sa.Column("model_choice", sa.Text),
    #: Ids in `stores`: the store that search uses (NULL: no index worker has seen the collection yet), and the next
    #: store while that is being filled.
    sa.Column("store", sa.Integer),
    sa.Column("next_store", sa.Integer),
    #: Grows with each change of the two.
    sa.Column("placement", sa.Integer, nullable=False, server_default="0"),
    #: The weight of the cosine in its searches, 0 to 1; NULL: the server's.
    sa.Column("dense_weight", sa.Double),
    #: Who made it. Others may use it, unless their keys are limited to other collections.
    sa.Column("owner", sa.Text, nullable=False, server_default=DEFAULT_OWNER),
)

#: The vector stores that collections are or were in, each with its embedding model.
stores = sa.Table(
    "stores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("embedding_model", sa.Text, nullable=False),
    sa.Column("dimension", sa.Integer, nullable=False),
    #: The folder or hub id to load the model from; NULL: the starter model.
    sa.Column("model_source", sa.Text),
    #: The scale of the model's cosines (`CosineScale`), and the points at which it was measured; NULL: not yet.
    sa.Column("cosine_floor", sa.Double),
    sa.Column("score_threshold", sa.Double),
    sa.Column("measured_points", sa.BigInteger),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("collection_id", sa.String(64), sa.ForeignKey("collections.id"), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    #: Sorted by its bytes on every database, so that what is below a folder is one range.
    sa.Column("path", sa.Text().with_variant(sa.Text(collation="C"), "postgresql")),
    sa.Column("root", sa.Text),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("active_generation", sa.Integer),
    sa.Column("chunk_count", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger),
    sa.Column("inode", sa.BigInteger),
    #: NULL: not known, as a release that did not record it has seen the file last.
    sa.Column("ctime_ns", sa.BigInteger),
    sa.Column("blob_key", sa.Text),
    sa.Column("media_type", sa.Text),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    #: The document has moved since its points were written: their payload still names the old path.
    sa.Column("moved", sa.Boolean, nullable=False),
    #: The fencing token: grows with each claim and with each change that fences off a claim.
    sa.Column("token", sa.BigInteger, nullable=False),
    #: The worker that holds the document, and until when; both NULL while none does.
    sa.Column("worker", sa.Text),
    sa.Column("lease_until", sa.Double),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("dispatched_at", sa.Double),
    sa.Column("completed_at", sa.Double),
    #: Why it failed, for programs: `unsupported_file`, `empty_file`, …
    sa.Column("error_code", sa.String(64)),
    #: Counts of the generation that is being built or was built last.
    sa.Column("chunks_indexed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("chunks_embedded", sa.Integer, nullable=False, server_default="0"),
    #: When the stages of that generation began.
    sa.Column("queued_at", sa.Double),
    sa.Column("parsing_at", sa.Double),
    sa.Column("parsed_at", sa.Double),
    sa.Column("indexing_at", sa.Double),
    #: When it was completed, failed or cancelled.
    sa.Column("ended_at", sa.Double),
    #: The `placement` that its collection had when the active generation was written. An older one than the present one
    #: means, while the collection moves, that the next store lacks the document.
    sa.Column("placement", sa.Integer, nullable=False, server_default="0"),
    #: It was queued together with its whole collection: documents that come one by one go first.
    sa.Column("bulk", sa.Boolean, nullable=False, server_default=sa.false()),
    #: How often in a row the index worker did not find the chunks that a parser had written.
    sa.Column("chunks_missing", sa.Integer, nullable=False, server_default="0"),
    #: A person deleted the document while its file stayed in the watched folder. The row stays, so that the file is
    #: ignored until it changes.
    sa.Column("ignored", sa.Boolean, nullable=False, server_default=sa.false()),
    #: Metadata from the file: an e-mail's headers, the number of pages, …
    sa.Column("properties", sa.JSON, nullable=False, server_default="{}"),
    #: Who made it. Files of watched folders belong to the default owner.
    sa.Column("owner", sa.Text, nullable=False, server_default=DEFAULT_OWNER),
    #: See `CHUNK_FORMAT`. Of documents from before there was this column, 1.
    sa.Column("chunk_format", sa.Integer, nullable=False, server_default="1"),
)

#: The unique index leaves out deleted documents: a file that is created again is a new document while the old one is
#: still being removed.
_is_mirrored = sa.text("root IS NOT NULL AND state NOT IN ('deleting', 'deleted')")
_is_waiting = sa.text("state NOT IN ('completed', 'failed', 'cancelled', 'deleted')")
_is_searchable = sa.text("active_generation IS NOT NULL")
_is_deleted = sa.text("state = 'deleted'")
_is_outdated = sa.text(f"chunk_format < {CHUNK_FORMAT}")

sa.Index("documents_by_state", documents.c.state, documents.c.created_at, documents.c.id)
sa.Index(
    "documents_by_collection",
    documents.c.collection_id,
    documents.c.state,
    documents.c.created_at,
    documents.c.id,
)
#: The few documents on which there is something to do, in the order in which that is done.
sa.Index(
    "documents_waiting",
    documents.c.state,
    documents.c.bulk,
    documents.c.created_at,
    documents.c.id,
    sqlite_where=_is_waiting,
    postgresql_where=_is_waiting,
)
sa.Index(
    "documents_by_placement",
    documents.c.collection_id,
    documents.c.placement,
    documents.c.state,
    sqlite_where=_is_searchable,
    postgresql_where=_is_searchable,
)
sa.Index(
    "documents_tombstones",
    documents.c.ignored,
    documents.c.updated_at,
    sqlite_where=_is_deleted,
    postgresql_where=_is_deleted,
)
#: Documents that are still to be indexed again after an upgrade.
sa.Index("documents_outdated", documents.c.state, sqlite_where=_is_outdated, postgresql_where=_is_outdated)
sa.Index("documents_by_idempotency_key", documents.c.idempotency_key, unique=True)
sa.Index("documents_by_name", documents.c.collection_id, documents.c.path)
sa.Index("documents_by_hash", documents.c.root, documents.c.content_hash)
sa.Index("documents_by_inode", documents.c.root, documents.c.inode)
sa.Index(
    "documents_by_path",
    documents.c.root,
    documents.c.path,
    unique=True,
    sqlite_where=_is_mirrored,
    postgresql_where=_is_mirrored,
)
sa.Index(
    "documents_ignored",
    documents.c.root,
    documents.c.path,
    sqlite_where=documents.c.ignored.is_(True),
    postgresql_where=documents.c.ignored.is_(True),
)
sa.Index(
    "documents_moved",
    documents.c.moved,
    sqlite_where=documents.c.moved.is_(True),
    postgresql_where=documents.c.moved.is_(True),
)

#: The numbers of documents, as rows to be added up: see `ProgressQueries.coverage`. Triggers on `documents` keep them.
#: A migration that makes the table `documents` anew has to make its triggers anew too.
document_counts = sa.Table(
    "document_counts",
    metadata,
    sa.Column("collection_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    #: 0: search does not find the document; 1: it finds the newest generation; 2: it finds an older one.
    sa.Column("search", sa.Integer, nullable=False),
    #: Of documents that failed or were cancelled; "" of others.
    sa.Column("error_code", sa.String(64), nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("chunks", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
sa.Index("document_counts_by_state", document_counts.c.collection_id, document_counts.c.state)

#: The watched folders, as the watcher saw them last.
watched_folders = sa.Table(
    "watched_folders",
    metadata,
    #: Absolute, as `paths.to_text` writes it.
    sa.Column("root", sa.Text, primary_key=True),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    #: The folder's identity (device and inode) when it was last mirrored; NULL: never.
    sa.Column("identity", sa.Text),
    sa.Column("document_count", sa.Integer, nullable=False),
    #: The number of documents whose files are missing and that are kept until a person confirms the deletion.
    sa.Column("missing_count", sa.Integer, nullable=False),
    sa.Column("confirmed", sa.Boolean, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
    #: The number of ignored files, by reason: the rule that ignores them.
    sa.Column("skipped", sa.JSON, nullable=False, server_default="{}"),
)

#: The report of ignored files and folders in watched folders, with the reason; of each watched folder, only the first.
skipped_files = sa.Table(
    "skipped_files",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("root", sa.Text, nullable=False),
    #: Relative to the root; the path of a folder ends with "/".
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
sa.Index("skipped_files_by_path", skipped_files.c.root, skipped_files.c.path)

#: What servers said of the content of watched web pages when they were read last, to ask for changes only.
web_pages = sa.Table(
    "web_pages",
    metadata,
    #: The watched URL that names the page, and the page's URL.
    sa.Column("root", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("etag", sa.Text),
    sa.Column("last_modified", sa.Text),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    #: Of the request and, once there is one, the result.
    sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", sa.Text, nullable=False, server_default=DEFAULT_OWNER),
    #: The only collections that its key could read, as sorted JSON; NULL: all.
    sa.Column("collections", sa.Text),
    #: The slug of the language model that the job is for; "": whichever serves the default one.
    sa.Column("model", sa.String(80), nullable=False, server_default=""),
)
#: The sum of the sizes is read from this index alone.
sa.Index("jobs_by_size", jobs.c.owner, jobs.c.size_bytes)
sa.Index("jobs_by_owner", jobs.c.owner, jobs.c.state, jobs.c.created_at, jobs.c.id)
sa.Index("jobs_by_state", jobs.c.state, jobs.c.created_at, jobs.c.id)
sa.Index("jobs_by_age", jobs.c.created_at, jobs.c.id)
_is_unfinished = sa.text("state NOT IN ('completed', 'failed', 'cancelled')")
sa.Index(
    "jobs_unfinished",
    jobs.c.created_at,
    jobs.c.id,
    sqlite_where=_is_unfinished,
    postgresql_where=_is_unfinished,
)
_has_ended = sa.text("finished_at IS NOT NULL")
sa.Index("jobs_ended", jobs.c.finished_at, sqlite_where=_has_ended, postgresql_where=_has_ended)

#: What is wanted of the language models that supervisors can load, by slug.
model_wishes = sa.Table(
    "model_wishes",
    metadata,
    sa.Column("model", sa.String(80), primary_key=True),
    #: When a client last asked for it while it was not loaded, and when someone last asked to unload it (Unix seconds).
    sa.Column("wanted_at", sa.Double),
    sa.Column("unwanted_at", sa.Double),
    #: Whether it answers requests that name no known model. At most one row has this.
    sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
)

#: API keys, besides those in API_KEYS.
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    #: The SHA-256 of the key, in hexadecimal digits.
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    #: The names of the only collections and models that the key may use; NULL: all.
    sa.Column("collections", sa.JSON(none_as_null=True)),
    sa.Column("models", sa.JSON(none_as_null=True)),
    sa.Column("requests_per_minute", sa.Integer),
    sa.Column("concurrent_requests", sa.Integer),
    sa.Column("tokens_per_day", sa.BigInteger),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
    sa.Column("last_used_at", sa.Double),
)
sa.Index("keys_by_hash", keys.c.hash, unique=True)
sa.Index("keys_by_age", keys.c.created_at, keys.c.id)

#: What the bearer of a key has used on a day.
usage = sa.Table(
    "usage",
    metadata,
    #: ISO 8601, in UTC.
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    #: The key's id; of a key in API_KEYS, the beginning of its hash; "" without keys.
    sa.Column("key", sa.String(64), primary_key=True),
    #: Requests for work (POST).
    sa.Column("requests", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False, server_default="0"),
)
sa.Index("usage_by_owner", usage.c.owner, usage.c.day, usage.c.key)
