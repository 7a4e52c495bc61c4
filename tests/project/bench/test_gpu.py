"""What measures a GPU runs, small, on a CPU; and never makes a figure up."""

import argparse
import importlib
import json
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import __main__ as bench_main
from bench.features.trunk import make_pair, swin_flops
from bench.gpu import command as gpu
from bench.gpu.parts import stage_of
from bench.gpu.timing import NOT_MEASURED, Clock, measured
from extract.encoders.swin.trunk import SwinConfig

CPU = torch.device("cpu")


@pytest.fixture
def arguments(tmp_path):
    return argparse.Namespace(
        device="cpu", tiny=True, rehearse=False, batches=[1, 2], budget_s=20.0,
        parts=list(gpu.PARTS), clip=tmp_path / "none.mp4", out=tmp_path / "gpu.json",
    )  # fmt: skip


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", refuse)


@pytest.mark.slow
@pytest.mark.usefixtures("no_compiler")
def test_what_cannot_be_measured_says_why(arguments):
    arguments.rehearse = True
    arguments.parts = ["windows/s", "ends", "steps, windows/s"]
    figures = gpu.run(arguments)
    assert list(figures["parts"]) == arguments.parts
    assert figures["parts"]["windows/s"]["bf16, batch 2"] > 0
    assert "no compiler here" in figures["parts"]["steps, windows/s"]["compiled, batch 1"]
    assert figures["parts"]["ends"]["clip to features, bf16, clips/s"].startswith(NOT_MEASURED)
    assert figures["times_plain"] > 0
    assert "no compiler here" in gpu.table(figures)
    assert json.loads(arguments.out.read_text())["figures"]["parts"] == figures["parts"]


@pytest.mark.slow(25)
@pytest.mark.service
@pytest.mark.usefixtures("no_compiler")
def test_a_rehearsal_makes_every_row_once(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    assert bench_main.main(["gpu", "--rehearse", "--out", str(out)]) == 0
    parts = json.loads(out.read_text())["figures"]["parts"]
    assert list(parts) == list(gpu.ALL)
    rows = {f"{part}: {row}": value for part, of in parts.items() for row, value in of.items()}
    missing = {row for row, value in rows.items() if str(value).startswith(NOT_MEASURED)}
    assert missing == {"steps, windows/s: compiled, batch 1"}
    assert rows["server: concurrency 2"]["clips/s"] > 0
    assert rows["agreement, least cosine: bf16, batch 1"] > 0.999


def test_a_run_that_is_cut_keeps_what_it_had(arguments, monkeypatch):
    def cut(*_):
        yield "one", lambda: 1.0
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "ALL", {"first": cut})
    arguments.parts = ["first"]
    with pytest.raises(KeyboardInterrupt):
        gpu.run(arguments)
    kept = json.loads(arguments.out.read_text())["figures"]
    assert kept["parts"] == {"first": {"one": 1.0}}
    assert kept["share_of_peak"] == NOT_MEASURED


def test_time_that_is_up_leaves_rows_unmeasured_and_the_summary_says_so(arguments):
    arguments.budget_s = 0.0
    figures = gpu.run(arguments)
    rows = [row for part in figures["parts"].values() for row in part.values()]
    assert all(row.startswith(NOT_MEASURED) for row in rows)
    assert figures["share_of_peak"] == figures["times_plain"] == NOT_MEASURED
    assert NOT_MEASURED in gpu.table(figures)


def test_a_row_that_fails_ends_alone():
    def fail():
        raise RuntimeError("out of memory\nand more")

    rows = dict(measured([("a", fail), ("b", lambda: 2)], Clock(CPU, 10.0)))
    assert rows == {"a": f"{NOT_MEASURED}: RuntimeError: out of memory", "b": 2}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_the_exit_status_says_so(capsys):
    with pytest.raises(SystemExit) as stopped:
        bench_main.main(["gpu"])
    assert stopped.value.code == gpu.NO_DEVICE == 3
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow(2)
def test_operations_are_those_that_torch_counts():
    config = SwinConfig((2, 4, 4), 8, (1, 1), (1, 2), (4, 4, 4))  # whole windows, none shifted
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        make_pair(config)["torchvision"](torch.randn(1, 3, 16, 64, 32))
    assert swin_flops(config, (16, 64, 32)) == counter.get_total_flops()


def test_nothing_but_torch_and_safetensors_is_needed_to_start(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] in {"bench", "extract", "model", "server"}:
            monkeypatch.delitem(sys.modules, name)
    for name in ("av", "decord", "faiss", "fastapi", "pydantic", "torch_geometric", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)
    fresh = importlib.import_module("bench.gpu.command")
    assert fresh.add_arguments is not gpu.add_arguments


@pytest.mark.parametrize(
    ("kernel", "stage"),
    [
        ("sm90_xmma_gemm_bf16bf16_bf16f32", "linear layers"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_bias_TNN", "linear layers"),
        ("fmha_cutlassF_bf16_aligned_64x64", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("vectorized_gather_kernel", "moving"),
        ("vectorized_layer_norm_kernel", "norms and GELU"),
        ("aten::mkldnn_convolution", "patch embedding"),
        ("indexSelectLargeIndex", "moving"),
        ("box_attention", "attention"),
        ("gather_norm", "norms and GELU"),
        ("mystery", "rest"),
    ],
)
def test_a_kernel_belongs_to_one_stage(kernel, stage):
    assert stage_of(kernel) == stage


@pytest.mark.parametrize("name", sorted(bench_main.BENCHMARKS))
def test_every_benchmark_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        bench_main.main([name, "--help"])
    assert "--out" in capsys.readouterr().out


@pytest.mark.gpu
def test_the_parts_run_on_the_device(arguments, no_compiler):
    arguments.device = "cuda"
    figures = gpu.run(arguments)
    assert figures["parts"]["steps, windows/s"]["CUDA graph, batch 1"] > 0
