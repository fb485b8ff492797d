"""How far what was set out for is met, by what a user gets who asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence

from inference.leaderboard.table import Summary

OURS = "auto"
# Inside the mask, over inpainting that is told where the occluder is.
_GAIN_OVER_ORACLE = 1.0
_BELOW_CEILING = 0.01
_RECALL, _PRECISION = 0.99, 0.97
# Set -> pictures of which one may be wrongly changed, by less than this share of its pixels.
_WRONG = {"clean": 100, "printed-people": 20}
_WRONG_SHARE = 0.001


def aims(summaries: Sequence[Summary]) -> list[str]:
    """A sentence for every aim that the summaries can tell about."""
    found = {(summary.set, summary.method): summary for summary in summaries}
    checks: list[tuple[str, bool]] = []
    ours = found.get(("contest", OURS))
    if ours:
        checks += _contest(ours, found)
    natural = found.get(("natural", OURS))
    if natural and natural.worse is not None:
        checks.append((f"natural: {natural.worse} of {natural.count} pictures worse than the input", not natural.worse))
    for name, one_in in _WRONG.items():
        summary = found.get((name, OURS))
        if summary:
            met = summary.wrong * one_in <= summary.count and summary.wrong_share < _WRONG_SHARE
            text = (
                f"{name}: {summary.wrong} of {summary.count} pictures wrongly changed, aim 1 in {one_in}; "
                f"{100 * summary.wrong_share:.2g} % of a picture at most, aim {100 * _WRONG_SHARE:g} %"
            )
            checks.append((text, met))
    return [f"{text}: {'met' if met else 'MISSED'}" for text, met in checks]


def _contest(ours: Summary, found: dict[tuple[str, str], Summary]) -> list[tuple[str, bool]]:
    checks = []
    oracle, ceiling = found.get(("contest", "telea-true")), found.get(("contest", "ceiling"))
    if oracle and oracle.psnr_inside is not None and ours.psnr_inside is not None:
        gain = ours.psnr_inside - oracle.psnr_inside
        text = f"contest: {gain:+.2f} dB inside the mask against Telea with the true mask, aim +{_GAIN_OVER_ORACLE:g}"
        checks.append((text, gain >= _GAIN_OVER_ORACLE))
    if ceiling and ceiling.score is not None and ours.score is not None:
        gap = ceiling.score - ours.score
        checks.append((f"contest: score {gap:.4f} below the ceiling's, aim {_BELOW_CEILING:g}", gap <= _BELOW_CEILING))
    for name, aim in (("recall", _RECALL), ("precision", _PRECISION)):
        value = getattr(ours, name)
        if value is not None:
            checks.append((f"contest: {name} of the mask {value:.3f}, aim {aim:g}", value >= aim))
    return checks
