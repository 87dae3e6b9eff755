"""Queries that the console offers: each runs on SQLite and on PostgreSQL."""

from __future__ import annotations

SAVED: tuple[tuple[str, str], ...] = (
    (
        "The ten most important heads of the newest job",
        """SELECT rank, kind, layer, head, mean, low, high, n
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance)
ORDER BY rank
LIMIT 10""",
    ),
    (
        "Which layers matter most",
        """SELECT kind, layer, SUM(mean) AS importance, MAX(mean) AS strongest_head,
       AVG(mean_attention_max) AS attention
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance)
GROUP BY kind, layer
ORDER BY kind, layer""",
    ),
    (
        "Heads whose attention is high and whose importance is low",
        """SELECT kind, layer, head, rank, mean, mean_attention_max
FROM head_importance
WHERE job_id = (SELECT MAX(job_id) FROM head_importance) AND mean_attention_max > 0.5
ORDER BY mean
LIMIT 10""",
    ),
    (
        "Pairs that are strong in many examples",
        """SELECT COALESCE(query_word, query_token) AS query_word,
       COALESCE(key_word, key_token) AS key_word,
       COUNT(DISTINCT example) AS examples, AVG(attribution) AS attribution
FROM token_edges
WHERE job_id = (SELECT MAX(job_id) FROM token_edges)
GROUP BY 1, 2
ORDER BY examples DESC, attribution DESC
LIMIT 25""",
    ),
    (
        "Strongest pairs between two words of the text",
        """SELECT example, kind, layer, head, query_word, key_word, attribution
FROM token_edges
WHERE job_id = (SELECT MAX(job_id) FROM token_edges)
  AND query_word IS NOT NULL AND key_word IS NOT NULL AND query <> key
ORDER BY attribution DESC
LIMIT 25""",
    ),
    (
        "Wrong predictions",
        """SELECT example, gold, predicted, probabilities, text_a, text_b
FROM examples
WHERE job_id = (SELECT MAX(job_id) FROM examples) AND gold <> predicted
ORDER BY example
LIMIT 50""",
    ),
    (
        "Gold against predicted labels",
        """SELECT gold, predicted, COUNT(*) AS examples
FROM examples
WHERE job_id = (SELECT MAX(job_id) FROM examples)
GROUP BY gold, predicted
ORDER BY gold, predicted""",
    ),
    (
        "Does the attribution add up? By layer",
        """SELECT kind, layer, COUNT(*) AS examples, AVG(ABS(residual)) AS mean_residual,
       MAX(ABS(residual)) AS worst_residual, AVG(points) AS points,
       AVG(CASE WHEN converged THEN 1.0 ELSE 0.0 END) AS converged
FROM completeness
WHERE job_id = (SELECT MAX(job_id) FROM completeness)
GROUP BY kind, layer
ORDER BY kind, layer""",
    ),
    (
        "Which heads differ between right and wrong predictions",
        """SELECT h.kind, h.layer, h.head,
       AVG(CASE WHEN e.gold = e.predicted THEN h.score END) AS right_score,
       AVG(CASE WHEN e.gold <> e.predicted THEN h.score END) AS wrong_score
FROM head_scores h
JOIN examples e ON e.job_id = h.job_id AND e.example = h.example
WHERE h.job_id = (SELECT MAX(job_id) FROM examples) AND e.example < 1000
GROUP BY h.kind, h.layer, h.head
ORDER BY ABS(AVG(CASE WHEN e.gold = e.predicted THEN h.score END)
           - AVG(CASE WHEN e.gold <> e.predicted THEN h.score END)) DESC
LIMIT 20""",
    ),
    (
        "Speed of every worker",
        """SELECT worker, device, COUNT(*) AS shards, SUM(examples) AS examples,
       SUM(examples) / SUM(seconds) AS examples_per_second
FROM attempts
WHERE outcome = 'done' AND seconds > 0
GROUP BY worker, device
ORDER BY examples_per_second DESC""",
    ),
    (
        "Shards that needed more than one attempt",
        """SELECT job_id, shard, fence, worker, outcome, error
FROM attempts
WHERE outcome IS NOT NULL AND outcome <> 'done'
ORDER BY job_id DESC, shard, fence
LIMIT 100""",
    ),
)
