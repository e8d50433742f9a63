"""A procedural population of albedos, and the linear modes drawn from it.

No open set of measured face albedos may be embedded, so people are made up: pigments of skin and hair, iris and teeth
drawn from ranges of the literature (docs/head-albedo.md) and painted through the head's regions.
"""

import numpy as np
from open_head.complexions import People, draw_people, pigments, toned, typology_angle
from open_head.marks import brow_height, line_masks, speck_masks
from open_head.pigments import SkinTable, lab_from_rgb
from open_head.regions import rings_from_eyeball, smoothstep
from open_head.topology import HeadTopology
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

TYPOLOGY = ("very_light", "light", "intermediate", "tan", "brown", "dark")
TYPOLOGY_DEG = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Classes of skin by individual typology angle, atan((L* - 50) / b*), and the angles between them (Chardon 1991)."""
ROOM = 2.3
"""Standard deviations between the mean albedo and black or white, at least: one value in a hundred is clamped."""
BLOCKS = {"skin": 8, "age": 3, "specks": 2, "hair": 12, "eyes": 4, "mouth": 2}
"""Modes by cause, in the order in which they are taken out of the population."""
EVENED = 0.8
"""Power of the tones' rarity that people count with in the first mode, the line through the bow of skin colours: 0 fits
the many in the middle, and the darkest come out orange; 1 fits both ends, and the many come out pale pink."""
BOW_KEPT = 0.5
"""Share of the bow itself that a mode of hue takes up: drawn apart from the tone, as modes are, it makes dark skin
orange as often as it makes it right; with half of it, two deviations still reach the surveys' dark skin."""

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


def bare_skin(people: People, regions: dict[str, np.ndarray], fields: np.ndarray, table: SkinTable) -> np.ndarray:
    """(N, h, 3) linear RGB of the head's vertices without hair, folds and specks.

    Args:
        people: N of them.
        regions: masks of these vertices.
        fields: (2, N, h) logarithms of melanin and blood.
        table: colours of skin.
    """
    rgb = toned(table.rgb(fields[0], fields[1]), people)
    # No light gets out of a nostril or from between the lids and the eye; shading knows nothing of that.
    return rgb * (1.0 - 0.6 * regions["nostrils"] - 0.1 * regions["lid_rim"])[:, None]


def light_left(folds: np.ndarray, specks: np.ndarray) -> np.ndarray:
    """(N, h, 3) share of the light that skin sends back in the shade of folds (N, h), and where specks (N, h) are."""
    return np.exp(-(folds[..., None] * [0.85, 1.0, 1.1] + specks[..., None] * [0.35, 0.55, 0.8]))


def with_hair(
    skin: np.ndarray, people: People, regions: dict[str, np.ndarray], head: np.ndarray, topology: HeadTopology
) -> np.ndarray:
    """(N, h, 3) the same with scalp hair, brows, lashes and beard."""
    beard_mask = np.maximum(regions["beard"] - regions["moustache"], 0.0)
    brows = np.clip(people.brows[:, None] + people.brow_rise[:, None] * brow_height(topology)[head], 0.0, 1.0)
    for mask, cover, colour in (
        (regions["scalp"], people.scalp[:, None], people.hair),
        (regions["brows"], brows, people.brow_hair),
        (lash_line(topology), people.lashes[:, None], 0.5 * people.brow_hair),
        (regions["moustache"], people.moustache[:, None], people.brow_hair),
        (beard_mask, people.beard[:, None], people.brow_hair),
    ):
        share = (cover * mask[head])[..., None]
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


def mouth(people: People, log_melanin: np.ndarray, topology: HeadTopology, inner: np.ndarray) -> np.ndarray:
    """(N, m, 3) teeth, gums, tongue and the mouth's lining, darker towards the throat."""
    height, gap = topology.tooth_height[inner], topology.tooth_gap[inner]
    stain = np.exp(-people.stain[:, None] * [0.02, 0.06, 0.22])
    crown = (people.teeth[:, None] * stain * TOOTH_RGB)[:, None] * (1.0 - 0.15 * gap)[:, None]
    darker_skin = np.exp(-0.1 * np.maximum(log_melanin + 3.5, 0.0))[:, None, None]
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
    lines = line_masks(topology, regions["skin"])
    crowd = draw_people(people, rng, tuple(lines))
    eyes, inner = regions["eyes"] > 0.5, regions["mouth_inside"] > 0.5
    head = ~eyes & ~inner
    here = {name: mask[head] for name, mask in regions.items()}
    folds = sum(crowd.folds[name][:, None] * mask[head] for name, mask in lines.items()).astype(np.float32)
    freckles, spots = speck_masks(topology, regions)
    specks = crowd.freckles[:, None] * freckles[head] + crowd.spots[:, None] * spots[head]
    left = light_left(folds, specks)
    bare = bare_face(regions)
    log_melanin, fields = pigments(crowd, regions, head, table, np.flatnonzero(bare), left[:, bare[head]])
    skin = bare_skin(crowd, here, fields, table).astype(np.float32)
    full = np.zeros((people, len(head), 3), np.float32)
    full[:, head] = with_hair(skin * left, crowd, regions, head, topology)
    full[:, eyes] = eyeballs(crowd, topology, eyes)
    full[:, inner] = mouth(crowd, log_melanin, topology, inner)
    full = full.reshape(people, -1)
    weight = vertex_areas(topology) * (0.2 + 0.8 * np.maximum(regions["face"], regions["ears"]))
    skin = skin.reshape(people, -1)
    root = np.repeat(np.sqrt(weight[head]), 3).astype(np.float32)
    tone = whitened_scores((skin - skin.mean(0)) * root, 1)
    tone *= np.sign(tone[:, 0] @ skin.mean(1))
    (skin_mean, skin_tone), (mean, basis_tone) = (line_through(values, tone[:, 0]) for values in (skin, full))
    total = head_spread(full - full.mean(0), head, weight)
    bow = tone**2 - 1.0
    skin, full = (
        values - (1.0 - BOW_KEPT) * bow * (bow[:, 0] @ (values - start - tone * line) / (bow**2).sum())
        for values, start, line in ((skin, skin_mean, skin_tone), (full, mean, basis_tone))
    )
    rest, columns = full - mean - tone * basis_tone, [basis_tone]
    seen = {
        "skin": (skin - skin_mean - tone * skin_tone) * root,
        "age": folds * root[::3],
        "specks": specks * root[::3],
    }
    report: dict[str, float] = {}
    for block, count in BLOCKS.items():
        if block not in seen:
            where = {"hair": head, "eyes": eyes, "mouth": inner}[block]
            visible = rest.reshape(people, -1, 3)[:, where].reshape(people, -1)
            seen[block] = visible * np.repeat(np.sqrt(weight[where]), 3).astype(np.float32)
        scores = whitened_scores(seen[block] - seen[block].mean(0), count - (block == "skin"))
        effect = (scores.T @ (rest - rest.mean(0)) / people).astype(np.float64)
        sign = np.where(effect.sum(1) < 0.0, -1.0, 1.0)
        rest = rest - scores @ effect.astype(np.float32)
        columns += list(sign[:, None] * effect)
        unexplained = head_spread(rest - rest.mean(0), head, weight)
        report[f"head_variance_explained_after_{block}"] = 1.0 - unexplained / total
    mean = symmetric(mean.astype(np.float64).reshape(-1, 3), topology)
    smooth = smooth_modes(topology, regions, mean, table, modes - len(columns))
    basis = np.concatenate([np.stack(columns, -1).reshape(len(head), 3, -1), smooth], -1)
    basis, report["face_spread_kept"] = limited(basis, mean, regions["face"])
    return mean, basis, report | sample_report(mean, basis, regions, rng)


def line_through(values: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value at score 0 and change per unit, (C,) each, of values (N, C) over scores (N,), rare scores counting more."""
    density, edges = np.histogram(scores, 24)
    rare = np.maximum(density, 1.0)[np.clip(np.digitize(scores, edges) - 1, 0, len(density) - 1)] ** -EVENED
    design = np.stack([np.ones_like(scores), scores], 1)
    weighted = design * rare[:, None]
    return tuple(np.linalg.solve(weighted.T @ design, weighted.T @ values).astype(np.float32))


def bare_face(regions: dict[str, np.ndarray]) -> np.ndarray:
    """(V,) where the face is skin without hair: what surveys measure."""
    return (regions["face"] > 0.9) & (regions["skin"] > 0.9) & (regions["brows"] < 0.05) & (regions["beard"] < 0.05)


def symmetric(values: np.ndarray, topology: HeadTopology) -> np.ndarray:
    """Mean of values (V, 3) and their mirror image."""
    return 0.5 * (values + values[topology.mirror])


def head_spread(rest: np.ndarray, head: np.ndarray, weight: np.ndarray) -> float:
    """Weighted sum of squares of offsets (N, 3 V) over the head's vertices."""
    return float((rest.reshape(len(rest), -1, 3)[:, head] ** 2 * weight[head, None]).sum())


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
    mean: np.ndarray, basis: np.ndarray, regions: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, float]:
    """Share of sampled values outside of 0..1 and the skin tones of the bare face in 1,000 samples."""
    bare = bare_face(regions)
    draws = rng.standard_normal((1000, basis.shape[-1]))
    samples = mean + np.tensordot(draws[:400], basis, axes=(1, 2))
    outside = (samples < 0.0) | (samples > 1.0)
    tones = mean[bare].mean(0) + draws @ basis[bare].mean(0).T
    lab, angle = lab_from_rgb(np.clip(tones, 1e-4, 1.0)), typology_angle(np.clip(tones, 1e-4, 1.0))
    report = {
        "clamped_share_face": float(outside[:, bare].mean()),
        "clamped_share_all": float(outside.mean()),
        "worst_undershoot_face": float(samples[:, bare].min()),
        "sampled_typology_deg_mean": float(angle.mean()),
        "sampled_typology_deg_sd": float(angle.std()),
    }
    for name, low, high in zip(TYPOLOGY, [*TYPOLOGY_DEG, -90.0], [90.0, *TYPOLOGY_DEG], strict=True):
        report[f"sampled_skin_{name}"] = float(((angle > low) & (angle <= high)).mean())
    for name, values in zip("Lab", lab.T, strict=True):
        report |= {f"sampled_skin_{name}_mean": float(values.mean()), f"sampled_skin_{name}_sd": float(values.std())}
        for share in (2, 50, 98):
            report[f"sampled_skin_{name}_p{share:02d}"] = float(np.percentile(values, share))
    return report
