"""Which files of the project a script needs, read from its imports without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def import_closure(script: Path, root: Path) -> list[Path]:
    """Files of the project that `script` imports, directly or through others, with itself; sorted, relative to `root`.

    Imports inside functions count, and a package brings its `__init__.py`. What is not a file under `root` (the
    standard library, installed packages) is left out.
    """
    needed: set[Path] = set()
    waiting = [script.resolve()]
    root = root.resolve()
    while waiting:
        path = waiting.pop()
        if path in needed:
            continue
        needed.add(path)
        for module in _imported(path, root):
            waiting.extend(file for file in _files_of(module, root) if file not in needed)
    return sorted(path.relative_to(root) for path in needed)


def _imported(path: Path, root: Path) -> Iterator[str]:
    """Dotted names in the import statements of a file; `from a import b` may mean the module a.b as well."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """The module's own file and the `__init__.py` of every package around it, as far as they exist under `root`."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
