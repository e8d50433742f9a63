"""The table of formats: each to a path and to a stream, read back, complete, and holding what it says."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from facewright.errors import CoefficientsError, ExportError
from facewright.export.asset import with_expression
from facewright.export.film import Film
from facewright.export.formats import (
    ALL_FORMATS,
    CLIP_FORMATS,
    FORMATS,
    KNOWN_FORMATS,
    MESH_CONTENTS,
    MESH_FORMATS,
    Content,
    Format,
    Holding,
    export_mesh,
    format_of,
)
from facewright.export.moving import FaceMotion, MovingFace
from facewright.export.png import is_own_picture, write_png
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, MeshAsset

OTHERS = [name for name in FORMATS if name not in MESH_FORMATS]
DM_TO = {"glb": 0.1, "mesh-npz": 1.0}
PICTURE = torch.arange(3 * 8 * 12).reshape(3, 8, 12) / 288.0
BYTES = (255.0 * PICTURE).to(torch.uint8)
ARRAYS = {"id": torch.arange(6.0).reshape(1, 6) / 7, "faces": torch.arange(6).reshape(2, 3)}
MOTION = FaceMotion(
    torch.tensor([0.0, 0.04, 0.1]),
    rotation_from_angles(torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.2, 0.3], [0.2, 3.0, 0.1]])),
    torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, -0.5], [0.2, 0.1, -1.0]]),
    torch.tensor([[0.0, 1.0], [0.5, 0.25], [1.0, 0.0]]),
    ("jawOpen", "mouthSmileLeft"),
    Camera(torch.tensor([500.0]), torch.tensor([159.5]), torch.tensor([119.5]), 320, 240),
)
CONTENTS: dict[Content, Any] = {
    "arrays": ARRAYS,
    "official arrays": ARRAYS,
    "document": {"faces": [{"score": 0.5, "box": [1, 2.5]}], "name": "ünï"},
    "overlay picture": PICTURE,
    "sheet picture": PICTURE,
    "picture": PICTURE,
    "texture picture": PICTURE,
    "depth map": 9.0 + PICTURE[0],
    "depth arrays": ARRAYS,
    "coordinate picture": PICTURE,
    "points": torch.arange(204.0).view(68, 3) / 7,
    "motion": MOTION,
    "film": Film([(BYTES, 0.0), (BYTES.flip(0), 0.04), (BYTES, 0.1)]),
}


def content_of(entry: Format, asset: MeshAsset) -> Any:
    if entry.content == "moving asset":
        return MovingFace(asset, replace(MOTION, names=tuple(asset.morph_targets)))
    if entry.content == "film":
        pytest.importorskip("av")
    return asset if entry.content in (*MESH_CONTENTS, "neutral asset") else CONTENTS[entry.content]


def streamed(entry: Format, content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    assert entry.write(content, stream, **options) == []
    return stream.getvalue()


def test_names_and_suffixes_are_said_once() -> None:
    assert set(ALL_FORMATS) < set(FORMATS)
    assert {entry.content for entry in FORMATS.values()} == set(get_args(Content))
    assert {f"clip-{name}" for name in CLIP_FORMATS} == {name for name in FORMATS if name.startswith("clip-")}
    for among in (MESH_FORMATS, KNOWN_FORMATS):
        assert len({FORMATS[name].suffix for name in among}) == len(among)
    assert FORMATS["overlay"].extension == ".png"


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_gets_the_bytes_of_the_path(asset: MeshAsset, tmp_path: Path, name: str) -> None:
    entry = FORMATS[name]
    content = content_of(entry, asset)
    written = entry.write(content, tmp_path / f"some{entry.suffix}")
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert written[0] == tmp_path / f"some{entry.suffix}"
    blob = streamed(entry, content, stem="some")
    if entry.companions:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            assert archive.testzip() is None
            assert {member: archive.read(member) for member in archive.namelist()} == {
                path.name: path.read_bytes() for path in written
            }
        assert blob == streamed(entry, content, stem="some")
    else:
        assert [path.read_bytes() for path in written] == [blob]


def test_the_zip_of_an_obj_is_complete(asset: MeshAsset, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(streamed(FORMATS["obj"], asset, stem="ünï cödé"))) as archive:
        archive.extractall(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    mesh: Any = trimesh.load_mesh(tmp_path / "ünï cödé.obj", process=False)
    assert mesh.visual.material.image.size == (64, 32)
    bare = streamed(FORMATS["obj"], replace(asset, texture=None))
    with zipfile.ZipFile(io.BytesIO(bare)) as archive:  # what a format gives does not hang on what it is given
        assert archive.namelist() == ["face.obj"]


@pytest.mark.parametrize("name", MESH_FORMATS)
@pytest.mark.parametrize("bare", [False, True])
def test_every_mesh_comes_back_with_or_without_its_extras(
    asset: MeshAsset, tmp_path: Path, name: str, bare: bool
) -> None:
    if bare:
        asset = MeshAsset(asset.vertices, asset.normals, asset.faces)
    entry = FORMATS[name]
    path = tmp_path / f"face{entry.suffix}"
    export_mesh(asset, path)
    if entry.read is not None:
        vertices = entry.read(path)["vertices"]
        faces = entry.read(path, ["faces"])["faces"]
    else:
        mesh: Any = trimesh.load_mesh(path, process=False)
        vertices, faces = mesh.vertices, mesh.faces
    expected = asset if name == "glb" else with_expression(asset)
    corners = expected.vertices[asset.faces].numpy() * DM_TO.get(name, 100.0)
    np.testing.assert_allclose(np.asarray(vertices)[np.asarray(faces)], corners, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in OTHERS if FORMATS[name].read is not None])
def test_what_has_a_reader_comes_back(asset: MeshAsset, tmp_path: Path, name: str) -> None:
    entry = FORMATS[name]
    path = tmp_path / f"a{entry.suffix}"
    content = content_of(entry, asset)
    entry.write(content, path)
    assert entry.read is not None
    read = entry.read(path)
    if entry.content == "document":
        assert read == content
    elif isinstance(content, dict):
        for key, value in content.items():
            np.testing.assert_array_equal(read[key], value.numpy())
        assert set(ARRAYS) & set(entry.read(path, ["id", "absent"])) == {"id"}
    elif isinstance(read, torch.Tensor):
        torch.testing.assert_close(read, content, rtol=0, atol=2e-5)
    else:
        torch.testing.assert_close(read.srgb, content, rtol=0, atol=0.5 / 255 + 1e-6)


WITHOUT: dict[Holding, Any] = {
    "texture": {"texture": None},
    "morph targets": {"morph_targets": {}, "morph_weights": {}},
    "colors": {"colors": None},
}


@pytest.mark.parametrize("what", WITHOUT)
@pytest.mark.parametrize("name", MESH_FORMATS)
def test_a_format_holds_what_it_says(asset: MeshAsset, name: str, what: Holding) -> None:
    """The file tells an asset with a part from one without it exactly where the format holds that part."""
    still = replace(asset, morph_weights={}, texture=None if what == "colors" else asset.texture)
    same = streamed(FORMATS[name], still) == streamed(FORMATS[name], replace(still, **WITHOUT[what]))
    assert same == (what not in FORMATS[name].holds)


@pytest.mark.parametrize("name", ["mat", "npz", "overlay", "json"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, name: str) -> None:
    content = CONTENTS[FORMATS[name].content]
    spoilt = {"id": torch.tensor([float("nan")])} if isinstance(content, dict) else content / 0
    with pytest.raises(ExportError, match="finite"):
        FORMATS[name].write(spoilt, tmp_path / "a.x")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_raises_what_the_caller_wants() -> None:
    assert format_of("ME.GLB", MESH_FORMATS) is FORMATS["glb"]
    assert format_of("me.npz", ["npz"]) is FORMATS["npz"]
    assert format_of("me.npz", MESH_FORMATS) is FORMATS["mesh-npz"]
    with pytest.raises(CoefficientsError, match=r"\.json, \.mat, received 'me\.npz'"):
        format_of("me.npz", ["json", "mat"], error=CoefficientsError)


def test_a_stream_needs_the_name_of_a_mesh_format(asset: MeshAsset) -> None:
    stream = io.BytesIO()
    export_mesh(asset, stream, name="ply", units="m")
    assert stream.getvalue() == streamed(FORMATS["ply"], asset, units="m")
    with pytest.raises(ExportError, match="glb, obj"):
        export_mesh(asset, io.BytesIO())
    with pytest.raises(ExportError, match="received 'json'"):
        export_mesh(asset, io.BytesIO(), name="json")


@pytest.mark.parametrize("name", ["obj", "overlay", "mesh", "png"])
def test_our_own_pictures_are_known(asset: MeshAsset, tmp_path: Path, name: str) -> None:
    entry = FORMATS[name]
    picture = entry.write(content_of(entry, asset), tmp_path / f"a{entry.suffix}")[-1]
    assert picture.suffix == ".png"
    assert is_own_picture(picture)
    with Image.open(picture) as read:
        assert str(read.info["Software"]).startswith("facewright ")


def test_other_pictures_are_not_taken_for_ours(tmp_path: Path) -> None:
    write_png(tmp_path / "ours.png", PICTURE)
    blob = (tmp_path / "ours.png").read_bytes()
    with Image.open(tmp_path / "ours.png") as read:
        read.save(tmp_path / "plain.png")
        read.save(tmp_path / "photo.jpg")
    marked = blob.index(b"Software\0facewright")
    files = {
        "empty.png": b"",
        "cut.png": blob[: marked + 5],
        "head.png": blob[:8],
        "other.png": blob.replace(b"facewright picture", b"SomeCamera picture"),
        "long.png": blob[:33] + b"\xff\xff\xff\xfftEXt" + blob[33:],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, "plain.png", "photo.jpg", "absent.png", "."):
        assert not is_own_picture(tmp_path / name), name
    # It need not be whole: what was cut off by a full disk is ours all the same.
    (tmp_path / "broken.png").write_bytes(blob[:-30])
    assert is_own_picture(tmp_path / "broken.png")


def test_an_asset_moves_whole_with_its_morph_targets(asset: MeshAsset) -> None:
    exact = asset.to(torch.float64)
    assert exact.vertices.dtype == torch.float64
    assert {target.dtype for target in exact.morph_targets.values()} == {torch.float64}
    assert exact.faces.dtype == asset.faces.dtype
    elsewhere = asset.to("meta")
    assert {target.device.type for target in elsewhere.morph_targets.values()} == {"meta"}
    assert asset.morph_targets["jawOpen"].device.type == "cpu"


def test_an_asset_that_still_learns_is_written_with_its_morph_targets(asset: MeshAsset) -> None:
    targets = {name: target.clone().requires_grad_() for name, target in asset.morph_targets.items()}
    learning = replace(asset, vertices=asset.vertices.clone().requires_grad_(), morph_targets=targets)
    for name in MESH_FORMATS:
        assert streamed(FORMATS[name], learning) == streamed(FORMATS[name], asset)
