"""Photographs of real people with five given points each, where they lie beside the checkout."""

from pathlib import Path

import pytest

from facewright.detect import FaceDetector, detect_faces, read_landmarks
from facewright.photo import read_photo


def test_every_photograph_holds_its_one_face(detector: FaceDetector, shared_dir: Path) -> None:
    errors = []
    for path in sorted((shared_dir / "photos").iterdir()):
        if path.suffix in {".jpg", ".png"}:
            truth = read_landmarks(path.with_suffix(".txt")).five
            (face,) = detect_faces(read_photo(path), detector)
            errors.append((face.five - truth).norm(dim=-1).mean() / (truth[1] - truth[0]).norm())
    assert len(errors) >= 12
    assert max(errors) < 0.08
    assert sum(errors) / len(errors) == pytest.approx(0.043, abs=0.01)
