"""A million changes out of a real PostgreSQL, decoded and landed, beside the server's own decoding.

The server's own decoding is ``SELECT count(*)`` over the slot: no row leaves it. Ours is the whole
query: fetch, decode, write the change log, commit, acknowledge. Both stand in front of the same
slot; ours comes last, because it takes the changes::

    python -m benchmarks.postgres [--changes 1000000] [--rounds 3]

Six in ten changes are inserts, three updates, one a delete, in transactions of a thousand.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from benchmarks.measuring import median_ratio, own_peak
from orchestration import delta_sink, postgres, stream
from orchestration.cli.private_postgres import private_postgres
from orchestration.config import Settings
from orchestration.runtime.query import StreamingQuery

_TRANSACTION = 1000
_MEMORY = 1024 * 1024 * 1024
#: Of the server's speed. It decodes before the first row is sent, and then waits for us.
_PROMISED = 0.2
_SLOT = "headwater_bench"

_SCHEMA = """
CREATE TABLE t (id bigint PRIMARY KEY, cust int, status text, note text, amount numeric(12,2),
                ts timestamptz);
CREATE PROCEDURE fill(first bigint, transactions int) LANGUAGE plpgsql AS $$
BEGIN
  FOR k IN 0 .. transactions - 1 LOOP
    INSERT INTO t SELECT first + k * 600 + g, g % 1000, 'open', 'note number ' || g, g * 1.25, now()
      FROM generate_series(1, 600) g;
    UPDATE t SET status = 'closed', amount = amount + 1
      WHERE id > first + k * 600 AND id <= first + k * 600 + 300;
    DELETE FROM t WHERE id > first + k * 600 AND id <= first + k * 600 + 100;
    COMMIT;
  END LOOP;
END $$;
"""
_COUNT = """
SELECT count(*) FROM pg_logical_slot_peek_binary_changes(%s, null, null, 'proto_version', '1',
                                                         'publication_names', %s)
"""


def main() -> None:
    """Measure, print both, and say whether it is as promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    transactions = given.changes // _TRANSACTION
    server_seconds, our_seconds = [], []
    with (
        tempfile.TemporaryDirectory() as name,
        private_postgres({"max_wal_size": "8GB", "autovacuum": "off"}) as server,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        connection.execute(_SCHEMA)
        query = StreamingQuery(
            "bench_changes",
            stream(postgres(server.url, ["public.t"], _SLOT, _SLOT, snapshot="never")),
            sink=delta_sink("bench_changes"),
            settings=Settings.load(home=Path(name)),
        )
        query.run()
        for number in range(given.rounds):
            connection.execute("CALL fill(%s, %s)", (number * transactions * 600, transactions))
            started = time.perf_counter()
            connection.execute(_COUNT, (_SLOT, _SLOT)).fetchone()
            server_seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
            rows = sum(batch.num_output_rows for batch in query.run())
            our_seconds.append(time.perf_counter() - started)
            if rows < transactions * _TRANSACTION:
                raise SystemExit(f"{rows:,} rows came of {transactions * _TRANSACTION:,}")
    peak = own_peak()
    changes = transactions * _TRANSACTION
    part = median_ratio(our_seconds, server_seconds)
    server_speed = changes / statistics.median(server_seconds)
    our_speed = changes / statistics.median(our_seconds)
    print(f"{changes:,} changes, median of {given.rounds} rounds")
    print(f"  server decodes alone    {server_speed:>12,.0f} changes/s")
    print(f"  decoded and landed      {our_speed:>12,.0f} changes/s")
    print(f"  of the server's speed   {part:>12.0%}")
    print(f"  memory                  {peak / 1e6:>12,.0f} MB")
    fine = part >= _PROMISED and peak < _MEMORY
    print(
        "as promised" if fine else f"NOT as promised: {_PROMISED:.0%}, below {_MEMORY / 1e6:.0f} MB"
    )
    sys.exit(not fine)


if __name__ == "__main__":
    main()
