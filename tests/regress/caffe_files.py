"""Writes what Caffe would write: ``.caffemodel`` and ``.binaryproto``, byte by byte; and runs such a network."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from facewright.regress.backbones.resnet import DEPTHS
from tests.regress.tensorflow_files import bytes_field, number_field, varint

EPSILON = 1e-5


def blob(array: np.ndarray, *, old: bool = False, packed: bool = True) -> bytes:
    """A BlobProto; ``old`` says its four sizes one by one."""
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(number_field(axis + 1, size) for axis, size in enumerate(sizes))
    else:
        shape = bytes_field(7, bytes_field(1, b"".join(varint(size) for size in array.shape)))
    values = array.astype("<f4").tobytes()
    if packed:
        return shape + bytes_field(5, values)
    return shape + b"".join(varint(5 << 3 | 5) + values[k : k + 4] for k in range(0, len(values), 4))


def layer(name: str, kind: str, arrays: list[np.ndarray], **options: bool) -> bytes:
    blobs = b"".join(bytes_field(7, blob(array, **options)) for array in arrays)
    return bytes_field(100, bytes_field(1, name.encode()) + bytes_field(2, kind.encode()) + blobs)


def unit_names(depth: int = 101) -> list[tuple[str, int]]:
    """Names of the residual units as the release has them, and their strides."""
    found = []
    for stage, units in enumerate(DEPTHS[depth], start=2):
        deep = depth > 50 and stage in (3, 4)
        for unit in range(units):
            name = f"{stage}{'abcdefgh'[unit]}" if not deep else f"{stage}a" if unit == 0 else f"{stage}b{unit}"
            found.append((name, 2 if unit == 0 and stage > 2 else 1))
    return found


def random_blobs(
    seed: int, *, width: float = 0.0625, depth: int = 101, codes: int = 198
) -> dict[str, list[np.ndarray]]:
    """Blobs by layer, of a size that keeps what goes through them near 1."""
    rng, stem, made = np.random.default_rng(seed), round(64 * width), dict[str, list[np.ndarray]]()

    def normed(name: str, bn: str, scale: str, out: int, inside: int, kernel: int, gain: float = 1.0) -> None:
        made[name] = [rng.normal(0, (2 / (inside * kernel**2)) ** 0.5, (out, inside, kernel, kernel))]
        factor = np.array([rng.uniform(1.0, 1000.0)])
        made[bn] = [factor * rng.normal(0, 0.1, out), factor * rng.uniform(0.5, 1.5, out), factor]
        made[scale] = [gain * rng.uniform(0.8, 1.2, out), rng.normal(0, 0.1, out)]

    normed("conv1", "bn_conv1", "scale_conv1", stem, 3, 7, 0.02)
    inside = stem
    for name, _ in unit_names(depth):
        channels = stem * 2 ** (int(name[0]) - 2)
        sizes = (("a", channels, inside, 1), ("b", channels, channels, 3), ("c", 4 * channels, channels, 1))
        for letter, out, before, kernel in sizes:
            tail = f"{name}_branch2{letter}"
            normed(f"res{tail}", f"bn{tail}", f"scale{tail}", out, before, kernel, 0.3 if letter == "c" else 1.0)
        if name.endswith("a"):
            tail = f"{name}_branch1"
            normed(f"res{tail}", f"bn{tail}", f"scale{tail}", 4 * channels, inside, 1)
        inside = 4 * channels
    made["fc_ftnew"] = [rng.normal(0, inside**-0.5, (codes, inside)), rng.normal(0, 0.1, codes)]
    return {name: [array.astype(np.float32) for array in arrays] for name, arrays in made.items()}


def write_caffemodel(path: Path, blobs: dict[str, list[np.ndarray]], **options: bool) -> None:
    kinds = {"bn": "BatchNorm", "sc": "Scale", "fc": "InnerProduct"}
    layers = (layer(name, kinds.get(name[:2], "Convolution"), arrays, **options) for name, arrays in blobs.items())
    path.write_bytes(bytes_field(1, b"ResNet-101") + layer("pool1", "Pooling", []) + b"".join(layers))


def caffe_forward(blobs: dict[str, list[np.ndarray]], picture: torch.Tensor, depth: int = 101) -> torch.Tensor:
    """The network, layer by layer as the prototxt has them: BatchNorm, then Scale."""
    of = {name: [torch.from_numpy(array).double() for array in arrays] for name, arrays in blobs.items()}

    def normed(x: torch.Tensor, name: str, norm: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        x = F.conv2d(x, of[name][0], None, stride, padding)
        mean, variance, factor = of[f"bn{norm}"]
        x = (x - (mean / factor)[:, None, None]) / ((variance / factor)[:, None, None] + EPSILON).sqrt()
        scale, shift = of[f"scale{norm}"]
        return x * scale[:, None, None] + shift[:, None, None]

    x = F.relu(normed(picture.double(), "conv1", "_conv1", 2, 3))
    rows = -(-(x.shape[2] - 3) // 2) + 1  # Caffe rounds up
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)[..., :rows, :rows]
    for name, stride in unit_names(depth):
        y = F.relu(normed(x, f"res{name}_branch2a", f"{name}_branch2a", stride))
        y = F.relu(normed(y, f"res{name}_branch2b", f"{name}_branch2b", 1, 1))
        y = normed(y, f"res{name}_branch2c", f"{name}_branch2c")
        skip = normed(x, f"res{name}_branch1", f"{name}_branch1", stride) if name.endswith("a") else x
        x = F.relu(y + skip)
    weight, bias = of["fc_ftnew"]
    return x.mean((2, 3)) @ weight.T + bias
