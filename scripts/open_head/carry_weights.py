r"""Carry a network's weights from one build of the open head to another, without training.

A network says how a face differs from the mean, in the modes it was taught. The new build's modes span the same people:
the linear map between the codes of drawn people is put into the last layers. The mean itself is the new one: that it
has become a better one is the point. Landmarks that lie on other vertices than before are read off the old ones of the
same eye, by weights that sum to one.

    python scripts/open_head/carry_weights.py --old OLD.npz --new src/facewright/assets/open_head.npz \\
        --weights OLD.safetensors --out src/facewright/assets/rnet_open.safetensors
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.geometry.rotations import angles_from_rotation
from facewright.geometry.similarity import similarity_from_points
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import Annotations, Topology
from facewright.regress.rnet import LANDMARKS, RNet
from facewright.regress.weights import load_weights, read_card, save_weights

HIDDEN_WEIGHT = 0.05
"""Importance of what is not face (skull, neck, inside of the mouth) when codes are matched."""
RIDGE = 1e-4
"""Cost of large codes, against the mean square of the offsets."""
EYES = (tuple(range(36, 42)), tuple(range(42, 48)))
PEOPLE, SEED = 400, 7


@dataclass(frozen=True)
class Arguments:
    """Carry weights over to a new build of their face model."""

    old: Path
    """The head that the weights were made for."""
    new: Path
    """The head that shall decode them; it starts with the old one's vertices."""
    weights: Path
    """The network."""
    out: Path
    """Where to write it."""


def old_head(path: Path) -> FaceModel:
    """What is needed of a head of any format: bases, landmarks, masks."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "metadata"}
        metadata = json.loads(file["metadata"].tobytes())
    bases = {name: arrays[name].float() for name in ("id_basis", "exp_basis", "albedo_basis")}
    masks = {name: arrays[f"region/{name}"] for name in ("face", "photometric")}
    notes = Annotations(ibug68=arrays["ibug68"].long(), regions=masks)
    topology = Topology(arrays["faces"].long(), annotations=notes, morph_names=tuple(metadata["exp_names"]))
    means = {name: arrays[name] for name in ("mean_shape", "mean_albedo")}
    return FaceModel(**means, **bases, topology=topology, metadata=metadata)


def code_map(
    old: Float[Tensor, "V 3 K"], new: Float[Tensor, "W 3 L"], importance: Float[Tensor, " V"]
) -> Float[Tensor, "L K"]:
    """New codes per old code: least squares over all people of the old Gaussian, whose codes are independent.

    Args:
        old: basis that the codes belong to.
        new: basis that shall express them; its first V vertices are the old ones.
        importance: of a vertex's squared distance.
    """
    scale = importance.sqrt()[:, None, None].double()
    wanted, given = ((scale * basis[: len(old)].double()).flatten(0, 1) for basis in (old, new))
    gram = given.T @ given
    return torch.linalg.solve(gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram)), given.T @ wanted)


def landmark_map(old: FaceModel, new: FaceModel) -> Float[Tensor, "68 68"]:
    """Rows of weights that read the new landmarks off the old ones, fitted on drawn people of the old build."""
    before, after = _landmarks(old), _landmarks(new)
    weights = torch.eye(LANDMARKS, dtype=torch.float64)
    drawn = sample_coefficients(old, torch.Generator().manual_seed(SEED), PEOPLE)
    seen = [old.points(ids, drawn.id, drawn.exp).double() for ids in (before, after)]
    for number in (before != after).nonzero()[:, 0].tolist():
        eye = next(eye for eye in EYES if number in eye)
        around, wanted = seen[0][:, list(eye)], seen[1][:, number]
        # relative to the first point of the eye, so that the weights sum to one
        system = (around[:, 1:] - around[:, :1]).transpose(1, 2).flatten(0, 1)
        shares = torch.linalg.lstsq(system, (wanted - around[:, 0]).flatten()[:, None]).solution[:, 0]
        weights[number] = 0.0
        weights[number, list(eye)] = torch.cat([1.0 - shares.sum(0, keepdim=True), shares])
    return weights


def carried(net: RNet, old: FaceModel, new: FaceModel) -> RNet:
    """The network with its last layers answering for the new head (in place)."""
    face = old.annotations.regions["face"]
    importance = HIDDEN_WEIGHT + (1.0 - HIDDEN_WEIGHT) * face
    _apply(_linear(net, "id"), code_map(old.id_basis, new.id_basis, importance))
    skin = HIDDEN_WEIGHT + (1.0 - HIDDEN_WEIGHT) * old.annotations.regions["photometric"]
    shade = code_map(old.albedo_basis, new.albedo_basis, skin)
    lighter = (old.mean_albedo - new.mean_albedo[: len(old.mean_albedo)])[..., None]
    _apply(_linear(net, "tex"), shade, code_map(lighter, new.albedo_basis, skin)[:, 0])
    # old = rotation new + translation: both heads are symmetric, so the rotation is a nod, the first of the angles
    marks = _landmarks(old)[17:]
    rest = [model.mean_shape[marks].double() for model in (new, old)]
    _, rotation, translation = similarity_from_points(*rest, with_scale=False)
    for name, shift in {"angles": angles_from_rotation(rotation), "xy": translation[:2], "z": translation[2:]}.items():
        _linear(net, name).bias.add_(shift)
    if net.landmark_head is not None:
        mixed = landmark_map(old, new).float()
        for parameter in (net.landmark_head.weight, net.landmark_head.bias):
            answers = parameter.unflatten(0, (LANDMARKS, 3))
            points = torch.einsum("ij,jk...->ik...", mixed, answers[:, :2])
            parameter.copy_(torch.cat([points, answers[:, 2:]], 1).flatten(0, 1))
    return net


def _landmarks(model: FaceModel) -> Int[Tensor, "68"]:
    ids = model.annotations.ibug68
    assert ids is not None
    return ids


def _linear(net: RNet, name: str) -> nn.Linear:
    head = net.heads[name]
    assert isinstance(head, nn.Linear)
    return head


def _apply(head: nn.Linear, matrix: Float[Tensor, "L K"], offset: Float[Tensor, " L"] | None = None) -> None:
    head.weight.copy_(matrix.float() @ head.weight)
    head.bias.copy_(matrix.float() @ head.bias + (0.0 if offset is None else offset.float()))


@torch.no_grad()
def main(arguments: Arguments) -> None:
    """Read, carry over, write."""
    old, new = old_head(arguments.old), load_face_model(arguments.new)
    net = carried(load_weights(arguments.weights), old, new)
    card = read_card(arguments.weights)
    version = new.metadata["version"]
    recipe = f"{card.recipe}; last layers carried over to version {version} of the head by least squares"
    card = replace(card, face_model_edition=new.edition, recipe=recipe, figures={})
    save_weights(net, card, arguments.out, half=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
