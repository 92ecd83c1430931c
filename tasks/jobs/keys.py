"""The Redis keys and channels, each defined once."""

from __future__ import annotations

from tasks.jobs.queues import Role


def job_key(job_id: str) -> str:
    """Return the key of a hash: the job's kind, request, attempt, sequence number, state, cancel flag, deadline."""
    return f"job:{job_id}"


def events_key(job_id: str) -> str:
    """Return the key of a list: the job's replay, which holds its events, capped."""
    return f"job:{job_id}:events"


def heartbeat_key(job_id: str) -> str:
    """Return the key of a string that is set, with a TTL of 5 s, while a worker runs the job."""
    return f"job:{job_id}:heartbeat"


def channel(job_id: str) -> str:
    """Return the name of the pub/sub channel on which the job's events are published."""
    return f"job:{job_id}:live"


def worker_key(role: Role) -> str:
    """Return the key of a hash: worker name → JSON `{"at": Unix seconds, …}`, the last announcements of a role.

    `at` is by Redis's clock.
    """
    return f"workers:{role.value}"


def loading_key(model: str) -> str:
    """Return the key of a string with a short TTL: how many percent of a language model have been loaded, by slug."""
    return f"model:{model}:loading"


#: The pub/sub channel on which all workers receive the ids of cancelled jobs.
CANCEL_CHANNEL = "jobs:cancel"

#: A stream of batches of hints: topic → the ids of what has changed, with spaces in between.
CHANGES_KEY = "changes"

#: A string with a short TTL, set when a message is sent to the indexer.
WAKE_KEY = "index:woken"


#: A hash: role|instance|incarnation → the last snapshot of a process's metrics, behind its time (`metric_store`).
METRICS_KEY = "metrics:live"
#: A hash: role|instance → the sum of what its former processes have counted, behind the time of the last snapshot.
RETIRED_METRICS_KEY = "metrics:retired"


def waiting_key(queue: str) -> str:
    """Return the key of a sorted set: ids of the jobs that wait in a queue, by the time they were submitted."""
    return f"waiting:{queue}"


def finished_key(queue: str) -> str:
    """Return the key of a list: when the last jobs of a queue ended (Unix seconds), the latest first."""
    return f"finished:{queue}"


def active_key(queue: str) -> str:
    """Return the key of a sorted set: ids of the jobs that workers have taken from a queue, by when they did."""
    return f"active:{queue}"


def durations_key(queue: str) -> str:
    """Return the key of a list: how many seconds the last jobs of a queue took a worker, the latest first."""
    return f"durations:{queue}"


def requests_key(key: str) -> str:
    """Return the key of a sorted set: the requests of an API key in the last minute, by Unix milliseconds.

    Here and below, `key` is the short id of the API key.
    """
    return f"limit:{key or 'everyone'}:requests"


def running_key(key: str) -> str:
    """Return the key of a sorted set: the running requests of an API key, by when their leases end (Unix ms)."""
    return f"limit:{key or 'everyone'}:running"


def duration_key(key: str) -> str:
    """Return the key of a string: the moving average of the milliseconds that a request of an API key takes."""
    return f"limit:{key or 'everyone'}:duration"


def session_key(name: str) -> str:
    """Return the key of a string: the SHA-256 of the API key of a browser's session. `name`: that of its token."""
    return f"session:{name}"


def key_sessions_key(digest: str) -> str:
    """Return the key of a sorted set: the names of the sessions of an API key, by when they began."""
    return f"sessions:{digest}"


def throughput_key(minute: int | str) -> str:
    """Return the key of a hash: counts of what was done in a minute (Unix seconds divided by 60)."""
    return f"throughput:{minute}"
