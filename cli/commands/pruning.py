"""The command that writes a pruned model: prune."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cli.context import out, print_json
from cli.options import MAX_ID, AsJson, with_groups
from cli.store.base import Facts, Store
from cli.store.chosen import connected
from jobs.errors import HeadwiseError, nearest, refuse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from headwise import LoadedModel
    from jobs.settings import Settings

FORMATS = {
    "masked": "an ordinary Hugging Face folder of the same size, the heads' weights zero",
    "smaller": "a smaller model for headwise.load_pruned",
    "onnx": "the smaller model as ONNX, or the masked one where heads cannot be taken out",
}


@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """The heads to remove: those of a point of the job's curves, or of its own choice."""

    panel: ClassVar[str] = "Heads to remove"

    point: Annotated[int | None, typer.Option(help="Those of the point with this number.")] = None
    chosen: Annotated[
        bool, typer.Option("--chosen", help="Those that the job chose within its tolerance.")
    ] = False
    share: Annotated[
        float | None, typer.Option(help="Those of the point with this share of the heads removed.")
    ] = None
    source: Annotated[
        str | None, typer.Option(help="With --share: the ranking. Default: the job's first.")
    ] = None
    direction: Annotated[str, typer.Option(help="With --share: least or most important first.")] = (
        "least"
    )


@with_groups
def prune(
    job: Annotated[int, typer.Argument(help="Number of a pruning job.", metavar="JOB", max=MAX_ID)],
    point: PointOptions,
    to: Annotated[Path, typer.Option("--out", help="Folder to write: new, or empty.")],
    form: Annotated[str, typer.Option("--format", help="masked, smaller or onnx.")] = "smaller",
    as_json: AsJson = False,
) -> None:
    """Write the model without some heads to a folder, and measure it."""
    if form not in FORMATS:
        raise refuse("--format", form, "is unknown", nearest(form, FORMATS))
    if (point.point is not None) + point.chosen + (point.share is not None) != 1:
        message = "give exactly one of --point, --chosen and --share"
        raise refuse("--point", point.point, message, f"The page of job {job} lists its points.")
    with connected() as store:
        found = store.job(job)
        if found["kind"] != "pruning":
            raise refuse("JOB", job, f"is a job of kind {found['kind']}", "Give a pruning job.")
        mask = _chosen(store, job) if point.chosen else _find(store, job, point)["mask_no"]
        removed = store.removed(job, mask)
        _check_model_is_here(store, found["spec"]["model"]["name"])
    from jobs.settings import load_settings

    written = _write(found, removed, to, form, load_settings())
    if as_json:
        print_json({"job": job, "mask": mask, "removed": removed, **written})
    else:
        _show(written, len(removed))


def _show(written: Mapping[str, Any], removed: int) -> None:
    parameters, seconds = written["parameters"], written["seconds"]
    out.print(f"{written['folder']}: {FORMATS[written['format']]}")
    out.print(f"heads       {written['heads']:,} -> {written['heads'] - removed:,}")
    out.print(f"parameters  {parameters[0]:,} -> {parameters[1]:,}")
    out.print(
        f"latency     {1000 * seconds[0]:.1f} ms -> {1000 * seconds[1]:.1f} ms "
        f"(one text of {written['length']} tokens, {written['device']}, in torch)"
    )
    if written["onnx_difference"] is not None:
        out.print(f"onnxruntime differs by {written['onnx_difference']:.1e} from torch")


def _check_model_is_here(store: Store, name: str) -> None:
    """Raise InputError for a folder that only the server has: the model is written here."""
    if store.address is not None and name.startswith("/") and not Path(name).is_dir():
        message = f"is a folder of {store.address}, and this machine has none of that name"
        raise refuse("model", name, message, "Run `headwise prune` there.")


def _chosen(store: Store, job: int) -> int:
    choice = store.pruning(job)["choice"]
    if choice is None or choice["chosen_mask"] is None:
        remedy = "Submit it with `within`, and wait until it has succeeded."
        raise refuse("--chosen", None, f"job {job} has not chosen a point", remedy)
    return int(choice["chosen_mask"])


def _find(store: Store, job: int, wanted: PointOptions) -> Facts:
    points: list[Facts] = store.pruning(job)["points"]
    if not points:
        raise refuse("JOB", job, "has no points yet", "Wait until it is planned.")
    if wanted.point is None:
        return _nearest(points, wanted)
    if not 0 <= wanted.point < len(points):
        remedy = f"It has points 0 to {len(points) - 1}."
        raise refuse("--point", wanted.point, f"job {job} has no such point", remedy)
    return points[wanted.point]


def _nearest(points: Sequence[Facts], wanted: PointOptions) -> Facts:
    """Find the point with the wanted share of heads removed, on the curve of one ranking."""
    share = wanted.share or 0.0
    known = list(dict.fromkeys(point["source"] for point in points))
    source = wanted.source or known[0]
    if source not in known:
        message = "is not a ranking of this job"
        raise refuse("--source", source, message, nearest(source, known))
    ways = {point["direction"] for point in points if point["source"] == source}
    if wanted.direction not in ways | {"least"}:
        remedy = nearest(wanted.direction, ways)
        raise refuse("--direction", wanted.direction, "is unknown", remedy)
    curve = [
        point
        for point in points
        if point["source"] == source
        and point["draw"] == 0
        and point["direction"] in (wanted.direction, "any")
        and point["scope"] in ("global", "choice")
    ]
    near = [point for point in curve if abs(point["share"] - share) < 0.005]
    if not near:
        every = [one for one in curve if one["scope"] == "global"]
        shares = sorted({f"{one['share']:.3g}" for one in every}, key=float)
        remedy = f"Known: {', '.join(shares)}."
        raise refuse("--share", wanted.share, f"{source} has no point of this share", remedy)
    return min(near, key=lambda one: abs(one["share"] - share))


def _write(
    job: Facts, removed: Sequence[Sequence[int]], to: Path, form: str, settings: Settings
) -> dict[str, Any]:
    """Write the model, load it again, and compare it with the original."""
    try:
        # Not at the top: torch takes seconds to import and is not installed everywhere.
        from transformers.utils.logging import disable_progress_bar

        from headwise import HeadwiseError as EngineError
        from headwise.pruning.structure import describe
        from jobs.inputs.models.configuration import model_facts
        from jobs.specs.submission import parse_spec
        from workers.model_cache import ModelCache
    except ImportError as error:
        remedy = "Run `make install` in the checkout."
        raise refuse("prune", None, f"needs torch and transformers: {error}", remedy) from None
    disable_progress_bar()
    # torch's exporter warns about a package that no text model needs.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    spec = parse_spec(job["spec"])
    try:
        loaded = ModelCache(settings).get(spec)
        known = (None, loaded.fingerprint, loaded.earlier_fingerprint)
        if job["model_fingerprint"] not in known:
            message = f"its files have changed since job {job['id']}"
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
    loaded: LoadedModel, removed: Sequence[Sequence[int]], to: Path, form: str
) -> tuple[PreTrainedModel, float | None]:
    """Write the model; returns it as it loads again, and the difference of ONNX from torch."""
    import numpy as np

    import headwise
    from headwise.pruning.export import (
        load_pruned,
        save_masked,
        save_onnx,
        save_pruned,
        smallest,
    )

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
    return smallest(loaded.model, mask), difference
