"""Which vertices a network learns to see: the 68 landmarks, and many more where faces differ or move."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import TrainingError
from facewright.morphable.linear import FaceModel

QUOTAS = {
    "lid_rim": 56,
    "lips": 64,
    "brows": 32,
    "nose": 44,
    "nostrils": 12,
    "eyelids": 24,
    "under_eye": 12,
    "cheeks": 44,
    "forehead": 28,
    "beard": 40,
    "ears": 36,
    "scalp": 40,
    "neck": 12,
    "face": 32,
}
"""How many further points each region gives; regions that a model does not name give none."""
INSIDE = ("mouth_inside", "eyes", "nostrils")
"""Regions of which only their own quota is taken: nobody sees them, or they are no skin."""


def seen_points(model: FaceModel) -> Int[Tensor, " N"]:
    """Vertex ids: iBUG-68, then points spread evenly over each region of ``QUOTAS``, each beside its mirror partner.

    Points are spread over the left half and taken with their partners, so that a mirrored face shows the same points.
    A pure function of the model's mean shape and annotations.

    Args:
        model: with iBUG-68; regions and a mirror map where it knows them.

    Raises:
        TrainingError: it has no landmarks.
    """
    marks = model.annotations
    if marks.ibug68 is None:
        raise TrainingError(f"dense points expect a face model with iBUG-68 landmarks; {model.name!r} has none")
    place, partner = model.mean_shape.double().cpu(), None if marks.mirror is None else marks.mirror.cpu()
    chosen = marks.ibug68.cpu().tolist()
    taken = set(chosen)
    hidden = torch.zeros(len(place), dtype=torch.bool)
    for name in INSIDE:
        if name in marks.regions:
            hidden |= marks.regions[name].cpu() > 0.5
    everyone = torch.arange(len(place))
    for name, quota in QUOTAS.items():
        if name not in marks.regions:
            continue
        inside = marks.regions[name].cpu() > 0.5
        if name not in INSIDE:
            inside &= ~hidden
        if partner is not None:
            inside &= (place[:, 0] >= 0) & inside[partner]
        free = torch.tensor([k for k in everyone[inside].tolist() if k not in taken], dtype=torch.long)
        wanted = quota if partner is None else quota // 2
        for vertex in spread_over(place, free, wanted).tolist():
            pair = [vertex] if partner is None else [vertex, int(partner[vertex])]
            chosen += [k for k in dict.fromkeys(pair) if k not in taken]
            taken.update(pair)
    return torch.tensor(chosen, dtype=torch.long)


def spread_over(places: Float[Tensor, "V 3"], candidates: Int[Tensor, " C"], count: int) -> Int[Tensor, " N"]:
    """Farthest-point sampling: each next candidate is the one farthest from all before.

    Args:
        places: of all vertices.
        candidates: ids to choose from; the first choice is the one farthest from their middle.
        count: how many at most.
    """
    count = min(count, len(candidates))
    if count == 0:
        return candidates[:0]
    there = places[candidates]
    farthest = int((there - there.mean(0)).square().sum(-1).argmax())
    picked = [farthest]
    distance = (there - there[farthest]).square().sum(-1)
    while len(picked) < count:
        farthest = int(distance.argmax())
        picked.append(farthest)
        distance = torch.minimum(distance, (there - there[farthest]).square().sum(-1))
    return candidates[torch.tensor(picked)]
