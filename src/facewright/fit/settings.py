"""Weights of a fit's energy, and how long it goes on."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FitSettings:
    """Weights of the energy. All are inverse variances of what they weigh, so that they can be reasoned about.

    Attributes:
        point_sigma_px: error of one trusted detector point in the 224 crop, correlations counted in: points err
            together, so each says less than its scatter suggests.
        photometric_observations: how many independent observations the whole picture counts for (neighbouring
            triangles err together); their noise is estimated from the residual before each round. 0: points only.
        noise_floor: least noise of a colour, sRGB-coded 0..1.
        exp_slope: sparse prior on bounded expressions: cost of a full expression.
        exp_sigma: scale of the expression coefficients, 0 holds them at zero; None: 0.8 of bounded ones (weights in
            0..1), 1 of standard-normal ones.
        tex_sigma: scale of the albedo coefficients; 0 holds them.
        id_sigma: scale of the identity coefficients; 0 holds them.
        light_sigma: scale of the SH coefficients around the default light; 0 holds them.
        blurs_px: sigma of the photo's blur per photometric round, coarse to fine, for the 224 crop.
        five_share: say of the detector's five points beside a network's landmarks, of their own precision.
        belief_share: the same for a network's landmarks.
        dense_share: the same for each of the many points of a network that sees more: neighbours err together.
        expressive_share: the same for those on the rims of lids and lips, which are few for what they decide.
        dense_floor_px: least error of such a point in the 224 crop, however sure the network is: they err together.
        expressive_floor_px: the same for those on the rims of lids and lips, whose neighbours are across an opening.
        start_id_sigma: scale of the identity coefficients around those of a network that states no doubts.
        start_exp_sigma: the same for expressions.
        doubt_scale: factor on the doubts that a network states about its coefficients.
        point_rounds: how often the points are weighed anew, by the pose found so far, before the pixels are looked at.
        point_iterations: linearisations per round on points alone.
        refine_iterations: linearisations per photometric round of a ``refining`` fit.
        photometric_iterations: linearisations per photometric round.
    """

    point_sigma_px: float = 5.0
    photometric_observations: float = 60.0
    noise_floor: float = 0.01
    exp_slope: float = 0.3
    exp_sigma: float | None = None
    tex_sigma: float = 1.0
    id_sigma: float = 1.0
    light_sigma: float = 0.5
    blurs_px: tuple[float, ...] = (0.7, 0.5)
    five_share: float = 1.0
    belief_share: float = 0.4
    dense_share: float = 0.1
    expressive_share: float = 0.7
    dense_floor_px: float = 1.5
    expressive_floor_px: float = 0.5
    start_id_sigma: float = 0.6
    start_exp_sigma: float = 0.15
    doubt_scale: float = 1.0
    point_rounds: int = 2
    point_iterations: int = 25
    refine_iterations: int = 2
    photometric_iterations: int = 6

    def refining(self, rounds: int) -> "FitSettings":
        """Settings for a start that is nearly right: a few steps on points, then so many rounds on sharp pixels."""
        return replace(
            self,
            point_rounds=1,
            point_iterations=4,
            photometric_iterations=self.refine_iterations,
            blurs_px=self.blurs_px[-1:] * rounds,
        )
