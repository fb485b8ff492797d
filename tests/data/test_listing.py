from __future__ import annotations

from pathlib import Path

from data.images import pictures_below


def test_pictures_of_sub_folders_sorted_and_nothing_hidden(tmp_path):
    for name in ("b.JPG", "sub/a.png", "a.tiff", "notes.txt", ".half.png", ".cache/c.png", "sub/.1-2.tmp.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert pictures_below(tmp_path) == [Path("a.tiff"), Path("b.JPG"), Path("sub/a.png")]
    assert pictures_below(tmp_path / "nowhere") == []
