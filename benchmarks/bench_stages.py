"""Where the time of one photo goes, stage by stage, and the peak memory.

    python benchmarks/bench_stages.py [--turns 3]

CPU time of the whole process, median over turns, as shares of a reconstruction with all of its files.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from facewright.align import align_face
from facewright.assets import embedded_path
from facewright.detect import detect_faces
from facewright.export.formats import ALL_FORMATS, FORMATS
from facewright.photo import read_photo
from facewright.pipeline.evidence import fit_detection
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.outputs import FaceFiles
from facewright.pipeline.rnet_estimator import RNetEstimator


@dataclass(frozen=True)
class Arguments:
    """Time the stages of the flow."""

    turns: int = 3
    """How often; the median counts."""


def timed(seconds: dict[str, list[float]], stage: str, step: Callable[[], object]) -> object:
    """Run a step and note its CPU time."""
    start = time.process_time()
    result = step()
    seconds.setdefault(stage, []).append(time.process_time() - start)
    return result


def one_turn(network: Reconstructor, refined: Reconstructor, folder: Path, seconds: dict[str, list[float]]) -> None:
    """The flow of one photo, step by step."""
    path, detector = embedded_path("photos/grace_hopper.jpg"), refined.detector
    photo = read_photo(path)
    detection = detect_faces(photo, detector)[0]
    timed(seconds, "read", lambda: read_photo(path))
    timed(seconds, "detect", lambda: detect_faces(photo, detector))
    timed(seconds, "align", lambda: align_face(photo, detection.five))
    estimator = network.estimator
    assert isinstance(estimator, RNetEstimator)
    aligned, plan = align_face(photo, detection.five), estimator.plan
    timed(seconds, "fit alone", lambda: fit_detection(aligned, detection, plan))  # beside the flow, not part of it
    (face,) = refined.faces_in(photo, detections=[detection])
    timed(seconds, "network", lambda: network.faces_in(photo, detections=[detection]))
    timed(seconds, "network and refinement", lambda: refined.faces_in(photo, detections=[detection]))
    files = FaceFiles(face)
    timed(seconds, "texture", lambda: files.asset)
    for each in map(FORMATS.__getitem__, ALL_FORMATS):
        path = folder / f"face{each.suffix}"
        timed(seconds, f"write {each.name}", lambda each=each, path=path: each.write(files.content(each.content), path))


def main(arguments: Arguments) -> None:
    """Print the table."""
    seconds: dict[str, list[float]] = {}
    refined = load_reconstructor(refine=1)
    estimator = refined.estimator
    assert isinstance(estimator, RNetEstimator)
    network = replace(refined, estimator=replace(estimator, refine=0))  # the same networks: memory is one flow's
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.turns + 1):
            one_turn(network, refined, Path(folder), {} if turn == 0 else seconds)
    medians = {stage: statistics.median(values) for stage, values in seconds.items()}
    alone, network, refined = (medians.pop(name) for name in ("fit alone", "network", "network and refinement"))
    medians = {**medians, "network": network, "refinement": refined - network}
    total = sum(medians.values())
    print(f"{'stage':16s} share of the whole   ms of CPU")
    for stage, value in medians.items():
        print(f"{stage:16s} {value / total:14.1%} {1000 * value:12.0f}")
    print(f"{'all':16s} {1:14.1%} {1000 * total:12.0f}")
    print(f"network and refinement take {refined / alone:.2f} of the fit alone ({1000 * alone:.0f} ms)")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
