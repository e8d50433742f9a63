"""What every face model must be, whichever file it came from: refused by name, by every reader."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.errors import FaceModelError
from facewright.files import write_arrays
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.own_npz import import_own_npz
from facewright.morphable.soundness import require_sound
from tests.morphable.readers.synthetic_head import synthetic_head


def sound() -> dict[str, Any]:
    head = synthetic_head(1.0)
    count = head.count
    return {
        "mean_shape": head.mean.astype(np.float32),
        "id_basis": head.id_modes.astype(np.float32),
        "exp_basis": head.exp_modes.astype(np.float32),
        "mean_albedo": np.full((count, 3), 0.5, np.float32),
        "albedo_basis": np.zeros((count, 3, 2), np.float32),
        "faces": head.faces,
        "mirror": np.arange(count)[::-1],
        "five": np.array([[36, 39], [42, 45], [30, -1], [48, -1], [54, -1]]),
        "region/skin": np.linspace(0, 1, count).astype(np.float32),
    }


NAMES = ("a", "b", "", "")
FRAME = {"scale": 0.01, "rotation": np.eye(3).tolist(), "translation": [0.0, 1.0, 2.0]}


def test_a_sound_model_passes() -> None:
    require_sound(sound(), NAMES, {"source_frame": FRAME}, "m.npz")


def put(name: str, place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays[name].__setitem__(place, value)


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda a: a.update(mean_albedo=a["mean_albedo"] * 255), "mean_albedo: expected colours 0..1.*divide it by 255"),
    (put("mean_albedo", (0, 0), -0.3), "mean_albedo: expected colours 0..1, received -0.3"),
    (put("mean_albedo", (0, 0), np.nan), "mean_albedo: expected finite numbers"),
    (put("id_basis", (3, 0, 0), np.inf), "id_basis: expected finite numbers"),
    (put("exp_basis", (3, 0, 0), 1e30), "exp_basis: expected values of at most 1000"),
    (put("mean_shape", (3, 0), -1e5), "mean_shape: expected values of at most 1000.*check the unit"),
    (lambda a: a.update(mean_shape=a["mean_shape"] * 1e-3), "expected a head of about 2 dm"),
    (lambda a: a.update(mean_shape=a["mean_shape"].astype(complex)), "mean_shape: expected real numbers"),
    (put("faces", 7, [3, 5, 3]), r"face 7 with vertices \[3, 5, 3\]"),
    (lambda a: a.update(faces=a["faces"][:0]), "expected triangles, received none"),
    (put("mirror", 4, 4), "partner of its partner, received 1 that are not: .*-> 4 -> 4"),
    (lambda a: a.update(mirror=np.roll(np.arange(len(a["mirror"])), 1)), "partner of its partner"),
    (put("five", 2, -1), "five: expected a vertex"),
    (put("region/skin", 0, -0.1), "region/skin: expected weights 0..1"),
    (put("region/skin", 0, 255.0), "region/skin: expected weights 0..1"),
    (lambda a: a.update(mesh468_weights=np.ones((468, 3))), "mesh468_weights: expected barycentric"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_what_is_unsound_is_named(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    arrays = sound()
    change(arrays)
    with pytest.raises(FaceModelError, match=says) as caught:
        require_sound(arrays, NAMES, {}, "m.npz")
    assert "m.npz" in str(caught.value)


def test_names_of_expressions_are_different() -> None:
    with pytest.raises(FaceModelError, match="more than one of jawOpen; rename"):
        require_sound(sound(), ("jawOpen", "", "", "jawOpen"), {}, "m.npz")


@pytest.mark.parametrize(
    "frame",
    [7, {}, FRAME | {"scale": 0.0}, FRAME | {"scale": "1"}, FRAME | {"rotation": [1]}, FRAME | {"scale": 10**400}],
)
def test_the_frame_of_the_source_leads_back(frame: Any) -> None:
    with pytest.raises(FaceModelError, match="source_frame"):
        require_sound(sound(), NAMES, {"source_frame": frame}, "m.npz")


def own(tmp_path: Path, **changes: Any) -> Path:
    head = synthetic_head(100.0)
    arrays = {"mean_shape": head.mean, "faces": head.faces, "ibug68": head.ibug68, "exp_basis": head.exp_modes}
    write_arrays(tmp_path / "mine.npz", arrays | changes)
    return tmp_path / "mine.npz"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean_shape": synthetic_head(100.0).mean + 0j}, "plain numbers are wanted, not complex"),
        ({"exp_std": np.array([1.0, 1.0, -2.0, 1.0])}, "exp_std: expected values from 0 up, received -2"),
        ({"exp_std": np.array([1.0, 1.0, np.nan, 1.0])}, "exp_std: expected finite"),
        ({"exp_names": np.array(["a", "b", "a", "c"])}, "more than one of a"),
        ({"mean_albedo": np.full((len(synthetic_head(1.0).mean), 3), 128.0)}, "divide it by 255"),
        ({"mirror": np.roll(np.arange(len(synthetic_head(1.0).mean)), 1)}, "partner of its partner"),
        ({"faces": np.array([[1, 1, 2]])}, "three different vertices"),
    ],
)
def test_readers_refuse_it(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    import_own_npz(own(tmp_path))
    with pytest.raises(FaceModelError, match=says):
        import_own_npz(own(tmp_path, **changes))


def test_the_product_s_own_files_are_checked_too(toy_model: FaceModel, tmp_path: Path) -> None:
    topology = dataclasses.replace(toy_model.topology, morph_names=("twice",) * toy_model.layout.exp)
    tensors = {name: getattr(toy_model, name) for name in ("mean_shape", "id_basis", "exp_basis", "albedo_basis")}
    with pytest.raises(FaceModelError, match="more than one of twice"):
        save_face_model(
            FaceModel(**tensors, mean_albedo=toy_model.mean_albedo, topology=topology, metadata=toy_model.metadata),
            tmp_path / "m.npz",
        )
    with pytest.raises(FaceModelError, match="divide it by 255"):
        save_face_model(
            FaceModel(
                **tensors,
                mean_albedo=toy_model.mean_albedo * 255,
                topology=toy_model.topology,
                metadata=toy_model.metadata,
            ),
            tmp_path / "m.npz",
        )


@pytest.mark.parametrize("scale", [-1.0, np.nan])
def test_steps_of_packed_bases_are_positive(scale: float, toy_model: FaceModel, tmp_path: Path) -> None:
    from facewright.morphable.container import _digest

    save_face_model(toy_model, tmp_path / "m.npz", bases="int8")
    with np.load(tmp_path / "m.npz") as archive:
        arrays = {name: archive[name] for name in archive}
    metadata = json.loads(arrays.pop("metadata").tobytes())
    arrays["id_basis_scale"] = arrays["id_basis_scale"] * np.float32(scale)
    metadata["sha256"] = _digest(arrays)
    text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(tmp_path / "m.npz", metadata=text, **arrays)  # pyright: ignore[reportArgumentType] - its stub takes allow_pickle for a key
    with pytest.raises(FaceModelError, match="'id_basis_scale': expected finite values from 0 up"):
        load_face_model(tmp_path / "m.npz")


def test_an_immense_model_is_refused_by_its_headers(tmp_path: Path) -> None:
    """A file of 300 kB that declares 1.2 GB took it before it was refused."""
    import tracemalloc

    np.savez_compressed(tmp_path / "m.npz", metadata=np.zeros(300_000_000, np.int8))
    tracemalloc.start()
    with pytest.raises(FaceModelError, match="may unfold to"):
        load_face_model(tmp_path / "m.npz")
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
