"""A whole set is made: groups over processes, then annotations and manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data.synthesis.sets import (
    FOLDERS,
    PageJob,
    PageMaker,
    PageResult,
    SetOptions,
    Sources,
    annotations,
    find_sources,
    plan,
)
from utils.files import write_text
from utils.parallel import run_parallel

MANIFEST = "manifest.json"
_maker: PageMaker | None = None


def make_set(
    options: SetOptions, out: str | Path, workers: int = 1, progress: bool = False, overwrite: bool = False
) -> list[PageResult]:
    """Writes a whole set; the same options give the same bytes whatever `workers` is.

    Annotation files and manifest come last: a folder without them is an unfinished set.

    Args:
        overwrite: delete the finished set in `out` first, once the sources have been found.

    Raises:
        FileExistsError: `out` holds something already; with `overwrite`, something that this command did not make.
        FileNotFoundError: sources are missing, or the subset is empty.
        BadImageError: hardly any page or occluder can be read.
    """
    out = Path(out)
    sources, jobs = find_sources(options), plan(options)
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{out}: is not empty; choose another folder, or say --overwrite")
        _remove_earlier(out, sources)
    for folder in sorted({job.folder for job in jobs}):
        for name in ("gt", "hand", "head"):
            (out / folder / name).mkdir(parents=True, exist_ok=True)
    made = run_parallel(_work, jobs, workers, prepare=partial(_prepare, options, sources, out))
    results = list(tqdm(made, "pages", len(jobs), disable=not progress))
    for folder, text in annotations(results).items():
        write_text(out / folder / "annotation.txt", text)
    groups = [group for result in results for group in result.groups]
    broken = broken_sources(results)
    manifest = {"options": asdict(options), "groups": groups, "broken_sources": broken}
    write_text(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return results


def _remove_earlier(out: Path, sources: Sources) -> None:
    """Deletes the finished set in `out`, after making sure that nothing else lies there.

    Raises:
        FileExistsError: there is no set of this command, or more than it, or this set is a source of the new one.
    """
    manifest, refusal = out / MANIFEST, "--overwrite deletes only a finished set of this command"
    try:
        groups = json.loads(manifest.read_text("utf-8"))["groups"]
        made = {str(group["occluded"]).partition("/")[0] for group in groups} & set(FOLDERS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileExistsError(
            f"{out}: {refusal}, and {MANIFEST} that would tell of one cannot be read here ({error!r}); "
            "delete the folder yourself, or choose another one"
        ) from error
    there = {path.name for path in out.iterdir()}
    foreign = sorted(there - made - {MANIFEST})
    if foreign:
        raise FileExistsError(f"{out}: {refusal}, and {', '.join(foreign)} does not belong to it; move it away first")
    for path in (*sources.pages, *(entry.path for entry in sources.occluders)):
        if out.resolve() in path.resolve().parents:
            raise FileExistsError(f"{path}: lies in the set that --overwrite would delete; choose another folder")
    for name in made & there:
        shutil.rmtree(out / name)
    # Last, so that an interrupted deletion can be taken up again.
    manifest.unlink()


def broken_sources(results: Sequence[PageResult]) -> list[str]:
    return sorted({message for result in results for message in result.broken})


def _prepare(options: SetOptions, sources: Sources, out: Path) -> None:
    global _maker
    _maker = PageMaker(options, sources, out)


def _work(job: PageJob) -> PageResult:
    assert _maker is not None
    return _maker(job)
