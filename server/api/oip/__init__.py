"""Open Inference Protocol, version 2: requests and predictions as tensors."""
