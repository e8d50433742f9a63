"""LFW, YTF and IJB-A folders in the official layouts, with coefficients from files and from a method."""

from pathlib import Path

import numpy as np
import pytest

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.ijba import evaluate_ijba
from facewright.evaluate.benchmarks.lfw import evaluate_lfw, read_pairs
from facewright.evaluate.benchmarks.recognition import FileCoefficients, MethodCoefficients, Pair, verification_figures
from facewright.evaluate.benchmarks.ytf import evaluate_ytf, read_splits
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from tests.evaluate.benchmarks.people import KnownMethod, blank_photo, case, person, value

PEOPLE = [f"Person_{letter}" for letter in "ABCDEFGHIJ"]
KINDS = 12


def vector(who: int, picture: int, noise: float) -> np.ndarray:
    identity = np.random.default_rng(who).standard_normal(KINDS)
    return identity + noise * np.random.default_rng([who, picture]).standard_normal(KINDS)


def write_vectors(folder: Path, names: dict[str, tuple[int, int]], noise: float) -> None:
    for name, (who, picture) in names.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vector(who, picture, noise))


def write_lfw(root: Path, folds: int = 5) -> dict[str, tuple[int, int]]:
    """Two people a fold, three pictures each: three same and three different pairs."""
    lines, items = [f"{folds} 3"], {}
    for fold in range(folds):
        a, b = PEOPLE[2 * fold], PEOPLE[2 * fold + 1]
        lines += [f"{a}\t1\t2", f"{a}\t1\t3", f"{b}\t1\t2", f"{a}\t1\t{b}\t1", f"{a}\t2\t{b}\t2", f"{a}\t3\t{b}\t3"]
        for who in (2 * fold, 2 * fold + 1):
            for k in (1, 2, 3):
                items[f"{PEOPLE[who]}/{PEOPLE[who]}_{k:04d}"] = (who, k)
    for name in items:
        blank_photo(root / "lfw" / f"{name}.jpg")
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return items


def test_lfw_tells_people_apart(tmp_path: Path) -> None:
    items = write_lfw(tmp_path)
    write_vectors(tmp_path / "files", items, 0.2)
    result = evaluate_lfw(tmp_path, FileCoefficients(tmp_path / "files", "theirs")).result
    assert result.protocol["name"] == "tran2017-shape-texture"
    assert value(result, "accuracy") > 95.0
    assert value(result, "auc") > 98.0
    assert value(result, "eer") < 8.0
    assert len(result.cases) == 30
    noise = evaluate_lfw(tmp_path, _noise(tmp_path, items)).result
    assert value(noise, "auc") < 80.0


def _noise(folder: Path, items: dict[str, tuple[int, int]]) -> FileCoefficients:
    for k, name in enumerate(items):
        path = folder / "noise" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(1000 + k).standard_normal(KINDS))
    return FileCoefficients(folder / "noise")


def test_lfw_names_pictures_that_cannot_be_described(tmp_path: Path) -> None:
    items = write_lfw(tmp_path)
    write_vectors(tmp_path / "files", items, 0.2)
    whole = evaluate_lfw(tmp_path, FileCoefficients(tmp_path / "files")).result
    (tmp_path / "files/Person_C/Person_C_0001.npy").unlink()
    (tmp_path / "lfw/Person_D/Person_D_0003.jpg").unlink()
    np.save(tmp_path / "files/Person_E/Person_E_0001.npy", np.full(KINDS, np.nan))
    broken = evaluate_lfw(tmp_path, FileCoefficients(tmp_path / "files")).result
    text = " ".join(broken.problems)
    for name in ("Person_C_0001", "Person_D_0003", "Person_E_0001"):
        assert name in text
    pair = "Person_C/Person_C_0001 | Person_C/Person_C_0002"
    assert "Person_C_0001" in case(broken, pair).problem
    assert value(broken, "accuracy") <= value(whole, "accuracy")  # an undescribed pair is not left out


def test_methods_describe_faces_by_identity_or_identity_and_albedo(tmp_path: Path, open_head: FaceModel) -> None:
    write_lfw(tmp_path)
    answers = {
        f"{name}_{k:04d}.jpg": (person(open_head, who), crop_camera())
        for who, name in enumerate(PEOPLE)
        for k in (1, 2, 3)
    }
    shape = evaluate_lfw(tmp_path, MethodCoefficients(KnownMethod(open_head, answers), "shape"), parts="shape").result
    assert shape.protocol["name"] == "tran2017-shape"
    assert value(shape, "auc") == 100.0
    both = MethodCoefficients(KnownMethod(open_head, answers)).vector("", (_photo_of("Person_A_0001.jpg"), None))
    assert both.shape == (open_head.layout.id + open_head.layout.tex,)


def _photo_of(name: str):
    import torch

    from facewright.records import Photo

    return lambda: Photo(torch.zeros(3, 4, 4, dtype=torch.uint8), name)


def test_pairs_are_read_line_by_line(tmp_path: Path) -> None:
    write_lfw(tmp_path, folds=2)
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert len(pairs) == 12
    assert pairs[0] == Pair("Person_A/Person_A_0001", "Person_A/Person_A_0002", True, 0)
    assert pairs[-1] == Pair("Person_C/Person_C_0003", "Person_D/Person_D_0003", False, 1)
    (tmp_path / "pairs.txt").write_text("1 1\nA 1 2\nA one B 2\n")
    with pytest.raises(BenchmarkError, match="line 3"):
        read_pairs(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("1 2\nA 1 2\nA 1 B 2\n")
    with pytest.raises(BenchmarkError, match="expected 4 pairs"):
        read_pairs(tmp_path / "pairs.txt")
    with pytest.raises(BenchmarkError, match=r"pairs\.txt.*umass"):
        read_pairs(tmp_path / "nowhere.txt")


def test_thresholds_come_from_the_other_folds() -> None:
    """A fold whose scores are shifted is judged by the threshold of the others: that is what costs accuracy."""
    rng = np.random.default_rng(0)
    vectors, pairs = {}, []
    for fold in range(3):
        for k in range(8):
            first = rng.standard_normal(6)
            for name, other in (("same", first), ("other", rng.standard_normal(6))):
                vectors[f"{fold}{k}a"] = first
                vectors[f"{fold}{k}{name}"] = other + 0.3 * rng.standard_normal(6)
                pairs.append(Pair(f"{fold}{k}a", f"{fold}{k}{name}", name == "same", fold))
    figures, scores = verification_figures(pairs, vectors)
    assert scores.shape == (48,)
    accuracy = figures["accuracy"].value
    assert accuracy is not None
    assert 85.0 < accuracy <= 100.0
    with pytest.raises(BenchmarkError, match="two folds"):
        verification_figures([pair for pair in pairs if pair.fold == 0], vectors)


def test_ytf_averages_the_frames_of_a_video(tmp_path: Path) -> None:
    lines, items = ["split, number, first name, second name, is same"], {}
    for fold in range(1, 5):
        for k in range(2):
            a, b = PEOPLE[2 * (fold - 1) + k], PEOPLE[2 * (fold - 1) + 1 - k]
            lines += [f"{fold}, {2 * k}, {a}/0, {a}/1, 1", f"{fold}, {2 * k + 1}, {a}/0, {b}/1, 0"]
            for video in (0, 1):
                for frame in range(4):
                    items[f"{a}/{video}/{video}.{frame}"] = (PEOPLE.index(a), 10 * video + frame)
    for name in items:
        blank_photo(tmp_path / "frame_images_DB" / f"{name}.jpg")
    (tmp_path / "splits.txt").write_text("\n".join(lines))
    assert len(read_splits(tmp_path / "splits.txt")) == 16
    write_vectors(tmp_path / "files", items, 1.2)
    source = FileCoefficients(tmp_path / "files")
    one, four = (evaluate_ytf(tmp_path, source, frames=frames).result for frames in (1, 0))
    assert value(four, "auc") >= value(one, "auc")
    assert value(four, "auc") > 80.0
    (tmp_path / "files/Person_A/0/0.2.npy").unlink()
    broken = evaluate_ytf(tmp_path, source, frames=0).result
    assert any("Person_A/0/0.2" in problem for problem in broken.problems)
    assert len([c for c in broken.cases if c.values]) == 16  # the other frames still describe the video
    (tmp_path / "splits.txt").write_text("head\n1, 2\n")
    with pytest.raises(BenchmarkError, match="line 2"):
        read_splits(tmp_path / "splits.txt")


def write_ijba(root: Path) -> dict[str, tuple[int, int]]:
    """One split: training people 5-9; 1:1 and 1:N on people 0-4, two templates each."""
    items: dict[str, tuple[int, int]] = {}

    def rows(templates: dict[int, tuple[int, tuple[int, ...]]]) -> str:
        lines = ["TEMPLATE_ID,SUBJECT_ID,FILE,MEDIA_ID,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"]
        for number, (who, pictures) in templates.items():
            for k in pictures:
                items[f"img/{who}_{k}"] = (who, k)
                lines.append(f"{number},{who},img/{who}_{k}.jpg,{k},{k},4,4,20,20")
        return "\n".join(lines) + "\n"

    train = {500 + who: (who, (1, 2, 3)) for who in range(5, 10)}
    first, second = ({base + who: (who, shots) for who in range(5)} for base, shots in ((10, (1, 2)), (20, (3, 4))))
    one, many = root / "IJB-A_11_sets/split1", root / "IJB-A_1N_sets/split1"
    one.mkdir(parents=True)
    many.mkdir(parents=True)
    for folder in (one, many):
        (folder / "train_1.csv").write_text(rows(train))
    (one / "verify_metadata_1.csv").write_text(rows(first | second))
    (one / "verify_comparisons_1.csv").write_text("".join(f"{10 + a},{20 + b}\n" for a in range(5) for b in range(5)))
    (many / "search_gallery_1.csv").write_text(rows(first))
    (many / "search_probe_1.csv").write_text(rows(second | {99: (7, (4,))}))
    for name in items:
        blank_photo(root / "images" / f"{name}.jpg")
    return items


def test_ijba_verifies_and_identifies_templates(tmp_path: Path) -> None:
    items = write_ijba(tmp_path)
    write_vectors(tmp_path / "files", items, 0.2)
    result = evaluate_ijba(tmp_path, FileCoefficients(tmp_path / "files"), splits=(1,)).result
    assert value(result, "auc") > 95.0
    assert value(result, "rank_1") >= 80.0
    assert value(result, "rank_5") == 100.0  # of five people; the probe without a mate is left out
    assert len(result.cases) == 25
    again = evaluate_ijba(tmp_path, FileCoefficients(tmp_path / "files"), splits=(1, 2)).result
    assert value(again, "auc") == value(result, "auc")
    assert sum("split2" in note for note in again.missing) == 6


def test_ijba_names_what_is_broken(tmp_path: Path) -> None:
    items = write_ijba(tmp_path)
    write_vectors(tmp_path / "files", items, 0.2)
    (tmp_path / "files/img/0_1.npy").unlink()
    comparisons = tmp_path / "IJB-A_11_sets/split1/verify_comparisons_1.csv"
    comparisons.write_text(comparisons.read_text() + "10,4711\n")
    result = evaluate_ijba(tmp_path, FileCoefficients(tmp_path / "files"), splits=(1,)).result
    assert any("img/0_1" in problem for problem in result.problems)
    assert any("1 comparisons name unknown" in problem for problem in result.problems)
    with pytest.raises(BenchmarkError, match=r"verify_metadata_1\.csv.*NIST"):
        evaluate_ijba(tmp_path / "nowhere", FileCoefficients(tmp_path), splits=(1,))
