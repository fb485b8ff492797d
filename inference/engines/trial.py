"""Running an exported file for the first time, in a process of its own: an engine may end the process that it is in.

    python -m inference.engines.trial ENGINE FILE --proofs PROOFS [--device D] [--threads N]

prints the largest difference from the eager network as its last line. `try_export` calls it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inference.engines.base import Backend, BackendError, Proof
from utils.files import write_text
from utils.machine import available_cores, start_paddle

_ROOT = Path(__file__).resolve().parent.parent.parent
_SECONDS = 900


def try_export(engine: str, file: Path, proofs: Sequence[Proof], device: str = "cpu", threads: int = 0) -> float:
    """Opens an exported file and asks it the proofs, in another process.

    Args:
        engine: "inference", "onnxruntime" or "openvino".
        file: an ONNX file, or the folder of a static model.
        threads: 0 takes all cores.

    Returns:
        The largest difference, as `proof.difference` measures it.

    Raises:
        BackendError: the engine could not open or run it, or the process ended without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="uncover-") as folder:
        questions = Path(folder, "proofs.txt")
        write_text(questions, "\n".join(proof.to_text() for proof in proofs))
        command = [sys.executable, "-m", "inference.engines.trial", engine, str(file.absolute()), "--proofs"]
        command += [str(questions), "--device", device, "--threads", str(threads)]
        # Found wherever this process was started; the engine's own settings come from the environment as here.
        paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        try:
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, timeout=_SECONDS,
                encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise BackendError(f"{engine} did not finish with {file.name} within {_SECONDS} s") from error
        except OSError as error:
            raise BackendError(f"{file.name} cannot be tried out: {sys.executable}: {error}") from error
    if done.returncode == 0:
        return float(done.stdout.split()[-1])
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode < 0:
        raise BackendError(f"{engine} ended its process with {_signal(-done.returncode)} on {file.name}")
    raise BackendError(f"{engine} cannot run {file.name}: {lines[-1] if lines else f'exit code {done.returncode}'}")


def hush_tracer() -> None:
    """Keeps Paddle's tracer from printing lines of its own log at every export; to be called before Paddle is imported.

    Errors are still printed, and GLOG_minloglevel of the environment wins.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _open(engine: str, file: Path, device: str, threads: int) -> Backend:
    if engine == "inference":
        start_paddle(threads)
        from inference.engines.static import StaticPredictor

        return StaticPredictor(file, device, threads)
    # Nobody asks these two about the gate and TLC here.
    if engine == "onnxruntime":
        from inference.engines.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(file, True, "", device, threads)
    from inference.engines.openvino_cpu import OpenVinoBackend

    return OpenVinoBackend(file, True, "", "fp32", threads)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("inference", "onnxruntime", "openvino"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--proofs", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    backend = _open(options.engine, options.file, options.device, options.threads or available_cores())
    proofs = [Proof.from_text(line) for line in options.proofs.read_text("utf-8").splitlines()]
    sys.stdout.write(f"{max(proof.difference(backend) for proof in proofs)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
