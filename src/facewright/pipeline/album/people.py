"""Who is who in an album: copies of one picture, faces that say too little, and which faces are of one person."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.geometry.frames import scale_of
from facewright.pipeline.album.observations import Observation
from facewright.regress.cnet import likeness

SAME_PERSON = -0.5
"""Likeness from which two groups of faces are taken for one person's, nats: a little evidence against it is borne, as
albums are mostly of one person. On drawn albums of two people, four photos each, it sorts pairs best."""
CODE_LINE = (0.38, 0.17)
"""Of the evidence by the cosine of two identity codes, where no C-Net was taught to tell people apart: fitted to the
answers of an R-Net about 1,536 drawn people. Crude (of pairs 31 % are told wrongly): name a --reference, or keep people
in folders of their own."""
COPY_LIKENESS = 0.995
"""Least correlation of the brightness of two crops that are one picture: saved again they stay above, frames of a clip
in which the head moves fall below."""
MOST_DOUBT = 0.02
"""Largest doubt of the network about its landmarks, as a share of the crop, of a face that is used: what R-Net needs to
take a candidate for a face."""
LEAST_EYES_PX, TURNED_DEG = 16.0, 45.0
"""Least distance between the eyes, px, of a face that is used; not asked of heads that are turned away further."""


def copies(observations: Sequence[Observation]) -> dict[int, int]:
    """Faces that are the same picture as another one (saved again, made smaller), and which that is: the largest."""
    small = [seen.thumbnail for seen in observations]
    sizes = [float(scale_of(seen.aligned.T_photo_crop)) for seen in observations]
    order = sorted(range(len(small)), key=lambda k: (-sizes[k], observations[k].photo, observations[k].face))
    kept: list[int] = []
    found: dict[int, int] = {}
    for k in order:
        others = (j for j in kept if observations[j].photo != observations[k].photo)
        same = next((j for j in others if float((small[j] * small[k]).mean()) >= COPY_LIKENESS), None)
        if same is None:
            kept.append(k)
        else:
            found[k] = same
    return found


def doubtful(observations: Sequence[Observation]) -> dict[int, str]:
    """Faces that say too little to be used, and why; never all of them."""
    found: dict[int, str] = {}
    for k, seen in enumerate(observations):
        eyes = float((seen.detection.five[0] - seen.detection.five[1]).norm())
        if seen.doubt > MOST_DOUBT:
            found[k] = f"expected landmarks sure to {MOST_DOUBT:.0%} of the crop, received a doubt of {seen.doubt:.1%}"
        elif eyes < LEAST_EYES_PX and abs(seen.yaw_deg) < TURNED_DEG:
            found[k] = f"expected {LEAST_EYES_PX:.0f} px between the eyes, received {eyes:.0f}"
    return {} if len(found) == len(observations) else found


def pairs(observations: Sequence[Observation]) -> Float[Tensor, "N N"]:
    """Evidence, of all pairs of faces, for one person over that for two, nats."""
    codes = [seen.who for seen in observations]
    if all(code is not None for code in codes):
        return likeness(torch.stack([code for code in codes if code is not None]))
    directions = torch.nn.functional.normalize(torch.stack([seen.start.id[0] for seen in observations]), dim=-1)
    return likeness(torch.cat([directions, directions.new_tensor(CODE_LINE).expand(len(directions), 2)], -1))


def likeness_to_others(observations: Sequence[Observation]) -> list[float]:
    """Mean evidence of each face with the others of its group, nats; below 0 it may well be of somebody else."""
    evidence = pairs(observations)
    others = max(1, len(observations) - 1)
    return ((evidence.sum(1) - evidence.diagonal()) / others).tolist()


def likest(reference: Observation, groups: Sequence[Sequence[Observation]]) -> tuple[int, float]:
    """The group that a face is likest to, and the mean evidence for that, nats."""
    evidence = [float(pairs([reference, *group])[0, 1:].mean()) for group in groups]
    best = max(range(len(groups)), key=lambda k: evidence[k])
    return best, evidence[best]


def grouped(observations: Sequence[Observation], least: float = SAME_PERSON) -> list[list[int]]:
    """Faces by person, the most photos first: the two likest groups are joined as long as they are alike enough.

    Groups are as alike as their faces are on average (average linkage). Faces of one photo are never of one person.

    Args:
        observations: faces.
        least: likeness from which groups are joined.
    """
    if not observations:
        return []
    photos = [seen.photo for seen in observations]
    evidence, apart = pairs(observations).double(), _of_one_photo(photos)
    sizes = torch.ones(len(photos)).to(evidence)
    groups: dict[int, list[int]] = {k: [k] for k in range(len(photos))}
    gone = torch.eye(len(photos), dtype=torch.bool)
    while len(groups) > 1:
        mean = evidence / (sizes[:, None] * sizes[None])
        mean = torch.where((apart | gone).to(mean.device), -torch.inf, mean)
        best = int(mean.argmax())
        if not float(mean.flatten()[best]) >= least:
            break
        first, second = sorted(divmod(best, len(photos)))
        groups[first] += groups.pop(second)
        evidence[first] += evidence[second]
        evidence[:, first] += evidence[:, second]
        sizes[first] += sizes[second]
        apart[first] |= apart[second]
        apart[:, first] |= apart[:, second]
        gone[second], gone[:, second] = True, True
    return sorted((sorted(group) for group in groups.values()), key=lambda group: (-len(group), group[0]))


def _of_one_photo(photos: Sequence[str]) -> Bool[Tensor, "N N"]:
    numbers = {photo: k for k, photo in enumerate(photos)}
    which = torch.tensor([numbers[photo] for photo in photos])
    return (which[:, None] == which[None]) & ~torch.eye(len(photos), dtype=torch.bool)
