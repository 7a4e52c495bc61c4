"""How an encoder runs: precision, compilation, CUDA graphs, ONNX; and which is faster."""
