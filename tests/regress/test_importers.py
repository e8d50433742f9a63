import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.importers import import_weights
from facewright.regress.importers.protobuf import MalformedMessageError, read_fields
from facewright.regress.importers.tf_graph import decode_tensor
from facewright.regress.weights import load_weights, save_weights
from tests.regress.references import (
    SLIM_HEADS,
    TORCH_HEADS,
    official_forward,
    random_official_state,
    slim_forward,
)
from tests.regress.tensorflow_files import (
    bytes_field,
    constant,
    float_field,
    frozen_graph,
    node,
    number_field,
    shape_proto,
    slim_strides,
    slim_variables,
    sorted_table,
    tensor_proto,
    write_checkpoint,
)

WIDTH = 0.125


@pytest.fixture(scope="module")
def state():
    return random_official_state(1, width=WIDTH)


@pytest.fixture(scope="module")
def variables():
    return slim_variables(2, width=WIDTH, heads=SLIM_HEADS)


@pytest.fixture(scope="module")
def crops():
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(5))


def assert_same(net, crops, expected):
    with torch.no_grad():
        received = net.forward_vector(crops)
    assert expected.std() > 0.1
    assert (received - expected).norm() / expected.norm() < 1e-5


def tensorflow_input(crops):
    return crops.flip(1).permute(0, 2, 3, 1) * 255


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def adam_state(state):
    moments = {i: {"step": 10, "exp_avg": v.clone(), "exp_avg_sq": v.clone()} for i, v in enumerate(state.values())}
    return {"state": moments, "param_groups": [{"lr": 1e-4, "params": list(moments)}]}


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda s: s, id="bare"),
        pytest.param(lambda s: {"net_recon": s}, id="net_recon"),
        pytest.param(
            lambda s: {"net_recon": s, "opt_00": adam_state(s), "sched_00": {"last_epoch": 20, "_last_lr": [2e-5]}},
            id="epoch_20",
        ),
        pytest.param(lambda s: {f"module.{k}": v for k, v in s.items()}, id="module"),
        pytest.param(lambda s: {"state_dict": {f"net_recon.module.{k}": v for k, v in s.items()}}, id="nested"),
        pytest.param(lambda s: {k: v for k, v in s.items() if "num_batches" not in k}, id="old-torch"),
    ],
)
def test_pytorch_checkpoints_answer_as_before_import(tmp_path, state, crops, packed):
    torch.save(packed(state), tmp_path / "epoch_20.pth")
    net, report = import_weights(tmp_path / "epoch_20.pth")
    assert_same(net, crops, official_forward(state, crops))
    assert net.layout == CoefficientLayout(80, 64, 80)
    assert (net.architecture, net.width, net.input_coding) == ("resnet50", WIDTH, "rgb_0_1")
    assert (report.card.face_model, report.card.light, report.card.source) == ("bfm2009", "color", "epoch_20.pth")


def test_checkpoints_of_old_torch_are_read(tmp_path, state, crops):
    path = tmp_path / "epoch_20.pth"
    torch.save({"net_recon": state}, path, _use_new_zipfile_serialization=False)
    net, _ = import_weights(path)
    assert_same(net, crops, official_forward(state, crops))


def test_a_bundle_of_several_networks_gives_its_reconstruction_network(tmp_path, state, crops):
    path = tmp_path / "SadTalker.safetensors"
    bundle = {f"face_3drecon.{k}": v.contiguous() for k, v in state.items()}
    save_file(bundle | {"audio2exp.netG.weight": torch.zeros(3), "generator.conv1.weight": torch.zeros(2)}, path)
    net, report = import_weights(path)
    assert_same(net, crops, official_forward(state, crops))
    assert report.notes == ("2 tensors outside of 'face_3drecon.' were left aside",)


def test_imported_weights_survive_saving_and_loading(tmp_path, state, crops):
    torch.save(state, tmp_path / "net_recon.pth")
    net, report = import_weights(tmp_path / "net_recon.pth")
    save_weights(net, report.card, tmp_path / "net.safetensors")
    loaded = load_weights(tmp_path / "net.safetensors", layout=CoefficientLayout(80, 64, 80), face_model="bfm2009-full")
    assert_same(loaded, crops, official_forward(state, crops))


def test_one_output_layer_is_split_and_what_trails_is_dropped(tmp_path, state, crops):
    expected = official_forward(state, crops)
    weight, bias = (torch.cat([state[f"final_layers.{i}.{k}"] for i in range(7)]) for k in ("weight", "bias"))
    one = {k: v for k, v in state.items() if k.startswith("backbone.")}
    one["backbone.fc.weight"] = torch.cat([weight.flatten(1), torch.ones(3, weight.shape[1])])
    one["backbone.fc.bias"] = torch.cat([bias, torch.ones(3)])
    torch.save({"net_recon": one}, tmp_path / "one.pth")
    net, report = import_weights(tmp_path / "one.pth")
    assert_same(net, crops, expected)
    assert report.notes == ("the last 3 of 260 outputs were dropped",)


@pytest.mark.parametrize("extra", [(), (1,)])
def test_white_light_is_repeated_for_three_channels(tmp_path, crops, extra):
    white = random_official_state(4, width=WIDTH, heads=(80, 64, 80, 3, 9, 2, 1, *extra))
    torch.save(white, tmp_path / "white.pth")
    net, report = import_weights(tmp_path / "white.pth")
    raw = official_forward(white, crops)
    expected = torch.cat([raw[:, :227], raw[:, 227:236].repeat(1, 3), raw[:, 236:239]], 1)
    assert_same(net, crops, expected)
    assert report.card.light == "white"
    assert "white light" in report.notes[0]
    with torch.no_grad():
        sh = net(crops).sh
    torch.testing.assert_close(sh[..., 0], sh[..., 2])


def test_another_layout_is_read_from_the_heads(tmp_path, crops):
    heads = (10, 52, 6, 3, 27, 2, 1)
    state = random_official_state(4, width=WIDTH, heads=heads)
    torch.save(state, tmp_path / "own.pth")
    net, report = import_weights(tmp_path / "own.pth", face_model="own-head")
    assert net.layout == CoefficientLayout(10, 52, 6)
    assert report.card.face_model == "own-head"
    assert_same(net, crops, official_forward(state, crops))


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "raw"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, state, kind):
    target, path = tmp_path / "made-by-the-pickle", tmp_path / "evil.pth"
    evil = {"net_recon": state, "extra": Bomb(target)}
    if kind == "raw":
        path.write_bytes(pickle.dumps({"extra": Bomb(target)}))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match="refused" if kind == "raw" else r"asks for (posix|nt)\.mkdir to be run"):
        import_weights(path)
    assert not target.exists()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_checkpoints_are_refused(tmp_path, state, share):
    path = tmp_path / "epoch_20.pth"
    torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="fetch it again"):
        import_weights(path)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "photos.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "hello")
    with pytest.raises(WeightsError, match="not a PyTorch file"):
        import_weights(path)


def without(state, *names):
    return {k: v for k, v in state.items() if k not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "backbone.layer2.1.bn2.running_var"), r"missing backbone\.layer2\.1\.bn2\.running_var"),
        (lambda s: without(s, "final_layers.3.bias"), r"expected a tensor final_layers\.3\.bias"),
        (lambda s: without(s, "final_layers.6.weight", "final_layers.6.bias"), r"received \[80, 64, 80, 3, 27, 2\]"),
        (lambda s: s | {"backbone.layer3.6.conv1.weight": torch.zeros(1)}, r"received \(3, 4, 7, 3\) units"),
        (lambda s: s | {"backbone.bn1.weight": torch.zeros(9)}, r"backbone\.bn1\.weight of shape \(8,\)"),
        (lambda s: s | {"final_layers.0.bias": torch.full((80,), torch.nan)}, r"heads\.id\.bias holds NaN"),
        (lambda s: without(s, "backbone.conv1.weight"), "found 0; the file begins with backbone"),
        (lambda s: {"epoch": torch.tensor(3)}, "the file begins with epoch"),
        (lambda s: {}, "no tensors at all"),
        (lambda s: s | {"final_layers.2.bias": torch.zeros(79)}, r"weight of \(80, 256, 1, 1\) with a bias of \(79,\)"),
        (lambda s: s | {"final_layers.2.weight": torch.zeros(80)}, r"weight of \(80,\) with"),
        (lambda s: s | {"final_layers.2.weight": torch.zeros(80, 9)}, r"on \[9, 256\]"),
        (lambda s: s | {"backbone.conv1.weight": torch.tensor(1.0)}, r"first convolution .*received \(\)"),
        (lambda s: s | {"backbone.conv1.weight": torch.zeros(1).expand(1 << 20, 3, 7, 7)}, "first convolution"),
        (lambda s: {"a": s, "b": s}, "found 0"),
        (lambda s: {"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1000, 2)}, "ImageNet classifier"),
        (lambda s: {"net_recon": {"backbone.features.0.0.weight": torch.zeros(1)}}, "received a MobileNet"),
    ],
)
def test_checkpoints_of_something_else_are_refused(tmp_path, state, change, message):
    torch.save(change(state), tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights(tmp_path / "odd.pth")


@pytest.mark.parametrize("name", ["backbone.conv1.weight", "backbone.bn1.running_var", "final_layers.0.weight"])
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.long(),
        lambda value: value.bool(),
        lambda value: value.to(torch.complex64),
        lambda value: value.to("meta"),
        lambda value: value.to_sparse(),
    ],
)
def test_tensors_that_are_no_plain_floats_are_refused_by_name(tmp_path, state, name, change):
    torch.save(state | {name: change(state[name])}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=f"expected {re.escape(name)} to hold plain floating-point numbers"):
        import_weights(tmp_path / "odd.pth")


def test_dictionaries_that_hold_themselves_or_each_other_over_and_over_are_refused(tmp_path, state):
    itself: dict[str, object] = dict(state)
    itself["again"] = itself
    torch.save(itself, tmp_path / "itself.pth")
    with pytest.raises(WeightsError, match="in more than 32 dictionaries"):
        import_weights(tmp_path / "itself.pth")
    doubled: dict[str, object] = dict(state)
    for _ in range(30):  # a billion names
        doubled = {"a": doubled, "b": doubled}
    torch.save(doubled, tmp_path / "doubled.pth")
    with pytest.raises(WeightsError, match="at most 100000 entries"):
        import_weights(tmp_path / "doubled.pth")
    (tmp_path / "deep.pth").write_bytes(deep_pickle())
    with pytest.raises(WeightsError):
        import_weights(tmp_path / "deep.pth")


def deep_pickle(levels: int = 100_000) -> bytes:
    """Dictionaries in dictionaries, by hand: pickle itself gives up."""
    return b"\x80\x02" + b"}X\x01\x00\x00\x00a" * levels + b"}" + b"s" * levels + b"."


@pytest.mark.parametrize("outputs", [200, 1000])
def test_an_output_layer_of_another_size_is_refused(tmp_path, state, outputs):
    one = {k: v for k, v in state.items() if k.startswith("backbone.")}
    one |= {"backbone.fc.weight": torch.zeros(outputs, 256), "backbone.fc.bias": torch.zeros(outputs)}
    torch.save(one, tmp_path / "one.pth")
    with pytest.raises(WeightsError, match=f"expected an output layer of 257 .*received {outputs}"):
        import_weights(tmp_path / "one.pth")


# --- TensorFlow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "packed"), [("", True), ("resnet/", False)])
def test_frozen_graphs_answer_as_before_import(tmp_path, variables, crops, prefix, packed):
    path = tmp_path / "FaceReconModel.pb"
    path.write_bytes(frozen_graph(variables, slim_strides(), prefix=prefix, packed=packed))
    net, report = import_weights(path)
    assert_same(net, crops, slim_forward(variables, tensorflow_input(crops)))
    assert (net.architecture, net.width, net.input_coding) == ("resnet_v1_50_slim", WIDTH, "bgr_0_255")
    assert (report.kind, report.notes) == ("frozen TensorFlow graph", ())


@pytest.mark.parametrize(("shards", "ending"), [(1, ".index"), (3, ""), (1, ".data-00000-of-00001"), (1, ".meta")])
def test_checkpoints_answer_as_before_import(tmp_path, variables, crops, shards, ending):
    with_slots = variables | {"global_step": np.array(200000, np.int64)}
    with_slots |= {"resnet_v1_50/conv1/weights/Adam": variables["resnet_v1_50/conv1/weights"] * 0}
    write_checkpoint(tmp_path / "FaceReconModel", with_slots, shards=shards)
    net, report = import_weights(tmp_path / f"FaceReconModel{ending}")
    assert_same(net, crops, slim_forward(variables, tensorflow_input(crops)))
    assert report.kind == "TensorFlow checkpoint"


@pytest.mark.parametrize("training", [(False,), (True, False)])
def test_another_epsilon_of_the_graph_is_honoured(tmp_path, variables, crops, training):
    """The reference adds 1e-5; variances that are smaller by the difference make up for the graph's 1.001e-3."""
    path = tmp_path / "graph.pb"
    shifted = {k: v + np.float32(1e-5 - 1.001e-3) if "variance" in k else v for k, v in variables.items()}
    path.write_bytes(frozen_graph(shifted, slim_strides(), epsilon=1.001e-3, training=training))
    net, report = import_weights(path)
    assert_same(net, crops, slim_forward(variables, tensorflow_input(crops)))
    assert report.notes == ()


def test_a_graph_that_only_trains_is_reported(tmp_path, variables):
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(variables, slim_strides(), training=(True,)))
    assert "batch's own statistics" in import_weights(path)[1].notes[0]


def test_batch_norm_without_scale_and_folded_batch_norm_are_read(tmp_path, crops):
    plain = slim_variables(3, width=WIDTH, heads=SLIM_HEADS, batch_norm_scale=False)
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(plain, slim_strides()))
    expected = slim_forward(plain, tensorflow_input(crops))
    assert_same(import_weights(path)[0], crops, expected)

    folded = {k: v for k, v in plain.items() if k.startswith("fc-")}
    for name in [k.removesuffix("/weights") for k in plain if k.endswith("/weights") and not k.startswith("fc-")]:
        factor = 1 / np.sqrt(plain[f"{name}/BatchNorm/moving_variance"] + 1e-5)
        shift = plain[f"{name}/BatchNorm/beta"] - plain[f"{name}/BatchNorm/moving_mean"] * factor
        folded[f"{name}/Conv2D_weights"] = (plain[f"{name}/weights"] * factor).astype(np.float32)
        folded[f"{name}/Conv2D_bn_offset"] = shift.astype(np.float32)
    path.write_bytes(b"".join(constant(k, v) for k, v in folded.items()))
    assert_same(import_weights(path)[0], crops, expected)


def test_extra_heads_and_white_light_of_a_graph(tmp_path, crops):
    heads = SLIM_HEADS | {"fc-gamma": 9, "fc-scale": 1}
    variables = slim_variables(6, width=WIDTH, heads=heads)
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(variables, slim_strides()))
    net, report = import_weights(path)
    raw = slim_forward(variables, tensorflow_input(crops))
    assert_same(net, crops, torch.cat([raw[:, :227], raw[:, 227:236].repeat(1, 3), raw[:, 236:239]], 1))
    assert len(report.notes) == 2
    assert "last 1 of 258" in report.notes[1]


def test_one_output_layer_of_a_graph_is_split(tmp_path, crops):
    variables = slim_variables(6, width=WIDTH, heads={"resnet_v1_50/logits": 258})
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(variables, slim_strides()))
    net, _ = import_weights(path)
    assert_same(net, crops, slim_forward(variables, tensorflow_input(crops), ("resnet_v1_50/logits",))[:, :257])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_graphs_in_other_precisions_are_read(tmp_path, variables, crops, dtype):
    cast = {k: v.astype(dtype) if v.ndim > 1 else v for k, v in variables.items()}
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(cast, slim_strides()))
    net, _ = import_weights(path)
    assert_same(net, crops, slim_forward({k: v.astype(np.float32) for k, v in cast.items()}, tensorflow_input(crops)))


def test_a_graph_that_strides_elsewhere_is_refused(tmp_path, variables):
    strides = slim_strides()
    strides["block1/unit_3/bottleneck_v1/conv2"] = 1
    strides["block2/unit_1/bottleneck_v1/conv1"] = 2
    path = tmp_path / "caffe.pb"
    path.write_bytes(frozen_graph(variables, strides))
    with pytest.raises(WeightsError, match=r"expected resnet_v1_50/block\d/\S+ to stride by"):
        import_weights(path)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9999])
def test_truncated_graphs_are_refused(tmp_path, variables, share):
    whole = frozen_graph(variables, slim_strides())
    path = tmp_path / "graph.pb"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="not a whole TensorFlow graph"):
        import_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (node("a", "Placeholder"), "no constants at all"),
        (constant("a", np.zeros(3, np.float32)), "the file begins with a"),
        (b"\x0a\x00", "no TensorFlow operations"),
    ],
)
def test_graphs_of_something_else_are_refused(tmp_path, content, message):
    (tmp_path / "graph.pb").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        import_weights(tmp_path / "graph.pb")


@pytest.mark.parametrize("missing", ["fc-tex/biases", "resnet_v1_50/block2/unit_3/bottleneck_v1/conv3/BatchNorm/beta"])
def test_an_incomplete_graph_names_what_is_missing(tmp_path, variables, missing):
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(without(variables, missing), slim_strides()))
    with pytest.raises(WeightsError, match=f"expected a tensor {missing}"):
        import_weights(path)


@pytest.mark.parametrize("name", ["resnet_v1_50/conv1/weights", "fc-id/weights"])
def test_flat_kernels_are_refused(tmp_path, variables, name):
    path = tmp_path / "graph.pb"
    path.write_bytes(frozen_graph(variables | {name: variables[name].ravel()}, slim_strides()))
    with pytest.raises(WeightsError, match=f"expected {name} of four axes"):
        import_weights(path)


def test_checkpoints_without_their_data_or_index_are_refused(tmp_path, variables):
    prefix = tmp_path / "FaceReconModel"
    write_checkpoint(prefix, variables)
    data = tmp_path / "FaceReconModel.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="fetch it again"):
        import_weights(prefix)
    data.unlink()
    with pytest.raises(AssetNotFoundError, match="data-00000-of-00001"):
        import_weights(prefix)
    (tmp_path / "FaceReconModel.index").unlink()
    with pytest.raises(AssetNotFoundError, match=r"expected .*FaceReconModel"):
        import_weights(tmp_path / "FaceReconModel.index")


def test_damaged_and_compressed_indices_are_refused(tmp_path, variables):
    prefix, index = tmp_path / "model", tmp_path / "model.index"
    write_checkpoint(prefix, variables, compression=1)
    with pytest.raises(WeightsError, match="compressed"):
        import_weights(prefix)
    write_checkpoint(prefix, variables)
    whole = index.read_bytes()
    for damaged in (whole[:-9], whole[200:], b"", whole[: len(whole) // 2] + whole[-48:]):
        index.write_bytes(damaged)
        with pytest.raises(WeightsError, match="not a whole checkpoint index"):
            import_weights(prefix)


def test_the_old_single_file_checkpoint_is_refused_by_name(tmp_path):
    path = tmp_path / "FaceReconModel"
    path.write_bytes(sorted_table({b"": b"", b"a": b"b"}))
    with pytest.raises(WeightsError, match="old single-file format"):
        import_weights(path)


# --- anything else ----------------------------------------------------------------------------------------------------


def test_tables_for_a_network_that_has_none_are_refused(tmp_path, state, variables):
    torch.save(state, tmp_path / "epoch_20.pth")
    write_checkpoint(tmp_path / "FaceReconModel", variables, shards=1)
    for name in ("epoch_20.pth", "FaceReconModel"):
        with pytest.raises(WeightsError, match="expected --uv-data only beside a checkpoint of the published PRNet"):
            import_weights(tmp_path / name, uv_data=tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"\xff\xd8\xff\xe0" + b"\0" * 100])
def test_files_of_no_known_kind_are_refused(tmp_path, content):
    (tmp_path / "download").write_bytes(content)
    with pytest.raises(WeightsError, match=f"received {len(content)} bytes"):
        import_weights(tmp_path / "download")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetNotFoundError, match="found no such file"):
        import_weights(tmp_path / "epoch_20.pth")


@pytest.mark.parametrize("data", [b"\x80", b"\x0a\x05abc", b"\x0b", b"\x0d\0\0", b"\x00\x01", b"\xff" * 11])
def test_malformed_messages_are_refused(data):
    with pytest.raises(MalformedMessageError):
        list(read_fields(memoryview(data)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (tensor_proto(np.zeros(3, np.float32))[:-1], "ends inside"),
        (number_field(1, 7) + bytes_field(2, shape_proto((2,))), "type 7"),
        (number_field(1, 1) + bytes_field(2, shape_proto((2,))) + bytes_field(4, b"1234"), "with 4 bytes"),
        (number_field(1, 1) + bytes_field(2, shape_proto((2,))), "with 0 values"),
        (number_field(1, 1) + bytes_field(2, shape_proto((1,))) + bytes_field(5, b"12345678"), "with 2 values"),
        (number_field(1, 1) + bytes_field(2, shape_proto((2,))) + bytes_field(5, b"123"), "inside a float"),
        (number_field(1, 1) + bytes_field(2, shape_proto((1 << 40,))) + float_field(5, 1.0), "shape"),
        (number_field(1, 1) + bytes_field(2, shape_proto((-1, -1))) + float_field(5, 1.0), "shape"),
    ],
)
def test_malformed_constants_are_refused(message, reason):
    with pytest.raises(MalformedMessageError, match=reason):
        decode_tensor(memoryview(message))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (tensor_proto(np.array([[1.5, 2], [3, 4]], np.float64)), [[1.5, 2], [3, 4]]),
        (number_field(1, 1) + bytes_field(2, shape_proto((3,))) + float_field(5, 2.0), [2, 2, 2]),
        (number_field(1, 3) + bytes_field(2, shape_proto((2,))) + number_field(7, -1) + number_field(7, 5), [-1, 5]),
        (number_field(1, 19) + bytes_field(2, shape_proto((2,))) + number_field(13, 0x3C00), [1, 1]),
        (number_field(1, 1) + bytes_field(2, b"") + float_field(5, 7.0), 7),
    ],
)
def test_constants_are_decoded_in_every_spelling(message, expected):
    np.testing.assert_array_equal(decode_tensor(memoryview(message)), expected)


def test_head_sizes_of_the_references_are_the_published_ones():
    assert sum(TORCH_HEADS) == sum(SLIM_HEADS.values()) == 257
