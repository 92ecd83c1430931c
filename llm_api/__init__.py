"""The name under which programs import llm-api: `from llm_api import function_registry`.

It holds no code of its own: the packages beside it do.
"""

from llm_api.core.functions.registry import function_registry

__all__ = ["function_registry"]
