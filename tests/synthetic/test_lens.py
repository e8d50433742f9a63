import numpy as np
import pytest

from facewright.synthetic.lens import Lens, draw_lens, take_picture
from facewright.synthetic.textures import fractal_noise, read_grain


def test_a_perfect_lens_only_codes() -> None:
    linear = np.linspace(0.0, 1.0, 256 * 3).reshape(16, 16, 3)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    found = take_picture(linear, Lens(), np.random.default_rng(0)).astype(float)
    assert np.abs(found - expected).max() <= 1.0


def test_noise_is_as_strong_as_said() -> None:
    linear = np.full((200, 200, 3), 0.25)
    found = take_picture(linear, Lens(shot_noise=0.02), np.random.default_rng(0)) / 255.0
    back = ((found + 0.055) / 1.055) ** 2.4
    assert back.std() == pytest.approx(0.02 * 0.5, rel=0.1)  # shot noise grows with the root of the light
    assert back.mean() == pytest.approx(0.25, abs=0.002)


def test_blur_and_shake_keep_the_light_and_spread_edges() -> None:
    linear = np.zeros((64, 64, 3))
    linear[:, 32:] = 0.5
    for lens in (Lens(blur_px=3.0), Lens(motion_px=9.0)):
        found = take_picture(linear, lens, np.random.default_rng(0)).astype(float)
        assert 3 < np.sum((found[32, :, 0] > 5) & (found[32, :, 0] < 180)) < 20
        assert found[32, 2, 0] == 0.0
    across = take_picture(linear, Lens(motion_px=9.0, motion_angle=np.pi / 2), np.random.default_rng(0))
    assert np.sum((across[32, :, 0] > 5) & (across[32, :, 0] < 180)) <= 1  # along the edge nothing moves


def test_jpeg_changes_little_at_high_quality() -> None:
    rng = np.random.default_rng(0)
    linear = np.clip(0.4 + 0.1 * fractal_noise(rng, 64, 64, 1.5)[..., None] * np.ones(3), 0, 1)
    clean, coded = (take_picture(linear, Lens(quality=q), rng).astype(float) for q in (0, 95))
    assert 0 < np.abs(clean - coded).mean() < 2.5


def test_dark_scenes_are_noisier() -> None:
    bright, dark = (draw_lens(np.random.default_rng(4), 60.0, dark=flag) for flag in (False, True))
    assert dark.shot_noise == pytest.approx(3 * bright.shot_noise)


def test_fractal_noise_falls_with_frequency() -> None:
    noise = fractal_noise(np.random.default_rng(0), 256, 256, 1.0)
    power = np.abs(np.fft.rfft(noise, axis=1)).mean(0) ** 2
    slope = np.polyfit(np.log(np.arange(4, 64)), np.log(power[4:64]), 1)[0]
    assert slope == pytest.approx(-1.4, abs=0.5)  # one row of a 1/f picture
    assert noise.std() == pytest.approx(1.0, abs=0.01)


def test_grain_is_solid_and_repeats() -> None:
    import torch

    places = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 6 - 3
    grain = read_grain(places)
    assert torch.equal(grain, read_grain(places + torch.tensor([2.0, -4.0, 2.0])))
    assert abs(float(grain.mean())) < 0.3
    assert 0.5 < float(grain.std()) < 2.0
