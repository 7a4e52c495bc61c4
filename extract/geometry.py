"""Sizes and offsets of the resize and the centre crop: pure arithmetic, no pixels."""

import math

from extract.contract import FeatureContract


def resized_size(width: int, height: int, contract: FeatureContract) -> tuple[int, int]:
    """Returns the (width, height) a frame is resized to before the centre crop.

    With `resize="float"` the short side becomes `short_side` and the long side is rounded down,
    as in Ego4D's extraction. With `resize="decoder"` the scale is the smallest at which the short
    side reaches `short_side` and the crop is covered in both directions, so a portrait frame
    fills a landscape crop; sides are even, as FFmpeg resizes to odd ones in a far slower way.

    Args:
        width: pixels of the frame as shown, after rotation.
        height: as `width`.
        contract: names the target sizes.
    """
    short, long = min(width, height), max(width, height)
    if contract.resize == "float":
        long_side = math.floor(long / short * contract.short_side)
        if width <= height:
            return contract.short_side, long_side
        return long_side, contract.short_side
    scale = max(
        contract.short_side / short,
        contract.crop_width / width,
        contract.crop_height / height,
    )
    return (
        max(contract.crop_width, 2 * round(width * scale / 2)),
        max(contract.crop_height, 2 * round(height * scale / 2)),
    )


def crop_offset(width: int, height: int, contract: FeatureContract) -> tuple[int, int]:
    """Returns the (x, y) of the centre crop's first pixel; halves round to even.

    Args:
        width: pixels of the resized frame.
        height: as `width`.
        contract: names the crop.

    Raises:
        ValueError: the crop is larger than the frame.
    """
    if width < contract.crop_width or height < contract.crop_height:
        raise ValueError(
            f"a {contract.crop_width} x {contract.crop_height} crop does not fit "
            f"in a {width} x {height} frame"
        )
    return round((width - contract.crop_width) / 2), round((height - contract.crop_height) / 2)
