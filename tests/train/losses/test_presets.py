"""Weights as published, and the sum of terms."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from facewright.train.losses.presets import PRESETS, TERMS, PresetName


def ones() -> dict[str, torch.Tensor]:
    return {term: torch.tensor(1.0, dtype=torch.float64) for term in TERMS}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", 1.9 + 1.6e-3 + 0.2 + 3e-4 + 5),
        ("deng-tf", 1.92 + 1.6e-3 + 0.2 + 3e-4 + 5 + 10),
        ("deng-pytorch", 1.92 + 1.6e-3 + 0.2 + 3e-4 + 5 + 10),
    ],
)
def test_total_of_unit_terms_is_the_sum_of_published_weights(name: PresetName, expected: float) -> None:
    assert float(PRESETS[name].total(ones())) == pytest.approx(expected, rel=1e-12)


def test_inner_weights_of_albedo_differ_between_paper_and_programs() -> None:
    assert [PRESETS[name].tex_weight for name in ("paper", "deng-tf", "deng-pytorch")] == [1.7e-3, 1.7e-2, 1.7e-2]


@pytest.mark.parametrize("term", TERMS)
def test_each_term_has_its_own_weight(term: str) -> None:
    preset = PRESETS["deng-pytorch"]
    raised = ones() | {term: torch.tensor(2.0, dtype=torch.float64)}
    assert float(preset.total(raised) - preset.total(ones())) == pytest.approx(getattr(preset, term))


def test_gradients_pass_by_weight(rng: torch.Generator) -> None:
    terms = {term: torch.rand((), generator=rng, dtype=torch.float64).requires_grad_() for term in TERMS}
    PRESETS["deng-tf"].total(terms).backward()
    assert [float(value.grad) for value in terms.values() if value.grad is not None] == pytest.approx(
        [1.92, 1.6e-3, 0.2, 3e-4, 5, 10]
    )


def test_a_term_that_is_weighed_must_be_given() -> None:
    terms = ones()
    del terms["perceptual"]
    with pytest.raises(ValueError, match="received none for perceptual"):
        PRESETS["paper"].total(terms)
    assert replace(PRESETS["paper"], perceptual=0.0).total(terms) > 0


def test_a_term_without_weight_need_not_be_finite() -> None:
    terms = ones() | {"gamma": torch.tensor(float("nan"), dtype=torch.float64)}
    assert PRESETS["paper"].total(terms).isfinite()


def test_presets_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        PRESETS["open"].photometric = 0.0  # pyright: ignore[reportAttributeAccessIssue] - the point of the test
