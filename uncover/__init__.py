"""Removes fingers, hands and heads from photographed documents.

    import uncover
    result = uncover.restore("photo.jpg")                # result.image, result.mask (0 or 1), result.seconds
    restorer = uncover.Restorer(weights, device="cpu")   # for many photos, with options
    result = restorer(pixels)                            # RGB uint8 or uint16 [H, W, 3]

The project's rooms (`inference`, `data`, `utils`, ...) import each other by plain names that other people's packages
have too. So here they are modules of `uncover._rooms`, and an `import` inside of them that names a room means that one:
nothing of theirs stands on `sys.path` or under a plain name in `sys.modules`.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from inference.restorer import Picture, Restored

__version__ = "0.2.0"
__all__ = ["Restored", "Restorer", "__version__", "restore"]

# Where it is installed the rooms lie below; in the repository they lie beside.
_HERE = Path(__file__).resolve().parent
_ROOMS = _HERE / "_rooms" if (_HERE / "_rooms").is_dir() else _HERE.parent
_PREFIX = f"{__name__}._rooms"
_NAMES = {path.parent.name for path in _ROOMS.glob("*/__init__.py")} | {path.stem for path in _ROOMS.glob("*.py")}
_NAMES -= {__name__, "setup"}


def room(name: str) -> ModuleType:
    """A module of the project by its plain name, such as "inference.export" or "predict"."""
    return importlib.import_module(f"{_PREFIX}.{name}")


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: OpenCV and the readers of photos take half a second.
    if name in ("Restored", "Restorer"):
        return getattr(room("inference.restorer"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def restore(image: Picture, mask: np.ndarray | None = None, **options: Any) -> Restored:
    """Restores one picture: the path of a file, or RGB uint8 or uint16 [H, W, 3].

    With a `mask` [H, W], nonzero where the picture is covered, nothing is looked for. `options` are `Restorer`'s, which
    is kept for the next picture with the same ones; returns (`image`: RGB [H, W, 3] of the input's type, `mask`,
    `occluders`, `seconds`) and raises what that does.
    """
    return _restorer(**options)(image, mask)


@functools.lru_cache(maxsize=1)
def _restorer(**options: Any) -> Any:
    return room("inference.restorer").Restorer(**options)


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """What `import` does inside of the rooms."""
    head = name.partition(".")[0]
    if level or head not in _NAMES:
        return builtins.__import__(name, globals, locals, fromlist, level)
    module = builtins.__import__(f"{_PREFIX}.{name}", globals, locals, fromlist or ("__name__",), 0)
    return module if fromlist else sys.modules[f"{_PREFIX}.{head}"]


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**builtins.__dict__, "__import__": _import}
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.startswith(f"{_PREFIX}.") else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


if _PREFIX not in sys.modules:
    sys.modules[_PREFIX] = _rooms = ModuleType(_PREFIX)
    _rooms.__path__ = [str(_ROOMS)]
    sys.meta_path.insert(0, _Finder)
