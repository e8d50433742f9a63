"""OBJ files: polygons in fans, ids per corner, damaged lines."""

from pathlib import Path

import numpy as np
import pytest

from facewright.errors import FaceModelError
from facewright.morphable.readers.obj import read_obj

POINTS = "v 0 0 0\nv 1 0 0 0.5 0.5 0.5\nv 1 1 0\nv 0 1 1e-1\nv  .5 2 -3 # the fifth\n"
TEXTURE = "vt 0 0\nvt 1 0 0\nvt 1 1\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_polygons_become_fans_from_their_first_corner(tmp_path: Path) -> None:
    """Of five, of three and of four corners; two corners are no face."""
    mesh = read_obj(write(tmp_path / "a.obj", POINTS + "f 2 3 4 5 1\nf 1 5\n# a note\nf  3 1 2\nf 5 4 3 2"))
    fans = [[2, 3, 4], [2, 4, 5], [2, 5, 1], [3, 1, 2], [5, 4, 3], [5, 3, 2]]
    np.testing.assert_array_equal(mesh.faces + 1, fans)
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.1], [0.5, 2, -3]])
    assert mesh.uv is mesh.faces_uv is None


@pytest.mark.parametrize("normal", ["", "/7"])
def test_corners_have_their_own_texture_coordinates(tmp_path: Path, normal: str) -> None:
    corners = " ".join(f"{vertex}/{uv}{normal}" for vertex, uv in ((4, 1), (1, 3), (2, 2), (3, 1)))
    mesh = read_obj(write(tmp_path / "a.obj", f"{POINTS}{TEXTURE}f {corners}\n"))
    np.testing.assert_array_equal(mesh.faces + 1, [[4, 1, 2], [4, 2, 3]])
    assert mesh.uv is not None
    assert mesh.faces_uv is not None
    np.testing.assert_array_equal(mesh.faces_uv + 1, [[1, 3, 2], [1, 2, 1]])
    np.testing.assert_array_equal(mesh.uv, [[0, 0], [1, 0], [1, 1]])


def test_normals_alone_are_no_texture(tmp_path: Path) -> None:
    mesh = read_obj(write(tmp_path / "a.obj", f"{POINTS}{TEXTURE}f 1//1 2//2 3//3\n"))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
    assert mesh.faces_uv is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POINTS, "expected faces, found none"),
        (POINTS + "f 1 2\n", "expected faces, found none"),
        ("f 1 2 3\n", "expected lines 'v', found none"),
        (POINTS + "f 1 2 6\n", r"expected ids 1\.\.5 in faces, received 1\.\.6"),
        (POINTS + "f 0 1 2\n", r"received 0\.\.2"),
        (POINTS + "f 1 2 x\n", "expected faces of vertex ids"),
        (POINTS + "v 1 2\nf 1 2 3\n", "expected 3 numbers per 'v' line"),
        (POINTS + "v 1 2 three\nf 1 2 3\n", "expected 3 numbers per 'v' line"),
        (POINTS + "v \nf 1 2 3\n", "expected 3 numbers per 'v' line"),
        (POINTS + TEXTURE + "f 1/1 2/2 3\n", "expected faces of vertex ids"),
        (POINTS + TEXTURE + "f 1/1 2/2 3/4\n", r"expected ids 1\.\.3"),
    ],
)
def test_damaged_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FaceModelError, match=message):
        read_obj(write(tmp_path / "a.obj", text))
