"""Supervised pretraining of the tabletop encoder, from pixels, on footage of its own.

It takes the place of ImageNet and Kinetics for Omnivore: features of objects and actions, not of
the tasks. Stage one, single images: every location of the feature map predicts what it shows and
what is being acted on, from label maps. Stage two, clips: locations go on, and their mean, the
feature, predicts the verb and noun of its action. A sample averages the features of several windows
of one action, because a label holds for the action, not for each window.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extract.contract import FeatureContract
from extract.cpu import one_thread_per_core
from extract.encoders.swin.trunk import SwinConfig, build_trunk
from model.config import FitConfig
from model.distributed import ALONE, World
from model.train.encoder.sharded import sharded_backward
from model.train.encoder.views import ViewConfig, Views, place_targets
from model.train.fit import FitJob, fit, shuffled
from model.train.methods.losses import output_loss
from tabletop.files.footage import Footage, TrimmedAction


@dataclass(frozen=True)
class PretrainConfig:
    """Hyper-parameters of the encoder's training.

    Attributes:
        images: the optimisation on single images.
        clips: the optimisation on windows of actions.
        image_shard: images in a shard, whose gradients one thread computes.
        clip_shard: actions in a shard.
        windows_per_sample: windows averaged in one sample of an action.
        views: data augmentation.
    """

    images: FitConfig
    clips: FitConfig
    image_shard: int = 16
    clip_shard: int = 4
    windows_per_sample: int = 2
    views: ViewConfig = ViewConfig()


class Pretraining(nn.Module):
    """The trunk with a classifier of locations and one of actions.

    Attributes:
        num_labels: "verb" and "noun" -> classes.
        token_frames: kept frames in one temporal token.
    """

    def __init__(self, swin: SwinConfig, num_labels: dict[str, int]) -> None:
        """Builds the trunk of a configuration, and classifiers for these label spaces."""
        super().__init__()
        self.num_labels = num_labels
        self.token_frames = swin.patch[0]
        self.trunk = build_trunk(swin)
        self.place = nn.Linear(swin.dim, 2 * num_labels["noun"] + 1 + num_labels["verb"])
        nn.init.constant_(self.place.bias, -3.0)  # most locations show none of most objects
        self.outputs = nn.ModuleDict({n: nn.Linear(swin.dim, k) for n, k in num_labels.items()})

    def tokens(self, windows: Tensor) -> Tensor:
        """Returns the feature map, (B, t, h, w, C), whose mean is the feature."""
        trunk = self.trunk
        mapped: Tensor = trunk.norm(trunk.features(trunk.pos_drop(trunk.patch_embed(windows))))
        return mapped


@dataclass(frozen=True)
class _Shard:
    """Positions of some samples of a batch, and the seed of their augmentation."""

    samples: list[int]
    seed: int


def pretrain_on_images(
    model: Pretraining,
    footage: Footage,
    contract: FeatureContract,
    *,
    config: PretrainConfig,
    seed: int,
    checkpoint: Path | None = None,
    world: World = ALONE,
) -> None:
    """Trains trunk and locations on one temporal token at a time, each once per epoch.

    Args:
        model: trained in place.
        footage: the training data.
        contract: the encoder's input.
        config: hyper-parameters.
        seed: for all random generators.
        checkpoint: file that epochs are saved to and resumed from.
        world: the ranks that train together.
    """
    views = Views(contract, model.token_frames, config.views)
    places = [(s, i) for s in footage.scenes for i in range(len(footage.label_maps(s)))]

    def loss(shard: _Shard) -> Tensor:
        generator = torch.Generator().manual_seed(shard.seed)
        drawn = [
            views.take(footage.frames(s), footage.label_maps(s), [i], 1, generator)
            for s, i in (places[p] for p in shard.samples)
        ]
        tokens = model.tokens(views.recolour(torch.stack([w for w, _ in drawn]), generator))
        visible, acted_on = _targets(torch.cat([m for _, m in drawn]), tokens, model, config)
        shown = torch.cat([visible, acted_on], dim=-1).float()
        return _place_loss(model.place(tokens)[..., : shown.shape[-1]], shown)

    job = FitJob(config.images, seed, checkpoint, world=world)
    _fit(model, len(places), loss, job, config.image_shard, "images")


def pretrain_on_clips(
    model: Pretraining,
    footage: Footage,
    contract: FeatureContract,
    *,
    config: PretrainConfig,
    seed: int,
    checkpoint: Path | None = None,
    world: World = ALONE,
) -> None:
    """Trains everything on windows of labelled actions; arguments as `pretrain_on_images`."""
    views = Views(contract, model.token_frames, config.views)
    actions = footage.actions
    length = contract.window_frames // contract.frame_step // model.token_frames

    def loss(shard: _Shard) -> Tensor:
        generator = torch.Generator().manual_seed(shard.seed)
        records = [actions[p] for p in shard.samples]
        drawn = [
            views.take(
                footage.frames(r.video_uid),
                footage.label_maps(r.video_uid),
                _begins(r, model.token_frames, length, config, generator),
                length,
                generator,
            )
            for r in records
        ]
        tokens = model.tokens(views.recolour(torch.stack([w for w, _ in drawn]), generator))
        visible, acted_on = _targets(torch.cat([m for _, m in drawn]), tokens, model, config)
        verb, noun = (torch.tensor([getattr(r, n) for r in records]) for n in ("verb", "noun"))
        doing = _doing(acted_on, verb, noun, model.num_labels["verb"], config)
        shown = torch.cat([visible, acted_on, doing], dim=-1).float()
        features = tokens.mean(dim=(1, 2, 3)).unflatten(0, (len(records), -1)).mean(dim=1)
        labels = {"verb": verb.unsqueeze(1), "noun": noun.unsqueeze(1)}
        losses = [
            output_loss(
                output(features).unsqueeze(1), labels[name], smoothing=config.clips.label_smoothing
            )
            for name, output in model.outputs.items()
        ]
        return _place_loss(model.place(tokens), shown) + torch.stack(losses).sum()

    job = FitJob(config.clips, seed, checkpoint, world=world)
    _fit(model, len(actions), loss, job, config.clip_shard, "clips")


def _begins(
    record: TrimmedAction,
    token: int,
    length: int,
    config: PretrainConfig,
    generator: torch.Generator,
) -> list[int]:
    """Draws one window from each equal part of the action; returns first tokens."""
    low = record.start_frame / token
    high = max(low, record.end_frame / token - length)
    count = config.windows_per_sample
    part = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    begins: list[int] = (low + part * (high - low)).long().tolist()
    return begins


def _targets(
    maps: Tensor, tokens: Tensor, model: Pretraining, config: PretrainConfig
) -> tuple[Tensor, Tensor]:
    return place_targets(
        maps,
        model.num_labels["noun"],
        grid=(tokens.shape[2], tokens.shape[3]),
        least_share=config.views.least_share,
    )


def _doing(
    acted_on: Tensor, verb: Tensor, noun: Tensor, num_verbs: int, config: PretrainConfig
) -> Tensor:
    """Returns the action's verb at the locations where its noun is being acted on."""
    verb, noun = (x.repeat_interleave(config.windows_per_sample) for x in (verb, noun))
    index = noun.view(-1, 1, 1, 1, 1).expand(*acted_on.shape[:-1], 1)
    verbs = F.one_hot(verb, num_verbs).bool().view(len(verb), 1, 1, 1, -1)
    return verbs & acted_on.gather(-1, index)


def _place_loss(logits: Tensor, shown: Tensor) -> Tensor:
    """Returns the binary cross entropy, summed over classes and averaged over locations."""
    return F.binary_cross_entropy_with_logits(logits, shown) * shown.shape[-1]


def _fit(
    model: Pretraining,
    count: int,
    loss: Callable[[_Shard], Tensor],
    job: FitJob,
    shard_size: int,
    label: str,
) -> None:
    batch_size = job.config.batch_size

    def batches(generator: torch.Generator) -> Iterator[list[_Shard]]:
        for which in shuffled(count, batch_size, generator):
            parts = which.split(shard_size)
            seeds = torch.randint(2**40, (len(parts),), generator=generator).tolist()
            yield [_Shard(p.tolist(), s) for p, s in zip(parts, seeds, strict=True)]

    with one_thread_per_core() as pool:
        fit(
            model,
            batches,
            sharded_backward(model, loss, pool, job.world),
            job,
            steps_per_epoch=-(-count // batch_size),
            label=label,
            max_norm=1.0,
        )
