"""Every scene on a device that refuses to mix with the CPU, on a machine without one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_device import FAKE
from tests.gpu.scenes import ON_CPU, SCENES, tensors_in


def devices_after(scene: str, folder: Path) -> set[str]:
    return {tensor.device.type for tensor in tensors_in(SCENES[scene](FAKE, folder))}


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_leaves_the_device_unasked(scene: str, tmp_path: Path, on_fake_device: Callable[..., set[str]]) -> None:
    assert on_fake_device(devices_after, scene, tmp_path) == {"cpu" if scene in ON_CPU else FAKE}
