"""Files on disk to named tensors and back; has never heard of nn.Module."""
