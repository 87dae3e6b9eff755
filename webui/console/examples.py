"""Queries that the console offers, by the question they answer; each runs on both databases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Example:
    """A query to start from."""

    question: str
    """A question of researchers; queries of one question stand together."""
    title: str
    about: str
    """One sentence: what its rows are."""
    sql: str
    chart: str = ""
    """The chart that shows its result best."""


_HEADS = "Which heads matter?"
_TOKENS = "What do they look at?"
_WRONG = "Where is the model wrong?"
_PRUNING = "Can heads be removed?"
_TRIGGERS = "Do triggers transfer?"
_TRUST = "Can the numbers be trusted?"
_COST = "What does it cost?"


EXAMPLES: tuple[Example, ...] = (
    Example(
        question=_HEADS,
        title="The ten most important heads",
        about="The newest job's ranking, with the 95 % interval of each mean.",
        sql="""SELECT rank, attention_type, layer, head, mean, low, high, n
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance)
ORDER BY rank
LIMIT 10""",
    ),
    Example(
        question=_HEADS,
        title="Importance by layer",
        about="The newest job's importance summed over the heads of each layer.",
        sql="""SELECT attention_type, layer, SUM(mean) AS importance, MAX(mean) AS strongest_head,
       AVG(mean_attention_max) AS attention
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance)
GROUP BY attention_type, layer
ORDER BY attention_type, layer""",
        chart="line",
    ),
    Example(
        question=_HEADS,
        title="Heads that attend strongly and matter little",
        about="Heads whose rank by attention is far above their rank by importance.",
        sql="""SELECT attention_type, layer, head, rank, mean, mean_attention_max,
       RANK() OVER (ORDER BY mean_attention_max DESC) AS attention_rank
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance)
ORDER BY rank - RANK() OVER (ORDER BY mean_attention_max DESC) DESC, rank
LIMIT 10""",
    ),
    Example(
        question=_HEADS,
        title="Heads that matter in job after job",
        about="The mean, best and worst rank of each head over all finished jobs.",
        sql="""SELECT attention_type, layer, head, COUNT(*) AS jobs, AVG(rank) AS mean_rank,
       MIN(rank) AS best_rank, MAX(rank) AS worst_rank
FROM head_importance
GROUP BY attention_type, layer, head
ORDER BY mean_rank
LIMIT 20""",
    ),
    Example(
        question=_HEADS,
        title="Heads on which two rankings disagree",
        about="Of the newest job with several rankings, the heads whose ranks are furthest apart.",
        sql="""SELECT a.layer, a.head, a.source AS one, b.source AS other, a.rank AS rank_by_one,
       b.rank AS rank_by_other, ABS(a.rank - b.rank) AS apart
FROM importances a
JOIN importances b ON b.job_id = a.job_id AND b.attention_type = a.attention_type
  AND b.layer = a.layer AND b.head = a.head AND b.source > a.source
WHERE a.job_id = (SELECT MAX(o.job_id) FROM importances o
                  JOIN importances p ON p.job_id = o.job_id AND p.source > o.source)
ORDER BY apart DESC, a.layer, a.head
LIMIT 20""",
    ),
    Example(
        question=_TOKENS,
        title="Pairs that are strong in many examples",
        about="Words that attend to words, by the number of the newest job's examples.",
        sql="""SELECT COALESCE(query_word, query_token) AS query_word,
       COALESCE(key_word, key_token) AS key_word,
       COUNT(DISTINCT example) AS examples, AVG(attribution) AS attribution
FROM token_edges
WHERE job_id = (SELECT MAX(job_id) FROM token_edges)
GROUP BY 1, 2
ORDER BY examples DESC, attribution DESC
LIMIT 25""",
    ),
    Example(
        question=_TOKENS,
        title="The strongest pairs of two words",
        about="The newest job's cells with the largest attribution, special tokens left out.",
        sql="""SELECT example, attention_type, layer, head, query_word, key_word, attribution
FROM token_edges
WHERE job_id = (SELECT MAX(job_id) FROM token_edges)
  AND query_word IS NOT NULL AND key_word IS NOT NULL AND query <> key
ORDER BY attribution DESC
LIMIT 25""",
    ),
    Example(
        question=_WRONG,
        title="Wrong predictions",
        about="Texts that the model gave another label than the data, with the labels' names.",
        sql="""SELECT e.example, g.name AS gold, p.name AS predicted, e.text_a, e.text_b
FROM examples e
JOIN job_labels g ON g.job_id = e.job_id AND g.label = e.gold
JOIN job_labels p ON p.job_id = e.job_id AND p.label = e.predicted
WHERE e.job_id = (SELECT MAX(job_id) FROM examples WHERE gold <> predicted)
  AND e.gold <> e.predicted
ORDER BY e.example
LIMIT 50""",
    ),
    Example(
        question=_WRONG,
        title="Gold against predicted labels",
        about="The confusion matrix of the newest job with gold labels.",
        sql="""SELECT g.name AS gold, p.name AS predicted, COUNT(*) AS examples
FROM examples e
JOIN job_labels g ON g.job_id = e.job_id AND g.label = e.gold
JOIN job_labels p ON p.job_id = e.job_id AND p.label = e.predicted
WHERE e.job_id = (SELECT MAX(job_id) FROM examples WHERE gold IS NOT NULL)
GROUP BY g.name, p.name
ORDER BY g.name, p.name""",
        chart="bars",
    ),
    Example(
        question=_WRONG,
        title="Least certain predictions",
        about="Examples whose largest probability is smallest.",
        sql="""SELECT p.example, MAX(p.probability) AS largest_probability, e.text_a, e.text_b
FROM example_probabilities p
JOIN examples e ON e.job_id = p.job_id AND e.example = p.example
WHERE p.job_id = (SELECT MAX(job_id) FROM example_probabilities)
GROUP BY p.example, e.text_a, e.text_b
ORDER BY largest_probability
LIMIT 20""",
    ),
    Example(
        question=_WRONG,
        title="Heads that differ between right and wrong predictions",
        about="The mean score of each head over right and over wrong predictions.",
        sql="""SELECT h.attention_type, h.layer, h.head,
       AVG(CASE WHEN e.gold = e.predicted THEN h.score END) AS right_score,
       AVG(CASE WHEN e.gold <> e.predicted THEN h.score END) AS wrong_score
FROM head_scores h
JOIN examples e ON e.job_id = h.job_id AND e.example = h.example
WHERE h.job_id = (SELECT MAX(job_id) FROM examples WHERE gold <> predicted) AND e.example < 1000
GROUP BY h.attention_type, h.layer, h.head
ORDER BY ABS(AVG(CASE WHEN e.gold = e.predicted THEN h.score END)
           - AVG(CASE WHEN e.gold <> e.predicted THEN h.score END)) DESC
LIMIT 20""",
    ),
    Example(
        question=_PRUNING,
        title="Accuracy after pruning",
        about="The newest pruning job's accuracy by ranking, order and share of heads removed.",
        sql="""SELECT source, direction, share, AVG(accuracy) AS accuracy,
       MIN(accuracy_low) AS low, MAX(accuracy_high) AS high
FROM pruning_points
WHERE job_id = (SELECT MAX(job_id) FROM pruning_points)
  AND scope = 'global' AND accuracy IS NOT NULL
GROUP BY source, direction, share
ORDER BY source, direction, share""",
        chart="line",
    ),
    Example(
        question=_PRUNING,
        title="How many heads can go",
        about="The most heads that pruning jobs remove within their limit, on held-out examples.",
        sql="""SELECT j.job_id, j.model, c.removed, c.held_out_whole AS whole_model,
       c.held_out_accuracy AS without_heads, c.held_out_low, c.held_out_high, c.verified
FROM pruning_choices c
JOIN jobs j ON j.job_id = c.job_id
WHERE c.removed IS NOT NULL
ORDER BY j.job_id DESC""",
    ),
    Example(
        question=_TRIGGERS,
        title="Triggers that transfer",
        about="The weakest and strongest success of each mined trigger over jobs and models.",
        sql="""SELECT text, COUNT(DISTINCT job_id) AS jobs, COUNT(DISTINCT model) AS models,
       MIN(success) AS weakest, AVG(success) AS mean_success, MAX(success) AS strongest
FROM trigger_results
WHERE kind = 'mined' AND success IS NOT NULL
GROUP BY text
ORDER BY weakest DESC, mean_success DESC
LIMIT 20""",
    ),
    Example(
        question=_TRIGGERS,
        title="Triggers against their controls",
        about="The newest attack's mean success by the kind of its triggers, for each model.",
        sql="""SELECT kind, model, COUNT(*) AS results, AVG(success) AS mean_success,
       MAX(success) AS largest_success
FROM trigger_results
WHERE job_id = (SELECT MAX(job_id) FROM trigger_results) AND success IS NOT NULL
GROUP BY kind, model
ORDER BY model, mean_success DESC""",
        chart="bars",
    ),
    Example(
        question=_TRUST,
        title="Completeness errors by layer",
        about="How far the newest job's attributions are from adding up, and what that took.",
        sql="""SELECT attention_type, layer, COUNT(*) AS examples,
       AVG(ABS(residual)) AS mean_residual, MAX(ABS(residual)) AS worst_residual,
       AVG(points) AS points, AVG(CASE WHEN converged THEN 1.0 ELSE 0.0 END) AS converged
FROM completeness
WHERE job_id = (SELECT MAX(job_id) FROM completeness)
GROUP BY attention_type, layer
ORDER BY attention_type, layer""",
        chart="line",
    ),
    Example(
        question=_TRUST,
        title="The largest completeness errors",
        about="The examples and layers whose attributions add up worst.",
        sql="""SELECT example, attention_type, layer, residual, f1 - f0 AS change, points, converged
FROM completeness
WHERE job_id = (SELECT MAX(job_id) FROM completeness)
ORDER BY ABS(residual) DESC
LIMIT 20""",
    ),
    Example(
        question=_TRUST,
        title="What computed the results",
        about="Versions of packages by the number of attempts and jobs that they computed.",
        sql="""SELECT package, version, COUNT(*) AS attempts, COUNT(DISTINCT job_id) AS jobs
FROM attempt_versions
GROUP BY package, version
ORDER BY package, version""",
    ),
    Example(
        question=_COST,
        title="Cost of every job",
        about="Attempts, seconds of computing, failures included, and seconds per example.",
        sql="""SELECT j.job_id, j.kind, j.name, j.model, COUNT(*) AS attempts,
       SUM(a.seconds) AS seconds, SUM(a.seconds) / NULLIF(SUM(a.examples), 0) AS seconds_per_example
FROM jobs j
JOIN attempts a ON a.job_id = j.job_id
WHERE a.seconds IS NOT NULL
GROUP BY j.job_id, j.kind, j.name, j.model
ORDER BY seconds DESC
LIMIT 50""",
    ),
    Example(
        question=_COST,
        title="Speed of every worker",
        about="Examples per second of each worker over the shards that it finished.",
        sql="""SELECT worker, device, COUNT(*) AS shards, SUM(examples) AS examples,
       SUM(examples) / SUM(seconds) AS examples_per_second
FROM attempts
WHERE outcome = 'done' AND seconds > 0
GROUP BY worker, device
ORDER BY examples_per_second DESC""",
        chart="bars",
    ),
)
