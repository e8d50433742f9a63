"""Photographs of people who do not exist: every truth is known, nothing needs to be obtained.

Protocol ``synthetic-1``: scenes of held-out seeds from the open head (``facewright.synthetic``), the package's
own detector, shape errors over the face region after rigid alignment in one topology. ``synthetic-plain-1``: the same
on easy pictures (large, sharp, bare, fairly frontal faces 10 dm away).
"""

from dataclasses import asdict
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.errors import BenchmarkError, NoFaceFoundError, ReconstructionError
from facewright.evaluate.benchmarks.likeness import LikenessPlan, likeness_figures
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, Progress, silent
from facewright.evaluate.frechet import expression_fid
from facewright.evaluate.gestures import gesture_errors
from facewright.evaluate.images import photometric_errors
from facewright.evaluate.landmarks import box_size, nme, nme_68
from facewright.evaluate.methods import MM_PER_DM, FlowMethod, Measurable, MeasuredFace, baseline_of, surface_mm
from facewright.evaluate.report.pictures import close_up
from facewright.evaluate.results import NUM_RESAMPLES, Case, Figure, Metric
from facewright.evaluate.sameness import identity_spread
from facewright.evaluate.scan_protocol import vertex_errors
from facewright.evaluate.yaw_figures import yaw_figures
from facewright.export.asset import to_uint8
from facewright.export.pictures import overlay
from facewright.geometry.frames import crop_camera
from facewright.geometry.ibug68 import INNER_51
from facewright.geometry.pose import posed_mesh
from facewright.pipeline.views import display_picture
from facewright.records import Photo
from facewright.render.renderer import render
from facewright.synthetic import (
    HELD_OUT_SEED,
    Scene,
    Studio,
    open_studio,
    photograph,
    plan_plain_scene,
    plan_scene,
)
from facewright.synthetic.plan import viewed_rotation

METRICS = (
    Metric("shape_mm", "shape with expression, rigid alignment", "mm", curve_limit=8.0),
    Metric("neutral_mm", "identity alone, rigid alignment", "mm"),
    Metric("scaled_mm", "shape with expression, similarity alignment", "mm"),
    Metric("rotation_deg", "head rotation, median", "deg", "median"),
    Metric("nme_68", "NME of 68 landmarks over the box", "%", curve_limit=10.0),
    Metric("nme_51", "NME of the inner 51", "%"),
    Metric("nme_seen", "NME of the landmarks that can be seen", "%"),
    Metric("nme_mesh", "NME of all face vertices", "%"),
    Metric("expression_rms", "expression weights, RMS error", "1"),
    Metric("albedo_rms", "linear albedo after one gain per channel, RMS error", "1"),
    Metric("photometric_l1", "rendering against photo on the visible face", "1"),
)
SceneKind = Literal["full", "plain"]


def evaluate_synthetic(
    method: FlowMethod,
    *,
    count: int = 200,
    size: int = 0,
    scenes: SceneKind = "full",
    first_seed: int = HELD_OUT_SEED,
    likeness: LikenessPlan | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a method on held-out scenes, and its likeness tests.

    Args:
        method: of the open head's coefficients.
        count: scenes.
        size: of the pictures, px; 0: 640, or 400 for plain scenes.
        scenes: whatever photographs bring, or easy ones.
        first_seed: of the scenes; the next ones follow.
        likeness: how many albums, turns, clips; None: as many as go with so many scenes.
        progress: is told how far it is.

    Raises:
        BenchmarkError: the method's coefficients belong to another face model, the seeds are not held out, or there is
            nothing to draw.
    """
    if count < 1 or size < 0:
        raise BenchmarkError(f"expected a scene or more, of 0 (standard) or more pixels, received {count} of {size}")
    studio = open_studio()
    _require_same_model(method, studio)
    if first_seed < HELD_OUT_SEED:
        raise BenchmarkError(f"expected seeds from {HELD_OUT_SEED} on, received {first_seed}: others are for training")
    plan = likeness or LikenessPlan.beside(count)
    size = size or (640 if scenes == "full" else 400)
    protocol = {
        "name": "synthetic-1" if scenes == "full" else "synthetic-plain-1",
        "face_model": studio.model.name,
        "face_model_sha256": studio.model.metadata.get("sha256", ""),
        "first_seed": first_seed,
        "scenes": count,
        "picture_px": size,
        "region": "face",
        "alignment": "rigid",
        "detector": "own; the face that overlaps the true one most",
        "failures": "not in the means; counted and named",
        "likeness": asdict(plan),
    }
    mean = MeasuredFace.of_coefficients(studio.model, studio.model.layout.zeros(), crop_camera())
    recorder = CaseRecorder(
        "synthetic", "Synthetic people", protocol, METRICS, heat=HeatMap(surface_mm(mean, expression=True))
    )
    baseline = baseline_of(method)
    identities: list[tuple[Tensor, Tensor]] = []
    expressions: list[tuple[Tensor, Tensor]] = []
    mirrored: list[tuple[Photo, MeasuredFace]] = []
    for k in range(count):
        scene = _photographed(studio, first_seed + k, scenes, size)
        recorder.digest.add(f"scene-{scene.seed}", to_uint8(scene.photo.srgb).tobytes())
        estimate = _measure(recorder, studio, method, baseline, scene)
        if estimate is not None:
            identities.append((estimate.coefficients.id[0], scene.coefficients.id[0]))
            expressions.append((estimate.coefficients.exp[0], scene.coefficients.exp[0]))
            if len(mirrored) < plan.mirrored:
                mirrored.append((scene.photo, estimate))
        progress(f"scene {k + 1} of {count}", 0.6 * (k + 1) / count)
    figures = yaw_figures(recorder.cases) | _spread(studio, identities)
    figures |= _expression_distance(expressions) | _gestures(studio, expressions)
    figures["faces_not_found"] = Figure.bare(
        100.0 * sum(bool(case.problem) for case in recorder.cases) / count, "%", count
    )
    figures |= likeness_figures(
        method, studio, plan, mirrored, lambda text, done: progress(text, 0.6 + 0.4 * done), recorder
    )
    return recorder.close(
        method=method.name,
        weights=method.weights,
        face_model=studio.model.name,
        settings=method.settings,
        figures=figures,
        baseline=yaw_figures(recorder.baseline_cases),
    )


def _photographed(studio: Studio, seed: int, kind: SceneKind, size: int) -> Scene:
    if kind == "plain":
        return photograph(studio, plan_plain_scene(studio, seed, size=size))
    return photograph(studio, plan_scene(studio, seed, width=size, height=size))


def _require_same_model(method: Measurable, studio: Studio) -> None:
    ours, theirs = studio.model, method.face_model
    if theirs is None:
        raise BenchmarkError(
            f"expected a method that finds coefficients of the face model {ours.name!r}, received {method.name!r}, "
            "which finds meshes alone; compare it on scans or landmarks (now, micc, realy, aflw2000)"
        )
    if ours.layout != theirs.layout or ours.metadata.get("sha256") != theirs.metadata.get("sha256"):
        raise BenchmarkError(
            f"expected a method of the face model {ours.name!r} that the scenes are drawn from, received one of "
            f"{theirs.name!r}; compare other models on scans (now, micc, realy)"
        )


def _measure(
    recorder: CaseRecorder, studio: Studio, method: Measurable, baseline: Measurable, scene: Scene
) -> MeasuredFace | None:
    """Cases of one scene for the method and the mean head; the method's estimate if there is one."""
    name, group = f"scene-{scene.seed}", f"person-{scene.person}"
    try:
        detection = method.find(scene.photo, near=scene.face_box)
        estimate = method.estimate(scene.photo, detection)
        constant = estimate if method.name == "mean" else baseline.estimate(scene.photo, detection)
    except (NoFaceFoundError, ReconstructionError) as error:
        recorder.fail(name, f"{type(error).__name__}: {error}", group=group, strata=scene.strata)
        return None
    truth = MeasuredFace.of_coefficients(studio.model, scene.coefficients, scene.camera)
    errors_mm = np.zeros(0)
    for found, cases in ((constant, recorder.baseline_cases), (estimate, recorder.cases)):
        values, errors_mm = scene_errors(studio, found, truth, scene)
        cases.append(Case(name, values, group, scene.strata))
    if recorder.heat is not None:
        recorder.heat.add(studio.face_vertices.numpy(), errors_mm)
    value = recorder.cases[-1].values["shape_mm"]
    recorder.worst.offer(value, f"{name}: {value:.1f} mm", lambda: _picture(scene, estimate))
    return estimate


def scene_errors(
    studio: Studio, found: MeasuredFace, truth: MeasuredFace, scene: Scene
) -> tuple[dict[str, float], Float[ndarray, " N"]]:
    """All metrics of one face, and the errors of its face vertices after rigid alignment, mm."""
    face = studio.face_vertices.numpy()
    with_exp = [e.vertices_mm(expression=True)[face] for e in (found, truth)]
    neutral = [e.vertices_mm(expression=False)[face] for e in (found, truth)]
    rigid = vertex_errors(*with_exp)
    marks, true_marks = found.landmarks_px[None, :, :2], truth.landmarks_px[None, :, :2]
    size = box_size(true_marks)
    seen = scene.landmarks_visible.numpy()[None]
    points, true_points = (e.points_px[None, face, :2] for e in (found, truth))
    turns = [viewed_rotation(e.coefficients, e.camera.distance_dm)[0] for e in (found, truth)]
    cosine = (np.trace(turns[0].T @ turns[1]) - 1.0) / 2.0
    exp = (found.coefficients.exp - truth.coefficients.exp)[0]
    values = {
        "shape_mm": rigid.mean_mm,
        "neutral_mm": vertex_errors(*neutral).mean_mm,
        "scaled_mm": vertex_errors(*with_exp, scale=None).mean_mm,
        "rotation_deg": float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))),
        "nme_68": 100.0 * float(nme_68(marks, true_marks)[0]),
        "nme_51": 100.0 * float(nme_68(marks, true_marks, points=INNER_51)[0]),
        "nme_mesh": 100.0 * float(nme(points, true_points, size)[0]),
        "expression_rms": float(exp.square().mean().sqrt()),
        "albedo_rms": _albedo_error(studio, found, truth),
    }
    if seen.any():
        values["nme_seen"] = 100.0 * float(nme(marks, true_marks, size, valid=seen)[0])
    photometric = _photometric_error(found, scene)
    return values | ({} if photometric is None else {"photometric_l1": photometric}), rigid.distances_mm


def _albedo_error(studio: Studio, found: MeasuredFace, truth: MeasuredFace) -> float:
    """Brightness of skin and of light cannot be told apart in one photo: a gain per channel is free."""
    face = studio.face_vertices
    ours, true = (e.face_model.albedo(e.coefficients.tex)[0, face] for e in (found, truth))
    gain = (ours * true).sum(0) / ours.square().sum(0).clamp_min(1e-9)
    return float((gain * ours - true).square().mean().sqrt())


def _photometric_error(found: MeasuredFace, scene: Scene) -> float | None:
    """Mean absolute difference on the visible face; None where the rendering misses it altogether."""
    mesh = posed_mesh(found.mesh, found.pose)
    rendering = render(mesh, found.camera, found.coefficients.sh, antialias=False)
    weight = rendering.mask[0, 0] * scene.face_seen
    if float(weight.sum()) < 1.0:
        return None
    picture = display_picture(rendering, mesh)
    return photometric_errors(picture.numpy(), scene.photo.srgb.numpy(), weight.numpy()).l1


def _spread(studio: Studio, identities: list[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
    """How much of the true identity comes back, as offsets of face vertices from the mean head."""
    if len(identities) < 8:
        return {}  # resampled, so few would often be all the same person
    basis = studio.model.id_basis[studio.face_vertices].flatten(0, 1).double() * MM_PER_DM
    # Offsets have the same inner products as these shorter vectors.
    shorten = torch.linalg.cholesky(basis.T @ basis)
    found, true = (torch.stack(column).double() for column in zip(*identities, strict=True))
    offsets = torch.stack([found @ shorten, true @ shorten], 1).numpy()
    figures = {}
    for name in ("slope", "correlation", "energy_ratio", "gain", "explained"):

        def statistic(rows: ndarray, name: str = name) -> float:
            return float(getattr(identity_spread(rows[:, 0], rows[:, 1]), name))

        interval = bootstrap_interval(offsets, statistic, num_resamples=NUM_RESAMPLES)
        figures[f"identity_{name}"] = Figure.of(interval, "1", "higher")
    return figures


def _expression_distance(expressions: list[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
    """E-FID: do the expressions that are found spread like the true ones?"""
    if len(expressions) < 8:
        return {}
    found, true = (torch.stack(column).double().numpy() for column in zip(*expressions, strict=True))
    return {"expression_fid": Figure.bare(expression_fid(found, true), "1", len(expressions))}


def _gestures(studio: Studio, expressions: list[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
    """Plain gestures: how far their weights are off where they are made, and what is found where they are not."""
    if not expressions:
        return {}
    found, true = (torch.stack(column).double().numpy() for column in zip(*expressions, strict=True))
    figures = {}
    for name, (made, none) in gesture_errors(found, true, studio.model.exp_names).items():
        if len(made):
            figures[f"{name}_error"] = Figure.of(bootstrap_interval(made), "1")
        if len(none):
            figures[f"{name}_where_none_is"] = Figure.of(bootstrap_interval(none), "1")
    return figures


def _picture(scene: Scene, estimate: MeasuredFace) -> Tensor:
    """Photo with true landmarks, and the reconstruction in it with its own."""
    mesh = posed_mesh(estimate.mesh, estimate.pose)
    rendering = render(mesh, estimate.camera, estimate.coefficients.sh)
    drawn = overlay(scene.photo.srgb, display_picture(rendering, mesh), rendering.mask[0], opacity=0.85)
    found = torch.from_numpy(estimate.landmarks_px[:, :2]).float()
    return torch.cat(
        [close_up(scene.photo.srgb, scene.landmarks[:, :2]), close_up(drawn, found, around=scene.landmarks[:, :2])], -1
    )
