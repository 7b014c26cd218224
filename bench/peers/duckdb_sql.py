"""DuckDB's best hand-written SQL: the month's candidates, their rows of it, and of earlier months.

Every pass says which months it wants, so that row groups of other months are pruned by statistics; the
look back
goes on over twice as many months while a streak still holds. Semi-joins push the candidates into the scan.
The winner
of equal times is the row later in the source, by `filename` and `file_row_number`.

Slower, and so not here: one GROUP BY over everything (6 s); a winner for each account of the month before
filtering,
which would also count the month's duplicates; `duplicates_found` is therefore left out, in DuckDB's favour.
"""

import duckdb

from bench.support.answer import Answer, Question

LATEST = "row(coalesce(updated_at, '-infinity'::timestamp), filename, file_row_number)"
DETAILS = ("status", "arr", "account_name", "account_region", "renewal_date", "account_owner")


def answer(question: Question) -> Answer:
    """Answer with a connection of its own."""
    con = duckdb.connect(config={"threads": 2})
    source = f"read_parquet({question.files}, filename = true, file_row_number = true)"
    month, details = f"DATE '{question.month}'", ", ".join(f"{name} := {name}" for name in DETAILS)
    con.execute(f"""
        CREATE TEMP TABLE candidates AS
        SELECT DISTINCT account_id FROM {source}
        WHERE month = {month} AND status = 'At Risk' AND account_id <> ''""")
    con.execute(f"""
        CREATE TEMP TABLE at_risk AS
        SELECT account_id, unnest(winner) FROM (
            SELECT account_id, arg_max(struct_pack({details}), {LATEST}) AS winner FROM {source}
            WHERE month = {month} AND account_id IN (SELECT account_id FROM candidates) GROUP BY account_id)
        WHERE winner.status = 'At Risk'""")
    con.execute(f"""
        CREATE TEMP TABLE alerts AS
        SELECT *, 1 AS duration FROM at_risk WHERE arr IS NULL OR arr >= {question.threshold}""")
    oldest = con.execute(
        f"SELECT min(stats_min_value) FROM parquet_metadata({question.files}) WHERE path_in_schema = 'month'"
    ).fetchone()
    reached, look = 0, question.first_look
    while True:
        further = con.execute(f"""
            WITH winners AS (
                SELECT account_id, datediff('month', month, {month}) AS back FROM {source}
                WHERE month < {month} - INTERVAL {reached} MONTH
                  AND month >= {month} - INTERVAL {reached + look} MONTH
                  AND account_id IN (SELECT account_id FROM alerts WHERE duration = {reached + 1})
                GROUP BY account_id, month HAVING arg_max(status, {LATEST}) = 'At Risk'),
            streaks AS (
                SELECT account_id, count(*) AS longer FROM (
                    SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY back) AS nth FROM winners)
                WHERE back = nth + {reached} GROUP BY account_id)
            UPDATE alerts SET duration = duration + longer FROM streaks
            WHERE alerts.account_id = streaks.account_id""").fetchone()
        reached, look = reached + look, look * 2
        alive = con.execute("SELECT count(*) FROM alerts WHERE duration = ?", [reached + 1]).fetchone()
        start = con.execute(f"SELECT ({month} - INTERVAL {reached} MONTH)::DATE").fetchone()
        if not further or not alive or not alive[0] or not start or not oldest or str(start[0]) <= oldest[0]:
            break
    rows = con.execute(f"""
        SELECT account_id, duration, ({month} - INTERVAL 1 MONTH * (duration - 1))::DATE,
               coalesce(nullif(account_name, ''), account_id), account_region, arr, renewal_date,
               account_owner
        FROM alerts""").fetchall()
    at_risk = con.execute("SELECT count(*) FROM at_risk").fetchone()
    con.close()
    count = at_risk[0] if at_risk else 0
    return Answer(rows, count, count - len(rows))
