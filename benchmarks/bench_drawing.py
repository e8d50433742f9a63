"""Pictures of synthetic people a second: one at a time by plain tensors, together by the batch engine, in training.

CPU time of one thread, not wall time, of turns that alternate, for crops of 112 px (two rays a pixel along each side).
Where there is a GPU, the same batches drawn there, by wall time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import torch

from facewright.synthetic import ScenePlan, Wish, open_studio, photograph, plan_scenes, take_snapshots
from facewright.train.live import LiveStream

SIZE, BATCH = 112, 32
LEAST_RATIO = 2.0
"""Of pictures drawn together to those drawn one at a time; a run below fails."""


def spent(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Seconds of a piece of work."""
    start = clock()
    work()
    return clock() - start


def pictures_per_second(turns: int, measures: dict[str, tuple[int, Callable[[], object]]]) -> dict[str, float]:
    """Medians of measures that take turns, after one round that is not counted."""
    rounds = [
        {name: pictures / spent(time.process_time, work) for name, (pictures, work) in measures.items()}
        for _ in range(turns + 1)
    ][1:]
    return {name: statistics.median(found[name] for found in rounds) for name in measures}


def on_gpu(plans: list[ScenePlan], turns: int) -> float:
    """Pictures a second of wall time on a GPU: drawn, developed and back in its memory."""
    studio = open_studio()

    def draw() -> None:
        take_snapshots(studio, plans, device="cuda")
        torch.cuda.synchronize()

    draw()
    return len(plans) / statistics.median(spent(time.perf_counter, draw) for _ in range(turns))


def main() -> int:
    """Print the figures; 1 if the limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="rounds of each measure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    studio = open_studio()

    wishes = [Wish(seed, width=SIZE, height=SIZE, eye_px=(32.0, 33.0)) for seed in range(BATCH)]
    plans = plan_scenes(studio, wishes)
    live, pairs = LiveStream(BATCH, SIZE), LiveStream(BATCH, SIZE, per_person=4)
    found = pictures_per_second(
        arguments.turns,
        {
            "planning": (BATCH, lambda: plan_scenes(studio, wishes)),
            "one at a time, tensors": (4, lambda: [photograph(studio, each) for each in plans[:4]]),
            "together, compiled": (BATCH, lambda: take_snapshots(studio, plans)),
            "batches of --source live": (BATCH, lambda: live.batch(0)),
            "the same, 4 of a person": (BATCH, lambda: pairs.batch(0)),
        },
    )
    single = found["one at a time, tensors"]
    for name, figure in found.items():
        print(f"{name:<28}{figure:>8.1f} pictures/s of CPU   {figure / single:>5.1f}")
    if torch.cuda.is_available():
        figure = on_gpu(plans * 8, arguments.turns)
        print(f"{'together on ' + torch.cuda.get_device_name():<28}{figure:>8.1f} pictures/s   {figure / single:>5.1f}")
    return 1 if found["together, compiled"] < LEAST_RATIO * single else 0


if __name__ == "__main__":
    raise SystemExit(main())
