"""The photos of a folder, or of any fsspec address, as tasks on a Ray cluster: the same work for each file as here.

Needs the extra `ray` (and, for S3 and the like, that file system's package) and this project, of the same version, on
every node. A task fetches one file and does with it what `inference.folder` does in any folder, with a record that
looks and writes where the results are. That of a picture lies in RESULTS/.uncover, since not every file system appends.
Tasks of a node that dies are run again elsewhere. They return words and no pictures: memory does not grow.
"""

import json
import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data.images import STARTING_BYTES, kind_of
from inference.files import MASK, OWN_RECORD, RECORD, SHEET, Listing, Originals, Record, digest, is_picture, is_wanted
from inference.folder import FAILED, Outcome, restore_folder, watched
from inference.restorer import Restorer
from utils.command import counted, sentence

RETRIES = 3  # Of a task that its node, or the system for want of memory, has ended.
TASKS_PER_SLOT = 2  # While one is restored, the next waits at its node.
_LEFTOVER, _ABANDONED_SECONDS = ".uncover.tmp", 3600  # What an earlier run left; another run may be writing now.
_restorer_of = lru_cache(maxsize=1)(lambda settings: Restorer(**json.loads(settings)))


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
    return f"Ray at {address}: {counted(nodes, 'node')}, {ray.cluster_resources().get('CPU', 0):g} processors"


def list_work(work: Work, include: str) -> list[str]:
    """Names of the pictures below the source, sorted, as in a folder's run; leftovers among the results are removed."""
    import fsspec

    (files, root), (kept, target) = fsspec.url_to_fs(work.source), fsspec.url_to_fs(work.results)
    if files == kept and PurePosixPath(target).is_relative_to(root):
        raise ValueError(f"{work.results}: lies in {work.source}, whose files the next run would take for photos; name "
                         "another folder")
    if not files.exists(root):
        raise FileNotFoundError(f"{work.source}: no such folder or address")
    if files.isfile(root):
        raise ValueError(f"{work.source}: is a file, expected a folder or its address; one photo needs no cluster")
    kept.makedirs(target, exist_ok=True)
    for path in kept.find(target):
        if path.endswith(_LEFTOVER) and time.time() - _changed(kept, path) > _ABANDONED_SECONDS:
            kept.rm_file(path)
    names = [PurePosixPath(path[len(root) :].lstrip("/")) for path in sorted(files.find(root))]
    pictures = [
        Path(name) for name in names if is_wanted(name, include)
        and is_picture(name, lambda name=name: kind_of(files.cat_file(f"{root}/{name}", end=STARTING_BYTES)))
    ]  # fmt: skip
    sides = {"save_mask": MASK, "compare": SHEET}
    Listing(Path(work.source), pictures).refuse_clashes([sides[order] for order in sides if work.orders.get(order)])
    chosen = [path.as_posix() for path in pictures]
    # The results may lie above the source, and then hold a sub-folder of the same name.
    for place in (PurePosixPath(target, name) for name in chosen if files == kept):
        if place.is_relative_to(root):
            raise ValueError(f"{work.results}: the result {place} would lie among the photos of {work.source}; name "
                             "another folder")
    return chosen


def _changed(files: Any, path: str) -> float:
    """When a file was written, in seconds since 1970; now where its file system does not say."""
    with suppress(NotImplementedError):
        return files.modified(path).timestamp()
    return time.time()


def restore_on_ray(work: Work, names: list[str], slot: Mapping[str, float]) -> Iterator[Outcome]:
    """Restores every picture and tells of each as soon as it is done, in no order.

    `slot`: what a task takes of a node, such as {"CPU": 2}. RuntimeError: one lacks weights, engine or device.
    """
    import ray

    task = ray.remote(restore_one).options(num_cpus=slot["CPU"], num_gpus=slot.get("GPU", 0), max_retries=RETRIES)
    shared, pending, waiting = ray.put(work), {}, iter(names)
    try:
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
    finally:
        ray.shutdown()  # It leaves the cluster, which goes on; tasks of this run that have not ended are dropped.


def restore_one(work: Work, name: str) -> Outcome:
    """On a node: one picture from its address to that of its result."""
    import fsspec

    restorer, (files, root) = _restorer_of(work.settings), fsspec.url_to_fs(work.source)
    with tempfile.TemporaryDirectory(prefix="uncover-") as folder:
        here, there = Path(folder, "source"), Path(folder, "results")
        (here / name).parent.mkdir(parents=True)
        try:
            files.get_file(f"{root}/{name}", str(here / name))
            # By its age a photo is known to be the same.
            os.utime(here / name, (_changed(files, f"{root}/{name}"),) * 2)
            listing, record = Listing(here, [Path(name)], place=work.source), partial(StoredRecord, work, name)
            (outcome,) = restore_folder(restorer, listing, there, record=record, **work.orders)
        except OSError as error:
            return Outcome(Path(name), FAILED, message=sentence(error))
        outcome.message = outcome.message.replace(str(there), work.results)
        return outcome


class StoredRecord(Record):
    """The record of one picture, whose results lie at an address; a copy of what it says lies in a folder."""

    def __init__(self, work: Work, name: str, folder: Path, made_with: str, listing: Listing, overwrite: bool) -> None:
        import fsspec

        super().__init__(folder, made_with, listing, overwrite)
        (files, root), (self._kept, self._target) = fsspec.url_to_fs(work.source), fsspec.url_to_fs(work.results)
        self._kept.invalidate_cache()
        local = "file" in files.protocol and "file" in self._kept.protocol
        self._originals = Originals(Listing(Path(root), [Path(name)]), self._target) if local else None
        self._own = OWN_RECORD.format(digest(os.fsencode(name)))
        if self._size(record := Path(RECORD)):
            folder.mkdir()
            (folder / record).write_bytes(self._content(record))

    def remove(self, file: Path) -> None:
        if self.is_ours(file) and self._size(file) is not None:
            self._kept.rm_file(self._place(file))

    def _place(self, file: Path) -> str:
        return f"{self._target}/{file.as_posix() if file != Path(RECORD) else self._own}"

    def _size(self, file: Path) -> int | None:
        place = self._place(file)
        if self._originals is not None:
            self._originals.refuse(Path(place))
        if not self._kept.exists(place):
            return None
        if self._kept.info(place)["type"] != "file":
            raise OSError(f"{self._results / file}: is a folder, pipe, socket or device, expected a regular file")
        return self._kept.size(place)

    def _time(self, file: Path) -> int:
        return int(_changed(self._kept, self._place(file)) * 1e9)

    def _content(self, file: Path) -> bytes:
        return self._kept.cat_file(self._place(file))

    def _append(self, line: dict[str, Any]) -> None:
        super()._append(line)
        self._put(Path(RECORD), (self._results / RECORD).read_bytes())

    def _put(self, file: Path, content: bytes) -> None:
        """Writes a file whole under its name, or not."""
        import fsspec

        # The move of a store of objects is a copy, for which * and [ are patterns; but it takes an object whole or not.
        kept, place, at_once = self._kept, self._place(file), type(self._kept).mv is fsspec.AbstractFileSystem.mv
        parent = place.rpartition("/")[0]
        other = place if at_once else f"{parent}/.{uuid.uuid4().hex}{_LEFTOVER}"
        try:
            kept.makedirs(parent, exist_ok=True)
            kept.pipe_file(other, content)
            if not at_once:
                kept.mv(other, place)
        except OSError as error:
            raise OSError(error.errno, f"its result cannot be written: {sentence(error)}") from error


def begin(
    address: str, source: str, results: str, include: str, settings: dict[str, Any], orders: Mapping[str, bool]
) -> tuple[int, str, Iterator[Outcome]]:
    """Joins a cluster: how many pictures there are, a line for the log, and the outcomes, whose end leaves the cluster.

    A task takes the `settings`' threads, by default 2, and a GPU where their device is one, or is auto and the cluster
    has any. RuntimeError: a package is missing, or a file system fails in its own way; ValueError: no folder, or no
    place of its own for the results; FileNotFoundError: no source, no pictures.
    """
    if missing := [name for name in ("ray", "fsspec") if find_spec(name) is None]:
        raise RuntimeError(f"--ray needs {' and '.join(missing)}; install the extra: pip install '.[ray]'")
    import ray

    places = (place if "://" in place else os.path.abspath(place) for place in (source, results))
    weights = settings["weights"] and os.path.abspath(settings["weights"])
    work = Work(*places, "", orders)
    try:
        names = list_work(work, include)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise RuntimeError(f"{source} -> {results}: {sentence(error)}") from error
    if not names:
        raise FileNotFoundError(f"{source}: no pictures found (--include is {include!r})")
    told, device = connect(address), settings["device"].partition(":")[0]
    on_gpu = device == "gpu" or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= 1)
    told += "; a GPU for each photo" if on_gpu else "; on the processors"
    slot = {"CPU": settings["threads"] or 2} | ({"GPU": 1} if on_gpu else {})
    settings = {**settings, "threads": slot["CPU"], "device": device if on_gpu else "cpu", "weights": weights}
    work = work._replace(settings=json.dumps(settings))
    return len(names), told, watched(restore_on_ray(work, names, slot), results)
