#!/usr/bin/env python3
"""What PyTorch makes of the model that `gpu_bench dump` wrote: gpu_rivals.py FOLDER.

The inverse of NVIDIA's published WaveGlow (nvidia_waveglow.py), eager and compiled, in float32 and under bfloat16 autocast,
and in float64 as the reference for everybody's error. One JSON object a line. A machine with a GPU may have no network: where
this Python has NumPy and PyTorch, nothing is fetched.
"""
import json
import math
import sys
import time

from pypi import need

need(["numpy", "torch"], ["torch==2.11.0", "numpy"])
import numpy as np
import torch

from nvidia_waveglow import BANDS, GROUP, HOP, RATE, WaveGlow, snr_db


def taking(numbers):
    """The tensors one after another, as `gpu_bench dump` writes them."""
    at = 0

    def take(_, *shape):
        nonlocal at
        n = math.prod(shape)
        at += n
        assert at <= len(numbers), "the weights are not of this model"
        return torch.from_numpy(numbers[at - n : at].copy()).view(*shape)

    return take


def best_and_median(work, rounds=10):
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times), sorted(times)[len(times) // 2]


def matrix_peak():
    """TFLOP/s of one large bfloat16 product on random numbers: what this card gives in practice."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best, _ = best_and_median(lambda: a @ b)
    return 2 * 8192**3 / best / 1e12


def main(folder):
    numbers = {name: np.fromfile(f"{folder}/{name}.f32", np.float32) for name in ("weights", "mel", "z", "audio")}
    model = WaveGlow(taking(numbers["weights"])).cuda().eval()
    mel = torch.from_numpy(numbers["mel"]).view(1, -1, BANDS).transpose(1, 2).contiguous().cuda()
    z = torch.from_numpy(numbers["z"]).view(1, -1, GROUP).transpose(1, 2).contiguous().cuda()
    ours = torch.from_numpy(numbers["audio"]).cuda()
    print(json.dumps({"what": "bf16 8192x8192x8192 product, before", "tflops": matrix_peak()}), flush=True)
    with torch.inference_mode():
        expected = model.double()(mel.double(), z.double())
        model.float()
        snr = snr_db(ours, expected)
        print(json.dumps({"what": "melflow, the whole 10 s against float64", "snr_db": snr}), flush=True)
        compiled = torch.compile(model)
        kinds = (("eager float32, convolutions in TF32", model, False), ("eager bfloat16", model, True), ("torch.compile bfloat16", compiled, True))
        for batch in (1, 16):
            m, n = mel.expand(batch, -1, -1).contiguous(), z.expand(batch, -1, -1).contiguous()
            for name, run, half in kinds:
                def work(run=run, half=half):
                    with torch.autocast("cuda", torch.bfloat16, enabled=half):
                        return run(m, n)
                row = {"what": f"PyTorch {torch.__version__} {name}: {batch} x {mel.shape[2]} frames"}
                try:
                    row["snr_db"] = snr_db(work()[0], expected[0])
                    best, median = best_and_median(work)
                    samples = batch * mel.shape[2] * HOP
                    row.update(samples_per_s=samples / median, times_real_time=samples / median / RATE,
                               tflops=samples / median * model.flops / 1e12, median_ms=1e3 * median, min_ms=1e3 * best)
                except (RuntimeError, torch.OutOfMemoryError) as error:  # a rival that fails is told, not hidden
                    row["failed"] = str(error).splitlines()[0]
                    torch.cuda.empty_cache()
                print(json.dumps(row), flush=True)
    print(json.dumps({"what": "bf16 8192x8192x8192 product, after", "tflops": matrix_peak()}), flush=True)
    if not snr > 40:
        sys.exit(f"gpu_rivals: melflow's sound is {snr:.1f} dB above its error, less than the 40 dB that are asked")


if __name__ == "__main__":
    main(sys.argv[1])
