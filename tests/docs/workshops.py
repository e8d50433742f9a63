"""Folders in which the commands of the pages can be given: all that they name is there, small and made up."""

import shutil
from contextlib import chdir
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
import trimesh

from facewright.assets import embedded_path
from facewright.cli import main
from facewright.export.film import Film, write_film
from facewright.morphable.toy import toy_face_model
from facewright.photo import read_photo
from tests.morphable.readers.synthetic_bfm import (
    SyntheticBfm,
    crop,
    front_variables,
    statistics,
    write_bfm2009,
)
from tests.regress.references import SLIM_HEADS, random_official_state
from tests.regress.resfcn_reference import resfcn_variables, write_resfcn_checkpoint
from tests.regress.tensorflow_files import frozen_graph, slim_strides, slim_variables


def make_open(folder: Path) -> None:
    """Two portraits, their results on the open head, an own face model to import, a scan with landmarks."""
    _portraits(folder)
    toy = toy_face_model()
    mean_mm, modes_mm = (100.0 * values.numpy() for values in (toy.mean_shape, toy.id_basis))
    ibug68 = toy.annotations.ibug68
    assert ibug68 is not None
    np.savez(folder / "mine.npz", mean_shape=mean_mm, faces=toy.faces, ibug68=ibug68, id_basis=modes_mm)
    fine, faces, *_ = trimesh.remesh.subdivide(mean_mm, toy.faces.numpy())
    trimesh.Trimesh(fine, np.asarray(faces), process=False).export(folder / "scan.ply")
    np.savetxt(folder / "scan.txt", mean_mm[ibug68])
    _clip(folder / "talk.mp4")
    (folder / "runs" / "first").mkdir(parents=True)
    shutil.copy(embedded_path("rnet_fast.safetensors"), folder / "runs" / "first" / "weights.safetensors")
    _clip(folder / "me.mp4")
    _give(folder, "reconstruct", "photos", "--out", "out", "--formats", "json", "--quiet")


def make_basel(folder: Path) -> None:
    """The files of somebody who comes from Deep3D, with made-up numbers; imported, and results of both spellings."""
    bfm = head_as_bfm(np.random.default_rng(3))
    write_bfm2009(folder, bfm)
    scipy.io.savemat(folder / "BFM_UV.mat", {"UV": np.random.default_rng(0).random((len(bfm.shape_mean) // 3, 2))})
    scipy.io.savemat(folder / "BFM_model_front.mat", front_variables(bfm))
    state = random_official_state(6, width=0.125)
    answers = {name: torch.zeros_like(value) for name, value in state.items() if name.startswith("final_layers")}
    torch.save({"net_recon": state | answers}, folder / "epoch_20.pth")  # sees the mean face in every crop
    graph = frozen_graph(slim_variables(5, width=0.125, heads=SLIM_HEADS), slim_strides())
    (folder / "FaceReconModel.pb").write_bytes(graph)
    files = ("--morphable-model", "01_MorphableModel.mat", "--expression", "Exp_Pca.bin", "--tables", "BFM")
    _give(folder, "model", "import", "bfm2009", *files, "--out", "bfm.npz")
    _give(folder, "model", "import", "bfm2009", *files, "--crop", "nomouth", "--out", "bfm-nomouth.npz")
    _give(folder, "weights", "import", "epoch_20.pth", "--out", "epoch_20.safetensors")
    shutil.copy(folder / "epoch_20.safetensors", folder / "deep3d.safetensors")
    _portraits(folder)
    network = ("--face-model", "bfm.npz", "--weights", "epoch_20.safetensors")
    _give(folder, "reconstruct", "photos", "--out", "out", *network, "--formats", "json", "mat", "--quiet")
    shutil.copy(folder / "out" / "me.mat", folder / "face.mat")
    (folder / "frames").mkdir()
    for k in range(3):
        shutil.copy(folder / "face.mat", folder / "frames" / f"{k}.mat")


def make_prnet(folder: Path) -> None:
    """The files of somebody who comes from PRNet, with made-up numbers; imported."""
    index = write_resfcn_checkpoint(folder / "Data", resfcn_variables(1, width=0.125))
    _give(folder, "weights", "import", str(index.relative_to(folder)), "--out", "prnet.safetensors")
    _portraits(folder)
    (folder / "photos" / "you.jpg").unlink()  # one face a command is enough of so slow a network


def head_as_bfm(rng: np.random.Generator) -> SyntheticBfm:
    """The toy head as a Basel model of small, random modes: it can be found in photographs."""
    toy = toy_face_model()
    mean, faces, keypoints = toy.mean_shape.numpy() * 1e5, toy.faces.numpy(), toy.annotations.ibug68
    assert keypoints is not None
    count = len(mean)
    free = np.setdiff1d(np.arange(count), keypoints.numpy())
    back = free[np.argsort(mean[free, 2])]
    crowded = np.flatnonzero(np.bincount(faces.ravel()) > 8)  # the tables have room for eight triangles a vertex
    trimmed = np.setdiff1d(np.arange(count), back[:2])
    front = np.flatnonzero(~np.isin(trimmed, [*back[:12], *crowded]))
    place = {int(vertex): k for k, vertex in enumerate(trimmed[front])}
    means: list[Any] = statistics(rng, mean, count, len(trimmed))
    bfm = SyntheticBfm(
        trimmed,
        front,
        crop(faces, trimmed[front], count),
        faces,
        np.array([place[int(vertex)] for vertex in keypoints]),
        np.arange(len(front)) % 7 > 0,
        np.arange(len(front)) % 3 > 0,
        *means,
    )
    return replace(bfm, shape_std=0.01 * bfm.shape_std, exp_std=0.1 * bfm.exp_std)


def _portraits(folder: Path) -> None:
    for photos in ("photos", "clip", "more"):
        (folder / photos).mkdir()
        shutil.copy(embedded_path("photos/astronaut.jpg"), folder / photos / "me.jpg")
    shutil.copy(embedded_path("photos/grace_hopper.jpg"), folder / "photos" / "you.jpg")
    shutil.copy(folder / "photos" / "me.jpg", folder / "me.jpg")


def _clip(path: Path) -> None:
    """A portrait that moves; nothing where PyAV is absent."""
    if find_spec("av") is None:
        return
    portrait = read_photo(embedded_path("photos/astronaut.jpg")).pixels[:, :360]
    write_film(Film((portrait[:, :, k : k + 400], k / 25) for k in range(6)), path)


def _give(folder: Path, *command: str) -> None:
    with chdir(folder):
        assert main(command) == 0, command
