"""Training samples for Paddle: stored patches become cropped, mirrored and turned batches of float tensors."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle

from configs.schema import Config, Stage
from data.batches.fresh import FreshOcclusion
from data.batches.sampling import SampleKey, StageBatchSampler
from data.contest.lists import PatchPaths, read_list
from data.contest.patch_files import check_preparation
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from utils.command import sentence
from utils.training.processes import kill_workers_at_exit, leave_stopping_to_parent

# What covers a patch is filled: (occluded RGB uint8 [h, w, 3], mask uint8 [h, w]) -> (filled, mask of what was filled).
Fill = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
_log = logging.getLogger(__name__)
SHARED_MEMORY = Path("/dev/shm")
# Paddle keeps two batches per worker waiting, while another is being written and one is being read.
_BATCHES_PER_WORKER = 4
_SECONDS_FOR_WORKERS_TO_END = 5
_BYTES_PER_PIXEL = 4 * (3 + 3 + 1)
_PARTS = ("occluded", "clean", "mask")


class WorkerError(RuntimeError):
    """A data worker has ended before its time; the message says how, and what to do."""


class PatchDataset(paddle.io.Dataset):
    """Stored trios of patches, asked for by `SampleKey`.

    An item is a dictionary of `occluded` and `clean`, float32 [3, patch, patch] in [0, 1], `mask`, float32
    [1, patch, patch] with 1 = occluder, and `name`, the file of the occluded patch. With `fill` the occluded picture is
    filled, and the mask is that of what was filled.
    """

    def __init__(
        self,
        entries: Sequence[PatchPaths],
        flips: bool = True,
        rotations: bool = True,
        fresh_occlusion: FreshOcclusion | None = None,
        whole: bool = False,
        fill: Fill | None = None,
    ) -> None:
        super().__init__()
        self.entries = list(entries)
        self.flips, self.rotations = flips, rotations
        self.fresh_occlusion, self.whole, self.fill = fresh_occlusion, whole, fill

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
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
        clean, occluded, mask = random_orientation(
            [clean, occluded, mask], rng, self.flips, self.rotations and not self.whole
        )
        return {
            "occluded": to_unit_range(occluded),
            "clean": to_unit_range(clean),
            "mask": np.ascontiguousarray(mask[None], np.float32),
            "name": str(entry.occluded),
        }


def to_unit_range(rgb: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] as float32 [3, h, w] in [0, 1]."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)


class PatchLoader:
    """One batch per iteration, made by worker processes or in the training process itself, the same either way.

    A batch is a dictionary of tensors `occluded` and `clean` [batch, 3, patch, patch], `mask` [batch, 1, patch, patch]
    and a list `name` of files. Iterating raises `BadImageError` where a patch cannot be used, and `WorkerError` where a
    worker was killed.
    """

    def __init__(
        self, dataset: PatchDataset, sampler: StageBatchSampler, workers: int = 0, shared_memory: bool = True
    ) -> None:
        self.dataset, self.sampler = dataset, sampler
        self.workers = workers = workers if workers and semaphores_work() else 0
        self.shared_memory = bool(workers and shared_memory and shared_memory_suffices(sampler.stages, workers))

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.workers == 0:
            # Paddle's DataLoader without workers reads in a thread, and waits forever when a sample raises there.
            for keys in self.sampler:
                batch = self._batch(keys)
                yield {**batch, **{part: paddle.to_tensor(batch[part]) for part in _PARTS}}
            return
        kill_workers_at_exit()
        loader = paddle.io.DataLoader(
            _Keys(self.dataset),
            batch_sampler=self.sampler,
            collate_fn=self._batch_or_failure,
            num_workers=self.workers,
            use_shared_memory=self.shared_memory,
            worker_init_fn=_start_worker,
        )
        batches = iter(loader)
        # Paddle's handler would throw wherever the training is just then, and not in words.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            for _ in range(len(self.sampler)):
                _require_alive(batches._workers)
                try:
                    batch = next(batches)
                except (StopIteration, SystemError, RuntimeError):
                    _require_alive(batches._workers)
                    raise
                if "failure" in batch:
                    raise BadImageError(batch["failure"])
                yield batch
        finally:
            # Paddle ends its workers after the last batch only; whoever stops earlier would keep them.
            batches._try_shutdown_all(_SECONDS_FOR_WORKERS_TO_END)

    def _batch(self, keys: list[SampleKey]) -> dict[str, Any]:
        items = [self.dataset[key] for key in keys]
        batch: dict[str, Any] = {part: np.stack([item[part] for item in items]) for part in _PARTS}
        return {**batch, "name": [item["name"] for item in items]}

    def _batch_or_failure(self, keys: list[SampleKey]) -> dict[str, Any]:
        """A batch, or why there is none: what a worker raises reaches the training process without type and words."""
        try:
            return self._batch(keys)
        except (BadImageError, OSError, MemoryError) as error:
            return {"failure": sentence(error), "occluded": np.zeros(1, np.float32)}


class _Keys(paddle.io.Dataset):
    """Hands the keys through, so that a worker makes a whole batch in one place, `PatchLoader._batch`."""

    def __init__(self, dataset: PatchDataset) -> None:
        super().__init__()
        self.length = len(dataset)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: SampleKey) -> SampleKey:
        return key


def make_loader(
    config: Config, start_iteration: int = 0, rank: int = 0, world: int = 1, fill: Fill | None = None
) -> PatchLoader:
    """The batches of one process from `start_iteration` to the end of the run; `fill` as in `PatchDataset`.

    Raises:
        ListError: the list of patches cannot be read.
        ConfigError: the patches were prepared with another size or downscale than the config says.
        FileNotFoundError: a folder of occluders to paste does not exist.
    """
    data, stages = config.data, config.train.stages
    if not data.whole:
        check_preparation(data)
    entries = read_list(data.train_list)
    fresh_occlusion = FreshOcclusion.from_config(
        data.paste, max(stage.patch for stage in stages), "page" if data.whole else "patch"
    )
    dataset = PatchDataset(entries, data.flips, data.rotations, fresh_occlusion, data.whole, fill)
    sampler = StageBatchSampler(stages, len(entries), config.seed, start_iteration, rank, world)
    return PatchLoader(dataset, sampler, data.workers, data.shared_memory)


def _start_worker(worker: int) -> None:
    leave_stopping_to_parent()
    # The workers are the parallelism; OpenCV's own threads would only fight with them for the cores.
    cv2.setNumThreads(0)


def _require_alive(workers: Sequence[multiprocessing.Process]) -> None:
    for worker in workers:
        if worker.exitcode:
            how = signal.Signals(-worker.exitcode).name if worker.exitcode < 0 else f"exit code {worker.exitcode}"
            raise WorkerError(f"a data worker (process {worker.pid}) has ended by {how}, as where memory runs out; "
                              "go on with --auto-resume, perhaps with fewer data.workers or data.shared_memory=false")


def semaphores_work() -> bool:
    """Whether the system gives what processes need to hand work over; warns in words when it does not."""
    try:
        multiprocessing.Semaphore()
    except OSError as error:
        _log.warning("%s is of no use (%s): patches are loaded in the training process, as with data.workers=0",
                     SHARED_MEMORY, error.strerror)
        return False
    return True


def shared_memory_suffices(stages: Sequence[Stage], workers: int, folder: Path = SHARED_MEMORY) -> bool:
    """Whether the batches that workers keep waiting fit into shared memory; warns in words when they do not.

    Too little of it (containers often have 64 MB) kills workers with a "Bus error" that does not say why.
    """
    needed = workers * _BATCHES_PER_WORKER * max(stage.batch * stage.patch**2 for stage in stages) * _BYTES_PER_PIXEL
    free = 0
    if folder.is_dir():
        status = os.statvfs(folder)
        free = status.f_bavail * status.f_frsize
    if free < needed:
        _log.warning(
            "%s has %.0f MB free and %d workers need about %.0f MB: going on without shared memory, which is slower; "
            "docker gives more with --shm-size",
            folder, free / 2**20, workers, needed / 2**20,
        )
    return free >= needed


def random_crop(pictures: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The same random square of `size` pixels from every picture, height x width [x channels] of one size.

    Raises:
        ValueError: the pictures are smaller than the square.
    """
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
    size = (side * 3 // 4 // 32 * 32, side)
    fitted = []
    for picture in pictures:
        upright = np.rot90(picture, turns) if picture.shape[1] > picture.shape[0] else picture
        small = cv2.resize(np.ascontiguousarray(upright) * (255 if picture.ndim == 2 else 1), size,
                           interpolation=cv2.INTER_AREA)
        fitted.append((small > 127).astype(np.uint8) if picture.ndim == 2 else small)
    return fitted


def random_orientation(
    pictures: Sequence[np.ndarray], rng: np.random.Generator, flips: bool, rotations: bool
) -> list[np.ndarray]:
    """Mirrors and turns all pictures alike; with both flips and rotations each of the 8 orientations is equally likely.

    The numbers are drawn whether they are used or not, so that switching one off leaves the rest of a sample alone.
    """
    mirror, upside_down = rng.random(2) < 0.5
    turns = int(rng.integers(4))
    turned = []
    for picture in pictures:
        if flips and mirror:
            picture = picture[:, ::-1]
        if flips and upside_down:
            picture = picture[::-1]
        turned.append(np.rot90(picture, turns) if rotations else picture)
    return turned
