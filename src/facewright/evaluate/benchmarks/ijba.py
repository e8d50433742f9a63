"""IJB-A with 3D coefficients as Tran 2017 does it: templates of several pictures, 1:1 and 1:N, ten splits.

Folder: ``IJB-A_11_sets/splitK/{train_K,verify_metadata_K,verify_comparisons_K}.csv``, ``IJB-A_1N_sets/splitK/{train_K,
search_gallery_K,search_probe_K}.csv`` and the pictures that they name, below ``images`` or the folder itself.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.photos import first_folder
from facewright.evaluate.benchmarks.recognition import METRICS, CoefficientSource, Gallery, NamedPhoto, Parts
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.descriptors import SignedRootPca
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent
from facewright.evaluate.results import Case, Figure
from facewright.evaluate.verification import cosine_similarity, identification_ranks, rank_k_rate, roc_curve
from facewright.photo import read_photo

OBTAIN = "request IJB-A from NIST (https://www.nist.gov/programs-projects/face-challenges)"
FARS, RANKS = {"tar_10": 0.1, "tar_1": 0.01}, (1, 5, 10)


@dataclass(frozen=True)
class Template:
    """Pictures of one person that are described together.

    Attributes:
        number: TEMPLATE_ID.
        subject: SUBJECT_ID.
        pictures: file (relative) and face box x0, y0, x1, y1.
    """

    number: str
    subject: str
    pictures: tuple[tuple[str, tuple[float, float, float, float] | None], ...]


def evaluate_ijba(
    data: Path,
    source: CoefficientSource,
    *,
    parts: Parts = "shape-texture",
    splits: tuple[int, ...] = tuple(range(1, 11)),
    progress: Progress = silent,
) -> Evaluation:
    """Verification and closed-set identification on the splits that are there.

    Args:
        data: the folder.
        source: of the coefficients.
        parts: which coefficients they are, for the protocol's name.
        splits: numbers.
        progress: is told how far it is.

    Raises:
        BenchmarkError: no split can be measured.
    """
    protocol = {
        "name": f"tran2017-{parts}",
        "splits": splits,
        "pooling": "mean of the coefficients of a template",
        "descriptor": "PCA of the split's training set, signed square root, cosine",
        "identification": "closed set: probes whose subject is in the gallery",
        "not_described": "score 0; last rank",
    }
    recorder = CaseRecorder("ijba", "IJB-A", protocol, METRICS)
    gallery = Gallery(source, recorder)
    root = first_folder(data, "images") or data
    rows: dict[str, list[float]] = {}
    for k, split in enumerate(splits):
        found = _verification(data, root, split, gallery, recorder) | _search(data, root, split, gallery, recorder)
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
        progress(f"split {split}", (k + 1) / len(splits))
    if not rows:
        raise BenchmarkError(f"{data} has no IJB-A_11_sets/split1/verify_metadata_1.csv or the like: {OBTAIN}")
    figures = {
        name: Figure.of(bootstrap_interval(np.array(values)), "%", "lower" if name == "eer" else "higher")
        for name, values in rows.items()
    }
    return recorder.close(method=source.name, figures=figures, **source.facts)


def read_templates(path: Path) -> dict[str, Template]:
    """A metadata file: a row per picture, grouped by template.

    Raises:
        BenchmarkError: a column is missing.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if not {"TEMPLATE_ID", "SUBJECT_ID", "FILE"} <= row.keys():
            raise BenchmarkError(f"expected columns TEMPLATE_ID, SUBJECT_ID, FILE in {path.name}, received {[*row]}")
        grouped.setdefault(row["TEMPLATE_ID"], []).append(row)
    return {
        number: Template(number, some[0]["SUBJECT_ID"], tuple((row["FILE"], _box(row)) for row in some))
        for number, some in grouped.items()
    }


def _verification(data: Path, root: Path, split: int, gallery: Gallery, recorder: CaseRecorder) -> dict[str, float]:
    folder = data / "IJB-A_11_sets" / f"split{split}"
    files = [folder / f"{name}_{split}.csv" for name in ("train", "verify_metadata", "verify_comparisons")]
    if not _present(files, recorder, data):
        return {}
    train, templates = (read_templates(path) for path in files[:2])
    lines = [line.split(",") for line in files[2].read_text().split()]
    pairs = [(a, b) for a, b, *_ in lines if a in templates and b in templates]
    strangers = len(lines) - len(pairs)
    recorder.problems += [f"split {split}: {strangers} comparisons name unknown templates"] if strangers else []
    described = _descriptors(root, train, templates, gallery)
    if described is None or not pairs:
        recorder.problems.append(f"split {split}: nothing of the 1:1 set can be compared")
        return {}
    first, second = (np.stack([described[pair[side]] for pair in pairs]) for side in (0, 1))
    scores = cosine_similarity(first, second)
    same = np.array([templates[a].subject == templates[b].subject for a, b in pairs])
    if same.all() or not same.any():
        recorder.problems.append(f"split {split}: only same or only different pairs")
        return {}
    for (a, b), score, hit in zip(pairs, scores, same, strict=True):
        strata = {"pair": "same" if hit else "different"}
        recorder.cases.append(Case(f"split {split}: {a} | {b}", {"score": float(score)}, strata=strata))
    roc = roc_curve(scores, same)
    rates = {name: 100.0 * roc.tar_at_far(far) for name, far in FARS.items()}
    return rates | {"auc": 100.0 * roc.auc, "eer": 100.0 * roc.eer}


def _search(data: Path, root: Path, split: int, gallery: Gallery, recorder: CaseRecorder) -> dict[str, float]:
    folder = data / "IJB-A_1N_sets" / f"split{split}"
    files = [folder / f"{name}_{split}.csv" for name in ("train", "search_gallery", "search_probe")]
    if not _present(files, recorder, data):
        return {}
    train, known, probes = (read_templates(path) for path in files)
    enrolled = {template.subject for template in known.values()}
    probes = {number: template for number, template in probes.items() if template.subject in enrolled}
    described = _descriptors(root, train, known | probes, gallery)
    if described is None or not probes:
        recorder.problems.append(f"split {split}: nothing of the 1:N set can be searched")
        return {}
    unit = {number: vector / max(float(np.linalg.norm(vector)), 1e-12) for number, vector in described.items()}
    similarities = np.stack([unit[n] for n in probes]) @ np.stack([unit[n] for n in known]).T
    subjects = {subject: k for k, subject in enumerate(sorted(enrolled))}
    ranks = identification_ranks(
        similarities,
        np.array([subjects[template.subject] for template in probes.values()]),
        np.array([subjects[template.subject] for template in known.values()]),
    )
    return {f"rank_{k}": 100.0 * rank_k_rate(ranks, k) for k in RANKS}


def _present(files: list[Path], recorder: CaseRecorder, data: Path) -> bool:
    absent = [path for path in files if not path.is_file()]
    recorder.missing += [f"{path.relative_to(data).as_posix()}: {OBTAIN}" for path in absent]
    for path in () if absent else files:
        recorder.digest.add(path.relative_to(data).as_posix(), path)
    return not absent


def _descriptors(
    root: Path, train: dict[str, Template], templates: dict[str, Template], gallery: Gallery
) -> dict[str, Float[ndarray, " P"]] | None:
    """Descriptors of templates, zero where one has none; None if too little of the training set can be described."""
    training = [vector for t in train.values() if (vector := _vector(root, t, gallery)) is not None]
    if len(training) < 3:
        return None
    pca = SignedRootPca.fit(np.stack(training))
    zero = np.zeros(len(pca.directions))
    vectors = {number: _vector(root, template, gallery) for number, template in templates.items()}
    return {n: zero if vector is None else pca.describe(vector[None])[0] for n, vector in vectors.items()}


def _vector(root: Path, template: Template, gallery: Gallery) -> Float[ndarray, " K"] | None:
    """Templates of different splits may share a number: their pictures tell them apart."""
    name = f"template {template.number} ({template.pictures[0][0]}, {len(template.pictures)} pictures)"
    return gallery.describe(name, lambda: _photos(root, template))


def _photos(root: Path, template: Template) -> Sequence[NamedPhoto]:
    listed = []
    for name, box in template.pictures:
        path = root / name
        key = Path(name).with_suffix("").as_posix()
        near = None if box is None else torch.tensor(box)
        listed.append((key, ((lambda path=path: read_photo(path)), near)))
    return listed


def _box(row: dict[str, str]) -> tuple[float, float, float, float] | None:
    try:
        x, y, width, height = (float(row[f"FACE_{name}"]) for name in ("X", "Y", "WIDTH", "HEIGHT"))
    except (KeyError, ValueError):
        return None
    return x, y, x + width, y + height
