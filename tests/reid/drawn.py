"""Pictures for tests: drawn with whole numbers alone, so that they are the same everywhere."""

from __future__ import annotations

import numpy as np

from watchline.streams.frame import U8


def person(height: int = 203, width: int = 81, hue: int = 0) -> U8:
    """Someone with a red coat and blue trousers before a wall, (height, width, 3) uint8; `hue` changes the coat."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([90 + y * 40 // height, 120 + x * 30 // width, 80 + (x + y) % 9 * 3], axis=2)
    across, down = x * 100 // width, y * 100 // height
    weave = (x * 7 + y * 13) % 31
    head = (across - 50) ** 2 * 4 + (down - 10) ** 2 * 16 < 1200
    coat = (abs(across - 50) < 32) & (down >= 20) & (down < 55)
    legs = (abs(abs(across - 50) - 14) < 11) & (down >= 55) & (down < 97)
    rgb[head] = (205, 160, 130)
    rgb[coat] = np.stack([200 - hue - weave, 30 + hue + weave, 40 + weave // 2], axis=2)[coat]
    rgb[legs] = np.stack([25 + weave // 3, 35 + weave, 110 + weave], axis=2)[legs]
    return rgb.clip(0, 255).astype(np.uint8)


def face(height: int = 130, width: int = 118) -> U8:
    """A face with hair, eyes and a mouth, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    across, down = x * 100 // width, y * 100 // height
    shade = abs(across - 45)
    rgb = np.stack([215 - shade, 170 - shade, 140 - shade // 2], axis=2)
    rgb[down < 18] = (60, 40, 25)
    for eye in (32, 66):
        rgb[(across - eye) ** 2 + (down - 45) ** 2 * 3 < 60] = (250, 250, 245)
        rgb[(across - eye) ** 2 + (down - 45) ** 2 < 16] = (40, 60, 30)
    rgb[(abs(across - 50) < 5) & (down > 48) & (down < 66)] = (190, 130, 110)
    rgb[(abs(across - 50) < 15) & (abs(down - 82) < 4)] = (170, 50, 60)
    rgb[(across - 50) ** 2 * 3 + (down - 52) ** 2 * 2 > 5200] = (70, 90, 120)
    return rgb.clip(0, 255).astype(np.uint8)
