"""The result object: labels, edges, tables and files."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import headwise
from headwise.errors import OptionError
from headwise.result import Attribution
from headwise.segmentation import Span
from tests.helpers.classifiers import random_inputs, tiny


@pytest.fixture(scope="module")
def result():
    model = tiny()
    return headwise.attribute_encoded(
        model, random_inputs(model, (5, 2, 8)), integration="gauss-legendre:2", edges=60
    )


def test_shapes_and_types(result):
    assert len(result) == 3
    shapes = {
        "scores": (3, 3, 4), "totals": (3, 3, 4), "positions": (3, 3, 4, 2),
        "attention_max": (3, 3, 4), "attention_mean": (3, 3, 4), "f0": (3, 3), "f1": (3, 3),
        "residual": (3, 3), "points": (3, 3), "converged": (3, 3), "edge_site": (3, 60),
        "edge_value": (3, 60), "predicted": (3,), "target": (3,), "probabilities": (3, 3),
        "truncated": (3,),
    }  # fmt: skip
    for name, shape in shapes.items():
        assert getattr(result, name).shape == shape
    assert result.scores.dtype == result.edge_value.dtype == np.float32
    assert result.f0.dtype == result.residual.dtype == np.float64
    assert result.points.dtype == result.positions.dtype == np.int32
    assert [matrix.shape for matrix in result.matrices] == [(3, 4, n, n) for n in (5, 2, 8)]
    assert (result.points == 2).all()


def test_scores_and_positions_are_those_of_the_matrices(result):
    for example in range(3):
        for site in range(3):
            for head in range(4):
                matrix = result.matrix(example, site, head)
                query, key = result.positions[example, site, head]
                assert matrix[query, key] == matrix.max() == result.scores[example, site, head]


def test_edges_are_the_largest_cells_in_order(result):
    """Ties aside: where the classifier reads one token, most cells of the last layer are zero."""
    for example, edges in enumerate(result.edges()):
        cells = np.sort(result.matrices[example].ravel())[::-1]
        assert len(edges) == min(60, cells.size)
        np.testing.assert_array_equal([edge.value for edge in edges], cells[: len(edges)])
        for edge in edges:
            matrix = result.matrix(example, edge.site.layer, edge.head)
            assert matrix[edge.query, edge.key] == np.float32(edge.value)
            assert 0 < edge.attention < 1
    assert [len(edges) for edges in result.edges(3)] == [3, 3, 3]
    assert result.edges(3)[0] == result.edges()[0][:3]


def test_fewer_cells_than_edges(result):
    """Two tokens have 3 x 4 x 4 = 48 cells; the rest is marked."""
    assert (result.edge_site[1, 48:] == -1).all()
    assert np.isnan(result.edge_value[1, 48:]).all()
    assert (result.edge_site[1, :48] >= 0).all()


def test_importance_is_the_mean_score(result):
    np.testing.assert_allclose(result.importance(), result.scores.mean(0), rtol=1e-6)


def test_token_attribution_sums_over_heads_and_queries(result):
    for tokens, matrices in zip(result.token_attribution, result.matrices, strict=True):
        np.testing.assert_allclose(tokens, matrices.sum((1, 2)), atol=1e-6)


def test_save_and_load(result, tmp_path):
    result.save(tmp_path / "result.safetensors")
    loaded = Attribution.load(tmp_path / "result.safetensors")
    for field in dataclasses.fields(result):
        before, after = getattr(result, field.name), getattr(loaded, field.name)
        if field.name in ("matrices", "token_attribution"):
            assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        elif isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
        else:
            assert before == after


def test_what_a_head_reads_of_each_token(tmp_path):
    model, lengths = tiny(), (5, 2, 8)
    kept = headwise.attribute_encoded(
        model,
        random_inputs(model, lengths),
        integration="gauss-legendre:2",
        head_token_attribution=True,
    )
    for by_head, matrix, by_token in zip(
        kept.head_token_attribution, kept.matrices, kept.token_attribution, strict=True
    ):
        np.testing.assert_allclose(by_head, matrix.sum(2), atol=1e-6)
        np.testing.assert_allclose(by_head.sum(1), by_token, atol=1e-6)
    kept.save(tmp_path / "kept.safetensors")
    loaded = Attribution.load(tmp_path / "kept.safetensors").head_token_attribution
    assert [part.shape for part in loaded] == [(3, 4, n) for n in lengths]
    np.testing.assert_array_equal(loaded[2], kept.head_token_attribution[2])


def test_files_from_before_the_characters_of_tokens(result, tmp_path):
    path = tmp_path / "result.safetensors"
    dataclasses.replace(result, token_spans=((Span(0, 1, 2), None),) * len(result)).save(path)
    assert Attribution.load(path).token_spans == ((Span(0, 1, 2), None),) * len(result)
    with safe_open(path, framework="numpy") as file:
        ((version, stored),) = file.metadata().items()
    header = json.loads(stored)
    del header["token_spans"]
    save_file(load_file(path), path, metadata={version: json.dumps(header)})
    assert Attribution.load(path).token_spans == tuple((None,) * len(t) for t in result.tokens)


def test_without_matrices(result, tmp_path):
    model = tiny()
    plain = headwise.attribute_encoded(
        model, random_inputs(model, (5,)), integration="gauss-legendre:2", matrices=False
    )
    np.testing.assert_allclose(plain.scores[0], result.scores[0], atol=1e-6)
    with pytest.raises(OptionError, match="matrices=True"):
        plain.matrix(0, 0, 0)
    plain.save(tmp_path / "plain.safetensors")
    assert Attribution.load(tmp_path / "plain.safetensors").matrices is None


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(OptionError, match="not a safetensors file"):
        Attribution.load(path)


def test_no_such_head(result):
    for layer, head in ((3, 0), (0, 4), (0, -1)):
        with pytest.raises(OptionError, match="no layer"):
            result.matrix(0, layer, head)


def test_a_layer_with_several_sites_needs_its_type(result):
    """As the layers of a decoder have; here made from the sites of an encoder."""
    types = (("decoder", 0), ("cross", 0), ("decoder", 1))
    sites = tuple(
        dataclasses.replace(site, attention_type=attention_type, layer=layer)
        for site, (attention_type, layer) in zip(result.sites, types, strict=True)
    )
    several = dataclasses.replace(result, sites=sites)
    with pytest.raises(OptionError, match="attention_type, one of 'decoder', 'cross'"):
        several.matrix(0, 0, 2)
    np.testing.assert_array_equal(several.matrix(0, 0, 2, "cross"), result.matrix(0, 1, 2))
    np.testing.assert_array_equal(several.matrix(0, 1, 2), result.matrix(0, 2, 2))
    with pytest.raises(OptionError, match="no layer 1 of type 'cross'"):
        several.matrix(0, 1, 2, "cross")
    assert set(several.to_dataframe().attention_type) == {"decoder", "cross"}
    assert "cross 0" in several._repr_html_()


def test_data_frame(result):
    frame = result.to_dataframe()
    assert len(frame) == 3 * 3 * 4
    row = frame[(frame.example == 2) & (frame.layer == 1) & (frame["head"] == 3)].iloc[0]
    assert row.score == result.scores[2, 1, 3]
    assert row.key == result.positions[2, 1, 3, 1]
    assert row.attention_type == "encoder"
