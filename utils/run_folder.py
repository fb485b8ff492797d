"""The folder of a training run: where it starts from, what is saved, what is recorded, what is said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import paddle
from tqdm import tqdm

from utils.checkpoint import CheckpointError, CheckpointFolder, check_resumable, differing_keys, load_checkpoint
from utils.journal import Journal, describe_run
from utils.processes import Processes
from utils.weights import Weights, save_weights

# What a checkpoint's arrays and random numbers depend on. Any other key may change on the way and is announced.
FIXED_KEYS = ("seed", "model", "optimizer", "train.ema_decay")


class Savable(Protocol):
    """What is trained: its whole state for a checkpoint, and the part of it that is shipped."""

    def state(self) -> dict[str, Any]: ...

    def weights(self, iteration: int) -> Weights: ...


class RunFolder:
    """Keeps a run's folder; of several processes only the first one writes and talks, the others pass through.

    Args:
        output: the folder.
        config: the resolved config as nested dictionaries; it goes into every checkpoint and is compared on resume.
        processes: those that train together.
        threads: how many threads the CPU uses, since the bits of a result depend on it.

    Attributes:
        best: {"measure", "value", "iteration"} of the best validation so far, or None.
    """

    def __init__(
        self, output: str | os.PathLike[str], config: Mapping[str, Any], processes: Processes, threads: int
    ) -> None:
        self.output = Path(output)
        self.config, self.processes, self.threads = dict(config), processes, threads
        self.checkpoints = CheckpointFolder(self.output / "checkpoints")
        self.best: dict[str, Any] | None = None
        self._journal: Journal | None = None

    def find_start(self, resume: str | None, auto: bool = False) -> dict[str, Any] | None:
        """The state to go on from, checked against the config; None to start anew.

        Args:
            resume: a checkpoint file, "" for the newest whole one of this folder, None not to resume.
            auto: resume from the newest whole one if there is any checkpoint.

        Raises:
            CheckpointError: nothing to resume, a damaged file, a changed config, a start over an existing run, or
                processes that would start from different iterations.
            FileNotFoundError: no such checkpoint file.
        """
        state, refusal = None, None
        try:
            state = self._find_start(resume, auto)
        except (CheckpointError, FileNotFoundError) as error:
            refusal = error
        # A process that left here by itself would let the others wait for it.
        (refused,) = self.processes.maximum([refusal is not None])
        if refusal is not None:
            raise refusal
        if refused:
            raise CheckpointError(f"{self.checkpoints.folder}: refused by another process, whose message says why")
        first, last = self.processes.span(state["iteration"] if state is not None else 0)
        if first != last:
            raise CheckpointError(
                f"{self.checkpoints.folder}: the processes would start from different iterations, {first:g} to "
                f"{last:g}. The folder has to be the same one on all machines; to choose a start that all of them "
                "can read, name it: --resume CHECKPOINT"
            )
        self.best = state["best"] if state is not None else None
        return state

    def _find_start(self, resume: str | None, auto: bool) -> dict[str, Any] | None:
        """What `find_start` answers, as this process sees the folder."""
        if resume:
            path = Path(resume)
            if not path.is_file():
                raise CheckpointError(
                    f"--resume: {path} {'is a folder' if path.is_dir() else 'does not exist'}; give a checkpoint "
                    f"(*.pdckpt), or no name at all to go on from the newest whole one of {self.checkpoints.folder}"
                )
            state = load_checkpoint(path)
        elif resume is None and not auto:
            if self.checkpoints.present():
                raise CheckpointError(
                    f"{self.checkpoints.folder} holds the checkpoints of a run: go on with --resume or --auto-resume, "
                    "or start anew in another folder (-o output=...) or after removing this one"
                )
            return None
        else:
            found = self.checkpoints.newest_whole(set_aside=self.processes.first)
            if found is None and resume is not None:
                raise CheckpointError(f"{self.checkpoints.folder}: no checkpoint to resume; start without --resume")
            if found is None:
                return None
            path, state = found
        self._check_start(path, state)
        return state

    def _check_start(self, path: Path, state: dict[str, Any]) -> None:
        differences = differing_keys(state["config"], self.config)
        check_resumable(path, differences, FIXED_KEYS)
        self.say(f"going on from {path}, iteration {state['iteration']}")
        for key, before, now in differences:
            self.say(f"changed: {key} was {before!r}, is {now!r} from here on")
        for what, now in (("threads", self.threads), ("processes", self.processes.world)):
            before = state["random"][what]
            if before != now:
                self.say(f"{what}: {before} before, {now} now; the run goes on, but not bit for bit")

    def open(self, start: int, config_text: str, command: Sequence[str]) -> None:
        """Begins writing: config.yml, command.txt, and the records from iteration `start` on."""
        if self.processes.first:
            describe_run(self.output, config_text, command)
            self._journal = Journal(self.output, start)

    def save(self, iteration: int, learner: Savable, best: bool = False) -> None:
        """Writes checkpoint and weights after `iteration` iterations as the last ones, or as the best ones."""
        if not self.processes.first:
            return
        # Every random number is derived from seed, iteration and place (utils.seeding, data.sampling): these are the
        # state of the generators, and they read back the same on any device and in any version.
        random = {"seed": self.config["seed"], "threads": self.threads, "processes": self.processes.world}
        state = {
            "iteration": iteration,
            "best": self.best,
            "config": self.config,
            "random": random,
            "made_with": {"paddle": paddle.__version__},
            **learner.state(),
        }
        (self.checkpoints.save_best if best else self.checkpoints.save_last)(state)
        save_weights(self.output / f"model_{'best' if best else 'last'}.pdparams", learner.weights(iteration))
        if self._journal is not None and not best:
            self._journal.draw()

    def record_training(self, done: int, window: Sequence[Mapping[str, Any]], **values: float) -> None:
        """Records the means of scalars over some iterations and all processes, and other values as they are."""
        names = list(window[0])
        sums = self.processes.total([sum(float(scalars[name]) for scalars in window) for name in names])
        means = {name: total / len(window) / self.processes.world for name, total in zip(names, sums, strict=True)}
        if self._journal is not None:
            self._journal.record("train", done, **means, **values)

    def record_validation(self, done: int, measures: Mapping[str, float | None]) -> bool:
        """Records a validation; returns whether its weights are the best so far.

        The score decides, or the PSNR where the pages are too small to have a score.
        """
        name = "score" if measures["score"] is not None else "psnr"
        better = self.best is None or self.best["measure"] != name or measures[name] > self.best["value"]
        if better:
            self.best = {"measure": name, "value": measures[name], "iteration": done}
        if self._journal is not None:
            self._journal.record("validation", done, **measures)
        known = ", ".join(f"{key} {value:.4g}" for key, value in measures.items() if value is not None)
        self.say(f"iteration {done}: {known}{' (best so far)' if better else ''}")
        return better

    def last_good(self) -> str:
        """The newest checkpoint's path for a message."""
        present = self.checkpoints.present()
        return str(present[0]) if present else "none yet"

    def say(self, text: str) -> None:
        """Prints a line above the progress bar, once for all processes."""
        if self.processes.first:
            tqdm.write(text)

    def close(self) -> None:
        """Closes the records."""
        if self._journal is not None:
            self._journal.close()
