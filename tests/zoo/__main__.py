"""Every model type through every step of jobs: `make zoo`, or `make zoo ARGS="bert t5"`.

Prints what became of each, and ends with status 1 where anything failed or differed. A run over
all types writes the table of jobs in docs/reference/architectures.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import structlog
import torch
from transformers.utils import logging as transformers_logging

from benchmarks.architectures import write_jobs
from benchmarks.tiny import classifiers
from tests.zoo.roundtrip import Finding, examine

ONNX = frozenset(
    {"bert", "roberta", "distilbert", "deberta-v2", "modernbert", "bart", "t5", "gpt2", "llama"}
)
"""Types that are exported as ONNX, too: it takes several seconds each."""


def main() -> int:
    """Take all types, or those that are named, through all steps."""
    parser = argparse.ArgumentParser(prog="python -m tests.zoo")
    parser.add_argument("kind", nargs="*", metavar="TYPE", help="default: all")
    kinds = parser.parse_args().kind or classifiers()
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    torch.set_num_threads(1)
    findings = []
    for kind in kinds:
        began = time.monotonic()
        formats = ("masked", "smaller", *(["onnx"] if kind in ONNX else []))
        with tempfile.TemporaryDirectory(prefix="headwise-zoo-") as home:
            findings.append(examine(kind, Path(home) / kind, formats))
        sys.stdout.write(f"{line(findings[-1])}, {time.monotonic() - began:.1f} s\n")
        sys.stdout.flush()
    failed = [finding for finding in findings if finding.faults]
    refused = sum(bool(finding.refused) for finding in findings)
    sys.stdout.write(f"{len(findings)} types, {refused} refused, {len(failed)} failed\n")
    if len(kinds) == len(classifiers()) and not failed:
        write_jobs({f.kind: (f.tokenizer, list(f.written)) for f in findings if not f.refused})
    return int(bool(failed))


def line(finding: Finding) -> str:
    """The outcome for a type, in a line."""
    if finding.refused:
        parts = [finding.refused]
    else:
        parts = [finding.tokenizer]
        parts += [f"{step} {each:.0e}" for step, each in finding.differences.items()]
        parts += [f"no {form}" for form in finding.exports if form not in finding.written]
    return (
        f"{finding.kind}: {', '.join(parts)}{''.join(f' FAULT: {one}' for one in finding.faults)}"
    )


if __name__ == "__main__":
    sys.exit(main())
