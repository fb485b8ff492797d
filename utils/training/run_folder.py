"""The folder of a training run: where it starts from, what is saved, recorded and said.

It holds config.yml and command.txt, metrics.jsonl, curves.png and events, checkpoints/, model_last.pdparams and
model_best.pdparams, which predict.py takes. While a run writes it, it is locked, and other runs are refused.
"""

import fcntl
import logging
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utils.files import make_folder, write_text
from utils.training import CheckpointError
from utils.training.checkpoint import load_checkpoint, save_checkpoint
from utils.training.journal import Journal
from utils.training.processes import Processes

# What a checkpoint's arrays and random numbers depend on. Any other key may change on the way and is announced.
FIXED_KEYS = ("seed", "model", "optimizer", "train.ema_decay")
_TIME = "%Y-%m-%d %H:%M:%S"
_log = logging.getLogger(__name__)


class RunFolder:
    """A run's folder, in which only the first process writes. `config` (nested dictionaries) and the CPU's `threads` go
    into checkpoints and are compared on resume; `best` is {"measure", "value", "iteration"} of the best validation.
    """

    def __init__(self, output: str | Path, config: Mapping[str, Any], processes: Processes, threads: int) -> None:
        self.output, self.config, self.processes = Path(output), dict(config), processes
        # What random numbers depend on; their generators have no state to keep, as iterations set them.
        self._random = {"threads": threads, "processes": processes.world}
        self.best: dict[str, Any] | None = None
        self._folder = self.output / "checkpoints"
        self._journal: Journal | None = None
        self._lock: Any = None

    def checkpoints(self) -> list[Path]:
        """The checkpoint files that exist, newest first; whether they are whole is not looked at."""
        return [path for path in map(self._path, ("last", "previous", "best")) if path.exists()]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pdckpt"

    def find_start(self, resume: str | None, auto: bool = False) -> dict[str, Any] | None:
        """The state to go on from, checked against the config; None to start anew. Locks the folder until `close`.

        `resume` is a checkpoint file, "" for the newest whole one of this folder, None not to resume; with `auto` that
        one is taken if there is any. CheckpointError says why a run cannot start, in all of its processes.
        """
        state, refusal = None, None
        try:
            if self.processes.first:
                self._take()
            state = self._read_start(resume, auto)
        except (CheckpointError, OSError) as error:
            refusal = error
        start = state["iteration"] if state else 0
        # A process that left here by itself would let the others wait for it.
        refused, starts, squares = self.processes.total([refusal is not None, start, start**2])
        if refusal is not None:
            raise refusal
        if refused:
            raise CheckpointError(f"{self.output}: refused by another process, whose message says why")
        if starts**2 != self.processes.world * squares:
            apart = f"the processes would start from different iterations, this one from {start}"
            raise CheckpointError(f"{self.output}: {apart}; share the folder, or name a start: --resume CHECKPOINT")
        self.best = state["best"] if state else None
        return state

    def _take(self) -> None:
        """Keeps other runs out until this process ends, in whatever way; CheckpointError: one is in there."""
        make_folder(self.output)
        # A lock of this process alone: data workers that outlive it do not hold it.
        self._lock = open(self.output / ".lock", "w", encoding="utf-8")  # noqa: SIM115 - open for the whole run
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise CheckpointError(f"{self.output} is written by another run; wait, or choose another output") from error
        except OSError as error:
            _log.warning("%s cannot be locked (%s): start no second run there", self.output, error.strerror)

    def _read_start(self, resume: str | None, auto: bool) -> dict[str, Any] | None:
        if resume:
            if not Path(resume).is_file():
                raise CheckpointError(f"--resume: {resume} is no file; give a checkpoint (*.pdckpt), or no name at all")
            return self._compared(resume, load_checkpoint(resume))
        present = self.checkpoints()
        if not present:
            if resume is not None:
                raise CheckpointError(f"{self._folder}: no checkpoint to resume; start without --resume")
            return None
        if resume is None and not auto:
            raise CheckpointError(f"{self._folder} holds the checkpoints of a run: go on with --resume or "
                                  "--auto-resume, or start anew in another folder (-o output=...)")
        for path in present:
            try:
                state = load_checkpoint(path)
            except (CheckpointError, FileNotFoundError) as error:  # The first process may have set it aside.
                _log.warning("%s cannot be read, an older checkpoint is looked for: %s", path.name, error)
                if self.processes.first:  # Otherwise `save` would push it over the whole one.
                    path.replace(f"{path}.torn")
                    _log.warning("it is kept as %s.torn", path)
            else:
                return self._compared(path, state)
        names = ", ".join(map(str, present))
        raise CheckpointError(f"none of {names} can be read; give another to --resume, or start anew")

    def _compared(self, path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
        """The state, after what has changed is announced; CheckpointError where a run cannot change on its way."""
        differences = _differences(state["config"], self.config)
        refused = [f"{key}: {saved!r} in the checkpoint, {current!r} now" for key, saved, current in differences
                   if f"{key}.".startswith(tuple(f"{name}." for name in FIXED_KEYS))]
        if refused:
            raise CheckpointError(f"{path}: the config has changed where a run cannot ({'; '.join(refused)}). Restore "
                                  "these keys, or start a new run in another output with train.init set to the weights")
        self.say(f"going on from {path}, iteration {state['iteration']}")
        for key, before, now in differences:
            self.say(f"changed: {key} was {before!r}, is {now!r} from here on")
        for what, before, now in _differences(state["random"], self._random):
            self.say(f"{what}: {before} before, {now} now; the run goes on, but not bit for bit")
        return state

    def open(self, start: int, config_text: str, command: Sequence[str]) -> None:
        """Begins writing: config.yml, one more line of command.txt, and the records from iteration `start` on."""
        if not self.processes.first:
            return
        write_text(self.output / "config.yml", config_text)
        history = self.output / "command.txt"
        earlier = history.read_text("utf-8", "surrogateescape") if history.exists() else ""
        write_text(history, f"{earlier}{time.strftime(_TIME)}  {shlex.join(command)}\n")
        self._journal = Journal(self.output, start)

    def save(self, iteration: int, learner: Any, best: bool = False) -> None:
        """Writes the learner's `state()` and weights after `iteration` iterations as the last, or as the best ones."""
        if not self.processes.first:
            return
        state = {"iteration": iteration, "best": self.best, "config": self.config, "random": self._random,
                 **learner.state()}  # fmt: skip
        # First, since a run that was killed goes on from its checkpoint: weights behind the last one would stay behind.
        learner.save_weights(self.output / f"model_{'best' if best else 'last'}.pdparams", iteration)
        save_checkpoint(self._path("best" if best else "incoming"), state)
        if best:
            return
        # Stopped at any moment, the last one or the one before it is whole.
        if self._path("last").exists():
            os.replace(self._path("last"), self._path("previous"))
        os.replace(self._path("incoming"), self._path("last"))
        if self._journal is not None:
            self._journal.draw(self.output / "curves.png")

    def record_training(self, done: int, window: Sequence[Mapping[str, Any]], **values: float) -> None:
        """Records the means of scalars over some iterations and all processes, and other values as they are."""
        sums = self.processes.total([sum(float(scalars[name]) for scalars in window) for name in window[0]])
        means = {name: total / len(window) / self.processes.world for name, total in zip(window[0], sums, strict=True)}
        if self._journal is not None:
            self._journal.record("train", done, **means, **values)

    def record_validation(self, done: int, measures: Mapping[str, float | None]) -> bool:
        """Records a validation; returns whether it is the best by score, or by PSNR where pages are too small for one.
        One of a locator that finds nothing, which scores well, never is.
        """
        name, useless = "psnr" if measures["score"] is None else "score", measures.get("found") == 0
        first = self.best is None or self.best["measure"] != name
        better = not useless and (first or measures[name] > self.best["value"])
        if better:
            self.best = {"measure": name, "value": measures[name], "iteration": done}
        if self._journal is not None:
            self._journal.record("validation", done, **measures)
        known = ", ".join(f"{key} {value:.4g}" for key, value in measures.items() if value is not None)
        verdict = " (best so far)" if better else " (finds nothing yet, not a best)" if useless else ""
        self.say(f"iteration {done}: {known}{verdict}")
        return better

    def say(self, text: str) -> None:
        """Prints a line above the progress bar, once for all processes."""
        if self.processes.first:
            tqdm.write(text)

    def close(self) -> None:
        """Ends writing and lets others in."""
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.close()


def _differences(saved: Any, current: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested dictionaries differ, as (dotted key, saved, current); None is what one side lacks."""
    if isinstance(saved, dict) and isinstance(current, dict):
        return [difference for key in {**saved, **current} for difference in
                _differences(saved.get(key), current.get(key), f"{path}.{key}" if path else key)]
    return [] if saved == current else [(path, saved, current)]
