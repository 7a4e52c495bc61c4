"""Command line of `python -m model.evaluate`: every metric of a bundle, beside blind baselines."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from tqdm import tqdm

from extract.errors import ExtractError
from model.data.samples import Samples
from model.data.task_samples import Enumeration
from model.errors import ModelError
from model.evaluate.forecasts import (
    ForecastRow,
    differences,
    format_differences,
    format_rows,
    plain_rows,
)
from model.evaluate.lta_rows import FORECASTER, GRAPH, lta_rows
from model.evaluate.options import EvaluateOptions, parse_options, with_futures
from model.evaluate.paper import WINDOWS, learnt_from_ego4d
from model.evaluate.report.collect import TaskAnswers, answer_split
from model.evaluate.report.exhibits import (
    ReportItem,
    agreement_exhibits,
    calibration_exhibits,
    class_exhibits,
    closest_exhibits,
)
from model.evaluate.report.page import RunFacts
from model.evaluate.report.results import MeasureConfig, SplitResult, measure
from model.evaluate.report.write import write_json, write_report
from model.evaluate.samples import SampleSource
from model.evaluate.table_samples import TableSource
from model.evaluate.tables import format_table
from model.forecast.baselines import PairCounts
from model.forecast.recognition import recognise
from model.forecast.sampling import PastActions
from model.nn.skill import Votes
from model.predict.futures import forecast_split
from model.predict.predictor import Predictor
from model.tasks import AR, FIXED_LABELS, LTA
from weights.bundle import load_bundle
from weights.errors import WeightsError


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 when the bundle or the data cannot be used."""
    options = parse_options(argv)
    try:
        predictor = Predictor(load_bundle(options.bundle), device=options.device)
        results = evaluate(predictor, options)
    except (ModelError, WeightsError, ExtractError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        write_json(options.json, {r.split: r.figures() for r in results})
    if options.out:
        exhibits = sum(len(r.exhibits) for r in results)
        with tqdm(total=exhibits, desc="report", unit="exhibit") as bar:
            facts = _facts(predictor, options, argv, results)
            page = write_report(options.out, facts, results, progress=bar.update)
        print(page, file=sys.stderr)
    return 0


def evaluate(predictor: Predictor, options: EvaluateOptions) -> list[SplitResult]:
    """Scores a bundle on each split and prints its table."""
    calibration = predictor.manifest.calibration
    how = MeasureConfig(
        with_futures(predictor.config, options.future_temperature, options.future_choice),
        {key: value["temperature"] for key, value in calibration.items()},
        seed=options.seed,
        resample=options.resample,
        per_batch=options.per_batch,
        beside_paper=_beside_paper(predictor, options),
        lta_windows=_lta_windows(predictor, options),
    )
    if how.beside_paper and how.lta_windows != WINDOWS:
        print(
            "the paper's LTA figures are of other windows and not shown; "
            f"--lta-windows {WINDOWS} scores the same ones",
            file=sys.stderr,
        )
    source: SampleSource | TableSource
    if options.is_table:
        source = TableSource.open(predictor, options)
    else:
        source = SampleSource.open(predictor, options, how.lta_windows)
    for note in source.notes if options.is_table or not options.splits else ():
        print(note, file=sys.stderr)
    train = source.of_training()
    loaded = {}
    for split in options.splits or source.splits:
        loaded[split] = samples, _ = source.of_split(split)
        if left_out := [task for task in predictor.tasks if task not in samples]:
            print(f"{split} has no sample of {', '.join(left_out)}: not scored", file=sys.stderr)
    results = []
    for split, (samples, gone) in loaded.items():
        with tqdm(total=sum(map(len, samples.values())), desc=f"answers {split}") as bar:
            answers = answer_split(
                predictor.skills,
                samples,
                predictor.config,
                device=predictor.device,
                progress=bar.update,
            )
        shown = _exhibits(predictor, answers, samples, how) if options.out else []
        past = _past(predictor, samples, how, split)
        drawn = _drawn(predictor, samples, past, how)
        result = measure(split, answers, samples, train, how, shown, drawn)
        rows = _forecasts(predictor, answers, samples, train, past, how)
        results.append(replace(result, left_out=gone, forecasts=plain_rows(rows)))
        print(format_table(split, results[-1].columns, results[-1].intervals))
        if rows:
            print("\n" + _forecast_tables(split, rows, samples[LTA.name], how))
        if split == "val" and calibration:
            print("ece of val is optimistic where the bundle's temperatures were fitted on it")
    return results


def _past(
    predictor: Predictor, samples: dict[str, Samples], how: MeasureConfig, split: str
) -> PastActions | None:
    """What AR recognises of the actions before LTA's windows; None without both tasks."""
    if LTA.name not in samples or AR.name not in predictor.tasks:
        return None

    def answer(nodes: Tensor) -> dict[str, Tensor]:
        votes: Votes = predictor.skills({AR.name: nodes.to(predictor.device)})[AR.name]
        return votes.fused()

    with tqdm(desc=f"past {split}", unit="graph") as bar:
        return recognise(
            samples[LTA.name], answer, predictor.config, how.temperature, progress=bar.update
        )


def _drawn(
    predictor: Predictor,
    samples: dict[str, Samples],
    past: PastActions | None,
    how: MeasureConfig,
) -> dict[str, dict[str, Tensor]]:
    """Futures of the bundle's forecaster, task -> output -> (M, N, Z)."""
    if predictor.forecaster is None or past is None:
        return {}
    mine = samples[LTA.name]
    return {
        LTA.name: forecast_split(predictor.forecaster, past, mine, config=how.config, seed=how.seed)
    }


def _forecasts(
    predictor: Predictor,
    answers: dict[str, TaskAnswers],
    samples: dict[str, Samples],
    train: dict[str, Samples],
    past: PastActions | None,
    how: MeasureConfig,
) -> list[ForecastRow]:
    actions = train[LTA.name].past if LTA.name in samples else None
    if actions is None or not (actions.ids >= 0).all(dim=1).any():
        return []
    return lta_rows(
        PairCounts(actions.sequences()),
        samples[LTA.name],
        answers[LTA.name].logits,
        how.config,
        past=past,
        forecaster=predictor.forecaster,
        seed=how.seed,
    )


def _forecast_tables(
    split: str, rows: list[ForecastRow], samples: Samples, how: MeasureConfig
) -> str:
    groups = samples.video_offset.numpy()
    ours = FORECASTER if any(row.name == FORECASTER for row in rows) else GRAPH
    found = differences(rows, groups, ours=ours, seed=how.seed)
    return "\n\n".join(
        [
            format_rows(f"lta, {split}", rows, groups, seed=how.seed),
            format_differences(f"lta, {split}, difference", found),
        ]
    )


def _lta_windows(predictor: Predictor, options: EvaluateOptions) -> Enumeration:
    """The enumeration given, else that of the bundle's own figures."""
    is_old = predictor.manifest.training.get("lta_windows") == WINDOWS
    return options.lta_windows or (WINDOWS if is_old else "current")


def _beside_paper(predictor: Predictor, options: EvaluateOptions) -> bool:
    comparable = learnt_from_ego4d(predictor.manifest.training) and not options.is_table
    if options.compare_paper and not comparable:
        raise ModelError(
            "--compare-paper needs a bundle that learnt from Ego4D, and Ego4D's data; this one "
            f"learnt from {predictor.manifest.training.get('data', 'data it does not name')}"
        )
    return comparable if options.compare_paper is None else options.compare_paper


def _exhibits(
    predictor: Predictor,
    answers: dict[str, TaskAnswers],
    samples: dict[str, Samples],
    how: MeasureConfig,
) -> list[ReportItem]:
    skills = predictor.skills
    labels = predictor.manifest.label_spaces | FIXED_LABELS
    backpacks = {
        task: backpack
        for task, name in skills.backbone_of.items()
        if (backpack := skills.backpacks[name]) is not None
    }
    return [
        *calibration_exhibits(answers, how.temperature),
        *class_exhibits(answers, samples, labels),
        *agreement_exhibits(answers),
        *closest_exhibits(answers, samples, backpacks, labels),
    ]


def _facts(
    predictor: Predictor,
    options: EvaluateOptions,
    argv: Sequence[str] | None,
    results: Sequence[SplitResult],
) -> RunFacts:
    training = predictor.manifest.training
    notes = [
        f"Of {r.split}, the samples of {len(r.left_out)} videos without features are left out: "
        f"{', '.join(r.left_out)}."
        for r in results
        if r.left_out
    ]
    if not learnt_from_ego4d(training):
        notes.append(
            "Figures of a bundle that did not learn from Ego4D: not comparable to the paper's."
        )
    return RunFacts(
        name=predictor.name,
        version=predictor.version,
        sha256=predictor.sha256,
        data=str(training.get("data", "data that the bundle does not name")),
        command=shlex.join(["python", "-m", "model.evaluate", *(argv or sys.argv[1:])]),
        resample=options.resample,
        note=" ".join(notes),
    )


if __name__ == "__main__":
    raise SystemExit(main())
