"""The checks of types and shapes that run around every function of the package while it is tested."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jaxtyping
import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from facewright.geometry.rotations import rotation_from_angles
from tests.shapes import checked, jaxtyped

if TYPE_CHECKING:
    import onnxruntime


@jaxtyped(typechecker=None)
def first_rows(a: Float[Tensor, "N 3"], b: Float[Tensor, "N 3"], rows: int = 2) -> Float[Tensor, "N 3"]:
    return (a + b)[:rows]


@jaxtyped(typechecker=None)
@dataclass(frozen=True)
class Pair:
    a: Float[Tensor, " N"]
    b: Float[Tensor, " N"]


def test_the_package_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        rotation_from_angles(torch.zeros(2, 4))
    with pytest.raises(TypeCheckError):
        rotation_from_angles([0.0, 0.0, 0.0])  # pyright: ignore[reportArgumentType] - as a caller without types may


def test_an_axis_has_one_size_within_a_call_and_any_in_the_next() -> None:
    assert first_rows(torch.zeros(2, 3), torch.zeros(2, 3)).shape == (2, 3)
    assert first_rows(torch.zeros(1, 3), torch.zeros(1, 3)).shape == (1, 3)
    with pytest.raises(TypeCheckError, match="parameter b=") as wrong:
        first_rows(torch.zeros(2, 3), torch.zeros(4, 3))
    assert "N=2" in wrong.value.__notes__[0]
    with pytest.raises(TypeCheckError, match="return"):
        first_rows(torch.zeros(5, 3), torch.zeros(5, 3), rows=3)
    with pytest.raises(TypeCheckError):
        first_rows(torch.zeros(2, 3), torch.zeros(2, 3), rows=2.0)  # pyright: ignore[reportArgumentType] - wrong


def test_a_call_within_a_call_has_sizes_of_its_own() -> None:
    @checked
    def outer(a: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        return a + first_rows(torch.zeros(9, 3), torch.zeros(9, 3), rows=9)[: len(a)]

    assert outer(torch.zeros(4, 3)).shape == (4, 3)


def test_dataclasses_are_checked_where_they_are_made() -> None:
    assert Pair(torch.zeros(2), torch.zeros(2)).a.shape == (2,)
    with pytest.raises(TypeCheckError):
        Pair(torch.zeros(2), torch.zeros(3))
    assert list(inspect.signature(Pair).parameters) == ["a", "b"]


def test_plain_types_and_names_in_quotes_are_checked() -> None:
    @checked
    def doubled(number: "int", session: "onnxruntime.InferenceSession | None" = None) -> int:
        return 2 * number if session is None else 0

    assert doubled(3) == 6
    with pytest.raises(TypeCheckError, match="parameter number="):
        doubled("3")  # pyright: ignore[reportArgumentType] - wrong


def test_generators_are_checked_before_their_first_step() -> None:
    @jaxtyped(typechecker=None)
    def rows(of: Float[Tensor, "N 3"]) -> Iterator[Float[Tensor, " 3"]]:
        yield from of

    @checked
    def count(of: Float[Tensor, "N 3"], other: Float[Tensor, "M 3"]) -> int:
        return len(list(rows(of))) + len(list(rows(other)))  # of other sizes than this call's own N

    assert count(torch.zeros(2, 3), torch.zeros(3, 3)) == 5
    with pytest.raises(TypeCheckError):
        rows(torch.zeros(2, 4))


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert first_rows(torch.zeros(2, 3), torch.zeros(1, 3)).shape == (2, 3)
