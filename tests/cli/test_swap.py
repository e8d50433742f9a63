"""``facewright swap`` refuses by name what cannot be swapped, and writes nothing then."""

import cv2
import numpy as np
import pytest

from facewright.assets import embedded_path
from facewright.cli import main

PORTRAIT = embedded_path("photos/astronaut.jpg")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "wall.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 128, np.uint8))
    return path


def test_a_photo_without_a_face(empty, tmp_path, capsys):
    assert main(["swap", str(empty), str(PORTRAIT), "--out", str(tmp_path / "out"), "--method", "fit"]) != 0
    assert "wall.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_face_with_itself(tmp_path, capsys):
    portrait = str(PORTRAIT)
    assert (
        main(["swap", portrait, portrait, "--out", str(tmp_path / "out"), "--method", "rnet", "--weights", "fast"]) == 2
    )
    assert "one with two faces" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_size(empty, tmp_path, capsys):
    """Seen before any work: the photo that has no face is not even looked for one."""
    line = ["swap", str(PORTRAIT), str(empty), "--out", str(tmp_path / "out"), "--mask", str(empty)]
    assert main([*line, "--texture-size", "128"]) != 0
    assert "mask of 128 x 128 texels, received (64, 64)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
