"""Our reader and writer against PyPI's safetensors (the Rust reference), on random files and on damaged ones.

By hand: python safetensors_differential.py PATH/TO/safetensors_dump [--files 1000] [--mutants 5000] [--seed 1]
ctest runs it where the environment variable MELFLOW_PYTHON names a Python that has safetensors and numpy.

Passes where ours → theirs and theirs → ours are bit-equal for every file, and where ours refuses every mutant that
the reference refuses (it may refuse more: repeated keys, unknown fields and types it does not know).
"""

import argparse
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile

SKIPPED = 77
try:
    import numpy
    from safetensors import SafetensorError, deserialize, serialize_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}
# What serialize_file calls the types that it takes.
NAMES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "F16": "float16", "BF16": "bfloat16",
         "I32": "int32", "F32": "float32", "I64": "int64", "F64": "float64"}


def random_text(rng):
    return "".join(rng.choice("abcxyz._0189 \"\\\n\tüλ漢😀") for _ in range(rng.randint(1, 12)))


def random_tensors(rng):
    tensors = {}
    for _ in range(rng.randint(0, 6)):
        dtype = rng.choice(sorted(SIZES))
        shape = [rng.choice([0, 1, 1, 2, 3, 5]) for _ in range(rng.randint(0, 4))]
        count = int(numpy.prod(shape, dtype=numpy.int64))
        tensors[random_text(rng)] = {"dtype": NAMES[dtype], "shape": shape, "data": rng.randbytes(count * SIZES[dtype])}
    return tensors


def mutant_of(rng, data):
    """Byte damage, or (more often) damage to the header that leaves it JSON, with its length made right again."""
    kind = rng.randint(0, 5)
    length = int.from_bytes(data[:8], "little")
    header, body = data[8:8 + length], data[8 + length:]
    if kind == 0:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 1:
        return data[:rng.randrange(len(data))]
    if kind == 2:
        body += rng.randbytes(rng.randint(1, 4)) if rng.random() < 0.5 else b""
        header += rng.choice([b" ", b"\n", b"\0", b"{}", b",", b"\xff", b"//"])
    elif kind == 3:
        changed = bytearray(header)
        changed[rng.randrange(len(changed))] = rng.choice(b"{}[]\",:0123456789-.eEtfn\\ \0\x1f\x80")
        header = bytes(changed)
    else:
        content = json.loads(header)
        name = rng.choice(sorted(content)) if content else "new"
        if name == "__metadata__" or name == "new":
            content[name] = rng.choice([None, {}, {"a": 1}, {"a": "b"}, {"a": None}, [], "x", {"a": {"b": "c"}}])
        else:
            entry = content[name]
            number = rng.choice([0, 1, -1, 2, 7, 2**31, 2**62, 2**63, 2**64 - 1, 2**64, 1.0, 0.5, "1", None, []])
            field = rng.choice(["dtype", "shape", "data_offsets", "data_offsets", "shape", "extra"])
            if field == "dtype":
                entry[field] = rng.choice(["F32", "F64", "U8", "F8_E4M3", "f32", "", 3, None])
            elif field == "shape":
                entry[field] = rng.choice([entry[field] + [number], [number], [], number, entry[field][::-1]])
            elif field == "data_offsets":
                begin, end = entry[field]
                step = rng.choice([1, 2, 4, 8, -1, -4])
                entry[field] = rng.choice([[begin, end + step], [begin + step, end], [begin + step, end + step],
                                           [end, begin], [begin], [begin, end, end], [begin, number], [number, end]])
            else:
                if rng.random() < 0.5:
                    entry.pop(rng.choice(sorted(entry)))
                else:
                    entry["extra"] = number
        header = json.dumps(content).encode()
    return len(header).to_bytes(8, "little") + header + body


def write_theirs(tensors, path, metadata):
    """serialize_file takes addresses since safetensors 0.8, a dictionary with the bytes before."""
    try:
        from safetensors import TensorSpec
    except ImportError:
        serialize_file(tensors, path, metadata)
        return
    kept = {name: numpy.frombuffer(tensor["data"] or b"\0", dtype=numpy.uint8) for name, tensor in tensors.items()}
    specs = {name: TensorSpec(dtype=tensor["dtype"], shape=tensor["shape"], data_ptr=kept[name].ctypes.data,
                              data_len=len(tensor["data"])) for name, tensor in tensors.items()}
    serialize_file(specs, path, metadata)


def ours(program, lines, *arguments):
    done = subprocess.run([program, *arguments], input="".join(f"{line}\n" for line in lines), text=True,
                          capture_output=True, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines), f"{len(answers)} answers to {len(lines)} questions"
    return [answer.split("\t", 1) for answer in answers]


def theirs(data):
    return {name: [entry["dtype"], list(entry["shape"]), hashlib.sha256(bytes(entry["data"])).hexdigest()]
            for name, entry in deserialize(data)}


def check_round_trips(program, folder, rng, count):
    paths, metadata = [], []
    for i in range(count):
        metadata.append({random_text(rng): random_text(rng)} if rng.random() < 0.5 else None)
        paths.append(folder / f"{i}.safetensors")
        write_theirs(random_tensors(rng), str(paths[-1]), metadata[-1])
    rewritten = [path.with_suffix(".ours") for path in paths]
    answers = ours(program, [f"{a}\t{b}" for a, b in zip(paths, rewritten)], "rewrite")
    identical = 0
    for path, again, given, (verdict, text) in zip(paths, rewritten, metadata, answers):
        assert verdict == "ok", f"{path}: ours refuses a valid file: {text}"
        read, reference = json.loads(text), theirs(path.read_bytes())
        assert read["tensors"] == reference, f"{path}: theirs → ours differs"
        assert read["metadata"] == (given or {}), f"{path}: metadata differ"
        assert theirs(again.read_bytes()) == reference, f"{path}: ours → theirs differs"
        identical += path.read_bytes() == again.read_bytes()
    print(f"{count} files: theirs → ours and ours → theirs bit-equal; {identical} rewritten byte for byte")
    return paths


def check_mutants(program, folder, rng, paths, count):
    mutants, accepted = [], []
    for i in range(count):
        data = mutant_of(rng, rng.choice(paths).read_bytes())
        mutants.append(folder / f"mutant{i}")
        mutants[-1].write_bytes(data)
        try:
            accepted.append(theirs(data))
        except (SafetensorError, ValueError, OverflowError):
            accepted.append(None)
    stricter = both = 0
    for path, reference, (verdict, text) in zip(mutants, accepted, ours(program, mutants)):
        if verdict == "ok":
            assert reference is not None, f"ours accepts what the reference refuses: {path.read_bytes()!r}"
            assert json.loads(text)["tensors"] == reference, f"read otherwise: {path.read_bytes()!r}"
            both += 1
        else:
            stricter += reference is not None
    refused = count - both - stricter
    assert refused > count // 4, "the mutants are too mild to show anything"
    print(f"{count} mutants: {refused} refused by both, {both} accepted by both, {stricter} by the reference only")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paths = check_round_trips(options.program, folder, rng, options.files)
        check_mutants(options.program, folder, rng, paths, options.mutants)


if __name__ == "__main__":
    main()
