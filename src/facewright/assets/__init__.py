"""Embedded files, and where the files live that a user must bring."""

from pathlib import Path

from facewright.errors import AssetNotFoundError

_FOLDER = Path(__file__).parent


def embedded_path(name: str) -> Path:
    """Path of a file that ships inside the package.

    Raises:
        AssetNotFoundError: the installation is incomplete.
    """
    path = _FOLDER / name
    if not path.is_file():
        raise AssetNotFoundError(
            f"expected the embedded file {name!r} in {_FOLDER}, found none; reinstall facewright, or in a checkout "
            "run the script under scripts/ that builds it"
        )
    return path
