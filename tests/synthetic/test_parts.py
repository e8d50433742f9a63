"""What pixels show: drawn once more, over other meshes, and compared ray by ray with the pictures' own fragments."""

import numpy as np
import pytest
import torch

from facewright.records import PARTS
from facewright.synthetic import Stage, draw_parts, plan_scene, set_stage
from facewright.synthetic.engine import expose
from facewright.synthetic.plan import PropKind

SIZE = 72
HEAD, HAIR, THING = (PARTS.index(name) for name in ("head", "hair", "thing"))


@pytest.fixture(scope="module")
def stage(studio) -> Stage:
    wishes: tuple[tuple[PropKind, float], ...] = (("glasses", 10.0), ("object", 0.0), ("mask", 40.0))
    plans = [
        plan_scene(studio, 600_000 + k, width=SIZE, height=SIZE, eye_px=(20.0, 20.1), yaw_deg=yaw, prop=prop)
        for k, (prop, yaw) in enumerate(wishes)
    ]
    return set_stage(studio, plans)


def test_parts_are_what_the_rays_meet(stage: Stage) -> None:
    cameras = [plan.camera for plan in stage.plans]
    for index, shares in enumerate(draw_parts(stage, cameras)):
        assert shares.shape == (SIZE, SIZE, 4)
        np.testing.assert_allclose(shares.sum(-1), 1.0, atol=1e-5)
        shot = expose(stage, cameras, [index])
        met = shot.fragments.face_index[0]
        on_head = torch.nn.functional.avg_pool2d(((met >= 0) & (met < len(stage.studio.model.faces))).float()[None], 2)[
            0
        ].numpy()
        clear = np.full((SIZE, SIZE), stage.plans[index].prop != "object")  # what is held has soft rims
        assert (shares[..., HEAD] >= on_head - 1e-5)[clear].all()  # beards and lashes are the head's too
        empty = torch.nn.functional.avg_pool2d((met < 0).float()[None], 2)[0].numpy()
        np.testing.assert_allclose(shares[..., 0][clear], empty[clear], atol=1e-5)
        assert (shares[shot.face_seen[0].numpy()][:, HEAD] > 0.4).all()
        assert shares[..., THING].sum() > 20  # collars at least
    covered = draw_parts(stage, cameras)[1][expose(stage, cameras, [1]).cover[0].numpy()]
    assert len(covered) > 30
    assert (covered[:, THING] > 0.5).all()


def test_glasses_are_things_before_a_head(stage: Stage, studio) -> None:
    """The same scene without them differs in parts at their rims alone, which are things where they are."""
    plan = plan_scene(studio, 600_000, width=SIZE, height=SIZE, eye_px=(20.0, 20.1), yaw_deg=10.0, prop="none")
    bare = draw_parts(set_stage(studio, [plan]), [plan.camera])[0]
    worn = draw_parts(stage, [plan.camera for plan in stage.plans])[0]
    more = worn[..., THING] - bare[..., THING]
    assert more.min() > -1e-5
    assert 15 < more.sum() < 0.1 * SIZE**2
    same = more < 1e-5
    np.testing.assert_allclose(worn[same], bare[same], atol=1e-5)
