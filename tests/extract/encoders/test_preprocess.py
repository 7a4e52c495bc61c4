import pytest
import torch

from extract.contract import OMNIVORE, TABLETOP
from extract.encoders.preprocess import to_network_input


def patterned_window(width, height):
    """Two frames of (3x + 5y + 40c + 11k) mod 256."""
    k = torch.arange(2)[:, None, None, None]
    y = torch.arange(height)[None, :, None, None]
    x = torch.arange(width)[None, None, :, None]
    c = torch.arange(3)[None, None, None, :]
    return ((3 * x + 5 * y + 40 * c + 11 * k) % 256).to(torch.uint8)[None]


@pytest.mark.parametrize(
    ("width", "height", "corner", "middle", "end", "mean", "std"),
    [
        (320, 180, -1.3677, -1.2718, 0.1006, 0.2284, 1.2563),
        (1920, 1080, -1.6579, -0.6033, 2.0439, 0.2266, 1.2560),
        (640, 480, 1.7193, 2.2099, -0.4572, 0.2266, 1.2558),
        (360, 640, -0.1152, -0.6927, 0.9334, 0.2262, 1.2568),
        (1440, 1080, -1.0705, 0.0064, -1.2960, 0.2267, 1.2560),
    ],
)
def test_float_preprocessing_gives_the_reference_values(
    width, height, corner, middle, end, mean, std
):
    pixels = to_network_input(patterned_window(width, height), OMNIVORE)[0]

    assert pixels.shape == (3, 2, 224, 224)
    found = [
        pixels[0, 0, 0, 0],
        pixels[1, 0, 100, 57],
        pixels[2, 1, 223, 223],
        pixels.mean(),
        pixels.std(),
    ]
    expected = torch.tensor([corner, middle, end, mean, std])
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-4, rtol=0)


def test_frames_cropped_by_the_reader_are_only_normalised():
    windows = torch.randint(0, 256, (2, 16, 96, 128, 3), dtype=torch.uint8)
    pixels = to_network_input(windows, TABLETOP)
    expected = ((windows / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "windows",
    [
        torch.zeros(1, 16, 96, 128, 3),
        torch.zeros(16, 96, 128, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 16, 96, 128, dtype=torch.uint8),
        torch.zeros(1, 16, 96, 96, 3, dtype=torch.uint8),
    ],
)
def test_windows_of_another_shape_or_type_are_refused(windows):
    with pytest.raises(ValueError, match="expected"):
        to_network_input(windows, TABLETOP)


def test_a_second_call_copies_nothing_but_frames(monkeypatch):
    frames = patterned_window(320, 180)
    first = to_network_input(frames, OMNIVORE)

    def copy(*_, **__):
        raise AssertionError("a constant was made again")

    for name in ("tensor", "from_numpy", "as_tensor"):
        monkeypatch.setattr(torch, name, copy)
    assert torch.equal(to_network_input(frames, OMNIVORE), first)
