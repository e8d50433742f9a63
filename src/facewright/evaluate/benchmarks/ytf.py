"""YouTube Faces with 3D coefficients as Tran 2017 does it: 5,000 pairs of videos in ten folds, coefficients averaged.

Folder: ``frame_images_DB/NAME/VIDEO/*.jpg`` and ``splits.txt`` (``split, number, first, second, same`` per line).
"""

from collections.abc import Sequence
from pathlib import Path

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.photos import chosen_evenly, first_folder, photo_at, pictures_in
from facewright.evaluate.benchmarks.recognition import (
    METRICS,
    CoefficientSource,
    NamedPhoto,
    Pair,
    Parts,
    measured_pairs,
)
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent

OBTAIN = "request YouTube Faces from https://www.cs.tau.ac.il/~wolf/ytfaces (frame_images_DB and splits.txt)"


def evaluate_ytf(
    data: Path,
    source: CoefficientSource,
    *,
    parts: Parts = "shape-texture",
    frames: int = 20,
    progress: Progress = silent,
) -> Evaluation:
    """Verification on YouTube Faces.

    Args:
        data: the folder.
        source: of the coefficients.
        parts: which coefficients they are, for the protocol's name.
        frames: per video, evenly spread; 0 for all.
        progress: is told how far it is.

    Raises:
        BenchmarkError: the list of splits or the frames are missing.
    """
    pairs = read_splits(data / "splits.txt")
    root = first_folder(data, "frame_images_DB")
    if root is None:
        raise BenchmarkError(f"{data} has no frame_images_DB/: {OBTAIN}")
    protocol = {
        "name": f"tran2017-{parts}",
        "pairs": len(pairs),
        "folds": len({pair.fold for pair in pairs}),
        "frames_per_video": frames or "all",
        "pooling": "mean of the coefficients",
        "descriptor": "PCA of the training folds, signed square root, cosine",
        "not_described": "score 0",
    }
    recorder = CaseRecorder("ytf", "YouTube Faces", protocol, METRICS)
    recorder.digest.add("splits.txt", data / "splits.txt")
    return measured_pairs(recorder, pairs, source, lambda item: _frames(root, item, frames), progress)


def read_splits(path: Path) -> list[Pair]:
    """``splits.txt``: a head line, then comma-separated: the split first, the two videos and the label last.

    Raises:
        BenchmarkError: missing or malformed; the line is named.
    """
    if not path.is_file():
        raise BenchmarkError(f"expected the list of splits {path}, found none: {OBTAIN}")
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()[1:], 2):
        words = [word.strip() for word in line.split(",")]
        if not line.strip():
            continue
        if len(words) < 4 or not words[0].isdigit() or words[-1] not in ("0", "1"):
            raise BenchmarkError(f"{path.name}, line {number}: expected `split, number, first, second, same`: {line!r}")
        pairs.append(Pair(words[-3], words[-2], words[-1] == "1", int(words[0])))
    if not pairs:
        raise BenchmarkError(f"expected pairs in {path.name}, found none")
    return pairs


def _frames(root: Path, item: str, frames: int) -> Sequence[NamedPhoto]:
    folder = root / item
    pictures = pictures_in(folder) if folder.is_dir() else []
    if not pictures:
        raise BenchmarkError(f"expected frames in frame_images_DB/{item}, found none: {OBTAIN}")
    chosen = [pictures[k] for k in chosen_evenly(len(pictures), frames)]
    return [(f"{item}/{path.stem}", photo_at(path)) for path in chosen]
