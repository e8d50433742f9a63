"""LFW, view 2, with 3D coefficients as Tran 2017 does it: 6,000 pairs in ten folds.

Folder: ``lfw/NAME/NAME_0001.jpg`` (or the folders themselves) and ``pairs.txt``. The face is the one in the middle.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.photos import first_folder
from facewright.evaluate.benchmarks.recognition import (
    METRICS,
    CoefficientSource,
    NamedPhoto,
    Pair,
    Parts,
    measured_pairs,
)
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent
from facewright.photo import read_photo

OBTAIN = "download lfw.tgz and pairs.txt from http://vis-www.cs.umass.edu/lfw"
MIDDLE_BOX = (80.0, 80.0, 170.0, 170.0)
"""Where LFW's 250 px pictures have the person who is meant."""


def evaluate_lfw(
    data: Path, source: CoefficientSource, *, parts: Parts = "shape-texture", progress: Progress = silent
) -> Evaluation:
    """Verification on LFW.

    Args:
        data: the folder.
        source: of the coefficients.
        parts: which coefficients they are, for the protocol's name.
        progress: is told how far it is.

    Raises:
        BenchmarkError: the list of pairs is missing or malformed, or no two folds can be measured.
    """
    pairs = read_pairs(data / "pairs.txt")
    root = first_folder(data, "lfw") or data
    protocol = {
        "name": f"tran2017-{parts}",
        "pairs": len(pairs),
        "folds": len({pair.fold for pair in pairs}),
        "descriptor": "PCA of the training folds, signed square root, cosine",
        "not_described": "score 0",
    }
    recorder = CaseRecorder("lfw", "LFW, view 2", protocol, METRICS)
    recorder.digest.add("pairs.txt", data / "pairs.txt")
    return measured_pairs(recorder, pairs, source, lambda item: _photos(root, item), progress)


def read_pairs(path: Path) -> list[Pair]:
    """LFW's ``pairs.txt``: ``folds pairs``, then per fold same pairs ``name i j`` and different ones ``name i name j``.

    Raises:
        BenchmarkError: missing or malformed; the line is named.
    """
    if not path.is_file():
        raise BenchmarkError(f"expected the list of pairs {path}, found none: {OBTAIN}")
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        folds, each = (int(number) for number in lines[0])
    except (ValueError, IndexError) as error:
        raise BenchmarkError(
            f"expected `folds pairs` in the first line of {path.name}, received {lines[:1]}"
        ) from error
    pairs = []
    for number, words in enumerate(lines[1:]):
        try:
            if len(words) == 3:
                first, second, same = (words[0], int(words[1])), (words[0], int(words[2])), True
            else:
                name, i, other, j = words
                first, second, same = (name, int(i)), (other, int(j)), False
        except ValueError as error:
            raise BenchmarkError(f"{path.name}, line {number + 2}: expected `name i j` or `name i name j`") from error
        one, other = (f"{who}/{who}_{k:04d}" for who, k in (first, second))
        pairs.append(Pair(one, other, same, number // (2 * each)))
    if len(pairs) != 2 * folds * each:
        raise BenchmarkError(f"expected {2 * folds * each} pairs in {path.name}, received {len(pairs)}")
    return pairs


def _photos(root: Path, item: str) -> Sequence[NamedPhoto]:
    path = root / f"{item}.jpg"
    if not path.is_file():
        raise BenchmarkError(f"expected a picture {item}.jpg, found none: {OBTAIN}")
    return [(item, ((lambda: read_photo(path)), torch.tensor(MIDDLE_BOX)))]
