"""On a real GPU (``make test-gpu``): results are the CPU's, rasterisers agree, many processes learn."""

import json
import logging
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from facewright.assets import embedded_path
from facewright.cli import main
from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.morphable.container import load_face_model
from facewright.pipeline.coefficient_files import read_coefficients
from facewright.pipeline.outputs import ALL_FORMATS
from facewright.regress.weights import load_weights
from facewright.render.rasterizers import Backend, _resolve, rasterize
from facewright.render.rasterizers.triton_backend import can_launch
from tests.gpu.scenes import ON_CPU, SCENES, flow_on, photograph, tensors_in, toy_meshes
from tests.gpu.two_processes import losses, settings_of
from tests.render.scenes import random_triangles

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.timeout(600),
]

COEFFICIENTS, LANDMARKS_PX = 2e-3, 0.1
"""Most that a face's coefficients and its landmarks may differ between devices, whole reconstructions through."""
SHARE_OFF = 0.02
"""Most pixels, texels and table entries of a scene's results that may differ: where a silhouette falls otherwise."""


@pytest.fixture(autouse=True)
def _whole_precision() -> None:
    """TF32 would round products to ten bits."""
    assert not torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_gives_what_the_cpu_gives(scene: str, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cuda").mkdir()
    ours, theirs = (tensors_in(SCENES[scene](device, tmp_path / device)) for device in ("cuda", "cpu"))
    assert {tensor.device.type for tensor in ours} == {"cpu" if scene in ON_CPU else "cuda"}
    assert [tensor.shape for tensor in ours] == [tensor.shape for tensor in theirs]
    for found, wanted in zip(ours, theirs, strict=True):
        assert share_off(found, wanted) <= SHARE_OFF, (scene, tuple(found.shape))
    files = [{path.relative_to(tmp_path / d) for path in (tmp_path / d).rglob("*")} for d in ("cpu", "cuda")]
    assert files[0] == files[1]


def share_off(found: Tensor, wanted: Tensor) -> float:
    """Share of the numbers that differ by more than a thousandth of the largest, and ``COEFFICIENTS``."""
    found, wanted = found.detach().cpu().double(), wanted.detach().double()
    if not wanted.numel():
        return 0.0
    largest = float(wanted[wanted.isfinite()].abs().amax()) if bool(wanted.isfinite().any()) else 0.0
    near = torch.isclose(found, wanted, rtol=0.0, atol=max(COEFFICIENTS, 1e-3 * largest), equal_nan=True)
    return float((~near).double().mean())


def test_a_folder_is_reconstructed_as_on_the_cpu(tmp_path: Path) -> None:
    """By the command, all formats: coefficients, landmarks and files."""
    photos = embedded_path("photos")
    for device in ("cpu", "cuda"):
        assert main(["reconstruct", str(photos), "--device", device, "--out", str(tmp_path / device)]) == 0
    names = [sorted(path.name for path in (tmp_path / device).iterdir()) for device in ("cpu", "cuda")]
    assert names[0] == names[1]
    reports = [json.loads((tmp_path / device / "report.json").read_text()) for device in ("cpu", "cuda")]
    assert [report["done"] for report in reports] == [2, 2]
    assert len(names[0]) >= 2 * len(ALL_FORMATS)
    for stem in ("astronaut", "grace_hopper"):
        faces = [json.loads((tmp_path / d / f"{stem}.json").read_text())["faces"] for d in ("cpu", "cuda")]
        for one, two in zip(*faces, strict=True):
            for name, values in one["coefficients"].items():
                assert_near(two["coefficients"][name], values, COEFFICIENTS)
            assert_near(two["landmarks_68"], one["landmarks_68"], LANDMARKS_PX)


def assert_near(found: Any, wanted: Any, difference: float) -> None:
    ours, theirs = torch.as_tensor(found).cpu(), torch.as_tensor(wanted).cpu()
    torch.testing.assert_close(ours, theirs, atol=difference, rtol=0.0)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("scene", ["head", "small", "large"])
def test_rasterisers_draw_the_pixels_of_the_cpu(backend: Backend, scene: str) -> None:
    """To the bit: one head, thousands of triangles around a pixel, and triangles larger than the picture."""
    if scene == "head":
        _, _, here = toy_meshes("cpu")
        clip, faces = clip_from_world(here.vertices, crop_camera(size=224, like=here.vertices)), here.faces
    else:
        spread, dice = {"small": 0.02, "large": 3.0}[scene], torch.Generator().manual_seed(0)
        clip, faces = random_triangles(dice, (224, 224), 4000, batch=3, spread=spread)
    wanted = rasterize(clip, faces, (224, 224), backend="torch")
    found = rasterize(clip.cuda(), faces.cuda(), (224, 224), backend=backend)
    assert torch.equal(found.face_index.cpu(), wanted.face_index)
    assert torch.equal(found.depth.cpu(), wanted.depth)
    assert_near(found.barycentrics, wanted.barycentrics, 1e-5)


def test_triton_is_chosen_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    if not can_launch():
        pytest.skip("triton or a C compiler is not installed")
    _resolve.cache_clear()
    with caplog.at_level(logging.INFO, logger="facewright"):
        rasterize(torch.ones(1, 3, 4, device="cuda"), torch.tensor([[0, 1, 2]], device="cuda"), (4, 4))
    assert "triton" in caplog.text


def test_files_of_one_device_are_read_on_the_other(tmp_path: Path) -> None:
    (face,) = flow_on("cuda").faces_in(photograph())
    assert face.coefficients is not None
    face.save(tmp_path / "face.npz")
    read = read_coefficients(tmp_path / "face.npz", load_face_model())
    torch.testing.assert_close(read.id, face.coefficients.id.cpu())


@pytest.mark.parametrize("backend", ["gloo", "nccl"])
def test_processes_learn_what_one_learns(backend: str, tmp_path: Path) -> None:
    """Gloo: two on the CPU. NCCL: one for each GPU of this machine."""
    count = 2 if backend == "gloo" else torch.cuda.device_count()
    if count < 2:
        pytest.skip("one GPU: NCCL takes one process on each")
    device = "cpu" if backend == "gloo" else "cuda"
    started = [
        start(rank, count if who == "many" else 1, device, tmp_path / who, port)
        for who, port in (("one", free_port()), ("many", free_port()))
        for rank in range(count if who == "many" else 1)
    ]
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]
    one, many = (losses(tmp_path / who) for who in ("one", "many"))
    assert len(one) == len(many) == settings_of(tmp_path, device).steps
    for alone, together in zip(one, many, strict=True):
        assert together == pytest.approx(alone, rel=1e-3)
        assert math.isfinite(together)
    first, second = (load_weights(tmp_path / who / "weights.safetensors").state_dict() for who in ("one", "many"))
    for name, value in first.items():
        assert_near(second[name], value, 1e-3)


def start(rank: int, world: int, device: str, out: Path, port: int) -> "subprocess.Popen[str]":
    variables: dict[str, Any] = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    variables |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "tests.gpu.two_processes", device, str(out)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
