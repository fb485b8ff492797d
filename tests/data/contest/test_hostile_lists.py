"""Lists, annotations and masks that were changed at random: read, or refused in one short line; nothing else happens.

`UNCOVER_EXAMPLES=2000 pytest tests/data/contest/test_hostile_lists.py` tries more of them.
"""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from data.contest.lists import ANNOTATION, ListError, PatchPaths, read_contest, read_list, write_list
from data.images import BadImageError
from data.masks import contest_mask_image, read_mask

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
tried = hypothesis.settings(
    max_examples=int(os.environ.get("UNCOVER_EXAMPLES", "60")), derandomize=True, deadline=None, database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)  # fmt: skip
NAMES = [b"a.jpg", b"gt/b c.png", "页.jpg".encode(), b"\xff.tif", b"#d.bmp", b"./e.webp", b"x" * 5000, b"a", b""]
BETWEEN = [b" ", b"  ", b"\t", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"# ", b"\xc2\xa0", b"\xe2\x80\xa8"]
contents = st.lists(st.sampled_from(NAMES + BETWEEN * 2), max_size=24).map(b"".join) | st.binary(max_size=200)


@tried
@hypothesis.given(contents)
def test_every_line_of_an_annotation_is_a_group_a_comment_or_a_problem(tmp_path, content):
    (tmp_path / ANNOTATION).write_bytes(content)
    problems = []
    try:
        groups = read_contest(tmp_path, problems)
    except ListError as error:
        groups, problems = [], problems or [str(error)]
    lines = [line.strip(b"\r\t ") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    told = [line for line in lines if line and not line.startswith(b"#")]
    assert b"\0" in content or len(groups) + len(problems) == max(len(told), 1)
    assert all(len(problem) < 500 + len(str(tmp_path)) and "\n" not in problem for problem in problems)


@tried
@hypothesis.given(contents)
def test_what_can_be_read_can_be_written_and_read_again(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    entries, refused = [], ""
    try:
        entries = read_list(tmp_path / "x.txt")
        write_list(tmp_path / "y.txt", entries)
    except ListError as error:
        refused = str(error)
    assert len(refused) < 500 + len(str(tmp_path))
    if refused:
        return
    plain = [PatchPaths(*(type(path)(os.path.normpath(path)) for path in entry)) for entry in entries]
    assert read_list(tmp_path / "y.txt") == plain


@tried
@hypothesis.given(st.data(), st.sampled_from(["L", "P", "RGB", "RGBA", "LA", "1", "I;16"]))
def test_a_changed_mask_is_zeros_and_ones_or_refused_by_name(tmp_path, data, mode):
    mask, stream, path = np.zeros((24, 24), np.uint8), io.BytesIO(), tmp_path / "mask.png"
    values = data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=3))
    for number, value in enumerate(values):
        mask[4:20, 7 * number : 7 * number + 6] = value
    image = contest_mask_image(mask) if mode == "P" else Image.fromarray(mask.astype(np.uint16) * 200)
    (image if mode in ("P", "I;16") else Image.fromarray(mask).convert(mode)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    changes = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(changes, max_size=2)):
        content[place] = byte
    path.write_bytes(content)
    refused = ""
    try:
        read = read_mask(path)
        assert read.dtype == np.uint8
        assert read.max(initial=0) <= 1
    except BadImageError as error:
        refused = str(error)
    assert not refused or refused.startswith(str(path))
