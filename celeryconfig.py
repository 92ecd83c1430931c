"""Celery's configuration, read by every worker, by beat, by Flower and by the producers.

Messages are hints that carry ids; the catalog or the job's record in Redis holds what must not be lost. So messages are
acknowledged early, results are not stored, and a worker prefetches only what it can start at once.
"""

from __future__ import annotations

from core.settings import get_settings
from tasks.jobs import redis_client
from tasks.jobs.kinds import all_tasks
from tasks.jobs.queues import Queue, Tasks

_settings = get_settings()

broker_url = _settings.broker_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Redis refuses every write while its disk is full, and Celery counts that as an error of the channel.
broker_channel_error_retry = True
broker_pool_limit = 16
broker_transport_options = {
    "socket_timeout": redis_client.SOCKET_TIMEOUT_SECONDS,
    "socket_connect_timeout": redis_client.CONNECT_TIMEOUT_SECONDS,
    "socket_keepalive": not broker_url.startswith("redis+socket://"),
    "health_check_interval": redis_client.HEALTH_CHECK_SECONDS,
    "visibility_timeout": 600,
    # Looking for such messages more often finds them no earlier, and takes processor time from idle machines.
    "unacked_restore_interval": 60,
    "unacked_restore_throttle": 1,
}

task_serializer = result_serializer = event_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
task_ignore_result = True
task_store_errors_even_if_ignored = False

task_default_queue = Queue.MAINTENANCE.value
task_create_missing_queues = True
task_routes = {task.name: {"queue": task.queue.value} for task in all_tasks()}
task_acks_late = False
task_publish_retry = False
worker_prefetch_multiplier = 1
task_track_started = True
worker_send_task_events = True
worker_consumer = "tasks.jobs.consumer:Consumer"
# The worker's own event that it has received the task suffices, and saves one publication per request.
task_send_sent_event = False

# Only children that parse have a time limit that kills: the threads pool cannot kill, and the engine has deadlines.
task_annotations = {
    Tasks.PARSE_DOCUMENTS.name: {
        "soft_time_limit": _settings.parse_timeout_seconds,
        "time_limit": _settings.parse_timeout_seconds + 10,
    }
}
worker_max_tasks_per_child = 200
# In KiB. Ordinary files leave a child at a third of this. After a large file the child is replaced, which frees memory.
worker_max_memory_per_child = 512 * 1024
worker_soft_shutdown_timeout = 20
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = True
worker_log_format = "%(asctime)s %(levelname)s %(name)s: %(message)s"
worker_task_log_format = "%(asctime)s %(levelname)s %(task_name)s[%(task_id)s]: %(message)s"
worker_redirect_stdouts = False

# A message that has waited for a whole period expires, since the next one has been sent.
# The times of the last runs are kept in memory: a file of them could not be written on a full disk, and beat would end.
beat_scheduler = "celery.beat:Scheduler"
beat_schedule = {
    "reconcile": {"task": Tasks.RECONCILE.name, "schedule": 5.0, "options": {"expires": 5.0}},
    "expire": {"task": Tasks.EXPIRE.name, "schedule": 300.0, "options": {"expires": 300.0}},
}
timezone = "UTC"
enable_utc = True
