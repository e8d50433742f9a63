"""A procedural population of albedos, and the linear modes drawn from it.

No open set of measured face albedos may be embedded, so people are made up: pigments of skin and hair, iris and teeth
drawn from ranges of the literature (docs/head-albedo.md) and painted through the head's regions.
"""

from dataclasses import dataclass

import numpy as np
from open_head.pigments import SkinTable, hair_rgb, lab_from_rgb
from open_head.regions import rings_from_eyeball, smoothstep
from open_head.topology import HeadTopology
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

LIGHTNESS = (24.0, 74.0)
"""L* of human skin, darkest to lightest."""
LUMINANCE_MEAN, LUMINANCE_SD = 0.28, 0.10
"""Skin's luminance Y is drawn from a Gaussian cut at that range: a linear model in linear RGB can hold just that."""
TYPOLOGY = ("very_light", "light", "intermediate", "tan", "brown", "dark")
TYPOLOGY_DEG = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Classes of skin by individual typology angle, atan((L* - 50) / b*), and the angles between them (Chardon 1991)."""
ROOM = 2.3
"""Standard deviations between the mean albedo and black or white, at least: one value in a hundred is clamped."""
BLOCKS = {"skin": 8, "hair": 12, "eyes": 4, "mouth": 2}
"""Modes by cause, in the order in which they are taken out of the population."""

SKIN_FIELDS = {
    # region: (mean, sd) of the change in log melanin, (mean, sd) in log blood, where the region's mask is 1
    "forehead": ((0.10, 0.12), (-0.05, 0.15)),
    "cheeks": ((0.00, 0.08), (0.35, 0.30)),
    "nose": ((0.05, 0.08), (0.15, 0.15)),
    "nose_tip": ((0.00, 0.05), (0.25, 0.25)),
    "under_eye": ((0.22, 0.20), (0.25, 0.20)),
    "eyelids": ((0.18, 0.18), (0.20, 0.20)),
    "lid_rim": ((-0.30, 0.10), (0.90, 0.30)),
    "nostrils": ((0.30, 0.20), (0.60, 0.20)),
    "ears": ((0.00, 0.10), (0.35, 0.25)),
    "neck": ((-0.15, 0.18), (-0.15, 0.15)),
    "scalp": ((0.05, 0.10), (-0.10, 0.10)),
    "beard": ((0.05, 0.10), (0.05, 0.12)),
    "lips": ((-0.15, 0.20), (1.40, 0.22)),
}
IRIS_RGB = np.array([
    [0.17, 0.24, 0.33], [0.15, 0.17, 0.15], [0.13, 0.09, 0.045], [0.09, 0.055, 0.030], [0.05, 0.029, 0.018],
])  # fmt: skip
"""Linear RGB of the iris from no stromal melanin (blue) over grey-green, hazel and brown to dark brown."""
SCLERA_RGB, TOOTH_RGB = np.array([0.52, 0.46, 0.42]), np.array([0.60, 0.54, 0.41])
GUM_RGB, TONGUE_RGB, MUCOSA_RGB = (
    np.array([0.40, 0.17, 0.15]),
    np.array([0.38, 0.16, 0.14]),
    np.array([0.26, 0.09, 0.08]),
)


@dataclass(frozen=True)
class People:
    """What makes up the made-up people; every array is (N,) unless said otherwise.

    Attributes:
        log_melanin, log_blood: logarithms of volume fractions.
        undertone: yellowness of the skin beyond its pigments' (change in log blue).
        region_melanin, region_blood: region -> change of the logarithms there.
        hair, brow_hair: (N, 3) linear RGB.
        scalp, brows, lashes: share of the skin that hair hides.
        moustache, beard: the same; zero on shaven and on most female faces.
        iris: 0 blue .. 1 dark brown.
        sclera, teeth: brightness factors; redness, stain: of the sclera and the teeth.
    """

    log_melanin: np.ndarray
    log_blood: np.ndarray
    undertone: np.ndarray
    region_melanin: dict[str, np.ndarray]
    region_blood: dict[str, np.ndarray]
    hair: np.ndarray
    brow_hair: np.ndarray
    scalp: np.ndarray
    brows: np.ndarray
    lashes: np.ndarray
    moustache: np.ndarray
    beard: np.ndarray
    iris: np.ndarray
    sclera: np.ndarray
    redness: np.ndarray
    teeth: np.ndarray
    stain: np.ndarray


def draw_people(count: int, rng: np.random.Generator, table: SkinTable) -> People:
    """Draw pigments: skin tone over the whole human range, hair and iris darker on average where skin is."""
    luminance = LUMINANCE_MEAN + LUMINANCE_SD * _cut_normal(rng, count, _luminance(np.array(LIGHTNESS)))
    lightness = 116.0 * np.cbrt(luminance) - 16.0
    log_blood = np.log(0.02) + 0.24 * rng.standard_normal(count) - 0.3 * smoothstep(lightness, 60.0, 74.0)
    log_melanin = table.log_melanin(lightness, log_blood)
    light = smoothstep(lightness, 42.0, 70.0)
    pheomelanin = np.exp(np.log(0.04) + light * 0.5 * rng.standard_normal(count))
    grey = (rng.uniform(0.0, 1.0, count) < 0.08) * rng.beta(1.5, 2.0, count)
    hair_luminance = np.clip(0.022 + 0.085 * light + (0.006 + 0.028 * light) * rng.standard_normal(count), 0.014, 0.35)
    hair, brow_hair = (_greyed(hair_rgb(k * hair_luminance, pheomelanin), k * grey) for k in (1.0, 0.4))
    normal, uniform = rng.standard_normal, rng.uniform
    bald, male, shaven = (uniform(0.0, 1.0, count) < share for share in (0.08, 0.5, 0.4))
    growth = np.where(uniform(0.0, 1.0, count) < 0.87, uniform(0.03, 0.25, count), uniform(0.3, 0.9, count))
    beard = male * np.where(shaven, uniform(0.0, 0.15, count), growth)
    return People(
        log_melanin=log_melanin,
        log_blood=log_blood,
        undertone=0.02 * normal(count),
        region_melanin={name: mean + sd * normal(count) for name, ((mean, sd), _) in SKIN_FIELDS.items()},
        region_blood={name: mean + sd * normal(count) for name, (_, (mean, sd)) in SKIN_FIELDS.items()},
        hair=hair,
        brow_hair=brow_hair,
        scalp=np.where(bald, uniform(0.0, 0.5, count), uniform(0.85, 1.0, count)),
        brows=np.clip(0.80 + 0.15 * normal(count), 0.2, 1.0),
        lashes=np.clip(0.45 + 0.15 * normal(count), 0.1, 0.9),
        moustache=np.clip(beard * uniform(0.6, 1.4, count) + ~male * uniform(0.0, 0.06, count), 0.0, 0.95),
        beard=beard,
        iris=np.clip(0.95 - 0.9 * light * rng.beta(0.8, 2.0, count) + 0.05 * normal(count), 0.0, 1.0),
        sclera=np.clip(1.0 + 0.07 * normal(count), 0.75, 1.2),
        redness=np.abs(0.5 * normal(count)),
        teeth=np.clip(1.0 + 0.10 * normal(count), 0.7, 1.25),
        stain=np.abs(0.5 * normal(count)),
    )


def bare_skin(people: People, regions: dict[str, np.ndarray], head: np.ndarray, table: SkinTable) -> np.ndarray:
    """(N, h, 3) linear RGB of the head's vertices without any hair."""
    log_melanin, log_blood = people.log_melanin[:, None], people.log_blood[:, None]
    for name in SKIN_FIELDS:
        mask = regions[name][head]
        log_melanin = log_melanin + people.region_melanin[name][:, None] * mask
        log_blood = log_blood + people.region_blood[name][:, None] * mask
    rgb = table.rgb(log_melanin, log_blood)
    rgb *= np.exp(people.undertone[:, None] * [0.15, 0.0, -1.0])[:, None]
    # No light gets out of a nostril or from between the lids and the eye; shading knows nothing of that.
    return rgb * (1.0 - 0.6 * regions["nostrils"][head] - 0.1 * regions["lid_rim"][head])[:, None]


def with_hair(
    skin: np.ndarray, people: People, regions: dict[str, np.ndarray], head: np.ndarray, lash_line: np.ndarray
) -> np.ndarray:
    """(N, h, 3) the same with scalp hair, brows, lashes and beard."""
    beard_mask = np.maximum(regions["beard"] - regions["moustache"], 0.0)
    for mask, cover, colour in (
        (regions["scalp"], people.scalp, people.hair),
        (regions["brows"], people.brows, people.brow_hair),
        (lash_line, people.lashes, 0.5 * people.brow_hair),
        (regions["moustache"], people.moustache, people.brow_hair),
        (beard_mask, people.beard, people.brow_hair),
    ):
        share = (cover[:, None] * mask[head])[..., None]
        skin = (1.0 - share) * skin + share * colour[:, None]
    return skin


def eyeballs(people: People, topology: HeadTopology, eyes: np.ndarray) -> np.ndarray:
    """(N, e, 3) pupil, iris with a dark rim and a lighter middle, sclera that reddens away from it."""
    angle = np.degrees(topology.eye_angle[eyes])
    stops = np.linspace(0.0, 1.0, len(IRIS_RGB))
    iris = np.stack([np.interp(people.iris, stops, IRIS_RGB[:, c]) for c in range(3)], 1)
    ring = np.interp(angle, [7.0, 9.0, 14.5, 19.0, 22.4], [0.8, 1.15, 1.1, 0.9, 0.35])
    far = smoothstep(angle, 30.0, 75.0)
    red = 1.0 - (people.redness[:, None] * (0.05 + 0.12 * far) + 0.1 * far)[..., None] * [0.4, 1.0, 0.9]
    sclera = people.sclera[:, None, None] * SCLERA_RGB * red
    in_iris, in_pupil = (angle < 22.4)[:, None], (angle < 7.0)[:, None]
    return np.where(in_pupil, 0.006, np.where(in_iris, iris[:, None] * ring[:, None], sclera))


def mouth(people: People, topology: HeadTopology, inner: np.ndarray) -> np.ndarray:
    """(N, m, 3) teeth, gums, tongue and the mouth's lining, darker towards the throat."""
    height, gap = topology.tooth_height[inner], topology.tooth_gap[inner]
    stain = np.exp(-people.stain[:, None] * [0.02, 0.06, 0.22])
    crown = (people.teeth[:, None] * stain * TOOTH_RGB)[:, None] * (1.0 - 0.15 * gap)[:, None]
    darker_skin = np.exp(-0.1 * np.maximum(people.log_melanin + 3.5, 0.0))[:, None, None]
    soft = np.where(topology.vertex_mask("tongue")[inner][:, None], TONGUE_RGB, MUCOSA_RGB)
    soft = np.where((height > -5.0)[:, None], GUM_RGB, soft) * darker_skin
    depth = 0.15 + 0.85 * smoothstep(topology.vertices[inner, 2], 0.75, 1.4)
    return np.where(((height >= 0.0) & (height < 5.0))[:, None], crown, soft) * depth[:, None]


def build_albedo(
    topology: HeadTopology, regions: dict[str, np.ndarray], *, modes: int = 60, seed: int = 0, people: int = 2000
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Mean albedo and its modes.

    Returns:
        mean: (V, 3) linear RGB.
        basis: (V, 3, modes) linear RGB per standard deviation.
        report: figures about the population and about samples of the modes.
    """
    rng, table = np.random.default_rng(seed), SkinTable()
    crowd = draw_people(people, rng, table)
    eyes, inner = regions["eyes"] > 0.5, regions["mouth_inside"] > 0.5
    head = ~eyes & ~inner
    skin = bare_skin(crowd, regions, head, table).astype(np.float32)
    full = np.zeros((people, len(head), 3), np.float32)
    full[:, head] = with_hair(skin, crowd, regions, head, lash_line(topology))
    full[:, eyes] = eyeballs(crowd, topology, eyes)
    full[:, inner] = mouth(crowd, topology, inner)
    mean = full.mean(0, dtype=np.float64)
    area = vertex_areas(topology)
    weight = area * (0.2 + 0.8 * np.maximum(regions["face"], regions["ears"]))
    rest = (full - mean).reshape(people, -1)
    skin_spread = (skin - skin.mean(0)).reshape(people, -1)
    total = float((rest.reshape(full.shape)[:, head] ** 2 * weight[head, None]).sum())
    columns: list[np.ndarray] = []
    report: dict[str, float] = {}
    for block, count in BLOCKS.items():
        where = {"skin": head, "hair": head, "eyes": eyes, "mouth": inner}[block]
        seen = skin_spread if block == "skin" else rest.reshape(full.shape)[:, where].reshape(people, -1)
        scores = whitened_scores(seen * np.repeat(np.sqrt(weight[where]), 3).astype(np.float32), count)
        effect = (scores.T @ rest / people).astype(np.float64)
        sign = np.where(effect.sum(1) < 0.0, -1.0, 1.0)
        rest = rest - scores @ effect.astype(np.float32)
        columns += list(sign[:, None] * effect)
        left = float((rest.reshape(full.shape)[:, head] ** 2 * weight[head, None]).sum())
        report[f"head_variance_explained_after_{block}"] = 1.0 - left / total
    smooth = smooth_modes(topology, regions, mean, table, modes - len(columns))
    basis = np.concatenate([np.stack(columns, -1).reshape(len(head), 3, -1), smooth], -1)
    basis, report["face_spread_kept"] = limited(basis, mean, regions["face"])
    return mean, basis, report | sample_report(mean, basis, regions, head, rng)


def lash_line(topology: HeadTopology) -> np.ndarray:
    """(V,) the edges of the lids, the upper's more than the lower's."""
    eye = topology.vertices[topology.vertex_mask("left_eye")]
    above = smoothstep(topology.vertices[:, 1], eye[:, 1].mean() - 0.03, eye[:, 1].mean() + 0.02)
    share = np.array([0.0, 0.0, 0.3, 0.9, 1.0, 0.35])
    return share[np.minimum(rings_from_eyeball(topology), 6) % 6] * (0.3 + 0.7 * above)


def vertex_areas(topology: HeadTopology) -> np.ndarray:
    """(V,) a third of the area of the triangles at each vertex, dm^2."""
    corners = topology.vertices[topology.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.bincount(topology.faces.ravel(), np.repeat(area / 3.0, 3), len(topology.vertices))


def whitened_scores(seen: np.ndarray, count: int) -> np.ndarray:
    """(N, count) principal scores of centred rows, unit variance each, largest first."""
    gram = (seen @ seen.T).astype(np.float64)
    vectors = eigh(gram, subset_by_index=[len(gram) - count, len(gram) - 1])[1][:, ::-1]
    scores = vectors * np.sqrt(len(seen))
    return (scores * np.where(scores[np.abs(scores).argmax(0), np.arange(count)] < 0.0, -1.0, 1.0)).astype(np.float32)


def smooth_modes(
    topology: HeadTopology, regions: dict[str, np.ndarray], mean: np.ndarray, table: SkinTable, count: int
) -> np.ndarray:
    """(V, 3, count) blotches: low eigenfunctions of the skin's Laplacian in melanin and blood, fading with frequency.

    They stand for what the population does not vary (freckled areas, tan lines, one-sided marks) and are antisymmetric
    as often as symmetric. They vanish on eyes, in the mouth and under hair.
    """
    values, functions = laplacian_eigenfunctions(
        topology, regions["eyes"] + regions["mouth_inside"] < 0.5, count // 2 + 2
    )
    values, functions = values[1:], functions[:, 1:]
    window = (regions["skin"] + 0.6 * regions["lips"]) * (1.0 - regions["scalp"]) * (1.0 - regions["lid_rim"])
    decay = 1.0 / (1.0 + values / values[5])
    step = 0.1
    less_melanin, less_blood = np.array([0.0, step, 0.0]), np.array([0.0, 0.0, step])
    here, paler, less_red = table.rgb(np.log(0.06) - less_melanin, np.log(0.02) - less_blood)
    colours = [0.05 * (paler / here - 1.0) / step, 0.055 * (less_red / here - 1.0) / step]
    modes = [
        (window * decay[k] * functions[:, k])[:, None] * mean * colour for k in range(len(values)) for colour in colours
    ]
    return np.stack(modes[:count], -1)


def laplacian_eigenfunctions(topology: HeadTopology, where: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest eigenvalues, 1/dm^2, and eigenfunctions (V, count), unit mean square, of the skin's surface."""
    faces = topology.faces[where[topology.faces].all(1)]
    corners = topology.vertices[faces]
    size = len(topology.vertices)
    stiffness = sparse.csr_matrix((size, size))
    for k in range(3):
        i, j, o = faces[:, (k + 1) % 3], faces[:, (k + 2) % 3], corners[:, k]
        a, b = corners[:, (k + 1) % 3] - o, corners[:, (k + 2) % 3] - o
        cotangent = (a * b).sum(1) / np.maximum(np.linalg.norm(np.cross(a, b), axis=1), 1e-9)
        half = 0.5 * np.maximum(cotangent, 1e-3)
        stiffness = stiffness + sparse.csr_matrix(
            (np.concatenate([half, half, -half, -half]), (np.r_[i, j, i, j], np.r_[i, j, j, i])), (size, size)
        )
    mass = vertex_areas(topology)
    kept = np.flatnonzero(np.bincount(faces.ravel(), minlength=size))
    system, weights = sparse.csr_matrix(stiffness)[kept][:, kept], sparse.diags(mass[kept])
    values, vectors = eigsh(system.tocsc(), count, weights.tocsc(), sigma=-0.01, v0=np.ones(len(kept)))
    vectors = vectors / np.sqrt((mass[kept, None] * vectors**2).sum(0) / mass[kept].sum())
    vectors *= np.where(vectors[np.abs(vectors).argmax(0), np.arange(count)] < 0.0, -1.0, 1.0)
    functions = np.zeros((size, count))
    functions[kept] = vectors
    return values, functions


def limited(basis: np.ndarray, mean: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    """Modes shrunk where values would leave 0..1 within ``ROOM`` deviations, and the share of the face's spread kept.

    The population is skewed where the mean is dark (hair, pupils, the blue of dark skin); a Gaussian is not.
    """
    spread = np.sqrt((basis**2).sum(2))
    factor = np.minimum(1.0, np.minimum(mean, 1.0 - mean) / np.maximum(ROOM * spread, 1e-12))
    kept = np.sqrt(((factor * spread) ** 2 * face[:, None]).sum() / (spread**2 * face[:, None]).sum())
    return basis * factor[..., None], float(kept)


def sample_report(
    mean: np.ndarray, basis: np.ndarray, regions: dict[str, np.ndarray], head: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Share of sampled values outside of 0..1 and the range of sampled skin tones."""
    draws = rng.standard_normal((400, basis.shape[-1]))
    samples = mean + np.tensordot(draws, basis, axes=(1, 2))
    outside = (samples < 0.0) | (samples > 1.0)
    face = regions["face"] > 0.9
    bare = face & (regions["skin"] > 0.9) & (regions["brows"] < 0.05) & (regions["beard"] < 0.05)
    tone = lab_from_rgb(np.clip(samples[:, bare].mean(1), 1e-4, 1.0))
    report = {
        "clamped_share_face": float(outside[:, bare].mean()),
        "clamped_share_all": float(outside.mean()),
        "worst_undershoot_face": float(samples[:, bare].min()),
    }
    angle = np.degrees(np.arctan2(tone[:, 0] - 50.0, tone[:, 2]))
    for name, low, high in zip(TYPOLOGY, [*TYPOLOGY_DEG, -90.0], [90.0, *TYPOLOGY_DEG], strict=True):
        report[f"sampled_skin_{name}"] = float(((angle > low) & (angle <= high)).mean())
    for name, values in {"L": tone[:, 0], "a": tone[:, 1], "b": tone[:, 2]}.items():
        for share in (2, 50, 98):
            report[f"sampled_skin_{name}_p{share:02d}"] = float(np.percentile(values, share))
    return report


def _luminance(lightness: np.ndarray) -> np.ndarray:
    return ((lightness + 16.0) / 116.0) ** 3


def _cut_normal(rng: np.random.Generator, count: int, luminance: np.ndarray) -> np.ndarray:
    """Standard normal draws whose luminance stays in the range."""
    low, high = (luminance - LUMINANCE_MEAN) / LUMINANCE_SD
    drawn = rng.standard_normal(3 * count)
    return drawn[(drawn > low) & (drawn < high)][:count]


def _greyed(colour: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Hair with a share of white ones."""
    return (1.0 - grey)[:, None] * colour + grey[:, None] * [0.40, 0.38, 0.36]
