"""Sizes of input, (T, H, W), that between them have every kind of attention box."""

# Whole windows, padding on any axis, axes shorter than a window, odd merges, one frame.
SIZES = [
    (32, 224, 224),
    (16, 224, 224),
    (32, 112, 112),
    (8, 112, 112),
    (32, 64, 64),
    (16, 64, 64),
    (31, 113, 95),
    (7, 60, 90),
    (20, 100, 228),
    (20, 240, 256),
    (32, 100, 228),
    (33, 36, 36),
    (12, 28, 250),
    (2, 224, 224),
    (1, 224, 224),
]
