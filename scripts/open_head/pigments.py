"""Colours of skin and hair from what colours them: melanin and blood in two layers of skin, two melanins in hair.

Skin: epidermis over dermis, each a Kubelka-Munk medium, under a refracting surface; reflectance from 400 to 700 nm,
seen under daylight (CIE D65). Sources: docs/head-albedo.md.
"""

import numpy as np
from scipy.ndimage import map_coordinates

WAVELENGTH = np.arange(400.0, 701.0, 10.0)
D65 = np.array([
    82.75, 91.49, 93.43, 86.68, 104.86, 117.01, 117.81, 114.86, 115.92, 108.81, 109.35, 107.80, 104.79, 107.69, 104.41,
    104.05, 100.00, 96.33, 95.79, 88.69, 90.01, 89.60, 87.70, 83.29, 83.70, 80.03, 80.21, 82.28, 78.28, 69.72, 71.61,
])  # fmt: skip
"""Relative power of daylight (CIE 015)."""
OXYHAEMOGLOBIN = np.array([
    266232, 466840, 480360, 246072, 102580, 62816, 44480, 33209.2, 26629.2, 23684.4, 20932.8, 20035.2, 24202.4, 39956.8,
    53236, 43016, 32613.2, 44496, 50104, 14400.8, 3200, 1506, 942, 610, 442, 368, 319.6, 294, 277.6, 276, 290,
])  # fmt: skip
"""Molar extinction, 1/(cm M) (tabulated by Prahl 1998)."""
DEOXYHAEMOGLOBIN = np.array([
    223296, 303956, 407560, 528600, 413280, 103292, 23388.8, 16156.4, 14550, 16684, 20862, 25773.6, 31589.6, 39036.4,
    46592, 53412, 53788, 45072, 37020, 28324.4, 14677.2, 9443.6, 6509.6, 5148.8, 4345.2, 3750.12, 3226.56, 2795.12,
    2407.92, 2051.96, 1794.28,
])  # fmt: skip
"""Molar extinction, 1/(cm M) (tabulated by Prahl 1998)."""
RGB_FROM_XYZ = np.array([
    [3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252],
])  # fmt: skip
LUMINANCE = np.array([0.2126729, 0.7151522, 0.0721750])
"""Y of linear sRGB."""
WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
"""XYZ of the sRGB white (D65)."""

EPIDERMIS_CM = 0.006
EPIDERMIS_SCATTERING = 1.5
"""Scattering of the epidermis over that of the dermis."""
OXYGENATION = 0.75
HAEMOGLOBIN_G_PER_L, HAEMOGLOBIN_G_PER_MOL = 150.0, 64500.0
SURFACE_REFLECTION, INNER_REFLECTION = 0.03, 0.3
"""Light turned back on entering (specular: not part of the albedo), and by the surface from below (Saunderson 1942)."""

HAIR_SHEEN = 0.008
"""The little light that the surface of any hair turns back."""

MELANIN_RANGE, BLOOD_RANGE = (0.001, 0.6), (0.002, 0.2)
"""Volume fractions in the epidermis and in the dermis that the table spans."""


def skin_reflectance(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """(*B, 31) spectral reflectance of skin, 0..1.

    Args:
        melanin: (*B) volume fraction of melanosomes in the epidermis.
        blood: (*B) volume fraction of blood in the dermis.
    """
    melanin, blood = np.asarray(melanin)[..., None], np.asarray(blood)[..., None]
    scattering = 0.75 * 46.0 * (WAVELENGTH / 500.0) ** -1.421
    bare = 7.84e8 * WAVELENGTH**-3.255
    haemoglobin = OXYGENATION * OXYHAEMOGLOBIN + (1.0 - OXYGENATION) * DEOXYHAEMOGLOBIN
    whole_blood = 2.303 * haemoglobin * HAEMOGLOBIN_G_PER_L / HAEMOGLOBIN_G_PER_MOL
    ratio = 2.0 * (blood * whole_blood + (1.0 - blood) * bare) / scattering
    dermis = 1.0 + ratio - np.sqrt(ratio**2 + 2.0 * ratio)
    upper = EPIDERMIS_SCATTERING * scattering
    absorption = 2.0 * (melanin * 1.70e12 * WAVELENGTH**-3.48 + (1.0 - melanin) * bare)
    a = 1.0 + absorption / upper
    b = np.sqrt(a**2 - 1.0)
    c = b / np.tanh(b * upper * EPIDERMIS_CM)
    below_surface = (1.0 - dermis * (a - c)) / (a - dermis + c)
    passed = (1.0 - SURFACE_REFLECTION) * (1.0 - INNER_REFLECTION)
    return passed * below_surface / (1.0 - INNER_REFLECTION * below_surface)


def rgb_from_reflectance(reflectance: np.ndarray) -> np.ndarray:
    """(*B, 3) linear sRGB of a surface in daylight; a perfect white is (1, 1, 1).

    The colour-matching functions are the fits of Wyman, Sloan and Shirley 2013 (table 1).
    """
    x = 1.056 * _lobe(599.8, 37.9, 31.0) + 0.362 * _lobe(442.0, 16.0, 26.7) - 0.065 * _lobe(501.1, 20.4, 26.2)
    y = 0.821 * _lobe(568.8, 46.9, 40.5) + 0.286 * _lobe(530.9, 16.3, 31.1)
    z = 1.217 * _lobe(437.0, 11.8, 36.0) + 0.681 * _lobe(459.0, 26.0, 13.8)
    seen = np.stack([x, y, z]) * D65
    seen *= (WHITE_XYZ / seen.sum(1))[:, None]
    return reflectance @ seen.T @ RGB_FROM_XYZ.T


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(*B, 3) CIE L*a*b* (D65) of linear sRGB."""
    xyz = rgb @ np.linalg.inv(RGB_FROM_XYZ).T / WHITE_XYZ
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def hair_rgb(luminance: np.ndarray, pheomelanin: np.ndarray) -> np.ndarray:
    """(*B, 3) linear RGB of a mass of hair of this luminance, coloured by eumelanin and pheomelanin.

    Absorption per unit of melanin: d'Eon et al. 2011; albedo of many hairs: Chiang et al. 2016, section 4.2.
    """
    low, high = np.zeros_like(luminance), np.full_like(luminance, 20.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        rgb = _hair_albedo(middle, pheomelanin)
        too_light = rgb @ LUMINANCE > luminance
        low, high = np.where(too_light, middle, low), np.where(too_light, high, middle)
    return rgb


def _hair_albedo(eumelanin: np.ndarray, pheomelanin: np.ndarray) -> np.ndarray:
    absorption = eumelanin[..., None] * [0.419, 0.697, 1.37] + pheomelanin[..., None] * [0.187, 0.4, 1.05]
    return HAIR_SHEEN + np.exp(-5.888 * np.sqrt(absorption))


class SkinTable:
    """Skin colour by logarithms of pigment fractions, tabulated once and interpolated."""

    def __init__(self, size: int = 128) -> None:
        self._low = np.log([MELANIN_RANGE[0], BLOOD_RANGE[0]])
        self._step = (np.log([MELANIN_RANGE[1], BLOOD_RANGE[1]]) - self._low) / (size - 1)
        axes = [np.exp(low + step * np.arange(size)) for low, step in zip(self._low, self._step, strict=True)]
        self._rgb = rgb_from_reflectance(skin_reflectance(*np.meshgrid(*axes, indexing="ij")))

    def rgb(self, log_melanin: np.ndarray, log_blood: np.ndarray) -> np.ndarray:
        """(*B, 3) linear RGB; fractions outside of the ranges are brought to their ends."""
        where = [(log_melanin - self._low[0]) / self._step[0], (log_blood - self._low[1]) / self._step[1]]
        channels = [map_coordinates(self._rgb[..., c], where, order=1, mode="nearest") for c in range(3)]
        return np.stack(channels, -1)

    def log_melanin(self, lightness: np.ndarray, log_blood: np.ndarray) -> np.ndarray:
        """Melanin that gives skin of this blood the wished L*; by bisection, since more melanin is darker."""
        low, high = (np.full(np.shape(lightness), np.log(end)) for end in MELANIN_RANGE)
        for _ in range(40):
            middle = 0.5 * (low + high)
            too_light = lab_from_rgb(self.rgb(middle, log_blood))[..., 0] > lightness
            low, high = np.where(too_light, middle, low), np.where(too_light, high, middle)
        return 0.5 * (low + high)


def _lobe(centre: float, left: float, right: float) -> np.ndarray:
    """A Gaussian with two widths over the wavelengths."""
    return np.exp(-0.5 * ((WAVELENGTH - centre) / np.where(centre > WAVELENGTH, left, right)) ** 2)
