"""Who is who in an album: copies of one picture, faces that say too little, and which faces are of one person."""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.geometry.frames import scale_of
from facewright.pipeline.album.observations import Observation
from facewright.regress.cnet import likeness
from facewright.regress.identity import SAME_PERSON_DISTANCE, descriptor_distances

SAME_PERSON = SAME_PERSON_DISTANCE
"""Largest mean distance of two groups of faces that are taken for one person's: the identity network's threshold."""
STEEPNESS = 25.0
"""Evidence by a step of distance, nats: only how it compares with the C-Net's matters, where both are near 0."""
CERTAIN = 0.4
"""Distance of two faces from which on nobody else is asked."""
SURELY, NEAR = 0.5, 0.05
"""Mean distance to the others of its group up to which a face is surely one of them; how far beyond the threshold
groups are that may be one person all the same."""
MOST_NAMED = 5
"""Cases of doubt that are told one by one."""
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


def distances(observations: Sequence[Observation]) -> Float[Tensor, "N N"]:
    """Of all pairs of faces by the identity network: below ``SAME_PERSON`` it is one person.

    Raises:
        ValueError: a face without a descriptor.
    """
    found = [seen.descriptor for seen in observations]
    if any(descriptor is None for descriptor in found):
        raise ValueError("expected descriptors of all faces, received a face without; look at it with a recogniser")
    known = torch.stack([descriptor for descriptor in found if descriptor is not None])
    return descriptor_distances(known, known)


def evidence(observations: Sequence[Observation], most: float = SAME_PERSON) -> Float[Tensor, "E N N"]:
    """Of all pairs of faces for one person over two: above 0 where they are likelier one's than two people's.

    First by the identity network, which has seen photographs alone; then by the C-Net's codes where there are some,
    which have seen drawings alone. Each knows people whom the other mixes up, so both must agree, but where the first
    is sure (``CERTAIN``).

    Args:
        observations: with descriptors.
        most: distance of two descriptors at which the first is 0.
    """
    away = distances(observations)
    found = [STEEPNESS * (most - away)]
    codes = [seen.who for seen in observations if seen.who is not None]
    if len(codes) == len(observations):
        found.append(torch.maximum(likeness(torch.stack(codes)), STEEPNESS * (CERTAIN - away)))
    return torch.stack(found)


def distances_to_others(observations: Sequence[Observation]) -> list[float]:
    """Mean distance of each face to the others of its group."""
    found = distances(observations)
    return ((found.sum(1) - found.diagonal()) / max(1, len(observations) - 1)).tolist()


def likest(
    reference: Observation, groups: Sequence[Sequence[Observation]], most: float = SAME_PERSON
) -> tuple[int, float]:
    """The group that a face is likest to, and the evidence for that: joined from 0 on."""
    found = [float(evidence([reference, *group], most)[:, 0, 1:].mean(-1).amin()) for group in groups]
    best = max(range(len(groups)), key=lambda k: found[k])
    return best, found[best]


def grouped(observations: Sequence[Observation], most: float = SAME_PERSON) -> list[list[int]]:
    """Faces by person, the most photos first: the two likest groups are joined as long as they are alike enough.

    Groups are as alike as their faces are on average (average linkage), by the evidence that says so least. Faces of
    one photo are never of one person.

    Args:
        observations: faces.
        most: largest mean distance of the descriptors of two groups that are joined.
    """
    if not observations:
        return []
    photos = [seen.photo for seen in observations]
    sums, apart = evidence(observations, most).double(), _of_one_photo(photos)
    sizes = torch.ones(len(photos)).to(sums)
    groups: dict[int, list[int]] = {k: [k] for k in range(len(photos))}
    gone = torch.eye(len(photos), dtype=torch.bool)
    while len(groups) > 1:
        alike = (sums / (sizes[:, None] * sizes[None])).amin(0)
        alike = torch.where((apart | gone).to(alike.device), -torch.inf, alike)
        best = int(alike.argmax())
        if not float(alike.flatten()[best]) >= 0.0:
            break
        first, second = sorted(divmod(best, len(photos)))
        groups[first] += groups.pop(second)
        sums[:, first] += sums[:, second]
        sums[:, :, first] += sums[:, :, second]
        sizes[first] += sizes[second]
        apart[first] |= apart[second]
        apart[:, first] |= apart[:, second]
        gone[second], gone[:, second] = True, True
    return sorted((sorted(group) for group in groups.values()), key=lambda group: (-len(group), group[0]))


def in_doubt(observations: Sequence[Observation], groups: Sequence[Sequence[int]], most: float) -> list[str]:
    """What of a sorting is no more than likely, in words: faces far from the others of their group, groups near by.

    Args:
        observations: faces.
        groups: of ``grouped``.
        most: as there.
    """
    found, far = list[str](), distances(observations)
    for number, group in enumerate(groups):
        own = distances_to_others([observations[k] for k in group]) if len(group) > 1 else []
        unsure = [f"{observations[k].photo} ({away:.2f})" for k, away in zip(group, own, strict=False) if away > SURELY]
        if unsure:
            more = f" and {len(unsure) - MOST_NAMED} more" if len(unsure) > MOST_NAMED else ""
            found.append(
                f"joined as person {number + 1} though far from the others (distance; surely one person below "
                f"{SURELY:g}): {', '.join(unsure[:MOST_NAMED])}{more}; look at the sheet; if it shows several people, "
                "give --reference, a lower --same-person, or a folder for each"
            )
    near = []
    for i, j in combinations(range(len(groups)), 2):
        away = float(far[list(groups[i])][:, list(groups[j])].mean())
        first, second = ([observations[k].photo for k in groups[n]] for n in (i, j))
        if away < most + NEAR and not set(first) & set(second):  # those of one photo are two people
            near.append((away, f"{_some(first)} and {_some(second)} ({away:.2f})"))
    named = [words for _, words in sorted(near)[:MOST_NAMED]]
    if named:
        more = f"; and {len(near) - len(named)} more pairs" if len(near) > len(named) else ""
        found.append(
            f"kept apart though they may be one person (distance): {'; '.join(named)}{more}; if they are, give them a "
            "folder of their own, or a higher --same-person"
        )
    return found


def _some(photos: Sequence[str]) -> str:
    return photos[0] if len(photos) == 1 else f"{photos[0]} with {len(photos) - 1} more"


def _of_one_photo(photos: Sequence[str]) -> Bool[Tensor, "N N"]:
    numbers = {photo: k for k, photo in enumerate(photos)}
    which = torch.tensor([numbers[photo] for photo in photos])
    return (which[:, None] == which[None]) & ~torch.eye(len(photos), dtype=torch.bool)
