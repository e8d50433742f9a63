"""REALY (Chai et al. 2022): four regions of the face, each aligned alone, with the expression.

Folder: ``REALY_HIFI3D_keypoints/ID.obj`` (85 points), ``REALY_scan_region/ID/{nose,mouth,forehead,cheek}.obj``,
``metrical_scale.txt``, and for methods that see photos the pictures ``ID.png`` or ``ID_K.png`` in a folder ``images``
(frontal) or ``images_side``. Predictions by file: ``ID.obj`` or ``ID_K.obj`` of one topology, with ``template.txt`` in
their folder (85 rows ``triangle w1 w2``) as the benchmark ships it for known topologies.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.alignment import procrustes
from facewright.evaluate.benchmarks.photos import first_folder, photo_at, pictures_in
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.predictions import FileMeshes, MeanHead, MeshSource, PhotoOfFace, mean_mesh
from facewright.evaluate.region_errors import REGION_RULES, RealyScan, mean_of_regions, realy_errors
from facewright.evaluate.results import Case, Figure, Metric, deviation_of
from facewright.evaluate.scan_files import read_surface
from facewright.evaluate.surfaces import Surface, closest_points
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.obj import read_vertices

OBTAIN = "sign the Headspace agreement and follow https://www.realy3dface.com"
REGIONS = tuple(REGION_RULES)
METRICS = (
    Metric("all_mm", "mean of the four regions", "mm", curve_limit=5.0),
    *(Metric(f"{name}_mm", f"{name}: mean distance of scan vertices to their partners", "mm") for name in REGIONS),
)
View = Literal["frontal", "side"]


@dataclass(frozen=True)
class KeypointTemplate:
    """REALY's 85 points on a topology.

    Attributes:
        corners: vertex ids per point.
        weights: barycentric.
    """

    corners: Int[ndarray, "85 3"]
    weights: Float[ndarray, "85 3"]

    def of(self, vertices: Float[ndarray, "V 3"]) -> Float[ndarray, "85 3"]:
        """Where they are.

        Raises:
            BenchmarkError: the mesh has too few vertices to be of this topology.
        """
        if self.corners.max() >= len(vertices):
            raise BenchmarkError(
                f"expected a mesh of the template's topology (more than {self.corners.max()} vertices), received "
                f"{len(vertices)}; meshes must keep their template's vertex order"
            )
        return (self.weights[..., None] * vertices[self.corners]).sum(1)


def evaluate_realy(
    data: Path,
    source: MeshSource,
    head: FaceModel,
    *,
    view: View = "frontal",
    limit: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Measure meshes with expression, region by region.

    Args:
        data: the folder.
        source: of the meshes.
        head: its mean is the baseline.
        view: which pictures.
        limit: at most so many cases, evenly spread; 0 for all.
        progress: is told how far it is.

    Raises:
        BenchmarkError: the folder lacks what nothing can be measured without.
    """
    _require_layout(data)
    scales = np.loadtxt(data / "metrical_scale.txt", ndmin=1)
    cases = _cases(data, source, view)
    cases = cases if not limit else cases[:: max(1, len(cases) // limit)][:limit]
    protocol = {
        "name": f"realy-{view}",
        "expression": "with",
        "regions": {name: asdict(rule) for name, rule in REGION_RULES.items()},
        "cases": len(cases),
        "keypoints_of_own_model": "68 from the model; the others glued where the data's own mean puts them",
    }
    topology = source.topology
    recorder = CaseRecorder(
        "realy", f"REALY, {view} view", protocol, METRICS, heat=HeatMap(topology) if topology else None
    )
    glued = _glued_template(data, head)
    template = _template_of(source) or glued
    baseline = MeanHead(head).mesh("", (), expression=True).surface
    constants: dict[str, dict[str, float]] = {}
    for k, (name, load) in enumerate(cases):
        subject = name.split("_")[0]
        try:
            scan = _scan(data, subject, scales, recorder)
            predicted = source.mesh(name, load, expression=True).surface
            errors = realy_errors(predicted, template.of(predicted.vertices_mm), scan)
            if subject not in constants:
                constant = realy_errors(baseline, glued.of(baseline.vertices_mm), scan)
                constants[subject] = _values({n: e.error_mm for n, e in constant.items()})
        except (FacewrightError, ValueError) as error:
            recorder.fail(name, str(error), group=subject)
            continue
        values = _values({region: error.error_mm for region, error in errors.items()})
        recorder.cases.append(Case(name, values | {"all_mm": mean_of_regions(errors)}, subject))
        recorder.baseline_cases.append(Case(name, constants[subject], subject))
        if recorder.heat is not None:
            for region, error in errors.items():
                moved = Surface(error.alignment.apply(predicted.vertices_mm), predicted.faces)
                touched = closest_points(scan.regions[region].vertices_mm, moved)
                corner = moved.faces[touched.face_index, touched.barycentrics.argmax(1)]
                recorder.heat.add(corner, error.distances_mm)
        progress(name, (k + 1) / len(cases))
    recorder.problems += [f"{key}: a prediction for no subject" for key in source.unused({name for name, _ in cases})]
    return recorder.close(
        method=source.name,
        figures=_deviations(recorder.cases),
        baseline=_deviations(recorder.baseline_cases),
        **source.facts,
    )


def read_template(path: Path, faces: Int[ndarray, "F 3"]) -> KeypointTemplate:
    """A template's text file: 85 rows of triangle number (from 0) and two weights.

    Raises:
        BenchmarkError: malformed, or a triangle that the mesh lacks.
    """
    try:
        rows = np.loadtxt(path, ndmin=2, delimiter="," if "," in path.read_text() else None)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"expected 85 rows `triangle w1 w2` in {path}, cannot read them: {error}") from error
    if rows.shape != (85, 3) or rows[:, 0].max() >= len(faces) or rows[:, 0].min() < 0:
        raise BenchmarkError(
            f"expected 85 rows `triangle w1 w2` with triangles below {len(faces)} in {path.name}, received {rows.shape}"
        )
    weights = np.column_stack([rows[:, 1], rows[:, 2], 1.0 - rows[:, 1] - rows[:, 2]])
    return KeypointTemplate(faces[rows[:, 0].astype(np.int64)], weights)


def _require_layout(data: Path) -> None:
    parts = ("REALY_HIFI3D_keypoints", "REALY_scan_region", "metrical_scale.txt")
    missing = [name for name in parts if not (data / name).exists()]
    if missing:
        raise BenchmarkError(f"{data} lacks {', '.join(missing)}: {OBTAIN}")


def _cases(data: Path, source: MeshSource, view: View) -> list[tuple[str, list[PhotoOfFace]]]:
    """Names of all cases, and their photos where a method needs them."""
    if isinstance(source, FileMeshes):
        known = {path.name for path in (data / "REALY_scan_region").iterdir() if path.is_dir()}
        named = [name for name in source.unused(set()) if name.split("_")[0] in known]
        absent = known - {name.split("_")[0] for name in named}
        return [(name, []) for name in natural_order([*named, *absent])]
    name = "images_side" if view == "side" else "images"
    folder = first_folder(data, name)
    if folder is None:
        raise BenchmarkError(f"{data} has no folder of pictures, {name}/: {OBTAIN}")
    return [(path.stem, [photo_at(path)]) for path in pictures_in(folder)]


def _scan(data: Path, subject: str, scales: ndarray, recorder: CaseRecorder) -> RealyScan:
    if not subject.isdigit() or not 1 <= int(subject) <= len(scales):
        raise BenchmarkError(f"expected a subject number 1..{len(scales)} (metrical_scale.txt), received {subject!r}")
    scale = float(scales[int(subject) - 1])
    files = {name: data / "REALY_scan_region" / subject / f"{name}.obj" for name in REGIONS}
    keypoint_file = data / "REALY_HIFI3D_keypoints" / f"{subject}.obj"
    for path in (*files.values(), keypoint_file):
        if not path.is_file():
            raise BenchmarkError(f"subject {subject} has no {path.parent.name}/{path.name}: {OBTAIN}")
        recorder.digest.add(path.relative_to(data).as_posix(), path)
    regions = {name: read_surface(path, mm_per_unit=scale) for name, path in files.items()}
    return RealyScan(regions, _keypoints(keypoint_file) * scale, scale)


def _keypoints(path: Path) -> Float[ndarray, "85 3"]:
    points = read_vertices(path)
    if points.shape != (85, 3) or not np.isfinite(points).all():
        raise BenchmarkError(f"expected 85 finite points in {path.name}, received {points.shape}")
    return points


def _template_of(source: MeshSource) -> KeypointTemplate | None:
    if not isinstance(source, FileMeshes):
        return None
    path = source.folder / "template.txt"
    meshes = natural_order(source.folder.glob("*.obj"))
    if not path.is_file() or not meshes:
        raise BenchmarkError(
            f"expected template.txt and OBJ files in {source.folder}, found {len(meshes)} meshes; the benchmark ships "
            "templates of known topologies (BFM09.txt, FLAME.txt ...): copy yours as template.txt"
        )
    return read_template(path, read_surface(meshes[0]).faces)


def _glued_template(data: Path, head: FaceModel) -> KeypointTemplate:
    """The 85 points on a head model: 68 are its own landmarks, the mean scan's other points are glued to the skin."""
    sums, count = np.zeros((85, 3)), 0
    for path in natural_order((data / "REALY_HIFI3D_keypoints").glob("*.obj")):
        points = _keypoints(path)
        if count:
            points = procrustes(points, sums / count).apply(points)
        sums, count = sums + points, count + 1
    if not count:
        raise BenchmarkError(f"{data}/REALY_HIFI3D_keypoints has no ID.obj: {OBTAIN}")
    mean = mean_mesh(head)
    own = mean.ibug68_mm
    if own is None:
        raise BenchmarkError(f"face model {head.name!r} has no iBUG-68 table; import it with landmarks")
    laid = procrustes(sums[:68] / count, own).apply(sums / count)
    found = closest_points(np.concatenate([own, laid[68:]]), mean.surface)
    return KeypointTemplate(mean.surface.faces[found.face_index], found.barycentrics)


def _values(errors: dict[str, float]) -> dict[str, float]:
    values = {f"{name}_mm": value for name, value in errors.items()}
    return values | {"all_mm": float(np.mean(list(values.values())))}


def _deviations(cases: list[Case]) -> dict[str, Figure]:
    """Over cases, as the leaderboard prints them."""
    parts = [deviation_of(cases, f"{name}_mm", "mm") for name in REGIONS]
    return {name: figure for part in parts for name, figure in part.items()}
