"""The steps one by one, and a fit to landmarks alone.

`facewright.reconstruct` is five calls: read, detect, align, fit, decode. Here they are made one after the other. The
fit takes evidence, here points and no pixels: shape, expression and pose from points take a fraction of a second.
Landmarks of another program can take the detector's place (`facewright.detect.read_landmarks`).
"""

from dataclasses import replace
from pathlib import Path

import tyro

import facewright
from facewright.assets import embedded_path
from facewright.export.pictures import draw_landmarks, draw_outline
from facewright.export.png import write_png
from facewright.fit import first_pose, prior_of
from facewright.geometry.frames import project_points
from facewright.geometry.pose import posed_mesh
from facewright.pipeline.evidence import evidence_of

PORTRAIT = embedded_path("photos/grace_hopper.jpg")


def main(photo: Path = PORTRAIT, out: Path = Path("out/examples")) -> None:
    """Fit the open head to the landmarks of the largest face.

    Args:
        photo: a picture with a face.
        out: folder for the results.
    """
    picture = facewright.read_photo(photo)
    detection = facewright.detect_faces(picture, facewright.load_face_detector())[0]
    aligned = facewright.align_face(picture, detection.five)
    model = facewright.load_face_model("open")
    settings = facewright.FitSettings()
    plan = facewright.FitPlan.of(model)  # once, for any number of faces
    evidence = replace(evidence_of(aligned, detection, plan, settings), crop=None)  # what the points say, no pixels
    fitted = facewright.fit_face(evidence, plan, prior_of(plan, settings), first_pose(evidence, plan), settings)
    mesh_world = posed_mesh(model.decode(fitted.coefficients), fitted.coefficients.pose)

    camera = aligned.camera_photo  # draws in place: same pose, whole photo
    silhouette = facewright.render(mesh_world, camera, fitted.coefficients.sh).mask[0]
    landmarks = project_points(mesh_world.vertices[:, model.annotations.ibug68], camera)[0, :, :2]
    out.mkdir(parents=True, exist_ok=True)
    drawn = draw_landmarks(draw_outline(picture.srgb, silhouette), landmarks)
    write_png(out / f"{photo.stem}_points.png", drawn)
    print(f"points off by {fitted.residuals['mesh_px']:.2f} px of the crop")


if __name__ == "__main__":
    tyro.cli(main)
