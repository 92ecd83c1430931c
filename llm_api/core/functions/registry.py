"""What a file of functions needs: the registry, what a function may ask for, and what it may raise."""

from inference.functions import (
    FunctionContext,
    FunctionDefinitionError,
    FunctionError,
    FunctionRegistry,
    FunctionResult,
    function_registry,
)

__all__ = [
    "FunctionContext",
    "FunctionDefinitionError",
    "FunctionError",
    "FunctionRegistry",
    "FunctionResult",
    "function_registry",
]
