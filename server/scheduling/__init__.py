"""Admission control, micro-batcher, model thread, OOM retry."""
