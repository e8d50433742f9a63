"""Faces that nobody had to find."""

from dataclasses import replace
from functools import cache

import torch

from facewright.align import align_face
from facewright.geometry.frames import crop_camera
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import MorphableFace
from facewright.pipeline.face import FaceInPhoto
from facewright.records import FaceDetection, Photo

GREY = 128


@cache
def looking(pitch_deg: float, yaw_deg: float) -> FaceInPhoto:
    """The mean head before a grey wall, turned."""
    model = load_face_model()
    angles = torch.deg2rad(torch.tensor([[pitch_deg, yaw_deg, 0.0]]))
    who = replace(model.layout.zeros(), angles=angles)
    photo, camera = Photo(torch.full((3, 224, 224), GREY, dtype=torch.uint8)), crop_camera()
    five = torch.tensor([[85.0, 90.0], [139.0, 90.0], [112.0, 118.0], [92.0, 145.0], [132.0, 145.0]])
    aligned = replace(align_face(photo, five), camera_photo=camera)
    detection = FaceDetection(torch.tensor([60.0, 60.0, 160.0, 170.0]), 1.0, five)
    mesh = model.decode(who)
    return FaceInPhoto(
        photo, detection, aligned, model.topology, mesh, who.pose, "known", who.sh, MorphableFace(model, who)
    )
