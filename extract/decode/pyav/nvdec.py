"""The video decoder of an NVIDIA GPU, for PyAV.

Frames are decoded there and come back to the CPU, where the same code as ever resizes them.
"""

import ctypes

from av.codec.hwaccel import HWAccel, hwdevices_available

from extract.errors import DecoderUnavailable

_LIBRARIES = {
    "libcuda.so.1": "no NVIDIA driver on this machine",
    "libnvcuvid.so.1": (
        "the driver lacks its video part; a container gets it with "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    ),
}


def nvdec() -> HWAccel:
    """Returns what makes PyAV decode on the GPU; a stream it cannot decode stays on the CPU.

    Raises:
        DecoderUnavailable: this machine cannot; says what is missing.
    """
    if "cuda" not in hwdevices_available():
        raise DecoderUnavailable(
            "reader nvdec: this build of av lacks CUDA; use the wheel for Linux on x86-64, "
            "or reader auto"
        )
    for library, meaning in _LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise DecoderUnavailable(
                f"reader nvdec: {library} is missing ({meaning}); use reader auto"
            ) from error
    return HWAccel("cuda", allow_software_fallback=True)
