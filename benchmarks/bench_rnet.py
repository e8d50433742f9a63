"""Cost of R-Net on the CPU as a multiple of a bare ResNet-50 classifier in the same run, crops of 224 px.

CPU time, not wall time, of networks that run in turns, so that a busy machine slows both alike; each figure is the
median of the turns' ratios.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from facewright.regress.backbones import build_backbone
from facewright.regress.official import OFFICIAL_LAYOUT
from facewright.regress.rnet import RNet

NETWORKS = {
    "resnet50": dict(architecture="resnet50"),
    "resnet_v1_50_slim": dict(architecture="resnet_v1_50_slim", input_coding="bgr_0_255"),
    "resnet101": dict(architecture="resnet101"),
    "resnet18": dict(architecture="resnet18"),
    "resnet18, half width": dict(architecture="resnet18", width=0.5),
    "mobilenet_v3_large": dict(architecture="mobilenet_v3_large"),
    "mobilenet_v3_small": dict(architecture="mobilenet_v3_small"),
}
LIMITS = {"resnet50": 1.1}
"""A ratio above fails the run."""


def seconds(net: nn.Module, crops: Tensor) -> float:
    """CPU time of one forward pass."""
    start = time.process_time()
    net(crops)
    return time.process_time() - start


def ratio(net: nn.Module, bare: nn.Module, crops: Tensor, turns: int) -> tuple[float, float]:
    """Median ratio of the turns, and median seconds of the bare classifier."""
    seconds(net, crops)
    seconds(bare, crops)
    pairs = [(seconds(net, crops), seconds(bare, crops)) for _ in range(turns)]
    return statistics.median(a / b for a, b in pairs), statistics.median(b for _, b in pairs)


def main() -> int:
    """Print one row per network and batch size; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="forward passes per network")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    bare = nn.Sequential(build_backbone("resnet50"), nn.Linear(2048, 1000)).eval()
    broken = 0
    print(f"{'network':<22}{'batch':>6}{'parameters':>12}{'x bare ResNet-50':>18}{'bare, ms':>10}")
    for name, options in NETWORKS.items():
        net = RNet(OFFICIAL_LAYOUT, **options).eval()
        parameters = sum(p.numel() for p in net.parameters())
        for batch in (1, 16):
            with torch.inference_mode():
                times, bare_seconds = ratio(net, bare, torch.rand(batch, 3, 224, 224), arguments.turns)
            broken += times > LIMITS.get(name, float("inf"))
            print(f"{name:<22}{batch:>6}{parameters / 1e6:>11.2f}M{times:>18.3f}{1e3 * bare_seconds:>10.0f}")
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
