#!/usr/bin/env python3
"""Whether melflow sees in other people's checkpoints what PyTorch sees, number for number, without running them.

    tests/tools/checkpoint_listing.py PROGRAM FILE_OR_FOLDER…

Beside `melflow inspect --sha256` stands torch.load(weights_only=True), or numpy without pickles. What Python's careful
readers refuse, melflow must refuse for the same reason. Needs torch, numpy and safetensors; prints one line a file.
"""
import argparse, hashlib, json, pathlib, re, subprocess, sys, warnings, zipfile

import numpy
import torch
from safetensors.torch import load_file

warnings.filterwarnings("ignore", message="Detected pickle protocol")

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
          torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
SUFFIXES = {".pt", ".pth", ".jit", ".pkl", ".npy", ".npz", ".ckpt", ".safetensors", ".onnx", ".h5"}


def tensors(value, path=""):
    """{path: tensor}, as `inspect` names them: dictionary keys and list indices joined by dots."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = {}
    for key, item in items:
        found.update(tensors(item, f"{path}.{key}" if path else str(key)))
    return found


def row(tensor):
    tensor = tensor.detach().contiguous()
    numbers = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return [DTYPES[tensor.dtype], list(tensor.shape), hashlib.sha256(numbers).hexdigest()]


def python_sees(path):
    """(rows by name, or None where Python refuses, words of which melflow's refusal must have one)."""
    head = path.read_bytes()[:8]
    if head.startswith(b"\x93NUMPY"):
        try:
            return {"": ["array", list(numpy.load(path, allow_pickle=False).shape)]}, []
        except ValueError:
            return None, ["object"]
    if zipfile.is_zipfile(path) and any(n.endswith("/constants.pkl") for n in zipfile.ZipFile(path).namelist()):
        return None, ["TorchScript"]
    def opened():
        load = load_file if path.suffix == ".safetensors" else lambda p: torch.load(p, "cpu", weights_only=True)
        return {k: row(v) for k, v in tensors(load(path)).items()}

    try:
        return opened(), []
    except Exception as error:
        if re.search(r"GLOBAL (glow|torch.nn.modules)|glow\.", str(error)):
            return None, []  # a pickled WaveGlow: melflow reads more than Python's careful reader
        # Plain data; melflow lists what stands beside it, and refuses it by name.
        with torch.serialization.safe_globals([argparse.Namespace]):
            try:
                return opened(), ["argparse.Namespace"]
            except Exception:
                return None, ["Python pickle"]


def check(program, path):
    """(whether all is well, what was found)."""
    done = subprocess.run([program, "inspect", "--json", "--sha256", path], capture_output=True, text=True)
    ours = json.loads(done.stdout) if done.stdout else {}
    refusal = ours.get("refused", done.stderr if done.returncode else "")
    want, reasons = python_sees(path)
    if reasons and not any(reason in refusal for reason in reasons):
        return False, f"refused as {refusal.strip()!r}, where Python's reader says {reasons}"
    if not reasons and done.returncode:
        return False, f"Python's reader opens it; melflow: {refusal.strip()}"
    if want is None:
        return True, "refused alike" if reasons else "opened, which Python's careful reader cannot"
    if "shape" in ours:
        return [ours["shape"]] == [w[1] for w in want.values()], f"shape {ours['shape']}"
    have = {t["name"]: [t["dtype"], t["shape"], t["sha256"]] for t in ours["tensors"]}
    for name in sorted(want.keys() | have.keys()):
        if want.get(name) != have.get(name):
            return False, f"tensor {name!r}: melflow {have.get(name)}, Python {want.get(name)}"
    return True, f"{len(have)} tensors, the same" + (f"; refused for {reasons[0]}" if reasons else "")


def main():
    program, *roots = sys.argv[1:]
    paths = []
    for root in map(pathlib.Path, roots):
        paths += [root] if root.is_file() else [p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix in SUFFIXES]
    wrong = 0
    for path in paths:
        well, found = check(program, path)
        wrong += not well
        print(f"{path}: {found}")
    print(f"{len(paths)} files, {wrong} seen otherwise")
    return 1 if wrong or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
