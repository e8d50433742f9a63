"""Where a training starts: at random, from earlier weights, or from a trunk that has seen other pictures."""

from pathlib import Path

import torch

from facewright.errors import AssetNotFoundError, TrainingError, WeightsError
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.morphable.linear import FaceModel
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.importers.torch_files import read_pickled
from facewright.regress.rnet import RNet
from facewright.regress.weights import load_weights
from facewright.train.checkpoint import own_dice
from facewright.train.dlib_resnet import start_from_dlib
from facewright.train.seen_points import seen_points

FROM_DLIB = "dlib"
CLASSIFIERS = ("fc.", "classifier.")
"""What torchvision's networks have beyond their trunks."""


def start_net(
    model: FaceModel,
    *,
    architecture: str,
    width: float,
    crop_size: int,
    landmark_head: bool = False,
    dense_points: bool = False,
    glance: bool = False,
    init: str = "",
    seed: int = 0,
) -> RNet:
    """A network to be trained. Its heads start at zero unless ``init`` brings some.

    Args:
        model: that the coefficients are for.
        architecture: of the trunk.
        width: of the trunk.
        crop_size: px.
        landmark_head: see the landmarks directly too.
        dense_points: see the points of ``seen_points`` instead, with depths and doubts.
        glance: look a second time, at the landmarks.
        init: weights of an R-Net (.safetensors), of the same trunk or a longer one of dlib's; a torchvision
            classifier's (.pth), whose trunk is taken; ``dlib``; or empty for a random trunk.
        seed: of what is random.

    Raises:
        TrainingError: initial weights of another network.
        AssetNotFoundError: no such file.
        WeightsError: initial weights that are malformed or for another face model.
    """
    with own_dice(seed, torch.device("cpu")):
        net = RNet(
            model.layout,
            architecture=architecture,
            width=width,
            crop_size=crop_size,
            landmark_head=landmark_head,
            points=seen_points(model) if dense_points else None,
            glance=glance,
        )
        if dense_points:
            start_points(net, model)
    if init == FROM_DLIB:
        if not isinstance(net.backbone, DlibTrunk):
            raise TrainingError(
                f"--init {FROM_DLIB} starts a dlib_resnet29, received --backbone {architecture}; "
                "give --backbone dlib_resnet29, or a weights file"
            )
        start_from_dlib(net.backbone)
    elif Path(init).suffix in (".pth", ".pt"):
        start_trunk(net, init)
    elif init:
        _start_from_rnet(net, init, model)
    return net


@torch.no_grad()
def start_points(net: RNet, model: FaceModel) -> None:
    """Let the points of a net start where those of the mean face are, in place, as its coefficients do.

    Raises:
        TrainingError: the net sees no dense points.
    """
    if net.landmark_head is None or net.point_ids is None:
        raise TrainingError("expected a net that sees dense points, received one without; add --dense-points")
    camera, zeros = crop_camera(size=net.crop_size, like=model.mean_shape), model.mean_shape.new_zeros(1, 3)
    seen = project_points(pose_points(model.mean_shape[net.point_ids][None], zeros, zeros), camera)[0]
    half, scale = net.crop_size / 2.0, camera.focal_px / camera.distance_dm
    answers = net.landmark_head.bias.unflatten(0, (len(net.point_ids), -1))
    answers[:, :2] = (seen[:, :2] - (net.crop_size - 1) / 2.0) / half
    answers[:, 3] = scale * (seen[:, 2] - camera.distance_dm) / half


def start_trunk(net: RNet, path: str) -> None:
    """Take the trunk of a torchvision classifier (ImageNet weights), in place; nothing in the file is executed.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: malformed.
        TrainingError: another trunk.
    """
    if not Path(path).is_file():
        raise AssetNotFoundError(f"expected a torchvision classifier at {path}, found no file")
    file, wanted = read_pickled(path), net.backbone.state_dict()
    state = {
        name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")
    }  # old files have none
    state |= {name: file[name] for name in file if not name.startswith(CLASSIFIERS)}
    differing = sorted(
        name
        for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape
    )
    if differing:
        raise TrainingError(
            f"{path} is not a torchvision {net.architecture} of width {net.width}: {', '.join(differing[:3])} differ; "
            "give its --backbone and --width 1"
        )
    if broken := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"{path}: {broken[0]} holds NaN or infinity; the file is damaged, fetch it again")
    net.backbone.load_state_dict(state)


def _start_from_rnet(net: RNet, path: str, model: FaceModel) -> None:
    start: RNet = load_weights(path, layout=model.layout, face_model=model.name, edition=model.edition, kind="rnet")
    trunk, given = net.backbone, start.backbone
    longer = isinstance(trunk, DlibTrunk) and isinstance(given, DlibTrunk) and len(trunk.blocks) < len(given.blocks)
    alike = (start.width, start.input_coding) == (net.width, net.input_coding)
    if alike and longer:
        state = given.state_dict()
        trunk.load_state_dict({name: state[name] for name in trunk.state_dict()})  # its first blocks; new heads
        return
    if not alike or start.architecture != net.architecture:
        raise TrainingError(
            f"{path} holds a {start.architecture} of width {start.width} that sees {start.input_coding}, and a "
            f"{net.architecture} of width {net.width} that sees {net.input_coding} is to be trained; give the same "
            "--backbone and --width, or other --init weights"
        )
    state, own = start.state_dict(), net.state_dict()
    if net.point_ids is not None and start.point_ids is None:  # it saw the landmarks alone: those are learnt anew
        state = {name: value for name, value in state.items() if not name.startswith("landmark_head.")}
    different = sorted(name for name, value in state.items() if name in own and own[name].shape != value.shape)
    if different:
        raise TrainingError(f"{path} sees other points than are to be trained ({different[0]}); start from others")
    extra = net.load_state_dict(state, strict=False).unexpected_keys
    if extra:
        raise TrainingError(
            f"{path} has heads that the network lacks ({', '.join(extra)}): add --landmark-head or --dense-points"
        )
