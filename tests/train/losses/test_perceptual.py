"""The perceptual loss, with a small network in the recognition network's place."""

import math

import pytest
import torch
from torch import Tensor

from facewright.train.losses.perceptual import EmbeddingMetric, FaceEmbedder, embedding_distance, perceptual_loss


class Linear:
    """Embeds by a fixed matrix; the points shift the result, so that windows matter."""

    def __init__(self, metric: EmbeddingMetric, rng: torch.Generator) -> None:
        self.metric: EmbeddingMetric = metric
        self.matrix = torch.randn(12, 6, generator=rng, dtype=torch.float64)

    def __call__(self, crop_srgb: Tensor, five_px: Tensor | None) -> Tensor:
        whole = crop_srgb.flatten(1) @ self.matrix
        return whole if five_px is None else whole + five_px.mean((1, 2))[:, None]


def pair(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    draw = {"generator": rng, "dtype": torch.float64}
    return 0.1 + 0.8 * torch.rand(2, 3, 2, 2, **draw), 0.1 + 0.8 * torch.rand(2, 3, 2, 2, **draw)


FIVE = torch.zeros(2, 5, 2, dtype=torch.float64)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distance_is_the_loop(rng: torch.Generator, metric: EmbeddingMetric) -> None:
    first, second = torch.randn(2, 3, 5, generator=rng, dtype=torch.float64)
    for a, b, distance in zip(first.tolist(), second.tolist(), embedding_distance(first, second, metric), strict=True):
        if metric == "euclidean":
            expected = math.dist(a, b)
        else:
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            expected = 1 - dot / (math.hypot(*a) * math.hypot(*b))
        assert float(distance) == pytest.approx(expected, rel=1e-12)


def test_cosine_is_blind_to_lengths_and_bounded(rng: torch.Generator) -> None:
    first, second = torch.randn(2, 3, 5, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(
        embedding_distance(first, second, "cosine"), embedding_distance(9 * first, second / 7, "cosine")
    )
    torch.testing.assert_close(embedding_distance(first, -first, "cosine"), torch.full((3,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_gradients(rng: torch.Generator, metric: EmbeddingMetric) -> None:
    photo, rendered = pair(rng)
    embedder = Linear(metric, rng)
    assert torch.autograd.gradcheck(
        lambda x: perceptual_loss(embedder, photo, FIVE, x, FIVE), (rendered.requires_grad_(),)
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_faces_cost_nothing_and_pull_nowhere(rng: torch.Generator, metric: EmbeddingMetric) -> None:
    photo, _ = pair(rng)
    rendered = photo.clone().requires_grad_()
    loss = perceptual_loss(Linear(metric, rng), photo, FIVE, rendered, FIVE)
    loss.backward()
    assert abs(float(loss.detach())) < 1e-12
    assert rendered.grad is not None
    torch.testing.assert_close(rendered.grad, torch.zeros_like(photo), atol=1e-12, rtol=0)


def test_whole_crops_have_no_points(rng: torch.Generator) -> None:
    """As in the TensorFlow program: where the face is does not matter to what the network is shown."""
    embedder, (photo, rendered) = Linear("euclidean", rng), pair(rng)
    whole = perceptual_loss(embedder, photo, FIVE, rendered, FIVE + 3, whole=True)
    matrix = embedder.matrix
    assert float(whole) == pytest.approx(float(((photo - rendered).flatten(1) @ matrix).norm(dim=-1).mean()), rel=1e-9)
    assert float(perceptual_loss(embedder, photo, FIVE, rendered, FIVE + 3)) != pytest.approx(float(whole), rel=1e-3)


def test_gradients_reach_the_renderings_pixels_only(rng: torch.Generator) -> None:
    photo, rendered = (picture.requires_grad_() for picture in pair(rng))
    photo_five, rendered_five = FIVE.clone().requires_grad_(), (FIVE + 1).requires_grad_()
    perceptual_loss(Linear("cosine", rng), photo, photo_five, rendered, rendered_five).backward()
    assert rendered.grad is not None
    assert rendered.grad.abs().sum() > 0
    assert photo.grad is photo_five.grad is rendered_five.grad is None


def test_each_picture_has_its_own_window(rng: torch.Generator) -> None:
    photo, rendered = pair(rng)
    embedder = Linear("euclidean", rng)
    assert isinstance(embedder, FaceEmbedder)
    same = perceptual_loss(embedder, photo, FIVE, rendered, FIVE)
    moved = perceptual_loss(embedder, photo, FIVE, rendered, FIVE + 1)
    both = perceptual_loss(embedder, photo, FIVE + 1, rendered, FIVE + 1)
    torch.testing.assert_close(same, both)
    assert not torch.isclose(same, moved)


def test_the_network_sees_colours_between_black_and_white(rng: torch.Generator) -> None:
    photo, rendered = pair(rng)
    embedder = Linear("euclidean", rng)
    wild = 3 * rendered - 1
    torch.testing.assert_close(
        perceptual_loss(embedder, photo, FIVE, wild, FIVE),
        perceptual_loss(embedder, photo, FIVE, wild.clamp(0, 1), FIVE),
    )
