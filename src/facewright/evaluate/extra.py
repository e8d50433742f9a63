"""Packages that measuring needs and the rest does not: extra ``evaluate``, imported when first used."""

from importlib import import_module
from typing import Any

from facewright.errors import MissingExtraError


def extra_package(name: str) -> Any:
    """A package of the extra ``evaluate``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"measuring expects the package {name}, which is not installed: pip install 'facewright[evaluate]'"
        ) from error
