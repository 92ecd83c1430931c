"""The path to `llm_api.core.functions.registry`. The settings, errors and events are in the package `core`."""
