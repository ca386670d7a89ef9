"""The program that the scripts of this folder run; MELFLOW names another."""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MELFLOW = os.environ.get("MELFLOW") or str(ROOT / "build/release/tools/melflow")
SCRIPT = Path(sys.argv[0]).name


def reason(said, code):
    """Why melflow ended with this code: its own lines, or all that it said."""
    lines = [line for line in said.splitlines() if line.startswith("melflow")] or said.split("\n")
    return f"{SCRIPT}: " + ("\n".join(lines).strip() or f"melflow ended with {code}")


def melflow(*words, partly=False):
    """Runs it and returns what it prints. Where it fails, or with `partly` where all of it does, it has said why, and the
    script ends."""
    try:
        run = subprocess.run([MELFLOW, *map(str, words)], capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"{SCRIPT}: {MELFLOW}: {error.strerror}; tools/build release makes it, and MELFLOW names another")
    if run.returncode not in ([0, 1] if partly else [0]):
        sys.exit(reason(run.stderr, run.returncode))
    return run.stdout


def melflow_bench(*words):
    """The last line of a bench; without "subject" where the machine was not quiet."""
    return json.loads(melflow("bench", *words, "--json", partly=True).splitlines()[-1])
