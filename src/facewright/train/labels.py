"""Labels by pooling (Tran et al. 2017, section 3.2): one code for all photographs of a person, out of fits of each.

gamma = sum of w_i gamma_i, where w_i is how much the landmarks of photo i are to be trusted, over the sum of that.
Every photograph of the person is then a sample with this code: what differs among them is what a network must not see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import FacewrightError, TrainingDataError
from facewright.files import natural_order
from facewright.fit import FitSettings
from facewright.photo import read_photo
from facewright.pipeline.batch import PHOTO_SUFFIXES
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.identity import identity_descriptors
from facewright.pipeline.reconstruction import Reconstruction
from facewright.regress.cnet import aggregated
from facewright.regress.identity import descriptor_distances
from facewright.train.label_settings import OUTLIER, LabelSettings
from facewright.train.make import Rejection
from facewright.train.prepare import LiftingHead, PrepareSettings, mesh_trust, photo_card, prepared_face
from facewright.train.samples import DataCard, TrainingSample

TRAN_FIT = FitSettings(id_sigma=1.0, tex_sigma=2.0**0.5, exp_sigma=0.8, blurs_px=(2.0, 1.0, 0.5))
"""The published fit as far as ours has its parts: points before pixels, light and albedo before everything, and an
albedo of twice the variance that shape is given (priors of 0.25 and 0.5)."""
LEAST_OTHERS = 2
"""Photos beside one, from which it can be said that the one shows somebody else."""


@dataclass(frozen=True)
class Fitted:
    """A photo with its fit.

    Attributes:
        key: of the sample.
        face: what was found.
        sample: cut out of the photo.
        confidence: how much its landmarks are to be trusted, 0..1.
    """

    key: str
    face: Reconstruction
    sample: TrainingSample
    confidence: float


@dataclass(frozen=True)
class PersonSampler:
    """Makes the samples of one person, in any process.

    Attributes:
        folders: of each person, by name.
        settings: how.
    """

    folders: Mapping[str, Path]
    settings: LabelSettings

    def __call__(self, name: str) -> list[TrainingSample | Rejection]:
        """The usable photos of a person with their pooled code, and what was left out.

        Raises:
            TrainingDataError: too few photos are usable.
        """
        flow, _ = _parts(self.settings)
        found, rejected = list[Fitted](), list[TrainingSample | Rejection]()
        paths = photos_of(self.folders[name])
        for path in paths:
            result = self._fitted(flow, f"{name}/{path.name}", path)
            if isinstance(result, Fitted):
                found.append(result)
            else:
                rejected.append(result)
        strangers = outliers([fitted.face for fitted in found], self.settings.same_person)
        kept = [fitted for place, fitted in enumerate(found) if place not in strangers]
        for place, distance in strangers.items():
            detail = f"expected a distance below {self.settings.same_person:g} to most others, received {distance:.2f}"
            rejected.append(Rejection(found[place].key, OUTLIER, detail))
        if len(kept) < self.settings.least_photos:
            reasons = sorted({f"{entry.reason}: {entry.detail}" for entry in rejected if isinstance(entry, Rejection)})
            raise TrainingDataError(
                f"expected {self.settings.least_photos} or more usable photos in {self.folders[name]}, found "
                f"{len(kept)} of {len(paths)}" + (f" ({'; '.join(reasons)[:300]})" if reasons else "")
            )
        person = list(self.folders).index(name)
        return [*labelled(kept, person), *rejected]

    def _fitted(self, flow: Reconstructor, key: str, path: Path) -> Fitted | Rejection:
        """One photo; its largest face is the person's."""
        _, head = _parts(self.settings)
        try:
            photo = read_photo(path)
            face = flow.faces_in(photo, faces="largest")[0]
            yaw = float(torch.rad2deg(face.pose.angles[0, 1]))
            sample = prepared_face(
                key, photo, face.detection, None, None, head, PrepareSettings(self.settings.crop_size)
            )
        except FacewrightError as error:
            return Rejection(key, type(error).__name__, str(error))
        if isinstance(sample, Rejection):
            return sample
        return Fitted(key, face, sample, mesh_trust(face.detection.mesh_score, yaw))


@cache
def _parts(settings: LabelSettings) -> tuple[Reconstructor, LiftingHead]:
    """What all people share, once a process."""
    fit = TRAN_FIT if settings.method == "fit" else None
    flow = load_reconstructor(method=settings.method, face_model=settings.face_model, fit=fit)
    if flow.estimator.face_model is None:
        raise TrainingDataError(f"expected a --method that finds coefficients, received {settings.method!r}")
    lifting = load_reconstructor(method="fit").estimator.face_model
    assert lifting is not None
    return flow, LiftingHead.of(lifting)


def labelled(fitted: Sequence[Fitted], person: int) -> list[TrainingSample]:
    """Samples whose shape and albedo are the person's; expression, pose and light stay those of each fit.

    Args:
        fitted: photos of one person.
        person: number of who it is.

    Raises:
        TrainingDataError: no photo is to be trusted at all.
    """
    faces = [entry.face.coefficients for entry in fitted]
    confidence = torch.tensor([entry.confidence for entry in fitted])
    shape = pooled_codes(torch.cat([face.id for face in faces]), confidence)[None]
    albedo = pooled_codes(torch.cat([face.tex for face in faces]), confidence)[None]
    layout = fitted[0].face.face_model.layout
    return [
        replace(
            entry.sample,
            truth=layout.pack(replace(face, id=shape, tex=albedo))[0].detach().cpu().numpy(),
            person=person,
        )
        for entry, face in zip(fitted, faces, strict=True)
    ]


def pooled_codes(codes: Float[Tensor, "N K"], confidence: Float[Tensor, " N"]) -> Float[Tensor, " K"]:
    """One code of many: gamma = sum of w_i gamma_i with w_i = c_i over the sum of c.

    One photo's code comes back as it is; the order of the photos does not show; a photo of confidence 0 has no say.

    Args:
        codes: of each photo.
        confidence: of each, 0 or more.

    Raises:
        TrainingDataError: no photo, or none of a confidence above 0.
    """
    if len(codes) == 0 or not bool((confidence >= 0).all()) or not float(confidence.sum()) > 0:
        raise TrainingDataError(f"expected photos of which one is trusted at all, received {confidence.tolist()}")
    return aggregated(codes, confidence[:, None].expand_as(codes))


def outliers(faces: Sequence[Reconstruction], same_person: float) -> dict[int, float]:
    """Photos that show somebody else, by place, with the median distance to all others.

    Args:
        faces: of what should be one person.
        same_person: distance of one person's.
    """
    if len(faces) <= LEAST_OTHERS:
        return {}
    seen = identity_descriptors(faces)
    return strange(descriptor_distances(seen, seen), same_person)


def strange(distances: Float[Tensor, "N N"], same_person: float) -> dict[int, float]:
    """Places whose median distance to all others is large, while that of most is not; with that distance.

    Where most are far from each other nobody can say who the stranger is, and there is none.

    Args:
        distances: of all pairs.
        same_person: distance below which two are of one person.
    """
    count = len(distances)
    medians = [float(distances[k, [j for j in range(count) if j != k]].median()) for k in range(count)]
    near = sum(median < same_person for median in medians)
    return {k: median for k, median in enumerate(medians) if median >= same_person} if 2 * near > count else {}


def person_folders(paths: Sequence[Path]) -> dict[str, Path]:
    """Folders of people: those given that hold photos, and those inside of the others; by name.

    Raises:
        TrainingDataError: no folder, or two people of one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise TrainingDataError(f"expected a folder of people, or of photos of one, received {path}")
        inside = natural_order(entry for entry in path.iterdir() if entry.is_dir())
        for folder in [path] if photos_of(path) or not inside else inside:
            if folder.name in found:
                raise TrainingDataError(
                    f"expected people of different names, received {found[folder.name]} and {folder}"
                )
            found[folder.name] = folder
    if not found:
        raise TrainingDataError("expected folders of photos, a person each, received none")
    return found


def photos_of(folder: Path) -> list[Path]:
    """Photographs in a folder, in natural order."""
    inside = (path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())
    return natural_order(path for path in inside if not path.name.startswith("."))


def label_card(settings: LabelSettings) -> DataCard:
    """What data of a ``PersonSampler`` are."""
    flow, _ = _parts(settings)
    model = flow.estimator.face_model
    assert model is not None
    return replace(
        photo_card(PrepareSettings(settings.crop_size)),
        face_model=model.name,
        face_model_edition=model.edition,
        layout=model.layout,
        source=f"photographs of people; codes of single fits ({settings.method}), pooled by the trust in their points",
    )
