import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.regress.importers import convert_weights, import_weights
from facewright.regress.importers.caffe import decode_blob, read_caffemodel
from facewright.regress.importers.protobuf import MalformedMessageError
from facewright.regress.kinds import kind_of
from facewright.regress.morphable_cnn import SHARED, MorphableCNN, check_trunks, features_fingerprint, plain_mean
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, save_weights
from tests.regress.caffe_files import blob, caffe_forward, random_blobs, write_caffemodel
from tests.regress.tensorflow_files import bytes_field


@pytest.fixture(scope="module")
def blobs():
    return random_blobs(3)


@pytest.fixture(scope="module")
def crops():
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(5))


def test_an_imported_network_says_what_caffe_would(blobs, crops, tmp_path):
    mean = np.random.default_rng(1).uniform(60, 180, (3, 224, 224)).astype(np.float32)
    write_caffemodel(tmp_path / "any.caffemodel", blobs)
    (tmp_path / "mean.binaryproto").write_bytes(blob(mean, old=True))
    report = convert_weights(tmp_path / "any.caffemodel", tmp_path / "net.safetensors")
    assert "3DMM-CNN for bfm2009" in report.lines()[0]
    assert "mean picture mean.binaryproto" in report.notes
    net = load_weights(tmp_path / "net.safetensors", kind="3dmm-cnn")
    assert (net.id, net.tex, net.architecture) == (99, 99, "resnet101_caffe")
    picture = 255.0 * crops.flip(1) - torch.from_numpy(mean)
    expected = caffe_forward(blobs, picture).float()
    with torch.no_grad():
        received = net(crops)
    assert expected.std() > 0.1
    # Measured: 3e-6 of 1.
    torch.testing.assert_close(received, expected, rtol=1e-4, atol=1e-4)


def test_old_and_unpacked_numbers_norms_of_five_blobs_and_a_smaller_network_come_in(crops, tmp_path):
    blobs = random_blobs(4, width=0.03125, depth=50, codes=8)
    expected = caffe_forward(blobs, 255.0 * crops.flip(1) - plain_mean(224), depth=50).float()
    scales = [name for name in blobs if name.startswith("scale")]
    joined = {name: arrays for name, arrays in blobs.items() if name not in scales}
    joined |= {f"bn{name[5:]}": blobs[f"bn{name[5:]}"] + blobs[name] for name in scales}
    write_caffemodel(tmp_path / "a.caffemodel", joined, old=True, packed=False)
    net, report = import_weights(tmp_path / "a.caffemodel")
    assert "no mean picture: averages of the published one" in report.notes
    with torch.no_grad():
        torch.testing.assert_close(net(crops), expected, rtol=1e-4, atol=1e-4)


def test_damaged_caffe_files_are_refused_by_name(blobs, tmp_path):
    path = tmp_path / "a.caffemodel"
    small = random_blobs(4, width=0.03125, depth=50, codes=8)
    for damaged, message in (
        ({name: arrays for name, arrays in small.items() if name != "bn4c_branch2b"}, "bn4c_branch2b of 3 blobs"),
        ({name: arrays for name, arrays in small.items() if name != "fc_ftnew"}, "fc_ftnew/0, found none"),
        ({name: arrays for name, arrays in small.items() if not name.startswith("res5")}, "layers of a ResNet-101"),
        (small | {"fc_ftnew": [small["fc_ftnew"][0][:7], small["fc_ftnew"][1][:7]]}, "as many shape as albedo codes"),
        (small | {"res2a_branch2a": [np.zeros((2, 1, 1, 1), np.float32)]}, "of shape"),
        (small | {"scale2a_branch1": [np.ones(3, np.float32)] * 2}, "of 8 numbers, received 3"),
        (small | {"fc_ftnew": [np.full_like(small["fc_ftnew"][0], np.nan), small["fc_ftnew"][1]]}, "NaN or infinity"),
    ):
        write_caffemodel(path, damaged)
        with pytest.raises(WeightsError, match=message):
            import_weights(path)
    write_caffemodel(path, small)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(WeightsError, match="not a whole"):
        read_caffemodel(path)
    path.write_bytes(whole)
    (tmp_path / "mean.binaryproto").write_bytes(blob(np.zeros((3, 10, 10), np.float32)))
    with pytest.raises(WeightsError, match="mean picture of 3 x 224 x 224"):
        import_weights(path)
    with pytest.raises(AssetNotFoundError, match="elsewhere"):
        import_weights(path, mean=tmp_path / "elsewhere.npy")
    for message in (b"\x28\x01", bytes_field(7, bytes_field(1, b"\x7f\x7f\x7f\x7f\x7f")) + bytes_field(5, b"1234")):
        with pytest.raises(MalformedMessageError):
            decode_blob(memoryview(message))


def test_a_net_that_reads_other_trunks_is_saved_with_their_fingerprints_and_refuses_others(tmp_path):
    trunk = torch.nn.Linear(3, 2)
    seen = features_fingerprint(trunk, "rgb")
    assert features_fingerprint(trunk.half().float(), "rgb") == seen != features_fingerprint(trunk, "bgr")
    net = MorphableCNN(4, 2, architecture=SHARED, hidden=5, mirrored=True, trunks={"open": seen}, features=7).eval()
    torch.nn.init.normal_(net.codes.weight)
    save_weights(net, WeightsCard(face_model="open"), tmp_path / "net.safetensors")
    card = describe_weights(tmp_path / "net.safetensors")
    assert card["kind"] == kind_of(net)[0] == "3dmm-cnn"
    assert card["trunks"] == {"open": seen}
    again = load_weights(tmp_path / "net.safetensors")
    features = torch.rand(3, 7)
    torch.testing.assert_close(again.codes_from(features), net.codes_from(features))
    check_trunks(again, {"open": seen, "more": "x"}, "net")
    with pytest.raises(WeightsError, match="reads the features of 'open'"):
        check_trunks(again, {"open": "other"}, "net.safetensors")
    with pytest.raises(WeightsError, match="has no trunk"):
        again(torch.rand(1, 3, 224, 224))
    with pytest.raises(ValueError, match="trunks and features"):
        MorphableCNN(4, 2, architecture=SHARED)
    with pytest.raises(ValueError, match="224 px"):
        MorphableCNN(4, 2, architecture="resnet18", width=0.05)(torch.rand(1, 3, 100, 100))


def test_an_untrained_net_says_the_mean_face_of_any_face_model():
    net = MorphableCNN(7, 3, architecture="resnet18", width=0.05, crop_size=64).eval()
    assert torch.equal(net(torch.rand(2, 3, 64, 64)), torch.zeros(2, 10))
