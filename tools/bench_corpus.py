#!/usr/bin/env python3
"""A made corpus of many clips, and how melflow trains on it: start, memory, waiting for data.

  tools/bench_corpus.py FOLDER [--clips 100000] [--steps 3000] [--set shuffle_mb=64 …]

FOLDER receives, once, shards of one-second clips of noise (4.4 GB for 100,000), and a folder of as many hard links. 200 sounds
are distinct: they are repeated under other names, in the shards as in the folder. Prints for both, with the page cache as it
is and, of the shards, emptied of them: seconds of a whole run of one step, from exec to its exit with a checkpoint; then
memory and the share of waiting over a training of a voice so small that data must come fast.
"""
import argparse
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import tempfile
import time
import wave

from program import MELFLOW, reason



def clip(number, seconds=1.0, rate=22050):
    """Noise whose level swells, as bytes of a WAV."""
    import random
    state = random.Random(number)
    samples = [int(state.gauss(0, 2000)) for _ in range(int(seconds * rate))]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *(max(-32768, min(32767, s)) for s in samples)))
    return out.getvalue()


def make(folder, clips, shards=10, different=200):
    sounds = [clip(i) for i in range(different)]
    (folder / "shards").mkdir(parents=True)
    (folder / "originals").mkdir()
    (folder / "links").mkdir()
    for i, sound in enumerate(sounds):
        (folder / "originals" / f"{i}.wav").write_bytes(sound)
    for i in range(clips):
        os.link(folder / "originals" / f"{i % different}.wav", folder / "links" / f"{i:06}.wav")
    for shard in range(shards):
        with tarfile.open(folder / "shards" / f"noise-{shard:06}.tar", "w") as tar:
            for i in range(shard * clips // shards, (shard + 1) * clips // shards):
                entry = tarfile.TarInfo(f"{i:06}.wav")
                entry.size = len(sounds[i % different])
                tar.addfile(entry, io.BytesIO(sounds[i % different]))


def forget(folder):
    """Takes the files out of the page cache."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory_mb(pid):
    """Anonymous memory of a process and its peak so far, resident; pages of files are the kernel's to take back."""
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return int(status["RssAnon"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024


def train(data, run, steps, sets):
    shutil.rmtree(run, ignore_errors=True)
    small = ["model.system=waveglow", "model.n_flows=2", "model.group_size=16", "model.wavenet_layers=2",
             "model.wavenet_channels=8", "model.conditioning=frame_rate", "model.context_channels=8", "batch_size=8",
             "hold_out_every=1000", "validation_every=0", "sample_every=0", "checkpoint_every=0", f"steps={steps}"]
    command = [MELFLOW, "train", "--data", data, "--out", run, "--threads", "1"]
    for pair in small + sets:
        command += ["--set", pair]
    begin = time.monotonic()
    said = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(command, stderr=said)
    seen = []
    while process.poll() is None:
        time.sleep(0.25)
        try:
            seen.append((time.monotonic() - begin, *memory_mb(process.pid)))
        except (OSError, KeyError):
            pass
    if process.returncode:
        said.seek(0)
        raise SystemExit(reason(said.read(), process.returncode))
    return time.monotonic() - begin, seen, [json.loads(line) for line in open(run / "metrics.jsonl")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    options = parser.parse_args()
    if options.steps < 100:
        parser.error("--steps: 100 at least, of which a share of waiting can be told")
    if not options.folder.exists():  # whole or not at all
        unfinished = options.folder.with_name(options.folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make(unfinished, options.clips)
        unfinished.rename(options.folder)
    there = sum(1 for _ in (options.folder / "links").iterdir()) if (options.folder / "links").is_dir() else 0
    if there == 0:
        parser.error(f"{options.folder}: is no such corpus; name a folder that is not there yet")
    if there != options.clips:
        parser.error(f"{options.folder}: holds {there} clips, not {options.clips}; name another folder, or say --clips {there}")
    run = options.folder / "run"
    for data, cold in (("shards", False), ("shards", True), ("links", False)):
        if cold:
            forget(options.folder / data)
        seconds, _, _ = train(options.folder / data, run, 1, options.sets)
        print(f"{data}{', not in the page cache' if cold else ''}: exec to the end, with one step and its checkpoint, "
              f"{seconds:.2f} s", flush=True)
    seconds, seen, metrics = train(options.folder / "shards", run, options.steps, options.sets)
    print(f"shards: {options.steps} steps in {seconds:.1f} s; waiting for data, share of each second: largest "
          f"{max(m['data_wait'] for m in metrics[1:]):.4f}, mean "
          f"{sum(m['data_wait'] for m in metrics[1:]) / max(len(metrics) - 1, 1):.4f}; {metrics[-1]['samples_per_second']:.0f} samples/s")
    for share in (0.25, 0.5, 0.75, 1.0):
        at, anonymous, peak = seen[int(share * (len(seen) - 1))]
        print(f"  after {at:.0f} s: {anonymous:.0f} MB, peak with pages of files {peak:.0f} MB")


if __name__ == "__main__":
    main()
