"""Small valid values, made from a seed."""

from dataclasses import replace

import torch

from extract.contract import TABLETOP as TABLETOP_CONTRACT
from extract.encoders.load import encoder_spec
from extract.encoders.swin.trunk import SwinConfig, build_trunk
from extract.encoders.torch_encoder import TorchEncoder
from extract.features.track import EncoderId, FeatureTrack
from extract.runtime.onnx_export import export_encoder
from extract.windows import cut_windows
from model.config import ForecasterConfig, ModelConfig
from model.data.records import ActionRecord, ChangeRecord
from model.data.samples import Samples, Tracks
from model.data.task_samples import (
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import forecaster_entry
from model.nn.backpack import Backpack
from model.nn.multitask import MultiTaskModel
from model.nn.skill import Skill
from model.nn.skill_set import Backbone, SkillSet
from model.tasks import TASKS
from weights.bundle import Bundle, fingerprint
from weights.bundle.manifest import Manifest

D_IN = 6
NUM_LABELS = {"verb": 5, "noun": 4, "state": 2, "keyframe": 1}

TINY = ModelConfig(
    input_size=D_IN,
    hidden_size=8,
    interaction_layers=2,
    interaction="authors",
    num_neighbours=3,
    pooling_dropout=0.1,
    skill_dropout=0.1,
)


def make_track(
    num_frames: int = 240, *, seed: int = 0, video_id: str = "clip", encoder=None, width: int = D_IN
):
    generator = torch.Generator().manual_seed(seed)
    starts = torch.tensor(cut_windows(num_frames), dtype=torch.float64)
    return FeatureTrack(
        features=torch.randn(len(starts), width, generator=generator),
        start_s=starts / 30,
        end_s=torch.clamp(starts + 32, max=num_frames) / 30,
        fps=30.0,
        video_id=video_id,
        encoder=encoder or EncoderId("fake", "f" * 64),
        num_frames=num_frames,
    )


def make_backpack(tasks, *, rows: int = 7, width: int = 8, seed: int = 1, search="torch"):
    generator = torch.Generator().manual_seed(seed)
    return Backpack(
        {task: torch.randn(rows, width, generator=generator) for task in tasks},
        {name: torch.arange(rows) % NUM_LABELS[name] for name in ("verb", "noun")},
        count=torch.arange(1, rows + 1),
        search=search,
    )


def make_skills(config: ModelConfig = TINY, *, seed: int = 2) -> SkillSet:
    torch.manual_seed(seed)
    model = MultiTaskModel(config, list(TASKS.values()), NUM_LABELS)
    skills = {
        name: (Skill(config, spec, [q for q in TASKS if q != name], NUM_LABELS), "shared")
        for name, spec in TASKS.items()
    }
    backbone = Backbone(model, make_backpack(TASKS, width=config.hidden_size))
    return SkillSet({"shared": backbone}, skills).eval().requires_grad_(False)


def make_inputs(graphs: int = 2, *, seed: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    nodes = {"ar": 9, "lta": 2, "oscc": 4, "pnr": 16}
    return {t: torch.randn(graphs, n, 3, D_IN, generator=generator) for t, n in nodes.items()}


def _tiny_swin() -> TorchEncoder:
    swin = SwinConfig(patch=(4, 8, 8), width=3, depths=(1, 1), heads=(1, 2), window=(4, 3, 4))
    contract = replace(TABLETOP_CONTRACT, short_side=24, crop_height=24, crop_width=32)
    return TorchEncoder("tiny", swin, contract, build_trunk(swin))


def make_bundle(config: ModelConfig | None = None, encoder: TorchEncoder | None = None) -> Bundle:
    """A bundle with an encoder, a tiny Swin, and random skills: everything a server loads."""
    torch.manual_seed(0)
    encoder = encoder or _tiny_swin()
    config = config or replace(TINY, input_size=encoder.dim)
    skills = make_skills(config)
    backbone = skills.models["shared"]
    tensors = dict(backbone.state_dict())
    manifest = Manifest(
        name="tiny",
        version="1",
        encoder=encoder_spec(encoder),
        model=config.to_dict(),
        backbones={
            "shared": {
                "tasks": [spec.to_dict() for spec in TASKS.values()],
                "fingerprint": fingerprint(tensors),
                "backpack_fingerprint": fingerprint(tensors),
            }
        },
        skills={
            name: {
                "spec": skill.spec.to_dict(),
                "backbone": "shared",
                "perspectives": list(skill.perspectives),
            }
            for name, skill in skills.skills.items()
        },
        label_spaces={
            space: [f"{space}{i}" for i in range(NUM_LABELS[space])] for space in ("verb", "noun")
        },
        calibration={
            "ar.verb": {"temperature": 2.0, "ece_before": 0.2, "ece_after": 0.1},
        },
    )
    return Bundle(
        manifest,
        encoder=encoder.state_dict(),
        backbones={"shared": tensors},
        skills={name: dict(skill.state_dict()) for name, skill in skills.skills.items()},
        backpack=skills.backpacks["shared"].to_tensors("shared"),
        card="# tiny\n",
        encoder_onnx=export_encoder(encoder) if encoder.name == "tiny" else b"",
    )


def make_samples(videos: int = 2, *, actions: int = 25, seed: int = 4) -> dict[str, Samples]:
    """Samples of all four tasks over a few random videos."""
    names = [f"v{seed}{v}" for v in range(videos)]
    frames = 150 * actions + 300
    tracks = Tracks.join(
        [make_track(frames, seed=seed + i, video_id=n) for i, n in enumerate(names)]
    )
    records = [
        ActionRecord(n, f"c{n}", i, 150 * i, 150 * i + 240, (i + v) % 5, (i * 3 + v) % 4)
        for v, n in enumerate(names)
        for i in range(actions)
    ]
    changes = [
        ChangeRecord(
            f"{n}-{i}", n, 150 * i, 150 * i + 240, 5.0 * i, 5.0 * i + 8, i % 2 == 0,
            150 * i + 60 + 7 * i % 150 if i % 2 == 0 else None,
        )
        for n in names
        for i in range(actions)
    ]  # fmt: skip
    return {
        "ar": action_samples(records, tracks),
        "lta": anticipation_samples(records, tracks),
        "oscc": change_samples(changes, tracks),
        "pnr": keyframe_samples(changes, tracks),
    }


def with_forecaster(bundle: Bundle, *, seed: int = 3, **changes) -> Bundle:
    """The bundle with an untrained sequence forecaster over seven pairs."""
    torch.manual_seed(seed)
    pairs = torch.tensor([[0, 1], [0, 3], [1, 0], [2, 2], [3, 1], [4, 0], [4, 3]])
    config = ForecasterConfig(embedding_size=4, hidden_size=6)
    model = SequenceForecaster(config, pairs, NUM_LABELS)
    model_config = {**bundle.manifest.model, **changes}
    manifest = replace(bundle.manifest, forecaster=forecaster_entry(model), model=model_config)
    return replace(bundle, manifest=manifest, forecaster=dict(model.state_dict()))
