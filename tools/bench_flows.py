#!/usr/bin/env python3
"""Speed of melflow's flows beside those of zuko, nflows and normflows of the same size, interleaved in one run, one thread:

  tools/bench_flows.py [--rounds 3] [--seconds 0.2] [--dimensions 2,43] [--only maf,iaf,real_nvp,nsf,planar,radial,glow]

Prints items a second, and the ratio melflow / rival, for density and sampling at several batch sizes. All time is the
processor's: what other work on the machine takes is nobody's. The first run installs the rivals from PyPI into .deps/rivals
where this Python has none (PyTorch among them: 3 GB).
"""
import argparse
import json
import math
import statistics
import tempfile
import time

from pypi import need
from program import melflow



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


def nflows_nsf(d, layers, autoregressive):
    import torch
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms import (CompositeTransform, MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
                                   PiecewiseRationalQuadraticCouplingTransform, ReversePermutation)

    parts, spline = [], dict(num_bins=8, tails="linear", tail_bound=4.0)
    for i in range(layers):
        if autoregressive:
            parts += [MaskedPiecewiseRationalQuadraticAutoregressiveTransform(d, 64, num_blocks=2, use_residual_blocks=False, **spline),
                      ReversePermutation(d)]
        else:
            mask = torch.arange(d) % 2
            parts.append(PiecewiseRationalQuadraticCouplingTransform(mask if i % 2 else 1 - mask, nflows_mlp, **spline))
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


def normflows_simple(kind, d, layers):
    import normflows
    import torch

    layer = normflows.flows.Planar if kind == "planar" else normflows.flows.Radial
    base = normflows.distributions.DiagGaussian(d, trainable=False)
    return normflows.NormalizingFlow(base, [layer((d,)) for _ in range(layers)])


def normflows_glow(side, blocks, levels, width):
    import normflows
    import torch

    base, flows, merges = [], [], []
    for i in range(levels):  # the deepest first
        flows.append([normflows.flows.GlowBlock(2 ** (levels + 1 - i), width) for _ in range(blocks)] + [normflows.flows.Squeeze()])
        if i > 0:
            merges.append(normflows.flows.Merge())
        channels, pixels = 2 ** (levels - i + (i == 0)), side // 2 ** (levels - i)
        base.append(normflows.distributions.DiagGaussian((channels, pixels, pixels), trainable=False))
    flow = normflows.MultiscaleFlow(base, flows, merges, class_cond=False)
    flow.log_prob(torch.rand(64, 1, side, side), None)  # its ActNorm begins with the first batch
    return flow


class Case:
    """A flow of ours with `sets`, and by name those of others, each made by a function of the dimension."""

    def __init__(self, name, system, sets, rivals, side=0):
        self.name, self.system, self.sets, self.rivals, self.side = name, system, sets.split(), rivals, side


def cases():
    import zuko

    wide = dict(hidden_features=(64, 64))
    return [
        Case("MAF (5)", "maf", "model.layers=5",
             {"zuko": lambda d: zuko.flows.MAF(d, transforms=5, **wide), "nflows": lambda d: nflows_maf(d, 5)}),
        Case("IAF (5)", "iaf", "model.layers=5", {"zuko": lambda d: zuko_iaf(d, 5), "nflows": lambda d: nflows_maf(d, 5, inverse=True)}),
        Case("Real NVP (8)", "real_nvp", "model.layers=8",
             {"zuko": lambda d: zuko.flows.RealNVP(d, transforms=8, **wide), "nflows": lambda d: nflows_real_nvp(d, 8)}),
        Case("NSF (5), couplings", "nsf", "model.layers=5 model.affine=false",
             {"zuko": lambda d: zuko.flows.NSF(d, transforms=5, bins=8, passes=2, **wide), "nflows": lambda d: nflows_nsf(d, 5, False)}),
        Case("NSF (5), autoregressive", "nsf", "model.layers=5 model.affine=false model.autoregressive=true",
             {"zuko": lambda d: zuko.flows.NSF(d, transforms=5, bins=8, **wide), "nflows": lambda d: nflows_nsf(d, 5, True)}),
        Case("planar (16)", "planar", "model.layers=16 model.closed=sampling", {"normflows": lambda d: normflows_simple("planar", d, 16)}),
        Case("radial (16)", "radial", "model.layers=16 model.closed=sampling", {"normflows": lambda d: normflows_simple("radial", d, 16)}),
        Case("Glow, K = 8, L = 2, width 64", "glow", "model.steps=8 model.levels=2 model.hidden=64",
             {"normflows": lambda _: normflows_glow(8, 8, 2, 64)}, side=8),
    ]


def median_seconds(work, about):
    work()
    times = []
    while sum(times) < about or len(times) < 3:
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def time_rival(name, flow, shape, about):
    """Items a second of density (None where the flow has no inverse) and of sampling."""
    import torch

    flow.eval()
    batch = shape[0]
    density = {"zuko": lambda x: flow().log_prob(x), "nflows": lambda x: flow.log_prob(x),
               "normflows": lambda x: flow.log_prob(x, None) if len(shape) > 2 else flow.log_prob(x)}[name]
    sampling = (lambda: flow().sample((batch,))) if name == "zuko" else (lambda: flow.sample(batch))
    with torch.inference_mode():
        x = torch.rand(shape) if len(shape) > 2 else torch.randn(shape)
        try:
            of_density = batch / median_seconds(lambda: density(x), about)
        except NotImplementedError:
            of_density = None
        return of_density, batch / median_seconds(sampling, about)


def time_ours(path, batch, about):
    value = json.loads(melflow("flow", "bench", "--flow", path, "--batch", batch, "--seconds", about, "--threads", "1",
                               "--processor-time", "--json"))
    return value["density_items_per_second"], value["sampling_items_per_second"], value["largest_difference_in_log_density"]


def our_flow(folder, case, d):
    """As it is after two steps from random weights, on noise."""
    import numpy

    data, run = f"{folder}/{d}.npy", f"{folder}/{case.name}-{d}"
    random = numpy.random.default_rng(0)
    if case.side:
        items = random.integers(0, 17, (300, case.side, case.side)).astype(numpy.float32)
        sets = case.sets + ["model.pixel_levels=17"]
    else:
        items = random.standard_normal((300, d)).astype(numpy.float32)
        sets = case.sets + ["model.preprocess=none"]
    numpy.save(data, items)
    melflow("flow", "train", "--flow", case.system, "--data", data, "--out", run, "--set", "steps=2", *sets)
    return f"{run}/flow.safetensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--dimensions", default="2,43")
    parser.add_argument("--only", help="systems, apart by commas")
    a = parser.parse_args()
    need(["matplotlib", "nflows", "normflows", "torch", "zuko"], ["torch==2.11.0", "zuko", "nflows", "normflows", "matplotlib"])
    compare(a)


def compare(a):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| flow | D | batch | density | sampling | density, times | sampling, times | error |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if a.only and case.system not in a.only.split(","):
                continue
            for d in [case.side ** 2] if case.side else map(int, a.dimensions.split(",")):
                path = our_flow(folder, case, d)
                theirs = {name: make(d) for name, make in case.rivals.items()}
                for batch in (1, 64, 4096):
                    shape = (batch, 1, case.side, case.side) if case.side else (batch, d)
                    print(row(a, case.name, path, theirs, shape), flush=True)


def row(a, name, path, theirs, shape):
    """One of ours and all of theirs in turn, round after round; medians."""
    ours, others = [], {rival: [] for rival in theirs}
    for _ in range(a.rounds):
        ours.append(time_ours(path, shape[0], a.seconds))
        for rival, flow in theirs.items():
            others[rival].append(time_rival(rival, flow, shape, a.seconds))

    def times(i):
        ratios = [[mine[i] / other[i] if other[i] else None for mine, other in zip(ours, others[rival])] for rival in theirs]
        return ", ".join("it has none" if None in each else f"{statistics.median(each):.1f}" for each in ratios) + \
            f" ({', '.join(theirs)})"

    dimensions = math.prod(shape[1:])
    return (f"| {name} | {dimensions} | {shape[0]} | {statistics.median(o[0] for o in ours):.2g} | "
            f"{statistics.median(o[1] for o in ours):.2g} | {times(0)} | {times(1)} | {max(o[2] for o in ours):.1e} |")


if __name__ == "__main__":
    main()
