"""Compares ways to restore photos on the held-out sets, in one run: inpainting, the networks, the truth itself.

    python -m inference.leaderboard SETS OUT
    python -m inference.leaderboard SETS OUT --sets contest,natural --methods telea-true,ceiling,auto --limit 6

SETS holds the sets of `python -m data.heldout`, each in a folder of its own. OUT gets pictures.jsonl (a line for every
set, method and picture, written as it comes) and leaderboard.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.contest.lists import Group, is_contest, read_contest
from data.images import read_rgb
from data.masks import read_mask
from inference.benchmark import describe
from inference.engines.runtimes import BackendError
from inference.methods import METHODS, RIM, Photo, Tools, judge
from inference.restorer import default_weights
from metrics.score import HIGHEST_PSNR, mean
from utils.command import AT_ONCE, DONE, command, whole
from utils.files import check_writable, printable, write_text
from utils.machine import available_cores

# Set, method and picture, then what `judge` measured.
Row = dict[str, Any]
_HEADS = {
    "pictures": "d", "psnr": ".2f", "ms_ssim": ".4f", "score": ".4f", "psnr_inside": ".2f", "untouched": ".2%",
    "iou": ".3f", "precision": ".3f", "recall": ".3f", "wrong": "d", "wrong_share": ".2g", "worse": "d",
    "seconds": ".2f",
}  # fmt: skip
_NOTES = f"""\
* Means over the pictures; a PSNR counts at most {HIGHEST_PSNR:g} dB. Scored are the pictures that a method makes, not \
files of them: saving a result as JPEG again would cost some more.
* psnr_inside: inside the true mask. untouched: pixels whose value is the input's.
* iou, precision, recall: of the pixels taken for an occluder, over all pictures of a set, before the paste widens them.
* wrong: pictures of which a pixel changed farther than {100 * RIM:g} % of the longer side from every occluder; \
wrong_share: the largest share of a picture's pixels, from 0 to 1. worse: pictures with a lower score than their input.
* seconds: mean from pixels to pixels, reading and writing files left out.
"""


class Scene(NamedTuple):
    """One photo of a set."""

    set: str
    name: str
    group: Group

    def read(self) -> Photo:
        return Photo(read_rgb(self.group.occluded), read_rgb(self.group.clean), read_mask(self.group.mask))


def list_scenes(folder: Path, limit: int = 0) -> list[Scene]:
    """The scenes of a set in the contest's layout, named after its folder.

    `limit` takes so many, always the same ones, and those of a smaller limit among them; 0 takes all.
    """
    groups = read_contest(folder)
    if 0 < limit < len(groups):
        # Not every second one: sets alternate between photos with and without an occluder.
        chosen = np.random.default_rng(0).permutation(len(groups))[:limit]
        groups = [groups[index] for index in sorted(chosen)]
    return [Scene(folder.name, f"{group.folder}/{group.occluded_name}", group) for group in groups]


def measure(path: Path, scenes: Sequence[Scene], methods: Sequence[str], tools: Tools) -> list[Row]:
    """The rows of all scenes and methods; `path` gets each as a line of JSON as soon as it is measured."""
    rows, pool = [], ThreadPoolExecutor(available_cores())
    path.parent.mkdir(parents=True, exist_ok=True)
    with pool, open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        for scene in scenes:
            photo = scene.read()
            # One method after the other, alone on the machine; then they are all compared with the truth.
            outcomes = [METHODS[method].run(tools, photo) for method in methods]
            for method, measures in zip(methods, pool.map(partial(judge, photo), outcomes), strict=True):
                rows.append({"set": scene.set, "method": method, "picture": scene.name, **measures})
                file.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
                file.flush()
                print(f"{scene.set} {printable(scene.name)}: {method} {measures['score'] or 0:.4f}", file=sys.stderr,
                      flush=True)  # fmt: skip
    return rows


def summaries_of(rows: Sequence[Row]) -> list[Row]:
    """One for each set and method, in the order in which they come; rows of method "input" have to be among them."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["method"]), {})[row["picture"]] = row
    return [_summary(list(group.values()), groups[name, "input"]) for (name, _), group in groups.items()]


def _summary(rows: Sequence[Row], inputs: Mapping[str, Row]) -> Row:
    """The rows of one set and method in one, see `_NOTES`; `inputs`: those of method "input", by picture."""
    telling = [row for row in rows if row["found"] is not None]
    found, hit, covered = (sum(row[name] for row in telling) for name in ("found", "hit", "covered"))
    scores = [(row["score"], inputs[row["picture"]]["score"]) for row in rows]
    return {
        **{name: rows[0][name] for name in ("set", "method")},
        "pictures": len(rows),
        **{name: mean(name, [row[name] for row in rows]) for name in ("psnr", "ms_ssim", "score", "psnr_inside")},
        "untouched": 1 - sum(row["changed"] for row in rows) / sum(row["pixels"] for row in rows),
        "iou": hit / (found + covered - hit) if found + covered else None,
        "precision": hit / found if found else None,
        "recall": hit / covered if covered else None,
        "wrong": sum(row["wrong"] > 0 for row in rows),
        "wrong_share": max(row["wrong"] / row["pixels"] for row in rows),
        "worse": None if any(None in pair for pair in scores) else sum(ours < before for ours, before in scores),
        "seconds": mean("seconds", [row["seconds"] for row in rows]),
    }


def markdown(summaries: Sequence[Row], remarks: Sequence[str] = ()) -> str:
    """A table for each set, and what a reader has to know."""
    lines = []
    for name in dict.fromkeys(summary["set"] for summary in summaries):
        lines += [f"### {name}", "", f"| method | {' | '.join(_HEADS)} |", "|" + " --- |" * (len(_HEADS) + 1)]
        for row in (summary for summary in summaries if summary["set"] == name):
            cells = ["-" if row[head] is None else format(row[head], form) for head, form in _HEADS.items()]
            lines.append(f"| {METHODS[row['method']].about} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, _NOTES]) + "".join(f"* {remark}\n" for remark in remarks)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    prose = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m inference.leaderboard", description=__doc__, formatter_class=prose)
    add = parser.add_argument
    add("sets", type=Path, metavar="SETS", help="folder of the sets")
    add("out", type=Path, metavar="OUT", help="folder for what is measured")
    add("--sets", dest="only", default="", metavar="A,B", help="these sets (default: all in SETS)")
    add("--methods", default="", metavar="A,B", help=f"these methods (default: all of {', '.join(METHODS)})")
    add("--limit", type=whole(0, 1_000_000), default=0, help="pictures per set (default: all)")
    add("--weights", type=Path, help="weights of the rows of predict.py (default: those that it takes)")
    add("--gated-weights", type=Path, help="weights of a gated network (default: those of predict.py --mode tiles)")
    add("--threads", type=AT_ONCE, default=available_cores(), help="threads of the network (default: all cores)")
    return parser.parse_args(arguments)


def _chosen(names: str, there: Sequence[str], where: str) -> list[str]:
    """Those of `there` that are in "A,B", and all of them when it is empty."""
    for name in filter(None, names.split(",")):
        if name not in there:
            raise ValueError(f"{name}: {where} has {', '.join(there)}")
    return [name for name in there if not names or name in names.split(",")]


def run(options: argparse.Namespace) -> None:
    """Measures what `options` ask for and writes the tables."""
    sets = sorted(folder.name for folder in options.sets.glob("*/") if is_contest(folder))
    if not sets:
        raise ValueError(f"{options.sets}: holds no set in the contest's layout; `python -m data.heldout` makes them")
    sets = _chosen(options.only, sets, str(options.sets))
    needed = {"input", *_chosen(options.methods, list(METHODS), "the table")}
    methods = [name for name in METHODS if name in needed]
    files = {"shipped": options.weights or default_weights(),
             "gated": options.gated_weights or default_weights("tiles")}  # fmt: skip
    tools = Tools(files, options.threads)
    scenes = [scene for name in sets for scene in list_scenes(options.sets / name, options.limit)]
    check_writable(options.out / "leaderboard.md")
    rows = measure(options.out / "pictures.jsonl", scenes, methods, tools)
    rows.sort(key=lambda row: (row["set"], methods.index(row["method"])))
    remarks = [f"Machine: {describe(options.threads)}."]
    remarks += [f"Weights, {kind}: {path.name}, SHA-256 {tools.digests[kind]}." for kind, path in
                tools.files.items() if any(METHODS[name].weights == kind for name in methods)]  # fmt: skip
    text = markdown(summaries_of(rows), remarks)
    write_text(options.out / "leaderboard.md", text)
    print(text)


@command(BackendError, ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    run(parse_arguments(arguments))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
