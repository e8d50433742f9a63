"""Whether a file is a ZIP archive, which zipfile itself does not say of damaged ones."""

import os
import zipfile


def is_zip(path: str | os.PathLike[str]) -> bool:
    """Whether a file ends as a ZIP archive does; what is wrong with a damaged one, its reader says.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end that says what cannot be, such as other disks
        return True
