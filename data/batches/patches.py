"""Training samples for Paddle: stored patches become cropped, mirrored and turned batches of float tensors."""

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
import paddle

from configs.schema import Config
from data.batches.sampling import SampleKey, samples_at
from data.contest import check_preparation, read_list
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from data.synthesis.occluders import CUTOUTS, OccluderLibrary, find_occluders, split_sources
from data.synthesis.paste import STYLES, paste
from data.synthesis.printed import WholePictures, print_on
from utils.child import WorkerKilledError, kill_workers, leave_stopping_to_parent

# What covers a patch is filled: (occluded RGB uint8 [h, w, 3], mask uint8 [h, w]) -> (filled, mask of what was filled).
Fill = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class PatchDataset:
    """The stored trios of patches of a config, asked for by `SampleKey`.

    An item is [occluded, clean, mask], uint8 [3, patch, patch] twice and [1, patch, patch] with 1 = occluder, or with
    `fill` what was filled. Whole photographs are shrunk to the patch, and not turned. In some samples a fresh occluder,
    none that is held out, takes the place of the stored one. FileNotFoundError: no such folder, or all are held out.
    """

    def __init__(self, config: Config, fill: Fill | None = None) -> None:
        self.data, self.fill, self.entries = config.data, fill, read_list(config.data.train_list)
        if (fresh := self.data.paste).probability:
            train, _ = split_sources(find_occluders(fresh.occluders or (CUTOUTS,)))
            if not train:
                folders = ", ".join(fresh.occluders)
                raise FileNotFoundError(f"data.paste.occluders: every occluder in {folders} is held out")
            # An occluder on a patch is about as large as the patch; more pixels would only be shrunk away.
            self.choose = OccluderLibrary(train, round(1.5 * max(stage.patch for stage in config.train.stages)))
            self.pictures, self.style = WholePictures(train), STYLES[fresh.style]

    def __getitem__(self, key: SampleKey) -> list[np.ndarray]:
        """One trio; `BadImageError` for a broken file, three sizes that differ, or ones below that of the patch."""
        data, entry, rng = self.data, self.entries[key.entry], key.generator()
        stored = [read_rgb(entry.clean), read_rgb(entry.occluded), read_mask(entry.mask)]
        try:
            if len({picture.shape[:2] for picture in stored}) > 1:
                sizes = ", ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in stored)
                raise ValueError(f"pictures of different sizes: {sizes}")
            clean, occluded, mask = (fit_whole if data.whole else random_crop)(stored, key.patch, rng)
        except ValueError as error:
            raise BadImageError(f"{entry.occluded}: {error}; prepare the patches anew or lower train.stages") from error
        if data.paste.probability and rng.random() < data.paste.probability:
            clean, placement = np.ascontiguousarray(clean), "page" if data.whole else "patch"
            if rng.random() < data.paste.printed_photos:
                clean = print_on(clean, self.pictures, rng, placement)
            occluded, mask = paste(clean, self.choose, rng, self.style, placement)
        if self.fill is not None:
            occluded, mask = self.fill(np.ascontiguousarray(occluded), np.ascontiguousarray(mask))
        rotations = data.rotations and not data.whole
        turned = random_orientation([occluded, clean, mask[..., None]], rng, data.flips, rotations)
        return [picture.transpose(2, 0, 1) for picture in turned]

    def batch(self, keys: Sequence[SampleKey]) -> tuple[list[np.ndarray], list[str]]:
        """The items of several keys, stacked, and the files of their occluded patches."""
        stacked = [np.stack(part) for part in zip(*(self[key] for key in keys), strict=True)]
        return stacked, [str(self.entries[key.entry].occluded) for key in keys]


def make_loader(config: Config, start_iteration: int = 0, rank: int = 0, world: int = 1, fill: Fill | None = None
                ) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The batches of one process from `start_iteration` to the end of the run; `fill` and errors as in `PatchDataset`.

    A batch is a dictionary of float32 tensors, `occluded` and `clean` [batch, 3, patch, patch] in [0, 1] and `mask`
    [batch, 1, patch, patch], and a list `name` of the files of occluded patches; workers change nothing in it.
    `ListError`: no list of patches; `ConfigError`: they were prepared otherwise than the config says. Iterating raises
    `BadImageError` where a patch cannot be used, and `WorkerKilledError` where a worker has ended.
    """
    data, stages = config.data, config.train.stages
    if not data.whole:
        check_preparation(data)
    dataset = PatchDataset(config, fill)
    samples = partial(samples_at, stages=stages, count=len(dataset.entries), seed=config.seed, rank=rank, world=world)
    iterations = range(start_iteration, sum(stage.iterations for stage in stages))
    if data.workers:
        return map(_tensors, _made_by_workers(dataset, samples, iterations, data.workers))
    return map(_tensors, map(dataset.batch, map(samples, iterations)))


def _tensors(batch: tuple[list[np.ndarray], list[str]]) -> dict[str, Any]:
    """A batch in floats, which are four times the bytes that came from a worker."""
    occluded, clean, mask = (paddle.to_tensor(part).astype("float32") for part in batch[0])
    white = paddle.to_tensor(255.0)  # A plain number would be multiplied by, as its reciprocal, and not divided by.
    return {"occluded": occluded / white, "clean": clean / white, "mask": mask, "name": batch[1]}


def _made_by_workers(dataset: PatchDataset, samples: Callable[[int], list[SampleKey]], iterations: range, workers: int
                     ) -> Iterator[tuple[list[np.ndarray], list[str]]]:  # fmt: skip
    """The batches of all `iterations`; the first of `workers` processes makes every `workers`-th of them, and so on."""
    atexit.register(kill_workers)
    # Forked: a fresh process would spend seconds on importing Paddle, and hold it once more.
    context, team = multiprocessing.get_context("fork"), []
    try:
        for first in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (dataset, map(samples, iterations[first::workers]), theirs)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            team.append((process, ours))
        for process, pipe in islice(cycle(team), len(iterations)):
            try:
                batch = pipe.recv()
            except (EOFError, OSError):
                process.join()
                batch = signal.Signals(-process.exitcode).name if process.exitcode < 0 else "itself"
                batch += ", as where memory runs out; go on with --auto-resume, perhaps with fewer data.workers"
            if isinstance(batch, BadImageError):
                raise batch
            if isinstance(batch, str):
                raise WorkerKilledError(f"a data worker (process {process.pid}) has ended by {batch}")
            yield batch
    finally:
        for process, pipe in team:
            process.kill()
            process.join()
            pipe.close()


def _work(dataset: PatchDataset, samples: Iterable[list[SampleKey]], pipe: Connection) -> None:
    leave_stopping_to_parent()
    # The workers are the parallelism; OpenCV's own threads would only fight with them for the cores.
    cv2.setNumThreads(0)
    try:
        for keys in samples:
            pipe.send(dataset.batch(keys))
    except BadImageError as error:
        pipe.send(error)
    except Exception as error:  # Not every kind would come out of the pipe as it went in.
        pipe.send(f"{type(error).__name__}: {error}")


def random_crop(pictures: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The same random square of `size` pixels from all pictures, height x width [x channels]; ValueError: too small."""
    height, width = pictures[0].shape[:2]
    if min(height, width) < size:
        raise ValueError(f"{width}x{height} pixels, too small for a patch of {size}x{size}")
    top, left = (int(rng.integers(side - size + 1)) for side in (height, width))
    return [picture[top : top + size, left : left + size] for picture in pictures]


def fit_whole(pictures: Sequence[np.ndarray], side: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Whole pictures as `side` x 3/4 of it, in steps of 32, as a batch has one shape; what lies across is turned."""
    turns = int(rng.choice((1, 3)))
    size, fitted = (side * 3 // 4 // 32 * 32, side), []
    for picture in pictures:
        upright = np.rot90(picture, turns) if picture.shape[1] > picture.shape[0] else picture
        values = np.ascontiguousarray(upright) * (255 if picture.ndim == 2 else 1)
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        fitted.append((small > 127).astype(np.uint8) if picture.ndim == 2 else small)
    return fitted


def random_orientation(pictures: Sequence[np.ndarray], rng: np.random.Generator, flips: bool, rotations: bool
                       ) -> list[np.ndarray]:  # fmt: skip
    """Mirrors and turns all pictures alike; with both, each of the 8 orientations is equally likely."""
    # Drawn in any case: switching one off leaves the rest of a sample alone.
    mirror, upside_down = (rng.random(2) < 0.5) & flips
    turns = int(rng.integers(4)) * rotations
    return [np.rot90(picture[:: -1 if upside_down else 1, :: -1 if mirror else 1], turns) for picture in pictures]
