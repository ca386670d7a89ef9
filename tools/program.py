"""The program that the scripts of this folder run; MELFLOW names another."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MELFLOW = os.environ.get("MELFLOW", str(ROOT / "build/release/tools/melflow"))


def melflow(*words):
    """Runs it and returns what it prints. Where it fails, it has said why, and the script ends."""
    run = subprocess.run([MELFLOW, *map(str, words)], capture_output=True, text=True)
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()
        sys.exit(f"{Path(sys.argv[0]).name}: {said[-1] if said else f'melflow ended with {run.returncode}'}")
    return run.stdout
