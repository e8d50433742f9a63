"""Pictures of how a training stands: photo, overlay, points."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from facewright.export.pictures import draw_points, overlay
from facewright.export.sheets import contact_sheet
from facewright.geometry.color import display_from_albedo
from facewright.geometry.frames import crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNetPrediction
from facewright.render.renderer import render
from facewright.train.objective import project_landmarks, repeated
from facewright.train.samples import TrainingBatch

TILE_PX = 224
"""Smaller crops are magnified by a whole factor at least this far."""
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
    grown = max(1, -(-TILE_PX // size))
    crops = F.interpolate(batch.crops, scale_factor=grown, mode="bicubic").clamp(0.0, 1.0) if grown > 1 else batch.crops
    camera = repeated(crop_camera(size=grown * size, like=crops), len(batch))
    mesh = posed_mesh(model.decode(prediction.coefficients), prediction.coefficients.pose)
    drawn = render(mesh, camera, prediction.coefficients.sh)
    image = display_from_albedo(drawn.image, model.albedo_space)
    layers = [((batch.landmarks + 0.5) * grown - 0.5, SEEN)]
    if model.annotations.ibug68 is not None:
        layers.append((project_landmarks(model, prediction.coefficients, camera), PREDICTED))
    if prediction.landmarks_px is not None:
        layers.append(((prediction.landmarks_px + 0.5) * grown - 0.5, DIRECT))
    tiles = []
    for k, name in enumerate(batch.keys or [str(k) for k in range(len(batch))]):
        dotted = crops[k]
        for places, color in layers:
            known = batch.landmark_weights[k] > 0 if color == SEEN else slice(None)
            dotted = draw_points(dotted, places[k][known], color=color)
        tiles += [(name, crops[k]), ("overlay", overlay(crops[k], image[k], drawn.mask[k])), ("points", dotted)]
    return contact_sheet(tiles, heading=heading, columns=6, tile_px=grown * size)
