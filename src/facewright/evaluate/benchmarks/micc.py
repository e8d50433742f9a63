"""MICC Florence: a mesh per video (or per frame) against a frontal scan, by named presets.

Folder: ``subject_NN/Model/frontal1/obj/*.obj`` (``frontal2`` too), and ``subject_NN/Video/Indoor-Cooperative``,
``PTZ-Indoor``, ``PTZ-Outdoor``, each a folder of frames or a file (``.mjpg``, ``.avi`` ...). Landmarks of the scans do
not come with the data: beside each scan its 68 points (``.npy``, ``.txt`` or ``.pp``), or eight: ``ibug68.SEVEN_OF_68``
and the nose tip.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.alignment import global_scale
from facewright.evaluate.benchmarks.photos import VIDEO_SUFFIXES, first_folder, frames_of
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.predictions import (
    FileMeshes,
    MeanHead,
    MeshSource,
    PhotoOfFace,
    PredictedMesh,
    mean_mesh,
    require_face,
)
from facewright.evaluate.results import Case, Figure, Metric
from facewright.evaluate.scan_files import beside, read_points, read_surface
from facewright.evaluate.scan_protocol import SCAN_PROTOCOLS, FacePoints, ScanErrors, ScanProtocol, scan_errors
from facewright.evaluate.surfaces import Surface, closest_points
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel

OBTAIN = "request the Florence 2D/3D face data set from https://www.micc.unifi.it/resources/datasets/florence-3d-faces"
CONDITIONS = {
    "Indoor-Cooperative": "indoor_cooperative_mm",
    "PTZ-Indoor": "ptz_indoor_mm",
    "PTZ-Outdoor": "ptz_outdoor_mm",
}
Preset = Literal["tran2017", "genova2018", "deng2019", "ganfit2019"]


@dataclass(frozen=True)
class VideoRule:
    """How a video becomes meshes, and which scans count.

    Attributes:
        shapes: ``mean``: frames' shapes are averaged; ``each``: every frame is measured, errors are averaged.
        scans: the first frontal scan, or the better of both.
    """

    shapes: Literal["mean", "each"]
    scans: Literal["frontal1", "best"]


RULES: dict[str, VideoRule] = {
    "tran2017": VideoRule("each", "frontal1"),
    "genova2018": VideoRule("mean", "frontal1"),
    "deng2019": VideoRule("mean", "frontal1"),
    "ganfit2019": VideoRule("mean", "best"),
}
METRICS = (Metric("error_mm", "error by the preset", "mm", curve_limit=5.0),)


@dataclass(frozen=True)
class _Scan:
    surface: Surface
    points: FacePoints


@dataclass(frozen=True)
class _Video:
    subject: str
    condition: str
    key: str
    frames: list[PhotoOfFace]


def evaluate_micc(
    data: Path,
    source: MeshSource,
    head: FaceModel,
    *,
    preset: Preset = "deng2019",
    frames: int = 20,
    progress: Progress = silent,
) -> Evaluation:
    """Measure neutral meshes by one of the presets.

    Args:
        data: the folder.
        source: of the meshes; files are named ``subject_NN/Indoor-Cooperative`` and so on (one mesh a video).
        head: its mean is the baseline.
        preset: whose protocol.
        frames: per video, evenly spread; 0 for all. The sources do not say which they used.
        progress: is told how far it is.

    Raises:
        BenchmarkError: nothing in the folder can be measured.
    """
    protocol, rule = SCAN_PROTOCOLS[preset], RULES[preset]
    subjects = natural_order(path for path in data.glob("subject_*") if path.is_dir())
    if not subjects:
        raise BenchmarkError(f"{data} has no subject_NN folders: {OBTAIN}")
    wanted = None if isinstance(source, FileMeshes) else frames
    record = asdict(protocol) | asdict(rule) | {"frames_per_video": frames or "all", "expression": "none"}
    topology = source.topology
    recorder = CaseRecorder("micc", "MICC Florence", record, METRICS, heat=HeatMap(topology) if topology else None)
    baseline = MeanHead(head)
    scales: dict[str, float | None] = {"method": None, "mean": None}
    if protocol.scale == "global":
        scales = _global_scales(subjects, source, baseline, rule, wanted)
    mean_seven = mean_mesh(head).seven_mm
    for k, subject in enumerate(subjects):
        try:
            scans = _scans(subject, rule, recorder, mean_seven)
        except FacewrightError as error:
            recorder.fail(subject.name, str(error), group=subject.name)
            continue
        constant = _best(scans, baseline.mesh("", (), expression=False), protocol, scales["mean"])[0].error_mm
        for video in _videos(subject, wanted, recorder):
            _measure(recorder, video, scans, source, protocol, rule, scales["method"], constant)
        progress(subject.name, (k + 1) / len(subjects))
    used = {f"{path.name}/{condition}" for path in subjects for condition in CONDITIONS}
    recorder.problems += [f"{key}: a prediction for no video" for key in source.unused(used) if rule.shapes == "mean"]
    return recorder.close(
        method=source.name,
        figures=_by_condition(recorder.cases),
        baseline=_by_condition(recorder.baseline_cases),
        **source.facts,
    )


def _measure(
    recorder: CaseRecorder,
    video: _Video,
    scans: list[_Scan],
    source: MeshSource,
    protocol: ScanProtocol,
    rule: VideoRule,
    scale: float | None,
    constant: float,
) -> None:
    """One video's case, for the method and the mean head."""
    strata = {"condition": video.condition}
    groups = [[frame] for frame in video.frames] if rule.shapes == "each" and video.frames else [video.frames]
    errors, problems = [], []
    for group in groups:
        try:
            predicted = source.mesh(video.key, group, expression=False)
            found, scan = _best(scans, predicted, protocol, scale)
        except (FacewrightError, ValueError) as error:
            problems.append(str(error))
            continue
        errors.append(found.error_mm)
        if recorder.heat is not None:
            moved = Surface(found.icp.alignment.apply(predicted.surface.vertices_mm), predicted.surface.faces)
            touched = closest_points(scan.surface.vertices_mm[found.vertex_ids], moved)
            corner = moved.faces[touched.face_index, touched.barycentrics.argmax(1)]
            recorder.heat.add(corner, found.distances_mm)
    if not errors:
        recorder.fail(video.key, problems[0], group=video.subject, strata=strata)
        return
    recorder.problems += [f"{video.key}: {len(problems)} frames left out: {problems[0]}"] if problems else []
    recorder.cases.append(Case(video.key, {"error_mm": float(np.mean(errors))}, video.subject, strata))
    recorder.baseline_cases.append(Case(video.key, {"error_mm": constant}, video.subject, strata))


def _best(
    scans: list[_Scan], predicted: PredictedMesh, protocol: ScanProtocol, scale: float | None
) -> tuple[ScanErrors, _Scan]:
    """Against the scan that fits better."""
    found = [
        (
            scan_errors(
                predicted.surface, predicted.face_points, scan.surface, scan.points, protocol, global_scale=scale
            ),
            scan,
        )
        for scan in scans
    ]
    return min(found, key=lambda pair: pair[0].error_mm)


def _scans(subject: Path, rule: VideoRule, recorder: CaseRecorder | None, mean_seven: np.ndarray) -> list[_Scan]:
    scans = []
    for name in ("frontal1", "frontal2") if rule.scans == "best" else ("frontal1",):
        files = natural_order((subject / "Model" / name / "obj").glob("*.obj"))
        if not files:
            if name == "frontal1":
                raise BenchmarkError(f"{subject.name} has no scan Model/frontal1/obj/*.obj: {OBTAIN}")
            continue
        marks = beside(files[0], ".npy", ".txt", ".pp", "_picked_points.pp")
        if marks is None:
            raise BenchmarkError(
                f"expected landmarks beside {files[0].name} of {subject.name} (.npy, .txt, .pp: 68 points, or the "
                "seven and the nose tip), found none; they do not come with the data: pick them in MeshLab"
            )
        if recorder is not None:
            for path in (files[0], marks):
                recorder.digest.add(path.relative_to(subject.parent).as_posix(), path)
        points = read_points(marks, (8, 68))
        face_points = FacePoints.from_ibug68(points) if len(points) == 68 else FacePoints(points[:7], points[7])
        require_face(face_points.seven_mm, mean_seven, f"scan landmarks {subject.name}/{marks.name}")
        scans.append(_Scan(read_surface(files[0]), face_points))
    return scans


def _videos(subject: Path, frames: int | None, recorder: CaseRecorder | None) -> list[_Video]:
    """The videos of a subject; their frames are listed only where they are wanted."""
    found = []
    for condition in CONDITIONS:
        key = f"{subject.name}/{condition}"
        place = first_folder(subject, f"Video/{condition}", condition)
        if place is None:
            files = [subject / "Video" / f"{condition}{suffix}" for suffix in VIDEO_SUFFIXES]
            place = next((path for path in files if path.is_file()), None)
        try:
            pictures = [] if place is None or frames is None else frames_of(place, frames)
        except BenchmarkError as error:
            if recorder is not None:
                recorder.fail(key, str(error), group=subject.name, strata={"condition": condition})
            continue
        if place is None and recorder is not None:
            recorder.missing.append(
                f"{key}: no video (a mesh file of the predictions is used if there is one); {OBTAIN}"
            )
        found.append(_Video(subject.name, condition, key, pictures))
    return found


def _global_scales(
    subjects: list[Path], source: MeshSource, baseline: MeanHead, rule: VideoRule, frames: int | None
) -> dict[str, float | None]:
    """One scale of the method and one of the mean head, over all videos: a first pass that keeps eight points each."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"method": [], "mean": []}
    mean = mean_mesh(baseline.face_model)
    for subject in subjects:
        try:
            scan = _scans(subject, rule, None, mean.seven_mm)[0]
        except FacewrightError:
            continue  # it is named in the second pass
        pairs["mean"].append((mean.face_points.eight_mm, scan.points.eight_mm))
        for video in _videos(subject, frames, None):
            try:
                predicted = source.mesh(video.key, video.frames, expression=False)
                pairs["method"].append((predicted.face_points.eight_mm, scan.points.eight_mm))
            except (FacewrightError, ValueError):
                continue
    return {name: global_scale(some) if some else 1.0 for name, some in pairs.items()}


def _by_condition(cases: list[Case]) -> dict[str, Figure]:
    """Mean and standard deviation over subjects, each condition alone and all together, as the tables have them."""
    figures = {}
    for condition, name in (*CONDITIONS.items(), ("", "error")):
        chosen = [c for c in cases if c.values and condition in ("", c.strata["condition"])]
        by_subject: dict[str, list[float]] = {}
        for case in chosen:
            by_subject.setdefault(case.group, []).append(case.values["error_mm"])
        means = np.array([np.mean(values) for values in by_subject.values()])
        if len(means) and condition:
            figures[name] = Figure.of(bootstrap_interval(means), "mm")
        if len(means) > 1:
            figures[name.removesuffix("_mm") + "_std_mm"] = Figure.bare(float(means.std(ddof=1)), "mm", len(means))
    return figures
