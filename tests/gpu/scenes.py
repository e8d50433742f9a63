"""The whole public surface, once through, on a device that the caller names.

Each scene takes a device and a folder for its files, and gives back by name what came out: tensors and records on that
device. ``test_on_fake_device`` runs them where there is no GPU, ``test_on_cuda`` where there is one.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facewright.align import align_face, deep3d_template
from facewright.align.crop import crop_by_trans_params, fit_trans_params
from facewright.apps.convert import convert_results
from facewright.apps.edit import frontalise, light_from_direction, neutralise, relight, transfer_expression
from facewright.apps.edited_files import write_edited
from facewright.assets import embedded_path
from facewright.detect import detect_faces
from facewright.detect.faces import possible_faces
from facewright.evaluate.benchmarks.likeness import LikenessPlan
from facewright.evaluate.benchmarks.synthetic import evaluate_synthetic
from facewright.evaluate.methods import FlowMethod
from facewright.export.pictures import draw_landmarks, draw_outline, draw_points
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import angles_from_rotation, geodesic_angle, rotation_from_angles
from facewright.geometry.similarity import similarity_from_points
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.describe import describe_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.morphable.subdivide import subdivide_face_model
from facewright.morphable.toy import toy_face_model
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.coefficient_files import read_coefficients
from facewright.pipeline.evidence import fit_detection
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.outputs import ALL_FORMATS, OutputOptions, save_face, write_outputs
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.records import FaceCoefficients, FaceMesh, Photo
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from facewright.render.antialiasing import mesh_edges
from facewright.render.rasterizers import Backend, rasterize
from facewright.render.renderer import render, render_depth, render_normals
from facewright.render.visibility import vertex_visibility
from facewright.synthetic import open_studio, plan_scene, take_snapshots
from facewright.train.arcface import ArcFace
from facewright.train.course import rows
from facewright.train.loop import make_optimizer
from facewright.train.losses.presets import PRESETS
from facewright.train.losses.supervised import SupervisedWeights
from facewright.train.objective import make_objective
from facewright.train.rnet_training import RNetCourse
from facewright.train.settings import OptimizerSettings
from facewright.train.skin import skin_attention
from tests.train.pictures import draw_batch, some_faces

QUICK = FitSettings(point_rounds=1, point_iterations=2, photometric_iterations=1, refine_iterations=1, blurs_px=(0.5,))
TEXTURE_PX = 64
CROP_PX = 48
BACKENDS: tuple[Backend, ...] = ("auto", "torch", "reference")
"""Rasterisers that draw on any device."""

Scene = Callable[[str, Path], dict[str, Any]]


def photograph() -> Photo:
    """A bundled portrait, on the CPU as the photo's door gives it, at a third of its size."""
    photo = read_photo(embedded_path("photos/astronaut.jpg"))
    halved = torch.nn.functional.avg_pool2d(photo.srgb[None], 2)[0]
    return Photo((halved * 255.0).round().to(torch.uint8), photo.path)


@cache
def flow_on(device: str) -> Reconstructor:
    """Detector, small network, head and fit on a device; a few steps of everything."""
    return load_reconstructor(weights="fast", device=device, fit=QUICK)


def unrefined_on(device: str) -> Reconstructor:
    """The same without the fit."""
    flow = flow_on(device)
    assert isinstance(flow.estimator, RNetEstimator)
    return replace(flow, estimator=replace(flow.estimator, refine=0))


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors of a scene's result, however deep."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, nn.Module):
        return [*value.parameters(), *value.buffers()]
    if is_dataclass(value):
        return tensors_in([getattr(value, entry.name) for entry in fields(value)])
    if isinstance(value, dict):
        return tensors_in(list(value.values()))
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, list | tuple) else []


def detect(device: str, _: Path) -> dict[str, Any]:
    """Networks on the device; a photo on the CPU, where its faces are then found, unless the flow is asked."""
    flow, photo = flow_on(device), photograph()
    assert {tensor.device.type for tensor in tensors_in(detect_faces(photo, flow.detector))} == {"cpu"}
    on_its_side = Photo(photo.pixels.rot90(1, (1, 2)).contiguous())
    (turned,) = flow.find_faces([on_its_side])
    assert turned
    return {"turned": turned, "possible": possible_faces(photo.to(device), flow.detector)}


def align(device: str, _: Path) -> dict[str, Any]:
    """Points and template on the device, and points on the CPU beside a photo that is not."""
    photo, scale = photograph().to(device), torch.tensor([40.0, -40.0], device=device)
    template = deep3d_template().to(device)
    five = (template[:, :2] * scale + 110.0).float()
    params = fit_trans_params(five, photo.width, photo.height, template=template)
    return {
        "there": align_face(photo, five, template=template),
        "from_cpu": align_face(photo, five.cpu()),
        "again": crop_by_trans_params(photo, params, five),
        "photo": photo_from_array(photo.srgb.permute(1, 2, 0)).to(device),
    }


def geometry(device: str, _: Path) -> dict[str, Any]:
    """Turns and similarities."""
    angles = torch.tensor([[0.1, -0.4, 0.2], [0.0, torch.pi / 2, 0.3]], device=device)
    turn = rotation_from_angles(angles)
    cloud = torch.linspace(-1.0, 1.0, 24, device=device).view(1, 8, 3).sin().expand(2, -1, -1)
    cloud = cloud + torch.eye(8, 3, device=device)
    back = angles_from_rotation(turn)
    moved = similarity_from_points(cloud, 2.0 * cloud @ turn.transpose(-1, -2))
    return {"back": rotation_from_angles(back), "off": geodesic_angle(turn, turn.flip(0)), "moved": moved[:2]}


def morphable(device: str, folder: Path) -> dict[str, Any]:
    """Face models are moved whole; they are decoded, refined, drawn from and written where they are."""
    head = load_face_model().to(device)
    toy = toy_face_model(exp_prior="box").to(device)
    drawn = sample_coefficients(toy, torch.Generator().manual_seed(0), 2).to(device)
    finer = subdivide_face_model(toy)
    assert describe_face_model(toy)["vertices"] == len(toy.mean_shape)
    save_face_model(toy, folder / "toy.npz")
    mesh468 = head.annotations.mesh468
    assert mesh468 is not None
    return {
        "head": head.decode(head.layout.zeros().to(device)),
        "glued": mesh468.of(head.mean_shape),
        "notes": head.annotations,
        "toy": toy.decode(drawn),
        "finer": [finer, finer.annotations, finer.decode(drawn)],
        "read": load_face_model(folder / "toy.npz").to(device),
    }


def toy_meshes(device: str) -> tuple[FaceModel, FaceCoefficients, FaceMesh]:
    """Two turned toy heads."""
    model = toy_face_model().to(device)
    people = some_faces(model, 2).to(device)
    return model, people, posed_mesh(model.decode(people), people.pose)


def rasterizers(device: str, _: Path) -> dict[str, Any]:
    """Every backend that takes the device: the same pixels."""
    mesh = toy_meshes(device)[2]
    clip = clip_from_world(mesh.vertices, crop_camera(size=16, like=mesh.vertices))
    found = {name: rasterize(clip[:1], mesh.faces[::9], (16, 16), backend=name) for name in BACKENDS}
    seen = vertex_visibility(clip, mesh.faces, (64, 64))
    return {**found, "seen": seen, "nothing": rasterize(clip, mesh.faces[:0], (16, 16))}


def rendering(device: str, _: Path) -> dict[str, Any]:
    """Pictures, and gradients to all that they are made of."""
    model, people = toy_meshes(device)[:2]
    leaves = replace(people, **{name: value.requires_grad_() for name, value in vars(people).items()})
    mesh = posed_mesh(model.decode(leaves), leaves.pose)
    camera = crop_camera(2, size=64, like=mesh.vertices)
    edges = mesh_edges(mesh.faces)
    drawn = render(mesh, camera, leaves.sh, edges=edges)
    by_pixel = render(mesh, camera, leaves.sh, shading="pixel", antialias=False)
    (drawn.image.square().mean() + by_pixel.image.mean() + drawn.mask.mean()).backward()
    return {
        "drawn": [drawn, by_pixel],
        "gradients": [value.grad for value in vars(leaves).values()],
        "normals": render_normals(mesh, camera),
        "depth": render_depth(mesh, camera),
    }


def drawing(device: str, _: Path) -> dict[str, Any]:
    """Lines and points are drawn on the CPU, and given back where the picture was."""
    picture = photograph().srgb.to(device)
    points = torch.linspace(20.0, 200.0, 136, device=device).view(68, 2)
    mask = (picture[:1] > 0.5).float()
    return {"drawn": [draw_points(picture, points), draw_landmarks(picture, points), draw_outline(picture, mask)]}


def reconstruct(device: str, folder: Path) -> dict[str, Any]:
    """A photo through the network and the fit; every file; coefficients read, edited and converted."""
    flow, photo = flow_on(device), photograph()
    model = flow.face_model
    assert model is not None
    (face,) = flow.faces_in(photo)
    assert face.coefficients is not None
    options = OutputOptions(ALL_FORMATS, texture_px=TEXTURE_PX)
    write_outputs([face], folder, "one", options)
    save_face(face, folder / "saved.stl", texture_px=TEXTURE_PX)
    known = unrefined_on(device).faces_in(photo, detections=[face.detection.to("cpu")])
    for suffix in (".json", ".npz", ".mat"):
        read = read_coefficients(folder / f"one{suffix}", model)
        assert tensors_in(read)[0].device.type == torch.device(device).type
    results = [folder / "one.json"]
    for target in ("deep3d", "now", "realy"):
        convert_results(results, target, folder / target, model)
    convert_results(results, "eg3d", folder / "dataset.json", model)
    for name, shown in (("there", face.photo), ("on_cpu", photo)):
        write_edited(folder / f"{name}.png", model, face.coefficients, camera=face.camera, photo=shown)
    write_edited(folder / "edited.glb", model, neutralise(face.coefficients))
    back = face.to("cpu")  # whole, with the model; the flow's own stays where it is
    assert {tensor.device.type for tensor in tensors_in([back, back.face_model.topology])} == {"cpu"}
    assert {tensor.device.type for tensor in tensors_in([model, model.topology])} == {torch.device(device).type}
    save_face(back, folder / "back.glb", texture_px=TEXTURE_PX)
    again = back.to(device)
    return {
        "face": face,
        "known": known,
        "landmarks": face.landmarks_3d,
        "mesh": face.mesh_world,
        "again": [again, again.face_model.topology, again.landmarks],
    }


def edit(device: str, folder: Path) -> dict[str, Any]:
    """Faces that meet lights and each other."""
    model, people, _ = toy_meshes(device)
    light = light_from_direction(torch.tensor([[1.0, 1.0, 1.0]]))  # as the command line gives it
    lit = relight(frontalise(people), light)
    write_edited(folder / "edited.png", model, lit.one(0), size_px=64)
    write_edited(folder / "edited.json", model, lit.one(0))
    return {"lit": lit, "mixed": transfer_expression(people.one(0), people, with_pose=True)}


def fit(device: str, _: Path) -> dict[str, Any]:
    """By points and pixels alone: of the embedded head, and of a model with five points only."""
    flow = flow_on(device)
    assert flow.face_model is not None
    slow = replace(flow, estimator=FitEstimator(flow.face_model, FitPlan.of(flow.face_model), QUICK))
    (face,) = slow.faces_in(photograph())
    toy = toy_face_model().to(device)
    bare = replace(face.detection, mesh=None)
    few = fit_detection(align_face(face.photo, bare.five), bare, FitPlan.of(toy), QUICK)
    return {"face": face, "few": few}


class SmallEmbedder(nn.Module):
    """In a recognition network's place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 8, 8)

    def forward(self, chips: Tensor) -> Tensor:
        return self.layer(chips).flatten(1)


def train(device: str, folder: Path) -> dict[str, Any]:
    """One step of a network on all terms, photographs and pictures with truth; its weights, its sheet."""
    model = toy_face_model(exp_prior="box")
    known = torch.tensor([True, False, True, False])
    people = some_faces(model, 4)
    batch = draw_batch(model, replace(people, exp=people.exp.clamp(0, 1)), CROP_PX, known).to(device)
    torch.manual_seed(0)
    net = RNet(model.layout, architecture="resnet18", width=0.125, crop_size=CROP_PX, landmark_head=True).to(device)
    embedder = ArcFace(SmallEmbedder()).eval().requires_grad_(False).to(device)
    model = model.to(device)
    weak = replace(PRESETS["paper"], gamma=1.0, box=1.0)
    objective = make_objective(
        model, CROP_PX, weak=weak, supervised=SupervisedWeights(), weak_on_synthetic=True, embedder=embedder
    )
    optimizer = make_optimizer(net, OptimizerSettings(), lambda name: name.startswith("backbone."))
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    losses = objective(net.predict(batch.crops), batch)
    losses.total.backward()
    optimizer.step()
    save_weights(net, WeightsCard("toy"), folder / "net.safetensors")
    with torch.no_grad():
        answer, some = net.eval().predict(batch.crops), rows(batch, torch.arange(2))
        RNetCourse(net, objective).preview(net, some, "a step")
    read = load_weights(folder / "net.safetensors").to(device)
    return {"losses": losses, "net": net, "answer": answer, "read": read, "skin": skin_attention(batch.crops)}


def evaluate(device: str, _: Path) -> dict[str, Any]:
    """A scene measured on the CPU, whatever found the face."""
    method = FlowMethod("rnet", unrefined_on(device))
    nothing = LikenessPlan(mirrored=1, people=0, clips=0, frames=0)
    found = evaluate_synthetic(method, count=1, size=200, scenes="plain", likeness=nothing)
    assert not found.result.problems
    (case,) = found.result.cases
    return {name: torch.tensor(value) for name, value in case.values.items()}


def people(device: str, _: Path) -> dict[str, Any]:
    """People who do not exist, drawn together: of two sizes, with what is worn and what is held before them."""
    studio = open_studio()
    plans = [plan_scene(studio, 8, width=40, height=40, prop=prop, light="side") for prop in ("object", "glasses")]
    plans.append(plan_scene(studio, 4, width=32, height=24, prop="mask"))
    shot = take_snapshots(studio, plans, device=device)
    here = take_snapshots(studio, plans)
    for there, picture in zip(shot.pictures, here.pictures, strict=True):
        assert float((there.cpu().int() - picture.int()).abs().float().mean()) < 0.5
    return {"pictures": shot.pictures, "heads": shot.stage.heads, "worn": shot.stage.packed.table}


SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        geometry,
        detect,
        align,
        morphable,
        rasterizers,
        rendering,
        drawing,
        reconstruct,
        edit,
        fit,
        train,
        people,
        evaluate,
    )
}

ON_CPU = ("evaluate",)
"""Scenes whose results are on the CPU by design."""
