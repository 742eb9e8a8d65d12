"""Declaring a source loads no driver and no decoder: every Dagster step would pay for it."""

import re
import subprocess
import sys
from pathlib import Path


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


def test_the_guides_example_can_be_declared():
    text = (Path(__file__).parents[2] / "docs/postgres.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    found = {}
    exec(compile(code, "docs/postgres.md", "exec"), found)
    assert found["customers_match"].table == "public.customers"
    assert found["customers"].columns is not None
