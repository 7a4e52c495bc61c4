"""Sub-command `backpack search`: the prototypes closest to a clip or an action."""

import argparse
import dataclasses
import json

from clients.api.requests import SearchChoices
from clients.commands import arguments
from clients.results.predictions import BackpackMatches


class Options(arguments.SearchOptions):
    """Parsed flags."""

    verb: str | None
    noun: str | None
    perspective: list[str] | None
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `search` and its flags."""
    what = "the prototypes closest to a clip, segment by segment, or to an action"
    commands = parser.add_subparsers(dest="what", required=True, metavar="search")
    search = commands.add_parser("search", help=what, description=f"{what[0].upper()}{what[1:]}.")
    arguments.add_source(search)
    search.add_argument("--verb", help="verb of an action, in the clip's place, as in the taxonomy")
    search.add_argument("--noun", help="noun of that action")
    search.add_argument(
        "--perspective",
        action="append",
        metavar="TASK",
        help="task whose prototypes to search; repeat it for several; default: all",
    )
    arguments.add_segments(search)
    search.add_argument("--json", action="store_true", help="print the answer as JSON")
    arguments.add_server(search)


def run(options: Options) -> int:
    """Searches and prints; returns the exit status."""
    with arguments.connect(options.url) as client:
        if options.verb is not None or options.noun is not None:
            verb, noun = _action(options)
            top_k, tasks = options.top_k, options.perspective
            found = client.search_action(verb, noun, top_k=top_k, perspectives=tasks)
        else:
            source = arguments.source_of(options)
            with arguments.upload_bar(options.clip or options.features) as progress:
                found = client.search(**source, **_choices(options), progress=progress)
    print(json.dumps(dataclasses.asdict(found), indent=1) if options.json else _table(found))
    return 0


def _action(options: Options) -> tuple[str, str]:
    verb, noun = options.verb, options.noun
    if verb is None or noun is None or options.clip or options.features or options.segment:
        raise ValueError("give a clip, --features FILE, or both --verb and --noun")
    return verb, noun


def _choices(options: Options) -> SearchChoices:
    return {
        "perspectives": options.perspective,
        "segments": options.segment,
        "segment_s": options.segment_s,
        "video_track": options.video_track,
        "top_k": options.top_k,
    }


def _table(found: BackpackMatches) -> str:
    lines = [f"backpack of {found.model.name} {found.model.version}, backbone {found.backbone}"]
    for match in found.matches:
        if match.start_s is not None and match.end_s is not None:
            lines += ["", f"{match.start_s:.1f} to {match.end_s:.1f} s"]
        for task, near in match.perspectives.items():
            lines += ["", f"  as {task} sees it    similarity   actions behind it"]
            for one in near:
                lines.append(f"    {one.name:<26}{one.similarity:6.3f}{one.count:14d}")
    return "\n".join(lines)
