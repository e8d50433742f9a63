"""The toy head, posed."""

import pytest
import torch

from facewright.geometry.frames import pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.records import FaceMesh


@pytest.fixture
def toy_mesh(toy_model: FaceModel) -> FaceMesh:
    """Two toy heads, turned, in the world frame."""
    zero = toy_model.layout.zeros(2)
    mesh = toy_model.decode(zero)
    angles = torch.tensor([[0.1, 0.5, -0.05], [-0.15, -0.3, 0.1]])
    vertices = pose_points(mesh.vertices, angles, torch.zeros(2, 3))
    return FaceMesh(vertices, vertex_normals(vertices, mesh.faces), mesh.albedo, mesh.faces, mesh.uv, mesh.faces_uv)
