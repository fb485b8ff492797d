"""Held-out sets: recipes and checksums make one set of bytes, and whatever differs is named."""

import hashlib
import shutil
from pathlib import Path

import pytest

from data.heldout import RECORDS, main, read_recipes, read_sums
from data.synthesis.__main__ import make_set
from tests.golden.pictures import write_sources

RECIPES = """
common: {pages: [pages], occluders: [cutouts/hands, cutouts/heads], subset: heldout, long_side: 200}
sets:
  contest: {groups: 2, seed: 1, occlusions_per_page: 1}
  clean: {groups: 3, seed: 3, occluded: 0, occlusions_per_page: 1}
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with material, records, and the sets that were recorded."""
    root = tmp_path_factory.mktemp("heldout")
    material, records = root / "material", root / "records"
    write_sources(material, pages=4, occluders=2)
    files = [path.relative_to(material).as_posix() for path in material.rglob("*") if path.is_file()]
    rows = [f"{name},{'train' if 'page 0' in name else 'heldout'}" for name in files if "_mask" not in name]
    (material / "split.csv").write_text("\n".join(["file,split", *rows, ""]))
    records.mkdir()
    (records / "recipes.yml").write_text(RECIPES)
    sets = {"sources": {material / name for name in (*files, "split.csv") if "page 0" not in name}}
    for name, options in read_recipes(material, records).items():
        make_set(options, root / "sets" / name)
        sets[name] = {path for path in (root / "sets" / name).rglob("*.*") if path.name != "manifest.json"}
    for name, paths in sets.items():
        folder = material if name == "sources" else root / "sets" / name
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
        sums = [f"{digest}  {path.relative_to(folder)}" for path, digest in digests.items()]
        (records / f"{name}.sha256").write_text("\n".join(["# made by a test", *sums, ""]))
    return root


@pytest.fixture
def run(recorded):
    """A function that makes and compares sets, by the records, of the material that was recorded or another."""

    def heldout(sets, *more, material=recorded / "material"):
        return main([str(material), str(sets), "--records", str(recorded / "records"), "--workers", "1", *more])

    return heldout


def test_whoever_has_the_material_makes_the_same_bytes_and_the_first_file_that_differs_is_named(
    recorded, run, tmp_path, capsys
):
    # Somewhere else, with another number of processes.
    sets, material = tmp_path / "sets", tmp_path / "elsewhere" / "material"
    shutil.copytree(recorded / "material", material)
    assert run(sets, "--workers", "2", material=material) == 0
    assert "contest: 8 files, all as recorded" in capsys.readouterr().out
    # What is there is compared and not made again.
    before = (sets / "clean" / "manifest.json").stat().st_mtime_ns
    (sets / "clean" / "train_data_1" / "notes.txt").write_text("")
    assert run(sets) == 1
    assert "notes.txt: is not in the record" in capsys.readouterr().err
    first, second = sorted((sets / "clean").rglob("gt/*.jpg"))[:2]
    for path in (first, second):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run(sets) == 1
    printed = capsys.readouterr()
    assert f"clean: {first}: differs from the record" in printed.err
    assert str(second) not in printed.err
    assert "contest: 8 files, all as recorded" in printed.out
    assert run(sets, "--only", "contest") == 0
    first.unlink()
    assert run(sets) == 1
    assert f"{first}: is missing" in capsys.readouterr().err
    assert (sets / "clean" / "manifest.json").stat().st_mtime_ns == before


def test_other_sources_are_refused_before_anything_is_made(recorded, run, tmp_path, capsys):
    material = tmp_path / "material"
    shutil.copytree(recorded / "material", material)
    page, split = material / "pages" / "page 2.jpg", material / "split.csv"
    original, more = page.read_bytes(), page.with_name("one more.jpg")
    # One more held-out source would change which ones are chosen.
    for path, content, told in ((page, original + b"!", "page 2.jpg: differs"), (page, None, "page 2.jpg: is missing"),
                                (more, original, "one more.jpg: is not in the record")):
        page.write_bytes(original)
        path.write_bytes(content) if content else path.unlink()
        split.write_text(split.read_text() + "pages/one more.jpg,heldout\n" * (path == more))
        assert run(tmp_path / "sets", material=material) == 1
        assert told in capsys.readouterr().err
        assert not (tmp_path / "sets").exists()
    assert run(tmp_path / "sets", material=tmp_path / "nothing") == 2


def test_bad_recipes_and_names_are_refused(recorded, run, tmp_path):
    (tmp_path / "recipes.yml").write_text("common: {}\nsets: {a: {pages: [], occluders: [], grups: 2}}")
    with pytest.raises(ValueError, match=r"a: .*grups"):
        read_recipes(recorded, tmp_path)
    with pytest.raises(SystemExit):
        run(tmp_path / "sets", "--only", "kontest")


def test_our_own_records_are_whole():
    """Four sets as the figures in the README need them, with checksums of each, and no path of a machine."""
    sets, sources = read_recipes(Path("material")), read_sums(RECORDS / "sources.sha256")
    seeds = {"contest": 1, "natural": 2, "clean": 3, "printed-people": 4}
    assert {name: one.seed for name, one in sets.items()} == seeds
    assert "split.csv" in sources
    assert not any(name.startswith(("/", "..")) for name in sources)
    for name, options in sets.items():
        assert (options.subset, options.long_side) == ("heldout", 3770)
        sums = read_sums(RECORDS / f"{name}.sha256")
        assert sum("/gt/" in file for file in sums) == sum(file.endswith(".png") for file in sums) == options.groups
