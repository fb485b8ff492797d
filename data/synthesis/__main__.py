"""Makes a training or test set in the contest's layout.

    python -m data.synthesis OUT --pages DIR --occluders DIR --groups 400 --seed 1
    python -m data.synthesis OUT --groups 40 --seed 1 --long-side 1200        # draws pages and occluders itself

OUT gets five folders train_data_1 .. train_data_5, each with annotation.txt, gt/, hand/ and head/, and manifest.json,
which tells how the set was made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data.images import BadImageError
from data.synthesis.paste import REFERENCE_LONG_SIDE, STYLES
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
from utils.machine import available_cores
from utils.parallel import WorkerKilledError, run_parallel

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
    broken = _broken_sources(results)
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


def _broken_sources(results: Sequence[PageResult]) -> list[str]:
    return sorted({message for result in results for message in result.broken})


def _prepare(options: SetOptions, sources: Sources, out: Path) -> None:
    global _maker
    _maker = PageMaker(options, sources, out)


def _work(job: PageJob) -> PageResult:
    assert _maker is not None
    return _maker(job)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.synthesis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", help="folder of the new set")
    parser.add_argument("--pages", action="append", default=[], metavar="DIR", help="clean pages; repeatable")
    parser.add_argument(
        "--occluders",
        action="append",
        default=[],
        metavar="DIR",
        help="cut-outs: RGBA pictures, or pictures with NAME_mask.png, below a folder named after what they show "
        "(hand, finger, head, person or face); repeatable",
    )
    parser.add_argument("--groups", type=int, required=True, help="number of occluded photos")
    parser.add_argument("--seed", type=int, required=True, help="same seed, same bytes")
    parser.add_argument(
        "--long-side",
        type=int,
        default=REFERENCE_LONG_SIDE,
        help="longer side of the photos in pixels (default %(default)s, as in the contest); 0 keeps the pages' size",
    )
    parser.add_argument("--occlusions-per-page", type=int, default=4, help="most photos per clean page (default 4)")
    parser.add_argument(
        "--style",
        choices=sorted(STYLES),
        default="contest",
        help="contest: hard edges, no shadows; natural: mostly soft edges, shadows, differing light (default contest)",
    )
    parser.add_argument(
        "--subset",
        choices=("train", "heldout", "all"),
        default="train",
        help="which sources to use (default train): those of heldout never appear in train; a split.csv with the "
        "columns file,split beside or above the sources decides, else a hash of each file's name",
    )
    parser.add_argument("--held-out", type=float, default=0.15, help="fraction held out by hash (default 0.15)")
    parser.add_argument(
        "--printed-photos",
        type=float,
        default=0.0,
        metavar="P",
        help="probability of pictures or bold letters printed on a clean page, which must stay (default 0)",
    )
    parser.add_argument(
        "--printed-people",
        type=float,
        default=0.0,
        metavar="P",
        help="probability of one to three printed photographs of people and hands on a clean page (default 0)",
    )
    parser.add_argument(
        "--desks",
        type=float,
        default=0.0,
        metavar="P",
        help="probability that a page is photographed lying on a desk, which shows round some of its sides (default 0)",
    )
    parser.add_argument(
        "--occluded",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the photos that show an occluder at all; the masks of the others are empty (default 1)",
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality (default 95)")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the finished set in OUT first; refused where something else lies there too",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 when sources were broken, 2 when no set was made, 130 when stopped."""
    options_given = vars(_parser().parse_args(arguments))
    out, workers = Path(options_given.pop("out")), options_given.pop("workers")
    overwrite = options_given.pop("overwrite")
    options_given["pages"] = tuple(options_given["pages"])
    options_given["occluders"] = tuple(options_given["occluders"])
    try:
        options = SetOptions(**options_given)
        results = make_set(options, out, workers, progress=True, overwrite=overwrite)
    except (BadImageError, FileExistsError, FileNotFoundError, ValueError, WorkerKilledError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped: the set is not whole; delete {out} and run again", file=sys.stderr)
        return 130
    broken = _broken_sources(results)
    print(f"{out}: {options.groups} groups on {len(results)} pages")
    for message in broken:
        print(f"broken source, another one was taken: {message}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
