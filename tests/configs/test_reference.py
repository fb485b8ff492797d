from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from configs.__main__ import PAGE, main
from configs.load import load_config
from configs.reference import reference
from configs.schema import Config


def every_dataclass(cls: type) -> list[type]:
    inner = [kind for hint in get_type_hints(cls).values() for kind in (hint, *get_args(hint)) if is_dataclass(kind)]
    return [cls, *(found for kind in inner for found in every_dataclass(kind))]


def test_the_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `python -m configs --write`"


def test_every_setting_stands_in_the_page_with_its_sentence() -> None:
    page = reference()
    for cls in every_dataclass(Config):
        assert cls.__doc__
        for item in fields(cls):
            assert item.metadata["explanation"].endswith(".")
            assert item.metadata["explanation"] in page
    assert "| `train.stages.N.batch` | whole number, at least 1 | required |" in page
    assert "| `optimizer.betas` | list of 2: number, 0 to 0.999999 | `[0.9, 0.999]` |" in page
    assert "| `train.init` | text or null | `null` |" in page


def test_printing_a_config_gives_one_that_loads_to_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["configs/nafnet_phase2_msssim_gated.yml", "-o", "seed=3"]) == 0
    copy = tmp_path / "copy.yml"
    copy.write_text(capsys.readouterr().out)
    assert load_config(copy) == load_config("configs/nafnet_phase2_msssim_gated.yml", ["seed=3"])


def test_a_refused_config_gives_exit_code_2_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs/smoke.yml", "-o", "sead=3"]) == 2
    assert "smoke.yml: sead: unknown key; did you mean seed?" in capsys.readouterr().err
    assert main(["configs/gone.yml"]) == 2
    assert "gone.yml" in capsys.readouterr().err
