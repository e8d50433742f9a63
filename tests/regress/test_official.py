import pytest
import torch

from facewright.records import CoefficientLayout
from facewright.regress.official import (
    OFFICIAL_LAYOUT,
    coefficients_from_official,
    official_from_coefficients,
)


def test_the_official_vector_names_its_parts():
    vector = torch.arange(257.0)[None]
    c = coefficients_from_official(vector)
    assert c.id[0, 0] == 0
    assert c.exp[0, 0] == 80
    assert c.tex[0, 0] == 144
    assert c.angles.tolist() == [[224, 225, 226]]
    assert c.sh[0, :, 1].tolist() == list(range(236, 245))  # green
    assert c.translation.tolist() == [[254, 255, 256]]
    torch.testing.assert_close(official_from_coefficients(c), vector)
    torch.testing.assert_close(OFFICIAL_LAYOUT.pack(c), vector)


def test_trailing_values_are_dropped():
    vector = torch.randn(2, 260)
    torch.testing.assert_close(official_from_coefficients(coefficients_from_official(vector)), vector[:, :257])


def test_white_light_lights_all_channels_alike():
    vector = torch.randn(2, 239)
    c = coefficients_from_official(vector)
    for channel in range(3):
        torch.testing.assert_close(c.sh[..., channel], vector[:, 227:236])
    torch.testing.assert_close(c.translation, vector[:, 236:])


def test_the_disentangled_order_swaps_expression_and_texture():
    vector = torch.randn(1, 257)
    c = coefficients_from_official(vector, order="id-tex-exp")
    torch.testing.assert_close(c.tex, vector[:, 80:160])
    torch.testing.assert_close(c.exp, vector[:, 160:224])
    torch.testing.assert_close(official_from_coefficients(c, order="id-tex-exp"), vector)


def test_short_vectors_are_refused():
    with pytest.raises(ValueError, match="257 values or more"):
        coefficients_from_official(torch.zeros(1, 256))
    with pytest.raises(ValueError, match="45 values or more"):
        coefficients_from_official(torch.zeros(1, 44), layout=CoefficientLayout(5, 4, 3))
