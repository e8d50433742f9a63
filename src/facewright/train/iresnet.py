"""IResNets, the networks of ArcFace (Deng et al. 2019): built here, weights by state dicts as insightface writes them.

``backbone.pth`` holds tensors by name and no network. How deep and how wide the network is follows from the tensors: an
IResNet-50 has 3, 4, 14 and 3 blocks of 64, 128, 256 and 512 channels.
"""

import itertools
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.regress.importers.torch_files import read_pickled
from facewright.untrusted import is_zip, reading

IRESNET50 = (3, 4, 14, 3)
"""Blocks of each of its four stages."""
_LAST_SIDE = 7  # of the last map, px: chips of 112 px are halved four times
_WRAPPER = "module."  # of networks that were saved from several GPUs
_MOST_BLOCKS = 64


class IBlock(nn.Module):
    """Two convolutions, norms before, between and after; nothing is cut off after the sum.

    Args:
        channels_in: of the input.
        channels: of the output.
        stride: of the second convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels:
            skip = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(skip, nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The block's sum."""
        found = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return found + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """112-px chips (2 srgb - 1) to embeddings, named as insightface names its parts.

    Args:
        blocks: of each stage; the first of a stage halves the map.
        channels: of the stem, and of each stage.
        embedding: length of the vector.
    """

    def __init__(
        self,
        blocks: Sequence[int] = IRESNET50,
        channels: Sequence[int] = (64, 64, 128, 256, 512),
        embedding: int = 512,
    ) -> None:
        super().__init__()
        stem, *widths = channels
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(stem), nn.PReLU(stem)
        before = stem
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), 1):
            stage = [IBlock(before, width, 2), *(IBlock(width, width, 1) for _ in range(count - 1))]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            before = width
        self.bn2 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before * _LAST_SIDE**2, embedding)
        self.features = nn.BatchNorm1d(embedding)

    def forward(self, chips: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B E"]:
        """Embeddings, of any length."""
        x = self.prelu(self.bn1(self.conv1(chips)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


def is_state_dict(path: str | os.PathLike[str]) -> bool:
    """Whether a file of torch's is one of tensors alone: no TorchScript, whose archive holds code.

    Raises:
        WeightsError: a damaged archive.
    """
    if not is_zip(path):
        return Path(path).is_file()  # as torch wrote before version 1.6
    with (
        reading(path, WeightsError, "a whole file of torch.save or TorchScript", "fetch it again"),
        zipfile.ZipFile(path) as archive,
    ):
        names = archive.namelist()
    return any(name.endswith("/data.pkl") for name in names) and not any("/code/" in name for name in names)


def load_iresnet(path: str | os.PathLike[str]) -> IResNet:
    """The network of a state dict, in float32, frozen, in evaluation mode, on the CPU; nothing in the file is executed.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: malformed, or the tensors of another network; the first that differ are named.
    """
    if not Path(path).is_file():
        raise AssetNotFoundError(f"expected the state dict of an IResNet (backbone.pth) at {path}, found none")
    file = read_pickled(path)
    state = {name.removeprefix(_WRAPPER): file[name].float() for name in file if not name.endswith("tracked")}
    net = _network_for(path, state)
    wanted = {name: value.shape for name, value in net.state_dict().items() if not name.endswith("tracked")}
    differing = sorted(
        name for name in wanted.keys() | state.keys() if name not in state or wanted.get(name) != state[name].shape
    )
    if differing:
        raise _other(path, f"others ({', '.join(differing[:3])} differ)")
    if broken := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise WeightsError(f"{path}: {broken[0]} holds NaN or infinity; the file is damaged, fetch it again")
    net.load_state_dict(state, strict=False)  # counters of batches alone may be missing
    return net.eval().requires_grad_(False)


def _network_for(path: str | os.PathLike[str], state: dict[str, Tensor]) -> IResNet:
    """An untrained network, as deep and as wide as the tensors say."""
    stages = [{int(n) for n in re.findall(rf"^layer{k}\.(\d{{1,3}})\.", "\n".join(state), re.M)} for k in range(1, 5)]
    blocks = [len(list(itertools.takewhile(stage.__contains__, itertools.count()))) for stage in stages]
    first = ["conv1.weight", *(f"layer{k}.0.conv1.weight" for k in range(1, 5)), "fc.weight"]
    dims = [state[name].dim() if name in state else 0 for name in first]
    if dims != [4] * 5 + [2] or not all(1 <= count <= _MOST_BLOCKS for count in blocks):
        raise _other(path, "those of another network")
    *channels, embedding = (len(state[name]) for name in first)
    # No larger than what the file holds of it: a stem of a million channels would need their filters.
    if state["fc.weight"].numel() != embedding * channels[-1] * _LAST_SIDE**2:
        raise _other(path, f"fc.weight of {tuple(state['fc.weight'].shape)}")
    return IResNet(blocks, channels, embedding)


def _other(path: str | os.PathLike[str], received: str) -> WeightsError:
    return WeightsError(
        f"{path}: expected the tensors of an IResNet as insightface names them (backbone.pth of ArcFace), received "
        f"{received}; give other networks as ONNX, or as TorchScript"
    )
