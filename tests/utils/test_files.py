"""Files are whole or not there, leftovers can be told from what others write, and nothing in a tree is ever run."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import paddle
import pytest

from utils import files
from utils.files import UnsafeFileError, atomic_path, load_tree, printable, remove_leftovers, save_tree, write_bytes


def test_writes_replaces_and_leaves_nothing_else_and_an_error_keeps_the_old_file(tmp_path):
    path, longest = tmp_path / "new" / "folder" / "x.txt", "n" * 251 + ".png"  # as long as the file system allows
    files.write_text(path, "one\n")
    files.write_text(path, "zwei ü\n")
    write_bytes(path.with_name(longest), b"x")
    with suppress(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        # Writers choose a format by the suffix, and listings pass over hidden names.
        assert (temporary.suffix, temporary.name[0], temporary.parent) == (path.suffix, ".", path.parent)
        raise RuntimeError
    assert path.read_bytes() == "zwei ü\n".encode()
    assert sorted(os.listdir(path.parent)) == [longest, "x.txt"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.bin").write_bytes(b"old")
    for name, target in (("link", "far/x.bin"), ("second", "link"), ("dangling", "new/x.bin")):
        (tmp_path / name).symlink_to(target)
        write_bytes(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "far" / "x.bin").read_bytes() == b"second"
    assert (tmp_path / "new" / "x.bin").read_bytes() == b"dangling"
    assert os.listdir(tmp_path / "far") == os.listdir(tmp_path / "new") == ["x.bin"]


def test_pipes_devices_and_standard_streams_are_written_into_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as other:
        read = other.submit((tmp_path / "pipe").read_bytes)
        write_bytes(tmp_path / "pipe", b"words")
        assert read.result(timeout=20) == b"words"
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "null").symlink_to(os.devnull)
    write_bytes(tmp_path / "null", b"words")
    assert Path(os.devnull).is_char_device()
    script = "import sys; from utils.files import write_bytes; write_bytes('/dev/stdout', b'words'); print(' more')"
    with open(tmp_path / "out", "ab") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"words more\n"


def test_an_error_of_the_system_names_the_file_and_nothing_else(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "link").symlink_to("folder")
    for name in ("folder", "loop", "full", "link", "n" * 256):
        with pytest.raises(OSError, match=name) as caught:
            write_bytes(tmp_path / name, b"x")
        assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / name), None)
    assert sorted(os.listdir(tmp_path)) == ["folder", "full", "link", "loop"]


def test_two_threads_that_write_one_file_do_not_meet(tmp_path):
    with ThreadPoolExecutor(1) as other, atomic_path(tmp_path / "x.bin") as temporary:
        temporary.write_bytes(b"first")
        other.submit(write_bytes, tmp_path / "x.bin", b"second").result()
        assert temporary.read_bytes() == b"first"
    assert (tmp_path / "x.bin").read_bytes() == b"first"


def test_a_killed_writer_leaves_the_old_file_whole_and_only_what_nobody_writes_any_more_is_removed(tmp_path):
    path = tmp_path / "sub" / "x.bin"
    write_bytes(path, b"old")
    script = "import os, sys; from utils.files import *\nwith atomic_path(sys.argv[1]) as temporary:\n"
    script += "    temporary.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"old"
    (left,) = (other.name for other in path.parent.iterdir() if other != path)
    # The first process always runs; the last is no name of this module's.
    stay = {"x.bin", ".hidden.jpg", ".1-abc.tmp.keep", f".{os.getppid()}-abc.tmp.jpg", f".{2**22 + 1}-xyz.tmp.jpg"}
    # An earlier process of the same number, as in containers, and numbers above the largest.
    go = {left, f".{os.getpid()}-abc.tmp.jpg", f".{2**22 + 1}-abc.tmp", f".{2**80}-abc.tmp.jpg"}
    for name in stay | go:
        (path.parent / name).touch()
    # In a shared folder all might be another machine's, written this very moment.
    assert remove_leftovers(tmp_path) == []
    (path.parent / "there" / left).mkdir(parents=True)  # somebody's, of such a name
    for name in [*stay, *go, f"there/{left}"]:
        os.utime(path.parent / name, (0, 0))
    assert {path.name for path in remove_leftovers(tmp_path)} == go
    assert set(os.listdir(path.parent)) == {*stay, "there"}
    assert (path.parent / "there" / left).is_dir()
    assert remove_leftovers(tmp_path / "nowhere") == []


@pytest.mark.parametrize(("name", "shown"), [
    ("深\u3000页 é 1.jpg", "深\u3000页 é 1.jpg"), ("two\nlines.jpg", "two\\nlines.jpg"),
    ("red\x1b[31m.jpg", "red\\x1b[31m.jpg"), (os.fsdecode(b"latin-\xff.jpg"), "latin-\\udcff.jpg")])  # fmt: skip
def test_every_name_becomes_one_line_that_can_be_encoded(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")


ARRAYS = [np.float32([[1.5, -0.0]]), np.float16([0.1]), np.arange(6).reshape(2, 3), np.array(2.5, np.float32),
          np.zeros((0, 3), np.uint8), np.asfortranarray([[0.1, 0.2], [0.3, 0.4]])]  # fmt: skip
TREE = {"arrays": ARRAYS, "plain": [1, 2.5, "ü", None, True, b"bytes", (1, 2)]}


def test_a_tree_comes_back_bit_for_bit_and_a_torn_one_is_named(tmp_path):
    path = tmp_path / "x.pdckpt"
    save_tree(path, TREE)
    back, content = load_tree(path), path.read_bytes()
    assert back["plain"] == TREE["plain"]
    facts = [[(array.dtype, array.shape, array.tobytes()) for array in arrays] for arrays in (ARRAYS, back["arrays"])]
    assert facts[0] == facts[1]
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"x\.pdckpt.*cut short"):
            load_tree(path)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_files_of_every_numpy_and_protocol_are_read(tmp_path, protocol):
    wanted = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "rate": np.float64(0.5)}
    content = pickle.dumps(wanted, protocol)
    # In the oldest, NumPy's module is text without its length beside it.
    names = (b"cnumpy.core.", b"cnumpy._core.") if protocol == 2 else ()
    others = [content.replace(name, other) for name in names for other in names]
    for number, other in enumerate([content, *others]):
        (tmp_path / f"{number}").write_bytes(other)
        np.testing.assert_equal(load_tree(tmp_path / f"{number}"), wanted)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_refused_and_not_run_and_what_could_not_be_read_back_is_not_saved(tmp_path):
    path, tree = tmp_path / "weights.pdparams", {"params": [Harmful(tmp_path / "was_run")]}
    with pytest.raises(UnsafeFileError, match="asks to load"):
        save_tree(path, tree)
    assert not path.exists()
    harmful = [b"c%b\n." % name.replace(b".", b"\n") for name in (b"os.system", b"builtins.eval", b"numpy.load")]
    for content in (pickle.dumps(tree), b"cnumpy.core.multiarray\nfromfile\n.", *harmful):
        path.write_bytes(content)
        with pytest.raises(UnsafeFileError, match=r"weights\.pdparams.*asks to load .*only arrays"):
            load_tree(path)
    assert not (tmp_path / "was_run").exists()


def test_paddle_reads_our_files_and_we_read_paddles(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_tree(tmp_path / "ours.pdparams", {"weight": array})
    assert np.array_equal(np.asarray(paddle.load(str(tmp_path / "ours.pdparams"))["weight"]), array)
    paddle.save({"weight": paddle.to_tensor(array)}, str(tmp_path / "theirs.pdparams"))
    assert np.array_equal(load_tree(tmp_path / "theirs.pdparams")["weight"], array)
