#!/usr/bin/env python3
"""Speed of melflow's flows beside zuko's and nflows' of the same size, interleaved in one run, one thread:

  tools/bench_flows.py [--rounds 3] [--seconds 0.2] [--dimensions 2,43]

Prints items a second, and the ratio melflow / rival, for density and sampling at several batch sizes. All time is the
processor's: what other work on the machine takes is nobody's. The first run installs the rivals from PyPI into .deps/rivals
where this Python has none (PyTorch among them: 3 GB).
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

from pypi import need

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MELFLOW = os.environ.get("MELFLOW", os.path.join(ROOT, "build/release/tools/melflow"))


def nflows_mlp(inputs, outputs):
    import torch

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(inputs, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
                                           torch.nn.Linear(64, outputs))

        def forward(self, x, context=None):
            return self.net(x)

    return Mlp()


def nflows_maf(d, layers, inverse=False):
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
    from nflows.transforms.base import CompositeTransform, InverseTransform
    from nflows.transforms.permutations import ReversePermutation

    parts = []
    for _ in range(layers):
        layer = MaskedAffineAutoregressiveTransform(d, 64, num_blocks=2, use_residual_blocks=False)
        parts += [InverseTransform(layer) if inverse else layer, ReversePermutation(d)]
    return Flow(CompositeTransform(parts), StandardNormal([d]))


def nflows_real_nvp(d, layers):
    import torch
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform

    mask = torch.arange(d) % 2
    parts = [AffineCouplingTransform(mask if i % 2 else 1 - mask, nflows_mlp) for i in range(layers)]
    return Flow(CompositeTransform(parts), StandardNormal([d]))


def zuko_iaf(d, layers):
    import zuko

    class Inverted(zuko.lazy.LazyTransform):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, c=None):
            return self.inner(c).inv

    flow = zuko.flows.MAF(d, transforms=layers, hidden_features=(64, 64))
    return zuko.flows.Flow(Inverted(flow.transform), flow.base)


def rivals(system, d):
    import zuko

    if system == "maf":
        return {"zuko": zuko.flows.MAF(d, transforms=5, hidden_features=(64, 64)), "nflows": nflows_maf(d, 5)}
    if system == "iaf":
        return {"zuko": zuko_iaf(d, 5), "nflows": nflows_maf(d, 5, inverse=True)}
    return {"zuko": zuko.flows.RealNVP(d, transforms=8, hidden_features=(64, 64)), "nflows": nflows_real_nvp(d, 8)}


def median_seconds(work, about):
    work()
    times = []
    while sum(times) < about or len(times) < 3:
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def time_rival(name, flow, d, batch, about):
    import torch

    flow.eval()
    with torch.inference_mode():
        x = torch.randn(batch, d)
        if name == "zuko":
            return (batch / median_seconds(lambda: flow().log_prob(x), about),
                    batch / median_seconds(lambda: flow().sample((batch,)), about))
        return (batch / median_seconds(lambda: flow.log_prob(x), about), batch / median_seconds(lambda: flow.sample(batch), about))


def time_ours(path, batch, about):
    out = subprocess.run([MELFLOW, "flow", "bench", "--flow", path, "--batch", str(batch), "--seconds", str(about), "--threads", "1", "--processor-time"],
                         check=True, capture_output=True, text=True).stdout
    value = json.loads(out)
    return value["density_items_per_second"], value["sampling_items_per_second"], value["largest_difference_in_log_density"]


def our_flow(folder, system, d, layers):
    import torch

    data, run = f"{folder}/{d}.csv", f"{folder}/{system}{d}"
    with open(data, "w") as f:
        for row in torch.randn(300, d).tolist():
            f.write(",".join(map(str, row)) + "\n")
    subprocess.run([MELFLOW, "flow", "train", "--flow", system, "--data", data, "--out", run, "--set", "steps=2", "--set",
                    f"model.layers={layers}", "--set", "model.preprocess=none"], check=True, stderr=subprocess.DEVNULL)
    return f"{run}/flow.safetensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--dimensions", default="2,43")
    a = parser.parse_args()
    need(["matplotlib", "nflows", "torch", "zuko"], ["torch==2.11.0", "zuko", "nflows", "matplotlib"])
    compare(a)


def compare(a):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| flow | D | batch | ours density/s | ours sampling/s | density: zuko, nflows | sampling: zuko, nflows | error |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for d in map(int, a.dimensions.split(",")):
            for system, layers in (("maf", 5), ("iaf", 5), ("real_nvp", 8)):
                path = our_flow(folder, system, d, layers)
                theirs = rivals(system, d)
                for batch in (1, 64, 4096):
                    ours, ratios = [], {name: [] for name in theirs}
                    for _ in range(a.rounds):
                        mine = time_ours(path, batch, a.seconds)
                        ours.append(mine)
                        for name, flow in theirs.items():
                            other = time_rival(name, flow, d, batch, a.seconds)
                            ratios[name].append((mine[0] / other[0], mine[1] / other[1]))
                    middle = lambda values: statistics.median(values)
                    show = lambda i: ", ".join(f"{middle([r[i] for r in ratios[n]]):.1f}x" for n in ratios)
                    print(f"| {system} ({layers}) | {d} | {batch} | {middle([o[0] for o in ours]):.3g} | {middle([o[1] for o in ours]):.3g} | "
                          f"{show(0)} | {show(1)} | {max(o[2] for o in ours):.1e} |", flush=True)


if __name__ == "__main__":
    main()
