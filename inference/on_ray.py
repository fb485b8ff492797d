"""The photos of a folder, or of any fsspec address, as tasks on a Ray cluster: the same work for each file as here.

    python -m inference.on_ray --ray auto photos results            # the cluster that this machine belongs to
    python -m inference.on_ray --ray HOST:6379 s3://scans/in s3://scans/out --save-mask

Needs the extra `ray` (and, for S3 and the like, that file system's package) and this project, of the same version, on
every node; files are folders that every node sees under the same path, or addresses. A task fetches one file, restores
it in a folder of its own by `inference.folder`, and puts what came out in its place: under another name first, the
picture last. So a result that is there is whole, and a second run goes on with what is missing. Tasks of a node that
dies are run again elsewhere. Only so many are under way, and they return words and no pictures: memory does not grow.
"""

from __future__ import annotations

import argparse
import functools
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
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data.images import IMAGE_SUFFIXES
from inference.folder import FAILED, MOST_STUCK, RESTORED, SKIPPED, UNTOUCHED, Outcome, ResultsError, restore_folder
from inference.restorer import Restorer
from inference.sources import list_pictures
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


def list_work(source: str, results: str, include: str) -> tuple[list[str], set[str]]:
    """Names of the pictures below `source`, sorted, and of the results that are there; leftovers are removed.

    As in a folder's run, hidden files and what has no picture's suffix are left out.

    ValueError: `source` is a file, or results would lie in the place of their sources; FileNotFoundError: no source.
    """
    import fsspec

    (files, root), (kept, target) = fsspec.url_to_fs(source), fsspec.url_to_fs(results)
    if files.protocol == kept.protocol and PurePosixPath(target).is_relative_to(root):
        raise ValueError(f"{results}: lies in {source}, whose files the next run would take for photos; name another "
                         "folder")
    if not files.exists(root):
        raise FileNotFoundError(f"{source}: no such folder or address")
    if files.isfile(root):
        raise ValueError(f"{source}: is a file, expected a folder or its address; one photo needs no cluster")
    kept.makedirs(target, exist_ok=True)
    found = {path[len(target):].lstrip("/"): about for path, about in kept.find(target, detail=True).items()}
    for name in [name for name in found if name.endswith(_LEFTOVER)]:
        changed = found.pop(name).get("mtime", 0)
        if isinstance(changed, float) and time.time() - changed > _ABANDONED_SECONDS:
            kept.rm_file(f"{target}/{name}")
    names = sorted(path[len(root):].lstrip("/") for path in files.find(root))
    seen = [path for path in map(PurePosixPath, names) if not any(part.startswith(".") for part in path.parts)]
    named = [path for path in seen if fnmatch(path.name.lower(), include.lower())]
    return [str(path) for path in named if path.suffix.lower() in IMAGE_SUFFIXES], set(found)


def restore_on_ray(work: Work, names: list[str], there: set[str], slot: Mapping[str, float]) -> Iterator[Outcome]:
    """Restores every picture that is not `there` and tells of each as soon as it is done, in no order.

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
            if name in there and not work.orders.get("overwrite"):
                yield Outcome(Path(name), SKIPPED)
            else:
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
    import fsspec

    restorer = _restorer(work.settings)
    files, root = fsspec.url_to_fs(work.source)
    with tempfile.TemporaryDirectory(prefix="uncover-") as folder:
        here, there = Path(folder, "source", Path(name).name), Path(folder, "results")
        here.parent.mkdir()
        try:
            files.get_file(f"{root}/{name}", str(here))
        except OSError as error:
            return Outcome(Path(name), FAILED, message=f"cannot be fetched: {error}")
        (outcome,) = restore_folder(restorer, list_pictures(here, there), there, **work.orders)
        outcome.name = Path(name)
        if outcome.status != FAILED:
            try:
                put(there, here.name, work.results, str(PurePosixPath(name).parent))
            except OSError as error:
                outcome.status, outcome.results_stuck = FAILED, True
                outcome.message = f"its result cannot be written: {error}"
        return outcome


def put(folder: Path, picture: str, results: str, below: str) -> None:
    """Moves the files of `folder` to an address, each whole under its name or not there, `picture` as the last one."""
    import fsspec

    kept, target = fsspec.url_to_fs(results)
    place = f"{target}/{below}" if below != "." else target
    kept.makedirs(place, exist_ok=True)
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    for name in sorted(names, key=lambda name: name == picture):
        other = f"{place}/.{uuid.uuid4().hex}{_LEFTOVER}"
        kept.put_file(str(folder / name), other)
        kept.mv(other, f"{place}/{name}")


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
    names, there = list_work(work.source, work.results, options.include)
    if not names:
        raise FileNotFoundError(f"{options.source}: no pictures found (--include is {options.include!r})")
    print(connect(options.ray))
    import ray

    slot = {"CPU": options.threads, **({"GPU": 1} if options.device == "gpu" else {})}
    counts: Counter[str] = Counter()
    try:
        with progress(total=len(names), unit="picture") as bar:
            for outcome in restore_on_ray(work, names, there, slot):
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
