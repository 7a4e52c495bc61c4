"""Teaching: a skill from a few labels and features, with a report of how far to trust it."""

from model.train.new_skill.teaching.comparing import compare
from model.train.new_skill.teaching.suggest import Suggestion, suggest
from model.train.new_skill.teaching.teach import Taught, teach

__all__ = ["Suggestion", "Taught", "compare", "suggest", "teach"]
