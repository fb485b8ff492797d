"""Training samples for Paddle: stored patches become cropped, mirrored and turned batches of float tensors.

On the way a clean patch may get a hand or a head that no stored pair shows.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
import paddle

from configs.schema import Config, PasteConfig
from data.batches.sampling import SampleKey, samples_at
from data.contest import PatchPaths, check_preparation, read_list
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from data.synthesis.occluders import CUTOUTS, OccluderLibrary, find_occluders, split_sources
from data.synthesis.paste import STYLES, paste
from data.synthesis.printed import WholePictures, print_on
from utils.child import WorkerKilledError, kill_workers, leave_stopping_to_parent

# What covers a patch is filled: (occluded RGB uint8 [h, w, 3], mask uint8 [h, w]) -> (filled, mask of what was filled).
Fill = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
# An occluder on a patch is about as large as the patch; more pixels than this would only be shrunk away.
_OCCLUDER_SIDE_PER_PATCH = 1.5


class FreshOcclusion:
    """Replaces the stored occlusion of some samples by one pasted on their clean patch; no held-out cut-out is used.

    `largest_patch` is a side in pixels, `placement` "patch", or "page" where clean pictures are whole.
    FileNotFoundError: a folder is missing, or has no occluder for training.
    """

    def __init__(self, config: PasteConfig, largest_patch: int, placement: str = "patch") -> None:
        train, _ = split_sources(find_occluders(config.occluders or (CUTOUTS,)))
        if not train:
            raise FileNotFoundError(
                f"data.paste.occluders: every occluder in {', '.join(config.occluders)} is held out")
        self.choose = OccluderLibrary(train, round(largest_patch * _OCCLUDER_SIDE_PER_PATCH))
        self.pictures = WholePictures(train)
        self.config, self.style, self.placement = config, STYLES[config.style], placement

    def __call__(
        self, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes and returns (clean, occluded, mask): RGB uint8 [h, w, 3] twice, and uint8 [h, w] with 1 = occluder."""
        if rng.random() >= self.config.probability:
            return clean, occluded, mask
        clean = np.ascontiguousarray(clean)
        if rng.random() < self.config.printed_photos:
            clean = print_on(clean, self.pictures, rng, self.placement)
        return clean, *paste(clean, self.choose, rng, self.style, self.placement)


@dataclass(frozen=True)
class PatchDataset:
    """Stored trios of patches, asked for by `SampleKey`; with `fill` the occluded picture is filled.

    An item is [occluded, clean, mask], uint8 [3, patch, patch] twice and [1, patch, patch] with 1 = occluder, or what
    was filled. Whole photographs are shrunk to the patch, and not turned.
    """

    entries: Sequence[PatchPaths]
    flips: bool = True
    rotations: bool = True
    fresh_occlusion: FreshOcclusion | None = None
    whole: bool = False
    fill: Fill | None = None

    def __getitem__(self, key: SampleKey) -> list[np.ndarray]:
        """One trio; `BadImageError` for a broken file, three sizes that differ, or ones below that of the patch."""
        entry, rng = self.entries[key.entry], key.generator()
        stored = [read_rgb(entry.clean), read_rgb(entry.occluded), read_mask(entry.mask)]
        try:
            if len({picture.shape[:2] for picture in stored}) > 1:
                sizes = ", ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in stored)
                raise ValueError(f"pictures of different sizes: {sizes}")
            clean, occluded, mask = (fit_whole if self.whole else random_crop)(stored, key.patch, rng)
        except ValueError as error:
            raise BadImageError(f"{entry.occluded}: {error}; prepare the patches anew or lower train.stages") from error
        if self.fresh_occlusion is not None:
            clean, occluded, mask = self.fresh_occlusion(clean, occluded, mask, rng)
        if self.fill is not None:
            occluded, mask = self.fill(np.ascontiguousarray(occluded), np.ascontiguousarray(mask))
        rotations = self.rotations and not self.whole
        turned = random_orientation([occluded, clean, mask[..., None]], rng, self.flips, rotations)
        return [picture.transpose(2, 0, 1) for picture in turned]

    def batch(self, keys: Sequence[SampleKey]) -> tuple[list[np.ndarray], list[str]]:
        """The items of several keys, stacked, and the files of their occluded patches."""
        stacked = [np.stack(part) for part in zip(*(self[key] for key in keys), strict=True)]
        return stacked, [str(self.entries[key.entry].occluded) for key in keys]


def make_loader(
    config: Config, start_iteration: int = 0, rank: int = 0, world: int = 1, fill: Fill | None = None
) -> Iterator[dict[str, Any]]:
    """The batches of one process from `start_iteration` to the end of the run; `fill` as in `PatchDataset`.

    A batch is a dictionary of float32 tensors, `occluded` and `clean` [batch, 3, patch, patch] in [0, 1] and `mask`
    [batch, 1, patch, patch], and a list `name` of the files of occluded patches; workers change nothing in it.
    Iterating raises `BadImageError` where a patch cannot be used, and `WorkerKilledError` where a worker has ended.
    `ListError`: no list of patches; `ConfigError`: they were prepared with another size or downscale than the config
    says; `FileNotFoundError`: a folder of occluders to paste does not exist.
    """
    data, stages = config.data, config.train.stages
    if not data.whole:
        check_preparation(data)
    entries, fresh_occlusion = read_list(data.train_list), None
    if data.paste.probability:
        largest = max(stage.patch for stage in stages)
        fresh_occlusion = FreshOcclusion(data.paste, largest, "page" if data.whole else "patch")
    dataset = PatchDataset(entries, data.flips, data.rotations, fresh_occlusion, data.whole, fill)
    samples = partial(samples_at, stages=stages, count=len(entries), seed=config.seed, rank=rank, world=world)
    iterations = range(start_iteration, sum(stage.iterations for stage in stages))
    if data.workers:
        return map(_tensors, _made_by_workers(dataset, samples, iterations, data.workers))
    return map(_tensors, map(dataset.batch, map(samples, iterations)))


def _tensors(batch: tuple[list[np.ndarray], list[str]]) -> dict[str, Any]:
    """A batch in floats, which are four times the bytes that came from a worker."""
    occluded, clean, mask = (paddle.to_tensor(part).astype("float32") for part in batch[0])
    white = paddle.to_tensor(255.0)  # A plain number would be multiplied by, as its reciprocal, and not divided by.
    return {"occluded": occluded / white, "clean": clean / white, "mask": mask, "name": batch[1]}


def _made_by_workers(
    dataset: PatchDataset, samples: Callable[[int], list[SampleKey]], iterations: range, workers: int
) -> Iterator[tuple[list[np.ndarray], list[str]]]:
    """The batches of all `iterations`; the first of `workers` processes makes every `workers`-th of them, and so on."""
    atexit.register(kill_workers)
    # Forked: a fresh process would spend seconds on importing Paddle, and hold it once more.
    context, team = multiprocessing.get_context("fork"), []
    try:
        for first in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            own = map(samples, iterations[first::workers])
            process = context.Process(target=_work, args=(dataset, own, theirs), daemon=True)
            process.start()
            theirs.close()
            team.append((process, ours))
        for process, pipe in islice(cycle(team), len(iterations)):
            try:
                batch = pipe.recv()
            except (EOFError, OSError) as error:
                process.join()
                how = signal.Signals(-process.exitcode).name if process.exitcode < 0 else "itself"
                told = f"a data worker (process {process.pid}) has ended by {how}, as where memory runs out"
                raise WorkerKilledError(f"{told}; go on with --auto-resume, perhaps with fewer data.workers") from error
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
    """Whole pictures as `side` x 3/4 of it, all steps of 32; what lies across is turned upright, one way or the other.

    A batch has one shape, and most photographs are 4:3.
    """
    turns = int(rng.choice((1, 3)))
    size, fitted = (side * 3 // 4 // 32 * 32, side), []
    for picture in pictures:
        upright = np.rot90(picture, turns) if picture.shape[1] > picture.shape[0] else picture
        values = np.ascontiguousarray(upright) * (255 if picture.ndim == 2 else 1)
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        fitted.append((small > 127).astype(np.uint8) if picture.ndim == 2 else small)
    return fitted


def random_orientation(
    pictures: Sequence[np.ndarray], rng: np.random.Generator, flips: bool, rotations: bool
) -> list[np.ndarray]:
    """Mirrors and turns all pictures alike; with both flips and rotations each of the 8 orientations is equally likely.

    The numbers are drawn whether they are used or not, so that switching one off leaves the rest of a sample alone.
    """
    mirror, upside_down = (rng.random(2) < 0.5) & flips
    turns = int(rng.integers(4)) * rotations
    return [np.rot90(picture[:: -1 if upside_down else 1, :: -1 if mirror else 1], turns) for picture in pictures]
