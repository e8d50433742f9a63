"""Fixtures of the whole suite: reference material beside the checkout, seeded randomness, the toy face model."""

import gc
import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxtyping
import numpy as np
import pytest

from tests.shapes import jaxtyped

if TYPE_CHECKING:  # what takes seconds to load is loaded where tests run: the process that hands them out runs none
    import torch

    from facewright.morphable.linear import FaceModel


jaxtyping.jaxtyped = jaxtyped  # what ``--jaxtyping-packages`` puts around all functions, before any is imported


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests stay to the end: looking for what of them is no longer needed takes a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Many small tensors: a second thread costs more than it brings, and results stay equal."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Every test starts from the same random state, whichever tests ran before it."""
    import torch

    torch.default_generator.manual_seed(0)  # torch.manual_seed would note a call stack for each absent kind of device
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from numpy's global state


@pytest.fixture
def rng() -> "torch.Generator":
    """A seeded generator; draw on the CPU, then move."""
    import torch

    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def toy_model() -> "FaceModel":
    """The procedural face model. Shared by all tests: never change it in place."""
    from facewright.morphable.toy import toy_face_model

    return toy_face_model()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of reference material (photographs with five points, Basel index tables) beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "photos").is_dir():
        pytest.skip(f"no reference material: {folder} is absent (it is not part of the repository)")
    return folder


@pytest.fixture(scope="session")
def on_fake_device() -> Iterator[Callable[..., Any]]:
    """Call a function in a process that knows ``fake_device``; what it returns or raises comes back."""
    from tests import fake_device

    # Not forked: it must be known before autograd first counts the devices, which other tests may have made it do.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=fake_device.register) as aside:
        yield lambda function, *arguments: aside.submit(function, *arguments).result()
