"""Other people's weights into ours: R-Nets of PyTorch and TensorFlow and their descendants, PRNet and 3DMM-CNN.

Nothing that a file holds is run: pickles give tensors and plain values only, graphs and checkpoints are read as bytes.
"""

import os
import struct
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.importers import caffe_names, resfcn_names, slim_names, torch_names
from facewright.regress.importers.caffe import is_caffe, read_caffemodel, read_mean_picture
from facewright.regress.importers.heads import ImportedNetwork
from facewright.regress.importers.lazy import TensorFile
from facewright.regress.importers.protobuf import MalformedMessageError
from facewright.regress.importers.tf_checkpoint import TABLE_MAGIC, read_checkpoint
from facewright.regress.importers.tf_graph import constants_of, read_graph
from facewright.regress.importers.torch_files import read_pickled, read_safetensors
from facewright.regress.importers.uv_data import find_uv_data, read_uv_data
from facewright.regress.morphable_cnn import MORPHABLE_CNN, TRAN_LANDMARK_CROPS, MorphableCNN, plain_mean
from facewright.regress.official import OFFICIAL_FACE_MODEL, OFFICIAL_LAYOUT
from facewright.regress.prnet import PRNET, SQUARE_CROPS, PRNet
from facewright.regress.rnet import RNET, RNet
from facewright.regress.weights import WeightsCard, filled, save_weights
from facewright.untrusted import is_zip

PRNET_MAP = 256
"""Side of the published PRNet's crops and maps, px."""
TRAN_CROP = 224
"""Side of the published 3DMM-CNN's crops, px."""
MEAN_PICTURE = "mean.binaryproto"
"""What is taken off its crops, beside its weights."""


@dataclass(frozen=True)
class WeightsReport:
    """What was found.

    Attributes:
        kind: the sort of file.
        card: provenance to save with the weights; complete it where you know more.
        notes: everything that was changed or assumed.
        network: what the network is called.
    """

    kind: str
    card: WeightsCard
    notes: tuple[str, ...]
    network: str = RNET.label

    def lines(self) -> list[str]:
        """The report as text, one fact a line."""
        light = f", {self.card.light} light" if self.network == RNET.label else ""
        found = f"{self.kind} {self.card.source}: {self.network} for {self.card.face_model}{light}"
        return [f"found    {found}", *(f"note     {note}" for note in self.notes)]


def convert_weights(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    face_model: str = OFFICIAL_FACE_MODEL,
    half: bool = False,
    uv_data: str | os.PathLike[str] | None = None,
    mean: str | os.PathLike[str] | None = None,
) -> WeightsReport:
    """Import a network (``import_weights``) and write it as a weights file of ours.

    Args:
        path: file to import.
        out: ``.safetensors`` to write.
        face_model: name of the face model that its coefficients belong to.
        half: store convolutions and heads as float16.
        uv_data: see ``import_weights``.
        mean: see ``import_weights``.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: truncated, unsafe, or not such a network.
        ExportError: ``out`` cannot be written.
    """
    net, report = import_weights(path, face_model=face_model, uv_data=uv_data, mean=mean)
    save_weights(net, report.card, out, half=half)
    return report


def import_weights(
    path: str | os.PathLike[str],
    *,
    face_model: str = OFFICIAL_FACE_MODEL,
    layout: CoefficientLayout = OFFICIAL_LAYOUT,
    uv_data: str | os.PathLike[str] | None = None,
    mean: str | os.PathLike[str] | None = None,
) -> tuple[Any, WeightsReport]:
    """Read another project's reconstruction network. The kind of file is told by its content, not its name.

    Args:
        path: a PyTorch checkpoint (``epoch_20.pth``, ``net_recon.pth``, a bare state dict), a safetensors bundle, a
            frozen graph (``FaceReconModel.pb``), a file of a TensorFlow checkpoint, or a ``.caffemodel``.
        face_model: name of the face model that its coefficients belong to.
        layout: its numbers of coefficients, used where one output layer predicts them all.
        uv_data: folder of the tables of a PRNet's maps; None: as they lie beside the checkpoint in its repository.
        mean: mean picture of a 3DMM-CNN; None: the one beside its weights, or else the averages of the published one.

    Returns:
        An ``RNet``, a ``PRNet`` or a ``MorphableCNN``, and what was found.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: truncated, unsafe, or not such a network; or tables are given for one that has none.
    """
    kind = _kind(path)
    if kind != "checkpoint":
        _refuse_tables(path, uv_data)
    if kind == "caffemodel":
        return _morphable_cnn(path, face_model, mean)
    if mean is not None:
        raise WeightsError(
            f"expected --mean only beside a .caffemodel; {os.fspath(path)} is a {kind}: it would be ignored"
        )
    if kind == "frozen graph":
        return _finish(path, "frozen TensorFlow graph", *_read_graph(path, layout), face_model)
    if kind == "checkpoint":
        arrays = read_checkpoint(path)
        if resfcn_names.holds_resfcn(arrays):
            return _prnet(path, arrays, face_model, uv_data)
        _refuse_tables(path, uv_data)
        network = slim_names.read_network(arrays, layout)
        return _finish(path, "TensorFlow checkpoint", network, (), face_model)
    tensors = read_safetensors(path) if kind == "safetensors" else read_pickled(path)
    root = torch_names.find_network(tensors)
    network = torch_names.read_network(tensors, root, layout)
    ignored = sum(not name.startswith(root) for name in tensors)
    notes = (f"{ignored} tensors outside of {root!r} were left aside",) if ignored else ()
    label = "safetensors bundle" if kind == "safetensors" else "PyTorch checkpoint"
    return _finish(path, label, network, notes, face_model)


def _refuse_tables(path: str | os.PathLike[str], uv_data: str | os.PathLike[str] | None) -> None:
    if uv_data is not None:
        raise WeightsError(
            f"expected --uv-data only beside a checkpoint of the published PRNet; {os.fspath(path)} is another "
            "network's, which has no tables: it would be ignored"
        )


def _prnet(
    path: str | os.PathLike[str],
    arrays: TensorFile[np.ndarray],
    face_model: str,
    uv_data: str | os.PathLike[str] | None,
) -> tuple[PRNet, WeightsReport]:
    state, width, notes = resfcn_names.read_resfcn(arrays)
    tables = read_uv_data(find_uv_data(path) if uv_data is None else uv_data, PRNET_MAP)
    state |= {entry.name: getattr(tables, entry.name) for entry in fields(tables)} | {"offset": torch.zeros(3)}
    net: PRNet = filled(
        os.fspath(path),
        PRNET.label,
        lambda: PRNet(width=width, crop_size=PRNET_MAP),
        {name: tuple(value.shape) for name, value in state.items()},
        lambda name: state[name],
    )
    card = WeightsCard(
        face_model=face_model,
        template=SQUARE_CROPS,
        training_data="300W-LP, as published",
        recipe="imported from a TensorFlow checkpoint",
        licence="none is granted by the source; its training images and face model are for research",
        source=Path(path).name,
    )
    return net, WeightsReport("TensorFlow checkpoint", card, notes, PRNET.label)


def _morphable_cnn(
    path: str | os.PathLike[str], face_model: str, mean: str | os.PathLike[str] | None
) -> tuple[MorphableCNN, WeightsReport]:
    state, trunk, width = caffe_names.read_network(read_caffemodel(path))
    codes = len(state["codes.bias"])
    if state["codes.weight"].dim() != 2 or codes % 2 or not codes:
        raise WeightsError(f"{path}: expected as many shape as albedo codes, received {codes}; it is another network")
    beside = Path(path).with_name(MEAN_PICTURE)
    mean = beside if mean is None and beside.is_file() else mean
    notes = "BatchNorm and Scale layers became one norm each"
    state["mean_bgr"] = plain_mean(TRAN_CROP)
    if mean is not None:
        if not Path(mean).is_file():
            raise AssetNotFoundError(f"expected a mean picture at {mean}, found no such file")
        state["mean_bgr"] = torch.from_numpy(np.array(read_mean_picture(mean, TRAN_CROP)))
    found = f"mean picture {Path(mean).name}" if mean is not None else "no mean picture: averages of the published one"
    net: MorphableCNN = filled(
        os.fspath(path),
        MORPHABLE_CNN.label,
        lambda: MorphableCNN(
            codes // 2,
            codes // 2,
            architecture=trunk,
            width=width,
            crop_size=TRAN_CROP,
            input_coding="bgr_less_mean",
        ),
        {name: tuple(value.shape) for name, value in state.items()},
        lambda name: state[name],
    )
    card = WeightsCard(
        face_model=face_model,
        template=TRAN_LANDMARK_CROPS,
        training_data="CASIA-WebFace with pooled fits, as published",
        recipe="imported from a .caffemodel",
        licence="that of the source: for research, not for commercial use",
        source=Path(path).name,
    )
    return net, WeightsReport("Caffe model", card, (notes, found), MORPHABLE_CNN.label)


def _read_graph(path: str | os.PathLike[str], layout: CoefficientLayout) -> tuple[ImportedNetwork, tuple[str, ...]]:
    nodes = read_graph(path)
    try:
        network = slim_names.read_network(constants_of(path, nodes), layout)
    except MalformedMessageError as error:
        raise WeightsError(f"{path} holds {error}; fetch it again") from error
    trunk, names = dict(network.trunk), slim_names.slim_scopes()
    for scope, epsilon in slim_names.check_graph(os.fspath(path), nodes).items():
        if scope in names and abs(epsilon - 1e-5) > 1e-9:
            variance = f"{names[scope][1]}.running_var"
            trunk[variance] = trunk[variance] + (epsilon - 1e-5)
    norms = [node for node in nodes if node.op.startswith("FusedBatchNorm")]
    if norms and all(node.is_training for node in norms):  # a graph that can do both has a node for either
        return replace(network, trunk=trunk), (
            "the graph normalises by each batch's own statistics; ours uses the stored moving ones",
        )
    return replace(network, trunk=trunk), ()


def _finish(
    path: str | os.PathLike[str], kind: str, network: ImportedNetwork, notes: tuple[str, ...], face_model: str
) -> tuple[RNet, WeightsReport]:
    state = {**network.trunk, **network.heads.state}
    net: RNet = filled(
        os.fspath(path),
        RNET.label,
        lambda: RNet(
            network.heads.layout,
            architecture=network.architecture,
            width=network.width,
            input_coding="bgr_0_255" if network.architecture.endswith("slim") else "rgb_0_1",
        ),
        {name: tuple(value.shape) for name, value in state.items()},
        lambda name: state[name].clone(),  # the file may go
    )
    card = WeightsCard(
        face_model=face_model,
        light=network.heads.light,
        recipe=f"imported from a {kind}",
        licence="that of the source; none is stated in the official releases",
        source=Path(path).name,
    )
    return net, WeightsReport(kind, card, (*network.heads.notes, *notes))


def _kind(path: str | os.PathLike[str]) -> str:
    """Kind of a file by its first and last bytes."""
    file = Path(path)
    if file.suffix in (".index", ".meta") or ".data-" in file.name or Path(f"{file}.index").is_file():
        return "checkpoint"
    if not file.is_file():
        raise AssetNotFoundError(f"expected weights to import at {file}, found no such file")
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(16)
        opened.seek(max(0, size - 8))
        tail = opened.read(8)
    if len(tail) == 8 and struct.unpack("<Q", tail)[0] == TABLE_MAGIC:
        return "checkpoint"
    if is_zip(file) or head[:2] == b"PK" or head[:1] == b"\x80":
        return "pickle"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size:
        return "safetensors"
    if head[:1] in (b"\x0a", b"\xa2"):
        return "caffemodel" if is_caffe(file) else "frozen graph"
    raise WeightsError(
        f"{file}: expected a PyTorch checkpoint, a safetensors file, a frozen TensorFlow graph, a checkpoint or a "
        f".caffemodel, received {size} bytes that begin with {head[:4]!r}; fetch it again"
    )
