"""Celery's configuration, read by every worker, by beat, by Flower and by the producers.

Messages are hints that carry ids; what must not be lost is in the catalog or in the job's Redis record. So a message is
acknowledged early, results are not stored, and a worker takes only what it can start at once.
"""

from __future__ import annotations

from core.settings import get_settings
from tasks.jobs.names import Queue, Task

_settings = get_settings()

broker_url = _settings.broker_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_pool_limit = 16
broker_transport_options = {
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": not broker_url.startswith("redis+socket://"),
    "health_check_interval": 10,
    "visibility_timeout": 600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}

task_serializer = result_serializer = event_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
task_ignore_result = True
task_store_errors_even_if_ignored = False

task_default_queue = Queue.MAINTENANCE.value
task_create_missing_queues = True
task_routes = {
    Task.PARSE_DOCUMENT.value: {"queue": Queue.INGEST.value},
    Task.WAKE_INDEXER.value: {"queue": Queue.INDEX.value},
    Task.SEARCH.value: {"queue": Queue.QUERY.value},
    Task.EMBED.value: {"queue": Queue.QUERY.value},
    Task.GENERATE.value: {"queue": Queue.INFERENCE.value},
    Task.REWRITE.value: {"queue": Queue.INFERENCE.value},
    Task.RECONCILE.value: {"queue": Queue.MAINTENANCE.value},
    Task.EXPIRE.value: {"queue": Queue.MAINTENANCE.value},
    Task.SETTLE_DOCUMENTS.value: {"queue": Queue.MAINTENANCE.value},
}
task_acks_late = False
task_publish_retry = False
worker_prefetch_multiplier = 1
task_track_started = True
worker_send_task_events = True
worker_consumer = "tasks.jobs.consumer:Consumer"
# That it was received is told by the worker: a publication less before each request's answer.
task_send_sent_event = False

# Only a parsing child is ever killed by a time limit: the threads pool cannot kill, and engine work has deadlines of
# its own.
task_annotations = {
    Task.PARSE_DOCUMENT.value: {
        "soft_time_limit": _settings.parse_timeout_seconds,
        "time_limit": _settings.parse_timeout_seconds + 10,
    }
}
worker_max_tasks_per_child = 200
# In KiB. Ordinary files leave a child at a third of it; after a large one its memory goes back with it.
worker_max_memory_per_child = 512 * 1024
worker_soft_shutdown_timeout = 20
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = True
worker_log_format = "%(asctime)s %(levelname)s %(name)s: %(message)s"
worker_task_log_format = "%(asctime)s %(levelname)s %(task_name)s[%(task_id)s]: %(message)s"
worker_redirect_stdouts = False

# A reconciliation that waited longer than its period has been overtaken by the next one.
beat_schedule = {
    "reconcile": {"task": Task.RECONCILE.value, "schedule": 5.0, "options": {"expires": 5.0}},
    "expire": {"task": Task.EXPIRE.value, "schedule": 300.0, "options": {"expires": 300.0}},
}
timezone = "UTC"
enable_utc = True
