"""AFLW2000-3D: landmarks in pictures, error over the box, three bins of yaw.

Folder: pairs ``imageNNNNN.jpg`` and ``imageNNNNN.mat``, any subset of the 2,000. The labels are the original ones
(``pt3d_68``), not the re-annotated: figures of the two are never comparable. They count pixels from 1; that is undone.
Optional: ``imageNNNNN_dense.npy``, true points (N, 3) in pixels counted from 0, for the dense error of methods or
predictions with the same N points.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.curves import area_under_ced, failure_rate
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent
from facewright.evaluate.landmarks import (
    YAW_BIN_NAMES,
    aflw21_from_ibug68,
    binned_mean,
    box_size,
    nme,
    nme_68,
    yaw_bins,
)
from facewright.evaluate.methods import Measurable, facts_of
from facewright.evaluate.pose import AFLW2000, FACEWRIGHT
from facewright.evaluate.report.pictures import close_up
from facewright.evaluate.results import NUM_RESAMPLES, Case, Figure, Metric
from facewright.evaluate.yaw_figures import yaw_figures
from facewright.files import natural_order
from facewright.geometry.ibug68 import INNER_51, MIRROR_68
from facewright.photo import read_photo
from facewright.records import Photo
from facewright.untrusted import read_mat, reading

OBTAIN = "download AFLW2000-3D.zip (research only): http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
METRICS = (
    Metric("nme_68", "NME of 68 points, 2D, over the true box", "%", curve_limit=10.0),
    Metric("nme_51", "NME of the inner 51 points", "%"),
    Metric("nme_68_3d", "NME of 68 points, 3D, depth from its mean", "%"),
    Metric("nme_21", "NME of AFLW's 21 points that are labelled visible", "%"),
    Metric("nme_dense", "NME of the dense points given", "%"),
    Metric("pitch_deg", "pitch, absolute error, AFLW2000 convention", "deg"),
    Metric("yaw_deg", "yaw, absolute error", "deg"),
    Metric("roll_deg", "roll, absolute error", "deg"),
    Metric("rotation_deg", "rotation, geodesic", "deg"),
)
LARGEST_POSE_DEG = 99.0
AUC_LIMIT, FAILURE_LIMIT = 7.0, 10.0


@dataclass(frozen=True)
class FaceLabels:
    """The truth about one picture. Pixels from 0, y down.

    Attributes:
        points: ``pt3d_68``; z grows toward the camera in the file, away from it here.
        visible_21: ``pt2d``; NaN where hidden.
        pose_deg: pitch, yaw, roll in the AFLW2000 convention.
        dense: points of the optional file.
    """

    points: Float[ndarray, "68 3"]
    visible_21: Float[ndarray, "21 2"] | None
    pose_deg: Float[ndarray, "3"]
    dense: Float[ndarray, "N 3"] | None


@dataclass(frozen=True)
class FacePrediction:
    """What is compared. Pixels from 0, y down, z away from the camera.

    Attributes:
        points: iBUG-68.
        dense: all points, in the order of the truth's file.
        pose_deg: pitch, yaw, roll in the AFLW2000 convention.
    """

    points: Float[ndarray, "68 D"]
    dense: Float[ndarray, "N 3"] | None = None
    pose_deg: Float[ndarray, "3"] | None = None


@runtime_checkable
class LandmarkSource(Protocol):
    """Anything that predicts landmarks in a photo."""

    @property
    def name(self) -> str:
        """Of the method."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """``weights``, ``face_model`` and ``settings`` for the result."""
        ...

    def predict(self, photo: Photo, stem: str, near: Float[Tensor, "4"]) -> FacePrediction:
        """Landmarks of the face at a place.

        Raises:
            NoFaceFoundError: there is none.
            BenchmarkError: no prediction, or a malformed one.
        """
        ...

    def unused(self, stems: set[str]) -> list[str]:
        """Predictions for no picture."""
        ...


@dataclass(frozen=True)
class MethodLandmarks:
    """Landmarks of a method.

    Attributes:
        method: runs on each photo.
    """

    method: Measurable

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method.name

    @property
    def facts(self) -> dict[str, Any]:
        """For the result."""
        return facts_of(self.method)

    def predict(self, photo: Photo, stem: str, near: Float[Tensor, "4"]) -> FacePrediction:
        """See ``LandmarkSource``."""
        found = self.method.estimate(photo, self.method.find(photo, near))
        angles = torch.rad2deg(found.pose.angles[0]).double().cpu().numpy()
        pose = AFLW2000.angles_deg(FACEWRIGHT.rotation(angles))
        return FacePrediction(found.landmarks_px, found.points_px, pose)

    def unused(self, stems: set[str]) -> list[str]:
        """Nothing."""
        return []


@dataclass(frozen=True)
class FileLandmarks:
    """Landmarks that another program has written: ``imageNNNNN.txt`` or ``.npy`` with 68 rows of x y or x y z.

    Attributes:
        folder: of the files; ``imageNNNNN_dense.npy`` may lie beside them.
        name: of the method.
    """

    folder: Path
    name: str = "files"

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing is known."""
        return {}

    def predict(self, photo: Photo, stem: str, near: Float[Tensor, "4"]) -> FacePrediction:
        """See ``LandmarkSource``."""
        path = next((p for e in (".npy", ".txt") if (p := self.folder / f"{stem}{e}").is_file()), None)
        if path is None:
            raise BenchmarkError(f"expected a prediction {stem}.npy or {stem}.txt, found none")
        try:
            points = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, ndmin=2)
        except ValueError as error:
            raise BenchmarkError(f"{path.name} holds no points that can be read: {error}") from error
        if points.shape not in ((68, 2), (68, 3)) or not np.isfinite(points).all():
            raise BenchmarkError(f"expected 68 finite points in {path.name}, received shape {points.shape}")
        return FacePrediction(np.asarray(points, np.float64), _dense(self.folder, stem))

    def unused(self, stems: set[str]) -> list[str]:
        """Files for no picture."""
        found = {path.stem for ending in ("*.npy", "*.txt") for path in self.folder.glob(ending)}
        return natural_order(name for name in found - stems if not name.endswith("_dense"))


def evaluate_aflw2000(
    data: Path,
    source: LandmarkSource,
    baseline: LandmarkSource | None = None,
    *,
    yaw_list: Path | None = None,
    limit: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure landmarks and pose on any subset of AFLW2000-3D.

    Args:
        data: the folder of pairs.
        source: of the landmarks.
        baseline: the mean head; None leaves it out.
        yaw_list: ``.npy`` or text with one yaw per picture of the *folder*, degrees, in the order of the names
            (the published tables bin by AFLW's own poses); None: the fitted pose in the labels.
        limit: at most so many pictures, evenly spread; 0 for all.
        progress: is told how far it is.

    Raises:
        BenchmarkError: there are no pairs, or the yaw list does not fit them.
    """
    pairs, single = _pairs(data)
    yaws = None if yaw_list is None else _yaws(yaw_list, len(pairs))
    chosen = list(range(len(pairs)))
    chosen = chosen if not limit else chosen[:: max(1, len(chosen) // limit)][:limit]
    protocol = {
        "name": "aflw2000-original",
        "labels": "original (pt3d_68), pixels from 1 moved to 0",
        "yaw_bins": "fitted pose of the labels" if yaw_list is None else yaw_list.name,
        "normalizer": "square root of width x height of the true points' box",
        "detector": "own; the face that overlaps the true one most",
        "failures": "means: found faces alone; median_all, auc_7, failures_10: all faces, missed ones infinitely wrong",
        "pictures": len(chosen),
        "pictures_of_2000": len(pairs),
    }
    recorder = CaseRecorder("aflw2000", "AFLW2000-3D", protocol, METRICS)
    recorder.problems += [f"{name}: a picture without .mat or a .mat without picture" for name in single]
    if len(pairs) < 2000:
        recorder.missing.append(f"{2000 - len(pairs)} of the 2,000 pairs: {OBTAIN}")
    for done, k in enumerate(chosen):
        _measure(recorder, pairs[k], source, baseline, None if yaws is None else float(yaws[k]))
        progress(pairs[k].stem, (done + 1) / len(chosen))
    unused = source.unused({path.stem for path in pairs})
    recorder.problems += [f"{stem}: a prediction for no picture" for stem in unused]
    return recorder.close(
        method=source.name,
        figures=_tables(recorder.cases),
        baseline=_tables(recorder.baseline_cases),
        **source.facts,
    )


def _measure(
    recorder: CaseRecorder, path: Path, source: LandmarkSource, baseline: LandmarkSource | None, yaw: float | None
) -> None:
    strata: dict[str, str] = {}
    try:
        labels = read_labels(path.with_suffix(".mat"))
        for file in (path, path.with_suffix(".mat")):
            recorder.digest.add(file.name, file)
        turned = float(labels.pose_deg[1]) if yaw is None else yaw
        strata = {"yaw": YAW_BIN_NAMES[int(yaw_bins(np.array([turned]))[0])]}
        photo = read_photo(path)
        flat = torch.from_numpy(labels.points[:, :2]).float()
        near = torch.cat([flat.amin(0), flat.amax(0)])
        if baseline is not None:
            recorder.baseline_cases.append(_case(baseline, photo, path.stem, near, labels, strata))
        predicted = source.predict(photo, path.stem, near)
        values = face_errors(predicted, labels)
    except (FacewrightError, ValueError) as error:
        recorder.fail(path.stem, f"{type(error).__name__}: {error}", strata=strata)
        return
    recorder.cases.append(Case(path.stem, values, strata=strata))
    problem = label_problem(predicted.points, labels.points)
    if problem:
        recorder.problems.append(f"{path.stem}: {problem}; it is counted")

    def draw() -> Float[Tensor, "3 S W"]:
        marks = torch.from_numpy(np.ascontiguousarray(predicted.points[:, :2])).float()
        return torch.cat([close_up(photo.srgb, flat), close_up(photo.srgb, marks, around=flat)], -1)

    recorder.worst.offer(values["nme_68"], f"{path.stem}: {values['nme_68']:.1f} %", draw)


def _case(
    source: LandmarkSource,
    photo: Photo,
    stem: str,
    near: Float[Tensor, "4"],
    labels: FaceLabels,
    strata: dict[str, str],
) -> Case:
    """The baseline's; it may miss faces too."""
    try:
        return Case(stem, face_errors(source.predict(photo, stem, near), labels), strata=strata)
    except FacewrightError as error:
        return Case(stem, strata=strata, problem=str(error))


def face_errors(predicted: FacePrediction, labels: FaceLabels) -> dict[str, float]:
    """All errors of one face that its labels allow."""
    marks, true = predicted.points[None, :, :2], labels.points[None, :, :2]
    values = {"nme_68": nme_68(marks, true)[0], "nme_51": nme_68(marks, true, points=INNER_51)[0]}
    if predicted.points.shape[1] == 3:
        values["nme_68_3d"] = nme_68(predicted.points[None], labels.points[None], depth_zero="mean")[0]
    if labels.visible_21 is not None and bool(np.isfinite(labels.visible_21).any()):
        seen = ~np.isnan(labels.visible_21[None, :, 0])
        given = np.nan_to_num(labels.visible_21)[None]
        values["nme_21"] = nme(aflw21_from_ibug68(marks), given, box_size(true), valid=seen)[0]
    if labels.dense is not None and predicted.dense is not None and predicted.dense.shape == labels.dense.shape:
        values["nme_dense"] = nme(predicted.dense[None, :, :2], labels.dense[None, :, :2], box_size(true))[0]
    percent = {name: 100.0 * float(value) for name, value in values.items()}
    if predicted.pose_deg is None or float(np.abs(labels.pose_deg).max()) > LARGEST_POSE_DEG:
        return percent
    away = np.abs((predicted.pose_deg - labels.pose_deg + 180.0) % 360.0 - 180.0)
    turn = AFLW2000.rotation(labels.pose_deg).T @ AFLW2000.rotation(predicted.pose_deg)
    geodesic = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0))))
    angles = dict(zip(("pitch_deg", "yaw_deg", "roll_deg"), away.tolist(), strict=True))
    return percent | angles | {"rotation_deg": geodesic}


def read_labels(path: Path) -> FaceLabels:
    """The labels of one picture.

    Raises:
        BenchmarkError: the file is damaged, or not of AFLW2000-3D.
    """
    with reading(path.name, BenchmarkError, "pt3d_68 and Pose_Para", "unpack AFLW2000-3D again"):
        content = read_mat(path, ["pt3d_68", "Pose_Para", "pt2d"])
        points = np.asarray(content["pt3d_68"], np.float64).T
        pose = np.degrees(np.asarray(content["Pose_Para"], np.float64).ravel()[:3])
        visible = np.asarray(content["pt2d"], np.float64).T if "pt2d" in content else None
    if points.shape != (68, 3) or pose.shape != (3,) or not np.isfinite(points).all():
        raise BenchmarkError(f"expected pt3d_68 of 3 x 68 finite numbers in {path.name}, received {points.T.shape}")
    points = points - [1.0, 1.0, 0.0]
    points[:, 2] = -points[:, 2]
    if visible is not None and visible.shape == (21, 2):
        visible = np.where(visible.min(-1, keepdims=True) > 0, visible - 1.0, np.nan)
    else:
        visible = None
    return FaceLabels(points, visible, pose, _dense(path.parent, path.stem))


def label_problem(predicted: Float[ndarray, "68 D"], true: Float[ndarray, "68 3"]) -> str:
    """Whether the labels look exchanged between left and right; empty if not. By the convention they count anyway."""
    size = float(box_size(true[None])[0])
    direct = np.linalg.norm(predicted[:, :2] - true[:, :2], axis=-1).mean() / size
    crossed = np.linalg.norm(predicted[:, :2] - true[MIRROR_68, :2], axis=-1).mean() / size
    return "its labels fit far better with left and right exchanged" if crossed < 0.5 * direct else ""


def _tables(cases: list[Case]) -> dict[str, Figure]:
    """What the literature prints: bins and their balanced mean; and both readings of missed faces."""
    done = [case for case in cases if "nme_68" in case.values]
    if not done:
        return {}
    figures = yaw_figures(cases)
    bins = np.array([YAW_BIN_NAMES.index(case.strata["yaw"]) for case in done])
    spread = binned_mean(np.array([case.values["nme_68"] for case in done]), bins).std
    figures["nme_68_bins_std"] = Figure.bare(spread, "%", len(done), "neither")
    every = np.array([case.values.get("nme_68", np.inf) for case in cases])
    figures["median_all"] = Figure.bare(_median(every), "%", len(every))
    auc = bootstrap_interval(every, lambda e: 100.0 * area_under_ced(e, AUC_LIMIT), num_resamples=NUM_RESAMPLES)
    figures["auc_7"] = Figure.of(auc, "%", "higher")
    failed = bootstrap_interval(every, lambda e: 100.0 * failure_rate(e, FAILURE_LIMIT), num_resamples=NUM_RESAMPLES)
    figures["failures_10"] = Figure.of(failed, "%")
    missed = 100.0 * sum(bool(case.problem) for case in cases) / len(cases)
    return figures | {"faces_not_found": Figure.bare(missed, "%", len(cases))}


def _median(values: ndarray) -> float:
    """Of values that may be infinite; the middle two are not averaged, so that infinity cannot leak in."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _pairs(data: Path) -> tuple[list[Path], list[str]]:
    pictures = {path.stem: path for ending in ("*.jpg", "*.png") for path in data.glob(ending)}
    labels = {path.stem for path in data.glob("*.mat")}
    both = natural_order(pictures.keys() & labels)
    if not both:
        raise BenchmarkError(f"expected pairs imageNNNNN.jpg + imageNNNNN.mat in {data}, found none: {OBTAIN}")
    return [pictures[stem] for stem in both], natural_order(pictures.keys() ^ labels)


def _yaws(path: Path, count: int) -> Float[ndarray, " N"]:
    try:
        yaws = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"expected one yaw a line in {path}, cannot read it: {error}") from error
    if yaws.shape != (count,):
        raise BenchmarkError(f"expected {count} yaws in {path.name}, one per picture, received shape {yaws.shape}")
    return np.asarray(yaws, np.float64)


def _dense(folder: Path, stem: str) -> Float[ndarray, "N 3"] | None:
    path = folder / f"{stem}_dense.npy"
    if not path.is_file():
        return None
    points = np.load(path, allow_pickle=False)
    if points.ndim != 2 or points.shape[1] != 3:
        raise BenchmarkError(f"expected an array (N, 3) in {path.name}, received {points.shape}")
    return np.asarray(points, np.float64)
