"""How well reconstructions lie on real photographs whose five points are known, and how steady their landmarks are.

    python benchmarks/accuracy_photos.py PHOTOS [--method rnet --refine 1] [--sheets DIR]

PHOTOS holds pictures with ``<name>.txt`` beside them: eye centres, nose tip, mouth corners (x y, y down). Errors are in
per cent of the eye distance; steadiness is the mean movement of the 68 landmarks in per cent of the box size when the
same picture comes shifted, scaled, mirrored (and mirrored back) or JPEG-compressed.
"""

import io
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.detect import read_landmarks
from facewright.export.png import write_png
from facewright.geometry.frames import project_points
from facewright.geometry.ibug68 import MIRROR_68
from facewright.geometry.mesh import vertex_normals
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.flow import Reconstruction, Reconstructor, load_reconstructor
from facewright.pipeline.views import face_sheet
from facewright.records import Photo


@dataclass(frozen=True)
class Arguments:
    """Measure reconstructions on photographs with five known points."""

    photos: Annotated[Path, tyro.conf.Positional]
    """Folder of pictures and point files."""
    method: str = "auto"
    """How coefficients are found."""
    weights: str | None = None
    """R-Net's: a file, open or fast."""
    refine: int | None = None
    """Rounds of the fit after R-Net."""
    sheets: Path | None = None
    """Write the sheet of every photo here."""
    steadiness: bool = True
    """Also measure the 68 landmarks on altered copies."""


def as_bytes(photo: Photo) -> np.ndarray:
    """8-bit RGB, rows x columns x 3."""
    return (photo.srgb.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)


def altered(photo: Photo) -> dict[str, tuple[Photo, Float[Tensor, "2 3"]]]:
    """Altered copies and the affine maps from the photo's pixels to theirs."""
    picture = Image.fromarray(as_bytes(photo))
    copies: dict[str, tuple[Image.Image, list[list[float]]]] = {}
    shifted = Image.new("RGB", (photo.width + 17, photo.height + 11))
    shifted.paste(picture, (17, 11))
    copies["shifted"] = (shifted, [[1, 0, 17], [0, 1, 11]])
    for scale in (0.7, 1.5):
        size = (round(photo.width * scale), round(photo.height * scale))
        fx, fy = size[0] / photo.width, size[1] / photo.height
        resized = picture.resize(size, Image.Resampling.BICUBIC)
        copies[f"scaled {scale}"] = (resized, [[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]])
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    copies["JPEG 40"] = (Image.open(stream).convert("RGB"), [[1, 0, 0], [0, 1, 0]])
    copies["mirrored"] = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), [[-1, 0, photo.width - 1], [0, 1, 0]])
    return {
        name: (photo_from_array(np.asarray(image)), torch.tensor(map_, dtype=torch.float32))
        for name, (image, map_) in copies.items()
    }


def steadiness(flow: Reconstructor, photo: Photo) -> dict[str, float]:
    """Mean movement of the 68 landmarks per alteration, per cent of the box size (root of its area)."""
    original = flow.faces_in(photo, faces="largest")[0].landmarks
    size = (original.amax(0) - original.amin(0)).prod().sqrt()
    moved = {}
    for name, (copy, T_copy_photo) in altered(photo).items():
        found = flow.faces_in(copy, faces="largest")[0].landmarks
        back = (found - T_copy_photo[:, 2]) @ torch.linalg.inv(T_copy_photo[:, :2]).T
        back = back[MIRROR_68] if name == "mirrored" else back
        moved[name] = float(100 * (back - original).norm(dim=-1).mean() / size)
    return moved


def front_disagreement(face: Reconstruction) -> float:
    """Mean distance to the detector's dense points of what faces the camera, per cent of the eye distance.

    Frontal points are the detector's strength, so this judges shape and expression where nobody has drawn landmarks.
    """
    marks, mesh, posed = face.topology.annotations, face.detection.mesh, face.mesh_world.vertices
    embedding = marks.mesh468
    if mesh is None or embedding is None:
        return float("nan")
    facing = vertex_normals(posed, face.topology.faces)[0][embedding.corners].mean(1)[:, 2] > 0.5
    trusted = facing if marks.mesh468_trust is None else facing & (marks.mesh468_trust > 0.5)
    points = project_points(embedding.of(posed), face.camera)[0, :, :2]
    eyes = (face.detection.five[0] - face.detection.five[1]).norm()
    return float(100 * (points - mesh[:, :2])[trusted].norm(dim=-1).mean() / eyes)


def main(arguments: Arguments) -> None:
    """Print one line a photo, then the means."""
    flow = load_reconstructor(method=arguments.method, weights=arguments.weights, refine=arguments.refine)
    paths = sorted(path for path in arguments.photos.iterdir() if path.with_suffix(".txt") != path and path.suffix)
    paths = [path for path in paths if path.suffix != ".txt" and path.with_suffix(".txt").is_file()]
    errors, detector_errors, fronts, movements, seconds = [], [], [], {}, []
    for path in paths:
        photo, given = read_photo(path), read_landmarks(path.with_suffix(".txt")).five
        eyes = (given[0] - given[1]).norm()
        face = flow.faces_in(photo, faces="largest")[0]
        errors.append(float(100 * (face.five_points - given).norm(dim=-1).mean() / eyes))
        detector_errors.append(float(100 * (face.detection.five - given).norm(dim=-1).mean() / eyes))
        seconds.append(face.seconds.get("regress", 0.0) + face.seconds.get("fit", 0.0))
        fronts.append(front_disagreement(face))
        line = f"{path.name:14s} five points {errors[-1]:5.2f} %  detector {detector_errors[-1]:5.2f} %"
        line += f"  front {fronts[-1]:5.2f} %  yaw {face.pose.document()['yaw_deg']:6.1f}"
        if arguments.steadiness:
            moved = steadiness(flow, photo)
            line += "  moved " + " ".join(f"{name} {value:.2f}" for name, value in moved.items())
            for name, value in moved.items():
                movements.setdefault(name, []).append(value)
        residuals = " ".join(f"{name} {value:.3f}" for name, value in face.residuals.items())
        print(f"{line}  {seconds[-1]:.2f} s  {residuals}")
        if arguments.sheets is not None:
            write_png(arguments.sheets / f"{path.stem}.png", face_sheet(face))
    print(f"five points: mean {statistics.mean(errors):.2f} %, detector's own {statistics.mean(detector_errors):.2f} %")
    for name, values in movements.items():
        print(f"{name}: mean {statistics.mean(values):.2f} %, largest {max(values):.2f} % of the box size")
    known = [front for front in fronts if front == front]  # position maps know nothing of the detector's points
    if known:
        print(f"agreement with the detector's mesh: mean {statistics.mean(known):.2f} % of the eye distance")
    print(f"coefficients: median {statistics.median(seconds):.2f} s a face")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
