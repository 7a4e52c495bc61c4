from extract.runtime.choose import BATCHES


def times(torch_ms: float, onnx_ms: float = 10.0):
    return {str(batch): {"torch": torch_ms, "onnx": onnx_ms} for batch in BATCHES}
