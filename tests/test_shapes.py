"""The checks of types and shapes that run around every function of the package while it is tested."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from jaxtyping import Float
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
    with pytest.raises(BeartypeCallHintParamViolation):
        rotation_from_angles(torch.zeros(2, 4))
    with pytest.raises(BeartypeCallHintParamViolation):
        rotation_from_angles([0.0, 0.0, 0.0])  # pyright: ignore[reportArgumentType] - as a caller without types may


def test_an_axis_has_one_size_within_a_call_and_any_in_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert first_rows(torch.zeros(2, 3), torch.zeros(2, 3)).shape == (2, 3)
    assert first_rows(torch.zeros(1, 3), torch.zeros(1, 3)).shape == (1, 3)
    with pytest.raises(BeartypeCallHintParamViolation):
        first_rows(torch.zeros(2, 3), torch.zeros(4, 3))
    assert "N=2" in capsys.readouterr().out
    with pytest.raises(BeartypeCallHintReturnViolation):
        first_rows(torch.zeros(5, 3), torch.zeros(5, 3), rows=3)
    with pytest.raises(BeartypeCallHintParamViolation):
        first_rows(torch.zeros(2, 3), torch.zeros(2, 3), rows=2.0)  # pyright: ignore[reportArgumentType] - wrong


def test_a_call_within_a_call_has_sizes_of_its_own() -> None:
    @checked
    def outer(a: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        return a + first_rows(torch.zeros(9, 3), torch.zeros(9, 3), rows=9)[: len(a)]

    assert outer(torch.zeros(4, 3)).shape == (4, 3)


def test_dataclasses_are_checked_where_they_are_made() -> None:
    assert Pair(torch.zeros(2), torch.zeros(2)).a.shape == (2,)
    with pytest.raises(BeartypeCallHintParamViolation):
        Pair(torch.zeros(2), torch.zeros(3))
    assert list(inspect.signature(Pair).parameters) == ["a", "b"]


def test_plain_types_names_in_quotes_and_generators_are_checked() -> None:
    @checked
    def count(to: "int", session: "onnxruntime.InferenceSession | None" = None) -> Iterator[int]:
        del session
        yield from range(to)

    assert list(count(3)) == [0, 1, 2]
    with pytest.raises(BeartypeCallHintParamViolation):
        list(count("3"))  # pyright: ignore[reportArgumentType] - wrong


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert first_rows(torch.zeros(2, 3), torch.zeros(1, 3)).shape == (2, 3)
