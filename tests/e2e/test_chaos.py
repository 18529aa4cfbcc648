"""``make chaos`` in three minutes: every kind of fault, and the proof after them.

Over two streams, one in a driver of its own and one in the suite: with five, two cores spend most of the time on
compiling what was killed, and start, recovery and catching up take over a quarter of an hour.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.plan import KINDS
from headwater.contracts import STREAMS
from headwater.settings import REPOSITORY

NAMES = ("sales", "aircraft")
COMMAND = [sys.executable, "-m", "benchmarks.chaos", "--minutes", "3", "--seed", "1", "--streams", *NAMES]


@pytest.mark.timeout(1500)
def test_nothing_is_lost_and_nothing_doubled_over_all_faults(tmp_path: Path) -> None:
    environ = os.environ | {"HEADWATER_HOME": str(tmp_path)}
    with (tmp_path / "said").open("w") as said:
        code = subprocess.run(
            COMMAND, cwd=REPOSITORY, env=environ, stdout=said, stderr=subprocess.STDOUT, check=False
        ).returncode
    (kept,) = tmp_path.glob("chaos/*/report.json")
    report = json.loads(kept.read_text())
    everything = (tmp_path / "said").read_text()
    assert (report["lost"], report["doubled"]) == (0, 0), everything
    assert report["holds"], everything
    assert code == 0
    struck = {fault["kind"] for fault in report["faults"]}
    assert struck == set(KINDS) - {line.split()[0] for line in report["left_out"]}
    assert set(report["proofs"]) == set(NAMES)
    for name, proof in report["proofs"].items():
        account = proof["account"]
        assert account["consumed"] == account["records"] + account["rejected"], name
        # The run itself would be worth little without any of these.
        assert min(proof["acknowledged"], account["rejected"], proof["repeated_events"]) > 0, name
        assert {comparison["table"] for comparison in proof["comparisons"]} >= {t.name for t in STREAMS[name].tables}
    assert set(report["pages"].values()) == {""}
    assert len(report["pages"]) == 4
