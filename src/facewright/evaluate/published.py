"""Figures of other systems, each with its protocol and source. Never put beside a result of another protocol.

Sources: ``paper`` and ``repository`` are the system's own statements, ``leaderboard`` the benchmark's page, ``re-scored
by`` somebody else. ``recalled`` marks figures that could not be checked against their source again.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        benchmark: as on the command line.
        protocol: as in ``Result.protocol["name"]``.
        system: who.
        figures: by the names that results use.
        source: where the numbers are from.
    """

    benchmark: str
    protocol: str
    system: str
    figures: dict[str, float]
    source: str


def published_beside(benchmark: str, protocol: str) -> list[Published]:
    """The rows of one protocol."""
    return [row for row in ALL_PUBLISHED if row.benchmark == benchmark and row.protocol == protocol]


def _aflw(system: str, source: str, *values: float) -> Published:
    names = ("nme_68_yaw_[0,30]", "nme_68_yaw_(30,60]", "nme_68_yaw_(60,90]", "nme_68_balanced")
    row: dict[str, float] = (
        dict(zip(names, values, strict=True)) if len(values) == 4 else {"nme_68_balanced": values[0]}
    )
    return Published("aflw2000", "aflw2000-original", system, row, source)


def _now(system: str, source: str, *values: float) -> Published:
    row: dict[str, float] = dict(zip(("median_mm", "mean_mm", "std_mm"), values, strict=True))
    return Published("now", "now-test", system, row, source)


def _realy(protocol: str, system: str, *values: float) -> Published:
    names = ("nose_mm", "mouth_mm", "forehead_mm", "cheek_mm", "all_mm")
    row: dict[str, float] = dict(zip(names, values, strict=True)) if len(values) == 5 else {"all_mm": values[0]}
    return Published("realy", protocol, system, row, "leaderboard, March 2024")


def _micc(protocol: str, system: str, source: str, **figures: float) -> Published:
    return Published("micc", protocol, system, figures, source)


def _one(benchmark: str, protocol: str, system: str, source: str, **figures: float) -> Published:
    return Published(benchmark, protocol, system, figures, source)


def _lfw(protocol: str, source: str, *values: float) -> Published:
    row: dict[str, float] = dict(zip(("accuracy", "eer", "auc", "tar_10", "tar_1"), values, strict=True))
    return Published("lfw", protocol, "3DMM-CNN", row, source)


_AFLW = (
    _aflw("3DDFA (2016)", "paper", 3.78, 4.54, 7.93, 5.42),
    _aflw("3DDFA + SDM", "paper", 3.43, 4.24, 7.17, 4.94),
    _aflw("DAMDNet", "paper", 2.907, 3.830, 4.953, 3.897),
    _aflw("PRNet", "paper", 2.75, 3.51, 4.61, 3.62),
    _aflw("MFIRRN", "paper", 2.841, 3.572, 4.561, 3.658),
    _aflw("2DASL", "paper", 2.75, 3.46, 4.45, 3.55),
    _aflw("3DDFA-V2", "paper; bins recalled", 2.63, 3.42, 4.48, 3.51),
    _aflw("3DDFA-V2, released weights", "repository, issue 28", 2.735, 3.477, 4.543, 3.585),
    _aflw("SynergyNet", "paper; bins recalled", 2.65, 3.30, 4.27, 3.41),
    _aflw("SynergyNet, reproduced", "repository, issue 30", 3.674),
    _aflw("Deep3D", "quoted by later papers", 2.56, 3.11, 4.45, 3.37),
    _aflw("3D-FAN (landmarks alone)", "quoted by later papers", 2.47, 3.01, 4.31, 3.26),
)
_NOW = (
    _now("MICA", "leaderboard", 0.90, 1.11, 0.92),
    _now("DECA", "leaderboard", 1.09, 1.38, 1.18),
    _now("Deep3D, PyTorch", "leaderboard", 1.11, 1.41, 1.21),
    _now("RingNet", "leaderboard", 1.21, 1.53, 1.31),
    _now("Deep3D, TensorFlow", "leaderboard", 1.23, 1.54, 1.29),
    _now("3DDFA-V2", "leaderboard", 1.23, 1.57, 1.39),
    _now("SynergyNet", "leaderboard", 1.27, 1.59, 1.31),
    _now("MGCNet", "leaderboard", 1.31, 1.87, 2.63),
    _now("PRNet", "leaderboard", 1.50, 1.98, 1.88),
    _now("3DMM-CNN (Tran 2017)", "leaderboard", 1.84, 2.33, 2.05),
    Published(
        "now",
        "now-validation",
        "DECA",
        {"median_mm": 1.18, "mean_mm": 1.46, "std_mm": 1.25},
        "repository",
    ),
    Published("now", "now-validation", "SHeaP", {"median_mm": 0.93, "mean_mm": 1.16}, "repository"),
)
_REALY = (
    _realy("realy-frontal", "HiFace, fine", 1.036, 1.450, 1.324, 1.291, 1.275),
    _realy("realy-frontal", "HRN", 1.722, 1.357, 1.995, 1.072, 1.537),
    _realy("realy-frontal", "Deep3D, PyTorch", 1.719, 1.368, 2.015, 1.528, 1.657),
    _realy("realy-frontal", "MGCNet", 1.771, 1.417, 2.268, 1.639, 1.774),
    _realy("realy-frontal", "3DDFA-V2", 1.903, 1.597, 2.447, 1.757, 1.926),
    _realy("realy-frontal", "DECA, coarse", 1.697, 2.516, 2.394, 1.479, 2.010),
    _realy("realy-frontal", "PRNet", 1.923, 1.838, 2.429, 1.863, 2.013),
    _realy("realy-frontal", "MICA", 1.585, 3.478, 2.374, 1.099, 2.134),
    _realy("realy-frontal", "RingNet", 1.934, 2.074, 2.995, 2.028, 2.258),
    _realy("realy-frontal", "ExpNet (3DMM-CNN bundle)", 2.509, 1.912, 3.084, 1.717, 2.306),
    Published(
        "realy",
        "realy-frontal",
        "3DDFA-V3",
        dict(nose_mm=1.586, mouth_mm=1.238, forehead_mm=1.810, cheek_mm=1.111, all_mm=1.436),
        "repository",
    ),
    _realy("realy-side", "HiFace, fine", 0.985, 1.489, 1.399, 1.360, 1.308),
    _realy("realy-side", "HRN", 1.642, 1.285, 1.906, 1.038, 1.468),
    _realy("realy-side", "Deep3D, PyTorch", 1.749, 1.411, 2.074, 1.528, 1.691),
    _realy("realy-side", "3DDFA-V2", 1.943),
    _realy("realy-side", "PRNet", 2.032),
    _realy("realy-side", "DECA, coarse", 2.107),
    _realy("realy-side", "ExpNet (3DMM-CNN bundle)", 2.476),
)
_COOP, _INDOOR, _OUTDOOR = "indoor_cooperative_mm", "ptz_indoor_mm", "ptz_outdoor_mm"
_MICC = (
    _micc("tran2017", "3DMM-CNN", "paper, recalled", error_mm=1.57),
    _micc("tran2017", "3DMM fitting", "paper, recalled", error_mm=1.75),
    _micc("tran2017", "generic mean face", "paper, recalled", error_mm=1.88),
    _micc("genova2018", "Genova 2018", "paper, recalled", **{_COOP: 1.50, _INDOOR: 1.50, _OUTDOOR: 1.48}),
    _micc("genova2018", "Tran 2017", "Genova 2018, recalled", **{_COOP: 1.93, _INDOOR: 2.02, _OUTDOOR: 1.86}),
    _micc("deng2019", "Deep3D, TensorFlow", "repository", error_mm=1.67),
    _micc("deng2019", "Deep3D, PyTorch", "repository", error_mm=1.53),
    _micc("deng2019", "Genova 2018", "re-scored by Deng 2019", error_mm=1.77),
    _micc("deng2019", "Tran 2017", "re-scored, recalled", **{_COOP: 1.97, _INDOOR: 2.03, _OUTDOOR: 1.93}),
    _micc("ganfit2019", "GANFit", "paper, recalled", **{_COOP: 0.95, _INDOOR: 0.94, _OUTDOOR: 0.94}),
)
_OTHERS = (
    _one("facewarehouse", "tewari2018-small", "Tewari 2017 (MoFA)", "quoted", error_mm=2.19),
    _one("facewarehouse", "tewari2018-small", "Tewari 2018, fine", "paper", error_mm=1.84),
    _one("facewarehouse", "tewari2018-small", "Garrido 2016 (off-line)", "quoted, recalled", error_mm=1.59),
    _one("facewarehouse", "tewari2018-small", "Deep3D, TensorFlow", "repository", error_mm=1.81),
    _one("facewarehouse", "tewari2018-small", "Deep3D, PyTorch", "repository", error_mm=1.64),
    _one("facewarehouse", "tewari2018-large", "Deep3D, TensorFlow", "paper, recalled", error_mm=1.91),
    _one("bu3dfe", "deng2019-bu3dfe", "Sela 2017", "Deep3D's repository", error_mm=2.91),
    _one("bu3dfe", "deng2019-bu3dfe", "PRNet", "Deep3D's repository", error_mm=1.86),
    _one("bu3dfe", "deng2019-bu3dfe", "Deep3D", "repository", error_mm=1.40),
    _one("florence-prnet", "prnet2018", "PRNet", "paper, recalled", nme_aligned=3.76),
    _one("florence-prnet", "prnet2018", "VRN-Guided", "PRNet's paper, recalled", nme_aligned=5.27),
    _one("florence-prnet", "prnet2018", "3DDFA", "PRNet's paper, recalled", nme_aligned=6.38),
    _lfw("tran2017-shape", "paper, recalled", 90.53, 9.37, 96.60, 91.13, 58.20),
    _lfw("tran2017-shape-texture", "paper; all but the accuracy recalled", 92.35, 7.67, 97.71, 94.20, 65.57),
    _one("lfw", "tran2017-shape", "3DMM fit", "Tran 2017, recalled", accuracy=66.13),
    _one("lfw", "tran2017-shape-texture", "3DMM fit", "Tran 2017, recalled", accuracy=74.93),
    _one("ytf", "tran2017-shape", "3DMM-CNN", "paper, recalled", accuracy=88.28),
    _one("ytf", "tran2017-shape", "3DMM fit", "Tran 2017, recalled", accuracy=73.26),
    _one("ytf", "tran2017-shape-texture", "3DMM fit", "Tran 2017, recalled", accuracy=77.34),
)
ALL_PUBLISHED = (*_AFLW, *_NOW, *_REALY, *_MICC, *_OTHERS)
