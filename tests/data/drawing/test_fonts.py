"""Fonts are found where they are, and drawing goes on where they are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.drawing import fonts


@pytest.fixture
def fresh_search(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The search is remembered for the process; a test starts and ends without that memory."""
    fonts.find_fonts.cache_clear()
    yield monkeypatch
    fonts.find_fonts.cache_clear()


def test_matplotlibs_fonts_are_found_regular_with_bold() -> None:
    names = [(Path(regular).name, Path(bold).name) for regular, bold in fonts.bundled_fonts().latin]
    assert ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf") in names
    assert ("STIXGeneral.ttf", "STIXGeneralBol.ttf") in names
    assert not fonts.bundled_fonts().chinese


def test_a_chinese_font_in_a_sub_folder_is_found(tmp_path: Path, fresh_search: pytest.MonkeyPatch) -> None:
    (tmp_path / "opentype" / "noto").mkdir(parents=True)
    font = tmp_path / "opentype" / "noto" / "NotoSansCJK-Regular.ttf"
    shutil.copy(fonts.bundled_fonts().latin[0][0], font)
    fresh_search.setattr(fonts, "_FONT_FOLDERS", (str(tmp_path), str(tmp_path / "missing")))
    assert fonts.find_fonts().chinese == (str(font),)


def test_without_any_font_the_built_in_one_is_used(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setattr(fonts, "_FONT_FOLDERS", ())
    fresh_search.setattr(fonts, "_matplotlib_files", dict)
    found = fonts.find_fonts()
    assert found == fonts.FontSet((("", ""),), (), "")
    assert fonts.load_font("", 20).getlength("page") > 10


def test_a_font_has_the_asked_size() -> None:
    path = fonts.bundled_fonts().latin[0][0]
    assert fonts.load_font(path, 40).getlength("word") == pytest.approx(
        2 * fonts.load_font(path, 20).getlength("word"), rel=0.05
    )
