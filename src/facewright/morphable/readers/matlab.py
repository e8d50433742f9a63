"""Variables of MATLAB files, old (version 5) and new (7.3, HDF5)."""

from collections.abc import Sequence
from pathlib import Path
from zlib import error as ZlibError

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from facewright.errors import FaceModelError
from facewright.morphable.readers.arrays import pick
from facewright.morphable.readers.hdf5 import HDF5_SIGNATURE, open_hdf5

_UNREADABLE = (MatReadError, ZlibError, ValueError, TypeError, LookupError, OSError, EOFError, MemoryError)


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variables, and only those: the others are not unpacked.

    Raises:
        FaceModelError: the file is no MATLAB file, is truncated, or lacks a variable.
    """
    with path.open("rb") as file:
        head = file.read(128)
    if head.startswith(HDF5_SIGNATURE):
        raise FaceModelError(
            f"{path.name}: expected a MATLAB file, received a bare HDF5 file; Basel Face Models of 2017 and 2019 are "
            "such files and are other models: import them with 'bfm2017' or 'bfm2019'"
        )
    if head.startswith(b"MATLAB 7.3"):
        with open_hdf5(path) as file:
            # HDF5 keeps MATLAB's column-major arrays with their axes in reverse
            return {name: np.asarray(pick(file, name, path.name)).T for name in names}
    try:
        found = scipy.io.loadmat(path, variable_names=list(names), chars_as_strings=False)
        others = [] if all(name in found for name in names) else [entry[0] for entry in scipy.io.whosmat(path)]
    except _UNREADABLE as error:
        raise FaceModelError(
            f"{path.name}: expected a whole MATLAB file, received one that cannot be read ({error}); download it again"
        ) from error
    for name in names:
        if name not in found:
            listed = ", ".join(others) or "none"
            raise FaceModelError(f"{path.name}: expected a variable {name!r}, found {listed}; is it the right file?")
    return {name: np.asarray(found[name]) for name in names}
