"""Florence as PRNet measures it: scans rendered at many poses, pairs over the eye distance.

Folder: that of ``micc`` (``subject_NN/Model/frontal1/obj/*.obj`` with its texture, landmarks beside the scan). The
pictures are rendered here, as VRN did: pitch -15, 20, 25 degrees, yaw -80 to 80. Two readings of the protocol circulate
and both are reported: the points after the ICP (``nme_aligned``), or where they were (``nme_pairs_only``).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.errors import BenchmarkError, FaceModelError, FacewrightError
from facewright.evaluate.benchmarks.micc import OBTAIN
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent
from facewright.evaluate.methods import Measurable, MeasuredFace, name_of
from facewright.evaluate.paired_points import reconstruction_nmes
from facewright.evaluate.predictions import mean_mesh, require_face
from facewright.evaluate.regions import cut_out, within_radius
from facewright.evaluate.results import Case, Metric
from facewright.evaluate.scan_files import beside, read_points
from facewright.evaluate.surfaces import Surface
from facewright.export.pictures import draw_points
from facewright.files import natural_order
from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.readers.obj import ObjMesh, read_obj
from facewright.photo import photo_from_array, read_photo
from facewright.records import Camera, FaceMesh, Photo
from facewright.render.lighting import PLAIN_SHADING
from facewright.render.renderer import render

PITCHES_DEG, YAWS_DEG = (-15.0, 20.0, 25.0), (-80.0, -40.0, 0.0, 40.0, 80.0)
SIZE_PX, DISTANCE_DM, FOCAL_PX, RADIUS_MM = 450, 12.0, 1800.0, 95.0
METRICS = (
    Metric("nme_aligned", "mean distance after rigid ICP over the outer eye distance", "%", curve_limit=10.0),
    Metric("nme_pairs_only", "the same of unmoved points, depth from its mean; the ICP gives the pairs alone", "%"),
)


@dataclass(frozen=True)
class _Person:
    """A textured scan, dm, about its middle, facing +z."""

    mesh: FaceMesh
    marks: Float[ndarray, "68 3"]


def evaluate_florence_prnet(
    data: Path,
    method: Measurable,
    baseline: Measurable,
    *,
    pitches_deg: tuple[float, ...] = PITCHES_DEG,
    yaws_deg: tuple[float, ...] = YAWS_DEG,
    progress: Progress = silent,
) -> Evaluation:
    """Measure posed reconstructions of rendered scans.

    Args:
        data: the MICC folder.
        method: sees the renderings.
        baseline: the mean head, posed by the same detector.
        pitches_deg: of the renderings.
        yaws_deg: likewise.
        progress: is told how far it is.

    Raises:
        BenchmarkError: there is no scan in the folder.
    """
    subjects = natural_order(path for path in data.glob("subject_*") if path.is_dir())
    if not subjects:
        raise BenchmarkError(f"{data} has no subject_NN folders: {OBTAIN}")
    protocol = {
        "name": "prnet2018",
        "pitches_deg": pitches_deg,
        "yaws_deg": yaws_deg,
        "picture_px": SIZE_PX,
        "region": f"{RADIUS_MM:g} mm around the nose tip",
        "unpublished": "the yaws, the common region, the camera; there is no official code",
    }
    recorder = CaseRecorder("florence-prnet", "Florence by PRNet's protocol", protocol, METRICS)
    mean_seven = mean_mesh(method.face_model or load_face_model()).seven_mm
    for k, subject in enumerate(subjects):
        try:
            person = _read(subject, recorder, mean_seven)
        except FacewrightError as error:
            recorder.fail(subject.name, str(error), group=subject.name)
            continue
        for pitch in pitches_deg:
            for yaw in yaws_deg:
                _measure(recorder, person, subject.name, pitch, yaw, method, baseline)
        progress(subject.name, (k + 1) / len(subjects))
    return recorder.close(
        method=method.name,
        weights=method.weights,
        face_model=name_of(method.face_model),
        settings=method.settings,
    )


def _measure(
    recorder: CaseRecorder,
    person: _Person,
    subject: str,
    pitch: float,
    yaw: float,
    method: Measurable,
    baseline: Measurable,
) -> None:
    name = f"{subject}, pitch {pitch:g}, yaw {yaw:g}"
    strata = {"yaw": f"{abs(yaw):g}", "pitch": f"{pitch:g}"}
    photo, truth, marks = _rendered(person, pitch, yaw)
    try:
        near = torch.from_numpy(np.concatenate([marks[:, :2].min(0), marks[:, :2].max(0)])).float()
        detection = method.find(photo, near)
        found = method.estimate(photo, detection)
        values = _errors(found, truth, marks)
        constant = _errors(baseline.estimate(photo, detection), truth, marks)
    except (FacewrightError, ValueError) as error:
        recorder.fail(name, f"{type(error).__name__}: {error}", group=subject, strata=strata)
        return
    recorder.cases.append(Case(name, values, subject, strata))
    recorder.baseline_cases.append(Case(name, constant, subject, strata))

    def draw() -> Float[Tensor, "3 H W"]:
        return draw_points(photo.srgb, torch.from_numpy(found.landmarks_px[:, :2]).float())

    recorder.worst.offer(values["nme_aligned"], f"{name}: {values['nme_aligned']:.1f} %", draw)


def _errors(found: MeasuredFace, truth: Surface, marks: Float[ndarray, "68 3"]) -> dict[str, float]:
    """Both readings, per cent. Pixels serve as the unit; y and depth are flipped so that the frame is right-handed."""
    eyes = float(np.linalg.norm(marks[36] - marks[45]))
    predicted = Surface(found.points_px * [1.0, -1.0, -1.0], found.topology.faces.cpu().numpy().astype(np.int64))
    measured = reconstruction_nmes(predicted, truth, eyes)
    return {f"nme_{rule}": 100.0 * share for rule, share in measured.items()}


def _rendered(person: _Person, pitch: float, yaw: float) -> tuple[Photo, Surface, Float[ndarray, "68 3"]]:
    """Picture, true face region and landmarks, in pixels (y up, depth toward the camera)."""
    angles = torch.deg2rad(torch.tensor([[pitch, yaw, 0.0]]))
    zero = torch.zeros(1, 3)
    vertices = pose_points(person.mesh.vertices, angles, zero)
    normals = vertex_normals(vertices, person.mesh.faces)
    middle = torch.tensor([(SIZE_PX - 1) / 2])
    camera = Camera(torch.tensor([FOCAL_PX]), middle, middle, SIZE_PX, SIZE_PX, DISTANCE_DM)
    mesh = FaceMesh(vertices, normals, person.mesh.albedo / PLAIN_SHADING, person.mesh.faces, albedo_space="display")
    rendering = render(mesh, camera, torch.zeros(1, 9, 3))
    picture = (rendering.image + 0.5 * (1.0 - rendering.mask))[0].clamp(0.0, 1.0)
    photo = photo_from_array(picture.permute(1, 2, 0))

    def to_pixels(points: Float[Tensor, "1 N 3"]) -> Float[ndarray, "N 3"]:
        flat = project_points(points, camera)[0].double().numpy()
        depth = (DISTANCE_DM - flat[:, 2]) * FOCAL_PX / DISTANCE_DM
        return np.stack([flat[:, 0], -flat[:, 1], depth], -1)

    marks_dm = torch.from_numpy(person.marks).float()[None]
    inside = within_radius(person.mesh.vertices[0].double().numpy(), person.marks[30], RADIUS_MM / 100.0)
    whole = Surface(to_pixels(vertices), person.mesh.faces.numpy())
    marks = to_pixels(pose_points(marks_dm, angles, zero)) * [1.0, -1.0, 1.0]
    return photo, cut_out(whole, inside)[0], marks


def _read(subject: Path, recorder: CaseRecorder, mean_seven: Float[ndarray, "7 3"]) -> _Person:
    files = natural_order((subject / "Model" / "frontal1" / "obj").glob("*.obj"))
    marks_file = beside(files[0], ".npy", ".txt", ".pp") if files else None
    if marks_file is None:
        lacking = "68 landmarks beside the scan" if files else "a scan Model/frontal1/obj/*.obj"
        raise BenchmarkError(f"{subject.name} has no {lacking}: {OBTAIN}")
    for path in (files[0], marks_file):
        recorder.digest.add(path.relative_to(subject.parent).as_posix(), path)
    marks = read_points(marks_file, 68)
    require_face(marks[SEVEN_OF_68], mean_seven, f"scan landmarks {subject.name}/{marks_file.name}")
    try:
        scan = read_obj(files[0])
    except FaceModelError as error:
        raise BenchmarkError(f"{files[0].name} is no mesh that can be read: {error}") from error
    colors = _colors(files[0], scan, recorder)
    middle = scan.vertices[within_radius(scan.vertices, marks[30], RADIUS_MM)].mean(0)
    vertices = torch.from_numpy((scan.vertices - middle) / 100.0).float()[None]
    faces = torch.from_numpy(scan.faces)
    mesh = FaceMesh(vertices, vertex_normals(vertices, faces), colors[None], faces, albedo_space="display")
    return _Person(mesh, (marks - middle) / 100.0)


def _colors(path: Path, scan: ObjMesh, recorder: CaseRecorder) -> Float[Tensor, "V 3"]:
    """The texture at the vertices (scans are finer than the pictures); its file is named in the material."""
    material = re.search(r"^mtllib\s+(.+)$", path.read_text(encoding="latin-1"), re.MULTILINE)
    library = path.parent / material.group(1).strip() if material else None
    texture = None
    if library is not None and library.is_file():
        texture = re.search(r"^\s*map_Kd\s+(.+)$", library.read_text(encoding="latin-1"), re.MULTILINE)
    image = path.parent / texture.group(1).strip() if texture else None
    if image is None or not image.is_file() or scan.uv is None or scan.faces_uv is None:
        raise BenchmarkError(f"{path.name} has no texture (mtllib, map_Kd, vt): the pictures cannot be rendered")
    recorder.digest.add(image.name, image)
    srgb = read_photo(image).srgb
    u, v = torch.from_numpy(scan.uv).float().unbind(-1)
    grid = torch.stack([2 * u - 1, 1 - 2 * v], -1)[None, None]
    read = torch.nn.functional.grid_sample(srgb[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T
    colors = torch.full((len(scan.vertices), 3), 0.5)
    corners = torch.from_numpy(scan.faces).flatten()
    return colors.index_copy(0, corners, read[torch.from_numpy(scan.faces_uv).flatten()])
