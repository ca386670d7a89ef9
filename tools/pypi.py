"""Packages from PyPI for the scripts of this folder, where the Python that runs them has none."""
import importlib
import os
import subprocess
import sys
import venv
from pathlib import Path

RIVALS = Path(__file__).resolve().parent.parent / ".deps/rivals"


def need(modules, packages):
    """Returns where `modules` can be imported: no network is needed there. Else installs `packages` into .deps/rivals and starts
    the script anew there."""
    try:
        for name in modules:
            importlib.import_module(name)
    except ImportError:
        python = RIVALS / "bin/python"
        if Path(sys.executable) == python:
            raise
        if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0:
            venv.create(RIVALS, with_pip=True, clear=True)  # there is none, or its making was interrupted
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *packages]).returncode != 0:
            sys.exit(f"{sys.argv[0]}: {sys.executable} has not all of {', '.join(modules)}, and pip could not install them")
        os.execv(python, [str(python), *sys.argv])
