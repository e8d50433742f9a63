"""Variables of MATLAB files that make up a face model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facewright.errors import FaceModelError
from facewright.untrusted import mat_contents, reading
from facewright.untrusted.hdf5 import HDF5_SIGNATURE


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variables, and only those: the others are not unpacked.

    Raises:
        FaceModelError: the file is no MATLAB file, is truncated, or lacks a variable.
    """
    with reading(path.name, FaceModelError, "a whole MATLAB file of numbers", "download it again"):
        with path.open("rb") as file:
            is_hdf5 = file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
        if is_hdf5:
            raise FaceModelError(
                f"{path.name}: expected a MATLAB file, received a bare HDF5 file; Basel Face Models of 2017 and 2019 "
                "are such files and are other models: import them with 'bfm2017' or 'bfm2019'"
            )
        contents = mat_contents(path, names)
    for name in names:
        if name not in contents.arrays:
            listed = ", ".join(contents.names) or "none"
            raise FaceModelError(f"{path.name}: expected a variable {name!r}, found {listed}; is it the right file?")
    return contents.arrays
