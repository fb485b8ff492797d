"""A bounded stock of drawn hands and heads: drawing one for every training sample would cost more than the training."""

from __future__ import annotations

import numpy as np

from data.occluders import KINDS, DrawnOccluders, Occluder

# Where memory allows, as many as a small folder of real cut-outs holds; pasting varies each of them endlessly.
_MOST_PER_KIND = 64
_FEWEST_PER_KIND = 8
_POOL_BYTES = 256 * 2**20
# Keeps the drawings apart from every other use of the run's seed.
_POOL_STREAM = 20220705


class DrawnPool:
    """Drawn occluders that come again and again; call it as `pool(rng, kind)`.

    The pool is fixed by `seed` and `long_side`: each member has a generator of its own, and a call takes nothing but
    the member's number from `rng`. Whichever process asks, and in whatever order, the same `rng` therefore gets the
    same occluder. A member is drawn when it is first asked for, and kept as long as the process lives.

    Args:
        seed: of the run.
        long_side: longer side of a drawing in pixels, at least 32.

    Attributes:
        per_kind: how many hands, and how many heads: 64, or as many of this size as 256 MiB hold, but at least 8.
    """

    kinds = KINDS

    def __init__(self, seed: int, long_side: int) -> None:
        self.seed = seed
        self.drawn = DrawnOccluders(long_side)
        fitting = _POOL_BYTES // (len(KINDS) * 4 * long_side**2)
        self.per_kind = min(max(fitting, _FEWEST_PER_KIND), _MOST_PER_KIND)
        self._members: dict[tuple[str, int], Occluder] = {}

    def __call__(self, rng: np.random.Generator, kind: str) -> Occluder:
        """One of the pool's occluders of `kind`; its pixels are shared and read-only."""
        place = kind, int(rng.integers(self.per_kind))
        if place not in self._members:
            stream = np.random.SeedSequence(self.seed, spawn_key=(_POOL_STREAM, KINDS.index(kind), place[1]))
            member = self.drawn(np.random.default_rng(stream), kind)
            member.rgba.flags.writeable = False
            self._members[place] = member
        return self._members[place]
