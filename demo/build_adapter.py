"""Create adapter.safetensors: the low-rank difference that fine-tuning made to the encoder.

    python -m demo.build_adapter FINE_TUNED_FOLDER [--bytes 3500000] [--output FILE]

FINE_TUNED_FOLDER holds all-MiniLM-L6-v2 fine-tuned as a BertForSequenceClassification with
three labels. Needed only to recreate the adapter; the demo uses the file in this folder.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from demo.model import ADAPTER, ENCODER_SHA256, Tensors, encoder_dir, encoder_weights, sha256_of

DEFAULT_BYTES = 3_500_000
LIMIT_BYTES = 5_000_000


class Decomposition(NamedTuple):
    """Singular value decomposition left @ diag(values) @ right of a matrix [out, in], float64."""

    left: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: NDArray[np.float32]) -> "Decomposition":
        """Decompose `matrix`; the signs of each pair, which LAPACK leaves open, follow a rule."""
        left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        sign = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
        return cls(left * sign, values, right * sign[:, None])

    def factors(self, rank: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Return float16 factors up [out, rank] and down [rank, in] of the best approximation.

        It is the nearest matrix of that rank in the Frobenius norm (Eckart and Young 1936). Each
        singular value is shared evenly between the factors, which keeps both well within the range
        of half precision.
        """
        root = np.sqrt(self.values[:rank])
        up = self.left[:, :rank] * root
        down = root[:, None] * self.right[:rank]
        return up.astype(np.float16), down.astype(np.float16)

    @property
    def bytes_per_rank(self) -> int:
        """Size of one column of `up` and one row of `down`, at two bytes per number."""
        return 2 * int(self.left.shape[0] + self.right.shape[1])


def share_ranks(parts: dict[str, Decomposition], budget: int) -> dict[str, int]:
    """Choose the rank of each matrix so that all factors fit into `budget` bytes.

    Singular pairs of all matrices are taken in order of energy (squared singular value) per byte,
    so layers that fine-tuning changed along few directions leave room for the others.
    """
    gains = sorted(
        (-(value**2) / part.bytes_per_rank, name)
        for name, part in parts.items()
        for value in part.values
    )
    ranks = dict.fromkeys(parts, 0)
    for _, name in gains:
        budget -= parts[name].bytes_per_rank
        if budget < 0:
            break
        ranks[name] += 1
    return ranks


def factor(encoder: Tensors, tuned: Tensors, budget: int) -> Tensors:
    """Compute the adapter's tensors, about `budget` bytes, as `demo.model.merge` reads them.

    Tensors equal to the encoder's, rounded like the stored fine-tuned ones, have no entry: the
    embeddings were frozen.
    """
    adapter: Tensors = {}
    matrices: dict[str, Decomposition] = {}
    for name, tensor in sorted(tuned.items()):
        if name not in encoder:
            adapter[name] = tensor.astype(np.float16)
        elif not np.array_equal(encoder[name].astype(tensor.dtype), tensor):
            change = tensor.astype(np.float32) - encoder[name]
            if change.ndim == 1:
                adapter[f"{name}.delta"] = change.astype(np.float16)
            else:
                matrices[name] = Decomposition.of(change)
    left = budget - sum(tensor.nbytes for tensor in adapter.values())
    for name, rank in share_ranks(matrices, left).items():
        if rank:
            adapter[f"{name}.up"], adapter[f"{name}.down"] = matrices[name].factors(rank)
    return adapter


def main() -> None:
    """Command line: factor the given fine-tuned folder."""
    parser = argparse.ArgumentParser(description="Make the demo model's adapter.")
    parser.add_argument("tuned", type=Path, help="folder of the fine-tuned model")
    parser.add_argument("--bytes", type=int, default=DEFAULT_BYTES, help="size of the tensors")
    parser.add_argument("--output", type=Path, default=ADAPTER)
    options = parser.parse_args()
    if not 0 < options.bytes < LIMIT_BYTES:
        parser.error(f"--bytes {options.bytes}: give more than 0 and less than {LIMIT_BYTES}")
    weights = options.tuned / "model.safetensors"
    adapter = factor(encoder_weights(encoder_dir()), load_file(weights), options.bytes)
    origin = {"encoder_sha256": ENCODER_SHA256, "tuned_sha256": sha256_of(weights)}
    # One key: safetensors writes several in an order that changes from run to run.
    save_file(adapter, options.output, metadata={"adapter": json.dumps(origin)})
    ranks = [tensor.shape[0] for name, tensor in adapter.items() if name.endswith(".down")]
    size = options.output.stat().st_size
    print(f"{options.output}: {size} bytes, {len(ranks)} matrices, ranks {min(ranks)}-{max(ranks)}")


if __name__ == "__main__":
    main()
