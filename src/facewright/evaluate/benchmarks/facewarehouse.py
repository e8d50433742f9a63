"""FaceWarehouse-180 (Tewari 2018): 9 people x 20 expressions, per-vertex errors.

Folder: pictures ``Tester_K/TrainingPose/pose_I.png`` (or ``.jpg``) as FaceWarehouse has them; and the truth *in the
topology of the prediction*, ``correspondence/Tester_K/pose_I.obj``: the protocol's authors hand out theirs on request.
``correspondence/region_small.txt`` and ``region_large.txt`` hold the regions' vertex ids; ``--region all`` needs
neither, and compares with no published figure.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.benchmarks.photos import photo_at, photo_named
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.predictions import FileMeshes, MeanHead, MeshSource, mean_mesh
from facewright.evaluate.results import Case, Metric, deviation_of
from facewright.evaluate.scan_files import read_surface
from facewright.evaluate.scan_protocol import vertex_errors
from facewright.evaluate.surfaces import Surface
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel

OBTAIN = (
    "request FaceWarehouse from http://kunzhou.net/zjugaps/facewarehouse and the correspondences from the authors of "
    "Tewari et al. 2018 (non-commercial)"
)
METRICS = (Metric("error_mm", "mean distance of corresponding vertices", "mm", curve_limit=6.0),)
Region = Literal["small", "large", "all"]


def evaluate_facewarehouse(
    data: Path,
    source: MeshSource,
    head: FaceModel,
    *,
    region: Region = "small",
    own_scale: bool = False,
    mm_per_unit: float = 1.0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure meshes with expression against corresponding truth.

    Args:
        data: the folder.
        source: of the meshes; files are named ``Tester_K/pose_I``.
        head: its mean is the baseline where the truth has its topology.
        region: of the published tables; ``all`` vertices otherwise.
        own_scale: similarity instead of rigid alignment. The source does not say which.
        mm_per_unit: of the truth's files.
        progress: is told how far it is.

    Raises:
        BenchmarkError: there is no truth in the folder.
    """
    truths = natural_order((data / "correspondence").glob("Tester_*/pose_*.obj"))
    if not truths:
        raise BenchmarkError(f"{data} has no correspondence/Tester_K/pose_I.obj: {OBTAIN}")
    recorder = _recorder(head, region, own_scale, len(truths))
    if len(truths) < 180:
        recorder.missing.append(f"{180 - len(truths)} of the 180 true meshes: {OBTAIN}")
    region_ids = _region(data, region, recorder)
    baseline = MeanHead(head).mesh("", (), expression=True).in_topology_mm
    scale = None if own_scale else 1.0
    for k, path in enumerate(truths):
        key = f"{path.parent.name}/{path.stem}"
        try:
            recorder.digest.add(key, path)
            truth = read_surface(path, mm_per_unit=mm_per_unit).vertices_mm
            photos = [] if isinstance(source, FileMeshes) else [photo_at(_photo(data, path))]
            predicted = source.mesh(key, photos, expression=True).in_topology_mm
            ids = np.arange(len(truth)) if region_ids is None else region_ids
            _require_same(predicted, truth, ids, key)
        except (FacewrightError, ValueError) as error:
            recorder.fail(key, str(error), group=path.parent.name)
            continue
        found = vertex_errors(predicted[ids], truth[ids], scale=scale)
        recorder.cases.append(Case(key, {"error_mm": found.mean_mm}, path.parent.name))
        if len(baseline) == len(truth):
            constant = vertex_errors(baseline[ids], truth[ids], scale=scale)
            recorder.baseline_cases.append(Case(key, {"error_mm": constant.mean_mm}, path.parent.name))
        if recorder.heat is not None and len(recorder.heat.surface.vertices_mm) == len(truth):
            recorder.heat.add(ids, found.distances_mm)
        progress(key, (k + 1) / len(truths))
    unused = source.unused({f"{path.parent.name}/{path.stem}" for path in truths})
    recorder.problems += [f"{key}: a prediction without truth" for key in unused]
    if not recorder.baseline_cases:
        recorder.missing.append("the mean head's figures: the truth is not in the topology of the face model")
    return recorder.close(
        method=source.name,
        figures=deviation_of(recorder.cases, "error_mm", "mm"),
        baseline=deviation_of(recorder.baseline_cases, "error_mm", "mm"),
        **source.facts,
    )


def _recorder(head: FaceModel, region: Region, own_scale: bool, count: int) -> CaseRecorder:
    protocol = {
        "name": f"tewari2018-{region}",
        "expression": "with",
        "alignment": "similarity" if own_scale else "rigid",
        "distance": "corresponding vertices",
        "meshes": count,
        "unpublished": "the alignment's kind; the regions' vertices",
    }
    mean = Surface(mean_mesh(head).in_topology_mm, head.faces.cpu().numpy().astype(np.int64))
    return CaseRecorder("facewarehouse", "FaceWarehouse-180", protocol, METRICS, heat=HeatMap(mean))


def _region(data: Path, region: Region, recorder: CaseRecorder) -> Int[ndarray, " N"] | None:
    path = data / "correspondence" / f"region_{region}.txt"
    if region == "all":
        return None
    if not path.is_file():
        raise BenchmarkError(f"{data} has no correspondence/{path.name} (vertex ids): {OBTAIN}; or pass --region all")
    recorder.digest.add(path.name, path)
    try:
        ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
    except ValueError as error:
        raise BenchmarkError(f"expected vertex ids in {path.name}, cannot read them: {error}") from error
    return ids


def _require_same(predicted: ndarray, truth: ndarray, ids: ndarray, key: str) -> None:
    if len(predicted) != len(truth) or ids.max() >= len(truth):
        raise BenchmarkError(
            f"{key}: expected {len(truth)} vertices as the truth has, received {len(predicted)}; this benchmark "
            "compares vertex by vertex: predictions must have the truth's topology"
        )


def _photo(data: Path, truth: Path) -> Path:
    folder = data / truth.parent.name / "TrainingPose"
    path = photo_named(folder, truth.stem)
    if path is None:
        raise BenchmarkError(f"expected a picture {truth.stem}.png in {truth.parent.name}/TrainingPose, found none")
    return path
