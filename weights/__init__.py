"""Files on disk to named tensors and back, without nn.Module; every byte is checked."""

from pathlib import Path

SHIPPED_BUNDLE = Path(__file__).parent / "tabletop"
"""Folder of the bundle that comes with the package."""
