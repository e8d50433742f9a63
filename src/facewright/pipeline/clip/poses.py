"""Expression and pose of a known person in each frame, all before one camera; light on his own albedo.

The network's camera follows the face: each crop has its own. Here all frames of a person get one, so that what moves is
the head.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit import Evidence, FitPlan, FitSettings, PointEvidence, around, fit_face, prior_of
from facewright.fit.motion import LinearPoints, LinearShape
from facewright.fit.parameters import Unknowns
from facewright.fit.points import point_terms
from facewright.fit.prior import held_fast
from facewright.fit.solver import Prior, normal_equations
from facewright.geometry.frames import CAMERA_DISTANCE_DM, CROP_FOCAL_PX, CROP_SIZE
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.geometry.turning import turned_light, turned_pose
from facewright.pipeline.album.person import AlbumMethod
from facewright.pipeline.clip.sightings import Sighting
from facewright.pipeline.evidence import BELIEF_FLOOR_PX, BELIEF_TERM, DENSE_WRONG_PX, Seen, dense_evidence
from facewright.records import Camera, CoefficientLayout, DenseBelief, FaceCoefficients, Pose, TensorRecord
from facewright.render.lighting import sh_basis, sh_with_offset

ITERATIONS = 6
"""Linearisations of a frame's fit, which begins at the network's answer."""
LIT_VERTICES = 400
"""Vertices by which light is carried over from one albedo to another."""
LIGHT_RIDGE = 0.02
"""Of the carried light, on its difference from the network's: what the face's normals say nothing of stays."""


@dataclass(frozen=True)
class FramePose(TensorRecord):
    """A person in a frame before his camera.

    Attributes:
        exp: expression.
        rotation: of the head.
        translation: dm.
        sh: light.
        exp_variance: how doubtful each is.
        turn_variance: of the rotation, radians^2 about the world's axes.
        translation_variance: dm^2.
    """

    exp: Float[Tensor, " E"]
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]
    sh: Float[Tensor, "9 3"]
    exp_variance: Float[Tensor, " E"]
    turn_variance: Float[Tensor, "3"]
    translation_variance: Float[Tensor, "3"]


class PersonPoser:
    """Finds a person's pose and expression, frame by frame.

    Args:
        method: plan, settings and the points that the network sees.
        identity: with albedo.
        camera: of all frames.
    """

    def __init__(self, method: AlbumMethod, identity: FaceCoefficients, camera: Camera) -> None:
        self.method, self.identity, self.camera = method, identity, camera
        model, plan = method.face_model, method.plan
        layout = CoefficientLayout(0, plan.layout.exp, 0)
        nothing = plan.shape.mean.new_zeros(len(plan.shape.mean), 3, 0)
        neutral = plan.shape.mean + plan.shape.id_basis @ identity.id[0]
        shape = LinearShape(neutral, nothing, plan.shape.exp_basis)
        self._plan = FitPlan(plan.face_model, layout, plan.exp_is_box, shape, plan.faces)
        settings = replace(method.fit, point_rounds=1, point_iterations=ITERATIONS)
        self._settings: FitSettings = settings
        seen = plan.ibug68 if method.seen is None else method.seen.points
        if seen is None:
            raise ReconstructionError(f"face model {model.name!r} has no iBUG-68 table; import it with landmarks")
        self._points = LinearPoints(
            seen.mean + seen.basis[..., : plan.layout.id] @ identity.id[0], seen.basis[..., plan.layout.id :]
        )
        face = model.annotations.regions.get("face")
        chosen = torch.arange(len(neutral)) if face is None else (face > 0.5).nonzero()[:, 0].cpu()
        self._lit = chosen[:: max(1, len(chosen) // LIT_VERTICES)].to(neutral.device)
        self._normals = vertex_normals(neutral[None], plan.faces)[0, self._lit]
        self._albedo = model.albedo(identity.tex)[0, self._lit]

    def pose(self, seen: Sighting) -> FramePose:
        """The person in a frame.

        Args:
            seen: in it, on the method's device.

        Raises:
            ReconstructionError: the optimum is not finite.
        """
        unknowns = self._plan.unknowns
        start = self._start(seen)
        prior = held_fast(prior_of(self._plan, self._settings), unknowns.sh, unknowns.values(start))
        doubts = self.method.fit.doubt_scale * seen.exp_sigma
        prior = around(prior, start, unknowns, id=1.0, exp=doubts if len(doubts) else self.method.fit.start_exp_sigma)
        evidence = Evidence(self.camera, (self._evidence(seen),))
        found = fit_face(evidence, self._plan, prior, start, self._settings).coefficients
        variance = self._variance(evidence, found, prior, unknowns)
        rotation = rotation_from_angles(found.angles[0])
        return FramePose(
            found.exp[0],
            rotation,
            found.translation[0],
            self._light(seen, rotation),
            variance[unknowns.exp],
            variance[unknowns.turn],
            variance[unknowns.move],
        )

    def _variance(
        self, evidence: Evidence, found: FaceCoefficients, prior: Prior, unknowns: Unknowns
    ) -> Float[Tensor, " P"]:
        terms = point_terms(evidence.points_in(found, self._plan), self.camera, unknowns, found)
        hessian = normal_equations(terms, prior, unknowns.values(found))[0][unknowns.geometry, unknowns.geometry]
        hessian = hessian.double()
        hessian = hessian + 1e-9 * hessian.diagonal().max() * torch.eye(len(hessian)).to(hessian)
        return torch.cholesky_inverse(torch.linalg.cholesky(hessian)).diagonal().to(found.exp)

    def _evidence(self, seen: Sighting) -> PointEvidence:
        settings = self.method.fit
        side = float(seen.camera[0]) * CROP_SIZE / CROP_FOCAL_PX  # of the crop, in pixels of the frame
        if self.method.seen is None or not len(seen.depth_px):
            floor = BELIEF_FLOOR_PX * side / CROP_SIZE
            precision = settings.belief_share / (seen.sigma_px.square() + floor**2)
            return PointEvidence(
                BELIEF_TERM, self._points, seen.points_px, precision, wrong_px=DENSE_WRONG_PX * side / CROP_SIZE
            )
        nothing = seen.sigma_px.new_zeros(0)
        belief = DenseBelief(
            seen.points_px, seen.sigma_px, seen.depth_px, seen.depth_sigma_px, nothing, nothing, nothing
        )
        return replace(dense_evidence(Seen(self.method.seen, belief), round(side), settings), points=self._points)

    def _start(self, seen: Sighting) -> FaceCoefficients:
        """The network's answer, carried from its camera to the person's: the same place, size and view."""
        pose = Pose(seen.angles[None], seen.translation[None])
        pose = turned_pose(pose, seen.roll) if seen.roll else pose
        focal, cx, cy = seen.camera
        move, camera = pose.translation[0], self.camera
        away = CAMERA_DISTANCE_DM - move[2]
        column, row = cx + focal * move[0] / away, cy - focal * move[1] / away
        distance = away * camera.focal_px[0] / focal
        place = torch.stack(
            [
                (column - camera.cx[0]) * distance / camera.focal_px[0],
                -(row - camera.cy[0]) * distance / camera.focal_px[0],
                camera.distance_dm - distance,
            ]
        )
        before = _from_axis(torch.stack([-move[0], -move[1], away]))
        after = _from_axis(torch.stack([-place[0], -place[1], distance]))
        rotation = after @ before.T @ rotation_from_angles(pose.angles[0])
        nothing = seen.exp.new_zeros(1, 0)
        return FaceCoefficients(
            nothing, seen.exp[None], nothing, angles_from_rotation(rotation)[None], seen.sh[None] * 0.0, place[None]
        )

    def _light(self, seen: Sighting, rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "9 3"]:
        """Under which the person's albedo looks as the network's own albedo does under its light."""
        model = self.method.face_model
        sh = turned_light(seen.sh[None], seen.roll)[0] if seen.roll else seen.sh
        other = model.mean_albedo[self._lit] + model.albedo_basis[self._lit] @ seen.tex
        basis = sh_basis(self._normals @ rotation.T)
        ridge = math.sqrt(LIGHT_RIDGE * len(basis)) * torch.eye(9).to(basis)
        given = sh_with_offset(sh)
        channels = []
        for c in range(3):
            wanted = other[:, c] * (basis @ given[:, c])
            rows = torch.cat([self._albedo[:, c, None] * basis, ridge])
            target = torch.cat([wanted, ridge @ given[:, c]])
            channels.append(torch.linalg.solve(rows.T @ rows, rows.T @ target))
        return torch.stack(channels, 1) - (given - sh)


def _from_axis(toward: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The shortest turn that takes the camera's axis to a direction before it."""
    x, y, z = (toward / toward.norm()).unbind()
    share = 1.0 / (1.0 + z)
    return torch.stack(
        [
            torch.stack([1.0 - share * x * x, -share * x * y, x]),
            torch.stack([-share * x * y, 1.0 - share * y * y, y]),
            torch.stack([-x, -y, z]),
        ]
    )
