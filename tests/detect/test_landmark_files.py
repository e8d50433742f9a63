"""Text files of five or 68 points, good and bad."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.detect import landmarks_of, read_landmarks
from facewright.errors import LandmarksError

FIVE = "142.84\t207.18\n222.02\t203.9\n159.24\t253.57\n146.59\t290.93\n227.52\t284.74\n"


def test_five_points(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_text("\n" + FIVE.replace("\t", "   ") + "\n")
    face = read_landmarks(path)
    assert face.five[2].tolist() == pytest.approx([159.24, 253.57])
    assert face.box.tolist() == pytest.approx([142.84, 203.9, 227.52, 290.93])
    assert face.mesh is None
    assert face.score == 1.0


def test_sixty_eight_points_become_five(tmp_path: Path, rng: torch.Generator) -> None:
    points = torch.rand(68, 2, generator=rng) * 100
    path = tmp_path / "photo.txt"
    np.savetxt(path, points.numpy())
    five = read_landmarks(path).five
    torch.testing.assert_close(five[0], (points[36] + points[39]) / 2, rtol=0, atol=1e-3)  # corners, not lids
    torch.testing.assert_close(five[1], (points[42] + points[45]) / 2, rtol=0, atol=1e-3)
    torch.testing.assert_close(five[4], points[54], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1 2\n3 4\n",
        FIVE + "1 2\n",
        "1 2 3\n" * 5,
        FIVE.replace("207.18", ""),
        FIVE.replace("207.18", "nan"),
        FIVE.replace("207.18", "high"),
        "\xff\x00" * 50,
        "1 2\n" * 200_000,
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(LandmarksError, match=r"bad\.txt"):
        read_landmarks(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LandmarksError, match=r"none\.txt"):
        read_landmarks(tmp_path / "none.txt")
    with pytest.raises(LandmarksError):
        read_landmarks(tmp_path)


def test_a_photos_file_is_found_in_the_folder_or_its_detections(tmp_path: Path) -> None:
    photo = tmp_path / "elsewhere" / "me.and.you.jpg"
    with pytest.raises(LandmarksError, match=r"me\.and\.you\.jpg.*detections"):
        landmarks_of(photo, tmp_path)
    (tmp_path / "detections").mkdir()
    (tmp_path / "detections" / "me.and.you.txt").write_text(FIVE)
    assert landmarks_of(photo, tmp_path) == tmp_path / "detections" / "me.and.you.txt"
    (tmp_path / "me.and.you.txt").write_text(FIVE)
    assert landmarks_of(photo, tmp_path) == tmp_path / "me.and.you.txt"
