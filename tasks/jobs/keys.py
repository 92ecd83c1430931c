"""Redis keys and channels, each written once."""

from __future__ import annotations

from tasks.jobs.queues import Queue, Role


def job_key(job_id: str) -> str:
    """Hash: kind, request, attempt, sequence number, state, cancel flag, deadline."""
    return f"job:{job_id}"


def events_key(job_id: str) -> str:
    """List: the replay of the job's events, capped."""
    return f"job:{job_id}:events"


def heartbeat_key(job_id: str) -> str:
    """String with a TTL of 5 s, set while a worker runs the job."""
    return f"job:{job_id}:heartbeat"


def channel(job_id: str) -> str:
    """Pub/sub channel of the job's events."""
    return f"job:{job_id}:live"


def worker_key(role: Role) -> str:
    """Hash: worker name → JSON `{"at": unix seconds, …}` of the live workers of a role."""
    return f"workers:{role.value}"


#: Pub/sub channel on which the ids of cancelled jobs are told to all workers.
CANCEL_CHANNEL = "jobs:cancel"


#: String with a short TTL: the indexer has just been sent a message.
WAKE_KEY = "index:woken"


def waiting_key(queue: Queue) -> str:
    """Sorted set: ids of the jobs that wait in a queue, by the time they were submitted."""
    return f"waiting:{queue.value}"


def finished_key(queue: Queue) -> str:
    """List: when the last jobs of a queue ended (Unix seconds), the latest first."""
    return f"finished:{queue.value}"


def requests_key(key: str) -> str:
    """Sorted set: the requests of an API key in the last minute, by Unix milliseconds. `key` is the key's short id."""
    return f"limit:{key or 'everyone'}:requests"


def running_key(key: str) -> str:
    """Sorted set: the running requests of an API key, by the Unix milliseconds at which their leases end."""
    return f"limit:{key or 'everyone'}:running"


def duration_key(key: str) -> str:
    """String: how many milliseconds a request of an API key takes, as a moving average."""
    return f"limit:{key or 'everyone'}:duration"
