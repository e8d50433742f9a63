"""Pages speak of ``me.jpg`` and write to where they stand: they run in a folder of their own, beside such a photo."""

import shutil
from pathlib import Path

import pytest

from facewright.assets import embedded_path


@pytest.fixture(autouse=True)
def _photo_of_me(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(embedded_path("photos/astronaut.jpg"), tmp_path / "me.jpg")
    monkeypatch.chdir(tmp_path)
