"""Metadata of the bundle being served: models and label names."""

from fastapi import APIRouter, Request

from server import problem_types as kinds
from server.api.clip_request import engine_of
from server.api.openapi import answer, problems
from server.errors import NotFound
from server.schemas.examples import MODEL_FACTS, TAXONOMY
from server.schemas.metadata import ModelFacts, Models, Taxonomy

router = APIRouter()


@router.get(
    "/v1/models",
    operation_id="list_models",
    tags=["model"],
    responses={**answer({"models": [MODEL_FACTS]}), **problems(kinds.STARTING)},
)
async def list_models(request: Request) -> Models:
    """Lists the models being served."""
    return Models(models=[ModelFacts.of(engine_of(request).predictor)])


@router.get(
    "/v1/models/{name}",
    operation_id="get_model",
    tags=["model"],
    responses={
        **answer(MODEL_FACTS),
        **problems(kinds.NOT_FOUND, kinds.INVALID_FIELD, kinds.STARTING),
    },
)
async def get_model(name: str, request: Request) -> ModelFacts:
    """Returns the metadata of one model's bundle."""
    predictor = engine_of(request).predictor
    if name != predictor.name:
        raise NotFound("no model of this name is being served; see /v1/models")
    return ModelFacts.of(predictor)


@router.get(
    "/v1/taxonomy",
    operation_id="get_taxonomy",
    tags=["model"],
    responses={**answer(TAXONOMY), **problems(kinds.STARTING)},
)
async def get_taxonomy(request: Request) -> Taxonomy:
    """Returns the name of every label by id."""
    return Taxonomy.of(engine_of(request).predictor)
