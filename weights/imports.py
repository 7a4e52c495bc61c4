"""Quick start of a process: large libraries without the parts of them that nothing here calls."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Gives imports within it a stand-in for each of these modules.

    torchvision and torch_geometric import torch's compiler (with SymPy) and pandas for functions
    that are called seldom or never, which takes longer than torch itself. A function of a stand-in
    imports its module when it is called. A module that is there already stays what it is.
    """
    given = {name: _StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(given)
    try:
        yield
    finally:
        for name in given:
            del sys.modules[name]


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: getattr(import_module(self.__name__), name)(*args, **kwargs)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pauses the collector, which goes through all modules again and again as they are imported.

    What was made within is never looked at again: modules live as long as the process.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
