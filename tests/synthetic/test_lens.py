import numpy as np
import pytest

from facewright.compiled import can_compile
from facewright.synthetic.lens import (
    CODED_RANGE,
    CODED_SIZE,
    Lens,
    Noise,
    _tones,
    draw_lens,
    read_sensor,
    read_sensor_compiled,
    take_picture,
)
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


@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@pytest.mark.parametrize("noisy", [True, False])
def test_sensor_twins_agree(noisy: bool) -> None:
    """Light from below nothing to over-exposed, every part of the reading at work; a level of 255 at most apart."""
    rng = np.random.default_rng(3)
    light = np.linspace(-0.1, 2.5, 24 * 20 * 3, dtype=np.float32).reshape(24, 20, 3)
    lens = Lens(shot_noise=0.03, read_noise=0.01, balance=(1.1, 1.0, 0.9), shoulder=0.6, contrast=0.4)
    turned = rng.standard_normal((48, 40, 3), dtype=np.float32)[::2, ::-2]
    noise = Noise(turned, np.array([2, 0, 1]), np.array([1.0, -1.0, 1.0], np.float32)) if noisy else None
    found, expected = read_sensor_compiled(light, lens, noise), read_sensor(light, lens, noise)
    np.testing.assert_allclose(found, expected, atol=1.0)
    assert (found == expected).mean() > 0.99  # the rest is a step of the tone table apart
    assert np.ptp(expected) > 200


@pytest.mark.parametrize(("shoulder", "contrast"), [(0.5, 0.4), (1.0, 0.4), (0.7, 0.0), (1.0, 0.0)])
def test_tones_are_those_of_the_formula(shoulder: float, contrast: float) -> None:
    linear = np.square(np.linspace(0.0, CODED_RANGE**0.5, CODED_SIZE, dtype=np.float32)).astype(float)
    over, room = (linear - shoulder).clip(0.0), max(1.0 - shoulder, 1e-9)
    rolled = (linear.clip(0.0, shoulder) - room * np.expm1(-over / room)).clip(0.0, 1.0)
    coded = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * rolled ** (1 / 2.4) - 0.055)
    expected = 255.0 * (coded - contrast / (2.0 * np.pi) * np.sin(2.0 * np.pi * coded))
    np.testing.assert_allclose(_tones(shoulder, contrast), expected, atol=2e-3)
