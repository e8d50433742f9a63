"""Text files of five or 68 points, good and bad."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.detect import landmarks_of, read_landmarks
from facewright.errors import LandmarksError
from facewright.geometry.five_points import FIVE_OF_68

FIVE = "142.84\t207.18\n222.02\t203.9\n159.24\t253.57\n146.59\t290.93\n227.52\t284.74\n"


def face68() -> torch.Tensor:
    """68 points with the five of a face among them."""
    points = torch.full((68, 2), 100.0)
    five = torch.tensor([float(word) for word in FIVE.split()]).reshape(5, 2)
    for ids, place in zip(FIVE_OF_68, five, strict=True):
        points[list(ids)] = place
    return points


def test_five_points(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_text("\n" + FIVE.replace("\t", "   ") + "\n")
    face = read_landmarks(path)
    assert face.five[2].tolist() == pytest.approx([159.24, 253.57])
    assert face.box.tolist() == pytest.approx([142.84, 203.9, 227.52, 290.93])
    assert face.mesh is None
    assert face.score == 1.0


def test_sixty_eight_points_become_five(tmp_path: Path, rng: torch.Generator) -> None:
    points = face68() + 3 * torch.rand(68, 2, generator=rng)
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


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + FIVE,
        FIVE.replace("\t", ", "),
        FIVE.replace("\t", ";"),
        FIVE.replace("\n", "\r\n"),
        "# right eye, left eye, nose, mouth\n" + FIVE,
        "x,y,score\n" + FIVE.replace("\t", ",").replace("\n", ",0.97\n"),
        FIVE.replace("\n", " 1\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_other_programs_write_is_read(tmp_path: Path, content: str, encoding: str) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(content.encode(encoding) if encoding == "utf-8" else content.lstrip("\ufeff").encode(encoding))
    expected = torch.tensor([float(word) for word in FIVE.split()]).reshape(5, 2)
    torch.testing.assert_close(read_landmarks(path).five, expected)


def test_pts_files_count_from_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.pts"
    path.write_text("version: 1\nn_points:  5\n{\n" + FIVE.replace("\t", " ") + "}\n")
    assert read_landmarks(path).five[2].tolist() == pytest.approx([158.24, 252.57])
    for bad in ("version: 1\nn_points: 68\n{\n" + FIVE + "}\n", "n_points: 5\n" + FIVE, "}" + FIVE + "{"):
        path.write_text(bad)
        with pytest.raises(LandmarksError, match=r"photo\.pts"):
            read_landmarks(path)


def test_exchanged_points_are_refused(tmp_path: Path) -> None:
    five = np.loadtxt(FIVE.splitlines())
    exchanged = {"sides": five[[1, 0, 2, 4, 3]], "axes": five[:, ::-1], "up": five * [1, -1] + [0, 400]}
    for name, points in exchanged.items():
        path = tmp_path / f"{name}.txt"
        np.savetxt(path, points)
        with pytest.raises(LandmarksError, match=rf"{name}\.txt.*mirrored"):
            read_landmarks(path)
    for _ in range(3):  # a turned photo is none
        five = five[:, ::-1] * [1, -1]
        np.savetxt(tmp_path / "turned.txt", five)
        torch.testing.assert_close(read_landmarks(tmp_path / "turned.txt").five.double(), torch.from_numpy(five))


def test_photos_of_one_name_have_their_own_files(tmp_path: Path) -> None:
    photos, marks = tmp_path / "photos", tmp_path / "marks"
    for person in ("anna", "bert"):
        (marks / person).mkdir(parents=True)
        (marks / person / "1.txt").write_text(FIVE)
    (marks / "1.txt").write_text(FIVE)
    assert landmarks_of(photos / "anna" / "1.jpg", marks) == marks / "anna" / "1.txt"
    assert landmarks_of(photos / "bert" / "1.jpg", marks) == marks / "bert" / "1.txt"
    assert landmarks_of(photos / "carl" / "1.jpg", marks) == marks / "1.txt"
    (marks / "2.pts").write_text("")
    assert landmarks_of(photos / "2.jpg", marks) == marks / "2.pts"
