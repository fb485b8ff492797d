"""A file that a config names and that is missing is refused by key, with what makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.checks import check_init, check_lists
from configs.load import load_config
from configs.parsing import ConfigError

SMOKE = "configs/smoke.yml"


def lists(folder: Path) -> list[str]:
    for name in ("train.txt", "pages.txt"):
        (folder / name).write_text("a b c\n")
    return [f"data.train_list={folder / 'train.txt'}", f"data.val_pages={folder / 'pages.txt'}"]


@pytest.mark.parametrize(
    ("key", "remedy"), [("data.val_pages", "run data_preparation.py first"), ("data.train_list", "generate_meta_info")]
)
def test_a_missing_list_is_named_with_its_key_and_its_script(tmp_path: Path, key: str, remedy: str) -> None:
    overrides = lists(tmp_path)
    check_lists(load_config(SMOKE, overrides))
    with pytest.raises(ConfigError, match=rf"^{key}: .*no\.txt does not exist; .*{remedy}"):
        check_lists(load_config(SMOKE, [*overrides, f"{key}={tmp_path / 'no.txt'}"]))
    with pytest.raises(ConfigError, match=rf"^{key}: .* is a folder"):
        check_lists(load_config(SMOKE, [*overrides, f"{key}={tmp_path}"]))


def test_pages_that_are_never_validated_on_may_be_missing(tmp_path: Path) -> None:
    missing = f"data.val_pages={tmp_path / 'no.txt'}"
    check_lists(load_config(SMOKE, [*lists(tmp_path), missing, "validation.every=0"]))


def test_missing_initial_weights_are_named_with_their_key(tmp_path: Path) -> None:
    check_init(load_config(SMOKE, ["train.init=null"]))
    with pytest.raises(ConfigError, match=r"^train\.init: .*no\.pdparams does not exist; train the config"):
        check_init(load_config(SMOKE, [f"train.init={tmp_path / 'no.pdparams'}"]))
