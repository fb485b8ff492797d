"""Lists and annotations: read, written, divided; hostile ones are refused in one short line."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contest import ANNOTATION, Group, ListError, PatchPaths, is_contest, read_contest, read_list, write_list
from data.contest import split_by_page as divide
from data.images import BadImageError
from data.masks import read_mask
from data_preparation import name_groups
from tests.conftest import TRIED
from tests.data.photos.files import saved
from tests.data.test_masks import READ, REFUSED


def test_a_list_comes_back_and_moves_with_its_folder(tmp_path):
    entries = [
        PatchPaths(tmp_path / "set/gt/a.png", tmp_path / "set/occluded/a.png", tmp_path / "set/mask/a.png"),
        PatchPaths(tmp_path / "elsewhere/p 1.jpg", tmp_path / "set/手 1.jpg", tmp_path / "set/m.png"),
    ]
    write_list(tmp_path / "set/train.txt", entries)
    told = "gt/a.png occluded/a.png mask/a.png\n../elsewhere/p 1.jpg 手 1.jpg m.png\n"
    assert (tmp_path / "set/train.txt").read_text("utf-8") == told
    back = read_list(tmp_path / "set/train.txt")
    assert [[path.resolve() for path in entry] for entry in back] == [list(entry) for entry in entries]
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


def triple(page, number=0, kind="hand"):
    return f"gt/{page}.jpg {kind}/{page}_0_{number:03}.jpg {kind}/{page}_0_{number:03}.png"


def write_annotation(root, number, *lines):
    folder = root / f"train_data_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANNOTATION).write_text("".join(f"{line}\n" for line in lines), "utf-8")


@pytest.mark.parametrize(("content", "told"), [
    *((f"{triple('p')}\n{line}\n".encode(), r"annotation\.txt, line 2: expected")
      for line in ("a.jpg", "a.jpg b.jpg", "a.jpg  b.jpg", "a b c d", "a.jpg b.jpg " + "c" * 5000)),
    (b"x" * 5000, r"line 1: .*5000 characters\)"), (None, r"annotation\.txt: cannot be opened"),
    (b"\n", r"annotation\.txt: no line in it"), ("a b c".encode("utf-16"), "cannot be read"),
])  # fmt: skip
def test_what_is_no_list_is_told_in_a_short_line_with_file_and_line(tmp_path, content, told):
    write_annotation(tmp_path, 1)
    path = tmp_path / "train_data_1" / ANNOTATION
    path.unlink() if content is None else path.write_bytes(content)
    for read, source in ((read_list, path), (read_contest, tmp_path)):
        with pytest.raises(ListError, match=told) as caught:
            read(source)
        assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_groups_of_all_folders_in_the_order_of_their_numbers(tmp_path):
    assert not is_contest(tmp_path)
    for number in (10, 2, 1):
        write_annotation(tmp_path, number, triple(f"p{number}"), triple(f"p{number}", 1, "head"))
    groups, folder = read_contest(tmp_path), tmp_path / "train_data_1"
    assert [group.page for group in groups] == ["p1", "p1", "p2", "p2", "p10", "p10"]
    paths = (folder / name for name in ("gt/p1.jpg", "head/p1_0_001.jpg", "head/p1_0_001.png"))
    assert groups[1] == Group(*paths, "train_data_1/head/p1_0_001.jpg")
    for place in (tmp_path, folder):
        assert is_contest(place)
        assert read_contest(place)[:2] == groups[:2]
    assert not is_contest(tmp_path / "nowhere" / ANNOTATION)


def test_problems_are_collected_and_the_rest_is_read(tmp_path):
    write_annotation(tmp_path, 1)
    (tmp_path / "train_data_2").mkdir()
    write_annotation(tmp_path, 3, "nonsense", triple("p"), triple("p"))
    problems = []
    assert [group.page for group in read_contest(tmp_path, problems)] == ["p"]
    told = ("1/annotation.txt: no line", "2/annotation.txt", "3/annotation.txt, line 1", "line 3: hand/p_0")
    assert all(words in problem for words, problem in zip(told, problems, strict=True))
    with pytest.raises(ListError, match=r"no line.*and 3 more problems"):
        read_contest(tmp_path)
    write_annotation(tmp_path, 3)
    with pytest.raises(ListError, match="no line"):
        read_contest(tmp_path, [])


@pytest.mark.parametrize(("pages", "held_out", "validation"), [
    ([f"p{number:02}" for number in range(20)], 0.1, {"p18", "p19"}),
    ("abcad", 0.25, {"d"}),  # a page that comes again later stays on one side
    ("ab", 0.9, {"b"}), ("ab", 0.01, {"b"}), ("a", 0, set()),
])  # fmt: skip
def test_the_last_pages_validate_with_all_their_occlusions_and_one_stays_to_train(pages, held_out, validation):
    groups = [Group(Path(f"{page}.jpg"), Path(), Path(), str(number)) for page in pages for number in range(3)]
    train, held = divide(groups, held_out)
    assert {group.page for group in held} == validation
    assert [group for group in groups if group.page in validation] == held
    assert [group for group in groups if group.page not in validation] == train


@pytest.mark.parametrize("names", [("a b", "a_b", "A_B", "a_b~2"), ("a_b~2", "a_b", "a b", "A_B")])
def test_no_two_pictures_get_one_name_whatever_they_are_called(names):
    places = [f"train_data_{part}/{kind}/{name}.png" for part in "12" for kind in ("hand", "head") for name in names]
    groups = [Group(Path(), Path(place), Path(), place) for place in places]
    named = name_groups(groups)
    assert len({name.lower() for name in named.values()}) == len(groups) == 16
    assert not any(" " in name for name in named.values())
    assert named[groups[0]] == f"train_data_1_hand_{names[0].replace(' ', '_')}"


NAMES = [b"a.jpg", b"gt/b c.png", "页.jpg".encode(), b"\xff.tif", b"#d.bmp", b"./e.webp", b"x" * 5000, b"a", b""]
BETWEEN = [b" ", b"  ", b"\t", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"# ", b"\xc2\xa0", b"\xe2\x80\xa8"]
contents = st.lists(st.sampled_from(NAMES + BETWEEN * 2), max_size=24).map(b"".join) | st.binary(max_size=200)


@TRIED
@given(contents)
def test_every_line_is_a_group_a_comment_or_a_problem_and_can_be_written_and_read_again(tmp_path, content):
    (tmp_path / ANNOTATION).write_bytes(content)
    problems = []
    try:
        groups = read_contest(tmp_path, problems)
    except ListError as error:
        groups, problems = [], problems or [str(error)]
    lines = [line.strip(b"\r\t ") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    told = [line for line in lines if line and not line.startswith(b"#")]
    assert b"\0" in content or len(groups) + len(problems) == max(len(told), 1)
    try:
        write_list(tmp_path / "y.txt", [group[:3] for group in groups])
    except ListError as error:
        problems.append(str(error))
    else:
        plain = [PatchPaths(*(Path(os.path.normpath(path)) for path in group[:3])) for group in groups]
        assert not plain or read_list(tmp_path / "y.txt") == plain
    assert all(len(problem) < 500 + len(str(tmp_path)) and "\n" not in problem for problem in problems)


CHANGES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=2)


@TRIED
@given(st.sampled_from([*READ.values(), *(image for image, _ in REFUSED.values())]), CHANGES)
def test_a_changed_mask_is_zeros_and_ones_or_refused_by_name(tmp_path, image, changes):
    path, content = tmp_path / "mask.png", bytearray(saved("TIFF" if image.mode in "IF" else "PNG", image))
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        read = read_mask(path)
    except BadImageError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
    else:
        assert set(read.flat) <= {0, 1}
        assert read.dtype == np.uint8
