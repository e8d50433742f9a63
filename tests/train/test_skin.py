"""Skin attention: the posteriors of docs/deep3d.md, section 16, and scipy's Gaussians."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from facewright.train.skin import skin_attention, skin_posterior

# RGB -> posterior of 255, of both published programs.
GOLDEN = {
    (224, 172, 105): 250,
    (141, 85, 36): 239,
    (255, 219, 172): 249,
    (198, 134, 66): 247,
    (60, 40, 30): 194,
    (128, 128, 128): 3,
    (255, 255, 255): 48,
    (0, 0, 0): 7,
    (255, 0, 0): 0,
    (0, 255, 0): 0,
    (0, 0, 255): 0,
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "deep3d.md"


def picture(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.tensor(list(GOLDEN), dtype=dtype) / 255).T[:, None, :]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden_posteriors(dtype: torch.dtype) -> None:
    posterior = skin_posterior(picture(dtype))
    assert posterior.dtype == dtype
    assert (255 * posterior).round().flatten().tolist() == list(GOLDEN.values())


def numbers_after(phrase: str, text: str, count: int) -> list[float]:
    after = text[text.index(phrase) + len(phrase) :].replace("−", "-")
    found = re.findall(r"(?<![\w.])-?\d*\.\d+|(?<![\w.])-?\d{6,}", after)[:count]
    return [float(number) for number in found]


def density_by_the_page(ycbcr: np.ndarray, name: str, prefix: str) -> np.ndarray:
    text = " ".join(PAGE.read_text(encoding="utf-8").split("### 6.3")[1].split("## 9.")[0].split())
    weights = numbers_after(f" {name} weights", text, 4)
    means = np.reshape(numbers_after(f" {name} means", text, 12), (4, 3))
    density = np.zeros(ycbcr.shape[:-1])
    for k in range(4):
        xx, xy, xz, yy, yz, zz = numbers_after(f"{prefix}{k + 1} ", text, 6)
        inverse = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        gaussian = multivariate_normal(means[k], np.linalg.inv(inverse))  # pyright: ignore[reportArgumentType] - a stub's default is an int
        density += weights[k] * gaussian.pdf(ycbcr)
    return density


def test_posterior_is_bayes_on_scipys_gaussians(rng: torch.Generator) -> None:
    """Constants are read anew from the page of facts, and determinants come from the covariances."""
    colors = torch.rand(3, 8, 8, generator=rng, dtype=torch.float64)
    r, g, b = (255 * colors).numpy()
    ycbcr = np.stack(
        [
            16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255,
            128 + (-37.797 * r - 74.203 * g + 112 * b) / 255,
            128 + (112 * r - 93.786 * g - 18.214 * b) / 255,
        ],
        -1,
    )
    skin = density_by_the_page(ycbcr, "skin", "S")
    other = density_by_the_page(ycbcr, "non-skin", "N")
    expected = 0.8 * skin / (0.8 * skin + 0.2 * other)
    np.testing.assert_allclose(skin_posterior(colors).numpy(), expected, atol=1e-5)


def test_no_colour_underflows() -> None:
    steps = torch.linspace(0, 1, 12)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 12, 144)
    posterior = skin_posterior(cube)
    assert posterior.isfinite().all()
    assert ((posterior >= 0) & (posterior <= 1)).all()


def test_each_pixel_stands_for_itself(rng: torch.Generator) -> None:
    photos = torch.rand(2, 3, 4, 5, generator=rng)
    posterior = skin_posterior(photos)
    torch.testing.assert_close(posterior[1, 2, 3], skin_posterior(photos[1, :, 2:3, 3:4])[0, 0])
    torch.testing.assert_close(skin_posterior(photos.flip(-1)).flip(-1), posterior)


def test_attention_is_thresholded_as_in_the_paper_or_raw() -> None:
    photo = picture()
    posterior, raw, attention = skin_posterior(photo), skin_attention(photo, thresholded=False), skin_attention(photo)
    assert torch.equal(raw, posterior)
    assert torch.equal(attention[posterior > 0.5], torch.ones(5))
    assert torch.equal(attention[posterior <= 0.5], posterior[posterior <= 0.5])
