"""ONNX operators of recognition networks, in torch: differentiable, for float tensors of any precision.

Each takes its node's inputs (None where left out) and attributes, and gives its first output. Where ONNX has several
spellings by version (axes as attribute or as input), all are read. What a node asks beyond this raises
``WeightsError``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facewright.errors import WeightsError

Inputs = Sequence[Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], Tensor]

_FLOATS = (1, 10, 11, 16)  # onnx.TensorProto: FLOAT, FLOAT16, DOUBLE, BFLOAT16
_INTEGERS = (6, 7)  # INT32, INT64


def _first(inputs: Inputs) -> Tensor:
    return _given(inputs, 0)


def _given(inputs: Inputs, k: int) -> Tensor:
    value = _maybe(inputs, k)
    if value is None:
        raise WeightsError(f"expected a node with an input {k}, received none; export the network again")
    return value


def _maybe(inputs: Inputs, k: int) -> Tensor | None:
    return inputs[k] if k < len(inputs) else None


def _integers(inputs: Inputs, k: int, attributes: Attributes, name: str) -> list[int] | None:
    """Whole numbers that newer versions give as input ``k`` and older ones as an attribute; None if neither does."""
    value = _maybe(inputs, k)
    return value.flatten().tolist() if value is not None else attributes.get(name)


def _require(attributes: Attributes, what: str, **allowed: Any) -> None:
    """Refuse attributes with other values than those given."""
    for name, wanted in allowed.items():
        if (received := attributes.get(name, wanted)) != wanted:
            raise WeightsError(
                f"{what} is read with {name} {wanted!r} only, received {received!r}; export the network otherwise"
            )


# ---------------------------------------------------------------------------------------------------------- layers


def _padded(x: Tensor, attributes: Attributes, value: float = 0.0) -> Tensor:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return F.pad(x, (left, right, top, bottom), value=value) if top or left or bottom or right else x


def conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    """2D convolution."""
    _require(attributes, "Conv", auto_pad="NOTSET")
    strides, dilations = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
    weight = _given(inputs, 1)
    pads = attributes.get("pads", (0, 0, 0, 0))
    even = pads[:2] == pads[2:]
    x = _first(inputs) if even else _padded(_first(inputs), attributes)
    return F.conv2d(
        x, weight, _maybe(inputs, 2), strides, pads[:2] if even else 0, dilations, attributes.get("group", 1)
    )


def batch_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    """By the statistics in the file."""
    _require(attributes, "BatchNormalization", training_mode=0, spatial=1)
    x, scale, shift, mean, variance = (_given(inputs, k) for k in range(5))
    return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=attributes.get("epsilon", 1e-5))


def max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Largest of each window."""
    _require(attributes, "MaxPool", auto_pad="NOTSET", ceil_mode=0, storage_order=0)
    x = _padded(_first(inputs), attributes, -torch.inf)
    strides = attributes.get("strides", (1, 1))
    return F.max_pool2d(x, attributes["kernel_shape"], strides, dilation=attributes.get("dilations", (1, 1)))


def average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Mean of each window."""
    _require(attributes, "AveragePool", auto_pad="NOTSET", ceil_mode=0, pads=[0, 0, 0, 0])
    return F.avg_pool2d(_first(inputs), attributes["kernel_shape"], attributes.get("strides", (1, 1)))


def gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Sum of alpha A B and beta C."""
    a, b, c = _first(inputs), _given(inputs, 1), _maybe(inputs, 2)
    a, b = (a.T if attributes.get("transA", 0) else a), (b.T if attributes.get("transB", 0) else b)
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def prelu(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Slopes for negative numbers, broadcast."""
    x, slope = _first(inputs), _given(inputs, 1)
    return torch.where(x < 0, slope * x, x)


def dropout(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Nothing: networks are used as trained."""
    training = _maybe(inputs, 2)
    if training is not None and bool(training):
        raise WeightsError("expected a network for use, received one for training (Dropout); export it after eval()")
    return _first(inputs)


# ------------------------------------------------------------------------------------------------------- arithmetic


def _binary(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda inputs, attributes: compute(_first(inputs), _given(inputs, 1))


def _unary(compute: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, attributes: compute(_first(inputs))


def clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Between two numbers, either of which may be missing."""
    x = _first(inputs)
    least, most = (_maybe(inputs, k) for k in (1, 2))
    least = attributes.get("min") if least is None else float(least)
    most = attributes.get("max") if most is None else float(most)
    return x if least is None and most is None else x.clamp(least, most)


def _reduced(compute: Callable[..., Tensor]) -> Operator:
    def reduce(inputs: Inputs, attributes: Attributes) -> Tensor:
        _require(attributes, "a reduction", noop_with_empty_axes=0)
        x, axes = _first(inputs), _integers(inputs, 1, attributes, "axes")
        return compute(x, dim=tuple(axes or range(x.dim())), keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def lp_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Over the length along an axis."""
    x, axis = _first(inputs), attributes.get("axis", -1)
    return x / torch.linalg.vector_norm(x, attributes.get("p", 2), dim=axis, keepdim=True)


# ----------------------------------------------------------------------------------------------------------- shapes


def flatten(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Two axes: those before ``axis``, and the others."""
    x, axis = _first(inputs), attributes.get("axis", 1)
    return x.reshape(x.shape[:axis].numel(), -1)


def reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    """A 0 keeps what was there, unless the node says that it means 0."""
    x, shape = _first(inputs), _integers(inputs, 1, attributes, "shape") or []
    literal = bool(attributes.get("allowzero", 0))
    return x.reshape([size if size or literal else x.shape[k] for k, size in enumerate(shape)])


def transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Axes in another order, by default from the last to the first."""
    x = _first(inputs)
    return x.permute(attributes.get("perm", list(reversed(range(x.dim())))))


def squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Axes of one entry left out."""
    x, axes = _first(inputs), _integers(inputs, 1, attributes, "axes")
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Axes of one entry put in."""
    x, axes = _first(inputs), _integers(inputs, 1, attributes, "axes") or []
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def shape_of(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Sizes, as whole numbers on the CPU."""
    return torch.tensor(_first(inputs).shape[attributes.get("start", 0) : attributes.get("end")])


def gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Entries along an axis, by number."""
    x, wanted, axis = _first(inputs), _given(inputs, 1), attributes.get("axis", 0) % _first(inputs).dim()
    found = x.index_select(axis, (wanted % x.shape[axis]).flatten().to(x.device))
    return found.reshape([*x.shape[:axis], *wanted.shape, *x.shape[axis + 1 :]])


def cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Floats stay in the precision that the network is used in."""
    x, to = _first(inputs), attributes["to"]
    if x.is_floating_point() and to in _FLOATS:
        return x
    if not x.is_floating_point() and to in _INTEGERS:
        return x.long()
    raise WeightsError("Cast is read between floats or between integers only; export the network otherwise")


OPERATORS: dict[str, Operator] = {
    "Add": _binary(torch.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Concat": lambda inputs, attributes: torch.cat([x for x in inputs if x is not None], attributes["axis"]),
    "Conv": conv,
    "Div": _binary(torch.div),
    "Dropout": dropout,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": _unary(lambda x: x.mean((2, 3), keepdim=True)),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda inputs, attributes: F.leaky_relu(_first(inputs), attributes.get("alpha", 0.01)),
    "LpNormalization": lp_normalization,
    "MatMul": _binary(torch.matmul),
    "MaxPool": max_pool,
    "Mul": _binary(torch.mul),
    "PRelu": prelu,
    "ReduceL2": _reduced(torch.linalg.vector_norm),
    "ReduceMean": _reduced(torch.mean),
    "Relu": _unary(F.relu),
    "Reshape": reshape,
    "Shape": shape_of,
    "Sigmoid": _unary(torch.sigmoid),
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": squeeze,
    "Sub": _binary(torch.sub),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
"""By ONNX's names, of its own domain. ``Constant`` is read with the graph."""
