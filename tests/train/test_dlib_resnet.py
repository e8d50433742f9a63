"""The identity network as the perceptual loss sees it."""

import torch

from facewright.train.dlib_resnet import load_dlib_resnet
from facewright.train.losses.perceptual import FaceEmbedder, perceptual_loss


def test_is_a_frozen_embedder_with_gradients_to_the_pixels(rng: torch.Generator) -> None:
    network = load_dlib_resnet()
    assert isinstance(network, FaceEmbedder)
    assert not any(p.requires_grad for p in network.parameters())
    photo = torch.rand(1, 3, 160, 160, generator=rng)
    rendered = torch.rand(1, 3, 160, 160, generator=rng).requires_grad_()
    five = torch.tensor([[[55.0, 62.0], [105.0, 62.0], [80.0, 92.0], [60.0, 118.0], [100.0, 118.0]]])
    perceptual_loss(network, photo, five, rendered, five).backward()
    assert rendered.grad is not None
    assert rendered.grad.abs().sum() > 0
