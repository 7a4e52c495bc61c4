"""Video trunk benchmark against torchvision's, in inference and eager mode.

The whole tabletop encoder, and every stage of Omnivore's Swin-L at full size as one block with
shifted windows and one without. Before timing, outputs are compared.
"""

import argparse
import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models.video.swin_transformer import SwinTransformer3d

from bench.duel import Call, duel, times_faster
from extract.encoders.swin.trunk import OMNIVORE_SWINL, TABLETOP_SWIN, SwinConfig, build_trunk
from extract.encoders.swin.window_boxes import box_kinds
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.compiled import FixedBatches
from extract.runtime.precision import LEAST_COSINE, least_cosine

GOAL = 2.0
TOLERANCE = 1e-5
TABLETOP_PIXELS = (3, 16, 96, 128)
OMNIVORE_PIXELS = (3, 32, 224, 224)
OMNIVORE_GRID = (16, 56, 56)
"""Tokens of 32 frames of 224 x 224 pixels; a stage halves height and width."""

PARTS = {
    "linear layers": ("addmm", "addmm_", "mm", "mkldnn::_linear_pointwise"),
    "attention": ("bmm", "_softmax", "_scaled_dot_product_flash_attention_for_cpu"),
    "moving": ("copy_", "cat", "index_select", "index"),
    "patch embedding": ("mkldnn_convolution",),
    "norms and GELU": ("native_layer_norm", "gelu", "gelu_"),
}
"""Operators that own the time of a part; what is left is `rest`."""

Pair = dict[str, nn.Module]
Ways = dict[str, Call]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 14], help="windows; 14 are an 8 s clip"
    )
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--stage-rounds", type=int, default=5, help="of Swin-L; 0 leaves it out")
    parser.add_argument("--threads", type=int, default=1, help="of both; default: %(default)s")
    parser.add_argument("--whole", action="store_true", help="a window through Swin-L, all of it")
    parser.add_argument("--compiled", action="store_true", help="ours compiled too: takes minutes")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the numbers, then measures.

    Raises:
        ArithmeticError: the two disagree.
    """
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows: dict[str, dict[str, Any]] = {}
    pair = make_pair(TABLETOP_SWIN)
    for batch in arguments.batches:
        x = torch.randn(batch, *TABLETOP_PIXELS)
        more = other_ways(pair["ours"], x, compiled=arguments.compiled)
        rows[f"tabletop, batch {batch}"] = _row(pair, x, arguments.rounds, arguments.threads, more)
    for stage in range(len(OMNIVORE_SWINL.depths) if arguments.stage_rounds else 0):
        blocks, tokens = swinl_stage(stage)
        rows[f"Swin-L, stage {stage + 1}"] = _row(
            blocks, tokens, arguments.stage_rounds, arguments.threads
        )
    if arguments.whole:
        whole = make_pair(OMNIVORE_SWINL)
        window = torch.randn(1, *OMNIVORE_PIXELS)
        more = other_ways(whole["ours"], window, compiled=False)
        rows["Swin-L, one window"] = _row(whole, window, 2, arguments.threads, more)
        del whole, more
    by = "cpu_ms" if arguments.threads == 1 else "wall_ms"
    return {
        "threads": arguments.threads,
        "rows": rows,
        "swinl_blocks_ms": swinl_blocks(rows, by) if arguments.stage_rounds else None,
        "goal": GOAL,
        "parts_ms": {way: parts(trunk, x) for way, trunk in pair.items()},
        "parts_batch": arguments.batches[-1],
        "gpu": "not measured",
    }


def torchvisions_trunk(config: SwinConfig) -> SwinTransformer3d:
    """Returns torchvision's own class of that shape, without a classifier."""
    trunk = SwinTransformer3d(
        patch_size=list(config.patch),
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=list(config.window),
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    )
    trunk.head = nn.Identity()
    return trunk.eval()


def torchvisions_copy(encoder: TorchEncoder) -> SwinTransformer3d:
    """Returns torchvision's own class with the weights of a video Swin."""
    assert isinstance(encoder.config, SwinConfig)
    with _as_served():
        trunk = torchvisions_trunk(encoder.config)
        trunk.load_state_dict(encoder.state_dict())
    return trunk


def make_pair(config: SwinConfig) -> Pair:
    """Returns our trunk and torchvision's with the same weights, all of them random."""
    with _as_served():
        theirs = torchvisions_trunk(config)
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # no bias stays at zero
        ours = build_trunk(config)
        ours.load_state_dict(theirs.state_dict())
    return {"ours": ours.eval(), "torchvision": theirs.eval()}


@contextmanager
def _as_served() -> Iterator[None]:
    """Weights as ordinary tensors, like a server's.

    Of those made in inference mode no change can be seen, so nothing made of them is kept.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


def swin_flops(config: SwinConfig, pixels: tuple[int, int, int]) -> int:
    """Returns the operations of our trunk on one window: products and convolution, no masked ones.

    Pixels are frames, height and width, of whole patches and whole mergings.
    """
    grid = tuple(n // p for n, p in zip(pixels, config.patch, strict=True))
    flops, width = 2 * math.prod(grid) * config.width * 3 * math.prod(config.patch), config.width
    for stage, depth in enumerate(config.depths):
        if stage:
            grid, width = (grid[0], grid[1] // 2, grid[2] // 2), 2 * width
            flops += 2 * math.prod(grid) * 2 * width * width
        for block in range(depth):
            shift = tuple(w // 2 if block % 2 else 0 for w in config.window)
            kinds = box_kinds(grid, config.window, shift)
            flops += sum(8 * k.tokens.size * width**2 for k in kinds)  # qkv and proj
            flops += sum(4 * k.tokens.size * len(k.places) * width for k in kinds)
            flops += 16 * math.prod(grid) * width**2
    return flops


def swinl_stage(stage: int) -> tuple[Pair, Tensor]:
    """Returns two blocks of a stage both ways, and tokens of one window, (1, T, H, W, C)."""
    full = OMNIVORE_SWINL
    width = full.width * 2**stage
    alone = SwinConfig(full.patch, width, (2,), (full.heads[stage],), full.window)
    t, h, w = OMNIVORE_GRID
    tokens = torch.randn(1, t, h >> stage, w >> stage, width)
    return {way: trunk.get_submodule("features") for way, trunk in make_pair(alone).items()}, tokens


def swinl_blocks(rows: Mapping[str, dict[str, Any]], by: str) -> dict[str, float]:
    """Returns what all 24 blocks take for a window: the stages' medians, as often as they occur.

    Patch embedding and mergings, 2 % of the operations, are not in it.
    """
    pairs = [depth // 2 for depth in OMNIVORE_SWINL.depths]
    times = [rows[f"Swin-L, stage {stage + 1}"]["times"] for stage in range(len(pairs))]
    return {
        way: round(sum(n * of[way][by] for n, of in zip(pairs, times, strict=True)), 1)
        for way in ("ours", "torchvision")
    }


def other_ways(trunk: nn.Module, x: Tensor, *, compiled: bool) -> Ways:
    """Returns our trunk in bf16 and, if requested and possible, compiled.

    Raises:
        ArithmeticError: bf16 turns a feature vector away from fp32's.
    """
    with _as_served():
        reduced = copy.deepcopy(trunk).bfloat16()
    ways: Ways = {"ours, bf16": lambda: reduced(x.bfloat16())}
    cosine = least_cosine(reduced(x.bfloat16()).float(), trunk(x))
    if not cosine >= LEAST_COSINE:
        raise ArithmeticError(f"expected features as in fp32, bf16 has cosine {cosine:.5f}")
    if compiled:
        batches = FixedBatches(trunk, tuple(x.shape[1:]), execution="compiled", sizes=(len(x),))
        if batches.fallback is None:
            ways["ours, compiled"] = lambda: batches(x)
    return ways


def _row(
    pair: Pair, x: Tensor, rounds: int, threads: int, more: Ways | None = None
) -> dict[str, Any]:
    difference = compare(pair, x)
    ways = {way: partial(module, x) for way, module in pair.items()} | (more or {})
    times = duel(ways, rounds=rounds, label="x".join(map(str, x.shape)))
    return {
        "input": list(x.shape),
        "greatest_difference": float(f"{difference:.2g}"),
        "times": times,
        "ratio": times_faster(times, "ours", "torchvision", threads=threads),
    }


def compare(pair: Pair, x: Tensor) -> float:
    """Returns the greatest difference of the outputs, relative to the greatest value.

    Raises:
        ArithmeticError: it is not small.
    """
    ours, theirs = (pair[way](x) for way in ("ours", "torchvision"))
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"expected the same numbers, they differ by {difference:.1e}")
    return difference


def parts(trunk: nn.Module, x: Tensor, *, passes: int = 10) -> dict[str, float]:
    """Returns milliseconds of a pass in each of `PARTS`, as the profiler attributes them."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(passes):
            trunk(x)
    spent = {
        event.key.removeprefix("aten::"): event.self_cpu_time_total / 1000 / passes
        for event in recorded.key_averages()
    }
    known = {part: sum(spent.pop(op, 0.0) for op in ops) for part, ops in PARTS.items()}
    return {part: round(ms, 2) for part, ms in {**known, "rest": sum(spent.values())}.items()}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    by = "cpu_ms" if figures["threads"] == 1 else "wall_ms"
    lines = [f"{'medians, ms':<24}{'ours':>10}{'torchvision':>13}"]
    for name, row in figures["rows"].items():
        cells = _cells({way: of[by] for way, of in row["times"].items()})
        lines.append(f"{name:<24}{cells}   {row['ratio']:.2f} x")
        for way in row["times"].keys() - {"ours", "torchvision"}:
            ratio = row["times"]["torchvision"][by] / row["times"][way][by]
            lines.append(f"  {way:<22}{row['times'][way][by]:>10.1f}{'':>13}   {ratio:.2f} x")
    if blocks := figures["swinl_blocks_ms"]:
        ratio = blocks["torchvision"] / blocks["ours"]
        lines.append(f"{'Swin-L, 24 blocks (sum)':<24}{_cells(blocks)}   {ratio:.2f} x")
    lines.append(f"where it goes, tabletop, batch {figures['parts_batch']}")
    spent: Mapping[str, Mapping[str, float]] = figures["parts_ms"]
    for part in spent["ours"]:
        lines.append(f"  {part:<22}{_cells({way: of[part] for way, of in spent.items()})}")
    greatest = max(row["greatest_difference"] for row in figures["rows"].values())
    last = (
        f"greatest difference: {greatest:.1e}; goal >= {figures['goal']:.0f} x; GPU: not measured"
    )
    return "\n".join([*lines, last])


def _cells(of: Mapping[str, float]) -> str:
    return f"{of['ours']:>10.1f}{of['torchvision']:>13.1f}"
