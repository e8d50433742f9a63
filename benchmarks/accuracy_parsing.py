"""How well the embedded parsing network tells heads, hair and things apart, on drawn scenes that nothing learnt from.

    python benchmarks/accuracy_parsing.py [--count 60] [--weights FILE]

Faces are found by the detector, as in the flow. Over the pixels of what the network sees of the photo: intersection
over union of each part, and how many of the pixels that texture would be taken from (``own_share`` above one half) show
"""

from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
import tyro

from facewright.detect import detect_faces, load_face_detector
from facewright.geometry.frames import apply_homogeneous
from facewright.inference import Inference
from facewright.pipeline import parts as pipeline_parts
from facewright.pipeline.parts import find_parts, own_share
from facewright.records import PARTS
from facewright.regress.weights import load_weights
from facewright.synthetic import draw_parts, open_studio, photograph, plan_scene, set_stage


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    count: int = 60
    """Scenes."""
    first_seed: int = 900_000
    """Of the scenes; from 900,000 on nothing was learnt from or looked at."""
    weights: str = "parsing"
    """``parsing``, the embedded network, or a file."""
    size: int = 320
    """Side of the photos, px."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    net = load_weights(arguments.weights, kind="parsing")
    parser = Inference(net, lambda crops: {"shares": net(crops)}, side=net.crop_size), net.crop_size
    studio, detector = open_studio(), load_face_detector()
    both, either = np.zeros(len(PARTS)), np.zeros(len(PARTS))
    taken, wrong, owned, missed, scenes = 0, 0, 0, 0, 0
    by_prop: dict[str, list[float]] = {}
    with patch.object(pipeline_parts, "_parser", lambda: parser):
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
            plan = plan_scene(studio, seed, width=arguments.size, height=arguments.size)
            photo = photograph(studio, plan).photo
            truth = draw_parts(set_stage(studio, [plan]), [plan.camera])[0].reshape(-1, len(PARTS))
            faces = detect_faces(photo, detector)
            parts = find_parts(photo, faces[0].five) if faces else None
            if parts is None:
                continue
            scenes += 1
            row, column = np.mgrid[: photo.height, : photo.width]
            places = torch.from_numpy(np.stack([column, row], -1).reshape(-1, 2)).float()
            at, side = apply_homogeneous(parts.T_crop_photo, places), parts.shares.shape[-1]
            seen = ((at >= 0) & (at <= side - 1)).all(-1).numpy()
            grid = ((2 * at + 1) / side - 1)[None, None]
            said = torch.nn.functional.grid_sample(parts.shares[None], grid, align_corners=False)[0, :, 0].T.numpy()
            a, b = said[seen].argmax(-1), truth[seen].argmax(-1)
            here = [((a == k) & (b == k)).sum() / max(1, ((a == k) | (b == k)).sum()) for k in range(len(PARTS))]
            for k in range(len(PARTS)):
                both[k] += ((a == k) & (b == k)).sum()
                either[k] += ((a == k) | (b == k)).sum()
            own = own_share(parts, places).numpy()[seen] > 0.5
            taken, wrong = taken + own.sum(), wrong + (own & (truth[seen][:, 1] < 0.5)).sum()
            owned, missed = owned + (b == 1).sum(), missed + ((b == 1) & ~own).sum()
            by_prop.setdefault(plan.prop, []).append(float(here[1]))
    print(f"{scenes} of {arguments.count} scenes")
    for name, share in zip(PARTS, both / either, strict=True):
        print(f"IoU {name:8} {share:.3f}")
    print(f"taken for the head's own and something else: {wrong / taken:.3%}; own and not taken: {missed / owned:.1%}")
    for prop, values in sorted(by_prop.items()):
        print(f"IoU head, {prop:10} {np.mean(values):.3f}  ({len(values)} scenes)")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
