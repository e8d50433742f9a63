"""Random faces: the priors they are drawn from, and the facts about a model."""

import json

import pytest
import torch

from facewright.morphable.describe import describe_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import ACTIVE_EXPRESSIONS, plausible_blendshapes, sample_coefficients
from facewright.morphable.toy import toy_face_model


def test_the_same_seed_draws_the_same_faces(toy_model: FaceModel) -> None:
    first, again = (sample_coefficients(toy_model, torch.Generator().manual_seed(5), 8) for _ in range(2))
    other = sample_coefficients(toy_model, torch.Generator().manual_seed(6), 8)
    assert torch.equal(first.id, again.id)
    assert torch.equal(first.exp, again.exp)
    assert not torch.equal(first.id, other.id)


def test_normal_coefficients_have_the_moments_of_a_truncated_normal(toy_model: FaceModel, rng: torch.Generator) -> None:
    limit = 1.5
    drawn = sample_coefficients(toy_model, rng, 20000, truncation=limit)
    normal = torch.distributions.Normal(0.0, 1.0)
    density = normal.log_prob(torch.tensor(limit)).exp()
    mass = 2 * normal.cdf(torch.tensor(limit)) - 1
    variance = 1 - 2 * limit * density / mass
    for part in (drawn.id, drawn.tex, drawn.exp):
        assert part.abs().max() <= limit
        torch.testing.assert_close(part.mean(0), torch.zeros(part.shape[1]), atol=0.025, rtol=0)
        torch.testing.assert_close(part.var(0), variance.expand(part.shape[1]), atol=0.025, rtol=0)


def test_box_expressions_are_sparse_weights(rng: torch.Generator) -> None:
    drawn = sample_coefficients(toy_face_model(exp_prior="box"), rng, 5000).exp
    assert drawn.min() == 0
    assert drawn.max() <= 1
    count = drawn.shape[1]
    expected = min(ACTIVE_EXPRESSIONS / count, 0.5)
    assert (drawn > 0).float().mean().item() == pytest.approx(expected, abs=0.02)


def test_arkit_weights_look_like_a_face() -> None:
    names = ("eyeLookInLeft", "eyeLookOutLeft", "eyeLookInRight", "eyeLookOutRight", "jawOpen", "mouthClose")
    names += ("mouthSmileLeft", "mouthSmileRight", "somethingElse")
    drawn = torch.tensor([[0.4, 0.0, 0.9, 0.9, 0.3, 0.8, 0.8, 0.0, 0.7], [0.0, 0.0, 0.0, 0.0, 0.5, 0.2, 0.0, 0.4, 0.0]])
    expected = torch.tensor(
        [[0.4, 0.0, 0.0, 0.4, 0.3, 0.3, 0.8, 0.6, 0.7], [0.0, 0.0, 0.0, 0.0, 0.5, 0.2, 0.0, 0.1, 0.0]]
    )
    torch.testing.assert_close(plausible_blendshapes(drawn, names), expected)


def test_neutral_faces_look_at_the_camera(toy_model: FaceModel, rng: torch.Generator) -> None:
    drawn = sample_coefficients(toy_model, rng, 3, expressions=False)
    assert not drawn.exp.any()
    assert not drawn.angles.any()
    assert drawn.id.any()
    assert toy_model.decode(drawn).vertices.shape == (3, len(toy_model.mean_shape), 3)


@pytest.mark.parametrize("truncation", [0.0, -1.0, float("nan")])
def test_a_useless_truncation_is_refused(toy_model: FaceModel, rng: torch.Generator, truncation: float) -> None:
    with pytest.raises(ValueError, match="positive truncation"):
        sample_coefficients(toy_model, rng, truncation=truncation)


def test_a_description_is_json_and_counts_right(toy_model: FaceModel) -> None:
    facts = json.loads(json.dumps(describe_face_model(toy_model)))
    assert facts["vertices"] == len(toy_model.mean_shape)
    assert facts["coefficients"] == toy_model.layout.size
    assert facts["annotations"] == ["ibug68", "five", "contours", "mirror"]
    assert facts["face_parts"]["eyes"] == int(toy_model.annotations.face_parts["eyes"].sum())
    size = (toy_model.mean_shape.amax(0) - toy_model.mean_shape.amin(0)) * 100
    torch.testing.assert_close(torch.tensor(facts["mean_size_mm"]), size, atol=0.06, rtol=0)
