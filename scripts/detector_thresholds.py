"""How the detector's shortcuts were chosen, on drawn people alone: when the search ends early, when readings end.

    python scripts/detector_thresholds.py [--scenes 160] [--groups 160]

Readings: for each limit on how much a square may still move, how far the five points are from the truth, how far they
wander when the picture is shifted or made smaller (percent of the face's size), and how many runs of the mesh network a
face costs. Hints: for each score that counts as a hint of a face, how often the search for large faces ends it, of one
person and of groups, and how often a face is lost thereby that the whole search finds. Turned: how far sure readings of
turned pictures are from the upright one (percent of the face's size), by how much their squares still move.
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from facewright.detect import dense, detect_faces, faces, load_face_detector, search
from facewright.detect.landmarks import five_from_mesh
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.five_points import five_from_68
from facewright.photo import photo_from_array
from facewright.records import Photo
from facewright.synthetic import open_studio, photograph, plan_scene
from facewright.synthetic.backdrops import draw_backdrop

FIRST_SEED = 700_000
"""Of scenes that belong to nothing else."""
MOVES = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 10.0)
ADRIFT = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 10.0)
TURNS = (45, 135, 225, 315)
HINTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
GROUP_PX = (960, 1280)


@dataclass(frozen=True)
class Arguments:
    """Choose the detector's thresholds."""

    scenes: int = 160
    """Drawn people for the readings."""
    groups: int = 160
    """Pictures of one to four people for the hints."""
    workers: int = max(1, (os.cpu_count() or 2) - 1)
    """Processes."""


def scene(seed: int, size: int) -> tuple[UInt8[ndarray, "H W 3"], Tensor]:
    """A drawn person and the 68 landmarks."""
    torch.set_num_threads(1)
    drawn = photograph(open_studio(), plan_scene(open_studio(), seed, width=size, height=size))
    return drawn.photo.pixels.permute(1, 2, 0).numpy(), drawn.landmarks[:, :2]


def changed(photo: Photo) -> list[tuple[Photo, Callable[[Tensor], Tensor]]]:
    """A picture shifted and made smaller, with the maps of points back."""
    shifted = F.pad(photo.srgb, (17, 10, 10, 17))
    small = F.interpolate(photo.srgb[None], scale_factor=0.8, mode="bicubic", antialias=True)[0].clamp(0, 1)
    ratio = torch.tensor([photo.width / small.shape[2], photo.height / small.shape[1]])
    return [
        (photo_from_array(shifted.permute(1, 2, 0)), lambda five: five - five.new_tensor([17.0, 10.0])),
        (photo_from_array(small.permute(1, 2, 0)), lambda five: (five + 0.5) * ratio - 0.5),
    ]


def readings(seed: int) -> list[tuple[float, float, float, float]]:
    """Per limit: error, wandering (both percent), runs of the network, whether found."""
    pixels, landmarks = scene(seed, 480)
    photo, truth, detector = photo_from_array(pixels), five_from_68(landmarks), load_face_detector()
    runs = [0]
    read = dense.read_mesh

    def counted(photos: list[Photo], *rest, mirrored: bool = False):
        runs[0] += len(photos) * (2 if mirrored else 1)
        return read(photos, *rest, mirrored=mirrored)

    dense.read_mesh = counted
    rows = []
    for limit in MOVES:
        dense.RESTING_MOVE = limit
        runs[0] = 0
        found = detect_faces(photo, detector)
        spent = runs[0]
        if len(found) != 1:
            rows.append((np.nan, np.nan, np.nan, float(len(found))))
            continue
        size = float((found[0].box[2:] - found[0].box[:2]).prod().sqrt())
        error = float((found[0].five - truth).norm(dim=-1).mean()) / size
        wander = []
        for other, back in changed(photo):
            again = detect_faces(other, detector)
            wander += [float((back(again[0].five) - found[0].five).norm(dim=-1).mean()) / size] if again else []
        rows.append((100 * error, 100 * float(np.mean(wander or [np.nan])), float(spent), 1.0))
    dense.read_mesh = read
    return rows


def turned(seed: int) -> list[tuple[float, float]]:
    """Of a person's picture, turned: last move of each sure reading's square, and its distance from the upright one."""
    pixels, _ = scene(seed, 480)
    image, detector = Image.fromarray(pixels), load_face_detector()
    upright = detect_faces(photo_from_array(pixels), detector)
    if len(upright) != 1 or not faces.is_sure(upright[0]):
        return []
    size = float((upright[0].box[2:] - upright[0].box[:2]).prod().sqrt())
    rows: list[tuple[float, float]] = []
    moves: list[Tensor] = []
    move, confirmed, limit = dense._move, faces._confirmed, dense.ADRIFT_MOVE
    dense._move = lambda a, b: moves.append(move(a, b)) or moves[-1]
    dense.ADRIFT_MOVE = float("inf")
    for degrees in TURNS:
        other = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        back = torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float32)
        old, new = torch.tensor([479.0, 479.0]) / 2, torch.tensor([other.width - 1.0, other.height - 1.0]) / 2

        def noted(candidates, points, presence, back=back, old=old, new=new):
            for k in (presence > dense.RESTING_PRESENCE).nonzero().flatten().tolist():
                five = (five_from_mesh(points[k]) - new) @ back + old
                rows.append((float(moves[-1][k]), 100 * float((five - upright[0].five).norm(dim=-1).mean()) / size))
            return confirmed(candidates, points, presence)

        faces._confirmed = noted
        detect_faces(photo_from_array(np.array(other)), detector)
    dense._move, faces._confirmed, dense.ADRIFT_MOVE = move, confirmed, limit
    return rows


def hints(seed: int) -> tuple[int, float, bool]:
    """Of a picture of one to four people: how many, the least score that ends the search, whether that loses a face.

    The score is infinite where there is no large face that is sure.
    """
    rng, (height, width) = np.random.default_rng(seed), GROUP_PX
    torch.set_num_threads(1)
    canvas = draw_backdrop(rng, height, width)
    canvas = (srgb_from_linear(torch.from_numpy(np.array(canvas))).clamp(0, 1) * 255).byte().numpy()
    people = 1 + int(rng.integers(4))
    for k in range(people):
        pixels, landmarks = scene(seed * 10 + k, 480)
        low, high = landmarks.amin(0), landmarks.amax(0)
        low, high = ((low + high) / 2 + s * 0.9 * float((high - low).max()) for s in (-1, 1))
        left, top = (int(v) for v in low.clamp_min(0))
        right, bottom = (int(v) for v in high.clamp_max(480))
        side = int(rng.uniform(260, 420) if k == 0 else np.exp(rng.uniform(np.log(70), np.log(260))))
        cut = (
            F.interpolate(
                torch.from_numpy(pixels[top:bottom, left:right].copy()).permute(2, 0, 1)[None].float(),
                (side, side),
                mode="bicubic",
                antialias=True,
            )[0]
            .clamp(0, 255)
            .byte()
            .permute(1, 2, 0)
            .numpy()
        )
        x = int(rng.integers(0, width - side)) if k == 0 else int(width / 4 * (k - 1 + rng.uniform(0, 0.3)))
        x, y = min(x, width - side), int(rng.integers(0, height - side))
        canvas[y : y + side, x : x + side] = cut
    photo, detector = photo_from_array(canvas), load_face_detector()
    whole = detect_faces(photo, detector, min_face_px=search.SMALLEST_FOUND / search.FINE_SIZE * width)
    (large,) = search.large_candidates([search.views_of(photo)], detector, hint=min(HINTS))
    strongest = next((h for h in HINTS if faces.may_be_all(photo, large.above(h), 0.5)), float("inf"))
    (quick,) = search.agreed([large.above(search.CANDIDATE_SCORE)])
    read = dense.read_candidates([photo], [quick.above(0.5)], detector.mesh, passes=3, mirrored=True)
    few = faces.distinct_faces(faces._confirmed(quick.above(0.5), *read[0]))
    strongest = strongest if few and all(map(faces.is_sure, few)) else float("inf")
    return people, strongest, len(few) < len(whole)


def main(arguments: Arguments) -> None:
    """Print the tables."""
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + arguments.scenes)
        table = np.array(list(pool.map(readings, seeds)))
        readings_turned = np.array([row for rows in pool.map(turned, seeds) for row in rows]).reshape(-1, 2)
        seeds = range(80_000, 80_000 + arguments.groups)
        pictures = list(pool.map(partial(hints), seeds))
    both = np.isfinite(table[..., 0]).all(1)
    print(f"{both.sum()} of {len(table)} drawn people are found once, whatever the limit")
    print(f"{'limit':>8} {'error %':>8} {'median':>7} {'wander %':>9} {'worst':>6} {'runs':>6}")
    for k, limit in enumerate(MOVES):
        error, wander, runs = table[both, k, 0], table[both, k, 1], table[both, k, 2]
        print(
            f"{limit:8.3f} {error.mean():8.3f} {np.median(error):7.3f} {np.nanmean(wander):9.3f} "
            f"{np.nanmax(wander):6.2f} {runs.mean():6.2f}"
        )
    print(f"\n{'moves':>12} {'readings':>9} {'apart %':>8} {'worst':>6}")
    for low, high in pairwise(ADRIFT):
        apart = readings_turned[(readings_turned[:, 0] >= low) & (readings_turned[:, 0] < high), 1]
        if len(apart):
            print(f"{low:5.2f} ..{high:5.2f} {len(apart):9d} {apart.mean():8.2f} {apart.max():6.1f}")
    print(f"\n{'hint':>8} {'alone ended':>12} {'groups ended':>13} {'faces lost in':>14}")
    alone = [p for p in pictures if p[0] == 1]
    groups = [p for p in pictures if p[0] > 1]
    for hint in HINTS:
        lost = sum(strongest <= hint and fewer for _, strongest, fewer in pictures)
        print(
            f"{hint:8.2f} {sum(p[1] <= hint for p in alone):6d} of {len(alone):3d} "
            f"{sum(p[1] <= hint for p in groups):6d} of {len(groups):3d} {lost:8d} of {len(pictures)}"
        )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
