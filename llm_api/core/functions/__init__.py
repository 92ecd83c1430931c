"""The path to `llm_api.core.functions.registry`. The registry itself is in `inference.functions`."""
