"""The Open Inference Protocol, version 2: tensors in, tensors out, through the same engine."""
