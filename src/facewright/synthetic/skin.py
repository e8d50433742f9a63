"""Skin that has lived: occluded hollows, blotches, redness, moles, stubble, folds of age and of expression.

Freckles, and the dark lines that age leaves in a face at rest, are the albedo's own (its modes are truth) and are not
drawn here a second time; here folds of age only tilt the surface.

Everything is a value per vertex of the head: a multiplier of the albedo, gloss, grain, and a tilt of the normal (a fold
is a valley: shape stays as the coefficients say). Places come from the model's regions and landmarks.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import map_coordinates
from torch import Tensor

from facewright.geometry.frames import clip_from_world, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.records import Camera
from facewright.render.rasterizers import rasterize
from facewright.render.visibility import seen_share, surface_distance

OCCLUSION_DIRECTIONS, OCCLUSION_BUFFER_PX = 48, 160
NOISE_SCALES_DM = (0.06, 0.16, 0.45)
"""Widths of a cell of the noise: spots, blotches, patches."""
NOISE_FIELDS, VARIANTS = 16, 4
BLUSHING = ("cheeks", "nose_tip", "beard", "under_eye")
MARKS, COLOR, GLOSS, GRAIN = 5, slice(0, 3), slice(3, 4), slice(4, 5)
"""What weighted sums of fields are logarithms of: red, green, blue, gloss, grain."""
FOLD_WIDTH_DM = 0.035
FOLDS: dict[str, tuple[str, ...]] = {
    "nasolabial": ("mouthSmile", "cheekSquint", "noseSneer"),
    "forehead": ("browInnerUp", "browOuterUp"),
    "frown": ("browDown",),
    "crow": ("cheekSquint", "eyeSquint"),
    "bags": (),
    "marionette": ("mouthFrown",),
    "chin": ("mouthShrugLower",),
}
"""Folds by name, and the expressions that deepen them."""
REDNESS = np.array([0.10, -0.16, -0.14])
"""What more blood does to the logarithm of the albedo, at strength 1."""


@dataclass(frozen=True)
class SkinRig:
    """What skin needs to know of a head model, measured on its mean.

    Attributes:
        masks: regions by name.
        fields: what skins are mixed from, by field and vertex: marks are exponentials of weighted sums of them.
        rows: name of a kind of field -> its first row and how many variants of it there are.
        tilts: change of the normal by each of ``FOLDS`` at full depth, head frame.
        face: vertices of the face, where moles grow.
        names: of the expressions.
    """

    masks: dict[str, Float[ndarray, " V"]]
    fields: Float[Tensor, "K V"]
    rows: dict[str, tuple[int, int]]
    tilts: Float[Tensor, "F V 3"]
    face: Int[ndarray, " N"]
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: FaceModel, marks: Float[ndarray, "68 3"]) -> "SkinRig":
        """Measure a model; ``marks`` are the iBUG-68 of its mean."""
        normals = vertex_normals(model.mean_shape, model.faces)
        at = model.mean_shape.numpy()
        masks = {name: mask.numpy().astype(np.float32) for name, mask in model.annotations.regions.items()}
        inside = masks["mouth_inside"] > 0.5
        skin = ((masks["skin"] > 0.5) & ~inside).astype(np.float32)
        teeth = np.zeros(len(at), bool)
        if "teeth" in model.annotations.face_parts:
            teeth[model.faces[model.annotations.face_parts["teeth"]].unique().numpy()] = True
        openness = np.where(inside, 1.0, _openness(model.mean_shape, normals, model))
        creases, tilts = _folds(at, normals.numpy(), marks)
        rng = np.random.default_rng(5)
        kinds = {f"noise {k}": skin * _noises(rng, at, cell, NOISE_FIELDS) for k, cell in enumerate(NOISE_SCALES_DM)}
        patchy = 1.0 + 0.35 * _noises(rng, at, NOISE_SCALES_DM[1], VARIANTS)
        kinds |= {name: skin * patchy * _mask(masks, name) for name in BLUSHING}
        grown = np.maximum(_mask(masks, "beard"), _mask(masks, "moustache"))
        kinds["stubble"] = skin * grown * (1.0 + 0.25 * _noises(rng, at, NOISE_SCALES_DM[0], VARIANTS))
        kinds["creases"] = skin * creases
        single = {"lips": _mask(masks, "lips"), "bags": _mask(masks, "under_eye"), "nose": _mask(masks, "nose_tip")}
        single |= {"hollow": np.log(openness), "lining": (inside & ~teeth) * np.log(0.5), "skin": skin}
        single |= {"eyes": masks["eyes"]}
        kinds |= {name: field[None] for name, field in single.items()}
        starts = np.cumsum([0] + [len(fields) for fields in kinds.values()]).tolist()
        rows = {name: (start, len(fields)) for start, (name, fields) in zip(starts, kinds.items(), strict=False)}
        fields = torch.from_numpy(np.concatenate(list(kinds.values())).astype(np.float32))
        tilted = torch.from_numpy((tilts * skin[:, None]).astype(np.float32))
        return cls(masks, fields, rows, tilted, np.flatnonzero(masks["face"] > 0.5), model.exp_names)

    def on(self, device: torch.device) -> "SkinRig":
        """The same with its fields on a device."""
        return replace(self, fields=self.fields.to(device), tilts=self.tilts.to(device))


@dataclass(frozen=True)
class SkinLook:
    """How somebody's skin is.

    Attributes:
        occlusion: how much hollows darken: exponent of the openness.
        redness: of cheeks, nose, chin and under the eyes.
        blotches: deviation of the logarithm of the albedo by scale.
        moles: how many.
        stubble: how dark a shaven beard shows, 0..1.
        bags: darkness under the eyes.
        age: depth of the folds, 0..1: how much they tilt without any expression, and darken with one.
        oil: factor of the gloss.
        pores: factor of the grain.
        lips: redness of the lips.
        seed: of everything that is placed by chance.
    """

    occlusion: float
    redness: tuple[float, float, float, float]
    blotches: tuple[float, float, float]
    moles: int
    stubble: float
    bags: float
    age: float
    oil: float
    pores: float
    lips: float
    seed: int


@dataclass(frozen=True)
class SkinMarks:
    """What looks do to every vertex of a batch of heads.

    Attributes:
        albedo: multiplier.
        gloss: multiplier.
        grain: multiplier.
        tilt: to be added to unit normals, head frame.
    """

    albedo: Float[Tensor, "B V 3"]
    gloss: Float[Tensor, "B V"]
    grain: Float[Tensor, "B V"]
    tilt: Float[Tensor, "B V 3"]


def draw_skin(rng: np.random.Generator) -> SkinLook:
    """Somebody's skin: mostly smooth and young, sometimes unshaven, red or old.

    Args:
        rng: random state; it advances.
    """
    age = float(rng.beta(2.0, 1.5)) if rng.random() < 0.35 else float(0.2 * rng.random())
    red = np.clip(rng.normal([0.25, 0.4, 0.1, 0.2], [0.3, 0.45, 0.15, 0.3]), -0.2, 1.5)
    return SkinLook(
        occlusion=float(rng.uniform(0.6, 1.0)),
        redness=(float(red[0]), float(red[1]), float(red[2]), float(red[3])),
        blotches=(
            float(rng.uniform(0.01, 0.05) * (1.0 + age)),
            float(rng.uniform(0.01, 0.05)),
            float(rng.uniform(0.01, 0.06)),
        ),
        moles=int(rng.poisson(1.2)),
        stubble=float(rng.uniform(0.1, 1.0)) if rng.random() < 0.25 else 0.0,
        bags=float(np.clip(rng.normal(0.2, 0.25) + 0.3 * age, 0.0, 1.0)),
        age=age,
        oil=float(np.exp(0.5 * rng.standard_normal())),
        pores=float(0.55 * np.exp(0.5 * rng.standard_normal()) * (1.0 + 0.5 * age)),
        lips=float(rng.normal(0.3, 0.5)),
        seed=int(rng.integers(2**31)),
    )


def skin_marks(looks: list[SkinLook | None], rig: SkinRig, expressions: Float[Tensor, "B K"]) -> SkinMarks:
    """Paint looks onto heads: two products for all of them.

    Args:
        looks: one each; None leaves a head as it is.
        rig: of the model, on the device that the marks are for.
        expressions: weights 0..1 of the model's expressions: smiles and frowns fold the skin.
    """
    device, count = rig.fields.device, rig.fields.shape[1]
    shown = expressions.cpu().numpy()
    moved = np.stack([_folds_shown(look, rig, row) for look, row in zip(looks, shown, strict=True)])
    weights = np.stack([_weights(look, rig, depth) for look, depth in zip(looks, moved, strict=True)])
    depths = moved + np.array([[0.0 if look is None else 0.8 * look.age] for look in looks])
    summed = torch.from_numpy(weights).float().to(device).flatten(0, 1) @ rig.fields
    summed = summed.view(len(looks), MARKS, count)
    for tone, look in zip(summed, looks, strict=True):
        if look is not None and look.moles:
            rng = np.random.default_rng(look.seed)
            dark = rng.uniform(0.4, 1.4, look.moles) * np.array([[0.7], [1.0], [1.1]])
            tone[:3, torch.from_numpy(rng.choice(rig.face, look.moles))] -= torch.from_numpy(dark).to(tone)
    factors = summed.exp_()
    tilt = torch.from_numpy(depths).float().to(device) @ rig.tilts.flatten(1)
    return SkinMarks(factors[:, :3].transpose(1, 2), factors[:, 3], factors[:, 4], tilt.view(len(looks), count, 3))


def _weights(look: SkinLook | None, rig: SkinRig, depth: Float[ndarray, " F"]) -> Float[ndarray, "M K"]:
    """How much of each field goes into the logarithms of red, green, blue, gloss and grain."""
    weights = np.zeros((MARKS, len(rig.fields)))
    if look is None:
        return weights
    rng = np.random.default_rng(look.seed)

    def add(name: str, amount: ndarray | list[float], marks: slice = COLOR) -> None:
        start, count = rig.rows[name]
        weights[marks, start + int(rng.integers(count))] += amount

    for k, sigma in enumerate(look.blotches):
        start, count = rig.rows[f"noise {k}"]
        mixed = rng.standard_normal(3)
        picked = start + rng.choice(count, 3, replace=False)
        weights[COLOR, picked] += sigma * np.outer([0.6, 1.1, 1.2], mixed / np.linalg.norm(mixed))
    for name, strength in zip(BLUSHING, look.redness, strict=True):
        add(name, strength * REDNESS)
    add("lips", 0.8 * look.lips * REDNESS)
    add("bags", -0.28 * look.bags * np.array([0.9, 1.0, 0.85]))
    add("stubble", -look.stubble * np.array([0.42, 0.38, 0.30]))
    add("hollow", look.occlusion * np.array([0.85, 1.0, 1.06]))
    add("lining", np.ones(3))
    start, count = rig.rows["creases"]
    weights[COLOR, start : start + count] = -0.3 * np.outer([0.8, 1.0, 1.0], depth)
    add("noise 1", [0.25], GLOSS)
    add("nose", [0.4], GLOSS)
    add("skin", [np.log(look.oil)], GLOSS)
    add("eyes", [np.log(0.5)], GLOSS)
    add("skin", [np.log(look.pores)], GRAIN)
    return weights


def _folds_shown(look: SkinLook | None, rig: SkinRig, expression: Float[ndarray, " K"]) -> Float[ndarray, " F"]:
    """Each fold's depth by what the face does, the more the older."""
    if look is None:
        return np.zeros(len(FOLDS))
    weights = dict(zip(rig.names, expression.tolist(), strict=True))

    def shown(name: str) -> float:
        return max(weights.get(name, 0.0), 0.5 * (weights.get(name + "Left", 0.0) + weights.get(name + "Right", 0.0)))

    moved = [max((shown(name) for name in names), default=0.0) for names in FOLDS.values()]
    return np.array(moved) * (0.25 + 0.5 * look.age)


def _mask(masks: dict[str, Float[ndarray, " V"]], name: str) -> Float[ndarray, " V"]:
    """A region; zero where the model has none of that name."""
    return masks.get(name, np.zeros_like(masks["face"]))


def _noises(rng: np.random.Generator, places: Float[ndarray, "V 3"], cell: float, count: int) -> Float[ndarray, "N V"]:
    """Smooth solid noise at places, deviation 1."""
    fields = []
    for _ in range(count):
        lattice = rng.standard_normal((16, 16, 16))
        values = map_coordinates(lattice, (places / cell + rng.uniform(0, 16, 3)).T, order=1, mode="grid-wrap")
        fields.append((values - values.mean()) / values.std())
    return np.stack(fields)


def _folds(
    places: Float[ndarray, "V 3"], normals: Float[ndarray, "V 3"], marks: Float[ndarray, "68 3"]
) -> tuple[Float[ndarray, "F V"], Float[ndarray, "F V 3"]]:
    """Valleys along lines that are drawn through the landmarks, seen from the front."""
    creases, tilts = [], []
    front = (normals[:, 2:] * 3.0).clip(0.0, 1.0)
    for name in FOLDS:
        depth = np.zeros(len(places))
        slope = np.zeros((len(places), 2))
        for line in _fold_lines(marks[:, :2])[name]:
            away = _from_line(places[:, :2], line)
            here = np.exp(-np.square(away / FOLD_WIDTH_DM).sum(1))
            depth = np.maximum(depth, here)
            slope += 2.0 * here[:, None] * away / FOLD_WIDTH_DM
        tilt = np.concatenate([-slope, np.zeros((len(places), 1))], 1)  # of height -exp(-(d/w)^2): n - grad
        tilt -= (tilt * normals).sum(1, keepdims=True) * normals
        creases.append(depth * front[:, 0])
        tilts.append(0.6 * tilt * front)
    return np.stack(creases).astype(np.float32), np.stack(tilts).astype(np.float32)


def _fold_lines(marks: Float[ndarray, "68 2"]) -> dict[str, list[Float[ndarray, "N 2"]]]:
    """Polylines of each fold, in units of the distance between the eyes' outer corners, on both sides."""
    unit = np.linalg.norm(marks[45] - marks[36])
    lines: dict[str, list[ndarray]] = {name: [] for name in FOLDS}
    for side, (wing, corner, outer, inner, brow) in ((-1.0, (31, 48, 36, 39, 21)), (1.0, (35, 54, 45, 42, 22))):

        def at(mark: int, x: float, y: float, side: float = side) -> ndarray:
            return marks[mark] + unit * np.array([side * x, y])

        lines["nasolabial"].append(np.stack([at(wing, 0.07, 0.03), at(wing, 0.15, -0.12), at(corner, 0.09, 0.02)]))
        lines["marionette"].append(np.stack([at(corner, 0.04, -0.03), at(corner, 0.06, -0.16)]))
        lines["bags"].append(np.stack([at(inner, 0.02, -0.07), at(inner, 0.13, -0.12), at(outer, -0.03, -0.09)]))
        lines["frown"].append(np.stack([at(brow, -0.10, -0.03), at(brow, -0.09, 0.10)]))
        for up in (-0.06, 0.0, 0.06):
            lines["crow"].append(np.stack([at(outer, 0.05, 0.4 * up), at(outer, 0.15, 1.4 * up)]))
    brows = marks[[19, 24]].mean(0)
    for up in (0.12, 0.22, 0.32):
        across = np.linspace(-0.42, 0.42, 7)
        lines["forehead"].append(brows + unit * np.stack([across, up - 0.1 * across**2], -1))
    lines["chin"].append(marks[57] + unit * np.array([[-0.12, -0.10], [0.0, -0.085], [0.12, -0.10]]))
    return lines


def _from_line(points: Float[ndarray, "V 2"], line: Float[ndarray, "N 2"]) -> Float[ndarray, "V 2"]:
    """From the nearest point of a polyline to each point."""
    best = np.full((len(points), 2), np.inf)
    for start, stop in pairwise(line):
        along = stop - start
        share = ((points - start) @ along / (along @ along)).clip(0.0, 1.0)
        away = points - (start + share[:, None] * along)
        nearer = np.square(away).sum(1) < np.square(best).sum(1)
        best[nearer] = away[nearer]
    return best


def _openness(vertices: Float[Tensor, "V 3"], normals: Float[Tensor, "V 3"], model: FaceModel) -> Float[ndarray, " V"]:
    """Cosine-weighted share of directions in which nothing of the head itself is in the way."""
    k = np.arange(OCCLUSION_DIRECTIONS) + 0.5
    z, turn = 1.0 - 2.0 * k / OCCLUSION_DIRECTIONS, np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z**2)
    toward = torch.from_numpy(np.stack([ring * np.cos(turn), ring * np.sin(turn), z], -1)).float()
    size = (OCCLUSION_BUFFER_PX, OCCLUSION_BUFFER_PX)
    middle = torch.tensor([(OCCLUSION_BUFFER_PX - 1) / 2])
    seen, total = torch.zeros(len(vertices)), torch.full((len(vertices),), 1e-6)
    for direction in toward:
        side = torch.linalg.cross(torch.tensor([0.1, 1.0, 0.2]), direction)
        side = torch.nn.functional.normalize(side, dim=0)
        frame = torch.stack([side, torch.linalg.cross(direction, side), direction])
        turned = ((vertices - vertices.mean(0)) @ frame.T)[None]
        focal = OCCLUSION_BUFFER_PX / 2 * 90.0 / turned.abs().max()
        camera = Camera(focal[None], middle, middle, *size, 100.0)
        clip = clip_from_world(turned, camera)
        nearest = surface_distance(clip, model.faces, rasterize(clip, model.faces, size))
        column, row, distance = project_points(turned, camera).unbind(-1)
        weight = (normals @ direction).clamp_min(0.0)
        seen += weight * seen_share(nearest, column, row, distance, tolerance=0.06)[0]
        total += weight
    return (seen / total).clamp(0.15, 1.0).numpy()
