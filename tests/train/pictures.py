"""Training batches of toy heads, drawn on demand: what loops are tested on without any data on disk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients
from facewright.train.objective import draw_faces, project_landmarks, repeated
from facewright.train.samples import TrainingBatch


def some_faces(model: FaceModel, count: int, seed: int = 0) -> FaceCoefficients:
    """People of the toy model, turned and lit in different ways."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    faces = model.layout.zeros(count)
    return replace(
        faces,
        id=0.7 * normal(*faces.id.shape),
        exp=0.5 * normal(*faces.exp.shape),
        tex=0.7 * normal(*faces.tex.shape),
        angles=0.2 * normal(count, 3),
        sh=0.15 * normal(count, 9, 1) + 0.03 * normal(count, 9, 3),
        translation=0.03 * normal(count, 3),
    )


def draw_batch(
    model: FaceModel, faces: FaceCoefficients, size: int, known: torch.Tensor, keys: list[str] | None = None
) -> TrainingBatch:
    """Pictures of faces with all that is known about them; ``known`` says which come with truth."""
    count = len(faces.id)
    camera = repeated(crop_camera(size=size, like=faces.id), count)
    drawn = draw_faces(model, faces, camera)
    ones = torch.ones(count, 68, dtype=faces.id.dtype)
    truth = model.layout.unpack(model.layout.pack(faces) * known[:, None])
    return TrainingBatch(
        drawn.srgb.clamp(0.0, 1.0),
        (drawn.region > 0).to(drawn.srgb),
        project_landmarks(model, faces, camera),
        ones,
        torch.zeros(count, 468, 2, dtype=faces.id.dtype),
        torch.zeros(count, 468, dtype=faces.id.dtype),
        truth,
        known,
        keys or [f"toy-{k}" for k in range(count)],
    )


@dataclass(frozen=True)
class ToyStream:
    """An endless stream of the same few batches; every other picture has its truth.

    Attributes:
        model: who is photographed.
        size: of the crops, px.
        batch_size: over all processes.
        batches_in_turn: after so many the first comes again.
        rank: of this process.
        world: number of processes.
    """

    model: FaceModel
    size: int
    batch_size: int = 8
    batches_in_turn: int = 2
    rank: int = 0
    world: int = 1

    def batch(self, step: int) -> TrainingBatch:
        """This process's pictures of a step."""
        number = step % self.batches_in_turn
        faces = some_faces(self.model, self.batch_size, seed=number)
        known = torch.arange(self.batch_size) // 2 % 2 == 0
        whole = draw_batch(self.model, faces, self.size, known)
        mine = slice(self.rank, None, self.world)
        layout = self.model.layout
        return TrainingBatch(
            whole.crops[mine],
            whole.skin[mine],
            whole.landmarks[mine],
            whole.landmark_weights[mine],
            whole.points[mine],
            whole.point_weights[mine],
            layout.unpack(layout.pack(whole.truth)[mine]),
            whole.truth_known[mine],
            whole.keys[mine],
        )

    def batches(self, from_step: int = 0) -> Iterator[TrainingBatch]:
        """From a step on."""
        step = from_step
        while True:
            yield self.batch(step)
            step += 1
