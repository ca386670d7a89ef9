#!/usr/bin/env python3
"""What PyTorch makes of the model that `gpu_bench dump` wrote: gpu_rivals.py FOLDER.

A plain re-statement of the inverse of NVIDIA's published WaveGlow (weight norm removed, as its own inference does),
eager and compiled, in float32 and under bfloat16 autocast, and in float64 as the reference for everybody's error. One
JSON object a line.
"""
import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

BANDS, HOP, FLOWS, GROUP, EARLY_EVERY, EARLY_SIZE, UP_KERNEL, LAYERS, CHANNELS, KERNEL = 80, 256, 12, 8, 4, 2, 1024, 8, 256, 3


class WaveGlow(torch.nn.Module):
    def __init__(self, numbers):
        super().__init__()
        self.flops = 2 * UP_KERNEL / HOP * BANDS * BANDS
        at = 0

        def take(*shape):
            nonlocal at
            n = math.prod(shape)
            values = torch.from_numpy(numbers[at : at + n].copy()).view(*shape)
            at += n
            return torch.nn.Parameter(values, requires_grad=False)

        self.up_weight, self.up_bias = take(BANDS, BANDS, UP_KERNEL), take(BANDS)
        self.flows = torch.nn.ModuleList()
        for f in range(FLOWS):
            c = GROUP - f // EARLY_EVERY * EARLY_SIZE
            flow = torch.nn.Module()
            flow.channels = c
            flow.conv = take(c, c)
            flow.start = torch.nn.ParameterList([take(CHANNELS, c // 2, 1), take(CHANNELS)])
            conds, layers = [], []
            for i in range(LAYERS):
                inner = [take(2 * CHANNELS, CHANNELS, KERNEL), take(2 * CHANNELS)]
                conds.append((take(2 * CHANNELS, BANDS * GROUP, 1), take(2 * CHANNELS)))
                outputs = 2 * CHANNELS if i + 1 < LAYERS else CHANNELS
                layers.append(torch.nn.ParameterList(inner + [take(outputs, CHANNELS, 1), take(outputs)]))
                self.flops += 2 * (2 * CHANNELS * CHANNELS * KERNEL + 2 * CHANNELS * BANDS * GROUP + outputs * CHANNELS) / GROUP
            # One convolution for the conditioning of all layers, as NVIDIA's class has it.
            flow.cond = torch.nn.ParameterList([torch.cat([w for w, _ in conds]), torch.cat([b for _, b in conds])])
            flow.layers = torch.nn.ModuleList(layers)
            flow.end = torch.nn.ParameterList([take(2 * (c - c // 2), CHANNELS, 1), take(2 * (c - c // 2))])
            self.flows.append(flow)
        assert at == len(numbers), "the weights are not of this model"
        self.inverses = [torch.linalg.inv(flow.conv.double()).float() for flow in self.flows]

    def wavenet(self, flow, x, context):
        x = F.conv1d(x, *flow.start)
        cond = F.conv1d(context, *flow.cond)
        out = 0
        for i, (w, b, rw, rb) in enumerate(flow.layers):
            u = F.conv1d(x, w, b, dilation=2**i, padding=2**i) + cond[:, 2 * CHANNELS * i : 2 * CHANNELS * (i + 1)]
            r = F.conv1d(torch.tanh(u[:, :CHANNELS]) * torch.sigmoid(u[:, CHANNELS:]), rw, rb)
            if i + 1 < LAYERS:
                x = x + r[:, :CHANNELS]
                out = out + r[:, CHANNELS:]
            else:
                out = out + r
        return F.conv1d(out, *flow.end)

    def forward(self, mel, z):
        """mel [batch, bands, frames], z [batch, GROUP, groups] with sigma, rows as the forward pass emits them."""
        groups = z.shape[2]
        up = F.conv_transpose1d(mel, self.up_weight, self.up_bias, stride=HOP)[:, :, : groups * GROUP]
        context = up.unfold(2, GROUP, GROUP).permute(0, 1, 3, 2).reshape(mel.shape[0], BANDS * GROUP, groups)
        x, used = None, 0
        for f in reversed(range(FLOWS)):
            flow, c = self.flows[f], self.flows[f].channels
            if c > used:  # noise that joins in front
                fresh = z[:, GROUP - c : GROUP - used]
                x = fresh if x is None else torch.cat([fresh, x], 1)
                used = c
            half = c // 2
            change = self.wavenet(flow, x[:, :half], context).to(z.dtype)
            shift, log_s = change.chunk(2, 1)
            x = torch.cat([x[:, :half], (x[:, half:] - shift) / torch.exp(log_s)], 1)
            with torch.autocast("cuda", enabled=False):
                x = torch.einsum("ij,bjt->bit", self.inverses[f].to(x), x)
        return x.transpose(1, 2).reshape(mel.shape[0], -1)


def snr_db(actual, expected):
    actual, expected = actual.double().flatten(), expected.double().flatten()
    return 10 * math.log10((expected**2).sum().item() / ((actual - expected) ** 2).sum().item())


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
    model = WaveGlow(numbers["weights"]).cuda().eval()
    mel = torch.from_numpy(numbers["mel"]).view(1, -1, BANDS).transpose(1, 2).contiguous().cuda()
    z = torch.from_numpy(numbers["z"]).view(1, -1, GROUP).transpose(1, 2).contiguous().cuda()
    ours = torch.from_numpy(numbers["audio"]).cuda()
    print(json.dumps({"what": "bf16 8192x8192x8192 product, before", "tflops": matrix_peak()}), flush=True)
    with torch.inference_mode():
        expected = model.double()(mel.double(), z.double())
        model.float()
        print(json.dumps({"what": "melflow, the whole 10 s against float64", "snr_db": snr_db(ours, expected)}), flush=True)
        compiled = torch.compile(model)
        kinds = (("eager float32", model, False), ("eager bfloat16", model, True), ("torch.compile bfloat16", compiled, True))
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
                    row.update(samples_per_s=samples / median, times_real_time=samples / median / 22050,
                               tflops=samples / median * model.flops / 1e12, median_ms=1e3 * median, min_ms=1e3 * best)
                except (RuntimeError, torch.OutOfMemoryError) as error:  # a rival that fails is told, not hidden
                    row["failed"] = str(error).splitlines()[0]
                    torch.cuda.empty_cache()
                print(json.dumps(row), flush=True)
    print(json.dumps({"what": "bf16 8192x8192x8192 product, after", "tflops": matrix_peak()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
