"""Five points of the standard face."""

from pathlib import Path

import numpy as np
import scipy.io
import torch

from facewright.geometry.five_points import deep3d_template, five_from_68


def test_five_from_68_picks_and_averages_the_right_points(rng: torch.Generator) -> None:
    points = torch.randn(4, 68, 3, generator=rng, dtype=torch.float64)
    five = five_from_68(points)
    one_based = points[:, None].numpy()[:, 0]
    for batch in range(4):
        row = one_based[batch]
        expected = [(row[37 - 1] + row[40 - 1]) / 2, (row[43 - 1] + row[46 - 1]) / 2, row[30], row[48], row[54]]
        np.testing.assert_allclose(five[batch], expected)
    torch.testing.assert_close(five_from_68(points[0, :, :2]), five[0, :, :2])


def test_template_looks_like_a_face_seen_by_its_own_axes() -> None:
    right_eye, left_eye, nose, right_mouth, left_mouth = deep3d_template()
    assert right_eye[0] < 0 < left_eye[0]
    assert right_mouth[0] < 0 < left_mouth[0]
    assert float(nose[2]) == float(deep3d_template()[:, 2].max())
    assert float(right_mouth[1]) < float(nose[1]) < float(right_eye[1])


def test_template_is_the_published_one(shared_dir: Path) -> None:
    published = scipy.io.loadmat(shared_dir / "bfm_tables" / "similarity_Lm3D_all.mat")["lm"].astype(np.float64)
    torch.testing.assert_close(five_from_68(torch.from_numpy(published)), deep3d_template(), rtol=0, atol=1e-7)
