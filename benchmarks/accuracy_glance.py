"""What R-Net's second glance brings, on drawings that nothing was learnt from: first answers beside corrected ones.

    facewright train synthesize --out held --count 1472 --first-seed 500000
    python benchmarks/accuracy_glance.py held [--weights open] [--learn DATA]

Every picture and its mirror image, without refinement. ``--learn`` also says what a linear read-out, learnt on other
drawings, finds of the difference between both lids in the trunk's last map, and in its first at the network's own lid
points.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.regress.glance import LANDMARKS, SecondGlance
from facewright.regress.rnet import RNet, RNetPrediction, corrected, said
from facewright.regress.weights import load_weights
from facewright.train.glancing import Glanced, glanced, joined
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.losses.likeness import likeness_error
from facewright.train.losses.likeness_terms import FaceRig, make_rig
from facewright.train.shards import load_data

BATCH = 64
SIDES = {
    "lids": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "gaze": ("eyeLookInLeft", "eyeLookInRight"),
}
LIDS = slice(36, 48)
RIDGE = 1e3
"""Of the read-outs, whose features have deviation 1."""


@dataclass(frozen=True)
class Arguments:
    """Which network looks at which drawings."""

    data: tyro.conf.Positional[Path]
    """Drawings that nothing was learnt from."""
    weights: str = "open"
    """An R-Net with a second glance."""
    learn: Path | None = None
    """Drawings for the read-outs."""
    most: int = 10_000
    """How many of those."""


def looked(net: RNet, model: FaceModel, rig: FaceRig, data: Path, most: int) -> Glanced:
    """Pictures and their mirror images, as the second glance sees them."""
    stored = load_data(data)
    stream = BatchStream([stored], batch_size=BATCH, crop_size=net.crop_size, layout=model.layout, jitter=NO_JITTER)
    steps = min(most, len(stored)) // BATCH
    batches = (stream.batch(step).to(torch.device("cpu")) for step in range(steps))
    return joined(part for batch in batches for part in glanced(net, model, rig, batch))


def row(name: str, answer: RNetPrediction, seen: Glanced, model: FaceModel, rig: FaceRig) -> None:
    """Print the figures of answers."""
    found, truth, names = answer.coefficients, seen.truth, model.exp_names
    yaw = torch.rad2deg(truth.angles[:, 1].abs())
    off = (said(answer.points_px)[:, :LANDMARKS] - seen.points[:, :LANDMARKS, :2].float()).norm(dim=-1).mean(1)
    places = [off[(yaw >= low) & (yaw < high)].mean() for low, high in ((0, 30), (30, 60), (60, 180))]
    lids = [names.index(side) for side in SIDES["lids"]]
    shut = truth.exp[:, lids]
    winks = ((shut > 0.7).sum(1) == 1) & ((shut < 0.35).sum(1) == 1) & (yaw < 34)
    wink = (found.exp - truth.exp)[winks][:, lids].abs().amax(1).mean()
    front = yaw < 34
    rms = (found.exp - truth.exp).square().mean().sqrt()
    sides = {
        gesture: correlation(difference(found.exp, names, pair)[front], difference(truth.exp, names, pair)[front])
        for gesture, pair in SIDES.items()
    }
    likeness = likeness_error(rig.sample, found.id, truth.id, truth.angles).mean()
    print(
        f"{name}: likeness {likeness:.3f} mm; 68 points {', '.join(f'{place:.3f}' for place in places)} px; "
        f"expression {rms:.4f}; {int(winks.sum())} winks {wink:.3f}; "
        f"left less right {', '.join(f'{k} {v:.3f}' for k, v in sides.items())}"
    )


def difference(exp: Float[Tensor, "B K"], names: tuple[str, ...], pair: tuple[str, str]) -> Float[Tensor, " B"]:
    """Weight of the left side less that of the right."""
    return exp[:, names.index(pair[0])] - exp[:, names.index(pair[1])]


def correlation(first: Float[Tensor, " B"], second: Float[Tensor, " B"]) -> float:
    """Pearson's."""
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def read_out(features: list[Float[Tensor, "N F"]], wanted: list[Float[Tensor, " N"]]) -> float:
    """Correlation of a ridge regression, learnt on the first of both lists, with the truth of the second."""
    mean, deviation = features[0].mean(0), features[0].std(0) + 1e-6
    learn, test = ((part - mean) / deviation for part in features)
    gram = learn.T @ learn + RIDGE * torch.eye(learn.shape[1])
    weights = torch.linalg.solve(gram, learn.T @ (wanted[0] - wanted[0].mean()))
    return correlation(test @ weights, wanted[1])


@torch.no_grad()
def main(arguments: Arguments) -> None:
    """Look and print."""
    model = load_face_model("open")
    net: RNet = load_weights(arguments.weights, layout=model.layout, edition=model.edition, kind="rnet")
    rig = make_rig(model, net.point_ids)
    seen = looked(net, model, rig, arguments.data, arguments.most)
    first = net.predict_from(seen.pooled.float())
    glance = net.glance
    assert isinstance(glance, SecondGlance)  # ``glanced`` has refused others
    truth = seen.truth
    mean = likeness_error(rig.sample, 0.0 * truth.id, truth.id, truth.angles).mean()
    print(f"{len(seen)} looks; mean head {mean:.3f} mm")
    row("first answer", first, seen, model, rig)
    row("second glance", corrected(first, glance(seen.features.float()), net.crop_size / 2.0), seen, model, rig)
    if arguments.learn is None:
        return
    both = [looked(net, model, rig, arguments.learn, arguments.most), seen]
    front = [part.truth.angles[:, 1].abs() < 0.6 for part in both]
    sides = [difference(part.truth.exp, model.exp_names, SIDES["lids"]) for part in both]
    wanted = [side[rows] for side, rows in zip(sides, front, strict=True)]
    channels = net.maps(torch.zeros(1, 3, net.crop_size, net.crop_size))[0].shape[1]
    lids = [part.features.unflatten(1, (-1, LANDMARKS))[:, :channels, LIDS].flatten(1).float() for part in both]
    for name, features in (("last map", [part.pooled.float() for part in both]), ("first map at the lids", lids)):
        print(f"read-out of {name}: {read_out([x[f] for x, f in zip(features, front, strict=True)], wanted):.2f}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
