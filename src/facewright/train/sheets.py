"""Pictures of how a training stands: photo, overlay, points."""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.export.pictures import draw_points, overlay
from facewright.export.sheets import contact_sheet
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNetPrediction
from facewright.render.renderer import render
from facewright.train.batch import TrainingBatch
from facewright.train.objective import posed_mesh, project_landmarks, repeated, rows

SEEN = (0.25, 0.95, 0.55)
PREDICTED = (1.0, 0.35, 0.25)
DIRECT = (0.3, 0.7, 1.0)


@torch.no_grad()
def training_sheet(
    prediction: RNetPrediction, batch: TrainingBatch, model: FaceModel, *, heading: str = ""
) -> Float[Tensor, "3 H W"]:
    """Three tiles a face: the crop; the predicted face over it; points.

    Points are green as given, red as the face model has them, and blue as the net sees them directly.
    """
    size = batch.crops.shape[-1]
    camera = repeated(crop_camera(size=size, like=batch.crops), len(batch))
    mesh = posed_mesh(model, prediction.coefficients)
    drawn = render(mesh, camera, prediction.coefficients.sh)
    image = (drawn.image if model.albedo_space == "display" else srgb_from_linear(drawn.image)).clamp(0.0, 1.0)
    pixels = None
    if model.annotations.ibug68 is not None:
        pixels = project_landmarks(model, prediction.coefficients, camera)
    tiles = []
    for k in range(len(batch)):
        points = batch.crops[k]
        layers = [(batch.landmarks[k][batch.landmark_weights[k] > 0], SEEN)]
        layers += [] if pixels is None else [(pixels[k], PREDICTED)]
        layers += [] if prediction.landmarks_px is None else [(prediction.landmarks_px[k], DIRECT)]
        for places, color in layers:
            points = draw_points(points, places, color=color)
        name = batch.keys[k] if batch.keys else str(k)
        tiles += [(name, batch.crops[k]), ("overlay", overlay(batch.crops[k], image[k], drawn.mask[k]))]
        tiles.append(("points", points))
    return contact_sheet([(title, tile.cpu()) for title, tile in tiles], heading=heading, columns=6)


def first_of(batch: TrainingBatch, count: int) -> TrainingBatch:
    """The first faces of a batch, on the CPU."""
    return rows(batch, torch.arange(min(count, len(batch)))).to("cpu")
