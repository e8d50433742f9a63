"""Annotated types and array shapes, checked at every call: what jaxtyping's import hook puts around each function.

jaxtyping's own wrapper binds the arguments to the signature and checks them before the call and again after it, to say
more about what is wrong; half of the time of the whole suite went there. Here each value is checked once, and what is
never called is never made ready. The rules are jaxtyping's and beartype's own: an axis has one size within a call.
"""

import inspect
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import is_dataclass
from functools import partial, wraps
from types import FunctionType
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

_of_jaxtyping = jaxtyping.jaxtyped
_one_call = _of_jaxtyping("context")
"""Within it, an axis that was named keeps its size."""
_looked_at = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def jaxtyped(target: Any = None, *, typechecker: Any = None) -> Any:
    """Stands in for ``jaxtyping.jaxtyped``, with beartype: checks functions, and what dataclasses are made of."""
    if target is None:
        return partial(jaxtyped, typechecker=typechecker)
    if inspect.isgeneratorfunction(target):  # what it is given is to be looked at before its first step
        return _of_jaxtyping(target, typechecker=beartype)
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
            checks = _looked_at(with_hints(function, hints))
        if not of_arrays:
            return checks(*args, **kwargs)
        with _one_call:
            try:
                return checks(*args, **kwargs)
            except jaxtyping.TypeCheckError as error:
                if not getattr(error, "__notes__", None):
                    error.add_note(sizes())
                raise

    return call


def sizes() -> str:
    """Of the axes that have one so far, in words."""
    with redirect_stdout(io.StringIO()) as said:
        jaxtyping.print_bindings()
    return said.getvalue()


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
