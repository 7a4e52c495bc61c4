"""Open Inference Protocol (v2) endpoints, for clients of that standard."""

import asyncio

from fastapi import APIRouter, Request, Response

from server import __version__
from server import problem_types as kinds
from server.api.clip_request import cancel_on_disconnect, engine_of, spool_of, timeout_of
from server.api.oip import schemas
from server.api.oip.inference import Inference, most_values
from server.api.oip.tensors import outputs_of
from server.api.oip.wire import HEADER_LENGTH, InferSink
from server.api.openapi import FOR_CLIPS, INFER_BODY, JSON, answer, failures
from server.api.uploads.spool import SpoolFile
from server.errors import NotFound
from server.schemas.examples import INFERENCE, OIP_MODEL, OIP_MODEL_READY, OIP_SERVER

router = APIRouter(prefix="/v2", tags=["inference protocol"])

FOR_MODELS = (kinds.NOT_FOUND, kinds.INVALID_FIELD, kinds.STARTING)
EXTENSIONS = ["binary_tensor_data"]


@router.get("", operation_id="oip_server_metadata", responses={**answer(OIP_SERVER), **failures()})
async def get_server() -> schemas.ServerMetadata:
    """Returns the name, version and extensions of the server."""
    return schemas.ServerMetadata(name="egopack", version=__version__, extensions=EXTENSIONS)


@router.get(
    "/health/live",
    operation_id="oip_server_live",
    responses={**answer({"live": True}), **failures()},
)
async def get_live() -> schemas.Live:
    """Liveness probe: the process responds."""
    return schemas.Live(live=True)


@router.get(
    "/health/ready",
    operation_id="oip_server_ready",
    responses={
        **answer({"ready": True}),
        **failures(kinds.STARTING, kinds.DRAINING, kinds.UNHEALTHY, kinds.NO_STORAGE),
    },
)
async def get_ready(request: Request) -> schemas.Ready:
    """Readiness probe: the server accepts clips."""
    engine_of(request).life.require_ready()
    return schemas.Ready(ready=True)


@router.get(
    "/models/{name}",
    operation_id="oip_model_metadata",
    responses={**answer(OIP_MODEL), **failures(*FOR_MODELS)},
)
async def get_model(name: str, request: Request) -> schemas.ModelMetadata:
    """Returns the input and output tensors of a model."""
    predictor = engine_of(request).predictor
    _require(request, name)
    features = schemas.TensorMetadata(
        name="features", datatype="FP32", shape=[-1, predictor.encoder.dim]
    )
    return schemas.ModelMetadata(
        name=predictor.name,
        versions=[predictor.version],
        platform="egopack",
        inputs=[features, schemas.TensorMetadata(name="video", datatype="BYTES", shape=[1])],
        outputs=[
            schemas.TensorMetadata(name=o.name, datatype=o.datatype, shape=list(o.shape))
            for o in outputs_of(predictor)
        ],
    )


@router.get(
    "/models/{name}/versions/{version}",
    operation_id="oip_model_version_metadata",
    responses={**answer(OIP_MODEL), **failures(*FOR_MODELS)},
)
async def get_model_version(name: str, version: str, request: Request) -> schemas.ModelMetadata:
    """Returns the input and output tensors of one version of a model."""
    _require(request, name, version)
    return await get_model(name, request)


@router.get(
    "/models/{name}/ready",
    operation_id="oip_model_ready",
    responses={**answer(OIP_MODEL_READY), **failures(*FOR_MODELS, kinds.DRAINING)},
)
async def get_model_ready(name: str, request: Request) -> schemas.ModelReady:
    """Readiness probe of a model."""
    _require(request, name)
    engine_of(request).life.require_ready()
    return schemas.ModelReady(name=name, ready=True)


@router.get(
    "/models/{name}/versions/{version}/ready",
    operation_id="oip_model_version_ready",
    responses={**answer(OIP_MODEL_READY), **failures(*FOR_MODELS, kinds.DRAINING)},
)
async def get_model_version_ready(name: str, version: str, request: Request) -> schemas.ModelReady:
    """Readiness probe of one version of a model."""
    _require(request, name, version)
    return await get_model_ready(name, request)


@router.post(
    "/models/{name}/infer",
    operation_id="oip_infer",
    response_model=schemas.InferResponse,
    responses={**answer(INFERENCE), **failures(kinds.NOT_FOUND, *FOR_CLIPS)},
    openapi_extra=INFER_BODY,
)
async def infer(name: str, request: Request) -> Response:
    """Predicts for one clip, sent as `video` or as `features`, and returns tensors.

    Only the tasks of the requested outputs are predicted. With the binary tensor data extension,
    the clip's bytes follow the JSON; otherwise they are base64 inside it.
    """
    engine = engine_of(request)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    _require(request, name)
    header_length = request.headers.get(HEADER_LENGTH)
    max_values = most_values(engine.predictor.encoder, engine.settings)

    def sink_for(file: SpoolFile) -> InferSink:
        return InferSink(file, header_length, max_values=max_values)

    async with spool_of(request).hold(request, sink_for) as (path, size_bytes, sink):
        inference = Inference(await sink.request(), engine.predictor)
        deadline_s = started_s + timeout_of(inference.options, engine.settings.timeout_s)
        source = await inference.source(sink, path, size_bytes, engine.settings)
        work = engine.predict(source, inference.options, deadline_s=deadline_s)
        outcome = await cancel_on_disconnect(request, work)
    body, json_length = inference.answer(outcome)
    if json_length is None:
        return Response(body, media_type=JSON)
    headers = {HEADER_LENGTH: str(json_length)}
    return Response(body, media_type="application/octet-stream", headers=headers)


@router.post(
    "/models/{name}/versions/{version}/infer",
    operation_id="oip_version_infer",
    response_model=schemas.InferResponse,
    responses={**answer(INFERENCE), **failures(kinds.NOT_FOUND, *FOR_CLIPS)},
    openapi_extra=INFER_BODY,
)
async def infer_version(name: str, version: str, request: Request) -> Response:
    """Predicts for one clip with one version of a model, and returns tensors."""
    _require(request, name, version)
    return await infer(name, request)


def _require(request: Request, name: str, version: str | None = None) -> None:
    """Raises unless the model is the one being served.

    Raises:
        NotFound: it is not, or not in this version.
        NotReady: no model is loaded yet.
    """
    predictor = engine_of(request).predictor
    if name != predictor.name or version not in (None, predictor.version):
        raise NotFound("no model of this name and version is being served; see /v1/models")
