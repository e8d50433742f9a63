"""A face model of the open head's people that shares landmarks with it and nothing else: the truth is known."""

import torch
from torch import Tensor

from facewright.morphable.linear import FaceModel
from facewright.records import Annotations, Topology


def stranger(model: FaceModel, *, modes: int = 12, landmarks: bool = True) -> tuple[FaceModel, Tensor]:
    """Another order of vertices, another mean, mixed modes, no albedo; and which vertex each was."""
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(len(model.mean_shape), generator=generator)
    place = torch.argsort(order)
    mixed = torch.linalg.qr(torch.randn(model.layout.id, model.layout.id, generator=generator)).Q[:, :modes]
    person = 0.7 * torch.randn(model.layout.id, generator=generator)
    own = model.annotations
    assert own.ibug68 is not None
    assert own.five is not None
    five = torch.where(own.five >= 0, place[own.five.clamp_min(0)], -1)
    marks = Annotations(ibug68=place[own.ibug68] if landmarks else None, five=five)
    return FaceModel(
        mean_shape=(model.mean_shape + model.id_basis @ person)[order],
        id_basis=(model.id_basis @ mixed)[order],
        exp_basis=model.exp_basis[order],
        mean_albedo=torch.full((len(order), 3), 0.3),
        albedo_basis=torch.zeros(len(order), 3, 0),
        topology=Topology(place[model.faces], annotations=marks),
        metadata={"name": "stranger", "exp_prior": "box", "albedo_space": "linear"},
    ), order
