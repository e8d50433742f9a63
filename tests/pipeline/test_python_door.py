"""Wrong calls from Python: the product's own errors, by name; and one flow that is called from many threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import facewright
from facewright.assets import embedded_path
from facewright.errors import PhotoError, SettingsError
from facewright.pipeline.reconstruction import Reconstruction

PHOTOS = [embedded_path("photos/astronaut.jpg"), embedded_path("photos/grace_hopper.jpg")]


@pytest.mark.parametrize("photo", [None, 123, b"me.jpg", ["me.jpg"], "", torch.full((3, 40, 40), torch.nan)])
def test_what_is_no_photo(photo: Any) -> None:
    with untyped(), pytest.raises(PhotoError):
        facewright.reconstruct(photo)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("faces", "bogus"),
        ("faces", None),
        ("refine", -3),
        ("refine", 1.5),
        ("refine", True),
        ("refine", 10**30),
        ("device", "nonsense"),
        ("device", "meta"),
        ("device", None),
        ("device", 3),
        ("face_model", None),
        ("face_model", 5),
        ("face_model", ""),
        ("weights", 3),
        ("weights", ""),
        ("method", 3),
        ("method", ["fit"]),
        ("method", None),
    ],
)
def test_settings_are_refused_by_name_before_the_photo_is_read(name: str, value: Any) -> None:
    options: Any = {name: value}
    with untyped(), pytest.raises(SettingsError, match=name.replace("_", ".")):
        facewright.reconstruct("absent.jpg", **options) if name == "faces" else facewright.load_reconstructor(**options)


def test_a_flow_wants_photos() -> None:
    flow = facewright.load_reconstructor(weights="fast")
    wrong: Any = "me.jpg"
    with untyped(), pytest.raises(SettingsError, match="read_photo"):
        flow.faces_in(wrong)


def test_many_threads_get_the_bits_of_one() -> None:
    flow = facewright.load_reconstructor(weights="fast", refine=1)
    photos = [facewright.read_photo(path) for path in PHOTOS]

    def answers(number: int) -> list[torch.Tensor]:
        return [part for face in flow.faces_in(photos[number % 2]) for part in bits(face)]

    alone = [answers(0), answers(1)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(answers, range(4)))
    for number, found in enumerate(together):
        assert len(found) == len(alone[number % 2]) > 0
        assert all(torch.equal(a, b) for a, b in zip(found, alone[number % 2], strict=True))


def bits(face: Reconstruction) -> list[torch.Tensor]:
    found = face.coefficients
    return [face.mesh.vertices, face.landmarks, found.id, found.exp, found.tex, found.sh, found.angles]


@contextmanager
def untyped() -> Iterator[None]:
    """As users call it: without the runtime type checks that the tests install."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
