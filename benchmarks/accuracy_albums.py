"""How well several photos of one person give one identity: alone, averaged, weighed, refined together.

    python benchmarks/accuracy_albums.py stored DATA... [--cnet F] [--scalar F] [--plot confidence.png]
    python benchmarks/accuracy_albums.py drawn --out FOLDER [--people 24 --photos 10]

``stored`` takes drawn training data (``facewright train synthesize``) of people that neither network has learnt from;
its photos are crops as they are stored, so that thousands of people can be measured. ``drawn`` draws albums of held-out
people and sends them through the whole flow, joint refinement and merged texture included; what is drawn and looked at
stays in FOLDER, and the same command goes on where it was.

Errors are root-mean-square distances over points of the face after the best rigid motion and scale, mm: what identity
coefficients can be blamed for. Intervals are 95 % bootstrap intervals over people.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.evaluate.bootstrap import Interval, bootstrap_interval
from facewright.evaluate.verification import roc_curve
from facewright.export.png import write_png
from facewright.geometry.color import albedo_from_display
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.album.merged_texture import MergedTexture, TextureMerger
from facewright.pipeline.album.observations import Observation, crop_of, sharpness
from facewright.pipeline.album.observing import digest_of, observed
from facewright.pipeline.album.people import SAME_PERSON, distances, evidence, grouped, in_doubt
from facewright.pipeline.album.person import AlbumMethod, face_in_photo, person_of
from facewright.pipeline.album.weighing import Weighing, load_weighing
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.mirrored import Mirror, predicted
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.regress.cnet import CNet, aggregated, check_trunk, likeness
from facewright.regress.rnet import RNet
from facewright.regress.weights import load_weights
from facewright.render.texture import bake_vertex_attribute
from facewright.synthetic import HELD_OUT_SEED, ScenePlan, Studio, open_studio, photograph, plan_scene
from facewright.synthetic.albums import plan_album, scene_seed
from facewright.synthetic.light import LightKind
from facewright.synthetic.plan import MEAN_EYE_DISTANCE_DM
from facewright.synthetic.props import PropKind
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.losses.likeness import FaceSample, sample_face
from facewright.train.shards import load_data

BATCH = 64
PROFILE_DEG, DARK, BLURRED = 50.0, 0.2, 0.12
"""A photo is called so from this yaw on, up to this mean brightness of its crop, up to this sharpness."""
PORTRAIT, OTHERS = 900, 4
"""Number of the picture that is drawn in several ways (``ways_to_spoil``); ordinary photos beside it."""
TURNED_DEG, BLUR_SHARE = 75.0, 0.1
"""Yaw of a profile; sigma of a blur, as a share of the distance between the eyes."""


@dataclass(frozen=True)
class Stored:
    """Measure on stored crops of drawn people."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of ``train synthesize --per-person 4`` (or more)."""
    weights: str = "open"
    """The R-Net."""
    cnet: str = "cnet"
    """The C-Net."""
    scalar: str | None = None
    """A C-Net with one score for each photo, to compare."""
    per_person: int = 4
    """Photos of each person in the data."""
    count: int = 4096
    """Photos to look at, at most."""
    plot: Path | None = None
    """Picture of the confidences by yaw."""


@dataclass(frozen=True)
class Drawn:
    """Measure on drawn albums, through the whole flow."""

    out: Path
    """Folder of the photos, and of what is said about them."""
    people: int = 24
    """Albums."""
    photos: int = 10
    """Of each."""
    sizes: tuple[int, ...] = (2, 5, 10, 20)
    """Numbers of photos that are joined."""
    size: int = 480
    """Side of the photos, px."""
    weights: str | None = None
    """The R-Net; default: that of the package."""
    cnet: str = "auto"
    """As ``reconstruct --weigh``."""
    scalar: str | None = None
    """A C-Net with one score for each photo, to compare."""
    quick: bool = False
    """Join the networks' answers alone: no joint refinement, no textures, no portraits that are spoiled."""
    first_person: int = HELD_OUT_SEED // 1000
    """Of the held-out people."""


def shown(interval: Interval) -> str:
    """A figure with its interval."""
    return f"{interval.value:7.3f} [{interval.low:7.3f}, {interval.high:7.3f}]"


def table(title: str, errors: dict[str, list[float]]) -> None:
    """Mean errors, and what each method changes against plain averaging."""
    print(f"\n{title}: {len(next(iter(errors.values())))} people")
    average = np.array(errors["average"])
    for name, values in errors.items():
        own, change = bootstrap_interval(np.array(values)), bootstrap_interval(np.array(values) - average)
        print(f"  {name:24s} {shown(own)} mm   against averaging {shown(change)}{' *' * change.excludes_zero}")


def batches(arguments: Stored, rnet: RNet) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Crops, true identities, true angles and persons."""
    sets = [load_data(folder) for folder in arguments.data]
    stream = BatchStream(
        sets, batch_size=BATCH, crop_size=rnet.crop_size, jitter=NO_JITTER, together=arguments.per_person
    )
    for step in range(min(arguments.count, sum(map(len, sets))) // BATCH):
        batch = stream.batch(step)
        assert batch.persons is not None
        yield batch.crops, batch.truth.id, batch.truth.angles, batch.persons


@torch.no_grad()
def measure_stored(arguments: Stored) -> None:
    """All tables of stored crops."""
    model: FaceModel = load_face_model("open")
    rnet: RNet = load_weights(arguments.weights, kind="rnet", layout=model.layout)
    mirror, sample = Mirror.of(model, rnet.point_ids), sample_face(model)
    nets: dict[str, CNet] = {}
    for name, path in (("C-Net", arguments.cnet), ("C-Net, one score a photo", arguments.scalar)):
        if path is not None:
            nets[name] = load_weights(path, kind="cnet")
            check_trunk(nets[name], rnet, path)
    looked: dict[str, list[Tensor]] = {}
    for crops, truth, angles, persons in batches(arguments, rnet):
        answer = predicted(rnet, crops, mirror)
        features = rnet.shallow_and_pooled(crops)
        found = {
            "code": answer.coefficients.id,
            "truth": truth,
            "yaw": torch.rad2deg(angles[:, 1]),
            "person": persons,
            "light": crops.mean((1, 2, 3)),
            "sharp": torch.tensor([sharpness(crop) for crop in crops]),
        }
        found |= {name: net(*features) for name, net in nets.items()}
        if answer.id_sigma is not None:
            found["doubts"] = answer.id_sigma.pow(-2)
        who = nets["C-Net"]
        if who.who is not None:
            found["who"] = who.person_codes(features[1])
        for name, value in found.items():
            looked.setdefault(name, []).append(value)
    seen = {name: torch.cat(parts) for name, parts in looked.items()}
    seen["average"] = torch.ones_like(seen["code"])
    ways = [name for name in ("average", "doubts", "C-Net, one score a photo", "C-Net") if name in seen]
    of_person = [(seen["person"] == person).nonzero()[:, 0] for person in dict.fromkeys(seen["person"].tolist())]
    of_person = [rows for rows in of_person if len(rows) == arguments.per_person]
    for count in range(2, arguments.per_person + 1):
        table(f"{count} photos", errors_of(seen, ways, of_person, count, sample))
    strata(seen, of_person)
    sorting(seen, of_person)
    if arguments.plot is not None:
        write_png(arguments.plot, confidence_picture(seen["C-Net"], seen["yaw"], sample))
        print(f"written to {arguments.plot}")


def errors_of(
    seen: dict[str, Tensor], ways: list[str], of_person: list[Tensor], count: int, sample: FaceSample
) -> dict[str, list[float]]:
    """Errors by method, a number for each person."""
    errors: dict[str, list[float]] = {"single": []} | {way: [] for way in ways}
    for rows in of_person:
        rows = rows[:count]
        truth = seen["truth"][rows[0]]
        errors["single"].append(float(error_mm(seen["code"][rows], truth, sample).mean()))
        for way in ways:
            code = aggregated(seen["code"][rows], seen[way][rows])
            errors[way].append(float(error_mm(code[None], truth, sample)))
    return errors


def error_mm(codes: Float[Tensor, "N K"], truth: Float[Tensor, " K"], sample: FaceSample) -> Float[Tensor, " N"]:
    """Root mean square distance of the face's points."""
    return sample.codes_mm(codes - truth).norm(dim=-1)


def strata(seen: dict[str, Tensor], of_person: list[Tensor]) -> None:
    """The say that a photo of a kind has among others that are not, against an equal share."""
    kinds = {
        "profile": seen["yaw"].abs() >= PROFILE_DEG,
        "dark": seen["light"] <= DARK,
        "blurred or small": seen["sharp"] <= BLURRED,
    }
    print("\nshare of the identity over an equal share (1: as much as any other photo)")
    for name, is_so in kinds.items():
        shares = []
        for rows in of_person:
            if int(is_so[rows].sum()) == 1:
                share = (seen["C-Net"][rows] / seen["C-Net"][rows].sum(0)).mean(1)
                shares.append(float(share[is_so[rows]]) * len(rows))
        if len(shares) > 1:
            print(f"  {name:24s} {shown(bootstrap_interval(np.array(shares)))}  of {len(shares)} sets")


def sorting(seen: dict[str, Tensor], of_person: list[Tensor]) -> None:
    """Albums of two people each: pairs that are rightly together."""
    if "who" not in seen:
        return
    rows = torch.cat(of_person[:200])
    evidence, people = likeness(seen["who"][rows]), seen["person"][rows]
    first, second = np.triu_indices(len(rows), k=1)
    same = (people[first] == people[second]).numpy()
    print(f"\npairs of photos: area under the curve {roc_curve(evidence[first, second].numpy(), same).auc:.4f}")


def pair_f1(groups: list[list[int]], people: list[int]) -> float:
    """F1 of the pairs that are put together."""
    together = {(i, j) for group in groups for i in group for j in group if i < j}
    right = {(i, j) for i in range(len(people)) for j in range(i + 1, len(people)) if people[i] == people[j]}
    return 2 * len(together & right) / max(1, len(together) + len(right))


def confidence_picture(
    confidence: Float[Tensor, "N K"], yaw_deg: Float[Tensor, " N"], sample: FaceSample
) -> Float[Tensor, "3 H W"]:
    """Rows: coefficients, those that move the image-left side most on top; columns: yaw from -80 to 80 degrees."""
    bins = torch.linspace(-80.0, 80.0, 17)
    number = torch.bucketize(yaw_deg, bins).clamp(1, 16) - 1
    mean = torch.stack(
        [confidence[number == k].mean(0) if bool((number == k).any()) else confidence.mean(0) for k in range(16)], 1
    )
    left = (sample.basis_mm.square().sum(1) * (sample.normals[:, :1] < 0)).sum(0) / sample.basis_mm.square().sum((0, 1))
    mean = mean[torch.argsort(left, descending=True)]
    ratio = (mean / mean.mean(1, keepdim=True)).clamp(0.5, 1.5) - 0.5
    picture = torch.stack([ratio, ratio * 0.8 + 0.1, 1.0 - ratio])
    return torch.nn.functional.interpolate(picture[None], scale_factor=(8.0, 32.0), mode="nearest")[0]


@torch.no_grad()
def measure_drawn(arguments: Drawn) -> None:
    """All tables of drawn albums."""
    studio = open_studio()
    flow = load_reconstructor(weights=arguments.weights)
    weighing = load_weighing(flow.estimator, arguments.cnet)
    scalar = None if arguments.scalar is None else load_weighing(flow.estimator, arguments.scalar)
    errors: dict[int, dict[str, list[float]]] = {}
    textures: list[dict[str, float]] = []
    everybody: list[tuple[int, list[Observation]]] = []
    spoiled: dict[str, list[float]] = {}
    for number in range(arguments.people):
        person = arguments.first_person + number
        plans = plan_album(studio, person, arguments.photos, size=arguments.size)
        paths = drawn(studio, {f"{k:03d}": plan for k, plan in enumerate(plans)}, arguments.out / f"{person}")
        store = arguments.out / f"{person}" / weighing.name
        settings = digest_of(flow, weighing, None)
        seen = observed(paths, store, flow, weighing, settings=settings, resume=True).faces
        largest = {one.photo: one for one in reversed(seen)}
        seen = [largest[str(path)] for path in paths if str(path) in largest]
        everybody.append((person, seen))
        kept = store.with_name(f"figures-{weighing.name}{'-quick' if arguments.quick else ''}.json")
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
        asked = [settings, arguments.scalar, arguments.photos, list(arguments.sizes)]
        if known.get("asked") != asked:
            known = {"asked": asked} | figures_of(studio, flow, weighing, scalar, plans[0], seen, arguments)
            kept.write_text(json.dumps(known), encoding="utf-8")
        for count, found in known["errors"].items():
            for name, value in found.items():
                errors.setdefault(int(count), {}).setdefault(name, []).append(value)
        textures += [known["texture"]] if known["texture"] else []
        for name, share in known["spoiled"].items():
            spoiled.setdefault(name, []).append(share)
        print(f"person {number + 1} of {arguments.people}: {len(seen)} photos", flush=True)
    for count, found in errors.items():
        table(f"{count} photos", found)
    spoiled_table(spoiled)
    if textures:
        print(f"\ntexture of {OTHERS + 1} photos against the best of them")
        for name in textures[0]:
            print(f"  {name:36s} {shown(bootstrap_interval(np.array([one[name] for one in textures])))}")
    two_people(everybody)


def drawn(studio: Studio, plans: dict[str, ScenePlan], folder: Path) -> list[Path]:
    """Pictures by name; those that are there already are not drawn again."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in plans]
    for path, plan in zip(paths, plans.values(), strict=True):
        if not path.is_file():
            write_png(path, photograph(studio, plan).photo.srgb)
    return paths


def figures_of(
    studio: Studio,
    flow: Reconstructor,
    weighing: Weighing,
    scalar: Weighing | None,
    plan: ScenePlan,
    seen: list[Observation],
    arguments: Drawn,
) -> dict[str, Any]:
    """All figures of one person, JSON-able."""
    method, sample = AlbumMethod.of(flow.estimator), sample_face(studio.model)
    other = [] if scalar is None else confidences(seen, flow, scalar)
    truth = plan.coefficients
    return {
        "errors": {
            count: album_errors(seen[:count], other[:count], method, truth.id[0], sample, quick=arguments.quick)
            for count in arguments.sizes
            if count <= len(seen)
        },
    } | (
        {"texture": {}, "spoiled": {}}
        if arguments.quick
        else {
            "texture": texture_figures(seen[: OTHERS + 1], method, studio.model, truth.tex)
            if len(seen) > OTHERS
            else {},
            "spoiled": spoiled_shares(studio, flow, weighing, plan.person, seen[:OTHERS], arguments),
        }
    )


def confidences(seen: list[Observation], flow: Reconstructor, weighing: Weighing) -> list[Float[Tensor, " Kid"]]:
    """What another C-Net says of the same crops."""
    assert weighing.cnet is not None
    assert isinstance(flow.estimator, RNetEstimator)
    rnet, found = flow.estimator.rnet, []
    for one in seen:
        crop = crop_of(one)[None]
        picture = torch.nn.functional.avg_pool2d(crop, crop.shape[-1] // rnet.crop_size)
        found.append(weighing.cnet(*rnet.shallow_and_pooled(picture))[0])
    return found


def ways_to_spoil(studio: Studio, person: int, size: int) -> dict[str, ScenePlan]:
    """A portrait of somebody, and the same with one thing changed: its seed is the same, so all else is."""

    def portrait(yaw_deg: float = 0.0, light: LightKind = "even", prop: PropKind = "none") -> ScenePlan:
        return plan_scene(
            studio,
            scene_seed(person, PORTRAIT),
            person=person,
            width=size,
            height=size,
            eye_px=(0.12 * size, 0.2 * size),
            yaw_deg=yaw_deg,
            light=light,
            prop=prop,
        )

    plain = portrait()
    eyes_px = float(plain.camera.focal_px[0]) * MEAN_EYE_DISTANCE_DM / plain.camera.distance_dm
    return {
        "as-it-is": plain,
        "profile": portrait(TURNED_DEG),
        "dark": portrait(light="dark"),
        "mask": portrait(prop="mask"),
        "sunglasses": portrait(prop="sunglasses"),
        "blurred": replace(plain, lens=replace(plain.lens, blur_px=BLUR_SHARE * eyes_px)),
    }


def spoiled_shares(
    studio: Studio,
    flow: Reconstructor,
    weighing: Weighing,
    person: int,
    others: list[Observation],
    arguments: Drawn,
) -> dict[str, float]:
    """Share of a portrait in the identity beside ordinary photos, over an equal share, spoiled in all ways."""
    plans = ways_to_spoil(studio, person, arguments.size)
    paths = dict(zip(plans, drawn(studio, plans, arguments.out / f"{person}" / "spoiled"), strict=True))
    store = arguments.out / f"{person}" / f"spoiled-{weighing.name}"
    settings = digest_of(flow, weighing, None)
    faces = observed(list(paths.values()), store, flow, weighing, settings=settings, resume=True).faces
    found = {}
    for name, path in paths.items():
        own = next((one for one in faces if one.photo == str(path) and one.face == 0), None)
        if own is None or len(others) < OTHERS:
            continue
        weights = torch.stack([own.confidence, *(one.confidence for one in others)])
        found[name] = float((weights[0] / weights.sum(0)).mean()) * len(weights)
    return found if "as-it-is" in found else {}


def spoiled_table(spoiled: dict[str, list[float]]) -> None:
    """Mean shares."""
    if not spoiled:
        return
    print(f"\nshare of one portrait beside {OTHERS} ordinary photos, over an equal share")
    for name, shares in spoiled.items():
        print(f"  {name:24s} {shown(bootstrap_interval(np.array(shares)))}  of {len(shares)} people")


def album_errors(
    seen: list[Observation],
    scalar: list[Float[Tensor, " Kid"]],
    method: AlbumMethod,
    truth: Float[Tensor, " K"],
    sample: FaceSample,
    *,
    quick: bool = False,
) -> dict[str, float]:
    """Errors of one album by every method, mm."""
    codes = torch.stack([one.start.id[0] for one in seen])
    found = {
        "single": float(error_mm(codes, truth, sample).mean()),
        "single, fitted": float(error_mm(torch.cat([one.single.id for one in seen]), truth, sample).mean()),
        "average": float(error_mm(codes.mean(0, keepdim=True), truth, sample)),
        "segments by what is seen": segments_error(seen, codes, truth, sample),
    }
    if all(one.dense is not None for one in seen):
        weights = torch.stack([one.dense.id_sigma.pow(-2) for one in seen if one.dense is not None])
        found["doubts"] = float(error_mm(aggregated(codes, weights)[None], truth, sample))
    if len(scalar) == len(seen):
        found["C-Net, one score a photo"] = float(error_mm(aggregated(codes, torch.stack(scalar))[None], truth, sample))
    for name, rounds in (("C-Net", 0), ("C-Net, refined together", 2))[: 1 if quick else 2]:
        identity = person_of(seen, replace(method, rounds=rounds)).identity.id
        found[name] = float(error_mm(identity, truth, sample))
    return found


def segments_error(
    seen: list[Observation], codes: Float[Tensor, "M K"], truth: Float[Tensor, " K"], sample: FaceSample
) -> float:
    """Shapes blended point by point, by how well each photo sees it: after Piotraschke and Blanz (2016)."""
    share = torch.stack([sample.seen(one.single.angles)[0] for one in seen])
    moved = (sample.moved_mm(codes) * (share / share.sum(0))[..., None]).sum(0)
    return float((moved - sample.moved_mm(truth)).square().sum(-1).mean().sqrt())


def texture_figures(
    seen: list[Observation], method: AlbumMethod, model: FaceModel, true_tex: Float[Tensor, "1 K"]
) -> dict[str, float]:
    """How much of the head is seen, and how far its colours are from the truth, of all photos and of the best one."""
    size = 512
    person = person_of(seen, method)
    neutral = model.decode(person.identity)
    assert model.uv is not None
    assert model.faces_uv is not None
    true = bake_vertex_attribute(model.albedo(true_tex)[0], model.faces, model.uv, model.faces_uv, size)

    def merged(chosen: list[int]) -> MergedTexture:
        merger = TextureMerger(model.topology, neutral, size)
        for k in chosen:
            photo = read_photo(seen[k].photo)
            merger.add(face_in_photo(photo, seen[k], person.faces[k], model), seen[k].sharpness)
        return merger.finish()

    def error(texture: MergedTexture) -> float:
        off = albedo_from_display(texture.texture, model.albedo_space) - true
        return float(off[:, texture.covered].square().mean().sqrt())

    together, singles = merged(list(range(len(seen)))), [merged([k]) for k in range(len(seen))]
    return {
        "seen, all photos": together.complete,
        "seen, best photo": max(one.complete for one in singles),
        "albedo error, all photos": error(together),
        "albedo error, best photo": min(error(one) for one in singles),
        "albedo error, mean of photos": float(np.mean([error(one) for one in singles])),
        "detail, all photos": detail(together),
        "detail, mean of photos": float(np.mean([detail(one) for one in singles])),
    }


def detail(texture: MergedTexture) -> float:
    """Mean step between neighbouring texels where something is seen."""
    known = texture.covered & (texture.seen > 0)
    steps = texture.texture.mean(0).diff(dim=-1).abs()
    return float(steps[known[:, 1:] & known[:, :-1]].mean())


def two_people(everybody: list[tuple[int, list[Observation]]]) -> None:
    """Albums of two people, five photos each, neighbours in a ring: are they split?"""
    scores, wrong, told, alike, away, same = [], [], [], [], [], []
    for (one, first), (other, second) in zip(everybody, everybody[1:] + everybody[:1], strict=True):
        both = [*first[:5], *second[:5]]
        people = [one] * len(first[:5]) + [other] * len(second[:5])
        groups = grouped(both)
        scores.append(pair_f1(groups, people))
        merged = any(len({people[k] for k in group}) > 1 for group in groups)
        wrong.append(float(merged))
        told += [bool(in_doubt(both, groups, SAME_PERSON))] if merged else []
        by_all, far = evidence(both).amin(0), distances(both)
        for i in range(len(both)):
            for j in range(i):
                alike.append(float(by_all[i, j]))
                away.append(-float(far[i, j]))
                same.append(people[i] == people[j])
    if len(scores) > 2:
        areas = [roc_curve(np.array(values), np.array(same)).auc for values in (alike, away)]
        print(f"\nalbums of two people: pairwise F1 {shown(bootstrap_interval(np.array(scores)))}")
        print(
            f"  groups that mix people in {np.mean(wrong):.0%} of the albums; told to be in doubt: {sum(told)} of "
            f"{len(told)}"
        )
        print(f"  pairs of photos: area {areas[0]:.3f}, by the identity network alone {areas[1]:.3f}")


if __name__ == "__main__":
    chosen = tyro.cli(Stored | Drawn)
    measure_stored(chosen) if isinstance(chosen, Stored) else measure_drawn(chosen)
