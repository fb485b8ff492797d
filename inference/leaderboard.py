"""Compares ways to restore photos with the truth, in one run: inpainting, the networks, the truth itself.

    python -m inference.leaderboard SETS OUT
    python -m inference.leaderboard SETS OUT --sets contest,drawn --methods telea-true,ceiling,auto --limit 6

SETS holds the sets of `python -m data.heldout`, a folder each. The set "drawn" is made on the way: each kind of page
four times, under a bundled hand, of which every hidden rule is known. OUT gets pictures.csv (a row for every set,
picture and method, as they come), leaderboard.md, and areas.png, the score against the occluded area.
"""

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np

from data.contest import Group, is_contest, read_contest
from data.images import read_rgb
from data.masks import read_mask
from data.synthesis.occluders import CUTOUTS, OccluderLibrary, find_occluders
from data.synthesis.pages import KINDS, draw_sheet
from data.synthesis.paste import STYLES, paste
from data.synthesis.scenes import photograph
from inference.benchmark import describe, table_of
from inference.engines import BackendError
from inference.methods import METHODS, RIM, Photo, judge
from inference.restorer import Restorer, default_weights
from metrics import HIGHEST_PSNR, mean
from metrics.fill import INK
from utils.command import DONE, command, parser_of, whole
from utils.files import atomic_path, check_writable, write_csv, write_text
from utils.machine import progress

DRAWN = "drawn"
_DRAWN_SCENES, _DRAWN_SIZE = 24, (1200, 1600)
Row = dict[str, Any]  # Set, picture and method, then what `judge` measured
Scenes = dict[tuple[str, str], Callable[[], Photo]]  # Set and name of a photo -> what reads it
_MEANS = ("psnr", "ms_ssim", "score", "psnr_inside", "ms_ssim_inside", "seam", "seconds")
_HEADS = {
    "pictures": "d", "psnr": ".2f", "ms_ssim": ".4f", "score": ".4f", "psnr_inside": ".2f", "ms_ssim_inside": ".4f",
    "rules_back": ".3f", "false_ink": ".4f", "seam": ".2f", "untouched": ".2%", "iou": ".3f", "precision": ".3f",
    "recall": ".3f", "wrong": "d", "wrong_share": ".2g", "worse": "d", "seconds": ".2f",
}  # fmt: skip
_NOTES = Template(Path(__file__).with_suffix(".md").read_text("utf-8"))  # What a reader of the tables has to know
_AREAS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0)  # Limits between the classes of `draw_areas`, in per cent of a picture


def list_scenes(folder: Path, limit: int = 0) -> Scenes:
    """Those of a contest folder; a `limit` above 0 takes so many, those of a smaller limit always among them."""
    groups = read_contest(folder)
    if 0 < limit < len(groups):
        # Not every second one: sets alternate between photos with and without an occluder.
        chosen = np.random.default_rng(0).permutation(len(groups))[:limit]
        groups = [groups[index] for index in sorted(chosen)]
    return {(folder.name, group.name): partial(_read, group) for group in groups}


def _read(group: Group) -> Photo:
    return Photo(read_rgb(group.occluded), read_rgb(group.clean), read_mask(group.mask))


def drawn_scenes(limit: int = 0) -> Scenes:
    """The first scenes of the drawn set, all with 0."""
    kinds = itertools.islice(itertools.cycle(KINDS), min(limit or _DRAWN_SCENES, _DRAWN_SCENES))
    return {(DRAWN, f"{number:02d} {kind}"): partial(_draw, number, kind) for number, kind in enumerate(kinds)}


def _draw(number: int, kind: str) -> Photo:
    """A drawn page, photographed a little askew, with a bundled hand that comes in from one side."""
    rng, size = np.random.default_rng([11, number]), _DRAWN_SIZE
    sheet = draw_sheet(rng, *size, kind)
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), rng.uniform(-1.2, 1.2), 1.0)
    page, rules = (cv2.warpAffine(np.array(drawn), turn, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
                   for drawn in (sheet.image, sheet.rules))  # fmt: skip
    truth = photograph(page, rng, max(size))
    picture, mask = paste(truth, OccluderLibrary(find_occluders([CUTOUTS])), rng, STYLES["contest"], kind="hand")
    return Photo(picture, truth, mask, np.uint8(rules > 127))


def measure(path: Path, scenes: Scenes, methods: Sequence[str], files: Mapping[str, Path]) -> list[Row]:
    """The rows of all scenes and methods, with `files` of weights by kind; `path`, a CSV file, grows by each scene."""
    rows: list[Row] = []
    opened = cache(lambda kind, mode: Restorer(files[kind], mode=mode) if kind else None)
    for (name, picture), read in progress(scenes.items(), unit="picture", desc="measuring"):
        photo = read()
        for method in methods:
            outcome = METHODS[method].run(photo, opened(*METHODS[method].over))
            rows.append({"set": name, "picture": picture, "method": method, **judge(photo, outcome)})
        write_csv(path, [list(rows[0]), *(row.values() for row in rows)])
    return rows


def summaries_of(rows: Sequence[Row]) -> list[Row]:
    """One for each set and method of rows sorted by them; rows of method "input" have to be among them."""
    inputs = {(row["set"], row["picture"]): row["score"] for row in rows if row["method"] == "input"}
    by_method = itertools.groupby(rows, lambda row: (row["set"], row["method"]))
    return [_summary([*group], inputs) for _, group in by_method]


def _summary(rows: Sequence[Row], inputs: Mapping[tuple[str, str], float | None]) -> Row:
    """The rows of one set and method in one, see leaderboard.md; `inputs`: the scores of photos as they are."""
    telling = [row for row in rows if row["found"] is not None]
    found, hit, covered = (sum(row[count] for row in telling) for count in ("found", "hit", "covered"))
    rules, back, blank, false = (sum(row[count] or 0 for row in rows) for count in INK)
    scores = [(row["score"], inputs[row["set"], row["picture"]]) for row in rows]
    return {
        "set": rows[0]["set"], "method": rows[0]["method"], "pictures": len(rows),
        **{name: mean(name, [row[name] for row in rows]) for name in _MEANS},
        "rules_back": back / rules if rules else None,
        "false_ink": false / blank if blank else None,
        "untouched": 1 - sum(row["changed"] for row in rows) / sum(row["pixels"] for row in rows),
        "iou": hit / (found + covered - hit) if found + covered else None,
        "precision": hit / found if found else None,
        "recall": hit / covered if covered else None,
        "wrong": sum(row["wrong"] > 0 for row in rows),
        "wrong_share": max(row["wrong"] / row["pixels"] for row in rows),
        "worse": None if any(None in pair for pair in scores) else sum(ours < before for ours, before in scores),
    }  # fmt: skip


def markdown(summaries: Sequence[Row], remarks: Sequence[str] = ()) -> str:
    """A table for each set, and what a reader has to know."""
    lines = []
    for name, of_set in itertools.groupby(summaries, lambda summary: summary["set"]):
        rows = [[METHODS[row["method"]].about] + ["-" if row[head] is None else format(row[head], form)
                 for head, form in _HEADS.items()] for row in of_set]  # fmt: skip
        lines += [f"### {name}", "", *table_of(["method", *_HEADS], rows), ""]
    notes = _NOTES.substitute(highest=f"{HIGHEST_PSNR:g}", rim=f"{100 * RIM:g}")
    return "\n".join([*lines, notes]) + "".join(f"* {remark}\n" for remark in remarks)


def draw_areas(path: Path, rows: Sequence[Row]) -> None:
    """Draws each method's mean score over the pictures of a class of occluded area, told apart by line and mark."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(9, 5.5), layout="constrained").add_subplot()
    looks = itertools.product(("-", "--", ":"), "osD^vx")
    for method, (line, mark) in zip(dict.fromkeys(row["method"] for row in rows), looks, strict=False):
        scores = defaultdict(list)
        for row in (row for row in rows if row["method"] == method):
            scores[bisect_left(_AREAS, 100 * row["covered"] / row["pixels"])].append(row["score"])
        means = {place: mean("score", known) for place, known in sorted(scores.items())}
        axes.plot(list(means), list(means.values()), f"k{line}{mark}", label=METHODS[method].about, mfc="white")
    limits = [f"{least:g} to {most:g}" for least, most in itertools.pairwise((0, *_AREAS, 100))]
    axes.set(xlabel="occluded area, % of the picture", ylabel="contest score, mean over the pictures of a class",
             xticks=range(len(limits)), xticklabels=limits)  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_path(path) as temporary:
        axes.figure.savefig(temporary, dpi=120)


def _chosen(names: str, there: Sequence[str], where: str) -> list[str]:
    """Those of `there` that are in "A,B", and all of them when it is empty."""
    for name in filter(None, names.split(",")):
        if name not in there:
            raise ValueError(f"{name}: {where} has {', '.join(there)}")
    return [name for name in there if not names or name in names.split(",")]


@command(BackendError, ImportError, ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m inference.leaderboard")
    add = parser.add_argument
    add("sets", type=Path, metavar="SETS", help="folder of the sets")
    add("out", type=Path, metavar="OUT", help="folder for what is measured")
    add("--sets", dest="only", default="", metavar="A,B", help=f"these sets (default: all in SETS, and {DRAWN})")
    add("--methods", default="", metavar="A,B", help=f"these methods (default: all of {', '.join(METHODS)})")
    add("--limit", type=whole(0, 1_000_000), default=0, help="pictures per set (default: all)")
    add("--weights", type=Path, help="weights of the rows of predict.py (default: those that it takes)")
    options = parser.parse_args(arguments)
    folders = sorted(folder.name for folder in options.sets.glob("*/") if is_contest(folder))
    if not folders and options.only != DRAWN:
        raise ValueError(f"{options.sets}: holds no set in the contest's layout; `python -m data.heldout` makes them")
    files = {"shipped": options.weights or default_weights(), "gated": default_weights("tiles")}
    methods = list(dict.fromkeys(["input", *_chosen(options.methods, list(METHODS), "the table")]))
    scenes: Scenes = {}
    for name in _chosen(options.only, [*folders, DRAWN], str(options.sets)):
        scenes |= drawn_scenes(options.limit) if name == DRAWN else list_scenes(options.sets / name, options.limit)
    check_writable(options.out / "leaderboard.md")
    remarks = [f"Machine: {describe()}.", *(f"Weights, {kind}: {file.name}." for kind, file in files.items())]
    rows = measure(options.out / "pictures.csv", scenes, methods, files)
    rows.sort(key=lambda row: (row["set"], methods.index(row["method"])))
    # The truth itself would leave the others a narrow band.
    if telling := [row for row in rows if row["covered"] and row["score"] and row["method"] != "ceiling"]:
        draw_areas(options.out / "areas.png", telling)
    text = markdown(summaries_of(rows), remarks)
    write_text(options.out / "leaderboard.md", text)
    print(text)
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
