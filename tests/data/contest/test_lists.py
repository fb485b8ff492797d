import os
from pathlib import Path

import pytest

from data.contest.cutting import name_groups
from data.contest.lists import (
    Group,
    ListError,
    PatchPaths,
    is_contest,
    read_contest,
    read_list,
    split_by_page,
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


@pytest.mark.parametrize(("content", "clean"), [
    (b"\xef\xbb\xbfa.jpg b.jpg c.png\r\n\r\n d.jpg e.jpg f.png \r\n", ["a.jpg", "d.jpg"]),
    (b"# clean occluded\ngt/a b.jpg\thand/a.jpg\thand/a.png\t \n./#a.jpg \xb0\xa1.jpg c.png\n#a b c",
     ["a b.jpg", "#a.jpg"]),
    (b"gt/my page.jpg hand/my page 0.jpg hand/my page 0.png", ["my page.jpg"]),
])  # fmt: skip
def test_marks_blank_lines_comments_tabs_spaces_and_names_that_are_no_text(tmp_path, content, clean):
    (tmp_path / "x.txt").write_bytes(content)
    entries = read_list(tmp_path / "x.txt")
    assert [entry.clean.name for entry in entries] == clean
    write_list(tmp_path / "y.txt", entries)
    assert read_list(tmp_path / "y.txt") == entries
    assert os.fsencode(entries[-1].occluded.name) in content


@pytest.mark.parametrize("name", ["a  b", "a b", " a.jpg", "a\tb\tc.jpg", "a.jpg b.jpg", "a\nb.jpg"])
def test_a_name_that_would_not_be_read_back_is_not_listed(tmp_path, name):
    with pytest.raises(ListError, match=r"line breaks.*rename the file"):
        write_list(tmp_path / "x.txt", [PatchPaths(tmp_path / name, tmp_path / "b.jpg", tmp_path / "c.png")])
    assert not (tmp_path / "x.txt").exists()


@pytest.mark.parametrize(("content", "told"), [
    *((f"a.jpg b.jpg c.png\n{line}\n".encode(), r"x\.txt, line 2")
      for line in ("a.jpg", "a.jpg b.jpg", "a.jpg  b.jpg", "a b c d")),
    (None, r"x\.txt: cannot be opened"), (b"\n", "the list is empty"), ("a b c".encode("utf-16"), "cannot be read"),
])  # fmt: skip
def test_what_is_no_list_is_named_with_file_and_line(tmp_path, content, told):
    if content is not None:
        (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ListError, match=told):
        read_list(tmp_path / "x.txt")


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


@pytest.mark.parametrize(("lines", "told"), [
    ([triple("p"), "gt/p.jpg hand/p_0_001.jpg"], r"train_data_1.annotation\.txt, line 2"),
    ([triple("p"), triple("p")], r"line 2: .*line 1 already"),
    (["x" * 5000] * 50, r"line 1: .*5000 characters\); and 49 more problems"),
    (["a.jpg b.jpg " + "c" * 5000], r"line 1: .*characters"),
    ([], "no line in it"),
])  # fmt: skip
def test_what_is_wrong_is_a_short_line_with_file_and_line(tmp_path, lines, told):
    write_annotation(tmp_path, "train_data_1", *lines)
    with pytest.raises(ListError, match=told) as caught:
        read_contest(tmp_path)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_problems_are_collected_and_the_rest_is_read(tmp_path):
    write_annotation(tmp_path, "train_data_1")
    (tmp_path / "train_data_2").mkdir()
    write_annotation(tmp_path, "train_data_3", "nonsense", triple("p"))
    problems = []
    assert [group.page for group in read_contest(tmp_path, problems)] == ["p"]
    told = ("train_data_1/annotation.txt: no line", "train_data_2", "train_data_3/annotation.txt, line 1")
    assert all(words in problem for words, problem in zip(told, problems, strict=True))
    write_annotation(tmp_path, "train_data_3")
    with pytest.raises(ListError, match="no line"):
        read_contest(tmp_path, [])


def groups_of(*pages, folder="train_data_1"):
    return [
        Group(folder, f"{page}.jpg", f"{page}_{number}.jpg", f"{page}_{number}.png", "", "hand", page)
        for page in pages
        for number in range(3)
    ]


@pytest.mark.parametrize(("pages", "held_out", "validation"), [
    ([f"p{number:02}" for number in range(20)], 0.1, {"p18", "p19"}),
    ("abcad", 0.25, {"d"}),  # a page that comes again later stays on one side
    ("ab", 0.9, {"b"}), ("ab", 0.01, {"b"}), ("a", 0, set()),
])  # fmt: skip
def test_the_last_pages_validate_with_all_their_occlusions_and_one_stays_to_train(pages, held_out, validation):
    groups = groups_of(*pages)
    train, held = split_by_page(groups, held_out)
    assert {group.page for group in held} == validation
    assert [group for group in groups if group.page in validation] == held
    assert [group for group in groups if group.page not in validation] == train


def test_one_page_cannot_be_divided():
    with pytest.raises(ValueError, match="--all"):
        split_by_page(groups_of("a"), 0.1)


@pytest.mark.parametrize("names", [("a b", "a_b", "A_B", "a_b~2"), ("a_b~2", "a_b", "a b", "A_B")])
def test_no_two_pictures_get_one_name_whatever_they_are_called(names):
    places = [(folder, f"{kind}/{name}.png") for folder in ("train_data_1", "train_data_2") for kind in "ab"
              for name in names]  # fmt: skip
    groups = [Group(folder, Path(), Path(folder, name), Path(), name, "hand", "") for folder, name in places]
    given = name_groups(groups)
    assert len({name.lower() for name in given.values()}) == len(groups) == 16
    assert not any(" " in name for name in given.values())
    assert given[groups[0].occluded] == f"train_data_1_hand_{names[0].replace(' ', '_')}"
