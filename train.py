"""Trains a network as a config says.

    python train.py -c configs/nafnet_phase1_l1.yml
    python train.py -c configs/smoke.yml -o output=runs/try seed=3      # single keys from the command line
    python train.py -c configs/smoke.yml --auto-resume                  # start, or go on from the last whole checkpoint
    python train.py -c configs/smoke.yml --resume runs/smoke/checkpoints/best.pdckpt
    python -m paddle.distributed.launch --gpus 0,1 train.py -c configs/nafnet_phase1_l1.yml

What a run's folder (`output` in the config) holds, utils/training/run_folder.py says. A resumed run ends with the same
weights, bit for bit, as one that was not interrupted, on the same machine with the same OMP_NUM_THREADS (on a GPU also
with FLAGS_cudnn_deterministic=1). Exit codes: 0 finished, 1 NaN or Inf, 2 a setting or file that is refused, or a disk
or data worker that fails, 130 and 143 stopped by ctrl-C and SIGTERM, which save a checkpoint first.
"""

# ruff: noqa: E402 - ctrl-C is looked after first, and Paddle has to be started before anything else imports it

from utils.command import DONE, SOME_FAILED, command, parser_of, sentence, starting

if __name__ == "__main__":
    starting()

import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from utils.machine import start_paddle

THREADS = start_paddle()

import paddle

from configs.load import load_config, to_yaml
from configs.schema import Config, ConfigError
from data.batches.patches import make_loader
from data.batches.sampling import lr_at, stage_at
from data.contest import ListError, PatchPaths, validation_pages
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from inference.fill.patches import fill_patch
from inference.restorer import Restorer
from losses import total_loss
from metrics import MEASURES, counted, evaluate
from models.locator import Locator
from models.nafnet import NAFNet, apply_gate
from models.restormer import Restormer
from models.weights import Weights, arrays_of, load_arrays, load_weights, save_weights
from utils.child import WorkerKilledError
from utils.files import looked_for
from utils.machine import DeviceError, progress, resolve_device
from utils.training import CheckpointError
from utils.training.checkpoint import MovingAverage, load_optimizer_arrays, optimizer_arrays
from utils.training.processes import Processes, device_of_process, join_processes, stop_requests
from utils.training.run_folder import RunFolder


class Learner:
    """All that a training step changes: network (random, or from the file `init`), optimiser, average, loss scale."""

    def __init__(self, config: Config, device: str, processes: Processes, init: str | None) -> None:
        if config.train.amp == "bf16" and device != "cpu" and not paddle.amp.is_bfloat16_supported(device):
            # Paddle would warn once and compute in float32, with the memory and the time of that.
            raise ConfigError(f"train.amp: {device} does not compute in bf16; use train.amp: fp16, or none")
        # For the network's first weights: no layer draws, and what samples draw follows from their own numbers.
        paddle.seed(int(np.random.SeedSequence((config.seed, 0, 0)).generate_state(1)[0]) & 0x7FFFFFFF)
        self.config, self.finds = config, config.model.network == "locator"
        restores = Restormer if config.model.network == "restormer" else NAFNet
        self.network = Locator() if self.finds else restores(**config.model.arguments())
        if init is not None:
            self._start_from(init)
        if self.finds:
            self.network.freeze()
        self.forward = paddle.DataParallel(self.network) if processes.world > 1 else self.network
        settings = config.optimizer
        # By the norm of all gradients together; ClipGradByNorm would clip each tensor by itself.
        clip = paddle.nn.ClipGradByGlobalNorm(settings.clip_norm) if settings.clip_norm else None
        self.optimizer = paddle.optimizer.AdamW(
            settings.learning_rate, *settings.betas, parameters=self.network.parameters(),
            weight_decay=settings.weight_decay, grad_clip=clip,
        )  # fmt: skip
        self.average = MovingAverage(self.network, config.train.ema_decay) if config.train.ema_decay else None
        self.autocast = {"fp16": "float16", "bf16": "bfloat16"}.get(config.train.amp) if device != "cpu" else None
        self.scaler = paddle.amp.GradScaler(enable=self.autocast == "float16")

    def _start_from(self, init: str) -> None:
        try:
            weights = load_weights(init)
            if self.finds and weights.locator is None:
                raise ValueError(f"{init} holds no locator; `python -m models.convert` makes one to start from")
            load_arrays(self.network, weights.locator.params if self.finds else weights.params)
        except (OSError, ValueError) as error:
            lost = f"{looked_for(init)}; make it first" if isinstance(error, OSError) else ""
            raise ConfigError(f"train.init: {sentence(error)}{lost}, give other weights, or null for none") from error

    def backward(self, batch: dict[str, Any]) -> dict[str, paddle.Tensor]:
        """Computes the gradients of one batch; returns the scalars loss, gradient_norm and every term of the loss."""
        result, restored, logit = batch["occluded"], None, None
        told = not self.finds and self.network.mask_input
        with paddle.amp.auto_cast(enable=self.autocast is not None, dtype=self.autocast or "float16"):
            output = self.forward(paddle.concat([result, batch["mask"]], axis=1) if told else result)
        if self.finds:
            logit = output.astype("float32")
        elif self.network.gate:
            restored, logit = (part.astype("float32") for part in output)
            result = apply_gate(result, restored, logit)
        else:
            result = output.astype("float32")
            restored = result if told else None
        # All in float32: fp16 has neither the range for squares nor the precision for variances.
        tensors = {**batch, "result": result, "restored": restored, "mask_logit": logit}
        loss, terms = total_loss(self.config.loss, tensors)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        norm = paddle.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        return {"loss": loss.detach(), "gradient_norm": norm, **terms}

    def step(self, iteration: int) -> float:
        """Changes the weights by the gradients and forgets those; returns the learning rate of this iteration."""
        config = self.config
        rate = lr_at(iteration, config.schedule, config.optimizer.learning_rate, config.train.iterations)
        self.optimizer.set_lr(rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.clear_grad()
        if self.average is not None:
            self.average.update(iteration)
        return rate

    def is_broken(self, scalars: dict[str, paddle.Tensor]) -> bool:
        """Whether the loss or the gradient cannot be trained on."""
        loss, gradient = (math.isfinite(float(scalars[name])) for name in ("loss", "gradient_norm"))
        # A gradient is, routinely, in fp16 as long as the loss scale can still come down, which the step does.
        return not (loss and (gradient or float(np.asarray(self.scaler.state_dict().get("scale", 1)).item()) > 1))

    def state(self) -> dict[str, Any]:
        """All of it as arrays and plain values, by the parameters' names in the network."""
        return {"params": arrays_of(self.network), "optimizer": optimizer_arrays(self.optimizer, self.network),
                "ema": self.average and self.average.arrays(), "scaler": self.scaler.state_dict()}  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state()` gave in another process; CheckpointError where it does not fit."""
        try:
            load_optimizer_arrays(self.optimizer, self.network, state["optimizer"])
            load_arrays(self.network, state["params"])
            if self.average is not None:
                self.average.load_arrays(state["ema"])
        except ValueError as error:
            raise CheckpointError(f"the checkpoint does not belong to this network: {error}") from error
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def weights(self, iteration: int) -> Weights:
        """What is validated and shipped: the moving average where there is one, with all that prediction needs."""
        params = self.average.arrays() if self.average is not None else arrays_of(self.network)
        origin = {"made_by": "train.py", "iteration": iteration, "config": to_yaml(self.config)}
        own = Weights(params, asdict(self.config.predict), origin)
        return Weights({}, own.predict, origin, locator=own) if self.finds else own

    def save_weights(self, path: Path, iteration: int) -> None:
        """Writes `weights(iteration)` to a file."""
        save_weights(path, self.weights(iteration))


def validate(weights: Weights, pages: Sequence[PatchPaths], device: str, processes: Processes,
             interrupted: Callable[[], bool] = lambda: False) -> dict[str, float | None] | None:  # fmt: skip
    """Restores pages with `weights` and averages the measures; every process does its share and gets the answer. A
    network that takes a mask is told the true one.

    Returns the mean of each of `MEASURES` over the pages that have it (None when none has), with a PSNR counted as at
    most 100 dB, and of a locator `found`, the share of pages on which it finds anything; None in place of all that when
    `interrupted`, asked before every page, said so in any process.
    """
    # The eager network: these weights live for one validation, and exporting them would only fill the cache.
    restorer = Restorer(weights, device, backend="paddle")
    names = (*MEASURES, "found")
    sums, unfinished = np.zeros((len(names), 2)), False
    for page in pages[processes.rank :: processes.world]:
        if unfinished := interrupted():
            break
        mask = read_mask(page.mask)
        restored = restorer(read_rgb(page.occluded), mask if weights.model.get("mask_input") else None)
        measures = evaluate(restored.image, read_rgb(page.clean), mask) | {"found": float(restored.mask.any())}
        for total, name in zip(sums, names, strict=True):
            if measures[name] is not None:
                total += counted(name, measures[name]), 1
    *sums, unfinished = processes.total([*sums.flat, unfinished])
    if unfinished:
        return None
    pairs = zip(names if weights.locator else MEASURES, sums[::2], sums[1::2], strict=False)
    return {name: total / count if count else None for name, total, count in pairs}


def train(config: Config, device: str, run: RunFolder, saved: dict[str, Any] | None) -> int:
    """Trains from the start, or from the state `saved` in a checkpoint, to the end; returns the exit code."""
    processes, total, every = run.processes, config.train.iterations, config.validation.every
    start = saved["iteration"] if saved else 0
    if start >= total:
        run.say(f"{run.output}: has {start} iterations already, train.iterations is {total}: nothing was done")
        return DONE
    learner = Learner(config, device, processes, init=None if saved else config.train.init)
    if saved:
        learner.load_state(saved)
    pages = validation_pages(config.data.val_pages, config.validation.pages) if every else []
    # What the restorer starts from is filled as it is in prediction.
    fill = partial(fill_patch, long_side=config.predict.long_side) if config.model.mask_input else None
    batches = make_loader(config, start, processes.rank, processes.world, fill)
    if config.train.amp != "none" and device == "cpu":
        run.say(f"train.amp: {config.train.amp} needs a GPU; this run computes in float32")
    count = sum(math.prod(parameter.shape) for parameter in learner.network.parameters())
    run.say(f"{run.output}: {count / 1e6:.2f} M parameters, {device}, {THREADS} threads, iterations {start} to {total}")
    run.open(start, to_yaml(config), ["python", *sys.argv])

    bar = progress(total=total, initial=start, unit="iteration", dynamic_ncols=True, disable=not processes.first)
    window, patches, seconds = [], 0, 0.0
    with bar, stop_requests() as asked:
        for iteration in range(start, total):
            begin = time.perf_counter()
            batch = next(batches)
            scalars = learner.backward(batch)
            # One exchange per iteration, so that all processes break off or stop at the same one.
            broken, stopping = processes.total([learner.is_broken(scalars), bool(asked)])
            if broken:
                values = ", ".join(f"{name} {float(value):g}" for name, value in scalars.items())
                last_good = next(iter(run.checkpoints()), "none yet")
                bar.write(f"error: stopped at iteration {iteration} (from 0): {values}\n  files of the batch: "
                          f"{', '.join(batch['name'])}\n  last good checkpoint: {last_good}\n  Nothing was learnt "
                          "from this batch. Look at its files; to go on with a lower optimizer.learning_rate or "
                          "optimizer.clip_norm, start a new run with another output and with train.init: this run's "
                          "model_last.pdparams", file=sys.stderr)
                return SOME_FAILED
            rate = learner.step(iteration)
            done = iteration + 1

            window.append(scalars)
            patches += batch["occluded"].shape[0] * processes.world
            seconds += time.perf_counter() - begin
            bar.set_postfix(loss=f"{float(scalars['loss']):.4f}", lr=f"{rate:.2e}", refresh=False)
            bar.update()
            if done % config.train.log_every == 0 or done == total:
                size, _, _, side = batch["occluded"].shape
                place = {"stage": stage_at(iteration, config.train.stages)[0], "batch": size, "patch": side}
                run.record_training(done, window, learning_rate=rate, **place, patches_per_second=patches / seconds)
                window, patches, seconds = [], 0, 0.0
            if pages and (done % every == 0 or done == total):
                measures = validate(learner.weights(done), pages, device, processes, lambda: bool(asked))
                if measures is None:
                    stopping = True
                elif run.record_validation(done, measures):
                    run.save(done, learner, best=True)
            if done % config.train.save_every == 0 or done == total or stopping:
                run.save(done, learner)
            if stopping and done < total:
                run.say(f"stopped after iteration {done} of {total} and saved; go on with --resume or --auto-resume")
                # Of SIGTERM also where another process was asked.
                return 128 + (asked[-1] if asked else signal.SIGTERM)
    best = f", best {run.best['measure']} {run.best['value']:.4f} at {run.best['iteration']}" if run.best else ""
    run.say(f"finished: {run.output}{best}")
    return DONE


@command(ConfigError, CheckpointError, DeviceError, ListError, BadImageError, WorkerKilledError)
def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("-c", "--config", required=True, metavar="CONFIG", help="YAML file, see configs/README.md")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    resuming = parser.add_mutually_exclusive_group()
    resuming.add_argument("--resume", nargs="?", const="", metavar="CHECKPOINT", help="go on from CHECKPOINT, or "
                          "without a name from the last whole checkpoint in the run's folder")
    resuming.add_argument("--auto-resume", action="store_true", help="go on if there is a checkpoint, else start")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:INDEX (default: auto, under "
                        "paddle.distributed.launch the card that it gives to each process)")
    options = parser.parse_args(arguments)
    config, device = load_config(options.config, options.override), resolve_device(device_of_process(options.device))
    with closing(RunFolder(config.output, asdict(config), join_processes(device), THREADS)) as run:
        return train(config, device, run, run.find_start(options.resume, options.auto_resume))


if __name__ == "__main__":
    raise SystemExit(main())
