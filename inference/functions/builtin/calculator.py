"""A calculator: arithmetic on a parsed expression, with bounds on its length, its depth and the size of its numbers.

simpleeval is not used: it computes `3999999 ** 399999` for 4 s, and lets text, `True` and complex numbers through.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from inference.functions.errors import FunctionError
from inference.functions.registry import function_registry

Number = int | float

MAX_EXPRESSION_CHARACTERS = 500
MAX_DEPTH = 50
#: About 1,200 decimal digits.
MAX_INTEGER_BITS = 4096
MAX_FACTORIAL = 400
MAX_DIGITS = 30
#: Larger integers lose digits in many JSON parsers, so they are returned as text.
LARGEST_EXACT_INTEGER = 2**53

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _factorial(value: Number) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_FACTORIAL:
        raise FunctionError(f"factorial takes a whole number from 0 to {MAX_FACTORIAL}.")
    return math.factorial(value)


def _round(value: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or not -MAX_DIGITS <= digits <= MAX_DIGITS:  # Python would compute 10**digits
        raise FunctionError(f"round takes a number of digits from -{MAX_DIGITS} to {MAX_DIGITS}.")
    return round(value, digits) if digits else round(value)


def _integral(function: Callable[..., int]) -> Callable[..., int]:
    def checked(*values: Number) -> int:
        if not all(isinstance(value, int) for value in values):
            raise FunctionError(f"{function.__name__} takes whole numbers.")
        result = 1 if function is math.lcm else 0
        for value in values:
            result = int(_bounded(function(result, value)))
        return result

    return checked


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "round": _round,
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "atan2": math.atan2,
    "degrees": math.degrees,
    "radians": math.radians,
    "hypot": math.hypot,
    "gcd": _integral(math.gcd),
    "lcm": _integral(math.lcm),
    "factorial": _factorial,
}


@function_registry.register(timeout_seconds=5)
def calculate(expression: str) -> dict[str, Any]:
    """Calculate an arithmetic expression exactly. Use it for every calculation instead of doing it in your head.

    Args:
        expression: Such as "(1200 * 1.19) / 12" or "sqrt(2) + 3^2". Knows + - * / // % ^ and sqrt, log, sin, round,
            min, max, factorial and the like, pi and e. Angles are in radians.
    """
    return {"expression": expression, "result": _presentable(evaluate(expression))}


def evaluate(expression: str) -> Number:
    """Return the value of an expression.

    Raises:
        FunctionError: if the expression is not arithmetic, divides by zero, or a number gets too large.
    """
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise FunctionError(f"The expression is longer than {MAX_EXPRESSION_CHARACTERS} characters.")
    # Replaced before parsing, because Python's own ^ has a lower precedence than +.
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        tree = ast.parse(text, mode="eval")
        return _value(tree.body, 0)
    except SyntaxError:
        raise FunctionError(f"{expression!r} is not an arithmetic expression.") from None
    except ZeroDivisionError:
        raise FunctionError("Division by zero.") from None
    except (ValueError, TypeError) as error:
        raise FunctionError(f"Not defined: {error}.") from None
    except (OverflowError, MemoryError, RecursionError):
        raise FunctionError("The numbers get too large.") from None


def _value(node: ast.expr, depth: int) -> Number:
    if depth > MAX_DEPTH:
        raise FunctionError("The expression is nested too deeply.")
    match node:
        case ast.Constant(value=bool()):
            raise FunctionError("Only numbers can be calculated with.")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _bounded(_UNARY[type(sign)](_value(operand, depth + 1)))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, depth + 1), _value(right, depth + 1))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _bounded(_BINARY[type(sign)](_value(left, depth + 1), _value(right, depth + 1)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*(_value(argument, depth + 1) for argument in arguments)))
    raise FunctionError(f"{ast.unparse(node)!r} is not arithmetic. Known functions: {', '.join(sorted(_FUNCTIONS))}.")


def _power(base: Number, exponent: Number) -> Number:
    # Checked before computing the power, which could take all memory and time.
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > MAX_INTEGER_BITS:
        raise FunctionError("The numbers get too large.")
    return _bounded(base**exponent)


def _bounded(number: Any) -> Number:
    if isinstance(number, complex):
        raise FunctionError("The result is not a real number.")
    if isinstance(number, float) and not math.isfinite(number):
        raise FunctionError("The numbers get too large.")
    if isinstance(number, int) and number.bit_length() > MAX_INTEGER_BITS:
        raise FunctionError("The numbers get too large.")
    return number  # type: ignore[no-any-return]


def _presentable(number: Number) -> Number | str:
    if isinstance(number, int):
        return number if abs(number) <= LARGEST_EXACT_INTEGER else str(number)
    return float(f"{number:.15g}")  # people expect 0.1 + 0.2 to be 0.3
