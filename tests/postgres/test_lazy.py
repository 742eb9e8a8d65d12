"""Declaring a source loads no driver and no decoder: every Dagster step would pay for it."""

import subprocess
import sys


def test_declaring_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from orchestration import changes, delta, postgres, stream\n"
        "source = postgres('env:X', ['t'], 's', 'p')\n"
        "stream(source); changes(delta('log'), 't', {'id': 'BIGINT'}); source.describe()\n"
        "print([name for name in ('psycopg', 'pyarrow.compute', 'pyarrow.parquet', 'dagster', "
        "'deltalake', 'duckdb') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
