"""The shadow of an occluder goes with it; what is dark beside it for another reason stays."""

import cv2
import numpy as np
import pytest

from inference.fill.shadow import ShadowRules, with_shadows

REACH = 5.0


def page(tone: float = 215) -> np.ndarray:
    """Paper with its noise and a slope of light, RGB float32."""
    rows, columns = np.mgrid[:512, :384].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 2, rows.shape)
    return np.repeat((tone * (1 - 0.1 * columns / 384) + noise)[..., None], 3, 2).astype(np.float32)


def hand() -> np.ndarray:
    """A finger from the left side: uint8 mask."""
    mask = np.zeros((512, 384), np.uint8)
    cv2.line(mask, (0, 250), (150, 250), 1, 70)
    return mask


def thrown(mask: np.ndarray, strength: float) -> np.ndarray:
    """float32 [h, w]: by which share a shadow of the mask, moved down, darkens."""
    return strength * cv2.GaussianBlur(np.roll(mask, 14, axis=0).astype(np.float32), (0, 0), 6)


def seen(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with a hand, uint8."""
    return np.where(mask[..., None] > 0, (200, 150, 120), picture).clip(0, 255).astype(np.uint8)


def grown(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """bool: what the mask has grown by beyond what is pasted anyway."""
    result = with_shadows(seen(picture, mask), mask, REACH, ShadowRules())
    assert result.dtype == np.uint8
    assert (result >= mask).all()
    return (result > 0) & (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) > REACH)


@pytest.mark.parametrize(("strength", "tone"), [(0.12, 215), (0.8, 215), (0.5, 170)])
def test_a_soft_shadow_goes_with_the_hand(strength, tone):
    mask = hand()
    darker = thrown(mask, strength)
    far = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) > REACH
    shadow = (darker > 0.06) & far
    taken = grown(page(tone) * (1 - darker)[..., None], mask)
    assert shadow.sum() > 500
    assert (taken & shadow).sum() > 0.8 * shadow.sum()
    assert (taken & (darker < 0.01)).sum() < 0.1 * taken.sum()


@pytest.mark.parametrize(("columns", "found"), [(20, False), (60, True), (30, False)])
def test_of_a_shadow_that_meets_the_hand_on_a_short_line_one_cannot_know(columns, found):
    mask = hand()
    darker = thrown(mask, 0.4)
    darker[:, columns:] = 0
    assert grown(page() * (1 - cv2.GaussianBlur(darker, (0, 0), 3))[..., None], mask).any() == found


@pytest.mark.parametrize(("left", "found"), [((0.5,) * 3, True), ((0.5, 0.6, 0.7), True), ((0.7, 0.5, 0.5), False)])
def test_a_short_one_is_grey_or_bluish(left, found):
    mask = hand()
    darker = thrown(mask, 1.0)
    darker[:, 60:] = 0
    share = cv2.GaussianBlur(darker, (0, 0), 3)[..., None] * (1 - np.float32(left))
    assert grown(page() * (1 - share), mask).any() == found


@pytest.mark.parametrize("desk", [True, False])
def test_a_tip_of_shadow_goes_where_it_lies_between_hand_and_desk(desk):
    picture, mask = page(), hand()
    picture[285:296, 110:150] *= 0.75
    if desk:
        picture[296:] = 30
    assert grown(picture, mask).any() == desk


def test_where_there_is_no_shadow_the_mask_stays():
    mask = hand()
    assert not grown(page(), mask).any()
    nothing = np.zeros_like(mask)
    assert not with_shadows(seen(page(), mask), nothing, REACH, ShadowRules()).any()


def test_of_16_bits_it_finds_the_same():
    mask = hand()
    picture = seen(page() * (1 - thrown(mask, 0.4))[..., None], mask)
    one, other = (with_shadows(each, mask, REACH, ShadowRules()) for each in (picture, picture.astype(np.uint16) * 257))
    assert np.array_equal(one, other)
    assert one.sum() > mask.sum()


@pytest.mark.parametrize(("strength", "tone"), [(0.4, 120), (0.07, 215), (0.1, 215)])
def test_none_is_looked_for_on_dark_ground_and_none_is_found_that_hardly_shows(strength, tone):
    mask = hand()
    assert not grown(page(tone) * (1 - thrown(mask, strength))[..., None], mask).any()


@pytest.mark.parametrize(("kind", "most"), [
    ("picture", 0.003), ("near picture", 0.003), ("bar", 0.003), ("rule", 0.003), ("black", 0.003), ("letters", 0.003),
    ("rule along one finger", 0.003), ("small letters", 0.003),
])  # fmt: skip
def test_print_beside_the_hand_stays(kind, most):
    picture, mask = page(), hand()
    if kind.endswith("picture"):
        cv2.rectangle(picture, (60, 285 if kind.startswith("near") else 292), (110, 330), (120, 130, 140), -1)
    elif kind == "bar":
        cv2.rectangle(picture, (120, 285), (384, 310), (150, 150, 160), -1)
    elif kind == "black":
        picture[285:302, :140] *= 0.45
    elif kind == "rule along one finger":  # As dark everywhere.
        picture[285:304, :140] *= 0.7
    elif kind == "small letters":  # The finger covers the tops of some.
        for row in (292, 312, 332):
            cv2.putText(picture, "letters of a printed page", (140, row), 0, 0.5, (30, 30, 30), 2)
    elif kind == "rule":  # Between two fingers, and as dark everywhere.
        mask |= np.roll(mask, 95, axis=0)
        picture[285:310, :140] *= 0.7
    else:
        for row in range(190, 340, 24):
            cv2.putText(picture, "letters of a printed page", (150, row), 0, 0.6, (30, 30, 30), 2)
    assert grown(picture, mask).sum() < most * mask.sum()
