"""Sessions of ONNX Runtime: what a GPU's providers are told, and memory that is used as it lies."""

from types import SimpleNamespace

import pytest
import torch

from extract.errors import RuntimeUnavailable
from extract.runtime import onnx_session
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import export_encoder, made_up_windows
from extract.runtime.onnx_session import ENGINE_WINDOWS, GraphRun

CPU = torch.device("cpu")


@pytest.fixture
def graph(tiny_encoder):
    return export_encoder(tiny_encoder)


@pytest.fixture
def on_gpu(monkeypatch):
    """A GPU's providers and streams without one: events of the two streams, in order."""
    found = SimpleNamespace(events=[], providers=[])

    class Stream:
        def __init__(self, device, name="own"):
            self.cuda_stream, self.name = 77, name
            found.events.append(f"{name} stream of {device}")

        def wait_stream(self, other):
            found.events.append(f"{self.name} waits for {other.name}")

        def __enter__(self):
            found.events.append("within own")

        def __exit__(self, *_):
            found.events.append("left")

    real = onnx_session.onnxruntime.InferenceSession

    def session(graph, options, providers):
        found.providers += providers
        made = real(graph, options, providers=["CPUExecutionProvider"])
        made.get_providers = lambda: [name for name, _ in providers]
        return made

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: callers)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, s: found.events.append(s.name))
    monkeypatch.setattr(onnx_session, "available_providers", lambda: ["cpu", "cuda", "tensorrt"])
    monkeypatch.setattr(onnx_session.onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnx_session, "_load_tensorrt", lambda: None)
    callers = Stream("", "callers")
    found.events.clear()
    return found


def test_memory_that_is_bound_gives_the_features_of_memory_that_is_copied(tiny_encoder, graph):
    run = GraphRun(graph, tiny_encoder.state_dict(), device=CPU)
    windows = made_up_windows(tiny_encoder.contract, 3)
    for some in (windows, windows[1:2], windows.flip(0), windows[:, :, :, :, :][::2]):
        found = run.on_device(some)
        assert torch.equal(found, torch.from_numpy(run.on_host(some.contiguous().numpy())))


def test_a_gpu_computes_in_float32_on_a_stream_of_its_own(tiny_encoder, graph, on_gpu):
    run = GraphRun(
        graph, tiny_encoder.state_dict(), provider="cuda", device=torch.device("cuda", 3)
    )
    assert on_gpu.providers == [
        (
            "CUDAExecutionProvider",
            {
                "device_id": 3,
                "user_compute_stream": "77",
                "use_tf32": 0,
                "cudnn_conv_algo_search": "HEURISTIC",
                "arena_extend_strategy": "kSameAsRequested",
            },
        )
    ]
    windows = made_up_windows(tiny_encoder.contract, 2)
    found = run.on_device(windows)
    assert on_gpu.events == [
        "own stream of cuda:3", "own waits for callers", "own", "within own", "left",
        "callers waits for own", "callers",
    ]  # fmt: skip
    expected = GraphRun(graph, tiny_encoder.state_dict(), device=CPU).on_device(windows)
    assert torch.equal(found, expected)


def test_an_engine_of_tensorrt_is_kept_for_the_batches_that_come(
    tiny_encoder, graph, on_gpu, tmp_path
):
    OnnxEncoder(tiny_encoder, graph, provider="tensorrt", cache=tmp_path)
    [(provider, options)] = on_gpu.providers
    assert provider == "TensorrtExecutionProvider"
    folder = str(tmp_path / tiny_encoder.fingerprint[:12] / "tensorrt")
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == folder
    shapes = [options[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")]
    size = "x".join(map(str, (*tiny_encoder.contract.window_shape, 3)))
    (name,) = {shape.partition(":")[0] for shape in shapes}
    assert shapes == [f"{name}:{windows}x{size}" for windows in ENGINE_WINDOWS]
    assert on_gpu.events[0] == "own stream of cuda:0"  # the encoder itself is on the CPU


def test_tensorrt_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(onnx_session, "_TENSORRT_LIBRARIES", ("libnvinfer.so.none",))
    with pytest.raises(RuntimeUnavailable, match=r"libnvinfer\.so\.none .* the extra tensorrt"):
        onnx_session._load_tensorrt()


def test_tensorrt_is_loaded_from_its_package(monkeypatch, tmp_path):
    loaded = []
    (tmp_path / "libnvinfer.so.10").touch()
    monkeypatch.setattr(
        onnx_session, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[tmp_path])
    )
    monkeypatch.setattr(onnx_session.ctypes, "CDLL", lambda path, mode: loaded.append(path))
    onnx_session._load_tensorrt()
    assert loaded == [str(tmp_path / "libnvinfer.so.10"), "libnvonnxparser.so.10"]


@pytest.mark.gpu
def test_a_gpu_gives_the_features_of_the_cpu(tiny_encoder, graph):
    windows = made_up_windows(tiny_encoder.contract, 5)
    expected = OnnxEncoder(tiny_encoder, graph).encode(windows)
    found = OnnxEncoder(tiny_encoder.to("cuda"), graph, provider="cuda").encode(windows)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
