"""A ready BFM_model_front.mat gives the same model as the original files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.readers.bfm2009 import import_bfm2009
from facewright.morphable.readers.bfm_front import import_bfm_front
from tests.morphable.model_tensors import tensors_of
from tests.morphable.readers.synthetic_bfm import SyntheticBfm, front_variables, small_bfm, write_bfm2009


@pytest.fixture(scope="module")
def bfm() -> SyntheticBfm:
    return small_bfm(np.random.default_rng(5))


def test_ready_and_original_files_agree(bfm: SyntheticBfm, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "BFM_model_front.mat", front_variables(bfm))
    ready, report = import_bfm_front(tmp_path / "BFM_model_front.mat")
    original, _ = import_bfm2009(**write_bfm2009(tmp_path / "original", bfm))
    torch.testing.assert_close(tensors_of(ready), tensors_of(original), atol=3e-7, rtol=1e-6)
    assert ready.name == original.name
    assert ready.layout == original.layout
    assert torch.equal(ready.annotations.ibug68, original.annotations.ibug68)  # pyright: ignore[reportArgumentType] - both have them
    assert ready.annotations.regions.keys() == original.annotations.regions.keys()
    for name, mask in ready.annotations.regions.items():
        assert torch.equal(mask, original.annotations.regions[name])
    assert any("80 identity, 64 expression and 80 albedo" in line for line in report.found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("meanshape"), "expected a variable 'meanshape', found"),
        (lambda v: v.update(meanshape=v["meanshape"][:, :-1]), "expected meanshape to hold x, y, z"),
        (lambda v: v.update(idBase=v["idBase"].T), r"idBase: expected shape \(666, any\).*transposed"),
        (lambda v: v.update(exBase=v["exBase"][:-3]), r"exBase: expected shape \(666, any\), received \(663, 64\)"),
        (lambda v: v["texBase"].__setitem__((0, 0), np.inf), "texBase: expected finite numbers"),
        (lambda v: v.update(keypoints=v["keypoints"] - 1), "keypoints: expected ids 1..222"),
        (lambda v: v.update(frontmask2_idx=v["frontmask2_idx"][:-1]), "tri_mask2: expected"),
    ],
)
def test_spoilt_files(change: Any, message: str, bfm: SyntheticBfm, tmp_path: Path) -> None:
    variables = {name: np.array(value) for name, value in front_variables(bfm).items()}
    variables["keypoints"][0, 0] = 1.0
    change(variables)
    scipy.io.savemat(tmp_path / "BFM_model_front.mat", variables)
    with pytest.raises(FaceModelError, match=message):
        import_bfm_front(tmp_path / "BFM_model_front.mat")


def test_the_wrong_file_and_no_file(bfm: SyntheticBfm, tmp_path: Path) -> None:
    files = write_bfm2009(tmp_path, bfm)
    with pytest.raises(FaceModelError, match=r"expected a variable 'meanshape', found shapeMU.*is it the right file"):
        import_bfm_front(files["morphable_model"])
    with pytest.raises(AssetNotFoundError, match="bfm2009"):
        import_bfm_front(tmp_path / "absent.mat")
