"""What is behind people, and flat things before them: read from pictures that are drawn once. Linear RGB.

Drawing a background costs as much as drawing the person before it. So each process draws a bank of them from one seed,
and a scene shows a part of one: turned, mirrored, enlarged and tinted by its own numbers.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.compiled import compiled
from facewright.synthetic.backdrops import draw_backdrop
from facewright.synthetic.dice import stream
from facewright.synthetic.held import held_object
from facewright.synthetic.plan import BACKDROP_STREAM, OBJECT_STREAM, ScenePlan

BANK_PICTURES, BANK_SIZE_PX = 192, 192
_BANK_SEED = 11


@dataclass(frozen=True)
class Backdrop:
    """A part of a picture of the bank. Its place (u, v) in that picture, px, is linear in a picture's (column, row).

    Attributes:
        picture: number in the bank.
        place: rows (at column 0 and row 0, per column, per row) for u and for v.
        gain: of the channels.
    """

    picture: int
    place: Float[ndarray, "2 3"]
    gain: Float[ndarray, "3"]


@cache
def backdrop_bank(device: str = "cpu") -> Float[Tensor, "N S S 3"]:
    """The pictures that backdrops are parts of, on a device."""
    if device != "cpu":
        return backdrop_bank().to(device)
    rng = np.random.default_rng(_BANK_SEED)
    drawn = [draw_backdrop(rng, BANK_SIZE_PX, BANK_SIZE_PX) for _ in range(BANK_PICTURES)]
    return torch.from_numpy(np.stack(drawn).astype(np.float32))


def backdrop_of(plan: ScenePlan) -> Backdrop:
    """The part that is behind a scene's person."""
    rng = stream(plan.seed, BACKDROP_STREAM)
    camera, turned = plan.camera, rng.random(3) < 0.5
    share = float(np.exp(rng.uniform(np.log(0.3), 0.0))) * (BANK_SIZE_PX - 1)
    step = share / max(camera.height, camera.width, 2)
    place = np.zeros((2, 3))
    for axis, (count, start) in enumerate(((camera.width, rng.random()), (camera.height, rng.random()))):
        first = start * (BANK_SIZE_PX - 1 - share)
        back = bool(turned[axis])
        place[axis, 0], place[axis, 1 + axis] = (first + step * (count - 1), -step) if back else (first, step)
    gain = np.exp(0.3 * rng.standard_normal() + 0.05 * rng.standard_normal(3))
    return Backdrop(int(rng.integers(BANK_PICTURES)), place[::-1] if turned[2] else place, gain)


def lay_before(drawn: Float[Tensor, "B 4 H W"], backdrops: list[Backdrop]) -> Float[Tensor, "B 3 H W"]:
    """Pictures before their backdrops, clamped to be positive.

    Args:
        drawn: colour times coverage, and coverage.
        backdrops: one each.
    """
    batch, _, height, width = drawn.shape
    bank = backdrop_bank(str(drawn.device))
    picked = torch.tensor([backdrop.picture for backdrop in backdrops], device=drawn.device)
    place = torch.from_numpy(np.stack([backdrop.place for backdrop in backdrops])).to(drawn)
    gain = torch.from_numpy(np.stack([backdrop.gain for backdrop in backdrops])).to(drawn)
    column = torch.arange(width, device=drawn.device).to(drawn)
    row = torch.arange(height, device=drawn.device).to(drawn)[:, None]
    at = place[:, :, 0, None, None] + place[:, :, 1, None, None] * column + place[:, :, 2, None, None] * row
    at = at.clamp(0.0, BANK_SIZE_PX - 1.0)
    left = at.floor().clamp_max(BANK_SIZE_PX - 2.0)
    (across, down), (u, v) = (at - left).unbind(1), left.long().unbind(1)
    first = (picked[:, None, None] * BANK_SIZE_PX + v) * BANK_SIZE_PX + u
    flat = bank.flatten(0, 2)
    behind = torch.zeros(batch, height, width, 3, device=drawn.device, dtype=drawn.dtype)
    for offset, weight in (
        (0, (1 - across) * (1 - down)),
        (1, across * (1 - down)),
        (BANK_SIZE_PX, (1 - across) * down),
        (BANK_SIZE_PX + 1, across * down),
    ):
        behind += weight[..., None] * flat.index_select(0, (first + offset).flatten()).view_as(behind)
    behind = (behind * gain[:, None, None]).permute(0, 3, 1, 2)
    return (drawn[:, :3] + (1.0 - drawn[:, 3:4]) * behind).clamp_min(0.0)


def lay_before_compiled(drawn: Float[ndarray, "H W 4"], backdrop: Backdrop) -> Float[ndarray, "H W 3"]:
    """``lay_before`` for one picture as the compiled shader gives it.

    Raises:
        MissingExtraError: numba is not installed.
    """
    out = np.zeros((*drawn.shape[:2], 3), np.float32)
    numbers = np.concatenate([backdrop.place.ravel(), backdrop.gain]).astype(np.float32)
    compiled(_lay)(drawn, backdrop_bank()[backdrop.picture].numpy(), numbers, out)
    return out


def _lay(drawn, bank, numbers, out):
    """The loop of ``lay_before_compiled``. For numba."""
    zero, one, last = np.float32(0.0), np.float32(1.0), np.float32(bank.shape[0] - 1)
    farthest = bank.shape[0] - 2
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            clear = one - drawn[row, column, 3]
            if clear <= zero:
                for k in range(3):
                    out[row, column, k] = max(drawn[row, column, k], zero)
                continue
            x, y = np.float32(column), np.float32(row)
            u = min(max(numbers[0] + numbers[1] * x + numbers[2] * y, zero), last)
            v = min(max(numbers[3] + numbers[4] * x + numbers[5] * y, zero), last)
            left, top = min(int(u), farthest), min(int(v), farthest)
            across, down = u - np.float32(left), v - np.float32(top)
            for k in range(3):
                upper = (one - across) * bank[top, left, k] + across * bank[top, left + 1, k]
                lower = (one - across) * bank[top + 1, left, k] + across * bank[top + 1, left + 1, k]
                behind = ((one - down) * upper + down * lower) * numbers[6 + k]
                out[row, column, k] = max(drawn[row, column, k] + clear * behind, zero)


def held_before(
    plan: ScenePlan, points: Float[ndarray, "V 2"], size: tuple[int, int], skin: Float[ndarray, "3"]
) -> tuple[Float[ndarray, "H W 3"], Float[ndarray, "H W"]]:
    """A flat thing (hand, cup, branch) somewhere over the face: its paint, and where it covers, 0..1.

    Args:
        plan: of the scene.
        points: where the face's vertices are in the picture, px.
        size: height and width of the picture.
        skin: linear albedo of hands.
    """
    lit = skin * plan.light.irradiance(np.array([[0.0, 0.2, 0.98]]))[0].clip(0.02)
    return held_object(stream(plan.seed, OBJECT_STREAM), points.min(0), points.max(0), size, lit)
