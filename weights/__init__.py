"""Files on disk to named tensors and back; has never heard of nn.Module."""

from pathlib import Path

SHIPPED_BUNDLE = Path(__file__).parent / "tabletop"
"""Folder of the bundle that comes with the package."""
