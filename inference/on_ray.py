"""The photos of a folder, or of any fsspec address, as tasks on a Ray cluster: the same work for each file as here.

    python -m inference.on_ray --ray auto photos results            # the cluster that this machine belongs to
    python -m inference.on_ray --ray HOST:6379 s3://scans/in s3://scans/out --save-mask

Needs the extra `ray` (and, for S3 and the like, that file system's package) and this project, of the same version, on
every node; files are folders that every node sees under the same path, or addresses. A task fetches one file, and what
lies in the place of its results, into a folder of its own, lets `inference.folder` do there what it does in any folder,
and puts what came out in its place: under another name first, the picture last. So the rules are the same: what is
finished is kept, what is not this program's is refused. The record of a picture lies in RESULTS/.uncover, since not
every file system appends. Tasks of a node that dies are run again elsewhere. Only so many are under way, and they
return words and no pictures: memory does not grow.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import logging
import os
import socket
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data.kinds import STARTING_BYTES, kind_of
from inference.folder import FAILED, MOST_STUCK, RESTORED, SKIPPED, UNTOUCHED, Outcome, ResultsError, restore_folder
from inference.record import RECORD
from inference.restorer import Restorer
from inference.sources import MASK, SHEET, Listing, Originals, beside, is_picture, is_wanted
from utils.command import AT_ONCE, DONE, SOME_FAILED, STOPPED, command, program, sentence
from utils.machine import progress

# Of a task that its node, or the system for want of memory, has ended.
RETRIES = 3
# While one is restored, the next waits at its node.
TASKS_PER_SLOT = 2
_LEFTOVER = ".uncover.tmp"
# What an earlier run left; another run may be writing now.
_ABANDONED_SECONDS = 3600


class Work(NamedTuple):
    """What every task is told; addresses are those of fsspec, `settings` those of `Restorer`, as JSON."""

    source: str
    results: str
    settings: str
    orders: Mapping[str, bool]


def connect(address: str) -> str:
    """Joins the cluster; returns a line for the log. ConnectionError: there is none at that address."""
    import ray

    top = Path(sys.modules[__name__.partition(".")[0]].__file__).parents[1]
    paths = os.pathsep.join(filter(None, [str(top), os.environ.get("PYTHONPATH")]))
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "://" not in address:
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": paths}}, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise ConnectionError(f"no Ray cluster at {address}: {sentence(error)}") from error
    nodes = sum(node["Alive"] for node in ray.nodes())
    processors = ray.cluster_resources().get("CPU", 0)
    return f"Ray at {address}: {nodes} node{'s' if nodes > 1 else ''}, {processors:g} processors"


def list_work(work: Work, include: str) -> list[str]:
    """Names of the pictures below the source, sorted, as in a folder's run; leftovers among the results are removed.

    ValueError: the source is a file, or results would lie in the place of their sources or of each other's masks;
    FileNotFoundError: no source.
    """
    import fsspec

    (files, root), (kept, target) = fsspec.url_to_fs(work.source), fsspec.url_to_fs(work.results)
    if files.protocol == kept.protocol and PurePosixPath(target).is_relative_to(root):
        raise ValueError(f"{work.results}: lies in {work.source}, whose files the next run would take for photos; name "
                         "another folder")
    if not files.exists(root):
        raise FileNotFoundError(f"{work.source}: no such folder or address")
    if files.isfile(root):
        raise ValueError(f"{work.source}: is a file, expected a folder or its address; one photo needs no cluster")
    kept.makedirs(target, exist_ok=True)
    for path, about in kept.find(target, detail=True).items():
        changed = about.get("mtime", 0)
        if path.endswith(_LEFTOVER) and isinstance(changed, float) and time.time() - changed > _ABANDONED_SECONDS:
            kept.rm_file(path)
    names = [PurePosixPath(path[len(root) :].lstrip("/")) for path in sorted(files.find(root))]
    pictures = [
        Path(name) for name in names if is_wanted(name, include)
        and is_picture(name, lambda name=name: kind_of(files.cat_file(f"{root}/{name}", end=STARTING_BYTES)))
    ]  # fmt: skip
    Listing(Path(work.source), pictures).refuse_clashes(_sides(work))
    return [path.as_posix() for path in pictures]


def _sides(work: Work) -> list[str]:
    return [side for side, option in ((MASK, "save_mask"), (SHEET, "compare")) if work.orders.get(option)]


def restore_on_ray(work: Work, names: list[str], slot: Mapping[str, float]) -> Iterator[Outcome]:
    """Restores every picture and tells of each as soon as it is done, in no order.

    `slot` is what a task takes of a node, such as {"CPU": 2}.

    Raises:
        ResultsError: while it runs, when three results in a row could not be written.
        RuntimeError: a node cannot restore anything: weights, engine or device are not right there.
    """
    import ray

    task = ray.remote(restore_one).options(num_cpus=slot["CPU"], num_gpus=slot.get("GPU", 0), max_retries=RETRIES)
    shared, pending, stuck = ray.put(work), {}, 0
    waiting = iter(names)
    while True:
        # Asked anew, since nodes come and go.
        have = ray.cluster_resources()
        room = TASKS_PER_SLOT * max(1, int(min(have.get(kind, 0) / need for kind, need in slot.items())))
        while len(pending) < room and (name := next(waiting, None)) is not None:
            pending[task.remote(shared, name)] = name
        if not pending:
            return
        for done in ray.wait(list(pending), timeout=10)[0]:
            name = pending.pop(done)
            try:
                outcome = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise RuntimeError(f"a node of the cluster cannot restore: {error.cause}") from error
            except ray.exceptions.RayError as error:
                outcome = Outcome(Path(name), FAILED, message=f"its task was ended {RETRIES + 1} times ({error})")
            yield outcome
            stuck = stuck + 1 if outcome.results_stuck else 0
            if stuck == MOST_STUCK:
                raise ResultsError(f"{work.results}: {stuck} results in a row could not be written ({outcome.message})")


def restore_one(work: Work, name: str) -> Outcome:
    """On a node: one picture from its address to that of its result."""
    restorer, failed = _restorer(work.settings), Outcome(Path(name), FAILED)
    with tempfile.TemporaryDirectory(prefix="uncover-") as folder:
        here, there = Path(folder, "source"), Path(folder, "results")
        try:
            found = fetch(work, name, here, there)
        except OSError as error:
            failed.message = sentence(error)
            return failed
        listing = Listing(here, [Path(name)], place=work.source)
        (outcome,) = restore_folder(restorer, listing, there, **work.orders)
        outcome.message = outcome.message.replace(str(there), work.results)
        if outcome.status in (RESTORED, UNTOUCHED):
            try:
                put(work, name, there, found)
            except OSError as error:
                failed.message, failed.results_stuck = f"its result cannot be written: {sentence(error)}", True
                return failed
        return outcome


def _places(work: Work, name: str) -> tuple[Any, dict[Path, str]]:
    """The file system of the results, and where on it record, mask, sheet and result of a picture lie, in this order,
    by their names in a folder of results.
    """
    import fsspec

    kept, target = fsspec.url_to_fs(work.results)
    record = f"{target}/.uncover/{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.jsonl"
    files = [*(beside(Path(name), side) for side in _sides(work)), Path(name)]
    return kept, {Path(RECORD): record} | {file: f"{target}/{file.as_posix()}" for file in files}


def fetch(work: Work, name: str, here: Path, there: Path) -> set[Path]:
    """Brings a picture into the folder `here`, of the same age, and its record into `there`; returns what is there.

    For results that are finished, as the record says, or not this program's, empty files of their size are enough. They
    are as old as can be, by which `put` knows them. OSError: a result would lie among the originals, or what cannot be
    read.
    """
    import fsspec

    files, root = fsspec.url_to_fs(work.source)
    (here / name).parent.mkdir(parents=True)
    (there / name).parent.mkdir(parents=True)
    files.get_file(f"{root}/{name}", str(here / name))
    with suppress(NotImplementedError):
        changed = files.modified(f"{root}/{name}").timestamp()
        os.utime(here / name, (changed, changed))
    kept, places = _places(work, name)
    kept.invalidate_cache()
    found, whole = set(), True
    for file, place in places.items():
        if "file" in files.protocol and "file" in kept.protocol:
            Originals(Listing(Path(root), [Path(name)]), work.results.removeprefix("file://")).refuse(Path(place))
        if not kept.exists(place):
            continue
        found.add(file)
        if kept.info(place)["type"] != "file":
            (there / file).mkdir()
        elif file == Path(RECORD) or not whole:
            kept.get_file(place, str(there / file))
            whole = (there / file).read_bytes().rstrip().endswith(b'"done": true}') if file == Path(RECORD) else whole
        else:
            with open(there / file, "wb") as stand_in:
                stand_in.truncate(kept.size(place))
        os.utime(there / file, (0, 0))
    return found


def put(work: Work, name: str, there: Path, found: set[Path]) -> None:
    """Takes the new files of `there` to the results, each whole under its name or not there, the picture last.

    The record says before what is going to be written, and afterwards that it is done. What `fetch` has `found` and is
    gone, such as a sheet of other weights, goes there as well.
    """
    kept, places = _places(work, name)
    (record, *files), lines = places, (there / RECORD).read_bytes().splitlines(keepends=True)
    for file, content in ((record, b"".join(lines[:-2])), *((file, b"") for file in files), (record, b"".join(lines))):
        path, place = there / file, places[file]
        if content:
            path.write_bytes(content)
        if path.exists() and path.stat().st_mtime:
            parent = place.rpartition("/")[0]
            other = f"{parent}/.{uuid.uuid4().hex}{_LEFTOVER}"
            kept.makedirs(parent, exist_ok=True)
            kept.put_file(str(path), other)
            kept.mv(other, place)
        elif file in found and not path.exists():
            kept.rm_file(place)


@functools.lru_cache(maxsize=1)
def _restorer(settings: str) -> Restorer:
    """The one of this worker, which serves many tasks."""
    return Restorer(**json.loads(settings))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        program("inference.on_ray"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SRC", help="folder of photos, or its address; searched with its sub-folders")
    parser.add_argument("results", metavar="RESULTS", help="folder that results are written to, or its address")
    parser.add_argument("--ray", required=True, metavar="ADDRESS", help="HOST:PORT of the cluster's head, or auto")
    parser.add_argument("--include", default="*", metavar="PATTERN", help="only files named so, such as '*.jpg'")
    parser.add_argument("--overwrite", action="store_true", help="restore again what has a result already")
    parser.add_argument("--save-mask", action="store_true", help="write PHOTO.jpg.mask.png beside each result")
    parser.add_argument("--compare", action="store_true", help="write PHOTO.jpg.compare.jpg beside each restored photo")
    parser.add_argument("--verbose", action="store_true", help="a line for every picture")
    parser.add_argument("--weights", help="file of weights, at the same place on every node; default: the shipped ones")
    parser.add_argument("--mode", choices=("auto", "tiles", "full"), default="auto",
                        help="auto: find what is covered and restore that; tiles, full: the whole picture")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="gpu: each task takes one")
    parser.add_argument("--threads", type=AT_ONCE, default=2, help="processors that each task takes; default 2")
    return parser.parse_args(arguments)


def absolute(place: str) -> str:
    """An address as it is; of a folder the path from the root, as the nodes' own folders are others."""
    return place if "://" in place else os.path.abspath(place)


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    logging.basicConfig(level="WARNING", format="%(levelname)s: %(message)s")
    if missing := [name for name in ("ray", "fsspec") if find_spec(name) is None]:
        raise RuntimeError(f"--ray needs {' and '.join(missing)}; install the extra: pip install '.[ray]'")
    settings: dict[str, Any] = {name: getattr(options, name) for name in ("mode", "device", "threads")}
    settings["weights"] = options.weights and absolute(options.weights)
    orders = {name: getattr(options, name) for name in ("overwrite", "save_mask", "compare")}
    work = Work(absolute(options.source), absolute(options.results), json.dumps(settings), orders)
    names = list_work(work, options.include)
    if not names:
        raise FileNotFoundError(f"{options.source}: no pictures found (--include is {options.include!r})")
    print(connect(options.ray))
    import ray

    slot = {"CPU": options.threads, **({"GPU": 1} if options.device == "gpu" else {})}
    counts: Counter[str] = Counter()
    try:
        with progress(total=len(names), unit="picture") as bar:
            for outcome in restore_on_ray(work, names, slot):
                counts[outcome.status] += 1
                bar.update()
                if options.verbose or outcome.status == FAILED:
                    bar.write(str(outcome), file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run it again to go on with what is missing", file=sys.stderr)
        return STOPPED
    finally:
        ray.shutdown()  # It leaves the cluster, which goes on; tasks of this run that have not ended are dropped.
        told = ", ".join(f"{counts[status]} {status}" for status in (RESTORED, UNTOUCHED, SKIPPED, FAILED))
        print(f"{counts.total()} of {len(names)} pictures: {told}")
    return SOME_FAILED if counts[FAILED] else DONE


if __name__ == "__main__":
    sys.exit(main())
