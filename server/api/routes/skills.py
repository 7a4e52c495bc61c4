"""Taught skills: teach, list, compare, serve, roll back, delete."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from model.errors import TaskInvalid
from server import problem_types as kinds
from server.api.clip_request import engine_of
from server.api.job_intake import Intake, TeachJob, caller_of
from server.api.openapi import (
    ACCEPTED_HEADERS,
    IDEMPOTENCY_KEY,
    JSON,
    answer,
    json_body,
    problems,
)
from server.api.routes.clips import FOR_TEACHING, teaching_of
from server.api.uploads.labels import most_bytes, parse_labels, receive_labels, require_json
from server.engine.request import until
from server.jobs.serialize import body_of, path_of
from server.schemas import jobs as job_schemas
from server.schemas import teaching as schemas
from server.schemas import teaching_options as choices
from server.schemas.examples import COMPARISON, REPORT, SKILL, SUGGESTIONS, TEACHING_JOB
from server.teaching.labels import Labelled, read_labelled, read_task, task_invalid, teach_input
from server.teaching.service import Teaching


class _SkillName(StringConvertor):
    """A path's part that is the name of a skill, and no endpoint of its own."""

    regex = "(?!suggest$)[^/]+"


register_url_convertor("skill", _SkillName())
router = APIRouter(tags=["teaching"], dependencies=[Depends(teaching_of)])

FOR_CHANGES = (
    *FOR_TEACHING,
    kinds.NOT_FOUND,
    kinds.SKILL_OWNED,
    kinds.SKILL_UNUSABLE,
    kinds.STARTING,
    kinds.DEADLINE,
)
FOR_LABELS = (*FOR_TEACHING, kinds.LABELS_INVALID, kinds.UNSUPPORTED, kinds.TOO_LARGE)

Name = Annotated[str, Path(description="Name of the skill.")]


@router.post(
    "/v1/skills",
    operation_id="teach_skill",
    summary="Teach a skill from labels",
    status_code=202,
    response_model=job_schemas.Job,
    responses={
        **answer(TEACHING_JOB, 202, headers={"Location": ACCEPTED_HEADERS["Location"]}),
        **problems(
            *FOR_LABELS,
            kinds.SKILL_OWNED,
            kinds.TEACHING_QUOTA,
            kinds.QUEUE_FULL,
            kinds.KEY_IN_PROGRESS,
            kinds.KEY_REUSED,
            kinds.NO_JOBS,
            kinds.STARTING,
            kinds.DRAINING,
            kinds.DEADLINE,
        ),
    },
    openapi_extra={"requestBody": json_body(choices.TeachOptions), "parameters": IDEMPOTENCY_KEY},
)
async def teach_skill(request: Request) -> Response:
    """Accepts labels of kept clips as a job, which learns a skill on the configured bundle.

    The job's result is a report of how far to trust the skill. With `activate` the skill is served
    as soon as it is learnt; the answers of all others stay as they are, to the bit.
    """
    teaching, caller = teaching_of(request), caller_of(request)
    require_json(request)
    intake: Intake = request.app.state.intake

    async def describe(sent: bytes) -> TeachJob:
        options = await parse_labels(sent, choices.TeachOptions, teaching.settings)
        teach_job = await _teach_job(request, options, teaching)
        name = options.task.name
        await teaching.call(partial(teaching.versions.check_may_teach, name, caller))
        return teach_job

    most = most_bytes(teaching.settings)
    job = await intake.accept_labels(request, max_bytes=most, describe=describe)
    body = body_of(job).model_dump_json(exclude_none=True)
    return Response(body, 202, {"Location": path_of(job.id)}, media_type=JSON)


@router.get(
    "/v1/skills",
    operation_id="list_skills",
    summary="List taught skills",
    responses={**answer({"skills": [SKILL]}), **problems(*FOR_TEACHING, kinds.STARTING)},
)
async def list_skills(request: Request) -> schemas.TaughtSkills:
    """Lists the skills that were taught with the same API key, and those of others in service."""
    return schemas.TaughtSkills(skills=await teaching_of(request).skills(caller_of(request)))


@router.get(
    "/v1/skills/{name:skill}",
    operation_id="get_skill",
    summary="Get a taught skill",
    responses={**answer(SKILL), **problems(*FOR_TEACHING, kinds.NOT_FOUND, kinds.STARTING)},
)
async def get_skill(name: Name, request: Request) -> schemas.TaughtSkill:
    """Returns a skill and its versions."""
    return await teaching_of(request).skill(name, caller_of(request))


@router.get(
    "/v1/skills/{name}/versions/{version}",
    operation_id="get_skill_report",
    summary="Get the report of a version",
    response_model=schemas.Report,
    responses={**answer(REPORT), **problems(*FOR_TEACHING, kinds.NOT_FOUND, kinds.STARTING)},
)
async def get_skill_report(
    name: Name, version: choices.VersionNumber, request: Request
) -> Response:
    """Returns what a version has learnt and how far to trust it, as the job's result does."""
    report = await teaching_of(request).report(name, version, caller_of(request))
    return Response(json.dumps(report), media_type=JSON)


@router.post(
    "/v1/skills/{name}/activate",
    operation_id="activate_skill",
    summary="Serve a version of a skill",
    responses={**answer(SKILL), **problems(*FOR_CHANGES)},
)
async def activate_skill(
    name: Name, choice: choices.ActivateOptions, request: Request
) -> schemas.TaughtSkill:
    """Serves a version in place of the one before; returns once the new bundle answers.

    Requests that have begun end on the bundle that they began with.
    """
    async with _in_time(request):
        await teaching_of(request).activate(name, choice, caller_of(request))
    return await get_skill(name, request)


@router.post(
    "/v1/skills/{name}/deactivate",
    operation_id="deactivate_skill",
    summary="Serve a skill no more",
    responses={**answer(SKILL | {"active_version": None}), **problems(*FOR_CHANGES)},
)
async def deactivate_skill(name: Name, request: Request) -> schemas.TaughtSkill:
    """Takes a skill out of service; its versions stay."""
    async with _in_time(request):
        await teaching_of(request).deactivate(name, caller_of(request))
    return await get_skill(name, request)


@router.post(
    "/v1/skills/{name}/rollback",
    operation_id="roll_back_skill",
    summary="Undo the last change of a skill",
    responses={**answer(SKILL), **problems(*FOR_CHANGES)},
)
async def roll_back_skill(name: Name, request: Request) -> schemas.TaughtSkill:
    """Serves what was served before the last change of the skill, which may be no version."""
    async with _in_time(request):
        await teaching_of(request).roll_back(name, caller_of(request))
    return await get_skill(name, request)


@router.post(
    "/v1/skills/{name}/compare",
    operation_id="compare_versions",
    summary="Compare two versions of a skill",
    response_model=schemas.Comparison,
    responses={
        **answer(COMPARISON),
        **problems(*FOR_LABELS, *FOR_CHANGES, kinds.QUEUE_FULL, kinds.DRAINING, kinds.UNHEALTHY),
    },
    openapi_extra={"requestBody": json_body(choices.CompareOptions)},
)
async def compare_versions(name: Name, request: Request) -> Response:
    """Says how often each of two versions is right on the same labels, and how sure that is."""
    teaching, caller = teaching_of(request), caller_of(request)
    await teaching.owned(name, caller)
    async with _in_time(request):
        options = await receive_labels(request, choices.CompareOptions, teaching.settings)
        labelled = await _labelled(request, options, teaching)
        found = await teaching.compare(name, options.versions, labelled, caller)
    return Response(json.dumps(found), media_type=JSON)


@router.post(
    "/v1/skills/suggest",
    operation_id="suggest_labels",
    summary="Suggest what to label next",
    response_model=schemas.Suggestions,
    responses={
        **answer(SUGGESTIONS),
        **problems(
            *FOR_LABELS,
            kinds.QUEUE_FULL,
            kinds.STARTING,
            kinds.DRAINING,
            kinds.UNHEALTHY,
            kinds.DEADLINE,
        ),
    },
    openapi_extra={"requestBody": json_body(choices.SuggestOptions)},
)
async def suggest_labels(request: Request) -> Response:
    """Returns segments of kept clips on which the voters of a skill of the labels so far differ.

    Each is unlike all labelled ones and those before it; without labels, the clips' typical ones.
    """
    teaching, caller = teaching_of(request), caller_of(request)
    async with _in_time(request):
        options = await receive_labels(request, choices.SuggestOptions, teaching.settings)
        task = read_task(options)
        labelled = await _labelled(request, options, teaching, task.labels)
        found = await teaching.suggest(options, labelled, caller)
    return Response(json.dumps(found), media_type=JSON)


@router.delete(
    "/v1/skills/{name:skill}",
    operation_id="delete_skill",
    summary="Delete a skill",
    status_code=204,
    response_class=Response,
    responses=problems(*FOR_TEACHING, kinds.NOT_FOUND, kinds.SKILL_OWNED, kinds.SKILL_ACTIVE),
)
async def delete_skill(name: Name, request: Request) -> Response:
    """Deletes every version of a skill that is not served."""
    await teaching_of(request).delete(name, caller_of(request))
    return Response(status_code=204)


@router.delete(
    "/v1/skills/{name}/versions/{version}",
    operation_id="delete_skill_version",
    summary="Delete a version of a skill",
    status_code=204,
    response_class=Response,
    responses=problems(*FOR_TEACHING, kinds.NOT_FOUND, kinds.SKILL_OWNED, kinds.SKILL_ACTIVE),
)
async def delete_skill_version(
    name: Name, version: choices.VersionNumber, request: Request
) -> Response:
    """Deletes a version that is not served; its number is not used again."""
    await teaching_of(request).delete(name, caller_of(request), version)
    return Response(status_code=204)


def _in_time(request: Request) -> AbstractAsyncContextManager[None]:
    """Bounds a change as any request is bounded."""
    timeout_s = engine_of(request).settings.timeout_s
    return until(asyncio.get_running_loop().time() + timeout_s)


async def _labelled(
    request: Request,
    options: choices.LabelledOptions | choices.SuggestOptions,
    teaching: Teaching,
    labels: tuple[str, ...] | None = None,
) -> Labelled:
    clips = await teaching.call(partial(teaching.clips.list, caller_of(request)))
    read = partial(
        read_labelled,
        options,
        clips,
        encoder=engine_of(request).predictor.encoder.fingerprint,
        most=teaching.settings.teaching_labels,
        labels=labels,
    )
    return await asyncio.to_thread(read)


async def _teach_job(
    request: Request, options: choices.TeachOptions, teaching: Teaching
) -> TeachJob:
    """Returns what a job is to know, checked as far as can be without learning."""
    from model.train.new_skill.adding import check_is_new  # takes a moment to import

    task = read_task(options)
    try:
        if not await teaching.taught_name(options.task.name):
            check_is_new(options.task.name, engine_of(request).predictor.manifest)
    except TaskInvalid as error:
        raise task_invalid(error) from error
    labelled = await _labelled(request, options, teaching, task.labels)
    given = teach_input(options, labelled)
    shown = given.model_dump(exclude={"labels", "clips"}, exclude_none=True)
    return TeachJob(shown, given.model_dump_json().encode(), options.webhook_url)
