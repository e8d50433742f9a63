"""Loops compiled for the CPU by numba (extra ``fast``): at the first call, never at import; kept on disk."""

import inspect
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

from facewright.errors import MissingExtraError


@cache
def can_compile() -> bool:
    """Whether numba is installed (it is not imported)."""
    return find_spec("numba") is not None


@cache
def compiled(function: Callable[..., None], *, contract: bool = False) -> Callable[..., None]:
    """The function, compiled without the interpreter's lock; division by zero gives infinity, as in numpy.

    Args:
        function: a loop in the part of Python that numba knows.
        contract: whether products may be added without rounding them first: faster, and not the same bits everywhere.

    Raises:
        MissingExtraError: numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError(
            "compiled loops expect the package numba, which is not installed: pip install 'facewright[fast]', "
            "or use backend='torch'"
        ) from error
    bare = inspect.unwrap(function)  # the runtime shape checks of the tests wrap what numba must see bare
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"} if contract else False}
    try:
        return numba.njit(cache=True, **options)(bare)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**options)(bare)
