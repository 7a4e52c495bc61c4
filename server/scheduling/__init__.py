"""Admission control, the micro-batcher, the model's thread, retries out of memory."""
