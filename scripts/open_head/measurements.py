"""Head measurements of adults: how they are taken on the model, and what surveys of people found.

Sources (all works of the US government or of its contractors, public):
  NIOSH     head-and-face survey of 2003, 2,543 men and 1,454 women, calipers; Zhuang & Bradtmiller 2005 (J. Occup.
            Environ. Hyg. 2:567-576). Mean and deviation of the released sample (RD-10130-2020-0, table
            RespiratorUsersData-all-subjects), unweighted: it draws on all population groups on purpose.
  ANSUR     US Army 1988, 1,774 men and 2,208 women; Gordon et al. 1989, NATICK/TR-89/044 (ADA225094), page of the PDF.
  ANSUR II  US Army 2012, 4,082 men and 1,986 women; Gordon et al. 2014, NATICK/TR-15/007 (ADA611869).
Where surveys with calipers are silent, distances and depths on the mean heads of two openly licensed models:
  ICT       ICT-FaceKit Light (University of Southern California, MIT).
  canonical MediaPipe's canonical face (Apache-2.0).
"""

from dataclasses import dataclass

import numpy as np
from open_head.topology import HeadTopology

SEXES = ("male", "female")


@dataclass(frozen=True)
class Measurement:
    """A caliper distance.

    Attributes:
        name: of the dimension.
        first: a vertex of `base.obj`, or "pupil".
        second: the same; "mirror" is the mirror image of ``first``.
        axis: coordinate along which it is taken (1 up, 2 to the front) of a level head; None is the straight distance.
        male: mean and standard deviation, mm; no deviation where only the mean of everybody is set.
        female: the same.
        source: survey and column or page of the PDF.
    """

    name: str
    first: int | str
    second: int | str
    axis: int | None
    male: tuple[float, float | None]
    female: tuple[float, float | None]
    source: str


SELLION, SUBNASALE, PRONASALE, MENTON, GLABELLA = 132, 317, 5054, 732, 227
BACK_OF_HEAD, TOP_OF_HEAD = 962, 881
TRAGION, ZYGION, GONION, EURION, FRONTOTEMPORALE = 12306, 7038, 7460, 7565, 7439
ALARE, CHEILION, INFRAORBITALE = 11673, 7249, 7610
"""Vertices of `base.obj`; paired ones on the subject's left."""

TRAGION_TOP = "ANSUR II, tragiontopofhead"
ANSUR_FRONTAL = "ANSUR, p. 541"
MEASUREMENTS = (
    Measurement("head breadth", EURION, "mirror", None, (154.3, 5.5), (147.8, 5.2), "ANSUR II, headbreadth"),
    Measurement("head length", GLABELLA, BACK_OF_HEAD, None, (199.5, 7.0), (189.8, 7.4), "ANSUR II, headlength"),
    Measurement("bizygomatic breadth", ZYGION, "mirror", None, (143.9, 6.9), (136.2, 6.5), "NIOSH, BIZYGOBR"),
    Measurement("bigonial breadth", GONION, "mirror", None, (120.7, 10.7), (111.6, 9.3), "NIOSH, BIGONLBR"),
    Measurement("minimum frontal breadth", FRONTOTEMPORALE, "mirror", None, (105.1, 5.2), (103.3, 4.8), ANSUR_FRONTAL),
    Measurement("menton-sellion length", MENTON, SELLION, None, (123.2, 7.2), (114.2, 6.5), "NIOSH, MENSELL"),
    Measurement("subnasale-sellion length", SUBNASALE, SELLION, None, (51.9, 4.1), (47.7, 3.8), "NIOSH, SUBNASAL"),
    Measurement("nose breadth", ALARE, "mirror", None, (37.8, 4.8), (35.8, 4.9), "NIOSH, NOSEBR"),
    Measurement("lip length", CHEILION, "mirror", None, (51.7, 4.3), (49.2, 4.5), "NIOSH, LIPLTH"),
    Measurement("interpupillary distance", "pupil", "mirror", None, (65.1, 3.8), (63.1, 4.0), "NIOSH, INTPUPBR"),
    Measurement("bitragion breadth", TRAGION, "mirror", None, (144.8, 6.0), (136.4, 5.2), "ANSUR, p. 491"),
    Measurement("tragion to top of head", TRAGION, TOP_OF_HEAD, 1, (131.1, 6.2), (126.5, 6.5), TRAGION_TOP),
    Measurement("tragion to back of head", TRAGION, BACK_OF_HEAD, 2, (98.9, 5.8), (97.4, 5.5), "ANSUR, p. 565"),
    Measurement("sellion to back of head", SELLION, BACK_OF_HEAD, 2, (197.0, 7.1), (189.0, 6.6), "ANSUR, p. 551"),
    Measurement("pronasale to back of head", PRONASALE, BACK_OF_HEAD, 2, (219.2, 8.0), (209.7, 7.5), "ANSUR, p. 547"),
    Measurement("subnasale to back of head", SUBNASALE, BACK_OF_HEAD, 2, (203.5, 8.3), (195.7, 8.0), "ANSUR, p. 559"),
    Measurement("menton to back of head", MENTON, BACK_OF_HEAD, 2, (182.4, 10.5), (173.3, 9.8), "ANSUR, p. 531"),
)

UPPER_LIP, LOWER_LIP = (474, 455), (493, 492)
"""Where the lips meet and where their red ends, in the middle."""

BRIDGE = (131, 201)
"""37 and 71 hundredths of the way down from sellion to the nose tip."""
RIDGE = "the straight line from sellion to pronasale, and {} mm before it: canonical {}"

APPEARANCE = (
    Measurement("eye fissure length", 13365, 13377, None, (29.3, 1.6), (28.7, 1.5), "visible lid margins"),
    Measurement("eye fissure height", 13353, 13370, None, (8.8, 0.8), (9.2, 0.8), "with relaxed lids"),
    Measurement("upper lip height", *UPPER_LIP, None, (9.2, 1.6), (9.0, 1.5), "the red only, all populations"),
    Measurement("lower lip height", *LOWER_LIP, None, (10.6, 1.7), (10.2, 1.6), "the red only, all populations"),
    Measurement(
        "upper nose bridge to back of head",
        BRIDGE[0],
        BACK_OF_HEAD,
        2,
        (206.2, 7.4),
        (197.7, 6.9),
        RIDGE.format(1.0, 1.0),
    ),
    Measurement(
        "lower nose bridge to back of head",
        BRIDGE[1],
        BACK_OF_HEAD,
        2,
        (214.4, 7.8),
        (205.3, 7.3),
        RIDGE.format(1.6, 1.7),
    ),
    Measurement("pupil to subnasale height", "pupil", SUBNASALE, 1, (47.4, 3.6), (43.4, 3.4), "4 mm below sellion"),
    Measurement("sellion to top of head", SELLION, TOP_OF_HEAD, 1, (112.0, 6.9), (105.3, 6.6), "ANSUR, p. 553"),
)
"""Calibrated too, but not claimed: what surveys with calipers do not take, and what the table covers already."""


def _everybody(name: str, first: int, second: int | str, axis: int | None, mean: float, source: str) -> Measurement:
    """A measurement of which only the mean of men and women together is set: people differ in it as they are drawn."""
    return Measurement(name, first, second, axis, (mean, None), (mean, None), source)


OPEN_MEANS = "ICT {}, canonical {}"
INNER_CANTHUS, OUTER_CANTHUS, UPPER_LID, BROW, BRIDGE_TOP, NOSE_BASE = 13365, 13377, 13353, 6998, 133, 7096
PROPORTIONS = (
    _everybody("inner canthal distance", INNER_CANTHUS, "mirror", None, 35.4, "Bouhadana et al. 2022"),
    _everybody("sellion before outer canthus", SELLION, OUTER_CANTHUS, 2, 21.3, OPEN_MEANS.format(21.3, 20.6)),
    _everybody("sellion before upper lid", SELLION, UPPER_LID, 2, 15.1, "canonical 15.1"),
    _everybody("brow before outer canthus", BROW, OUTER_CANTHUS, 2, 13.0, OPEN_MEANS.format(12.2, 12.9)),
    _everybody("brow above upper lid", BROW, UPPER_LID, 1, 21.8, OPEN_MEANS.format(23.8, 21.8)),
    _everybody("upper lip before mouth corner", UPPER_LIP[1], CHEILION, 2, 17.0, OPEN_MEANS.format(16.5, 17.0)),
    _everybody("breadth of the nose's base", NOSE_BASE, "mirror", None, 25.8, OPEN_MEANS.format(25.1, 28.1)),
    _everybody("top of the bridge to subnasale", BRIDGE_TOP, SUBNASALE, None, 47.5, "n-sn in surveys: 47 to 55"),
)
"""What the source's mean head lacked most: its eyes lie too far apart and in front, its face is flat. Bouhadana et al.
pooled 67 studies of 22,638 people (Plast. Reconstr. Surg. Glob. Open 10:e4268); 35.4 is the mean of their Africans
(38.5), Asians (36.4) and Whites (31.4), the three populations that the heads are drawn from."""

EVERYTHING = MEASUREMENTS + APPEARANCE + PROPORTIONS
"""All that the heads are calibrated to."""


def published(sex: str, measurements: tuple[Measurement, ...] = MEASUREMENTS) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations, dm; NaN where no deviation is set."""
    values = np.array([getattr(measurement, sex) for measurement in measurements], float) / 100.0
    return values[:, 0], values[:, 1]


FRAME_NOD_DEG = -1.0
"""A level head (tragion and lower orbit at one height: the Frankfurt plane) nods by this angle into the model frame."""


def nodding(angle: float) -> np.ndarray:
    """(3, 3) rotation about x, radians; positive angles nod the head."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def levelling(topology: HeadTopology, mean: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that makes a head (V, 3) level."""
    place = {int(source): vertex for vertex, source in enumerate(topology.source_ids) if source >= 0}
    slope = mean[place[INFRAORBITALE]] - mean[place[TRAGION]]
    return nodding(float(np.arctan2(slope[1], slope[2])))


class Calipers:
    """Takes all measurements of heads of one topology.

    Args:
        topology: of the heads.
        mean: (V, 3) any head of it, upright in the model frame's orientation, dm.
        measurements: what to take.
    """

    def __init__(
        self, topology: HeadTopology, mean: np.ndarray, measurements: tuple[Measurement, ...] = MEASUREMENTS
    ) -> None:
        place = {int(source): vertex for vertex, source in enumerate(topology.source_ids) if source >= 0}
        place["pupil"] = int(np.flatnonzero((topology.eye_angle == 0.0) & (mean[:, 0] > 0))[0])
        ends = []
        for measurement in measurements:
            first = place[measurement.first]
            other = int(topology.mirror[first])
            second = other if measurement.second == "mirror" else place[measurement.second]
            # What lies on one side is the mean of both sides.
            twin = (first, second) if measurement.second == "mirror" else (other, int(topology.mirror[second]))
            ends.append([(first, second), twin])
        self._ends = np.array(ends)
        self._axes = np.array([-1 if m.axis is None else m.axis for m in measurements])
        self._level = nodding(-np.radians(FRAME_NOD_DEG))
        self.vertices = np.unique(self._ends)
        """Ids of the vertices that any measurement touches."""

    def definition(self, index: int) -> dict[str, list[list[int]] | list[float] | None]:
        """Pairs of model vertices whose distances are averaged, and the direction of a distance along an axis."""
        axis = int(self._axes[index])
        along = None if axis < 0 else [round(float(value), 6) for value in self._level[axis]]
        return {"between": np.unique(self._ends[index], axis=0).tolist(), "along": along}

    def __call__(self, heads: np.ndarray) -> np.ndarray:
        """(N, M) measurements, dm, of heads (N, V, 3), dm."""
        apart = (heads[:, self._ends[:, :, 0]] - heads[:, self._ends[:, :, 1]]) @ self._level.T
        axes = np.maximum(self._axes, 0)[None, :, None, None]
        along = np.abs(np.take_along_axis(apart, axes, axis=3))[..., 0]
        straight = np.linalg.norm(apart, axis=3)
        return np.where(self._axes[None, :, None] < 0, straight, along).mean(2)

    def gradients(self, head: np.ndarray) -> np.ndarray:
        """(M, c, 3) derivative of each measurement of one head (V, 3) with respect to ``vertices``."""
        result = np.zeros((len(self._ends), len(self.vertices), 3))
        for row, (pairs, axis) in enumerate(zip(self._ends, self._axes, strict=True)):
            for first, second in pairs:
                apart = head[first] - head[second]
                direction = apart if axis < 0 else self._level[axis] * np.sign(self._level[axis] @ apart)
                direction = direction / np.linalg.norm(direction) / len(pairs)
                result[row, np.searchsorted(self.vertices, first)] += direction
                result[row, np.searchsorted(self.vertices, second)] -= direction
        return result
