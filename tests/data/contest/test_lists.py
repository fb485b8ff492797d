from pathlib import Path

import pytest

from data.contest.lists import ListError, PatchPaths, read_list, split_line, write_list


def test_a_list_comes_back_and_moves_with_its_folder(tmp_path):
    entries = [
        PatchPaths(tmp_path / "set/gt/a.png", tmp_path / "set/occluded/a.png", tmp_path / "set/mask/a.png"),
        PatchPaths(tmp_path / "elsewhere/p 1.jpg", tmp_path / "set/手 1.jpg", tmp_path / "set/m.png"),
    ]
    write_list(tmp_path / "set/train.txt", entries)
    assert (tmp_path / "set/train.txt").read_text("utf-8").splitlines() == [
        "gt/a.png occluded/a.png mask/a.png",
        "../elsewhere/p 1.jpg 手 1.jpg m.png",
    ]
    back = read_list(tmp_path / "set/train.txt")
    assert [[Path(path).resolve() for path in entry] for entry in back] == [list(entry) for entry in entries]
    (tmp_path / "set").rename(tmp_path / "moved")
    assert read_list(tmp_path / "moved/train.txt")[0].mask == tmp_path / "moved/mask/a.png"


def test_windows_line_ends_byte_order_mark_and_blank_lines(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfa.jpg b.jpg c.png\r\n\r\n d.jpg e.jpg f.png \r\n")
    assert [entry.clean.name for entry in read_list(tmp_path / "x.txt")] == ["a.jpg", "d.jpg"]


def test_names_with_spaces_are_cut_where_pictures_end(tmp_path):
    assert split_line("gt/my page.jpg hand/my page 0.jpg hand/my page 0.png", tmp_path / "x.txt", 1) == (
        "gt/my page.jpg",
        "hand/my page 0.jpg",
        "hand/my page 0.png",
    )


def test_an_ambiguous_line_is_decided_by_the_files_that_exist(tmp_path):
    line = "a.jpg b.jpg c.jpg d.png"
    with pytest.raises(ListError, match="line 7"):
        split_line(line, tmp_path / "x.txt", 7)
    for name in ("a.jpg b.jpg", "c.jpg", "d.png"):
        (tmp_path / name).touch()
    assert split_line(line, tmp_path / "x.txt", 7) == ("a.jpg b.jpg", "c.jpg", "d.png")


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg b.jpg", "a.jpg  b.jpg", "a b c d"])
def test_a_bad_line_is_named_with_its_number(tmp_path, line):
    (tmp_path / "x.txt").write_text(f"a.jpg b.jpg c.png\n{line}\n")
    with pytest.raises(ListError, match=r"x\.txt, line 2"):
        read_list(tmp_path / "x.txt")


def test_missing_empty_and_binary_lists_are_errors(tmp_path):
    with pytest.raises(ListError, match=r"none\.txt"):
        read_list(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ListError, match="empty"):
        read_list(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ListError, match="cannot be read"):
        read_list(tmp_path / "binary.txt")


def test_a_line_break_in_a_name_is_refused(tmp_path):
    with pytest.raises(ListError, match="line break"):
        write_list(tmp_path / "x.txt", [PatchPaths(Path("a\nb.jpg"), Path("b.jpg"), Path("c.png"))])
    assert not (tmp_path / "x.txt").exists()
