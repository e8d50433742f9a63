"""Files from strangers: read within bounds, nothing ever run, and every fault told in our own errors.

A reader takes its numbers from the functions here, which look at what a file declares before they read what it holds,
inside one ``with reading(path, ...)``: the only place where the exceptions of parsing libraries become our own.
"""

from facewright.untrusted.matlab import MatContents, mat_contents, read_mat
from facewright.untrusted.npz import NpyHeader, read_npy, read_npz
from facewright.untrusted.reading import memory_allowance, reading
from facewright.untrusted.text import parse_json, read_json, read_text
from facewright.untrusted.zips import is_zip

__all__ = [
    "MatContents",
    "NpyHeader",
    "is_zip",
    "mat_contents",
    "memory_allowance",
    "parse_json",
    "read_json",
    "read_mat",
    "read_npy",
    "read_npz",
    "read_text",
    "reading",
]
