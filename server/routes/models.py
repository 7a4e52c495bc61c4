"""What is being served."""

from fastapi import APIRouter, Request

from server import answers, errors, schemas
from server.calls import engine_of
from server.errors import NotFound
from server.openapi import problems

router = APIRouter()


@router.get(
    "/v1/models",
    operation_id="list_models",
    tags=["model"],
    responses=problems(errors.STARTING),
)
async def list_models(request: Request) -> schemas.Models:
    """Lists the models being served."""
    return schemas.Models(models=[answers.model_facts(engine_of(request).predictor)])


@router.get(
    "/v1/models/{name}",
    operation_id="get_model",
    tags=["model"],
    responses=problems(errors.NOT_FOUND, errors.INVALID_FIELD, errors.STARTING),
)
async def get_model(name: str, request: Request) -> schemas.ModelFacts:
    """Says what one model's bundle says of itself."""
    predictor = engine_of(request).predictor
    if name != predictor.name:
        raise NotFound("no model of this name is being served; see /v1/models")
    return answers.model_facts(predictor)


@router.get(
    "/v1/taxonomy",
    operation_id="get_taxonomy",
    tags=["model"],
    responses=problems(errors.STARTING),
)
async def get_taxonomy(request: Request) -> schemas.Taxonomy:
    """Names every label by id."""
    predictor = engine_of(request).predictor
    return schemas.Taxonomy(
        model=answers.identity(predictor), label_spaces=predictor.manifest.label_spaces
    )
