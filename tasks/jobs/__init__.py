"""The job protocol: records and events in Redis, the producer, the runner, and the readers of events."""
