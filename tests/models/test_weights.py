"""The file of weights, arrays in and out of a network, and the shipped weights."""

import dataclasses
from contextlib import suppress
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import PRESETS, PredictConfig
from models.weights import FORMAT, Weights, arrays_of, load_arrays, load_weights, network_of, save_weights
from tests.conftest import TRIED
from tests.models.networks import TINY, drawn_arrays, random_network, random_picture
from utils.files import load_tree, save_tree

# `shipped_weights_check.npz` holds a random input of 97x131 and the two outputs, in float32, of the PyTorch network
# that the shipped weights were trained in.
CHECK = Path(__file__).parent / "data" / "shipped_weights_check.npz"
SHIPPED = Path(__file__).parents[2] / "test_code" / "gated.pdparams"


def test_a_file_of_weights_builds_the_same_network_and_keeps_what_is_beside_it(tmp_path, monkeypatch):
    network, more = random_network(**TINY, gate=True), {"predict": {"rows": 2}, "origin": {"command": "test"}}
    weights = Weights(arrays_of(network), **more)
    save_weights(tmp_path / "a.pdparams", weights)
    monkeypatch.chdir(tmp_path)
    loaded = load_weights("a.pdparams")
    without = {"params": {}, "file": None}
    assert vars(dataclasses.replace(loaded, **without)) == vars(dataclasses.replace(weights, **without))
    # They know their file and take it nowhere.
    assert (loaded.file, weights.file) == (tmp_path / "a.pdparams", None)
    save_weights(tmp_path / "b.pdparams", loaded)
    assert (tmp_path / "a.pdparams").read_bytes() == (tmp_path / "b.pdparams").read_bytes()
    again = network_of(loaded)
    assert not again.training
    x = paddle.to_tensor(random_picture(7, 10))
    for output, expected in zip(again(x), network(x), strict=True):
        np.testing.assert_array_equal(output.numpy(), expected.numpy())


def test_other_files_are_refused_with_a_way_out(tmp_path):
    weights = Weights(arrays_of(random_network(**TINY)))
    save_tree(tmp_path / "plain.pdparams", weights.params)
    with pytest.raises(ValueError, match=r"plain\.pdparams.*models\.convert"):
        load_weights(tmp_path / "plain.pdparams")
    for gone, words in (("ending.weight", "params: no whole network of a known kind: 'ending.weight'"),
                        ("middle_blks.0.beta", "the weights do not fit this network, 1 faults: missing middle_blks")):
        kept = {name: values for name, values in weights.params.items() if name != gone}
        save_tree(tmp_path / "cut.pdparams", {"format": FORMAT, "params": kept})
        with pytest.raises(ValueError, match=rf"cut\.pdparams: {words}"):
            network_of(load_weights(tmp_path / "cut.pdparams"))
    with pytest.raises(ValueError, match="no network that restores"):
        network_of(Weights({}, locator=weights))
    # A name alone makes no layers, of which so many would fill the memory.
    with pytest.raises(ValueError, match=r"missing middle_blks\.1\..*unexpected middle_blks\.100000000\.beta"):
        network_of(Weights({**weights.params, "middle_blks.100000000.beta": np.zeros(1, np.float32)}))


@pytest.mark.parametrize(("key", "part", "words"), [
    ("params", 3, "params: expected names"), ("predict", None, "predict"),
    ("origin", [], "origin"), ("format", "1", "format '1'"), ("locator", 7, r"locator\.params"),
    ("params", {"a": np.float32([0, np.nan, -np.inf, 1])}, "params: a: 2 of its 4 numbers are NaN or infinite"),
    ("params", {"a": [1.0]}, "params: a: expected an array of numbers"),
    ("locator", {"model": {}, "params": {"a": np.float16([0, np.inf])}}, r"locator\.params: a: 1 of its 2"),
])  # fmt: skip
def test_a_part_that_is_none_is_refused_by_file_and_name(tmp_path, key, part, words):
    path = tmp_path / "bad.pdparams"
    save_weights(path, Weights(arrays_of(random_network(**TINY))))
    save_tree(path, load_tree(path) | {key: part})
    with pytest.raises(ValueError, match=rf"bad\.pdparams: {words}"):
        load_weights(path)


@TRIED
@given(data=st.data())
def test_a_file_of_weights_is_read_whole_or_refused_by_name(data, tmp_path_factory):
    """Bytes of a whole file are changed or cut off; what is then read makes a network, or is refused in words."""
    folder = tmp_path_factory.getbasetemp()
    path, whole = folder / "mutated.pdparams", folder / "whole.pdparams"
    if not whole.exists():
        save_weights(whole, Weights(drawn_arrays(0, **TINY), {"rows": 2}))
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes into the first bytes, where the structure lies.
        place = data.draw(st.integers(0, 600) | st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    # Refused in words, or whole; another error would end a command in a traceback.
    with suppress(ValueError):
        weights = load_weights(path)
        PredictConfig.from_dict(weights.predict)
        network_of(weights)


def test_every_fault_is_listed_and_nothing_is_loaded():
    network = random_network(**TINY)
    before = arrays_of(network)
    arrays = {name: values + 1 for name, values in before.items() if name != "middle_blks.0.beta"}
    arrays["head.weight"] = np.zeros((2, 3), np.float32)
    arrays["intro.bias"] = np.zeros(5, np.float32)
    arrays["ending.bias"] = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="4 faults") as error:
        load_arrays(network, arrays)
    told = str(error.value)
    assert "missing middle_blks.0.beta [1, 8, 1, 1]" in told
    assert "unexpected head.weight [2, 3]" in told
    assert "misshaped intro.bias: expected [4], found [5]" in told
    assert "not floating point ending.bias: int64" in told
    np.testing.assert_equal(arrays_of(network), before)


def test_the_shipped_weights_equal_the_pytorch_network():
    weights = load_weights(SHIPPED)
    assert weights.model == {**PRESETS["w16_middle10"], "gate": True}
    assert weights.predict["tlc_train_size"] == 256
    assert weights.origin["sha256"]
    with np.load(CHECK) as check:
        x, restored, mask_logit = check["x"], check["restored"], check["mask_logit"]
    found_restored, found_logit = (output.numpy() for output in network_of(weights)(paddle.to_tensor(x)))
    np.testing.assert_allclose(found_restored, restored, atol=1e-5)
    # Logits reach -18, so the bound is on their relative error where they exceed 1.
    np.testing.assert_allclose(found_logit, mask_logit, atol=1e-5, rtol=1e-5)
