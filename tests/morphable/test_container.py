"""The face model file: what goes in comes out, and what is damaged is named."""

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.container import _model_from_arrays, _read, load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.records import Annotations, Embedding
from tests.morphable.model_tensors import tensors_of


@pytest.fixture
def annotated(toy_model: FaceModel, rng: torch.Generator) -> FaceModel:
    """The toy model with every annotation that a file can hold."""
    weights = torch.rand(468, 3, generator=rng)
    embedding = Embedding(
        torch.randint(0, len(toy_model.mean_shape), (468, 3), generator=rng), weights / weights.sum(1, keepdim=True)
    )
    notes = dataclasses.replace(toy_model.annotations, mesh468=embedding, mesh468_trust=torch.rand(468, generator=rng))
    return FaceModel(
        **dict(toy_model.named_buffers()),
        topology=dataclasses.replace(toy_model.topology, annotations=notes),
        metadata=toy_model.metadata | {"author": "Ünal", "sigmas": [1.0, 0.5]},
    )


def flat(notes: Annotations) -> dict[str, torch.Tensor]:
    fields = {name: getattr(notes, name) for name in ("ibug68", "five", "contours", "mesh468_trust", "mirror")}
    assert notes.mesh468 is not None
    fields |= {"corners": notes.mesh468.corners, "weights": notes.mesh468.weights}
    fields |= {f"r/{name}": mask for name, mask in notes.regions.items()}
    return fields | {f"p/{name}": mask for name, mask in notes.face_parts.items()}


def test_everything_round_trips_exactly(annotated: FaceModel, tmp_path: Path) -> None:
    save_face_model(annotated, tmp_path / "m.npz")
    loaded = load_face_model(tmp_path / "m.npz")
    ours, theirs = tensors_of(annotated), tensors_of(loaded)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
        assert ours[name].dtype == theirs[name].dtype, name
    notes, again = flat(annotated.annotations), flat(loaded.annotations)
    assert notes.keys() == again.keys()
    for name in notes:
        assert torch.equal(notes[name], again[name]), name
        assert notes[name].dtype == again[name].dtype, name
    assert loaded.exp_names == annotated.exp_names
    assert annotated.metadata.items() <= loaded.metadata.items()
    assert len(loaded.metadata["sha256"]) == 64


def test_saving_what_was_loaded_gives_the_same_bytes(annotated: FaceModel, tmp_path: Path) -> None:
    save_face_model(annotated, tmp_path / "a.npz")
    save_face_model(load_face_model(tmp_path / "a.npz"), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(("storage", "steps"), [("float16", 2048), ("int8", 253)])
def test_short_bases_lose_no_more_than_half_a_step(
    annotated: FaceModel, tmp_path: Path, storage: str, steps: int
) -> None:
    save_face_model(annotated, tmp_path / "m.npz", bases=storage)  # pyright: ignore[reportArgumentType]
    loaded = load_face_model(tmp_path / "m.npz")
    for name in ("id_basis", "exp_basis", "albedo_basis"):
        exact, stored = getattr(annotated, name), getattr(loaded, name)
        assert stored.dtype == torch.float32
        largest = exact.abs().amax((0, 1))
        assert ((exact - stored).abs().amax((0, 1)) <= largest / steps).all(), name


def test_float32_bases_are_not_copied_on_the_way(annotated: FaceModel, tmp_path: Path) -> None:
    save_face_model(annotated, tmp_path / "m.npz")
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        assert archive.getinfo("id_basis.npy").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("faces.npy").compress_type == zipfile.ZIP_DEFLATED


def damage(path: Path, change: Callable[[dict[str, ndarray]], None]) -> None:
    """Edit the arrays of a file and write it as numpy would."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    change(arrays)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def signed(arrays: dict[str, ndarray]) -> None:
    """Make the file's own checksum true again, so that the checks behind it must speak."""
    from facewright.morphable.container import _digest

    metadata = json.loads(arrays.pop("metadata").tobytes())
    metadata["sha256"] = _digest(arrays)
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)


def edit_metadata(arrays: dict[str, ndarray], **changes: object) -> None:
    metadata = json.loads(arrays["metadata"].tobytes()) | changes
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)


def test_a_file_of_format_1_says_what_to_do(annotated: FaceModel, tmp_path: Path) -> None:
    for stated in ({}, {"format": 1}, {"format": 3}):
        save_face_model(annotated, tmp_path / "m.npz")
        damage(tmp_path / "m.npz", lambda arrays, stated=stated: restated(arrays, stated))
        with pytest.raises(FaceModelError, match=r"format 2, received format [13].*model import"):
            load_face_model(tmp_path / "m.npz")


def restated(arrays: dict[str, ndarray], stated: dict[str, int]) -> None:
    """Replace the format that the metadata state."""
    metadata = json.loads(arrays["metadata"].tobytes())
    del metadata["format"]
    arrays["metadata"] = np.frombuffer(json.dumps(metadata | stated).encode(), np.uint8)


def with_nan(array: ndarray) -> ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 5, np.nan, array).astype(array.dtype)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("id_basis"), "id_basis"),
        (lambda a: a.update(mean_shape=a["mean_shape"][:, :2]), "expected shape"),
        (lambda a: a.update(exp_basis=a["exp_basis"][:, :, 0]), "expected shape"),
        (lambda a: a.update(id_basis=a["id_basis"][:-1]), "rows"),
        (lambda a: a.update(mean_shape=with_nan(a["mean_shape"])), "finite"),
        (lambda a: a.update(id_basis=np.where(a["id_basis"] > 0, np.inf, 0).astype(np.float32)), "finite"),
        (lambda a: a.update(faces=a["faces"] + 1), "expected ids 0"),
        (lambda a: a.update(faces=a["faces"] - 1), "expected ids 0"),
        (lambda a: a.update(faces=a["faces"][:0]), "expected a mesh"),
        (lambda a: a.update(faces_uv=a["faces_uv"] + 1), "faces_uv"),
        (lambda a: a.pop("uv"), "both or neither"),
        (lambda a: a.update(faces=a["faces"].astype(np.float32)), "expected integers"),
        (lambda a: a.update(mean_shape=a["mean_shape"].astype(int)), "floating-point"),
        (lambda a: a.update(id_basis=a["id_basis"].astype(np.int8)), "floating-point"),
        (lambda a: a.update(five=a["five"] - 2), "expected ids -1"),
        (lambda a: a.update(ibug68=a["ibug68"][:60]), "expected shape"),
        (lambda a: a.update(mirror=a["mirror"][:-1]), "rows"),
        (lambda a: a.update({"region/skin": a["region/skin"][:-1]}), "rows"),
        (lambda a: a.update({"face_part/eyes": a["face_part/eyes"].astype(np.uint8)}), "expected booleans"),
        (lambda a: a.update(surprise=np.zeros(3)), "upgrade"),
        (lambda a: a.update(mean_shape=np.array(["a"] * 3)), "floating-point"),
        (lambda a: edit_metadata(a, name=""), "expected a name"),
        (lambda a: edit_metadata(a, unit="mm"), "unit"),
        (lambda a: edit_metadata(a, edition="2"), "'edition': expected a whole number from 1, received '2'"),
        (lambda a: edit_metadata(a, edition=0), "edition"),
        (lambda a: edit_metadata(a, albedo_space="sRGB"), "albedo_space"),
        (lambda a: edit_metadata(a, exp_names=["jawOpen"]), "exp_names"),
        (lambda a: edit_metadata(a, exp_names=7), "exp_names"),
    ],
)
def test_a_malformed_file_is_named(
    annotated: FaceModel, tmp_path: Path, change: Callable[[dict[str, ndarray]], None], says: str
) -> None:
    path = tmp_path / "m.npz"
    save_face_model(annotated, path)
    damage(path, lambda arrays: (change(arrays), signed(arrays)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(FaceModelError, match=says) as caught:
        load_face_model(path)
    message = str(caught.value)
    assert "m.npz" in message
    assert "expected" in message


def test_an_edited_file_fails_its_checksum(annotated: FaceModel, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_face_model(annotated, path)
    damage(path, lambda arrays: arrays.update(mean_shape=arrays["mean_shape"] * np.float32(1.001)))
    with pytest.raises(FaceModelError, match="sha256"):
        load_face_model(path)


def test_object_arrays_are_never_unpickled(annotated: FaceModel, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_face_model(annotated, path)
    damage(path, lambda arrays: arrays.update(faces=np.array([{"a": 1}], dtype=object)))
    with pytest.raises(FaceModelError, match="Object arrays"):
        load_face_model(path)


@pytest.mark.parametrize("keep", [0, 1, 100, -200, -1])
def test_truncated_files_are_named(annotated: FaceModel, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "m.npz"
    save_face_model(annotated, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FaceModelError, match="cannot be read"):
        load_face_model(path)


def test_one_flipped_bit_is_noticed(annotated: FaceModel, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_face_model(annotated, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(FaceModelError, match=r"expected"):
        load_face_model(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a model", np.lib.format.magic(1, 0), b"\x80\x04N.", b"PK\x05\x06" + bytes(18)]
)
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(FaceModelError, match=r"cannot be read|metadata"):
        load_face_model(path)


def test_a_single_array_is_no_model(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros(3))
    with pytest.raises(FaceModelError, match="single array"):
        load_face_model(tmp_path / "m.npy")


def test_an_absent_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match=r"expected a face model file.*none at .*nowhere\.npz.*open"):
        load_face_model(tmp_path / "nowhere.npz")


def test_masks_of_no_known_kind_are_refused(toy_model: FaceModel, tmp_path: Path) -> None:
    save_face_model(toy_model, tmp_path / "m.npz")
    arrays, metadata = _read(tmp_path / "m.npz")
    with pytest.raises(FaceModelError, match=r"expected no array '\.\./x'"):
        _model_from_arrays(arrays | {"../x": np.zeros(len(toy_model.mean_shape), np.float32)}, metadata, tmp_path)


def test_a_bad_model_is_not_written(toy_model: FaceModel, tmp_path: Path) -> None:
    buffers: dict[str, Any] = dict(toy_model.named_buffers())
    bad = FaceModel(
        **buffers | {"mean_shape": buffers["mean_shape"] * float("nan")},
        topology=toy_model.topology,
        metadata={"name": "bad"},
    )
    with pytest.raises(FaceModelError, match="finite"):
        save_face_model(bad, tmp_path / "m.npz")
    nameless = FaceModel(**buffers, topology=toy_model.topology, metadata={})
    with pytest.raises(FaceModelError, match="name"):
        save_face_model(nameless, tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []
