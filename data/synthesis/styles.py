"""How occluders look and where they come in: the contest's way, or the way a camera would have seen them."""

from __future__ import annotations

from dataclasses import dataclass

from data.synthesis.placement import EntryRange

# Pixel measures of a style are meant for the contest's photos, whose longer side is about this.
REFERENCE_LONG_SIDE = 3770


@dataclass(frozen=True)
class PasteStyle:
    """How occluders look and where they come in. Pixel measures are at a longer side of 3770 and scale with it.

    Attributes:
        hand, head: where and how large hands and heads enter.
        head_probability: probability that an occluder is a head where nobody asks for a kind.
        second_probability: probability of a second occluder on the same photo.
        sliver_probability: probability that a tip of the occluder peeps in once more somewhere else at a border.
        soft_edge_probability: probability of a feathered edge; every other edge is hard, that is, binary.
        feather_pixels: blur of a feathered edge (sigma).
        jagged_probability: probability that a hard edge is a staircase, as after nearest-neighbour enlarging.
        jag_pixels: size of such a stair.
        polygon_probability: probability that a hard edge is a coarse polygon.
        polygon_pixels: how far that polygon may leave the true outline.
        rim_probability: probability that a rim of the cut-out's own background comes along on a hard edge.
        rim_pixels: width of that rim.
        shadow_probability: probability of a shadow cast on the page; it belongs to the mask.
        shadow_strength: fraction of the light that it takes.
        shadow_pixels: its blur (sigma) and the range of its displacement.
        light_difference: largest difference of the occluder's brightness, in log units.
        colour_difference: the same for each colour channel.
        shading: largest brightness slope across the occluder, as a fraction.
        blur_probability, blur_pixels: out-of-focus or upscaled occluders (sigma).
        noise: largest sigma of the noise on the occluder, in grey levels.
        grey_probability: probability of a black-and-white head.
        jpeg_probability, jpeg_quality: encoding of the whole occluded picture as JPEG.
    """

    hand: EntryRange
    head: EntryRange
    head_probability: float = 0.4
    second_probability: float = 0.0
    sliver_probability: float = 0.0
    soft_edge_probability: float = 0.0
    feather_pixels: tuple[float, float] = (0.8, 3.0)
    jagged_probability: float = 0.0
    jag_pixels: tuple[int, int] = (2, 5)
    polygon_probability: float = 0.0
    polygon_pixels: tuple[float, float] = (1.5, 5.0)
    rim_probability: float = 0.0
    rim_pixels: tuple[int, int] = (1, 4)
    shadow_probability: float = 0.0
    shadow_strength: tuple[float, float] = (0.12, 0.45)
    shadow_pixels: tuple[float, float] = (12.0, 55.0)
    light_difference: float = 0.0
    colour_difference: float = 0.0
    shading: float = 0.0
    blur_probability: float = 0.0
    blur_pixels: tuple[float, float] = (1.0, 4.0)
    noise: float = 0.0
    grey_probability: float = 0.0
    jpeg_probability: float = 0.0
    jpeg_quality: tuple[int, int] = (90, 98)


CONTEST = PasteStyle(
    hand=EntryRange((0.1, 0.42, 0.06, 0.42), (0.012, 0.037), (0.2, 0.45), (0.12, 0.75), 28.0, (0.12, 0.88)),
    head=EntryRange((1.0, 0.0, 0.0, 0.0), (0.016, 0.037), (0.16, 0.225), (0.6, 1.0), 4.0, (0.15, 0.85)),
    head_probability=0.5,
    sliver_probability=0.4,
    soft_edge_probability=0.0,
    jagged_probability=0.5,
    polygon_probability=0.3,
    rim_probability=0.5,
    light_difference=0.12,
    blur_probability=0.35,
    grey_probability=0.3,
    jpeg_probability=0.7,
    jpeg_quality=(90, 98),
)
NATURAL = PasteStyle(
    hand=EntryRange((0.2, 0.32, 0.16, 0.32), (0.008, 0.09), (0.12, 0.6), (0.1, 1.0), 50.0, (0.05, 0.95), (0.03, 0.1)),
    head=EntryRange((1.0, 0.0, 0.0, 0.0), (0.012, 0.08), (0.12, 0.36), (0.4, 1.0), 12.0, (0.08, 0.92)),
    head_probability=0.3,
    second_probability=0.3,
    sliver_probability=0.15,
    soft_edge_probability=0.85,
    jagged_probability=0.2,
    polygon_probability=0.2,
    rim_probability=0.2,
    shadow_probability=0.7,
    light_difference=0.35,
    colour_difference=0.1,
    shading=0.3,
    blur_probability=0.5,
    noise=4.0,
    grey_probability=0.15,
    jpeg_probability=0.8,
    jpeg_quality=(75, 97),
)
STYLES = {"contest": CONTEST, "natural": NATURAL}
