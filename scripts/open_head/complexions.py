"""People by what colours them: skin tone as surveys measured it, blood, hair, irises, folds and marks of age.

Sources of the figures: docs/head-albedo.md.
"""

from dataclasses import dataclass

import numpy as np
from open_head.identity import ANCESTRY_MIX, RACES
from open_head.pigments import MELANIN_RANGE, SkinTable, hair_rgb, lab_from_rgb
from open_head.regions import smoothstep

TONE_DEG = {"african": (-15.0, 22.0), "asian": (30.0, 11.0), "caucasian": (46.0, 11.0)}
"""Mean and deviation of the face's individual typology angle, atan((L* - 50) / b*), by ancestry. Asian: the classes
that Liu et al. 2007 counted on sun-exposed skin of 407 Chinese women. The others are the middles of the classes that
Del Bino and Bernerd 2013 find: tan to dark, and very light to intermediate."""
MAIN_ANCESTRY = 3.0
"""Power of the shares of ancestry in colours: who is two thirds of one ancestry mostly has its colours."""
WOMEN_LIGHTER_DEG, AGE_DARKER_DEG = 4.0, 5.0
"""Between the sexes; from young to old (both: Han et al. 2006, de Rigal et al. 2010, CIE x050)."""
TONE_RANGE_DEG = (-72.0, 64.0)
BLOOD = 0.028
"""Volume fraction in the dermis of the face, median: it gives a* 10 to 12 whatever the ancestry (Xiao et al. 2017)."""
BLOOD_SD = 0.30
MEN_REDDER = 0.12
"""Difference of log blood (Han et al. 2006, Yun et al. 2010: men's faces are redder)."""
YELLOWER = {"african": 0.06, "asian": 0.22, "caucasian": 0.10}
"""Less of log blue than pigments alone give: Caucasian skin is the least yellow, Asian the most (Xiao et al. 2017)."""

SKIN_FIELDS = {
    # region: (mean, sd) of the change in log melanin, (mean, sd) in log blood, where the region's mask is 1
    "forehead": ((0.10, 0.12), (-0.05, 0.15)),
    "cheeks": ((0.00, 0.08), (0.35, 0.30)),
    "nose": ((0.05, 0.08), (0.15, 0.20)),
    "nose_tip": ((0.00, 0.05), (0.25, 0.30)),
    "under_eye": ((0.22, 0.20), (0.25, 0.20)),
    "eyelids": ((0.18, 0.18), (0.20, 0.20)),
    "lid_rim": ((-0.30, 0.10), (0.90, 0.30)),
    "nostrils": ((0.30, 0.20), (0.60, 0.20)),
    "ears": ((0.00, 0.10), (0.35, 0.25)),
    "neck": ((-0.15, 0.18), (-0.15, 0.15)),
    "scalp": ((0.05, 0.10), (-0.10, 0.10)),
    "beard": ((0.05, 0.10), (0.05, 0.12)),
    "lips": ((-0.15, 0.20), (1.40, 0.30)),
}


@dataclass(frozen=True)
class People:
    """What makes up the made-up people; every array is (N,) unless said otherwise.

    Attributes:
        tone: individual typology angle of the bare face, degrees.
        log_blood: logarithm of the volume fraction.
        undertone: yellowness of the skin beyond its pigments' (change in log blue).
        region_melanin, region_blood: region -> change of the logarithms there.
        folds: depth of the lines of age, by line; 0 none, 1 deep.
        freckles, spots: change in log melanin at their specks.
        hair, brow_hair: (N, 3) linear RGB.
        scalp, brows, brow_rise, lashes: share of the skin that hair hides; how much more of it the brows' upper edge.
        moustache, beard: the same; zero on shaven and on most female faces.
        iris: 0 blue .. 1 dark brown.
        sclera, teeth: brightness factors; redness, stain: of the sclera and the teeth.
    """

    tone: np.ndarray
    log_blood: np.ndarray
    undertone: np.ndarray
    region_melanin: dict[str, np.ndarray]
    region_blood: dict[str, np.ndarray]
    folds: dict[str, np.ndarray]
    freckles: np.ndarray
    spots: np.ndarray
    hair: np.ndarray
    brow_hair: np.ndarray
    scalp: np.ndarray
    brows: np.ndarray
    brow_rise: np.ndarray
    lashes: np.ndarray
    moustache: np.ndarray
    beard: np.ndarray
    iris: np.ndarray
    sclera: np.ndarray
    redness: np.ndarray
    teeth: np.ndarray
    stain: np.ndarray


def draw_people(count: int, rng: np.random.Generator, lines: tuple[str, ...]) -> People:
    """Sex, age and ancestry as the heads have them, evenly; then pigments, hair, irises and marks that go with them.

    Args:
        count: how many.
        rng: of the draws.
        lines: names of the lines of age.
    """
    normal, uniform = rng.standard_normal, rng.uniform
    male, old = np.arange(count) % 2 == 0, uniform(0.0, 1.0, count)
    ancestry = rng.dirichlet([ANCESTRY_MIX] * len(RACES), count)
    main = ancestry**MAIN_ANCESTRY / (ancestry**MAIN_ANCESTRY).sum(1, keepdims=True)
    mean, sd = (main @ np.array([TONE_DEG[name][k] for name in RACES]) for k in (0, 1))
    tone = mean + sd * normal(count) + WOMEN_LIGHTER_DEG * (0.5 - male) - AGE_DARKER_DEG * (old - 0.5)
    tone = np.clip(tone, *TONE_RANGE_DEG)
    light = smoothstep(tone, 0.0, 50.0)
    pheomelanin = np.exp(np.log(0.04) + light * 0.5 * normal(count))
    grey = np.clip(rng.beta(1.5, 1.5, count) * 1.6 * smoothstep(old + 0.15 * normal(count), 0.3, 0.95), 0.0, 1.0)
    fair = light * main[:, RACES.index("caucasian")]
    hair_luminance = np.clip(0.022 + 0.13 * fair + (0.006 + 0.045 * fair) * normal(count), 0.014, 0.35)
    hair = _greyed(hair_rgb(hair_luminance, pheomelanin), grey)
    brow_luminance = np.clip(0.4 * hair_luminance * np.exp(0.3 * normal(count)), 0.012, 0.2)
    brow_hair = _greyed(hair_rgb(brow_luminance, pheomelanin), 0.4 * grey)
    bald, shaven = uniform(0.0, 1.0, count) < 0.16 * male, uniform(0.0, 1.0, count) < 0.4
    growth = np.where(uniform(0.0, 1.0, count) < 0.87, uniform(0.03, 0.25, count), uniform(0.3, 0.9, count))
    beard = male * np.where(shaven, uniform(0.0, 0.15, count), growth)
    yellower = main @ np.array([YELLOWER[name] for name in RACES])
    return People(
        tone=tone,
        log_blood=np.log(BLOOD) + MEN_REDDER * (male - 0.5) + BLOOD_SD * normal(count),
        undertone=yellower + 0.02 * normal(count),
        region_melanin={name: mean + sd * normal(count) for name, ((mean, sd), _) in SKIN_FIELDS.items()},
        region_blood={
            name: mean + sd * normal(count) - (name == "lips") * 0.5 * (old - 0.5)
            for name, (_, (mean, sd)) in SKIN_FIELDS.items()
        },
        folds={name: np.clip(0.15 + 0.7 * old + 0.2 * normal(count), 0.0, 1.2) for name in lines},
        freckles=np.abs(normal(count)) * 0.7 * light * uniform(0.0, 1.0, count),
        spots=np.abs(normal(count)) * 0.6 * old,
        hair=hair,
        brow_hair=brow_hair,
        scalp=np.where(bald, uniform(0.0, 0.5, count), uniform(0.85, 1.0, count)),
        brows=np.clip(0.72 + 0.12 * male + 0.17 * normal(count), 0.15, 1.0),
        brow_rise=0.25 * normal(count),
        lashes=np.clip(0.50 - 0.10 * male + 0.15 * normal(count), 0.1, 0.9),
        moustache=np.clip(beard * uniform(0.6, 1.4, count) + ~male * uniform(0.0, 0.06, count), 0.0, 0.95),
        beard=beard,
        iris=np.clip(0.95 - 1.1 * fair * rng.beta(1.0, 1.2, count) + 0.05 * normal(count), 0.0, 1.0),
        sclera=np.clip(1.0 + 0.07 * normal(count), 0.75, 1.2),
        redness=np.abs(0.5 * normal(count)),
        teeth=np.clip(1.0 + 0.10 * normal(count) - 0.1 * (old - 0.5), 0.7, 1.25),
        stain=np.abs(0.5 * normal(count)),
    )


def typology_angle(rgb: np.ndarray) -> np.ndarray:
    """(*B,) individual typology angle, degrees (Chardon 1991), of linear RGB (*B, 3)."""
    lab = lab_from_rgb(rgb)
    return np.degrees(np.arctan2(lab[..., 0] - 50.0, lab[..., 2]))


def pigments(
    people: People,
    regions: dict[str, np.ndarray],
    where: np.ndarray,
    table: SkinTable,
    bare: np.ndarray,
    marks: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Melanin that gives each bare face its tone, with what the regions change of it.

    Args:
        people: N of them.
        regions: masks of all vertices.
        where: the h vertices asked for.
        table: colours of skin.
        bare: (k,) vertices whose mean colour is the face's tone.
        marks: (N, k, 3) share of the light that folds and specks leave there.

    Returns:
        log_melanin: (N,) of the skin that no region changes; more melanin is a smaller angle, so bisection finds it.
        log_fields: (2, N, h) logarithms of the fractions of melanin and blood.
    """
    there = _fields(people, regions, bare)
    low, high = (np.full((len(people.tone), 1), np.log(end)) for end in MELANIN_RANGE)
    for _ in range(24):
        middle = 0.5 * (low + high)
        tone = typology_angle((toned(table.rgb(middle + there[0], there[1]), people) * marks).mean(1))
        too_light = (tone > people.tone)[:, None]
        low, high = np.where(too_light, middle, low), np.where(too_light, high, middle)
    fields = _fields(people, regions, where)
    fields[0] += middle
    return middle[:, 0], fields


def toned(rgb: np.ndarray, people: People) -> np.ndarray:
    """(N, h, 3) skin with each person's undertone."""
    return rgb * np.exp(people.undertone[:, None] * [0.15, 0.0, -1.0])[:, None]


def _fields(people: People, regions: dict[str, np.ndarray], where: np.ndarray) -> np.ndarray:
    """(2, N, h) what the regions add to the logarithms of melanin and blood, the latter with each person's own."""
    melanin = np.zeros((len(people.tone), len(regions["skin"][where])))
    blood = melanin + people.log_blood[:, None]
    for name in SKIN_FIELDS:
        mask = regions[name][where]
        melanin = melanin + people.region_melanin[name][:, None] * mask
        blood = blood + people.region_blood[name][:, None] * mask
    return np.stack([melanin, blood])


def _greyed(colour: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Hair with a share of white ones."""
    return (1.0 - grey)[:, None] * colour + grey[:, None] * [0.40, 0.38, 0.36]
