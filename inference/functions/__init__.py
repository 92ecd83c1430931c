"""Functions that the server runs for a model: the registry, the built-in functions, and the discovery of a user's own.

A complete file in `FUNCTIONS_DIR`:

    from inference.functions import function_registry

    @function_registry.register
    def stock_level(article: str) -> int:
        \"\"\"Return how many pieces of an article are in stock.

        Args:
            article: The article number, such as "A-1042".
        \"\"\"
        return 17
"""

from inference.functions.context import DocumentSearch, FunctionContext
from inference.functions.discovery import LoadFailure, LoadReport, load_functions
from inference.functions.errors import FunctionDefinitionError, FunctionError
from inference.functions.registry import (
    FunctionRegistry,
    FunctionResult,
    RegisteredFunction,
    function_registry,
)

__all__ = [
    "DocumentSearch",
    "FunctionContext",
    "FunctionDefinitionError",
    "FunctionError",
    "FunctionRegistry",
    "FunctionResult",
    "LoadFailure",
    "LoadReport",
    "RegisteredFunction",
    "function_registry",
    "load_functions",
]
