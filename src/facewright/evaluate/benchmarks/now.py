"""NoW (Sanyal 2019): neutral meshes against scans, all vertices of all pictures pooled.

Folder: ``imagepathsvalidation.txt`` (or ``imagepathstest.txt``: the test scans are hidden, so only those with the
benchmark's owners can be measured), ``iphone_pictures/SUBJECT/CHALLENGE/IMG.jpg``, ``scans/SUBJECT/*.obj``,
``scans_lmks_onlypp/SUBJECT/*.pp``; also inside ``NoW_Dataset/final_release_version`` or ``final_release_version``. The
shipped face boxes are pickles and are not read: the own detector finds the face. One scan is in memory at a time.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.benchmarks.photos import photo_at
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.pooled import PooledDistances
from facewright.evaluate.predictions import MeanHead, MeshSource, PredictedMesh, mean_mesh, require_face
from facewright.evaluate.regions import NOW_RADIUS_FACTOR, now_region
from facewright.evaluate.results import Case, Curve, Figure, Metric
from facewright.evaluate.scan_files import read_points, read_surface
from facewright.evaluate.scan_fit import fit_to_scan
from facewright.evaluate.surfaces import Surface, closest_points
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel

OBTAIN = "register at https://now.is.tue.mpg.de and download the NoW data set (licence: research only)"
METRICS = (
    Metric("image_mean_mm", "mean over one picture's scan vertices", "mm"),
    Metric("image_median_mm", "median over one picture's scan vertices", "mm"),
)
Split = Literal["validation", "test"]
_CURVE_MM = np.linspace(0.0, 7.0, 101)


@dataclass(frozen=True)
class _Truth:
    """A cropped scan."""

    region_mm: Float[ndarray, "N 3"]
    seven_mm: Float[ndarray, "7 3"]


def evaluate_now(
    data: Path,
    source: MeshSource,
    head: FaceModel,
    *,
    split: Split = "validation",
    metrical: bool = False,
    crop_factor: float = NOW_RADIUS_FACTOR,
    limit: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure neutral meshes by the NoW protocol.

    Args:
        data: the folder.
        source: of the meshes.
        head: its mean is the baseline.
        split: which list of pictures.
        metrical: the scale stays as predicted (mm).
        crop_factor: 1.4; 1.2 for FG2018.
        limit: at most so many pictures, evenly spread; 0 for all.
        progress: is told how far it is.

    Raises:
        BenchmarkError: the folder lacks what nothing can be measured without.
    """
    root, list_file = _root(data, split)
    names = [line.strip().lstrip("/") for line in list_file.read_text().splitlines() if line.strip()]
    names = names if not limit else names[:: max(1, len(names) // limit)][:limit]
    baseline = MeanHead(head)
    protocol = {
        "name": f"now-{split}" + ("-metrical" if metrical else ""),
        "crop_factor": crop_factor,
        "metrical": metrical,
        "pictures": len(names),
        "alignment": "seven points (reflection allowed), then scan-to-mesh least squares",
        "distance": "scan vertex to surface, unsigned",
        "aggregate": "all vertices of all pictures",
        "expression": "none",
    }
    topology = source.topology
    recorder = CaseRecorder("now", "NoW", protocol, METRICS, heat=HeatMap(topology) if topology else None)
    recorder.digest.add(list_file.name, list_file)
    mean_seven = mean_mesh(head).seven_mm
    pools = {"method": PooledDistances(), "mean": PooledDistances()}

    @lru_cache(maxsize=1)
    def truth_of(subject: str) -> _Truth:
        return _read_truth(root, subject, crop_factor, recorder, mean_seven)

    @lru_cache(maxsize=1)
    def constant_of(subject: str) -> Float[ndarray, " N"]:
        return _distances(baseline.mesh("", (), expression=False), truth_of(subject), metrical)[0]

    for k, name in enumerate(names):
        key = Path(name).with_suffix("").as_posix()
        subject, challenge = Path(name).parts[0], Path(name).parent.name
        strata = {"challenge": challenge}
        try:
            truth = truth_of(subject)
            predicted = source.mesh(key, [photo_at(root / "iphone_pictures" / name)], expression=False)
            require_face(predicted.seven_mm, mean_seven, f"prediction {key}")
            distances, moved = _distances(predicted, truth, metrical)
        except (FacewrightError, ValueError) as error:
            recorder.fail(name, str(error), group=subject, strata=strata)
            continue
        constant = constant_of(subject)
        for pool, errors, cases in (
            ("method", distances, recorder.cases),
            ("mean", constant, recorder.baseline_cases),
        ):
            pools[pool].add(errors)
            values = {"image_mean_mm": float(errors.mean()), "image_median_mm": float(np.median(errors))}
            cases.append(Case(name, values, subject, strata))
        if recorder.heat is not None:
            found = closest_points(truth.region_mm, moved)
            corner = moved.faces[found.face_index, found.barycentrics.argmax(1)]
            recorder.heat.add(corner, distances)
        progress(name, (k + 1) / len(names))
    used = {Path(name).with_suffix("").as_posix() for name in names}
    recorder.problems += [f"{key}: a prediction for a picture that is not listed" for key in source.unused(used)]
    pooled, constant_pooled = (_pooled_figures(pools[name]) for name in ("method", "mean"))
    return recorder.close(
        method=source.name,
        figures=pooled,
        baseline=constant_pooled,
        curves=_pooled_curve(pools["method"], pools["mean"]),
        **source.facts,
    )


def _root(data: Path, split: Split) -> tuple[Path, Path]:
    choices = [data, data / "final_release_version", data / "NoW_Dataset" / "final_release_version"]
    root = next((choice for choice in choices if (choice / "iphone_pictures").is_dir()), None)
    name = f"imagepaths{split}.txt"
    lists = [choice / name for choice in [*choices, data / "NoW_Dataset"] if (choice / name).is_file()]
    missing = [] if root else ["iphone_pictures/"]
    missing += [] if lists else [name]
    missing += [f"{part}/" for part in ("scans", "scans_lmks_onlypp") if root and not (root / part).is_dir()]
    if root is None or missing:
        raise BenchmarkError(f"{data} lacks {', '.join(missing)}: {OBTAIN}")
    return root, lists[0]


def _read_truth(root: Path, subject: str, crop_factor: float, recorder: CaseRecorder, mean_seven: ndarray) -> _Truth:
    scans = natural_order(path for suffix in ("*.obj", "*.ply") for path in (root / "scans" / subject).glob(suffix))
    marks = natural_order((root / "scans_lmks_onlypp" / subject).glob("*.pp"))
    if not scans or not marks:
        lacking = "scan" if not scans else "landmarks (.pp)"
        raise BenchmarkError(f"subject {subject} has no {lacking}: {OBTAIN}")
    for path in (scans[0], marks[0]):
        recorder.digest.add(path.relative_to(root).as_posix(), path)
    scan, seven = read_surface(scans[0]), read_points(marks[0], 7)
    require_face(seven, mean_seven, f"scan landmarks {marks[0].name}")
    inside = now_region(scan.vertices_mm, seven, factor=crop_factor)
    if not inside.any():
        raise BenchmarkError(f"scan {scans[0].name} has no vertex near its landmarks; are both in mm?")
    return _Truth(scan.vertices_mm[inside], seven)


def _distances(predicted: PredictedMesh, truth: _Truth, metrical: bool) -> tuple[Float[ndarray, " N"], Surface]:
    """Distances of the scan's vertices, and the aligned prediction."""
    fit = fit_to_scan(predicted.surface, predicted.seven_mm, truth.region_mm, truth.seven_mm, metrical=metrical)
    moved = Surface(fit.alignment.apply(predicted.surface.vertices_mm), predicted.surface.faces)
    return fit.distances_mm, moved


def _pooled_figures(pool: PooledDistances) -> dict[str, Figure]:
    try:
        found = pool.statistics()
    except ValueError:
        return {}
    return {
        "median_mm": Figure.of(found.median_mm, "mm"),
        "mean_mm": Figure.of(found.mean_mm, "mm"),
        "std_mm": Figure.bare(found.std_mm, "mm", found.scans),
    }


def _pooled_curve(ours: PooledDistances, constant: PooledDistances) -> dict[str, Curve]:
    rows = (tuple(np.round(pool.shares(_CURVE_MM), 6).tolist()) for pool in (ours, constant))
    return {"pooled": Curve("distance of scan vertices, pooled", "mm", tuple(_CURVE_MM.round(4).tolist()), *rows)}
