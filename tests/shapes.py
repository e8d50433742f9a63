"""Annotated types and array shapes, checked at every call: what jaxtyping's import hook puts around each function.

jaxtyping's own wrapper binds the arguments to the signature and checks them before the call and again after it, to say
more about what is wrong; half of the time of the whole suite went there. Here each value is checked once, and what is
never called is never made ready. The rules are jaxtyping's and beartype's own: an axis has one size within a call.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from types import FunctionType
from typing import Any, get_type_hints

import jaxtyping
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation

_one_call = jaxtyping.jaxtyped("context")
"""Within it, an axis that was named keeps its size."""


def jaxtyped(target: Any = None, *, typechecker: Any = None) -> Any:
    """Stands in for ``jaxtyping.jaxtyped``, with beartype: checks functions, and what dataclasses are made of."""
    if target is None:
        return partial(jaxtyped, typechecker=typechecker)
    if isinstance(target, FunctionType):
        return checked(target)
    if inspect.isclass(target):
        made = vars(target).get("__init__")
        if is_dataclass(target) and isinstance(made, FunctionType) and not hasattr(made, "__wrapped__"):
            target.__init__ = checked(made)
        return target
    raise TypeError(f"expected a function or a class, received {target!r}")


def checked(function: FunctionType) -> Callable[..., Any]:
    """The function, which from its first call on looks at what it is given and at what it returns."""
    checks: Callable[..., Any] | None = None
    of_arrays = False

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checks, of_arrays
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if checks is None:
            hints = hints_of(function)
            of_arrays = any("jaxtyping." in repr(hint) for hint in hints.values())
            checks = beartype(with_hints(function, hints))
        if not of_arrays:
            return checks(*args, **kwargs)
        with _one_call:
            try:
                return checks(*args, **kwargs)
            except BeartypeCallHintViolation:
                jaxtyping.print_bindings()  # the sizes of the axes so far; pytest shows them with the failure
                raise

    return call


def hints_of(function: FunctionType) -> dict[str, Any]:
    """The annotations; those in quotes as what they name, if the module has it (for type checkers alone: anything)."""
    hints = dict(function.__annotations__)
    for name, hint in hints.items():
        if isinstance(hint, str):
            alone = FunctionType((lambda: None).__code__, function.__globals__)
            alone.__annotations__ = {name: hint}
            try:
                hints[name] = get_type_hints(alone, include_extras=True)[name]
            except NameError:
                hints[name] = Any
    return hints


def with_hints(function: FunctionType, hints: dict[str, Any]) -> FunctionType:
    """A copy of the function with other annotations."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__, copy.__annotations__ = function.__kwdefaults__, hints
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy
