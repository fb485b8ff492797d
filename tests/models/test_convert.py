"""Files of PyTorch and of safetensors become weights; nothing in them is executed, and what does not fit is refused.

data/torch_nafnet.pth was written by PyTorch 2.13 and holds what such files may hold: half precision (intro.bias),
bfloat16 (downs.0.bias), a transposed view (ups.0.0.weight), two tensors in one storage (ending), `torch.nn.Parameter`.
"""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors import serialize_file
from safetensors.numpy import save_file

from models.convert import convert, main, network_arrays, read_arrays
from models.weights import Weights, load_weights, save_weights
from tests.conftest import python
from tests.models.networks import TINY, drawn_arrays, lively_locator
from utils.files import UnsafeFileError

DATA = Path(__file__).parent / "data"


def test_a_file_of_pytorch_becomes_the_same_network():
    weights, expected = convert(DATA / "torch_nafnet.pth"), drawn_arrays(7, **TINY)
    assert weights.params.keys() == expected.keys()
    for name, values in expected.items():
        assert weights.params[name].dtype == np.float32
        np.testing.assert_array_equal(weights.params[name], values, err_msg=name)
    assert weights.model == {**TINY, "gate": False}
    assert weights.origin["converted_from"] == "torch_nafnet.pth"


@pytest.mark.parametrize("kind", [{"gate": False}, {"gate": True}, {"gate": False, "mask_input": True}])
def test_shape_of_the_network_is_read_off_the_keys(kind):
    model = {"width": 3, "encoder_blocks": [1, 2, 4], "middle_blocks": 5, "decoder_blocks": [3, 1, 2], **kind}
    assert Weights(drawn_arrays(0, **model)).model == model


def test_command_line_converts_with_settings_and_the_locator_of_another_file(tmp_path):
    source, finds, target = tmp_path / "in.safetensors", tmp_path / "finds.pdparams", tmp_path / "new" / "out.pdparams"
    arrays = drawn_arrays(1, **TINY, mask_input=True)
    save_file({**arrays, "intro.bias": arrays["intro.bias"].astype(np.float16)}, source)
    save_weights(finds, Weights({}, {"fill": "page", "mask_threshold": 0.55}, locator=lively_locator()))
    options = [str(target), "--predict", "fill=network", "tlc_ratio=1.5", "--locator", str(finds)]
    assert python("-m", "models.convert", source, *options).stderr == ""
    for _ in range(2):  # From PyTorch's file, and from that of this project which came of it
        weights = load_weights(target)
        assert weights.predict == {"fill": "network", "mask_threshold": 0.55, "tlc_ratio": 1.5}
        assert weights.model == {**TINY, "gate": False, "mask_input": True}
        assert weights.locator.model == lively_locator().model
        np.testing.assert_equal(weights.params, arrays)
        assert main([str(target), *options]) == 0
    assert main([str(target), str(target), "--locator", str(source)]) == 2
    assert main([str(source), str(target), "--predict", "rowz=2"]) == 2


@pytest.mark.parametrize(("left_out", "added", "words"), [
    # One of the faults that tests/models/test_weights.py knows.
    ("middle_blks.0.beta", {}, "missing middle_blks.0.beta"),
    ("decoders", {}, r"no key matches .*decoders"),
    (None, {"ending.weight": (5, 4, 3, 3)}, "makes 5 channels"),
    (None, {"intro.weight": (4, 5, 3, 3)}, "takes 5 channels"),
    ("", {"conv.weight": (4, 3, 3, 3)}, "no NAFNet, Restormer or locator: none of 1 keys .* first are conv.weight"),
    (None, {"teacher.intro.weight": (4, 3, 3, 3)}, r"holds 2 networks \(\*, teacher\.\*\)"),
    *((None, {"intro.bias": [0, value, 0, 0]}, r"intro\.bias: 1 of its 4 numbers are NaN or infinite")
      for value in (np.nan, np.inf, 1e300)),
])  # fmt: skip
def test_weights_that_do_not_fit_or_are_not_finite_in_float32_are_refused(tmp_path, capsys, left_out, added, words):
    arrays = {name: values.astype(np.float64) for name, values in drawn_arrays(2, **TINY).items()}
    kept = {name: values for name, values in arrays.items() if left_out is None or left_out not in name}
    more = {name: np.zeros(what) if isinstance(what, tuple) else np.array(what) for name, what in added.items()}
    source = tmp_path / "in.safetensors"
    save_file({**kept, **more}, source)
    with pytest.raises(ValueError, match=words) as error:
        convert(source)
    assert str(source) in str(error.value)
    assert main([str(source), str(tmp_path / "out.pdparams")]) == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out.pdparams").exists()


WHOLE = (DATA / "torch_nafnet.pth").read_bytes()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("old.pth", pickle.dumps({"params": {}}), r"old\.pth.*not a whole file of torch"),
    ("torn.pth", WHOLE[: len(WHOLE) // 2], r"torn\.pth"),
    ("torn.safetensors", b"\x10\0\0\0\0\0\0\0{}", r"torn\.safetensors"),
    ("net.onnx", b"", r"\.onnx"),
    ("other.pth", b"PK\5\6" + bytes(18), r"other\.pth.*data\.pkl"),
    ("missing.pth", None, r"missing\.pth"),
])  # fmt: skip
def test_other_files_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        convert(tmp_path / name)


def write_archive(path: Path, tree: bytes, *storages: list[float]) -> None:
    """What `torch.save` writes, from the text of a pickle and float32 storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", tree + b".")
        for number, values in enumerate(storages):
            archive.writestr(f"archive/data/{number}", np.float32(values).tobytes())


def tensor(storage: int, offset: int, size: Sequence[int], stride: Sequence[int]) -> bytes:
    """The pickled text of a tensor in one of the storages, which has four values."""
    sides, strides = ("(" + "".join(f"I{value}\n" for value in values) + "t" for values in (size, stride))
    where = f"(S'storage'\nctorch\nFloatStorage\nS'{storage}'\nS'cpu'\nI4\ntQ"
    return f"ctorch._utils\n_rebuild_tensor_v2\n({where}I{offset}\n{sides}{strides}tR".encode()


def dictionary(**values: bytes) -> bytes:
    return b"(" + b"".join(f"S'{name}'\n".encode() + value for name, value in values.items()) + b"d"


def test_a_tree_of_dictionaries_is_read_by_dotted_names_and_has_an_end(tmp_path):
    plain, average = (dictionary(bias=tensor(number, 0, (2, 2), (1, 2))) for number in (0, 1))
    storages = [0, 1, 2, 3], [4, 5, 6, 7]
    # The last one is the dictionary itself.
    tree = b"}p9\nS'params'\n" + plain + b"sS'ema'\n" + average + b"sS'epoch'\nI3\nsS'again'\ng9\ns"
    write_archive(tmp_path / "both.pth", tree, *storages)
    arrays = read_arrays(tmp_path / "both.pth")
    np.testing.assert_equal(arrays, {"params.bias": [[0, 2], [1, 3]], "ema.bias": [[4, 6], [5, 7]]})


@pytest.mark.parametrize(("prefixes", "taken"), [
    *(([prefix], 0) for prefix in ("", "module.", "net_g.", "state_dict.", "params_ema.module.", "model.params.",
                                   "generator.module.net_g.", "state_dict.model.module.", "any.name.")),
    (["params.", "params_ema."], 1),
    (["model.params_ema.module.", "model.params.module."], 0),
    (["state_dict.net_g.", "state_dict.ema_net_g."], 1),
])  # fmt: skip
def test_prefixes_go_and_of_several_copies_the_average_is_taken(prefixes, taken):
    copies = [drawn_arrays(number, **TINY) for number in range(len(prefixes))]
    arrays = {"optimizer.step": np.zeros(1), "net_d.conv.weight": np.zeros(2)} if "" not in prefixes else {}
    for prefix, copy in zip(prefixes, copies, strict=True):
        arrays |= {f"{prefix}{name}": values for name, values in copy.items()}
    np.testing.assert_equal(network_arrays(arrays), copies[taken])


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_safetensors_of_other_precisions_become_float32(tmp_path, kind):
    arrays, tensors = drawn_arrays(5, **TINY), {}
    for name, values in arrays.items():
        data = (values.view(np.uint32) >> 16).astype(np.uint16) if kind == "bfloat16" else values.astype(kind)
        tensors[f"module.{name}"] = {"dtype": kind, "shape": values.shape, "data": data.tobytes()}
    serialize_file(tensors, tmp_path / "in.safetensors")
    np.testing.assert_equal(convert(tmp_path / "in.safetensors").params, arrays)


@pytest.mark.parametrize(("tree", "words"), [
    *((dictionary(bias=tensor(0, offset, size, stride)), "tensor of size") for size, stride, offset in (
        ([5], [1], 0), ([3], [1], 2), ([2], [1], -1), ([2], [-1], 0), ([2, 2], [1], 0),
        ([1000, 1000], [0, 0], 0),  # inside its storage, but a million copies of one value
    )),
    (dictionary(params=dictionary(), step=b"I3\n"), "holds no parameters"),
    (dictionary(params=b"cbuiltins\nexec\n(S'raise SystemExit(1)'\ntR"), "asks to load builtins.exec"),
])  # fmt: skip
def test_a_tensor_outside_its_storage_a_tree_without_one_and_code_are_refused(tmp_path, tree, words):
    write_archive(tmp_path / "bad.pth", tree, [0, 1, 2, 3])
    with pytest.raises(UnsafeFileError if "asks" in words else ValueError, match=rf"bad\.pth.*{words}"):
        read_arrays(tmp_path / "bad.pth")
