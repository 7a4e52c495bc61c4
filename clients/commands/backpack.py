"""What the model has seen that is close to a clip or an action."""

import argparse
import dataclasses
import json

from clients.api.requests import SearchChoices
from clients.commands import arguments as choices
from clients.commands import bars, connection
from clients.results.predictions import BackpackMatches


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the one thing to do with a backpack, and its flags."""
    what = "the prototypes closest to a clip, segment by segment, or to an action"
    commands = parser.add_subparsers(dest="what", required=True, metavar="search")
    search = commands.add_parser("search", help=what, description=f"{what[0].upper()}{what[1:]}.")
    choices.add_source(search)
    search.add_argument("--verb", help="of an action, in the clip's place; as the taxonomy spells")
    search.add_argument("--noun", help="of that action")
    search.add_argument(
        "--perspective",
        action="append",
        metavar="TASK",
        help="whose prototypes to search; repeat it; default: all",
    )
    choices.add_segments(search)
    search.add_argument("--json", action="store_true", help="the answer as JSON")
    connection.add_arguments(search)


def run(arguments: argparse.Namespace) -> int:
    """Searches and prints; returns the exit status."""
    with connection.connect(arguments) as client:
        if arguments.verb is not None or arguments.noun is not None:
            verb, noun = _action(arguments)
            top_k, tasks = arguments.top_k, arguments.perspective
            found = client.search_action(verb, noun, top_k=top_k, perspectives=tasks)
        else:
            source = choices.source_of(arguments)
            with bars.sending(arguments.clip or arguments.features) as progress:
                found = client.search(**source, **_choices(arguments), progress=progress)
    print(json.dumps(dataclasses.asdict(found), indent=1) if arguments.json else _table(found))
    return 0


def _action(arguments: argparse.Namespace) -> tuple[str, str]:
    given = (arguments.verb, arguments.noun, arguments.clip, arguments.features)
    if None in given[:2] or given[2:] != (None, None) or arguments.segment:
        raise ValueError("give a clip, --features FILE, or both --verb and --noun")
    return arguments.verb, arguments.noun


def _choices(arguments: argparse.Namespace) -> SearchChoices:
    return {
        "perspectives": arguments.perspective,
        "segments": arguments.segment,
        "segment_s": arguments.segment_s,
        "video_track": arguments.video_track,
        "top_k": arguments.top_k,
    }


def _table(found: BackpackMatches) -> str:
    lines = [f"backpack of {found.model.name} {found.model.version}, backbone {found.backbone}"]
    for match in found.matches:
        if match.start_s is not None and match.end_s is not None:
            lines += ["", f"{match.start_s:.1f} to {match.end_s:.1f} s"]
        for task, near in match.perspectives.items():
            lines += ["", f"  as {task} sees it    similarity   actions behind it"]
            for one in near:
                name = f"{one.verb} {one.noun}"
                lines.append(f"    {name:<26}{one.similarity:6.3f}{one.count:14d}")
    return "\n".join(lines)
