"""The protocol of jobs: records and events in Redis, producers, runners, and readers of events."""
