"""Batches of training crops a second: as a share of bare JPEG decoding, and of what the bare network takes.

CPU time, not wall time, of turns that alternate; windows are pieces of the bundled portraits, stored as 128 px crops
with their margin, read as 112 px crops with jitter, skin (a quarter), points and truth. The network is the embedded
trunk, without losses. Where it is on a GPU, both by wall time: batches are made by ``--workers`` and moved there.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from bench_training import PRECISIONS, Case, bare_step, photographs, seconds

from facewright.assets import embedded_path
from facewright.morphable.container import load_face_model
from facewright.photo import read_photo
from facewright.records import CoefficientLayout
from facewright.train.loader import BatchStream
from facewright.train.make import make_data
from facewright.train.rnet_settings import RUN_PRESETS
from facewright.train.run import make_fabric
from facewright.train.samples import DataCard, TrainingSample
from facewright.train.shards import DataSet

LAYOUT = CoefficientLayout(80, 64, 80)
BATCH, CROP_SIZE = 64, 112
LEAST_SHARE = 0.3
"""Of bare decoding; a run below fails."""
LEAST_SUPPLY = 0.9
"""Of what the bare network takes; a run below fails."""


class Pieces:
    """Windows cut at random from the bundled portraits."""

    def __init__(self, card: DataCard) -> None:
        self.card = card
        names = ("photos/astronaut.jpg", "photos/grace_hopper.jpg")
        photos = [read_photo(embedded_path(name)).srgb.permute(1, 2, 0).numpy() for name in names]
        self.photos = [(photo * 255.0).round().astype(np.uint8) for photo in photos]

    def __call__(self, seed: int) -> list[TrainingSample]:
        """One window."""
        rng = np.random.default_rng(seed)
        photo, side = self.photos[seed % 2], self.card.crop_size + 2 * self.card.margin
        top, left = (int(rng.integers(0, length - side)) for length in photo.shape[:2])
        window = np.ascontiguousarray(photo[top : top + side, left : left + side])
        skin = cv2.GaussianBlur(window[..., 0], (0, 0), 3.0) if seed % 4 == 0 else np.zeros((side, side), np.uint8)
        marks, points = (rng.uniform(0, 128, (number, 2)).astype(np.float32) for number in (68, 468))
        truth = rng.standard_normal(LAYOUT.size).astype(np.float32)
        ones_68, ones_468 = np.ones(68, np.float32), np.ones(468, np.float32)
        return [TrainingSample(str(seed), window, skin, self.card.margin, marks, ones_68, points, ones_468, truth)]


def decode_all(data: DataSet) -> int:
    """Decode every window and do nothing with it."""
    windows = [blob for index in range(len(data.groups)) for blob in data.read_group(index).windows]
    start = time.process_time()
    for blob in windows:
        cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)
    return round(len(windows) / (time.process_time() - start))


def stream_all(stream: BatchStream, rows: int) -> int:
    """Make as many batches as hold so many rows."""
    start = time.process_time()
    for step in range(rows // BATCH):
        stream.batch(step)
    return round(rows / (time.process_time() - start))


def read_all(data: DataSet) -> int:
    """Read every row group."""
    start = time.process_time()
    for index in range(len(data.groups)):
        data.read_group(index)
    return round(len(data) / (time.process_time() - start))


def supply(stream: BatchStream, rows: int, device: str) -> int:
    """Rows that reach the device, by wall time, once the workers are warm."""
    batches = stream.batches()  # its workers stop when it is let go
    next(batches).to(device)
    start = time.perf_counter()
    for _ in range(rows // BATCH):
        next(batches).to(device)
    return round(rows / (time.perf_counter() - start))


def network_rate(device: str, turns: int) -> float:
    """Pictures a second of the embedded trunk's bare step."""
    kind = device.partition(":")[0]
    fabric = make_fabric(replace(RUN_PRESETS["open"], device=device, precision=PRECISIONS[kind]))
    model, case = load_face_model("open"), Case("dlib_resnet29", 1.0, CROP_SIZE, BATCH)
    batch = photographs(model, CROP_SIZE, BATCH).to(fabric.device)
    step = bare_step(case, model, batch, fabric)
    step()
    return BATCH / statistics.median(seconds(step, kind) for _ in range(turns))


def median_of(turns: int, *measures: Callable[[], int]) -> list[float]:
    """Medians of measures that take turns, after one round that is not counted."""
    rounds = [[measure() for measure in measures] for _ in range(turns + 1)][1:]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def main() -> int:
    """Print the figures; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="rounds of each measure")
    parser.add_argument("--rows", type=int, default=1024, help="samples")
    parser.add_argument("--device", default="cpu", help="of the network: cpu or cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="that feed a GPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    card = DataCard("synthetic", face_model="pieces", layout=LAYOUT)
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder), card, range(arguments.rows), Pieces(card)).data
        stream = BatchStream([data], batch_size=BATCH, crop_size=CROP_SIZE, workers=arguments.workers)
        bare, whole, read = median_of(
            arguments.turns,
            lambda: decode_all(data),
            lambda: stream_all(stream, arguments.rows),
            lambda: read_all(data),
        )
        supplied = whole
        if arguments.device != "cpu":
            (supplied,) = median_of(arguments.turns, lambda: supply(stream, 4 * arguments.rows, arguments.device))
    wanted = network_rate(arguments.device, arguments.turns)
    print(f"{'bare JPEG decoding':<28}{bare:>8.0f} samples/s of CPU")
    print(f"{'reading row groups':<28}{read:>8.0f}")
    print(f"{'batches of 112 px crops':<28}{whole:>8.0f}   {whole / bare:.2f} of bare decoding")
    print(f"{'batches that arrive':<28}{supplied:>8.0f}   {supplied / wanted:.2f} of what the bare network takes")
    print(f"{'the bare network':<28}{wanted:>8.0f} pictures/s")
    return int(whole < LEAST_SHARE * bare or supplied < LEAST_SUPPLY * wanted)


if __name__ == "__main__":
    raise SystemExit(main())
