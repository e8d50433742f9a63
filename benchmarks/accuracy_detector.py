"""The detector on a folder of photographs, with five points beside each (``name.txt`` or ``detections/name.txt``).

    python benchmarks/accuracy_detector.py --photos FOLDER [--no-stability]

Per photo: faces found, confidences, mean distance of the largest face's five points from the given ones as a share of
the eye distance, milliseconds (best of five). Then, over all photos, how far the five points move when the photo is
shifted, scaled, compressed, mirrored or turned (moved back; share of the face's size, the root of its box area).
"""

import io
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from facewright.detect import FaceDetector, detect_faces, landmarks_of, load_face_detector, read_landmarks
from facewright.errors import LandmarksError
from facewright.photo import photo_from_array, read_photo
from facewright.records import FaceDetection, Photo

SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Arguments:
    """Measure the detector."""

    photos: Path
    """Folder of photographs."""
    stability: bool = True
    """Also detect spoiled copies of every photograph."""
    threads: int = 2
    """CPU threads."""


def image_of(photo: Photo) -> Image.Image:
    """As an 8-bit picture."""
    return Image.fromarray((photo.srgb.permute(1, 2, 0) * 255).round().byte().numpy())


def photo_of(image: Image.Image) -> Photo:
    """As a photo."""
    return photo_from_array(np.array(image))


def given_points(path: Path) -> Tensor | None:
    """The five points beside a photograph, if there are any."""
    try:
        return read_landmarks(landmarks_of(path, path.parent)).five
    except LandmarksError:
        return None


def spoiled(photo: Photo) -> Iterator[tuple[str, Photo, Callable[[Tensor], Tensor]]]:
    """Name, changed photo, and the map of its five points back to the original's."""
    image = image_of(photo)
    width, height = image.size
    for dx, dy in ((17, 10), (5, 18), (23, 3)):
        moved = Image.new("RGB", (width + 27, height + 27))
        moved.paste(image, (dx, dy))
        yield "shifted", photo_of(moved), lambda five, shift=(dx, dy): five - five.new_tensor(shift)
    for factor in (0.7, 0.85, 1.2, 1.5):
        size = (round(width * factor), round(height * factor))
        ratio = torch.tensor([width / size[0], height / size[1]])
        scaled = photo_of(image.resize(size, Image.Resampling.LANCZOS))
        yield f"scaled by {factor}", scaled, lambda five, ratio=ratio: (five + 0.5) * ratio - 0.5
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    yield "JPEG quality 40", photo_of(Image.open(stream).convert("RGB")), lambda five: five
    mirrored = photo_of(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    yield "mirrored", mirrored, lambda five: torch.stack([width - 1 - five[:, 0], five[:, 1]], -1)[[1, 0, 2, 4, 3]]
    for degrees in (20, 45, 90, 135, 180, 270):
        turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        back = torch.tensor([[cos, -sin], [sin, cos]])
        old, new = torch.tensor([width - 1, height - 1]) / 2, torch.tensor([turned.width - 1, turned.height - 1]) / 2
        name = "turned by quarters" if degrees % 90 == 0 else f"turned by {degrees} degrees"
        yield name, photo_of(turned), lambda five, m=back, a=old, b=new: (five - b) @ m.T + a


def measured_stability(photos: list[Photo], originals: list[FaceDetection], detector: FaceDetector) -> None:
    """Print how far points move, in percent of the face's size."""
    moves: dict[str, list[Tensor]] = defaultdict(list)
    lost: dict[str, int] = defaultdict(int)
    for photo, original in zip(photos, originals, strict=True):
        size = (original.box[2:] - original.box[:2]).prod().sqrt()
        for name, changed, back in spoiled(photo):
            faces = detect_faces(changed, detector)
            if len(faces) == 1:
                moves[name].append(100 * (back(faces[0].five) - original.five).norm(dim=-1) / size)
            else:
                lost[name] += 1
    print(f"\n{'change':24} {'mean':>6} {'worst face':>11} {'worst point':>12} {'not one face':>13}")
    for name, rows in moves.items():
        table = torch.stack(rows)
        worst_face, worst_point = float(table.mean(1).max()), float(table.max())
        print(f"{name:24} {float(table.mean()):6.2f} {worst_face:11.2f} {worst_point:12.2f} {lost[name]:13d}")


def main(arguments: Arguments) -> None:
    """Print the tables."""
    torch.set_num_threads(arguments.threads)
    detector = load_face_detector()
    photos, largest, errors, spent = [], [], [], []
    for path in sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in SUFFIXES):
        photo = read_photo(path)
        faces = detect_faces(photo, detector)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            detect_faces(photo, detector)
            times.append(1000 * (time.perf_counter() - start))
        spent.append(min(times))
        line = f"{path.name:20} {photo.width:5d} x {photo.height:<5d} faces {len(faces)} {spent[-1]:5.0f} ms"
        if faces:
            photos.append(photo)
            largest.append(faces[0])
            line += f"  score {faces[0].score:.2f} mesh {faces[0].mesh_score:.4f}"
        if faces and (truth := given_points(path)) is not None:
            distances = (faces[0].five - truth).norm(dim=-1) / (truth[1] - truth[0]).norm()
            errors.append(float(100 * distances.mean()))
            line += f"  five points {errors[-1]:.1f} % of the eye distance"
        print(line)
    print(f"\nmedian {statistics.median(spent):.0f} ms per photo on {arguments.threads} threads")
    if errors:
        print(f"five points: mean {statistics.mean(errors):.2f} %, worst photo {max(errors):.2f} % of the eye distance")
    if arguments.stability:
        measured_stability(photos, largest, detector)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
