"""Networks as ONNX files, for programs without torch: named outputs, a card, any number of crops at once."""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import ExportError, MissingExtraError
from facewright.files import written_whole
from facewright.regress.kinds import kind_of
from facewright.regress.weights import WeightsCard, card_entries

if TYPE_CHECKING:
    import onnx

FORMAT = "facewright-onnx/1"
"""Value of ``format`` in the file's metadata; ``card`` beside it is JSON, as in weights files."""
OPSETS = range(18, 26)
"""Versions of the ONNX operators that can be written; the first is read by most programs."""

_EXPORTER_LOG = "torch.onnx._internal.exporter._registration"


def export_onnx(
    net: nn.Module, card: WeightsCard, path: str | os.PathLike[str], *, opset: int = OPSETS[0], half: bool = False
) -> None:
    """Write a network as ONNX.

    The input ``crops`` is (N, 3, S, S), sRGB-coded, 0..1, for any N. The outputs are the answers of its kind, by name:
    of R-Net those of ``FaceCoefficients`` and, with a landmark head, ``landmarks`` and ``landmark_sigma`` in crop
    pixels. Batch norm is folded into the convolutions.

    Args:
        net: the network, of a kind in ``KINDS``, in any mode and on any device; it is left as it is.
        card: provenance; travels as metadata.
        path: file to write (``.onnx``).
        opset: version of the ONNX operators, one of ``OPSETS``.
        half: store weights as float16, widened when the file is loaded: half the size, and sums stay float32.

    Raises:
        MissingExtraError: the packages of the extra ``onnx`` are not installed.
        ExportError: not an opset that can be written, a network that sees no crops, or the file cannot be written.
    """
    require_onnx()
    import onnx

    kind = kind_of(net)[1]
    if kind.answers is None:
        raise ExportError(
            f"expected a network that sees crops, received a {kind.label}, which reads another's features"
        )

    if opset not in OPSETS:
        raise ExportError(
            f"expected an opset of {OPSETS[0]} to {OPSETS[-1]}, received {opset}; --opset {OPSETS[0]} is read by most "
            "programs"
        )
    model = traced(net, opset)
    _forget_where_it_was_made(model)
    if half:
        _store_half(model)
    onnx.helper.set_model_props(model, {"format": FORMAT, "card": json.dumps(card_entries(net, card), sort_keys=True)})
    with written_whole(path) as temporary:
        onnx.save(model, temporary)


def onnx_difference(net: nn.Module, path: str | os.PathLike[str], crops: Float[Tensor, "B 3 S S"]) -> float:
    """How far onnxruntime's answers from a file are from the network's own, for the same crops.

    Returns:
        The largest difference of any number, as a share of the range (largest minus smallest) of its output.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    require_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    received = session.run(None, {"crops": crops.cpu().numpy()})
    with torch.no_grad():
        expected = _Answers(net)(crops)
    shares = [
        (torch.from_numpy(ours) - theirs.cpu()).abs().max() / (theirs.max() - theirs.min()).cpu().clamp(min=1e-6)
        for ours, theirs in zip(received, expected, strict=True)
    ]
    return float(torch.stack(shares).max())


def require_onnx() -> None:
    """Raise ``MissingExtraError`` unless ONNX files can be written and run."""
    try:
        import onnx  # noqa: F401 - is it there?
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX files expect the package {error.name}, which is not installed: pip install 'facewright[onnx]'"
        ) from error


class _Answers(nn.Module):
    """A network that answers with tensors, in the order of its kind."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.kind = kind_of(net)[1]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.named(crops).values())

    def named(self, crops: Tensor) -> dict[str, Tensor]:
        """By name."""
        assert self.kind.answers is not None  # networks without were refused
        return self.kind.answers(self.net, crops)


def traced(net: nn.Module, opset: int) -> "onnx.ModelProto":
    """The network as torch's exporter writes it."""
    ready = _Answers(deepcopy(net).cpu().float()).eval()
    size = ready.kind.describe(net)["crop_size"]
    crops = torch.zeros(2, 3, size, size)  # two: a batch of one would be taken for a constant
    with torch.no_grad():
        names = list(ready.named(crops))
    with quiet_exporter():
        program = torch.onnx.export(
            ready,
            (crops,),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=["crops"],
            output_names=names,
            dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
        )
    assert program is not None  # it is None where a path is given
    for value in (value for node in program.model.graph for value in node.outputs):
        if value.name in names and not value.is_graph_output():
            value.name += "_inside"  # the exporter calls the result of torch.exp "exp"
    return program.model_proto


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says about itself, not about the network."""

    def is_news(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log = logging.getLogger(_EXPORTER_LOG)
    log.addFilter(is_news)
    try:
        with warnings.catch_warnings():  # torch 2.13 copies its own deprecated class
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        log.removeFilter(is_news)


def _forget_where_it_was_made(model: "onnx.ModelProto") -> None:
    """Drop the exporter's notes, in place: they hold call stacks, with paths of the machine that it ran on."""
    graph = model.graph
    parts: list[Any] = [model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output]
    for part in parts:
        del part.metadata_props[:]


def _store_half(model: "onnx.ModelProto") -> None:
    """Turn filters and matrices into float16 with a cast behind each, in place; what float16 cannot hold stays."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim < 2 or values.dtype != np.float32 or np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
