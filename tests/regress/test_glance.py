"""A second glance: it looks where the landmarks are, and starts by changing nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from facewright.records import CoefficientLayout
from facewright.regress.glance import SecondGlance
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights

LAYOUT, SIZE, POINTS = CoefficientLayout(5, 4, 3), 64, 70


@pytest.fixture
def net() -> RNet:
    torch.manual_seed(0)
    net = RNet(
        LAYOUT, architecture="resnet18", width=0.125, crop_size=SIZE, points=torch.arange(POINTS), glance=True
    ).eval()
    for name, value in net.named_parameters():
        if not name.startswith(("backbone.", "glance.")):
            torch.nn.init.normal_(value, std=0.05)
    return net


def changed(net: RNet) -> RNet:
    assert net.glance is not None
    torch.nn.init.normal_(net.glance.say.weight, std=0.2)
    return net


def test_it_starts_by_correcting_nothing(net: RNet) -> None:
    crops = torch.rand(2, 3, SIZE, SIZE)
    first, found = net.predict_from(net.features(crops)), net.predict(crops)
    torch.testing.assert_close(found.coefficients.id, first.coefficients.id)
    torch.testing.assert_close(found.points_px, first.points_px)
    torch.testing.assert_close(found.exp_sigma, first.exp_sigma)


def test_every_part_is_corrected_by_its_own_answers(net: RNet) -> None:
    crops = torch.rand(2, 3, SIZE, SIZE)
    first, found = net.predict_from(net.features(crops)), changed(net).predict(crops)
    for name in ("id", "exp", "angles", "translation"):
        assert (getattr(found.coefficients, name) - getattr(first.coefficients, name)).abs().min() > 0, name
    torch.testing.assert_close(found.id_sigma, first.id_sigma)  # how far it is known who it is stays the first answer's
    for name in ("tex", "sh"):
        torch.testing.assert_close(getattr(found.coefficients, name), getattr(first.coefficients, name))
    for name in ("points_px", "points_sigma_px", "depth_px", "depth_sigma_px", "exp_sigma"):
        assert (getattr(found, name) - getattr(first, name)).abs().min() > 0, name
    assert found.points_sigma_px is not None
    assert found.points_sigma_px.min() > 0
    torch.testing.assert_close(net(crops).exp, found.coefficients.exp)
    torch.testing.assert_close(net.forward_vector(crops), LAYOUT.pack(found.coefficients))


def test_features_are_the_maps_at_the_landmarks() -> None:
    """Against scipy's interpolation: both maps cover the crop from corner to corner."""
    glance = SecondGlance(LAYOUT, channels=5, points=POINTS)
    dice = torch.Generator().manual_seed(1)
    maps = [torch.rand(1, 2, 16, 16, generator=dice), torch.rand(1, 3, 8, 8, generator=dice), torch.rand(1, 9, 2, 2)]
    places = (SIZE - 1) * torch.rand(1, 68, 2, generator=dice)
    seen = glance.features(maps, places, SIZE).unflatten(1, (5, 68))[0]
    for k, (map_, channel) in enumerate([(maps[0], 0), (maps[0], 1), (maps[1], 0), (maps[1], 1), (maps[1], 2)]):
        side = map_.shape[-1]
        at = (places[0] * (side - 1) / (SIZE - 1)).numpy()
        wanted = map_coordinates(map_[0, channel].numpy(), [at[:, 1], at[:, 0]], order=1)
        np.testing.assert_allclose(seen[k], wanted, atol=1e-5)


def test_halves_are_looked_at_in_the_same_places() -> None:
    glance = SecondGlance(LAYOUT, channels=5, points=POINTS)
    dice = torch.Generator().manual_seed(2)
    maps = [torch.rand(1, 2, 56, 56, generator=dice).bfloat16(), torch.rand(1, 3, 28, 28, generator=dice).bfloat16()]
    places = 223 * torch.rand(1, 68, 2, generator=dice)
    whole = glance.features([m.float() for m in maps], places, 224)
    torch.testing.assert_close(glance.features(maps, places, 224), whole, atol=1e-6, rtol=0)


def test_landmarks_learn_nothing_through_where_is_looked(net: RNet) -> None:
    places = torch.full((1, 68, 2), 20.0, requires_grad=True)
    assert net.glance is not None
    maps = net.maps(torch.rand(1, 3, SIZE, SIZE))
    features = net.glance.features(maps, places, SIZE)
    features.sum().backward()
    assert places.grad is None
    assert next(net.backbone.parameters()).grad is not None  # the maps do


def test_weights_keep_it(net: RNet, tmp_path: Path) -> None:
    file, crops = tmp_path / "glancing.safetensors", torch.rand(1, 3, SIZE, SIZE)
    save_weights(changed(net), WeightsCard(face_model="toy"), file, half=False)
    back: RNet = load_weights(file, layout=LAYOUT, kind="rnet")
    assert back.glance is not None
    torch.testing.assert_close(back.eval().predict(crops).points_px, net.predict(crops).points_px)


def test_building_it_leaves_norms_as_they_were() -> None:
    net = RNet(LAYOUT, architecture="resnet18", width=0.125, crop_size=SIZE, points=torch.arange(POINTS), glance=True)
    counted = [value for name, value in net.named_buffers() if name.endswith("num_batches_tracked")]
    assert counted
    assert all(int(value) == 0 for value in counted)
    assert net.backbone.training


def test_it_needs_points() -> None:
    with pytest.raises(ValueError, match="second glance"):
        RNet(LAYOUT, architecture="resnet18", width=0.125, crop_size=SIZE, glance=True)
