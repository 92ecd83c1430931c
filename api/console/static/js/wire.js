// The shapes of the API's answers, as far as pages read them. docs: /docs (OpenAPI).

/**
 * @typedef {object} Progress
 * @property {string} stage
 * @property {number} percent
 * @property {"waiting" | "working" | "stalled" | null} activity
 * @property {string | null} activity_reason
 * @property {number} chunks_indexed
 * @property {number} chunks_embedded
 * @property {boolean} searchable
 * @property {boolean} stale
 * @property {Record<string, number | null>} timings milliseconds
 * @property {number | null} [waiting_before]
 */

/**
 * @typedef {object} Document
 * @property {string} id
 * @property {string} filename
 * @property {string | null} path
 * @property {string} collection
 * @property {"upload" | "text" | "watch"} source
 * @property {string} status
 * @property {string | null} error
 * @property {string | null} error_code
 * @property {number} chunk_count
 * @property {number} size_bytes
 * @property {string | null} media_type
 * @property {Record<string, unknown>} attributes
 * @property {Record<string, string>} properties
 * @property {number} created_at
 * @property {number} updated_at
 * @property {number | null} completed_at
 * @property {Progress} progress
 * @property {boolean} [duplicate]
 */

/**
 * @typedef {object} Coverage
 * @property {string} collection
 * @property {number} documents
 * @property {number} indexed
 * @property {number} stale
 * @property {number} pending
 * @property {Record<string, number>} skipped
 * @property {Record<string, number>} failed
 * @property {number} chunks
 * @property {number} size_bytes
 */

/**
 * @typedef {object} Collection
 * @property {string} id
 * @property {string} name
 * @property {string | null} embedding_model
 * @property {string | null} next_embedding_model
 * @property {Coverage} coverage
 */

/**
 * @typedef {object} WatchedFolder
 * @property {string} path
 * @property {string} collection
 * @property {"mirror" | "additive" | "consume"} mode
 * @property {"starting" | "watched" | "held" | "missing" | "stopped"} state
 * @property {number} documents
 * @property {number} missing
 * @property {number} unreadable
 * @property {boolean} confirmed
 * @property {number} changed_at
 */

/**
 * @typedef {object} Chunk
 * @property {number} index
 * @property {string} text
 * @property {number | null} start
 * @property {number | null} end
 * @property {number | null} page
 * @property {number | null} last_page
 * @property {string | null} section
 * @property {string | null} header
 */

/** @typedef {{text: string, start: number, end: number}} Highlight characters of a hit's text */

/**
 * @typedef {object} HitPlace
 * @property {string} document_id
 * @property {string} filename
 * @property {string | null} path
 * @property {string} collection
 * @property {number} chunk_index
 * @property {number | null} page
 * @property {string | null} section
 */

/**
 * @typedef {object} HitScores
 * @property {string} text
 * @property {number | null} last_page
 * @property {number} score
 * @property {number | null} dense_score
 * @property {number | null} sparse_score
 * @property {number | null} rerank_score
 * @property {Record<string, unknown>} attributes
 * @property {Highlight[]} highlights
 * @property {HitPlace[]} also_in
 * @property {Record<string, number | null>} [explanation] ranks from 1
 */

/** @typedef {HitPlace & HitScores} Hit */

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {number} created
 * @property {"chat" | "embeddings" | "rerank"} kind
 * @property {"available" | "loading" | "loaded" | "failed"} state
 * @property {string[]} capabilities
 * @property {boolean} [default]
 * @property {string} [problem]
 * @property {boolean} [demonstration] whether it is the small model that the program brings
 * @property {number} [context_length]
 * @property {number} [size_bytes]
 * @property {string} [quantization]
 * @property {number} [parameters]
 * @property {string} [chat_template]
 * @property {string} [collection]
 */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {string} endpoint
 * @property {"queued" | "running" | "completed" | "failed" | "cancelled"} status
 * @property {number | null} position
 * @property {number} created_at
 * @property {number | null} started_at
 * @property {number | null} finished_at
 * @property {any} result
 * @property {{message: string | null, code: string | null} | null} error
 */

export {};
