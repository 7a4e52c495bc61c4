"""Runtimes of an encoder: precision, compilation, CUDA graphs, ONNX, and the choice by speed."""
