"""From YAML to a checked config; what is mistyped, impossible or missing is refused by its key."""

import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs.load import load_config, parse_config, to_yaml
from configs.schema import AnyTerm, CharbonnierTerm, ConfigError, FillTerm, L1Term, MSSSIMTerm, PredictConfig, Stage
from losses import LOSSES
from metrics import MINIMUM_SIDE
from tests.conftest import TRIED
from utils.files import printable

TINY, LOCATOR, RESTORER, RESTORMER = (
    f"configs/{name}.yml" for name in ("smoke", "locator", "restorer_phase1", "restormer_phase1_l1")
)
PHASE1, PHASE2 = "configs/nafnet_phase1_l1.yml", "configs/nafnet_phase2_msssim.yml"
MINIMAL = """
output: runs/x
data: {train_list: a.txt, val_pages: pages.txt}
train:
  iterations: 30
  stages:
    - {iterations: 20, batch: 4, patch: 64}
    - {iterations: 10, batch: 2, patch: 128}
loss: [{name: l1, weight: 1.0}]
predict: {downscale: 2}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "minimal.yml"
    path.write_text(MINIMAL)
    return path


def test_values_are_read_and_overrides_reach_lists_nested_keys_nulls_and_terms(minimal):
    assert (load_config(minimal).data.crop, load_config(minimal).loss) == (1024, (L1Term(),))
    config = load_config(minimal, ["train.stages.0.batch=2", "data.val_pages=null", "validation.every=0",
                                   "data.paste.probability=0.5", "optimizer.betas=[0.8, 0.9]"])  # fmt: skip
    assert config.train.stages == (Stage(iterations=20, batch=2, patch=64), Stage(iterations=10, batch=2, patch=128))
    assert (config.data.val_pages, config.data.paste.probability) == (None, 0.5)
    assert config.optimizer.betas == (0.8, 0.9)
    for text in ("2e-4", "2.0e-4", "0.0002", "+2E-4"):
        assert load_config(minimal, [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == 2e-4
    config = load_config(TINY, ["loss.0={name: charbonnier, weight: 2}", "loss.1.radius=2"])
    assert config.loss[:2] == (CharbonnierTerm(weight=2.0, eps=1e-3), FillTerm(weight=1.0, radius=2))


@pytest.mark.parametrize(("override", "message"), [
    ("train.stages.0.pach=1", r"train\.stages\.0\.pach: unknown key; known here: .*patch"),
    ("train.stages.2.patch=1", r"train\.stages\.2: train\.stages is a list of 2; its items are 0 \.\. 1"),
    ("train.stages.0.batch=true", r"train\.stages\.0\.batch: expected a whole number, got True"),
    ("train.stages.0.batch=0", r"train\.stages\.0\.batch: 0 is too small, expected at least 1"),
    ("train.stages=3", r"train\.stages: expected a list, got 3"),
    ("optimizer.betas=[0.9, 1.5]", r"optimizer\.betas\.1: 1\.5 is too large, expected at most 0\.999999"),
    ("optimizer.learning_rate=.nan", r"optimizer\.learning_rate: expected a finite number"),
    ("train.amp=fp8", r"train\.amp: expected one of none, fp16, bf16, got 'fp8'"),
    ("output.name=x", r"output\.name: output is 'runs/x' \(text\) and has no keys below it"),
    ("a..b=1", r"-o a\.\.b=1: expected key=value"),
    ("seed=[1", r"-o seed=\[1: not valid YAML: line 1: expected ',' or ']'"),
    (f"optimizer.learning_rate=1{'0' * 400}", r"optimizer\.learning_rate: 10+\.\.\.0+ is too large, .* 1000000000"),
    pytest.param(f"seed=1{'0' * 5000}", "none of its kind .*4300 digits", id="digits"),
    pytest.param(f"seed=0x{'f' * 9999}", "seed: a number of thousands of digits is too large", id="hexadecimal"),
    ("seed=!!bool maybe", "not valid YAML: a value that is none of its kind"),
    pytest.param(f"seed={'[' * 3000}", "not valid YAML: lists or keys within one another, too deep", id="deep"),
    ("output=''", r"output: expected a text on one line that is not empty, got ''"),
])  # fmt: skip
def test_refusals_name_override_key_and_expectation(minimal, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(minimal, ["seed=1", override])
    told = str(caught.value)
    assert told.startswith((f"-o {override[:80]}: ", f"{minimal} with -o seed=1 -o {override}: "))
    assert ("\n" in told, len(told) < 400) == (False, True)


@pytest.mark.parametrize(("path", "overrides", "message"), [
    (LOCATOR, ["loss=[{name: l1}]"], r"loss\.0\.name: l1 compares pictures"),
    (LOCATOR, ["data.whole=false"], r"model\.network: .* sees whole photographs"),
    (LOCATOR, ["predict.fill=network"], r"model\.network: .* paints nothing"),
    (LOCATOR, ["train.stages.0.patch=100"], "multiples of 32"),
    (RESTORER, ["predict.fill=page"], r"model\.mask_input: .* predict\.fill: network"),
    (RESTORER, ["loss=[{name: mask_bce}]"], r"loss\.0\.name: mask_bce needs"),
    (RESTORMER, ["model.gate=true"], r"model\.gate: is for a NAFNet"),
    (RESTORMER, ["model.preset=tiny"], r"model\.preset: tiny is a NAFNet's"),
    (RESTORMER, ["predict.tlc_ratio=1.5"], r"predict\.tlc_ratio: a Restormer has no channel means"),
    (RESTORMER, ["model.network=nafnet"], r"model\.preset: restormer_dim16 is a Restormer's"),
    (TINY, ["model.encoder_blocks=[1]"], r"model\.decoder_blocks: 2 levels up, but 1 down"),
    (PHASE1, ["data.crop=512"], r"train\.stages\.5\.patch: 1024 is larger than .*data\.crop: 512"),
    (PHASE1, ["train.iterations=599999"], r"train\.stages: .* add up to 600000, but train\.iterations is 599999"),
    (PHASE2, ["train.stages.0.patch=160"], r"train\.stages\.0\.patch: 160 is too small for loss\.1 .* 161"),
    # The fault of the original: MS-SSIM on [0, 1] with the constants of 255. There is no such setting.
    (PHASE2, ["loss=[{name: ms_ssim, data_range: 255}]"], r"loss\.0\.data_range: unknown key"),
    (PHASE1, ["loss=[{name: l1, weight: 0}]"], r"loss: at least one term with a weight above 0"),
    (PHASE1, ["loss=[{name: l2, weight: 1}]"], r"loss\.0\.name: expected one of .*, got 'l2'"),
    (PHASE1, ["loss=[{name: l1}, {name: l1}]"], r"loss\.1\.name: l1 is listed twice"),
    (PHASE1, ["loss=[{name: mask_bce, weight: 1}]"], r"loss\.0\.name: mask_bce needs .*model\.gate: true"),
    (TINY, ["loss=[{name: l1}, {name: fill}, {name: mask_bce, weight: 0}]"], r"model\.gate: true, but no term"),
    *((PHASE1, [f"schedule.restarts=[416000, {second}]"], rf"schedule\.restarts\.1: {second} does not lie")
      for second in (184000, 600000)),
    (PHASE1, ["schedule.eta_min=[1e-5, 1e-6]"], r"schedule\.eta_min: 2 values, .* 3 periods"),
    (PHASE1, ["schedule.eta_min=[1e-3]"], r"schedule\.eta_min\.0: 0\.001 is above"),
    (PHASE1, ["data.val_pages=null"], r"validation\.every: there are no pages"),
    *((PHASE1, [f"predict.downscale={scale}", f"predict.long_side={side}"], rf"downscale: {scale}, but .* 2;")
      for scale, side in ((1, 0), (3, 1024))),
])  # fmt: skip
def test_impossible_combinations_are_refused(path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(path, overrides)


@pytest.mark.parametrize(("path", "overrides"), [
    (PHASE1, ["predict.downscale=1", "predict.long_side=1024"]), (PHASE1, ["predict.long_side=1024"]),
    (PHASE2, ["train.stages.0.patch=161"]), (PHASE1, ["loss=[{name: mask_bce}]", "model.gate=true"]),
    (PHASE1, ["loss=[{name: mask_dice}]", "model.gate=true"])])  # fmt: skip
def test_what_is_just_possible_is_accepted(path, overrides):
    assert load_config(path, overrides) != load_config(path)


BOMB = "x-0: &a0 [1]\n" + "".join(f"x-{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(("text", "message"), [
    (MINIMAL.replace("output: runs/x", ""), r"output: missing; The run's folder"),
    (MINIMAL + "seed: 1\nseed: 2\n", "not valid YAML: line 3?2?1?0?.*key 'seed' .text. stands twice"),
    (MINIMAL + "optimizer:\n\tclip_norm: 1\n", r"not valid YAML: line \d+: found character '\\t'"),
    (MINIMAL + "? [a, b]\n: 3\n", r"not valid YAML: line \d+: a key has to be a plain text"),
    (MINIMAL + "a: &a [*a]\n", "not valid YAML: line .*an alias stands inside what it names"),
    (MINIMAL + "optimizer: {<<: 3}\n", "not valid YAML: line .*expected a mapping or list of mappings for merging"),
    (MINIMAL + BOMB + "seed: *a8\n", "not valid YAML: line .*more than 100000 values, aliases written out"),
    (MINIMAL + "_base_: [3]\n", "_base_: expected a file name or a list of them, got "),
    ("output: !!python/object/apply:os.getcwd []\n", "not valid YAML: line 1: could not determine a constructor"),
    ("- a list\n", r"expected keys and values, got \['a list'\]"),
    ("# r\xe9sum\xe9\n" + MINIMAL, r"not UTF-8 text \(byte 4\); save it as UTF-8"),
    (MINIMAL.encode("utf-16-le"), "not valid YAML: special characters are not allowed"),
])  # fmt: skip
def test_files_that_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, ["model.gate=false"])
    assert re.fullmatch(rf"{path}( with -o model\.gate=false)?: .*", str(caught.value))


def test_merges_take_over_what_an_alias_names_and_a_byte_order_mark_is_no_matter(tmp_path):
    text = MINIMAL.replace("- {iterations: 20,", "- &first {iterations: 20,").replace(
        "- {iterations: 10, batch: 2, patch", "- {<<: *first, iterations: 10, patch"
    )
    shared = "x-shared: &shared {clip_norm: 1}\noptimizer: {<<: [*shared, {clip_norm: 2, weight_decay: 0}]}\n"
    (tmp_path / "merge.yml").write_text(text + shared, encoding="utf-8-sig")
    config = load_config(tmp_path / "merge.yml")
    assert config.train.stages[1] == Stage(iterations=10, batch=4, patch=128)
    assert (config.optimizer.clip_norm, config.optimizer.weight_decay) == (1.0, 0.0)
    text = MINIMAL + "x: &x [1]\ndefaults: &d {seed: 4}\n<<: *d\n"
    (tmp_path / "root.yml").write_text(text)
    assert load_config(tmp_path / "root.yml").seed == 4
    (tmp_path / "root.yml").write_text(text.replace("&x ", ""))
    with pytest.raises(ConfigError, match="x: unknown key"):
        load_config(tmp_path / "root.yml")


HARM = ["{", "[", "]", ": ", "\n", "\t", "- ", "&a ", "*a", "<<: ", "null", "true", ".nan", "-.inf", "1e999", "9" * 400,
        "'", "!!int ", "0x", "1:99", "2001-02-30", "? ", "\0", "\udcff", "\xe9", "_base_", "x-a", "[" * 2000, "-1"]
TOKENS = re.findall(r"\w+|[^\w]", Path(TINY).read_text())


@TRIED
@given(
    changes=st.dictionaries(st.integers(0, len(TOKENS) - 1), st.sampled_from(TOKENS + HARM * 3), max_size=6),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"]),
    end=st.none() | st.integers(0, len("".join(TOKENS))),
)
def test_a_config_is_read_whole_or_refused_in_one_sentence(changes, encoding, end, tmp_path_factory):
    """A shipped file with a few of its tokens replaced by others of its own, or by what does harm; then perhaps cut."""
    path = tmp_path_factory.getbasetemp() / "mutated.yml"
    text = "".join(changes.get(place, token) for place, token in enumerate(TOKENS))
    path.write_bytes(text.encode(encoding, "surrogatepass")[:end])
    try:
        config = load_config(path)
    except (ConfigError, FileNotFoundError) as error:
        words = str(error)
        assert words.startswith(str(path.parent))
        assert printable(words) == words
        assert len(words) < 600
    else:
        assert parse_config(yaml.safe_load(to_yaml(config))) == config


def test_bases_chain_merge_keys_and_replace_lists_and_a_cycle_or_a_missing_one_is_refused(minimal, tmp_path):
    (tmp_path / "middle").mkdir()
    (tmp_path / "middle/b.yml").write_text("_base_: ../minimal.yml\nseed: 5\noptimizer: {clip_norm: 1}\n")
    leaf, stage = tmp_path / "leaf.yml", "{iterations: 30, batch: 1, patch: 32}"
    leaf.write_text(f"_base_: middle/b.yml\noptimizer: {{weight_decay: 0}}\ntrain: {{stages: [{stage}]}}\n")
    config = load_config(leaf)
    assert (config.seed, config.data.train_list) == (5, "a.txt")
    assert (config.optimizer.clip_norm, config.optimizer.weight_decay) == (1.0, 0.0)
    assert config.train.stages == (Stage(iterations=30, batch=1, patch=32),)
    (tmp_path / "other.yml").write_text("seed: 9\noutput: other\n")
    leaf.write_text("_base_: [minimal.yml, other.yml]\noutput: leaf\n")
    assert (load_config(leaf).seed, load_config(leaf).output) == (9, "leaf")
    for name, base in ("ab", "ba", ("c", "gone")):
        (tmp_path / f"{name}.yml").write_text(f"_base_: {base}.yml\n")
    with pytest.raises(ConfigError, match=r"_base_ leads back.*a\.yml -> .*b\.yml -> .*a\.yml"):
        load_config(tmp_path / "a.yml")
    with pytest.raises(FileNotFoundError, match=r"gone\.yml: no such config file \(the _base_ of .*c\.yml\)"):
        load_config(tmp_path / "c.yml")


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_configs_load_and_survive_the_round_trip(path, tmp_path):
    config = load_config(path)
    assert parse_config(asdict(config)) == config
    (tmp_path / "config.yml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yml") == config


def test_phases_hand_their_weights_on():
    for suffix in ("", "_gated"):
        names = ("phase1_l1", "phase2_msssim", "phase3_all")
        chain = [load_config(f"configs/nafnet_{name}{suffix}.yml") for name in names]
        assert chain[0].train.init is None
        for before, after in pairwise(chain):
            assert after.train.init == f"{before.output}/model_best.pdparams"
        assert chain[2].data.train_list.endswith("all.txt")
        assert chain[2].validation.every == 0


def test_predict_settings_survive_a_weights_file_and_refuse_newer_keys():
    assert PredictConfig.from_dict({"long_side": 1024}) == PredictConfig(long_side=1024)
    for wrong, words in (({"sharpen": 1}, r"predict\.sharpen: unknown key"), ({"rows": 0}, r"predict\.rows: 0 is too")):
        with pytest.raises(ConfigError, match=words):
            PredictConfig.from_dict(wrong)


def test_the_schema_s_terms_are_the_losses():
    assert [term.name for term in get_args(AnyTerm)] == list(LOSSES)
    assert MSSSIMTerm.minimum_patch == MINIMUM_SIDE
