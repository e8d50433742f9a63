"""Albums: one identity out of many photos, whatever their order; who is who; what is left out; runs that go on."""

import json
import shutil
from dataclasses import fields, replace
from functools import partial

import cv2
import pytest
import torch

from facewright.cli import main, reconstruct
from facewright.errors import ExportError, PhotoError, ReconstructionError, SettingsError, WeightsError
from facewright.photo import read_photo
from facewright.pipeline import album as album_flow
from facewright.pipeline.album import AlbumOptions, Weighing, load_weighing
from facewright.pipeline.album.flow import OBSERVATIONS, album_folders
from facewright.pipeline.album.merged_texture import TextureMerger
from facewright.pipeline.album.observations import crop_of, read_observations, sharpness, write_observations
from facewright.pipeline.album.observing import observed
from facewright.pipeline.album.people import copies, doubtful, grouped, in_doubt
from facewright.pipeline.album.person import AlbumMethod, face_in_photo, joined, person_of
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import TensorRecord
from facewright.regress.cnet import CNet, check_trunk, trunk_fingerprint
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from tests.pipeline.albums import draw, known_flow, photos_of, recognised
from tests.pipeline.flows import rnet_estimator

YAWS = (0.0, 35.0, -35.0)
OPTIONS = AlbumOptions(("ply", "json"), texture_px=64, sheet=False)

reconstruct_album = partial(album_flow.reconstruct_album, recognise=recognised)
reconstruct_albums = partial(album_flow.reconstruct_albums, recognise=recognised)


@pytest.fixture(scope="module")
def anna(toy_model):
    return dict(zip(("a1.png", "a2.png", "a3.png"), photos_of(toy_model, YAWS), strict=True))


@pytest.fixture(scope="module")
def ben(toy_model):
    return dict(zip(("b1.png", "b2.png"), photos_of(toy_model, YAWS[:2], sign=-1.0, seed=1), strict=True))


@pytest.fixture(scope="module")
def pictures(toy_model, anna, ben, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, face in (anna | ben).items():
        draw(toy_model, face, folder / name)
    return folder


@pytest.fixture
def album(pictures, anna, tmp_path):
    """Anna's photos, to be added to."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in anna:
        shutil.copy(pictures / name, folder)
    return folder


@pytest.fixture(scope="module")
def seen(toy_model, anna, pictures, tmp_path_factory):
    """What is said of Anna's photos."""
    flow = known_flow(toy_model, {name: [face] for name, face in anna.items()})
    paths = [pictures / name for name in anna]
    return observed(paths, tmp_path_factory.mktemp("store"), flow, Weighing(), recognise=recognised).faces


def flow_of(model, *people):
    return known_flow(model, {name: [face] for person in people for name, face in person.items()})


def document_of(folder):
    return json.loads((folder / "album.json").read_text())


def statuses(document):
    return {entry["photo"].rpartition("/")[2]: entry["status"] for entry in document["photos"]}


def test_one_photo_gives_what_it_gives_alone(toy_model, album, anna, tmp_path):
    report = reconstruct_album(
        [album / "a2.png"], tmp_path / "out", flow_of(toy_model, anna), Weighing(), options=OPTIONS
    )
    found = document_of(tmp_path / "out")
    assert report.people == 1
    for part, expected in (("id", anna["a2.png"].id), ("tex", anna["a2.png"].tex)):  # as JSON rounds them
        assert found["people"][0]["coefficients"][part] == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert found["photos"][0]["weight"] == 1.0


def test_one_photo_keeps_its_pose_expression_and_light(toy_model, seen):
    person = person_of(seen[1:2], AlbumMethod.of(flow_of(toy_model).estimator))
    assert person.faces == (seen[1].single,)


def test_the_order_of_the_photos_does_not_matter(toy_model, seen):
    method = AlbumMethod.of(flow_of(toy_model).estimator)
    confidence = [0.1 + torch.rand(toy_model.layout.id) for _ in seen]
    some = [replace(one, confidence=weight) for one, weight in zip(seen, confidence, strict=True)]
    turned = [some[k] for k in (2, 0, 1)]
    torch.testing.assert_close(joined(some).id, joined(turned).id, atol=1e-6, rtol=0)
    straight, other = (person_of(photos, replace(method, rounds=0)) for photos in (some, turned))
    torch.testing.assert_close(straight.identity.id, other.identity.id, atol=1e-6, rtol=0)
    torch.testing.assert_close(straight.shares[[2, 0, 1]], other.shares)
    torch.testing.assert_close(straight.shares.sum(), torch.tensor(1.0))
    assert not straight.identity.id.equal(torch.stack([one.start.id for one in some]).mean(0))
    refined, again = (person_of(photos, method) for photos in (some, turned))
    torch.testing.assert_close(refined.identity.id, again.identity.id, atol=1e-4, rtol=0)
    assert (refined.identity.id - straight.identity.id).abs().max() > 1e-4


def test_a_copy_of_a_photo_changes_nothing(toy_model, album, anna, tmp_path):
    """As the same file, and saved again at another size."""
    flow = flow_of(toy_model, anna)
    reconstruct_albums([album], tmp_path / "before", flow, Weighing(), options=OPTIONS)
    shutil.copy(album / "a1.png", album / "same.png")
    again = cv2.imread(str(album / "a1.png"))
    assert again is not None
    cv2.imwrite(str(album / "small.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 80])
    more = flow_of(toy_model, anna, {"small.jpg": anna["a1.png"]})
    reconstruct_albums([album], tmp_path / "after", more, Weighing(), options=OPTIONS)
    before, after = (document_of(tmp_path / name) for name in ("before", "after"))
    assert before["people"][0]["coefficients"] == after["people"][0]["coefficients"]
    assert statuses(after) | {"same.png": "copy"} == statuses(after)
    assert sorted(statuses(after).values()) == ["copy", "copy", "used", "used", "used"]


def test_two_people_are_split_and_never_merged(toy_model, album, pictures, anna, ben, tmp_path):
    for name in ben:
        shutil.copy(pictures / name, album)
    flow = flow_of(toy_model, anna, ben)
    reports = reconstruct_albums([album], tmp_path / "out", flow, Weighing(), options=OPTIONS)
    document = document_of(tmp_path / "out")
    assert reports[0].people == 2
    who = {entry["photo"].rpartition("/")[2]: entry["person"] for entry in document["photos"]}
    assert who == {"a1.png": 1, "a2.png": 1, "a3.png": 1, "b1.png": 2, "b2.png": 2}
    assert (tmp_path / "out/person_1.ply").is_file()
    assert (tmp_path / "out/person_2_seen.ply").is_file()
    asked = replace(OPTIONS, reference=pictures / "b2.png")
    reconstruct_albums([album], tmp_path / "ben", flow, Weighing(), options=asked)
    found = document_of(tmp_path / "ben")
    assert {name for name, status in statuses(found).items() if status == "used"} == set(ben)
    assert "does not look like the one in" in next(e["reason"] for e in found["photos"] if e["status"] == "stranger")
    (album / "b2.png").unlink()
    lone = replace(asked, same_person=0.001)
    with pytest.raises(ReconstructionError, match=r"expected the person in .*b2\.png among 4 in the album"):
        reconstruct_albums([album], tmp_path / "nobody", flow, Weighing(), options=lone)


def test_faces_of_one_photo_are_not_of_one_person(toy_model, seen):
    both = [replace(seen[0], photo="p"), replace(seen[0], photo="p", face=1), replace(seen[1], photo="q")]
    assert [len(group) for group in grouped(both)] == [2, 1]
    assert grouped(seen) == [[0, 1, 2]]
    assert grouped([]) == []


def test_both_who_say_who_is_seen_must_agree_and_doubts_are_told(seen):
    """Faces on a line: their distances are those of their places; codes of the C-Net at right angles, or alike."""

    def faces(places, codes=()):
        found = []
        for k, place in enumerate(places):
            code = None if not codes else torch.tensor([*codes[k], 1.0, 1.0])
            found.append(replace(seen[0], photo=f"{k}.png", descriptor=torch.tensor([place, 0.0]), who=code))
        return found

    assert grouped(faces([0.0, 0.3, 0.95])) == [[0, 1], [2]]
    assert grouped(faces([0.0, 0.3, 0.95]), 0.9) == [[0, 1, 2]]
    alike, unlike = [(1.0, 0.0), (1.0, 0.0)], [(1.0, 0.0), (0.0, 1.0)]
    assert grouped(faces([0.0, 0.5], alike)) == [[0, 1]]
    assert grouped(faces([0.0, 0.5], unlike)) == [[0], [1]]  # the C-Net speaks against
    assert grouped(faces([0.0, 0.7], alike)) == [[0], [1]]  # the other does
    assert grouped(faces([0.0, 0.3], unlike)) == [[0, 1]]  # who is certain asks nobody
    assert in_doubt(faces([0.0, 0.3, 1.2]), [[0, 1], [2]], 0.6) == []
    (joined_words,) = in_doubt(faces([0.0, 0.55]), [[0, 1]], 0.6)
    assert "joined as person 1 though far from the others" in joined_words
    assert "0.png (0.55), 1.png (0.55)" in joined_words
    (apart,) = in_doubt(faces([0.0, 0.1, 0.67]), [[0, 1], [2]], 0.6)
    assert apart.startswith("kept apart though they may be one person (distance): 0.png with 1 more and 2.png (0.62);")
    with pytest.raises(ValueError, match="expected descriptors of all faces"):
        grouped([replace(seen[0], descriptor=None), seen[1]])


def test_a_stranger_is_left_out_and_named(toy_model, album, pictures, anna, ben, tmp_path):
    shutil.copy(pictures / "b1.png", album)
    flow = flow_of(toy_model, anna, ben)
    reconstruct_albums([album], tmp_path / "out", flow, Weighing(), options=OPTIONS)
    document = document_of(tmp_path / "out")
    assert statuses(document)["b1.png"] == "stranger"
    assert len(document["people"]) == 1


def test_a_broken_photo_is_named_and_costs_nothing_else(toy_model, album, anna, tmp_path):
    (album / "broken.png").write_bytes(b"\x89PNG no")
    cv2.imwrite(str(album / "wall.png"), 128 * torch.ones(64, 64, 3).byte().numpy())
    flow = flow_of(toy_model, anna)
    report = reconstruct_albums([album], tmp_path / "out", flow, Weighing(), options=OPTIONS)[0]
    assert {verdict.photo.rpartition("/")[2] for verdict in report.failed} == {"broken.png", "wall.png"}
    assert all("Error: " in verdict.reason for verdict in report.failed)
    assert sum(verdict.status == "used" for verdict in report.verdicts) == 3
    shares = [verdict.weight for verdict in report.verdicts if verdict.weight is not None]
    assert sum(shares) == pytest.approx(1.0, abs=1e-3)


def test_an_interrupted_run_goes_on(toy_model, album, anna, tmp_path):
    out, told = tmp_path / "out", []

    def stop(path):
        told.append(path)
        if len(told) == 2:
            raise KeyboardInterrupt

    flow = flow_of(toy_model, anna)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_albums([album], out, flow, Weighing(), options=OPTIONS, on_photo=stop)
    assert len(list((out / OBSERVATIONS).iterdir())) == 2
    before = len(flow.asked)
    reconstruct_albums([album], out, flow, Weighing(), options=OPTIONS, resume=True)
    assert flow.asked[before:] == ["a3.png"]
    assert not (out / OBSERVATIONS).exists()
    first = document_of(out)
    report = reconstruct_albums([album], out, flow, Weighing(), options=OPTIONS, resume=True)[0]
    assert report.resumed
    assert len(flow.asked) == before + 1
    assert document_of(out) == first
    reconstruct_albums([album], out, flow, Weighing(), options=replace(OPTIONS, texture_px=32), resume=True)
    assert len(flow.asked) == before + 4
    whole = flow_of(toy_model, anna)
    reconstruct_albums([album], tmp_path / "whole", whole, Weighing(), options=OPTIONS)
    assert document_of(tmp_path / "whole")["people"] == first["people"]


def test_what_is_written(toy_model, album, anna, tmp_path):
    options = replace(OPTIONS, formats=("glb", "obj", "ply", "json", "texture"), sheet=True)
    report = reconstruct_albums([album], tmp_path / "out", flow_of(toy_model, anna), Weighing(), options=options)[0]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {
        *("person.glb", "person.obj", "person.mtl", "person.ply", "person_texture.png"),
        *("person_seen.ply", "person_sheet.png", "album.json"),
    }
    assert set(report.outputs) == files
    document = document_of(tmp_path / "out")
    assert document["weighing"]["name"] == "alike"
    regions = document["people"][0]["regions"]
    assert set(regions) == set(toy_model.annotations.regions)
    assert 0.0 < document["people"][0]["texture_seen"] <= 1.0
    for region in regions.values():
        assert 0.0 <= region["confidence"] <= region["seen"] <= 1.0
        assert set(region["best"]) <= set(anna)
    sheet = read_photo(tmp_path / "out/person_sheet.png")
    assert sheet.width > 3 * 96
    (tmp_path / "other").mkdir()
    (tmp_path / "other/album.json").write_text("{}")
    with pytest.raises(ExportError, match=r"album\.json to be absent or one of ours"):
        reconstruct_albums([album], tmp_path / "other", flow_of(toy_model, anna), Weighing(), options=OPTIONS)


def test_a_folder_of_folders_is_an_album_each(album, pictures, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    shutil.copytree(album, both / "anna")
    (both / "ben").mkdir()
    shutil.copy(pictures / "b1.png", both / "ben")
    assert [(name, len(paths)) for name, paths in album_folders([both])] == [("anna", 3), ("ben", 1)]
    assert [name for name, _ in album_folders([album])] == ["album"]
    assert album_folders([album / "a1.png", album / "a2.png"])[0][1] == [album / "a1.png", album / "a2.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match="expected pictures, or folders of pictures, for an album"):
        album_folders([tmp_path / "empty"])


def test_more_photos_show_more_and_the_texture_has_no_light(toy_model, seen):
    person = person_of(seen, AlbumMethod.of(flow_of(toy_model).estimator))
    neutral = toy_model.decode(person.identity)

    def merged(chosen):
        merger = TextureMerger(toy_model.topology, neutral, 64)
        shown = [merger.add(face_in_photo(read_photo(one.photo), one, one.single, toy_model), 1.0) for one in chosen]
        return merger.finish(), shown

    together, shown = merged(seen)
    alone = [merged([one])[0] for one in seen]
    assert together.complete > max(one.complete for one in alone)
    assert (together.seen_by >= 1).sum() >= max((one.seen_by >= 1).sum() for one in alone)
    best = torch.stack(shown)
    where = best.amax(0) > 0.2
    assert (together.best_photo[where] == best.argmax(0)[where]).float().mean() > 0.9
    assert together.texture.isfinite().all()
    # whatever the light of the photos was, the tone is the person's own
    own = toy_model.albedo(person.identity.tex)[0].mean(0)
    assert (together.colors.mean(0) - own).abs().max() < 0.15 or toy_model.albedo_space == "linear"


def test_what_covers_a_face_in_one_photo_is_not_in_the_texture(toy_model, seen):
    """A bright green bar before the face in one of three photos."""
    person = person_of(seen, AlbumMethod.of(flow_of(toy_model).estimator))
    neutral = toy_model.decode(person.identity)
    merger = TextureMerger(toy_model.topology, neutral, 64)
    for k, one in enumerate(seen):
        photo = read_photo(one.photo)
        pixels = photo.pixels.clone()
        if k == 0:
            pixels[:, 100:124] = torch.tensor([20, 250, 20], dtype=torch.uint8)[:, None, None]
        merger.add(face_in_photo(replace(photo, pixels=pixels), one, one.single, toy_model), 1.0)
    red, green, blue = merger.finish().texture
    assert float((green - torch.maximum(red, blue)).max()) < 0.2


def test_what_is_said_of_a_photo_is_kept_whole(seen, tmp_path):
    path = tmp_path / "said.safetensors"
    whole = [replace(one, aligned=replace(one.aligned, crop=crop_of(one)), kept="") for one in seen]
    write_observations(path, whole, {"settings": "x"})
    kept = read_observations(path)
    assert kept is not None
    found, facts = kept
    assert facts == {"settings": "x"}
    for one, other in zip(found, seen, strict=True):
        assert (one.photo, one.face, one.sharpness, one.belief) == (other.photo, other.face, other.sharpness, None)
        for name in ("single", "start"):
            for part in ("id", "exp", "tex", "angles", "sh", "translation"):
                assert getattr(getattr(one, name), part).equal(getattr(getattr(other, name), part))
        assert one.aligned.crop.equal(crop_of(other))
        assert one.aligned.camera_crop.width == 224
        assert one.detection.five.equal(other.detection.five)
    assert read_observations(tmp_path / "none") is None
    path.write_bytes(path.read_bytes()[:-100])
    assert read_observations(path) is None


def test_what_is_kept_of_a_photo_is_small_whatever_its_size(seen):
    """Of hundreds of photos everything but this is on disk: tensors that are no views of something larger."""

    def parts(record):
        values = [getattr(record, entry.name) for entry in fields(record)]
        found = [value for value in values if isinstance(value, torch.Tensor)]
        return found + [part for value in values if isinstance(value, TensorRecord) for part in parts(value)]

    for one in seen:
        kept = sum(part.untyped_storage().nbytes() for part in parts(one))
        assert kept < 50_000 < crop_of(one).nbytes
        assert 4 * len(one.thumbnail) < kept


def test_faces_that_say_little_are_left_out_but_never_all(seen):
    tiny = replace(seen[0], detection=replace(seen[0].detection, five=seen[0].detection.five / 20.0))
    assert doubtful([tiny, seen[1]]) == {0: f"expected 16 px between the eyes, received {_eyes(tiny):.0f}"}
    assert doubtful([tiny, tiny]) == {}
    assert copies([seen[0], replace(seen[0], photo="again"), seen[1]]) in ({1: 0}, {0: 1})
    blurred = torch.nn.functional.avg_pool2d(crop_of(seen[0])[None], 9, 1, 4)[0]
    assert sharpness(blurred) < 0.5 * seen[0].sharpness
    assert seen[0].aligned.crop.shape == (3, 1, 1)  # hundreds are not in memory


def _eyes(one):
    return float((one.detection.five[0] - one.detection.five[1]).norm())


def test_photos_are_weighed_as_asked(toy_model, seen, anna, pictures, tmp_path):
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=112, landmark_head=True).eval()
    estimator = rnet_estimator(toy_model, rnet)
    assert load_weighing(estimator).name == "alike"  # the C-Net of the package is for another R-Net
    with pytest.raises(SettingsError, match="expected a network that states doubts"):
        load_weighing(estimator, "doubts")
    net = CNet(
        toy_model.layout,
        shallow=8,
        features=64,
        crop_size=112,
        channels=4,
        hidden=8,
        codes=3,
        trunk=trunk_fingerprint(rnet),
    )
    torch.nn.init.normal_(net.confidence.weight)
    path = tmp_path / "cnet.safetensors"
    save_weights(net, WeightsCard("toy"), path)
    weighing = load_weighing(estimator, path)
    flow = flow_of(toy_model, anna)
    photos = [read_photo(pictures / name) for name in anna]
    faces = [face for face in flow.faces_in_batch(photos) if isinstance(face, Reconstruction)]
    weighed = weighing.weighed(faces)
    assert (weighing.name, weighing.weights) == ("cnet", "cnet.safetensors")
    assert (weighed[0].confidence - weighed[1].confidence).abs().max() > 1e-6
    assert weighed[0].who is not None
    alone = weighing.weighed(faces[1:2])[0]
    assert alone.confidence.equal(weighed[1].confidence)
    save_weights(replace_trunk(net), WeightsCard("toy"), path)
    with pytest.raises(WeightsError, match="reads the features of the R-Net"):
        load_weighing(estimator, path)
    with pytest.raises(SettingsError, match="expected method 'rnet', whose features C-Net reads"):
        load_weighing(flow.estimator, "cnet")


def test_the_package_has_a_cnet_for_its_rnet():
    """Whoever replaces the R-Net trains the C-Net anew: ``facewright train cnet --data ...``, then pack_network.py."""
    check_trunk(load_weights("cnet", kind="cnet"), load_weights("open", kind="rnet"), "cnet")


def replace_trunk(net):
    net.trunk = "0" * 64
    return net


def test_the_command_says_what_became_of_each_photo(toy_model, album, anna, tmp_path, capsys, monkeypatch):
    (album / "broken.png").write_bytes(b"no")
    monkeypatch.setattr(reconstruct, "load_reconstructor", lambda **_: flow_of(toy_model, anna))
    monkeypatch.setattr(reconstruct, "reconstruct_albums", reconstruct_albums)
    line = ["reconstruct", str(album), "--album", "--out", str(tmp_path / "out"), "--formats", "ply"]
    assert main([*line]) == 1
    shown = capsys.readouterr()
    assert "a1.png" in shown.out
    assert "1 person written to" in shown.out
    assert "broken.png" in shown.err
    assert main(["reconstruct", str(album), "--out", str(tmp_path / "o"), "--same-person", "1"]) == 2
    assert main([*line, "--posed"]) == 2
    refused = capsys.readouterr().err
    assert "--same-person only with --album" in refused
    assert "--posed only with --formats of meshes, and without --album" in refused
