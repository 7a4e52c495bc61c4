"""What is being served."""

from fastapi import APIRouter, Request

from server import facts
from server import problem_types as kinds
from server.api.clip_request import engine_of
from server.api.openapi import answer, problems
from server.errors import NotFound
from server.schemas import metadata as fact_schemas
from server.schemas.examples import MODEL_FACTS, TAXONOMY

router = APIRouter()


@router.get(
    "/v1/models",
    operation_id="list_models",
    tags=["model"],
    responses={**answer({"models": [MODEL_FACTS]}), **problems(kinds.STARTING)},
)
async def list_models(request: Request) -> fact_schemas.Models:
    """Lists the models being served."""
    return fact_schemas.Models(models=[facts.model_facts(engine_of(request).predictor)])


@router.get(
    "/v1/models/{name}",
    operation_id="get_model",
    tags=["model"],
    responses={
        **answer(MODEL_FACTS),
        **problems(kinds.NOT_FOUND, kinds.INVALID_FIELD, kinds.STARTING),
    },
)
async def get_model(name: str, request: Request) -> fact_schemas.ModelFacts:
    """Says what one model's bundle says of itself."""
    predictor = engine_of(request).predictor
    if name != predictor.name:
        raise NotFound("no model of this name is being served; see /v1/models")
    return facts.model_facts(predictor)


@router.get(
    "/v1/taxonomy",
    operation_id="get_taxonomy",
    tags=["model"],
    responses={**answer(TAXONOMY), **problems(kinds.STARTING)},
)
async def get_taxonomy(request: Request) -> fact_schemas.Taxonomy:
    """Names every label by id."""
    return facts.taxonomy(engine_of(request).predictor)
