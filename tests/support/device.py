"""Stand-in for a GPU on a CPU: counts what makes the host wait for a device.

Within `FakeDevice`, tensors that were moved to `DEVICE` say that they are there. Reading a value of
one, or copying it to the host, is counted; so is a copy to it from memory that is not pinned. As on
a real device, what is there does not mix with what is not.
"""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)

_READS = {"item", "tolist", "numpy", "cpu", "__int__", "__float__", "__bool__", "__index__"}
_WAITS = {"nonzero", "masked_select", "unique", "repeat_interleave", "equal", "allclose"}


class _OnDevice(Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl


class FakeDevice(TorchFunctionMode):
    """Mode in which `DEVICE` is there.

    Attributes:
        waits: name of a function -> times that the host waited in it.
    """

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Calls a function of torch as if some tensors were on the device."""
        kwargs, name = dict(kwargs or {}), func.__name__
        tensors = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, Tensor)]
        there = [t for t in tensors if isinstance(t, _OnDevice)]
        if name == "__get__" and there:
            named = getattr(func.__self__, "__name__", "")
            if named in ("device", "is_cuda", "is_cpu"):
                return {"device": DEVICE, "is_cuda": True, "is_cpu": False}[named]
        if name == "pin_memory":
            args[0].is_staged = True
            return args[0]
        if name in ("to", "cpu"):
            return self._moved(name, func, args, kwargs)
        if name in _READS | _WAITS and there:
            self.waits[name] += 1
        if name == "__getitem__" and there and any(t.dtype == torch.bool for t in tensors[1:]):
            self.waits["mask"] += 1
        strangers = [t for t in tensors if not isinstance(t, _OnDevice) and t.ndim]
        if name == "__getitem__" and there and strangers:
            self.waits["blocking copy"] += 1
            return _placed(func(*args, **kwargs))
        assert not (there and strangers), f"{name} mixes tensors of the device with others"
        made_there = kwargs.get("device") == DEVICE
        if made_there:
            kwargs["device"] = "cpu"
        found = func(*args, **kwargs)
        return _placed(found) if there or made_there else found

    def _moved(self, name, func, args, kwargs):
        own, rest = args[0], [*args[1:], *kwargs.values()]
        like = next((a for a in rest if isinstance(a, Tensor)), None)
        device = like.device if like is not None else next(_devices(rest), None)
        to_device = (isinstance(like, _OnDevice) or device == DEVICE) and name == "to"
        to_host = name == "cpu" or (device is not None and not to_device)
        if isinstance(own, _OnDevice) and to_host:
            self.waits[name] += 1
            return own.as_subclass(Tensor).clone()
        is_waiting = not (kwargs.get("non_blocking") and getattr(own, "is_staged", False))
        if to_device and not isinstance(own, _OnDevice) and is_waiting:
            self.waits["blocking copy"] += 1
        dtype = like.dtype if like is not None else _dtype(rest)
        plain = own.as_subclass(Tensor)
        changed = plain if dtype is None else plain.to(dtype)
        return _placed(changed.clone()) if to_device or isinstance(own, _OnDevice) else changed


def _devices(values) -> Iterator[torch.device]:
    for value in values:
        if isinstance(value, torch.device | str):
            yield torch.device(value)


def _dtype(values):
    return next((v for v in values if isinstance(v, torch.dtype)), None)


def _placed(value):
    def place(x):
        return x.as_subclass(_OnDevice) if type(x) is Tensor else x

    return tree_map(place, value) if not isinstance(value, Tensor) else place(value)


def move_module(module: torch.nn.Module) -> None:
    """Puts a module's weights on `DEVICE`; call it within a `FakeDevice`."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = tensor.detach().as_subclass(_OnDevice)
