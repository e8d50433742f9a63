"""From a photo to 3D faces.

The whole program is one call. What comes back says where each face is, how it is turned, what its 68 landmarks and
its coefficients are, and writes itself to files. Nothing but the photo is needed: the head model and the detector are
inside the package, and the coefficients are found by optimisation.

The `.glb` opens in any glTF viewer and in Blender, with one slider per expression. The `.json` holds everything that
the next examples go on with.
"""

from pathlib import Path

import tyro

import facewright
from facewright.assets import embedded_path

PORTRAIT = embedded_path("photos/astronaut.jpg")


def main(photo: Path = PORTRAIT, out: Path = Path("out/examples")) -> None:
    """Reconstruct every face of a photo.

    Args:
        photo: a picture with at least one face.
        out: folder for the results.
    """
    faces = facewright.reconstruct(photo)
    out.mkdir(parents=True, exist_ok=True)
    for k, face in enumerate(faces):
        print(f"face {k}: score {face.detection.score:.2f}, yaw {face.pose.document()['yaw_deg']:.1f} degrees")
        column, row = face.landmarks[30].tolist()
        print(f"  tip of the nose at column {column:.1f}, row {row:.1f} of {photo.name}")
        stem = f"{photo.stem}_{k}" if len(faces) > 1 else photo.stem
        for suffix in (".json", ".glb", ".png"):
            face.save(out / f"{stem}{suffix}")


if __name__ == "__main__":
    tyro.cli(main)
