"""A small whole file of every format that the product reads, and the function that reads it."""

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from facewright.apps.recognise import (
    CodeSource,
    KnownPeople,
    calibrated,
    load_calibration,
    load_gallery,
    save_calibration,
    save_gallery,
)
from facewright.bounds import check_bounds
from facewright.detect import read_landmarks
from facewright.detect.landmark_files import read_boxes
from facewright.errors import TrainingError
from facewright.export.film import Film, write_film
from facewright.export.npz import npz_bytes
from facewright.files import write_arrays
from facewright.morphable import container
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.readers.bfm2009 import import_bfm2009
from facewright.morphable.readers.bfm_face3d import import_bfm_face3d
from facewright.morphable.readers.bfm_front import import_bfm_front
from facewright.morphable.readers.bfm_h5 import import_bfm_h5
from facewright.morphable.readers.flame import import_flame
from facewright.morphable.readers.gnm import import_gnm
from facewright.morphable.readers.ict import import_ict
from facewright.morphable.readers.own_npz import import_own_npz
from facewright.morphable.toy import toy_face_model
from facewright.photo import read_photo
from facewright.photo.frames import read_frames
from facewright.pipeline.coefficient_files import read_camera, read_coefficients, read_known_face, read_trans_params
from facewright.regress.importers import import_weights
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from facewright.scale.sources import EntryReader, entries_in
from facewright.train.arcface import load_embedder
from facewright.train.balance import read_labels
from facewright.train.checkpoint import Checkpoint, load_checkpoint, rng_state, save_checkpoint
from facewright.train.iresnet import IResNet
from facewright.train.make import make_data
from facewright.train.onnx_network import read_onnx_network
from facewright.train.rnet_settings import RUN_PRESETS, RNetSettings
from facewright.train.settings import read_settings, settings_json
from facewright.train.shards import load_data
from facewright.viewer.shown import load_shown
from tests.morphable.readers import test_bfm_h5, test_flame, test_gnm, test_ict, test_own_npz
from tests.morphable.readers.synthetic_bfm import front_variables, small_bfm, write_bfm2009
from tests.morphable.readers.synthetic_head import synthetic_head
from tests.regress.caffe_files import blob, random_blobs, write_caffemodel
from tests.regress.references import SLIM_HEADS, random_official_state
from tests.regress.resfcn_reference import resfcn_variables, write_resfcn_checkpoint
from tests.regress.tensorflow_files import frozen_graph, slim_strides, slim_variables, write_checkpoint
from tests.train.samples import SYNTHETIC, Dots

WIDTH = 0.0625
MODEL = toy_face_model()


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        write: writes whole files into an empty folder.
        read: reads them, as the product does.
        files: pattern of those that are to be damaged.
    """

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    files: str = "*"


def _photo(kind: str, **options: Any) -> Format:
    def write(folder: Path) -> None:
        y, x = np.mgrid[:96, :128]
        picture = np.stack([x * 2, y * 2, (x * y) % 256], -1).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"photo.{kind}", **options)

    return Format(write, lambda folder: read_photo(folder / f"photo.{kind}"))


def _write_caffe(folder: Path) -> None:
    write_caffemodel(folder / "net.caffemodel", random_blobs(2, width=0.015625, depth=50, codes=4))
    (folder / "mean.binaryproto").write_bytes(blob(np.full((3, 224, 224), 100.0)))


def _write_own_model(folder: Path) -> None:
    save_face_model(MODEL, folder / "model.npz", bases="int8")


def _read_unsigned(folder: Path) -> None:
    """As one who can compute a checksum would have it: what lies behind the check of it must hold too."""
    path = folder / "model.npz"
    container._model_from_arrays(*container._read(path), path)


def _write_own_archive(folder: Path) -> None:
    write_arrays(folder / "mine.npz", test_own_npz.contents(synthetic_head(100.0)))


def _write_bfm2009(folder: Path) -> None:
    write_bfm2009(folder, small_bfm(np.random.default_rng(5)), compressed=True)


def _read_bfm2009(folder: Path) -> None:
    files = (folder / "01_MorphableModel.mat", folder / "Exp_Pca.bin", folder / "BFM")
    import_bfm2009(*files, crop="full")


def _write_front(folder: Path) -> None:
    variables = front_variables(small_bfm(np.random.default_rng(5)), 6, 5, 4)
    scipy.io.savemat(folder / "BFM_model_front.mat", variables, do_compression=True)


def _write_h5(folder: Path) -> None:
    test_bfm_h5.write(folder / "model.h5", test_bfm_h5.contents(synthetic_head(100.0)))


def _write_flame(folder: Path) -> None:
    flame = test_flame.make_flame()
    kept = flame.arrays | {"shapedirs": flame.arrays["shapedirs"].astype(np.float32)}
    test_flame.write(folder / "flame.pkl", kept)
    np.save(folder / "embedding.npy", np.array(test_flame.embedding(flame, 68), dtype=object), allow_pickle=True)
    test_flame.write(folder / "masks.pkl", {"lips": np.arange(9), "nose": np.arange(5, 20)})


def _read_flame(folder: Path) -> None:
    import_flame(folder / "flame.pkl", landmarks=folder / "embedding.npy", masks=folder / "masks.pkl")


def _write_gnm(folder: Path) -> None:
    head = synthetic_head(0.1, num_id=6, num_exp=5)
    test_gnm.write(folder, test_gnm.contents(head), test_gnm.landmark_rows(head))


def _write_ict(folder: Path) -> None:
    test_ict.make_clone(folder, 1, ("browDown_L",))


def _write_safetensors(folder: Path) -> None:
    net = RNet(MODEL.layout, architecture="resnet18", width=WIDTH)
    card = WeightsCard(face_model=MODEL.name, light="color", recipe="none", licence="none", source="drawn")
    save_weights(net, card, folder / "net.safetensors")


def _official() -> dict[str, torch.Tensor]:
    return random_official_state(1, width=WIDTH)


def _slim() -> dict[str, np.ndarray]:
    return slim_variables(2, width=WIDTH, heads=SLIM_HEADS)


def _write_onnx(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Flatten", ["z"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 8, 8]), ("out", [1, 144]))]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])), folder / "net.onnx")


def _write_torchscript(folder: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, 16), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(98, 4))
    traced = torch.jit.trace(net.eval(), torch.zeros(2, 3, 112, 112))
    assert isinstance(traced, torch.jit.ScriptModule)
    traced.save(str(folder / "net.pt"))


def _write_run_checkpoint(folder: Path) -> None:
    weights = {"layer": torch.arange(30.0)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(30)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    rng = rng_state(torch.device("cpu"))
    save_checkpoint(folder, Checkpoint(7, 2, weights, weights, optimizer, rng), keep=1)


def _write_training_data(folder: Path) -> None:
    make_data(folder, SYNTHETIC, range(3), Dots())


def _read_training_data(folder: Path) -> None:
    """As one who can compute a checksum would have it; everything but the pictures twice."""
    data = load_data(folder, verify=False)
    data.columns(("key", "landmarks", "truth"))
    list(data.samples())


def _coefficients() -> dict[str, np.ndarray]:
    rng, layout = np.random.default_rng(3), MODEL.layout
    sizes: dict[str, tuple[int, ...]] = {"id": (layout.id,), "exp": (layout.exp,), "tex": (layout.tex,)}
    sizes |= {"angles": (3,), "sh": (9, 3), "translation": (3,)}
    return {name: rng.standard_normal((1, *size)) for name, size in sizes.items()}


def _write_json(folder: Path) -> None:
    values = _coefficients()
    face = {
        "coefficients": {name: values[name][0].tolist() for name in ("id", "exp", "tex", "sh")},
        "pose": {"pitch_deg": 1.0, "yaw_deg": 2.0, "roll_deg": 3.0, "translation_dm": [0.0, 0.1, 0.2]},
        "camera": {"focal_px": 1015.0, "cx": 112.0, "cy": 111.0},
        "trans_params": [640.0, 480.0, 0.5, 300.0, 200.0],
        "face_model": MODEL.name,
    }
    document = {"photo": {"path": "me.jpg", "width": 640, "height": 480}, "faces": [face]}
    (folder / "me.json").write_text(json.dumps(document))


def _read_json(folder: Path) -> None:
    read_coefficients(folder / "me.json", MODEL)
    read_camera(folder / "me.json")
    read_trans_params(folder / "me.json")


def _write_npz(folder: Path) -> None:
    write_arrays(folder / "me.npz", _coefficients() | {"trans_params": np.array([640.0, 480.0, 0.5, 300.0, 200.0])})


def _read_npz(folder: Path) -> None:
    read_coefficients(folder / "me.npz", MODEL)
    read_trans_params(folder / "me.npz")


def _write_mat(folder: Path) -> None:
    values = _coefficients()
    spelled = {"id": "id", "exp": "exp", "tex": "tex", "angle": "angles", "trans": "translation"}
    content = {theirs: values[ours] for theirs, ours in spelled.items()} | {"gamma": values["sh"].reshape(1, 27)}
    crop = np.full((1, 5), None, object)
    for i, value in enumerate((640.0, 480.0, 0.5, 300.0, 200.0)):
        crop[0, i] = np.array([[value]])
    content |= {"trans_params": crop, "lm68": np.random.default_rng(1).uniform(0, 224, (1, 68, 2))}
    scipy.io.savemat(folder / "me.mat", content, do_compression=True)


def _read_mat(folder: Path) -> None:
    read_coefficients(folder / "me.mat", MODEL)
    read_trans_params(folder / "me.mat")
    read_known_face(folder / "me.mat")


def _write_points(folder: Path) -> None:
    points = np.random.default_rng(1).uniform(10, 300, (5, 2))
    (folder / "me.txt").write_text("".join(f"{x:.3f}\t{y:.3f}\n" for x, y in points))


def _write_boxes(folder: Path) -> None:
    (folder / "boxes.txt").write_text("# x0 y0 x1 y1\n10, 20, 110, 130\n200 40 260.5 110\n")


def _write_face3d(folder: Path) -> None:
    mean = 1e5 * MODEL.mean_shape.double().numpy().reshape(-1, 1)
    members = {
        "shapeMU": 0.75 * mean,
        "shapePC": 1e5 * MODEL.id_basis[..., :2].double().numpy().reshape(-1, 2),
        "shapeEV": np.array([[3.0], [0.5]]),
        "expMU": 0.25 * mean,
        "expPC": 1e5 * MODEL.exp_basis[..., :1].double().numpy().reshape(-1, 1),
        "expEV": np.array([[2.0]]),
        "tri": MODEL.faces.numpy().T[::-1] + 1.0,
        "kpt_ind": np.arange(68)[None] + 1.0,
    }
    scipy.io.savemat(folder / "BFM.mat", {"model": members}, do_compression=True)


def _write_gallery(folder: Path) -> None:
    dice, persons = np.random.default_rng(2), np.repeat(np.arange(10), 3)
    codes = dice.normal(size=(10, 6))[persons] + 0.2 * dice.normal(size=(30, 6))
    calibration = calibrated(codes, persons, CodeSource("3dmm-cnn", "net", "a" * 64, "shape"))
    save_calibration(calibration, folder / "calibration.safetensors")
    save_gallery(
        KnownPeople.of({"one": [codes[0]], "two": [codes[3], codes[4]]}, calibration), folder / "known.safetensors"
    )


def _read_gallery(folder: Path) -> None:
    load_calibration(folder / "calibration.safetensors")
    load_gallery(folder / "known.safetensors")


def _write_clip(folder: Path) -> None:
    y, x = np.mgrid[:48, :64]
    frames = (torch.from_numpy(np.stack([x + 9 * k, y, x], 0).astype(np.uint8)) for k in range(5))
    write_film(Film((frame, 0.04 * k) for k, frame in enumerate(frames)), folder / "clip.mp4")


def _write_photo_table(folder: Path) -> None:
    _photo("png").write(folder)
    (made,) = folder.iterdir()
    content = made.read_bytes()
    made.unlink()
    pyarrow.parquet.write_table(
        pyarrow.table({"image": [content] * 5, "name": list("abcde")}), folder / "photos.parquet"
    )


def _write_photo_archive(folder: Path) -> None:
    _photo("png").write(folder)
    (made,) = folder.iterdir()
    with tarfile.open(folder / "photos.tar", "w") as archive:
        for name in ("a.png", "b.png"):
            archive.add(made, name)
    made.unlink()


def _write_shown(folder: Path) -> None:
    model, count = load_face_model("open"), 2
    arrays = {
        "times_s": torch.arange(count) / 10.0,
        "frames": torch.arange(count),
        "camera": torch.tensor([400.0, 99.5, 49.5]),
        "size": torch.tensor([200, 100]),
        "distance_dm": torch.tensor(10.0),
    }
    zeros = model.layout.zeros()
    arrays |= {name: getattr(zeros, name) for name in ("id", "tex")}
    arrays |= {
        name: getattr(zeros, name).repeat_interleave(count, 0) for name in ("exp", "angles", "translation", "sh")
    }
    (folder / "me.npz").write_bytes(npz_bytes(arrays))
    (folder / "clip.json").write_text(json.dumps({"outputs": ["me.npz"], "clip": "gone.mp4"}))


def _read_source(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        reader = EntryReader()
        for entry in entries_in(str(folder / name), is_photo=lambda name: name.endswith(".png")):
            reader.read(entry)

    return read


FORMATS: Mapping[str, Format] = {
    "photo-jpeg": _photo(
        "jpg", quality=90, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    ),
    "photo-png": _photo("png"),
    "photo-webp": _photo("webp"),
    "photo-tiff": _photo("tif", compression="tiff_lzw"),
    "photo-gif": _photo("gif"),
    "photo-bmp": _photo("bmp"),
    "model-own": Format(_write_own_model, lambda folder: load_face_model(folder / "model.npz")),
    "model-own-unsigned": Format(_write_own_model, _read_unsigned),
    "model-npz": Format(_write_own_archive, lambda folder: import_own_npz(folder / "mine.npz")),
    "model-bfm2009": Format(_write_bfm2009, _read_bfm2009, "**/*.*"),
    "model-bfm-front": Format(_write_front, lambda folder: import_bfm_front(folder / "BFM_model_front.mat")),
    "model-bfm-face3d": Format(_write_face3d, lambda folder: import_bfm_face3d(folder / "BFM.mat")),
    "model-bfm-h5": Format(_write_h5, lambda folder: import_bfm_h5(folder / "model.h5", year="2019")),
    "model-flame": Format(_write_flame, _read_flame),
    "model-gnm": Format(
        _write_gnm, lambda folder: import_gnm(folder / "gnm_head.npz", folder / "head_sparse_68.txt", drop=())
    ),
    "model-ict": Format(_write_ict, import_ict, "FaceXModel/*"),
    "weights-safetensors": Format(_write_safetensors, lambda folder: load_weights(folder / "net.safetensors")),
    "weights-bundle": Format(
        lambda folder: save_file(_official(), folder / "net.safetensors"),
        lambda folder: import_weights(folder / "net.safetensors"),
    ),
    "weights-pth": Format(
        lambda folder: torch.save({"net_recon": _official()}, folder / "net.pth"),
        lambda folder: import_weights(folder / "net.pth"),
    ),
    "weights-pb": Format(
        lambda folder: (folder / "net.pb").write_bytes(frozen_graph(_slim(), slim_strides())),
        lambda folder: import_weights(folder / "net.pb"),
    ),
    "weights-checkpoint": Format(
        lambda folder: write_checkpoint(folder / "net", _slim()), lambda folder: import_weights(folder / "net")
    ),
    "weights-prnet": Format(
        lambda folder: write_resfcn_checkpoint(folder / "Data", resfcn_variables(2, width=WIDTH)),
        lambda folder: import_weights(folder / "Data/net-data/256_256_resfcn256_weight.index"),
        "**/*.*",
    ),
    "weights-caffe": Format(_write_caffe, lambda folder: import_weights(folder / "net.caffemodel")),
    "weights-onnx": Format(_write_onnx, lambda folder: read_onnx_network(folder / "net.onnx")),
    "embedder-pth": Format(
        lambda folder: torch.save(IResNet((1, 1, 1, 1), (2, 2, 2, 2, 2), 4).state_dict(), folder / "net.pth"),
        lambda folder: load_embedder(str(folder / "net.pth")),
    ),
    "embedder-pt": Format(_write_torchscript, lambda folder: load_embedder(str(folder / "net.pt"))),
    "train-checkpoint": Format(_write_run_checkpoint, lambda folder: load_checkpoint(folder / "step_00000007.pt")),
    "train-data": Format(_write_training_data, _read_training_data, "**/*.*"),
    "train-config": Format(
        lambda folder: (folder / "config.json").write_text(settings_json(RUN_PRESETS["open"])),
        lambda folder: check_bounds(read_settings(folder / "config.json", RNetSettings), TrainingError),
    ),
    "train-labels": Format(
        lambda folder: (folder / "labels.csv").write_text("".join(f"{n}.jpg,{n % 3}\n" for n in range(20))),
        lambda folder: read_labels([str(folder / "labels.csv")]),
    ),
    "result-json": Format(_write_json, _read_json),
    "result-npz": Format(_write_npz, _read_npz),
    "result-mat": Format(_write_mat, _read_mat),
    "points-txt": Format(_write_points, lambda folder: read_landmarks(folder / "me.txt")),
    "gallery": Format(_write_gallery, _read_gallery),
    "clip": Format(_write_clip, lambda folder: list(read_frames(folder / "clip.mp4"))),
    "shown": Format(_write_shown, lambda folder: load_shown([folder])),
    "source-parquet": Format(_write_photo_table, _read_source("photos.parquet")),
    "source-tar": Format(_write_photo_archive, _read_source("photos.tar")),
    "boxes-txt": Format(_write_boxes, lambda folder: read_boxes(folder / "boxes.txt")),
}
"""Name -> format."""
