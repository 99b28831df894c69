"""What the fork server imports for its children."""

import subprocess
import sys

# What cannot be imported is kept quiet about, and only makes every child slower.
TOLD = """
import sys, threading
from stepladder.core.tracking import preload
from stepladder.core.training import preload as first
missing = [name for name in (*first.NAMES, *preload.NAMES) if name not in sys.modules]
print(missing, threading.active_count())
"""


def test_all_that_is_named_can_be_imported_and_no_thread_is_started(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TOLD], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[] 1\n"), done.stderr
