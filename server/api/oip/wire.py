"""Wire format of tensors: JSON, with the binary tensor data extension in both directions.

A binary body is the JSON, whose length a header gives, followed by each binary tensor's bytes. A
tensor of strings is each string's length as a little-endian uint32, followed by its bytes.
"""

import asyncio
import base64
import binascii
import math
from pathlib import Path
from typing import Any

import numpy as np

from server.api.negotiation import parse_length
from server.api.oip.schemas import InferRequest, InputTensor, OutputTensor
from server.api.uploads.bodies import BodyReader
from server.api.uploads.spool import SpoolFile, storing
from server.errors import BodyTooLarge, FieldInvalid, MalformedRequest
from server.schemas.json_bounds import JsonBounds
from server.schemas.options import MAX_INFERENCE_JSON_BYTES, ON_LOOP_BYTES, parse_options

HEADER_LENGTH = "Inference-Header-Content-Length"
LENGTH_BYTES = 4

Array = np.ndarray


class InferSink(BodyReader):
    """Body reader of an inference: its JSON goes to memory, the bytes after it to a file.

    The first four bytes after the JSON stay in memory too: of a clip they are its length, so that
    the file is the clip.
    """

    def __init__(self, file: SpoolFile, header_length: str | None, *, max_values: int) -> None:
        """Prepares to read one body.

        Args:
            file: takes the bytes after the JSON.
            header_length: value of the header; None: the body is JSON only.
            max_values: most values in the JSON.

        Raises:
            MalformedRequest: the header is no number.
            BodyTooLarge: more JSON than the limit.
        """
        length = None if header_length is None else parse_length(header_length)
        if header_length is not None and length is None:
            raise MalformedRequest(f"expected a number in {HEADER_LENGTH}")
        self._file = file
        self._left = math.inf if length is None else length
        self._json, self._lead = bytearray(), bytearray()
        self._max_values, self._bounds = max_values, JsonBounds(max_values=max_values)
        if self._left < math.inf:
            self._check(self._left)

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            BodyTooLarge: more JSON than the limit.
            FieldInvalid: the JSON has more values than its bounds.
        """
        rest = memoryview(chunk)
        if self._left:
            taken = min(self._left, len(rest))
            self._check(len(self._json) + taken)
            self._bounds.add(rest[: int(taken)])
            self._json += rest[: int(taken)]
            self._left -= taken
            rest = rest[int(taken) :]
        missing = LENGTH_BYTES - len(self._lead)
        self._lead += rest[:missing]
        if len(rest) > missing:
            self._file.add(bytes(rest[missing:]))

    def finish(self) -> None:
        """Marks the end of the body.

        Raises:
            MalformedRequest: the JSON is shorter than the header says.
        """
        if 0 < self._left < math.inf:
            raise MalformedRequest(f"the body ends before {HEADER_LENGTH} is reached")

    @staticmethod
    def _check(size: float) -> None:
        if size > MAX_INFERENCE_JSON_BYTES:
            raise BodyTooLarge(f"the JSON is larger than {MAX_INFERENCE_JSON_BYTES} bytes")

    async def request(self) -> InferRequest:
        """Returns the validated JSON, and forgets the text.

        Raises:
            MalformedRequest: it is not JSON.
            FieldInvalid: it is no inference request.
        """
        # As bytes, of which pydantic makes no copy of its own.
        text = bytes(self._json)
        self._json = bytearray()
        bounds = JsonBounds(max_values=self._max_values)
        if len(text) <= ON_LOOP_BYTES:
            return parse_options(text, InferRequest, bounds=bounds)
        return await asyncio.to_thread(parse_options, text, InferRequest, bounds=bounds)

    def binary(self, tensor: InputTensor, size_bytes: int) -> bytes | None:
        """Returns the first four bytes of the tensor's binary data; None if it is in the JSON.

        Raises:
            FieldInvalid: its size is wrong, or the data is in both places or neither.
        """
        declared = tensor.parameters.get("binary_data_size")
        came = len(self._lead) + size_bytes
        if (declared is None) == (tensor.data is None):
            raise FieldInvalid(("/inputs/0/data", "send the data in the JSON or after it"))
        if (declared or 0) != came:
            where = "/inputs/0/parameters/binary_data_size"
            raise FieldInvalid((where, f"{came} bytes came after the JSON"))
        return None if declared is None else bytes(self._lead)


def read_matrix(tensor: InputTensor, lead: bytes | None, path: Path) -> Array:
    """Returns the features sent, (L, D) float32.

    Args:
        tensor: their shape, and the data if it is in the JSON.
        lead: first bytes after the JSON.
        path: file of the other bytes.

    Raises:
        FieldInvalid: the data does not match its shape or type.
    """
    if tensor.datatype != "FP32" or len(tensor.shape) != 2:
        raise FieldInvalid(("/inputs/0", "expected `features` as FP32 of shape [L, D]"))
    size = math.prod(tensor.shape)
    if lead is not None and (came := len(lead) + path.stat().st_size) != size * 4:
        raise FieldInvalid(("/inputs/0/shape", f"{came / 4:g} numbers came, not {size}"))
    try:
        if lead is not None:
            values = np.frombuffer(lead + path.read_bytes(), "<f4").copy()
        else:
            with np.errstate(over="ignore"):  # infinities are refused later
                values = np.asarray(tensor.data, np.float64).astype(np.float32).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise FieldInvalid(("/inputs/0/data", "expected numbers in rows of one length")) from error
    if values.size != size:
        raise FieldInvalid(("/inputs/0/shape", f"{values.size} numbers came, not {size}"))
    return values.reshape(tensor.shape)


def read_clip(tensor: InputTensor, lead: bytes | None, path: Path) -> Path:
    """Returns the path of the clip, after writing a clip sent as base64 to it.

    Args:
        tensor: the clip as base64, if it is in the JSON.
        lead: its length in bytes, as sent.
        path: the clip, if it follows the JSON.

    Raises:
        FieldInvalid: it is not one string, or not of the declared length.
        StorageUnavailable: the file cannot be written.
    """
    if tensor.datatype != "BYTES" or math.prod(tensor.shape) != 1:
        raise FieldInvalid(("/inputs/0", "expected `video` as BYTES of shape [1]"))
    if lead is not None:
        if int.from_bytes(lead, "little") != path.stat().st_size or len(lead) != LENGTH_BYTES:
            raise FieldInvalid(("/inputs/0", "expected the clip's length, and then the clip"))
        return path
    text: Any = tensor.data
    while isinstance(text, list) and len(text) == 1:
        text = text[0]
    try:
        clip = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise FieldInvalid(("/inputs/0/data", "expected one clip as base64")) from error
    with storing():
        path.write_bytes(clip)
    return path


def encode_tensor(
    name: str, datatype: str, array: Array, *, is_binary: bool
) -> tuple[OutputTensor, bytes]:
    """Returns an output tensor, and its binary data if that follows the JSON."""
    data = _to_bytes(array) if is_binary else b""
    tensor = OutputTensor(
        name=name,
        datatype=datatype,
        shape=list(array.shape),
        parameters={"binary_data_size": len(data)} if is_binary else None,
        data=None if is_binary else array.reshape(-1).tolist(),
    )
    return tensor, data


def _to_bytes(array: Array) -> bytes:
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in array.reshape(-1).tolist()]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)
