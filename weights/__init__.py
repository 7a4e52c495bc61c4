"""Files on disk to named tensors and back, without nn.Module; every byte is checked."""
