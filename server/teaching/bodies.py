"""Response bodies of teaching, from what is stored."""

from typing import Any

from server.engine.active import ActiveVersion
from server.jobs.serialize import instant
from server.schemas import teaching as schemas
from server.teaching.clips import Clip
from server.teaching.versions import Version, VersionStore


def clip_body(clip: Clip) -> schemas.Clip:
    """Returns the body of a kept clip."""
    return schemas.Clip(
        id=clip.id,
        name=clip.name,
        duration_s=clip.end_s - clip.origin_s,
        start_s=clip.origin_s,
        has_video=clip.media_type is not None,
        created_at=instant(clip.created_s) or "",
    )


def skill_body(
    store: VersionStore, name: str, caller: str, now: ActiveVersion | None, base_sha256: str
) -> schemas.TaughtSkill | None:
    """Returns the body of a skill; None if there is none that the caller may see.

    Args:
        store: has its versions.
        name: of the skill.
        caller: who asks: of another caller's skill only the version being served is shown.
        now: the version being served.
        base_sha256: of the bundle that the skills being served were taught on.
    """
    versions = store.versions(name)
    is_mine = bool(versions) and versions[0].owner == caller
    if not is_mine:
        versions = [one for one in versions if now is not None and one.version == now.version]
    if not versions:
        return None
    reports = [store.report(one) for one in versions]
    active = None if now is None else now.version
    shown = next((r for r in reports if r["version"] == active), reports[-1])
    return schemas.TaughtSkill(
        name=name,
        owner_is_you=is_mine,
        kind=shown["kind"],
        labels=shown["labels"],
        active_version=active,
        versions=[
            _summary(version, report, now, base_sha256)
            for version, report in zip(versions, reports, strict=True)
        ],
    )


def _summary(
    version: Version, report: dict[str, Any], now: ActiveVersion | None, base_sha256: str
) -> schemas.VersionSummary:
    is_served = now is not None and now.version == version.version
    held = report["accuracy"] or {}
    return schemas.VersionSummary(
        version=version.version,
        created_at=instant(version.created_s) or "",
        labels=sum(report["count"].values()),
        accuracy=held.get("share"),
        low=held.get("low"),
        high=held.get("high"),
        frequent=held.get("frequent"),
        status="usable" if version.bundle_sha256 == base_sha256 else "other-bundle",
        threshold=now.threshold if is_served and now else None,
    )
