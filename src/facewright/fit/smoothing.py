"""Numbers that change smoothly with time, out of answers with stated doubts: a Rauch-Tung-Striebel smoother.

Each number moves with a velocity that is pushed at random (white-noise acceleration of intensity q), and is seen with
an error of variance r w, where w is what the one who saw it states. How fast things move against how much answers
tremble, q / r, is nobody's setting: it is the likeliest of ``RATES`` for the clip itself. Steps may be of any length,
so that clips of varying rate and frames without an answer need nothing of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

RATES = np.logspace(0.0, 6.0, 13)
"""Squared accelerations over squared errors, 1 / s^3, among which the likeliest is taken."""
USUAL_RATE = 1e3
"""What a causal filter begins with."""
USUAL_FOR = 20.0
"""Answers that the usual rate counts for."""
SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True)
class _State:
    """Means of value and velocity, and their covariance."""

    x: Float[ndarray, "*G P"]
    v: Float[ndarray, "*G P"]
    xx: Float[ndarray, "*G P"]
    xv: Float[ndarray, "*G P"]
    vv: Float[ndarray, "*G P"]

    def after(self, dt: float, q: Float[ndarray, "*G P"]) -> "_State":
        """Some time later."""
        return _State(
            self.x + dt * self.v,
            self.v,
            self.xx + 2.0 * dt * self.xv + dt * dt * self.vv + q * dt**3 / 3.0,
            self.xv + dt * self.vv + q * dt * dt / 2.0,
            self.vv + q * dt,
        )

    def told(self, y: Float[ndarray, " P"], w: Float[ndarray, " P"]) -> tuple["_State", Float[ndarray, "*G P"]]:
        """What an answer makes of it, and twice the answer's negative log likelihood, whose error has the scale 1."""
        spread = self.xx + w
        gain_x, gain_v = self.xx / spread, self.xv / spread
        off = y - self.x
        seen = _State(
            self.x + gain_x * off,
            self.v + gain_v * off,
            self.xx * (1.0 - gain_x),
            self.xv * (1.0 - gain_x),
            self.vv - gain_v * self.xv,
        )
        return seen, np.stack([off * off / spread, np.log(spread)])

    def smoothed(self, before: "_State", later: "_State", dt: float) -> "_State":
        """This state in the light of the next one.

        Args:
            before: the next one before its own answer.
            later: the next one, smoothed.
            dt: time until then.
        """
        ax, av = self.xx + dt * self.xv, self.xv + dt * self.vv
        bx, bv = self.xv, self.vv
        det = np.maximum(before.xx * before.vv - before.xv**2, np.finfo(np.float64).tiny)
        # gain = covariance with the next state, times the inverse of that one's covariance
        c00, c01 = (ax * before.vv - bx * before.xv) / det, (bx * before.xx - ax * before.xv) / det
        c10, c11 = (av * before.vv - bv * before.xv) / det, (bv * before.xx - av * before.xv) / det
        dx, dv = later.x - before.x, later.v - before.v
        p00, p01, p11 = later.xx - before.xx, later.xv - before.xv, later.vv - before.vv
        return _State(
            self.x + c00 * dx + c01 * dv,
            self.v + c10 * dx + c11 * dv,
            self.xx + c00 * (c00 * p00 + c01 * p01) + c01 * (c00 * p01 + c01 * p11),
            self.xv + c10 * (c00 * p00 + c01 * p01) + c11 * (c00 * p01 + c01 * p11),
            self.vv + c10 * (c10 * p00 + c11 * p01) + c11 * (c10 * p01 + c11 * p11),
        )


def smooth(
    times_s: Float[Tensor, " N"],
    answers: Float[Tensor, "N P"],
    variances: Float[Tensor, "N P"],
    *,
    groups: Sequence[slice] = (),
    late: int | None = None,
) -> Float[Tensor, "N P"]:
    """The numbers as they probably were (Rauch, Tung & Striebel 1965), or as far as was known at the time.

    Args:
        times_s: of the answers, ascending.
        answers: what was seen.
        variances: how doubtful each is, up to a factor that is found.
        groups: columns that move alike; others are alone.
        late: None: all answers count for all times. Else those up to so many answers later alone, 0 or 1, and the rate
            is the likeliest by them.
    """
    if len(times_s) < 2:
        return answers
    times = times_s.double().cpu().numpy()
    y = answers.double().cpu().numpy()
    w = variances.double().cpu().numpy().clip(SMALLEST_VARIANCE)
    found = _smoothed(times, y, w, list(groups)) if late is None else _filtered(times, y, w, list(groups), late)
    return torch.from_numpy(found).to(answers)


def _begun(y: Float[ndarray, " P"], w: Float[ndarray, " P"], rates: Float[ndarray, "*G P"]) -> _State:
    """The first answer, and any velocity that a second of pushing might have given."""
    still = np.zeros_like(rates)
    return _State(y + still, still, w + still, still, w * (rates + 100.0))


def _shared(cost: Float[ndarray, "G P"], groups: list[slice]) -> Float[ndarray, "G P"]:
    """Costs of columns that move alike, added up."""
    cost = cost.copy()
    for columns in groups:
        cost[:, columns] = cost[:, columns].sum(1, keepdims=True)
    return cost


def _cost(sums: Float[ndarray, "2 G P"], count: int) -> Float[ndarray, "G P"]:
    """Twice the negative log likelihood with the likeliest scale of errors."""
    return count * np.log(np.maximum(sums[0], 1e-300) / count) + sums[1]


def _smoothed(
    times: Float[ndarray, " N"], y: Float[ndarray, "N P"], w: Float[ndarray, "N P"], groups: list[slice]
) -> Float[ndarray, "N P"]:
    # Errors are scaled to about one, so that variances and rates are of one size in all columns.
    w = w / w.mean(0)
    bank = np.broadcast_to(RATES[:, None], (len(RATES), y.shape[1]))
    state, sums = _begun(y[0], w[0], bank), np.zeros((2, *bank.shape))
    for k in range(1, len(times)):
        state, told = state.after(times[k] - times[k - 1], bank).told(y[k], w[k])
        sums += told
    rates = RATES[_shared(_cost(sums, len(times) - 1), groups).argmin(0)]
    before, after = [_begun(y[0], w[0], rates)], [_begun(y[0], w[0], rates)]
    for k in range(1, len(times)):
        before.append(after[-1].after(times[k] - times[k - 1], rates))
        after.append(before[-1].told(y[k], w[k])[0])
    found, later = np.zeros_like(y), after[-1]
    found[-1] = later.x
    for k in range(len(times) - 2, -1, -1):
        later = after[k].smoothed(before[k + 1], later, times[k + 1] - times[k])
        found[k] = later.x
    return found


def _filtered(
    times: Float[ndarray, " N"], y: Float[ndarray, "N P"], w: Float[ndarray, "N P"], groups: list[slice], late: int
) -> Float[ndarray, "N P"]:
    w = w / w[0]
    bank = np.broadcast_to(RATES[:, None], (len(RATES), y.shape[1]))
    far = np.abs(np.log(RATES / USUAL_RATE))[:, None]
    state, sums, columns = _begun(y[0], w[0], bank), np.zeros((2, *bank.shape)), np.arange(y.shape[1])
    found = y.copy()
    for k in range(1, len(times)):
        dt = times[k] - times[k - 1]
        expected = state.after(dt, bank)
        told, cost = expected.told(y[k], w[k])
        sums += cost
        best = (_shared(_cost(sums, k), groups) + far * USUAL_FOR / k).argmin(0)
        found[k] = told.x[best, columns]
        if late:
            found[k - 1] = state.smoothed(expected, told, dt).x[best, columns]
        state = told
    return found
