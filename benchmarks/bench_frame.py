"""What one frame of a video costs, step by step, and a photo with all of its files; beside 3DDFA_V2 if it is there.

    python benchmarks/bench_frame.py [--turns 9] [--peer FOLDER] [--files]

CPU time of this process on one thread, median over turns in which everything takes its turn. FOLDER holds 3DDFA_V2's
networks as ONNX, as its own scripts write them: ``FaceBoxesProd.onnx``, ``mb1_120x120.onnx``, ``bfm_noneck_v3.onnx``.
They are run on inputs of the sizes that its program gives them; what it does before, between and after them, and its
rasteriser, is left out: the peer is cheaper here than in its own program.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro

from facewright.assets import embedded_path
from facewright.detect import detect_faces
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.outputs import OutputOptions, write_outputs
from facewright.pipeline.tracking import FaceTracker, Glancer
from facewright.pipeline.views import overlay_of_faces
from facewright.records import Photo

FRAME = (720, 1280)
LARGE = (4000, 6000)


@dataclass(frozen=True)
class Arguments:
    """Time a frame."""

    turns: int = 9
    """How often; the median counts."""
    peer: Path | None = None
    """Folder of 3DDFA_V2's networks as ONNX."""
    files: bool = False
    """Time a photo with all of its files too, and one of 24 megapixels."""


def frame_of(portrait: Photo, size: tuple[int, int]) -> Photo:
    """The portrait as high as a frame, in the middle of its own blurred self."""
    pixels = np.ascontiguousarray(portrait.pixels.permute(1, 2, 0).numpy())
    height, width = size
    wide = round(pixels.shape[1] * height / pixels.shape[0])
    frame = cv2.GaussianBlur(cv2.resize(pixels, (width, height)), (0, 0), height / 30)
    left = (width - wide) // 2
    frame[:, left : left + wide] = cv2.resize(pixels, (wide, height), interpolation=cv2.INTER_AREA)
    return photo_from_array(frame)


def steps_of(frame: Photo, fast: Reconstructor, default: Reconstructor) -> dict[str, Callable[[], object]]:
    """What is timed, by its name in the table."""
    detector = fast.detector
    (found,) = detect_faces(frame, detector, max_faces=1)
    tracker = FaceTracker(fast, look_every=1_000_000)
    tracker.follow(frame)
    (face,) = fast.faces_in(frame, faces="largest", detections=[found])
    network = fast.estimator
    assert isinstance(network, Glancer)

    def whole(flow: Reconstructor) -> None:
        overlay_of_faces(flow.faces_in(frame, faces="largest"))

    def one_look() -> None:
        (seen,) = detect_faces(frame, detector, max_faces=1)
        glance: Any = network.glance(frame, seen.five)
        answer = network.estimate_at(glance)
        overlay_of_faces([fast.reconstruction(frame, seen, answer)])

    return {
        "frame: detect, 68 points, dense, overlay; fast, one look": one_look,
        "frame: the same by the flow, fast, two looks": lambda: whole(fast),
        "frame: the default network and its refinement": lambda: whole(default),
        "detect": lambda: detect_faces(frame, detector),
        "crop and regress, one look": lambda: network.glance(frame, found.five),
        "following, 68 points": lambda: tracker.follow(frame),
        "overlay": lambda: overlay_of_faces([face]),
    }


def peer_steps(folder: Path) -> dict[str, Callable[[], object]]:
    """The networks of 3DDFA_V2 on inputs of its sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def loaded(name: str) -> Any:
        return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

    boxes, regress, dense = (loaded(f"{name}.onnx") for name in ("FaceBoxesProd", "mb1_120x120", "bfm_noneck_v3"))
    scale = min(1.0, 720 / FRAME[0], 1080 / FRAME[1])
    frame = np.zeros((1, 3, round(FRAME[0] * scale), round(FRAME[1] * scale)), np.float32)
    crop = np.zeros((1, 3, 120, 120), np.float32)
    shapes = {"R": (3, 3), "offset": (3, 1), "alpha_shp": (40, 1), "alpha_exp": (10, 1)}
    given = {entry.name: np.zeros(shapes[entry.name], np.float32) for entry in dense.get_inputs()}
    return {
        "peer: detect": lambda: boxes.run(None, {boxes.get_inputs()[0].name: frame}),
        "peer: regress": lambda: regress.run(None, {regress.get_inputs()[0].name: crop}),
        "peer: dense": lambda: dense.run(None, given),
    }


def measured(steps: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Milliseconds of CPU, median over turns; the first turn is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:
                spent[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in spent.items()}


def file_steps(portrait: Photo, default: Reconstructor) -> dict[str, Callable[[], object]]:
    """A photo and a large one, from pixels to all files."""
    large = frame_of(portrait, LARGE)

    def written(photo: Photo) -> None:
        with tempfile.TemporaryDirectory() as folder:
            faces = default.faces_in(photo, faces="largest")
            write_outputs(faces, Path(folder), "face", OutputOptions())

    return {
        "photo to all files": lambda: written(portrait),
        "24 megapixels to all files": lambda: written(large),
    }


def main(arguments: Arguments) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    portrait = read_photo(embedded_path("photos/grace_hopper.jpg"))
    fast, default = load_reconstructor(weights="fast", refine=0), load_reconstructor()
    steps = steps_of(frame_of(portrait, FRAME), fast, default)
    if arguments.peer is not None:
        steps |= peer_steps(arguments.peer)
    times = measured(steps, arguments.turns)
    if arguments.files:
        times |= measured(file_steps(portrait, default), max(1, arguments.turns // 4))
    print(f"{FRAME[1]} x {FRAME[0]} frames, one thread; ms of CPU")
    for name, value in times.items():
        print(f"{name:58s} {value:8.1f}")
    if arguments.peer is not None:
        peer = sum(times[f"peer: {step}"] for step in ("detect", "regress", "dense"))
        print(f"frame by the peer's networks {peer:.1f}; ours takes {next(iter(times.values())) / peer:.2f} of that")
        print(f"following takes {times['following, 68 points'] / times['peer: regress']:.2f} of the peer's network")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
