"""The HTTP side: validates, submits jobs, renders their events. It imports no model, parser or vector store."""
