"""How steady and how true faces in clips are: drawn heads that move smoothly, with known landmarks.

    python benchmarks/accuracy_clips.py --out FOLDER [--people 2 --frames 60]

Each clip goes through the whole flow as the command does it: for the whole clip, and live. Beside them stands what each
frame says alone (the same fit, not smoothed; and photographs by themselves, each with an identity of its own). A last
clip lets two drawn heads cross in front of each other.

``jitter``: what trembles of the error of 68 landmarks (deviation from the straight line between the frames before and
after, scaled to independent errors), as a share of the face, beyond the true movement. ``error``: mean distance of
landmarks, as a share of the face. ``lag``: delay, frames, at which the estimate fits the truth's movement best.
``drift``: largest difference of a person's identity coefficients between two frames.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.export.film import Film, write_film
from facewright.export.png import write_png
from facewright.photo import read_photo
from facewright.pipeline.album.weighing import load_weighing
from facewright.pipeline.clip import ClipOptions, reconstruct_clip
from facewright.pipeline.clip.figures import face_size, jitter
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.synthetic import open_studio, photograph
from facewright.synthetic.albums import plan_clip
from facewright.untrusted import read_npz

FIRST_PERSON = 950
RATE = 30.0


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    out: Path
    """Folder of the drawn clips and of the results; what is there is not drawn again."""
    people: int = 2
    """Clips of one person each."""
    frames: int = 60
    """Of each clip."""
    size: int = 320
    """Side of the frames, px."""
    weights: str | None = None
    """The R-Net."""
    alone: int = 20
    """Frames that are reconstructed as photographs; 0: none."""
    crossing: bool = True
    """Two people who cross, too."""


@dataclass(frozen=True)
class DrawnClip:
    """A clip with truth: frames, times, landmarks (px) and identity; of a crossing of each person."""

    path: Path
    times_s: Float[Tensor, " N"]
    landmarks: Float[Tensor, "P N 68 2"]


def drawn(settings: Settings, person: int) -> DrawnClip:
    """A clip of one person, drawn once."""
    folder = settings.out / f"{person}"
    truth, frames = folder / "truth.npz", [folder / f"{k:04d}.png" for k in range(settings.frames)]
    if not truth.is_file():
        studio = open_studio()
        landmarks, seen = [], []
        for plan, path in zip(plan_clip(studio, person, settings.frames, size=settings.size), frames, strict=True):
            scene = photograph(studio, plan, oversampling=1)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, scene.photo.srgb)
            landmarks.append(scene.landmarks[:, :2].numpy())
            seen.append(np.packbits(scene.face_seen.numpy()))
        np.savez(truth, landmarks=np.stack(landmarks))
    with np.load(truth) as file:
        points = torch.from_numpy(file["landmarks"]).float()
    times = torch.arange(settings.frames).double() / RATE
    clip = folder / "clip.mp4"
    if not clip.is_file():
        write_film(Film((read_photo(path).pixels, float(t)) for path, t in zip(frames, times, strict=True)), clip)
    return DrawnClip(clip, times, points[None])


def film(pictures: object, times: Float[Tensor, " N"], path: Path) -> None:
    """Write frames as a clip."""
    write_film(Film(zip(pictures, times.tolist(), strict=True)), path)  # pyright: ignore[reportArgumentType]


def crossing(settings: Settings, first: DrawnClip, second: DrawnClip) -> DrawnClip:
    """Two clips in one: the second person passes behind the first, from one side to the other and back."""
    folder = settings.out / "crossing"
    folder.mkdir(parents=True, exist_ok=True)
    count, size = settings.frames, settings.size
    width, height = 3 * size, size
    steps = torch.arange(count) / (count - 1)
    places = torch.stack([2.0 * size * steps, 2.0 * size * (1.0 - steps)]).round()
    points = torch.cat([first.landmarks, second.landmarks])
    points = points + torch.stack([places, torch.zeros_like(places)], -1)[:, :, None]

    def frame(k: int) -> Float[Tensor, "3 H W"]:
        picture = torch.full((3, height, width), 0.35)
        for clip, place in ((second, places[1, k]), (first, places[0, k])):
            pixels = read_photo(clip.path.parent / f"{k:04d}.png").pixels
            x = int(place)
            box = clip.landmarks[0, k]
            middle, reach = (box.amin(0) + box.amax(0)) / 2.0, (box.amax(0) - box.amin(0)).max()
            rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
            off = ((columns - middle[0]) / (0.62 * reach)).square() + ((rows - middle[1]) / (0.85 * reach)).square()
            alpha = (8.0 * (1.0 - off)).clamp(0.0, 1.0)
            picture[:, :, x : x + size] = torch.lerp(picture[:, :, x : x + size], pixels, alpha)
        return picture

    clip = folder / "clip.mp4"
    if not clip.is_file():
        write_film(Film((frame(k), float(t)) for k, t in enumerate(first.times_s)), clip)
    return DrawnClip(clip, first.times_s, points)


def alone(settings: Settings, clip: DrawnClip, flow: Reconstructor) -> dict[str, float]:
    """Frames as photographs."""
    folder = clip.path.parent
    found = []
    for k in range(min(settings.alone, settings.frames)):
        (face, *_) = flow.faces_in_batch([read_photo(folder / f"{k:04d}.png")], faces="largest")
        if not isinstance(face, Reconstruction):
            continue
        found.append((k, face.landmarks, face.coefficients.id[0]))
    rows = torch.tensor([k for k, *_ in found])
    points, codes = torch.stack([one for _, one, _ in found]), torch.stack([one for *_, one in found])
    return figures(clip.times_s[rows], points, clip.landmarks[0, rows]) | {
        "drift": float((codes.amax(0) - codes.amin(0)).max())
    }


def figures(
    times: Float[Tensor, " N"], found: Float[Tensor, "N 68 2"], truth: Float[Tensor, "N 68 2"]
) -> dict[str, float]:
    """Jitter, error and lag."""
    size = face_size(truth)
    off = found - truth
    return {
        "jitter %": 100.0 * jitter(times, off, size),
        "error %": 100.0 * float(off.norm(dim=-1).mean()) / size,
        "lag": lag(found, truth),
    }


def lag(found: Float[Tensor, "N 68 2"], truth: Float[Tensor, "N 68 2"]) -> float:
    """Frames by which the found movement is late: truth(t - lag), to first order, by least squares on velocities."""
    velocity = (truth[2:] - truth[:-2]) / 2.0
    off = found[1:-1] - truth[1:-1]
    off = off - off.mean(0)
    velocity = velocity - velocity.mean(0)
    return -float((off * velocity).sum() / velocity.square().sum().clamp_min(1e-9))


def results(folder: Path) -> list[dict[str, Tensor]]:
    """Arrays of each person."""
    names = json.loads((folder / "clip.json").read_text())["outputs"]
    return [
        {key: torch.from_numpy(value) for key, value in read_npz(folder / name).items()}
        for name in names
        if name.endswith("npz")
    ]


def main(settings: Settings) -> None:
    """Measure."""
    flow = load_reconstructor(weights=settings.weights)
    weighing = load_weighing(flow.estimator)
    clips = [drawn(settings, FIRST_PERSON + k) for k in range(settings.people)]
    rows: dict[str, list[dict[str, float]]] = {}
    for clip in clips:
        if settings.alone:
            rows.setdefault("photographs", []).append(alone(settings, clip, flow))
        for name, live in (("whole clip", False), ("live, one frame late", True)):
            folder = clip.path.parent / ("live" if live else "whole")
            options = ClipOptions(("npz", "overlay") if not live else ("npz",), 256, live)
            report = reconstruct_clip(clip.path, folder, flow, weighing, options=options)
            (one, *_) = results(folder)
            seen = one["frames"].long()
            truth = clip.landmarks[0, seen]
            rows.setdefault(name, []).append(
                figures(clip.times_s[seen], one["landmarks_68"].float(), truth)
                | {"drift": 0.0, "lost": float(settings.frames - len(seen))}
            )
            if not live:
                before = one["landmarks_68_frame_by_frame"].float()
                rows.setdefault("frame by frame", []).append(
                    figures(clip.times_s[seen], before, truth) | {"drift": 0.0}
                )
                person = report.people[0]
                print(f"{clip.path}: jitter as clip.json has it {person['jitter']:.4%}", flush=True)
                print(f"    frame by frame {person['jitter_frame_by_frame']:.4%}", flush=True)
    names = list(dict.fromkeys(key for several in rows.values() for one in several for key in one))
    print(f"\n{'':24s}" + "".join(f"{name:>12s}" for name in names))
    for way, several in rows.items():
        cells = [
            np.mean([one[name] for one in several if name in one]) if name in several[0] else np.nan for name in names
        ]
        print(f"{way:24s}" + "".join(f"{cell:12.4f}" for cell in cells))
    if settings.crossing and len(clips) > 1:
        both = crossing(settings, clips[0], clips[1])
        report = reconstruct_clip(
            both.path, both.path.parent / "whole", flow, weighing, options=ClipOptions(("npz", "overlay"), 256)
        )
        print(f"\ntwo people who cross: {len(report.people)} people found")
        for one in results(both.path.parent / "whole"):
            seen = one["frames"].long()
            off = (one["landmarks_68"].float()[None] - both.landmarks[:, seen]).norm(dim=-1).mean(-1)
            who = off.argmin(0)
            size = face_size(both.landmarks[0])
            print(
                f"  seen in {len(seen)} frames; nearest to person {np.bincount(who.numpy(), minlength=2).tolist()}, "
                f"mean distance {100 * float(off.amin(0).mean()) / size:.2f} % of the face"
            )


if __name__ == "__main__":
    main(tyro.cli(Settings))
