"""The HTTP API. It validates requests, submits jobs and renders their events; it imports no model, parser or store."""
