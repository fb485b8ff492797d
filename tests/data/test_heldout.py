"""Held-out sets: recipes and checksums make one set of bytes, and whatever differs is named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from data.heldout.__main__ import RECORDS, main, read_recipes, read_sums
from tests.data.synthesis.cutouts import write_sources

RECIPES = """
common: {pages: [pages], occluders: [cutouts/hands, cutouts/heads], subset: heldout, long_side: 200}
sets:
  contest: {groups: 2, seed: 1, occlusions_per_page: 1}
  clean: {groups: 3, seed: 3, occluded: 0, occlusions_per_page: 1}
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Material, records, and the sets that were recorded."""
    root = tmp_path_factory.mktemp("heldout")
    material, records, sets = root / "material", root / "records", root / "sets"
    write_sources(material, pages=4, occluders=2)
    files = [path.relative_to(material).as_posix() for path in material.rglob("*") if path.is_file()]
    rows = [f"{name},{'train' if 'page 0' in name else 'heldout'}" for name in files if "_mask" not in name]
    (material / "split.csv").write_text("\n".join(["file,split", *rows, ""]))
    records.mkdir()
    (records / "recipes.yml").write_text(RECIPES)
    assert main([str(material), str(sets), "--records", str(records), "--record", "--workers", "1"]) == 0
    return material, records, sets


def _arguments(recorded: tuple[Path, ...], sets: Path, *more: str, material: Path | None = None) -> list[str]:
    return [str(material or recorded[0]), str(sets), "--records", str(recorded[1]), "--workers", "1", *more]


def test_whoever_has_the_material_makes_the_same_bytes(recorded, tmp_path, capsys):
    # Somewhere else, with another number of processes.
    material = tmp_path / "elsewhere" / "material"
    shutil.copytree(recorded[0], material)
    arguments = _arguments(recorded, tmp_path / "sets", "--workers", "2", material=material)
    assert main(arguments) == 0
    assert "contest: 8 files, all as recorded" in capsys.readouterr().out
    # What is there is compared and not made again.
    before = (tmp_path / "sets" / "clean" / "manifest.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (tmp_path / "sets" / "clean" / "manifest.json").stat().st_mtime_ns == before


def test_the_first_file_that_differs_is_named(recorded, tmp_path, capsys):
    sets = tmp_path / "sets"
    shutil.copytree(recorded[2], sets)
    first, second = sorted((sets / "clean").rglob("gt/*.jpg"))[:2]
    for path in (first, second):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert main(_arguments(recorded, sets)) == 1
    printed = capsys.readouterr()
    assert f"clean: {first}: differs from the record" in printed.err
    assert str(second) not in printed.err
    assert "contest: 8 files, all as recorded" in printed.out
    assert main(_arguments(recorded, sets, "--only", "contest")) == 0
    first.unlink()
    assert main(_arguments(recorded, sets)) == 1
    assert f"{first}: is missing" in capsys.readouterr().err
    shutil.rmtree(sets / "clean")
    assert main(_arguments(recorded, sets)) == 0
    (sets / "clean" / "train_data_1" / "notes.txt").write_text("")
    assert main(_arguments(recorded, sets)) == 1
    assert "notes.txt: is not in the record" in capsys.readouterr().err


def test_other_sources_are_refused_before_anything_is_made(recorded, tmp_path, capsys):
    material = tmp_path / "material"
    shutil.copytree(recorded[0], material)
    page = material / "pages" / "page 2.jpg"
    original = page.read_bytes()
    for content, message in ((original + b"!", "page 2.jpg: differs"), (None, "page 2.jpg: is missing")):
        page.write_bytes(content) if content else page.unlink()
        arguments = _arguments(recorded, tmp_path / "sets", material=material)
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "sets").exists()
    page.write_bytes(original)
    # One more held-out source would change which ones are chosen.
    shutil.copy(page, material / "pages" / "one more.jpg")
    (material / "split.csv").write_text((material / "split.csv").read_text() + "pages/one more.jpg,heldout\n")
    assert main(arguments) == 1
    assert "one more.jpg: is not in the record" in capsys.readouterr().err
    assert main(_arguments(recorded, tmp_path / "sets", material=tmp_path / "nothing")) == 2


def test_the_records_are_what_sha256sum_reads(recorded: tuple[Path, Path, Path]) -> None:
    sums = read_sums(recorded[1] / "sources.sha256")
    # Three held-out pages, two hands with masks, two heads, and the split; nothing of what is for training.
    assert len(sums) == 10
    assert "pages/page 0.jpg" not in sums
    for name, root in (("sources", recorded[0]), ("contest", recorded[2] / "contest")):
        command = ["sha256sum", "--check", "--strict", "--quiet", str(recorded[1] / f"{name}.sha256")]
        assert subprocess.run(command, cwd=root, check=False).returncode == 0


def test_bad_recipes_and_names_are_refused(tmp_path: Path, recorded: tuple[Path, Path, Path]) -> None:
    (tmp_path / "recipes.yml").write_text("common: {}\nsets: {a: {pages: [], occluders: [], grups: 2}}")
    with pytest.raises(ValueError, match=r"a: .*grups"):
        read_recipes(recorded[0], tmp_path)
    with pytest.raises(SystemExit):
        main(_arguments(recorded, tmp_path / "sets", "--only", "kontest"))


def test_our_own_records_are_whole() -> None:
    """Four sets as the figures in the README need them, with checksums of each, and no path of a machine."""
    sets, sources = read_recipes(Path("material")), read_sums(RECORDS / "sources.sha256")
    assert [(name, one.seed) for name, one in sets.items()] == [
        ("contest", 1), ("natural", 2), ("clean", 3), ("printed-people", 4)]  # fmt: skip
    assert "split.csv" in sources
    assert not any(name.startswith(("/", "..")) for name in sources)
    for name, options in sets.items():
        assert (options.subset, options.long_side) == ("heldout", 3770)
        sums = read_sums(RECORDS / f"{name}.sha256")
        assert sum("/gt/" in file for file in sums) == sum(file.endswith(".png") for file in sums) == options.groups
