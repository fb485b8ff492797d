import os
from pathlib import Path

import pytest

from data.contest.lists import (
    Group,
    ListError,
    PatchPaths,
    is_contest,
    read_contest,
    read_list,
    split_by_page,
    split_line,
    write_list,
)


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


def test_comments_tabs_and_names_that_are_no_text(tmp_path):
    lines = b"# clean occluded\ngt/a b.jpg\thand/a.jpg\thand/a.png\t \n./#a.jpg \xb0\xa1.jpg c.png\n#a b c"
    (tmp_path / "x.txt").write_bytes(lines)
    entries = read_list(tmp_path / "x.txt")
    assert [entry.clean.name for entry in entries] == ["a b.jpg", "#a.jpg"]
    assert os.fsencode(entries[1].occluded.name) == b"\xb0\xa1.jpg"
    write_list(tmp_path / "y.txt", entries)
    assert read_list(tmp_path / "y.txt") == entries


def test_what_is_wrong_with_a_long_list_is_a_short_line(tmp_path):
    write_annotation(tmp_path, "train_data_1", *["x" * 5000] * 50)
    with pytest.raises(ListError, match=r"line 1: .*5000 characters\); and 49 more problems") as caught:
        read_contest(tmp_path, [])
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    write_annotation(tmp_path, "train_data_1", "a.jpg b.jpg " + "c" * 5000)
    with pytest.raises(ListError, match=r"line 1: .*characters"):
        read_contest(tmp_path)


def test_names_with_spaces_are_cut_where_pictures_end(tmp_path):
    assert split_line("gt/my page.jpg hand/my page 0.jpg hand/my page 0.png", tmp_path / "x.txt", 1) == (
        "gt/my page.jpg",
        "hand/my page 0.jpg",
        "hand/my page 0.png",
    )


@pytest.mark.parametrize("name", ["a  b", "a b", " a.jpg", "a\tb\tc.jpg", "a.jpg b.jpg"])
def test_a_name_that_would_not_be_read_back_is_not_listed(tmp_path, name):
    with pytest.raises(ListError, match="rename the file"):
        write_list(tmp_path / "x.txt", [PatchPaths(tmp_path / name, tmp_path / "b.jpg", tmp_path / "c.png")])


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
    (tmp_path / "binary.txt").write_bytes("a.jpg b.jpg c.png".encode("utf-16"))
    with pytest.raises(ListError, match="cannot be read"):
        read_list(tmp_path / "binary.txt")


def test_a_line_break_in_a_name_is_refused(tmp_path):
    with pytest.raises(ListError, match="line break"):
        write_list(tmp_path / "x.txt", [PatchPaths(Path("a\nb.jpg"), Path("b.jpg"), Path("c.png"))])
    assert not (tmp_path / "x.txt").exists()


def write_annotation(root, folder, *lines):
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "annotation.txt").write_text("".join(line + "\n" for line in lines), "utf-8")


def triple(page, number=0, kind="hand"):
    return f"gt/{page}.jpg {kind}/{page}_0_{number:03}.jpg {kind}/{page}_0_{number:03}.png"


def test_groups_of_all_folders_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write_annotation(tmp_path, f"train_data_{number}", triple(f"p{number}"), triple(f"p{number}", 1, "head"))
    groups = read_contest(tmp_path)
    assert [group.folder for group in groups] == ["train_data_1"] * 2 + ["train_data_2"] * 2 + ["train_data_10"] * 2
    assert groups[1] == Group(
        folder="train_data_1",
        clean=tmp_path / "train_data_1/gt/p1.jpg",
        occluded=tmp_path / "train_data_1/head/p1_0_001.jpg",
        mask=tmp_path / "train_data_1/head/p1_0_001.png",
        occluded_name="head/p1_0_001.jpg",
        kind="head",
        page="p1",
    )


def test_a_contest_is_where_an_annotation_is(tmp_path):
    (tmp_path / "train_data_2/gt").mkdir(parents=True)
    assert not is_contest(tmp_path)
    write_annotation(tmp_path, "train_data_3", triple("p"))
    for place in (".", "train_data_3", "train_data_3/annotation.txt"):
        assert is_contest(tmp_path / place)
    assert read_contest(tmp_path / "train_data_3") == read_contest(tmp_path / "train_data_3/annotation.txt")
    assert not is_contest(tmp_path / "nowhere/annotation.txt")


def test_what_is_wrong_is_named_with_file_and_line(tmp_path):
    write_annotation(tmp_path, "train_data_1", triple("p"), "gt/p.jpg hand/p_0_001.jpg")
    with pytest.raises(ListError, match=r"train_data_1.annotation\.txt, line 2"):
        read_contest(tmp_path)
    write_annotation(tmp_path, "train_data_1", triple("p"), triple("p"))
    with pytest.raises(ListError, match=r"line 2: .*line 1 already"):
        read_contest(tmp_path)


def test_problems_are_collected_and_the_rest_is_read(tmp_path):
    write_annotation(tmp_path, "train_data_1")
    (tmp_path / "train_data_2").mkdir()
    write_annotation(tmp_path, "train_data_3", "nonsense", triple("p"))
    problems = []
    assert [group.page for group in read_contest(tmp_path, problems)] == ["p"]
    assert len(problems) == 3
    assert "train_data_1" in problems[0]
    assert "no line" in problems[0]
    assert "train_data_2" in problems[1]
    assert "line 1" in problems[2]
    write_annotation(tmp_path, "train_data_3")
    with pytest.raises(ListError, match="no line"):
        read_contest(tmp_path, [])


def groups_of(*pages, folder="train_data_1"):
    return [
        Group(folder, f"{page}.jpg", f"{page}_{number}.jpg", f"{page}_{number}.png", "", "hand", page)
        for page in pages
        for number in range(3)
    ]


def test_the_last_tenth_of_the_pages_validates_with_all_their_occlusions():
    groups = groups_of(*(f"p{number:02}" for number in range(20)))
    train, validation = split_by_page(groups)
    assert {group.page for group in validation} == {"p18", "p19"}
    assert len(validation) == 6
    assert train + validation == groups


def test_a_page_that_comes_again_in_a_later_folder_stays_on_one_side():
    groups = groups_of("a", "b", "c") + groups_of("a", "d", folder="train_data_5")
    train, validation = split_by_page(groups, 0.25)
    assert {group.page for group in validation} == {"d"}
    assert not {group.page for group in train} & {group.page for group in validation}


def test_small_sets_hold_out_one_page_and_keep_one():
    train, validation = split_by_page(groups_of("a", "b"), 0.9)
    assert {group.page for group in train} == {"a"}
    train, validation = split_by_page(groups_of("a", "b"), 0.01)
    assert {group.page for group in validation} == {"b"}
    assert split_by_page(groups_of("a"), 0) == (groups_of("a"), [])
    with pytest.raises(ValueError, match="--all"):
        split_by_page(groups_of("a"), 0.1)
