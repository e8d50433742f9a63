"""BU-3DFE as in Deng 2019: ICP with own scale, point-to-plane RMSE on the face region.

Folder: ``F0001/F0001_NE00WH_F3D.wrl`` (mesh, mm), ``..._F3D.bnd`` (83 landmarks) and ``..._F2D.bmp`` (picture), for
people F0001 to M0044. Which of the 2,500 scans the paper used is not published: all that are there count.
"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.benchmarks.photos import photo_at, photo_named
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.predictions import FileMeshes, MeanHead, MeshSource, mean_mesh, require_face
from facewright.evaluate.results import Case, Metric, deviation_of
from facewright.evaluate.scan_files import read_points, read_surface
from facewright.evaluate.scan_protocol import DENG2019, FacePoints, scan_errors
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel

OBTAIN = (
    "license BU-3DFE from Binghamton University: http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html"
)
PROTOCOL = replace(
    DENG2019,
    name="deng2019-bu3dfe",
    unpublished="the scans, the crop (as for MICC: 95 mm, forehead cut), the landmarks that start the ICP",
)
METRICS = (Metric("error_mm", "point-to-plane RMSE over the face region", "mm", curve_limit=6.0),)
_EYES, _NOSE, _OUTER_LIPS = (slice(0, 8), slice(8, 16)), slice(36, 48), slice(48, 60)


def evaluate_bu3dfe(
    data: Path,
    source: MeshSource,
    head: FaceModel,
    *,
    limit: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure meshes with expression against the scans.

    Args:
        data: the folder.
        source: of the meshes; files are named ``F0001/F0001_NE00WH``.
        head: its mean is the baseline.
        limit: at most so many scans, evenly spread; 0 for all.
        progress: is told how far it is.

    Raises:
        BenchmarkError: there is no scan in the folder.
    """
    scans = natural_order(data.glob("[FM]????/*_F3D.wrl"))
    if not scans:
        raise BenchmarkError(f"{data} has no F0001/F0001_NE00WH_F3D.wrl: {OBTAIN}")
    scans = scans if not limit else scans[:: max(1, len(scans) // limit)][:limit]
    topology = source.topology
    protocol = asdict(PROTOCOL) | {"expression": "with", "scans": len(scans)}
    recorder = CaseRecorder("bu3dfe", "BU-3DFE", protocol, METRICS, heat=HeatMap(topology) if topology else None)
    mean = mean_mesh(head)
    baseline = MeanHead(head).mesh("", (), expression=True)
    for k, path in enumerate(scans):
        name = path.stem.removesuffix("_F3D")
        person, key = path.parent.name, f"{path.parent.name}/{name}"
        strata = {"expression": name.rpartition("_")[2][:2]}
        try:
            scan, points = read_surface(path), _points(path, recorder)
            recorder.digest.add(path.name, path)
            require_face(points.seven_mm, mean.seven_mm, f"scan landmarks of {name}")
            photos = [] if isinstance(source, FileMeshes) else [photo_at(_photo(path, name))]
            predicted = source.mesh(key, photos, expression=True)
            require_face(predicted.seven_mm, mean.seven_mm, f"prediction {key}")
            error = scan_errors(predicted.surface, predicted.face_points, scan, points, PROTOCOL)
            constant = scan_errors(baseline.surface, baseline.face_points, scan, points, PROTOCOL)
        except (FacewrightError, ValueError) as error:
            recorder.fail(key, str(error), group=person, strata=strata)
            continue
        recorder.cases.append(Case(key, {"error_mm": error.error_mm}, person, strata))
        recorder.baseline_cases.append(Case(key, {"error_mm": constant.error_mm}, person, strata))
        progress(key, (k + 1) / len(scans))
    used = {f"{path.parent.name}/{path.stem.removesuffix('_F3D')}" for path in scans}
    recorder.problems += [f"{key}: a prediction for no scan" for key in source.unused(used)]
    return recorder.close(
        method=source.name,
        figures=deviation_of(recorder.cases, "error_mm", "mm"),
        baseline=deviation_of(recorder.baseline_cases, "error_mm", "mm"),
        **source.facts,
    )


def seven_of_83(points: Float[ndarray, "83 3"]) -> FacePoints:
    """The protocol's landmarks out of BU-3DFE's 83: eight per eye, ten per brow, 12 of the nose, 20 of the mouth, jaw.

    Corners are the outermost points of their group, which does not depend on where a group's numbering starts; x
    grows to the subject's left. The nose bottom is the lowest of the nose's points nearest to its middle, the tip the
    foremost.
    """
    right, left = sorted((points[group] for group in _EYES), key=lambda eye: float(eye[:, 0].mean()))
    nose, lips = points[_NOSE], points[_OUTER_LIPS]
    middle = (nose[:, 0].min() + nose[:, 0].max()) / 2.0
    width = max(float(np.ptp(nose[:, 0])), 1e-9)
    central = nose[np.abs(nose[:, 0] - middle) < 0.25 * width]
    central = central if len(central) else nose
    seven = np.stack(
        [
            *(right[right[:, 0].argmin()], right[right[:, 0].argmax()]),
            *(left[left[:, 0].argmin()], left[left[:, 0].argmax()]),
            central[central[:, 1].argmin()],
            *(lips[lips[:, 0].argmin()], lips[lips[:, 0].argmax()]),
        ]
    )
    return FacePoints(seven, nose[nose[:, 2].argmax()])


def _points(scan: Path, recorder: CaseRecorder) -> FacePoints:
    path = next((p for ending in (".bnd", "_.bnd") if (p := scan.with_name(scan.stem + ending)).is_file()), None)
    if path is None:
        raise BenchmarkError(f"expected landmarks {scan.stem}.bnd beside the scan, found none: {OBTAIN}")
    recorder.digest.add(path.name, path)
    return seven_of_83(read_points(path, 83))


def _photo(scan: Path, name: str) -> Path:
    path = photo_named(scan.parent, f"{name}_F2D")
    if path is None:
        raise BenchmarkError(f"expected a picture {name}_F2D.bmp beside the scan, found none: {OBTAIN}")
    return path
