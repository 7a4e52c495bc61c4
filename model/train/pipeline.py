"""Parts of a method, each trained once: what a trainer makes, kept by a ledger."""

from collections.abc import Sequence

from torch import nn

from model.nn.skill_set import Backbone
from model.train.ledger import Ledger, stage_key
from model.train.methods.trainer import ALL_TASKS, Tensors, Trainer, Training, needs_of


class TrainingPipeline:
    """Trains parts and whatever they need, unless that was done before."""

    def __init__(self, trainer: Trainer, ledger: Ledger, upstream: str) -> None:
        """Sets the bench up.

        Args:
            trainer: carries trainings out.
            ledger: keeps them.
            upstream: key of the samples; another one makes everything again.
        """
        self.trainer, self.ledger, self._upstream = trainer, ledger, upstream
        self._made: dict[Training, Tensors] = {}
        self._backbones: dict[Training, Backbone] = {}

    def key(self, part: Training) -> str:
        """Returns the hash of everything a part depends on."""
        below = [self.key(need) for need in self.trainer.needs(part)]
        trainer = self.trainer
        return stage_key(
            self._upstream,
            part,
            below,
            trainer.config(part),
            trainer.fit_config(part),
            trainer.seed,
        )

    def tensors(self, part: Training) -> Tensors:
        """Returns a part's tensors; trains it, and the parts it needs, if that was not done."""
        if part not in self._made:
            below = {need: self.tensors(need) for need in self.trainer.needs(part)}
            key = self.key(part)
            checkpoint = self.ledger.checkpoint(part.name, key)
            self._made[part] = self.ledger.tensors(
                part.name, key, lambda: self.trainer.train(part, below, checkpoint=checkpoint)
            )
        return self._made[part]

    def models(self, parts: Sequence[Training]) -> dict[str, nn.Module]:
        """Returns task -> model; models with the same frozen backbone share it."""
        found: dict[str, nn.Module] = {}
        for part in parts:
            self.tensors(part)
            found |= self.trainer.models(part, self._made, self._backbones)
        return found


def plan(parts: Sequence[Training], tasks: tuple[str, ...] = ALL_TASKS) -> list[Training]:
    """Returns the parts and everything they need, each once, in an order that can be made."""
    ordered: dict[Training, None] = {}
    for part in parts:
        for need in needs_of(part, tasks):
            ordered |= dict.fromkeys(plan([need], tasks))
        ordered[part] = None
    return list(ordered)
