"""`headwise prune`: a point of a pruning job's curves as a model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from cli.context import opened, out, print_json
from db.database import Database
from db.kinds import pruning
from db.kinds.pruning import Point
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.errors import HeadwiseError, nearest, refuse
from jobs.inputs.models import model_facts
from jobs.settings import Settings
from jobs.specs.submission import parse_spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from headwise import LoadedModel

FORMATS = {
    "masked": "an ordinary Hugging Face folder of the same size, the heads' weights zero",
    "smaller": "a smaller model for headwise.load_pruned",
    "onnx": "the smaller model as ONNX",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Results")(prune)


def prune(
    job: Annotated[int, typer.Argument(help="Number of a pruning job.", metavar="JOB")],
    to: Annotated[Path, typer.Option("--out", help="Folder to write: new, or empty.")],
    point: Annotated[int | None, typer.Option(help="A point by its number.")] = None,
    chosen: Annotated[
        bool, typer.Option("--chosen", help="The mask that the job chose (its `within`).")
    ] = False,
    share: Annotated[
        float | None, typer.Option(help="The point with this share of the heads removed.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="With --share: by which source. Default: the first.")
    ] = None,
    direction: Annotated[
        str, typer.Option(help="With --share: least or most important first.")
    ] = "least",
    form: Annotated[str, typer.Option("--format", help="masked, smaller or onnx.")] = "smaller",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Write a model without the heads of a point, and measure it."""
    if form not in FORMATS:
        raise refuse("--format", form, "is unknown", nearest(form, FORMATS))
    if (point is not None) + chosen + (share is not None) != 1:
        message = "give exactly one of --point, --chosen and --share"
        raise refuse("--point", point, message, f"The page of job {job} lists its points.")
    with opened() as (settings, database):
        found = job_reads.get_job(database, job)
        if found.kind != "pruning":
            raise refuse("JOB", job, f"is a job of kind {found.kind}", "Give a pruning job.")
        if chosen:
            mask = _chosen(database, job)
        else:
            mask = _point(database, job, point, share, source, direction).mask_no
        removed = pruning.get_removed(database, job, mask)
        written = _write(found, removed, to, form, settings)
    if as_json:
        print_json({"job": job, "mask": mask, "removed": removed, **written})
        return
    parameters, seconds = written["parameters"], written["seconds"]
    out.print(f"{written['folder']}: {FORMATS[form]}")
    out.print(f"heads       {written['heads']:,} -> {written['heads'] - len(removed):,}")
    out.print(f"parameters  {parameters[0]:,} -> {parameters[1]:,}")
    out.print(
        f"latency     {1000 * seconds[0]:.1f} ms -> {1000 * seconds[1]:.1f} ms "
        f"(one text of {written['length']} tokens, {written['device']}, in torch)"
    )
    if written["onnx_difference"] is not None:
        out.print(f"onnxruntime differs by {written['onnx_difference']:.1e} from torch")


def _chosen(database: Database, job: int) -> int:
    choice = pruning.get_choice(database, job)
    if choice is None or choice.chosen_mask is None:
        remedy = "Submit it with `within`, and wait until it has succeeded."
        raise refuse("--chosen", None, f"job {job} has chosen nothing", remedy)
    return choice.chosen_mask


def _point(
    database: Database,
    job: int,
    number: int | None,
    share: float | None,
    source: str | None,
    direction: str,
) -> Point:
    points, _ = pruning.get_points(database, job)
    if not points:
        raise refuse("JOB", job, "has no points yet", "Wait until it is planned.")
    if number is not None:
        if not 0 <= number < len(points):
            remedy = f"It has points 0 to {len(points) - 1}."
            raise refuse("--point", number, f"job {job} has no such point", remedy)
        return points[number]
    known = list(dict.fromkeys(point.source for point in points))
    source = source or known[0]
    if source not in known:
        raise refuse("--source", source, "is no source of this job", nearest(source, known))
    ways = {point.direction for point in points if point.source == source}
    if direction not in ways | {"least"}:
        raise refuse("--direction", direction, "is unknown", nearest(direction, ways))
    line = [
        point
        for point in points
        if point.source == source
        and point.draw == 0
        and point.direction in (direction, "any")
        and point.scope in ("global", "choice")
    ]
    near = [point for point in line if abs(point.share - (share or 0)) < 0.005]
    if not near:
        shares = sorted({f"{one.share:.3g}" for one in line if one.scope == "global"}, key=float)
        remedy = f"Known: {', '.join(shares)}."
        raise refuse("--share", share, f"{source} has no point of this share", remedy)
    return min(near, key=lambda one: abs(one.share - (share or 0)))


def _write(
    job: Job, removed: pruning.Removed, to: Path, form: str, settings: Settings
) -> dict[str, Any]:
    """Write the model, load it again, and compare it with the whole one."""
    try:
        # Not at the top: torch takes seconds to import, and is not everywhere.
        from transformers.utils.logging import disable_progress_bar

        from headwise import HeadwiseError as EngineError
        from headwise.pruning.structure import describe
        from workers.model_cache import ModelCache
    except ImportError as error:
        remedy = "Run `make install` in the checkout."
        raise refuse("prune", None, f"needs torch and transformers: {error}", remedy) from None
    disable_progress_bar()
    # Its exporter warns of a package that no text model needs.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    spec = parse_spec(job.spec)
    try:
        loaded = ModelCache(settings).get(spec)
        if job.model_fingerprint not in (None, loaded.fingerprint):
            message = f"its files changed after job {job.id}"
            raise refuse("model", spec.model.name, message, "Run the job again.")
        after, difference = _export(loaded, removed, to, form)
        limit = model_facts(spec.model, settings).max_length
        compared = describe(loaded.model, after, length=min(128, limit or 128))
    except EngineError as error:
        raise HeadwiseError(str(error)) from error
    return {
        "folder": str(to.absolute()),
        "format": form,
        "heads": sum(site.heads for site in loaded.sites),
        "parameters": compared.parameters,
        "attention_parameters": compared.attention_parameters,
        "seconds": compared.seconds,
        "length": compared.length,
        "device": loaded.device,
        "onnx_difference": difference,
    }


def _export(
    loaded: LoadedModel, removed: pruning.Removed, to: Path, form: str
) -> tuple[PreTrainedModel, float | None]:
    """What was written as it loads again, or is in torch, and by how much ONNX differs from it."""
    import headwise
    from headwise.pruning.export import load_pruned, save_masked, save_onnx, save_pruned
    from headwise.pruning.structure import remove_heads

    mask = np.zeros((len(loaded.sites), max(site.heads for site in loaded.sites)), dtype=bool)
    for site, head in removed:
        mask[site, head] = True
    where: Any = {"dtype": loaded.dtype, "device": loaded.device}
    if form == "masked":
        save_masked(loaded.model, loaded.tokenizer, mask, to)
        return headwise.load(to.absolute(), **where).model, None
    if form == "smaller":
        save_pruned(loaded.model, loaded.tokenizer, mask, to)
        return load_pruned(to, **where).model, None
    difference = save_onnx(loaded.model, loaded.tokenizer, mask, to)
    return remove_heads(loaded.model, mask), difference
