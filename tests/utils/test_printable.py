import os

import pytest

from utils.files import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo 1.jpg", "photo 1.jpg"),
        ("深\u3000页 é.jpg", "深\u3000页 é.jpg"),
        ("two\nlines.jpg", "two\\nlines.jpg"),
        ("red\x1b[31m.jpg", "red\\x1b[31m.jpg"),
        (os.fsdecode(b"latin-\xff.jpg"), "latin-\\udcff.jpg"),
    ],
)
def test_every_name_becomes_one_line_that_can_be_encoded(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")
