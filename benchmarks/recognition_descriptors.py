"""Which numbers tell people apart: descriptors of several networks on the same drawn pictures of held-out heads.

    python benchmarks/recognition_descriptors.py --people 40 --photos 8 [--scenes full] [--keep seen.npz] [--weights F]

Each picture is drawn and looked at once; ``--keep`` writes what was seen, so that a second call (with other
``--weights`` of 3DMM-CNNs that read the same trunks) only compares. Prints AUC, 100-EER and TAR at 1 % FAR, per cent:
of single photos, by PCA (of the other folds), signed root and cosine, and of sets of half of a person's photos.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from facewright import load_reconstructor
from facewright.errors import FacewrightError
from facewright.evaluate.benchmarks.drawn_recognition import FIRST_PERSON, FOLDS, DrawnKind, plans_of
from facewright.evaluate.descriptors import SignedRootPca
from facewright.evaluate.verification import roc_curve
from facewright.geometry.five_points import five_from_68
from facewright.morphable.container import load_face_model
from facewright.morphable.mirror import MirrorMap
from facewright.pipeline.estimator import Candidate
from facewright.pipeline.identity import identity_chips, load_identity
from facewright.pipeline.shared_trunks import SharedTrunks
from facewright.regress.rnet import RNet
from facewright.regress.weights import load_weights
from facewright.synthetic import open_studio, photograph

PRNET_STEP = 16
"""Every so many vertices of a position map describe its shape."""


def look(people: int, photos: int, scenes: DrawnKind) -> dict[str, np.ndarray]:
    """What the networks see, a row a picture."""
    studio, rows = open_studio(), []
    rnet = load_reconstructor(method="rnet", refine=0)
    seer: RNet = load_weights("open", kind="rnet")
    prnet = load_reconstructor(method="prnet").estimator
    trunks, cnet, identity = SharedTrunks.load(("open", "identity")), load_weights("cnet"), load_identity()
    for person in range(people):
        for place, plan in enumerate(plans_of(studio, FIRST_PERSON + person, photos, scenes)):
            scene = photograph(studio, plan)
            try:
                face = rnet.faces_in(scene.photo, faces="largest")[0]
                seen = prnet.crop(scene.photo, five_from_68(face.landmarks))
                map_ = prnet.estimates([Candidate(scene.photo, face.detection, seen)])[0]
                if isinstance(map_, FacewrightError):
                    raise map_
            except FacewrightError as error:
                print(f"person {person}, picture {place}: {error}", flush=True)
                continue
            assert face.belief is not None
            with torch.no_grad():
                crop = face.aligned.crop[None]
                small = torch.nn.functional.avg_pool2d(crop, crop.shape[-1] // 112)
                sure = cnet(*seer.shallow_and_pooled(small))[0]
                chip = identity_chips(crop, five_from_68(face.belief.points_px)[None])
                rows.append(
                    {
                        "person": person,
                        "yaw": plan.yaw_deg,
                        "id": face.coefficients.id[0].numpy(),
                        "tex": face.coefficients.tex[0].numpy(),
                        "sure": sure.numpy(),
                        "identity": identity.infer(chip)[0].numpy(),
                        "prnet": map_.mesh.vertices[0, ::PRNET_STEP].flatten().numpy(),
                        "seen": trunks.seen(crop)[0].half().numpy(),
                        "mirrored": trunks.seen(crop.flip(-1))[0].half().numpy(),
                        "true": scene.coefficients.id[0].numpy(),
                    }
                )
        print(f"person {person + 1} of {people}", flush=True)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def codes_by(weights: str, seen: dict[str, np.ndarray], mirror: MirrorMap) -> tuple[np.ndarray, np.ndarray]:
    """Shape and albedo codes of a 3DMM-CNN that reads the same trunks: means over crops and mirrored crops."""
    net = load_weights(weights, kind="3dmm-cnn")
    with torch.no_grad():
        both = [net.codes_from(torch.from_numpy(seen[name]).float()) for name in ("seen", "mirrored")]
    parts = [code.split([net.id, net.tex], -1) for code in both]
    shape = (parts[0][0] + parts[1][0] @ mirror.id.T) / 2
    return shape.numpy(), ((parts[0][1] + parts[1][1] @ mirror.tex.T) / 2).numpy()


def figures(vectors: np.ndarray, persons: np.ndarray, *, plain: bool = False) -> list[float]:
    """AUC, 100-EER, TAR at 1 %, per cent: pairs within folds of people, directions of the others."""
    scores, same = [], []
    fold_of = np.searchsorted(np.unique(persons), persons) * FOLDS // len(np.unique(persons))
    for fold in range(FOLDS):
        held = fold_of == fold
        found = vectors[held] if plain else SignedRootPca.fit(vectors[~held]).describe(vectors[held])
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        upper = np.triu_indices(len(found), 1)
        scores.append((found @ found.T)[upper])
        same.append((persons[held][:, None] == persons[held][None])[upper])
    roc = roc_curve(np.concatenate(scores), np.concatenate(same))
    return [100 * roc.auc, 100 - 100 * roc.eer, 100 * roc.tar_at_far(0.01)]


def pooled(
    vectors: np.ndarray, persons: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of each person: every other photo."""
    weights = np.ones_like(vectors) if weights is None else weights
    rows, who = [], []
    for person in np.unique(persons):
        places = np.flatnonzero(persons == person)
        for some in (places[::2], places[1::2]):
            if len(some):
                rows.append((weights[some] * vectors[some]).sum(0) / weights[some].sum(0))
                who.append(person)
    return np.stack(rows), np.array(who)


def main() -> None:
    """Look, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--scenes", choices=("turned", "full"), default="turned")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--weights", nargs="*", default=["3dmm-cnn"])
    given = parser.parse_args()
    if given.keep is not None and given.keep.is_file():
        with np.load(given.keep) as file:
            seen = dict(file)
    else:
        seen = look(given.people, given.photos, given.scenes)
        if given.keep is not None:
            np.savez(given.keep, allow_pickle=False, **seen)
    mirror = MirrorMap.of(load_face_model("open"))
    assert mirror is not None
    persons = seen["person"]
    print(f"{len(persons)} pictures of {len(np.unique(persons))} people; AUC, 100-EER, TAR at 1 % FAR")
    lines = [
        ("R-Net, shape", seen["id"], False, None),
        ("R-Net, shape and albedo", np.concatenate([seen["id"], seen["tex"]], 1), False, None),
        ("R-Net, shape, by C-Net's confidence", seen["id"], False, seen["sure"]),
        ("PRNet, shape", seen["prnet"], False, None),
        ("identity network, its own cosine", seen["identity"], True, None),
        ("identity network, PCA and signed root", seen["identity"], False, None),
    ]
    for weights in given.weights:
        shape, albedo = codes_by(weights, seen, mirror)
        lines.append((f"3DMM-CNN {Path(weights).stem}, shape", shape, False, None))
        lines.append(
            (f"3DMM-CNN {Path(weights).stem}, shape and albedo", np.concatenate([shape, albedo], 1), False, None)
        )
    for name, vectors, plain, sure in lines:
        single = figures(vectors.astype(np.float64), persons, plain=plain)
        sets, who = pooled(vectors.astype(np.float64), persons, sure)
        together = figures(sets, who, plain=plain)
        print(
            f"{name:45s}",
            " ".join(f"{value:6.2f}" for value in single),
            "  sets",
            " ".join(f"{v:6.2f}" for v in together),
        )


if __name__ == "__main__":
    main()
