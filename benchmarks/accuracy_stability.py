"""How still a person's shape stays when the photo changes and the person does not: shift, light, JPEG, mirroring.

    python benchmarks/accuracy_stability.py FOLDER [--method 3dmm-cnn] [--most 12]

For each photo the neutral shape before and after; RMS over the face's points, mm, less what a small rigid motion could
do; beside it the mean distance of two people. Prints a line of JSON.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import facewright
from facewright.morphable.mirror import MirrorMap
from facewright.photo import photo_from_array
from facewright.train.losses.likeness import sample_face


def changed(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Other pictures of the same moment, from bytes."""
    shifted = np.pad(pixels, ((17, 0), (23, 0), (0, 0)), mode="edge")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=30)
    ramp = np.linspace(0.55, 1.2, pixels.shape[1])[None, :, None]
    return {
        "shift": shifted,
        "light": (pixels * ramp).clip(0, 255).astype(np.uint8),
        "jpeg": np.asarray(Image.open(file)),
        "mirrored": np.ascontiguousarray(pixels[:, ::-1]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="3dmm-cnn")
    parser.add_argument("--most", type=int, default=12)
    given = parser.parse_args()
    flow = facewright.load_reconstructor(method=given.method)
    model = flow.estimator.face_model
    mirror = None if model is None else MirrorMap.of(model)
    if model is None or mirror is None:
        raise SystemExit(f"expected a method of a face model that knows its mirror image, received {given.method}")
    face = sample_face(model)
    moved: dict[str, list[float]] = {}
    people = []
    for path in [p for p in sorted(given.folder.iterdir()) if p.suffix.lower() in (".jpg", ".png")][: given.most]:
        photo = facewright.read_photo(path)
        try:
            first = flow.faces_in(photo, faces="largest")[0].coefficients.id
            others = {
                name: flow.faces_in(photo_from_array(array), faces="largest")[0].coefficients.id
                for name, array in changed(photo.pixels.permute(1, 2, 0).contiguous().numpy()).items()
            }
        except facewright.FacewrightError as error:
            print(f"{path.name}: {error}")
            continue
        people.append(face.codes_mm(first)[0])
        others["mirrored"] = others["mirrored"] @ mirror.id.T
        for name, codes in others.items():
            moved.setdefault(name, []).append(float(face.codes_mm(codes - first).norm()))
    apart = torch.pdist(torch.stack(people)).mean()
    found = {name: round(float(np.mean(values)), 3) for name, values in moved.items()}
    print(
        json.dumps(
            {
                "method": given.method,
                "photos": len(people),
                "moves_mm": found,
                "people_differ_mm": round(float(apart), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
