import pytest

from data.contest.lists import Group, ListError, is_contest, read_contest, split_by_page


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


def test_one_folder_and_one_annotation_are_accepted_too(tmp_path):
    write_annotation(tmp_path, "train_data_3", triple("p"))
    assert read_contest(tmp_path / "train_data_3") == read_contest(tmp_path)
    assert read_contest(tmp_path / "train_data_3/annotation.txt") == read_contest(tmp_path)


def test_a_contest_is_where_an_annotation_is(tmp_path):
    (tmp_path / "train_data_2/gt").mkdir(parents=True)
    assert not is_contest(tmp_path)
    write_annotation(tmp_path, "train_data_3", triple("p"))
    for place in (".", "train_data_3", "train_data_3/annotation.txt"):
        assert is_contest(tmp_path / place)
    assert not is_contest(tmp_path / "nowhere/annotation.txt")


def test_no_contest_data_says_what_was_expected(tmp_path):
    with pytest.raises(ListError, match="train_data_1"):
        read_contest(tmp_path)


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
