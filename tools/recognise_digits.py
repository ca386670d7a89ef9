#!/usr/bin/env python3
"""How many of a flow's digits a simple classifier takes for what they were asked to be.

  melflow flow sample --flow run/flow.safetensors -n 2000 -o x.npy --labels-output y.npy
  tools/recognise_digits.py x.npy y.npy ../shared/data/density/uci_optdigits

The classifier, the five nearest real training digits (optdigits.tra), has seen no sample; how well it knows real test
digits (optdigits.tes) is printed first. Then the share of the samples it recognises, with the standard error, whole and
by digit, and how many samples are a training digit pixel for pixel: a flow that only remembers would be recognised, too. Needs NumPy, which the first run installs into
.deps/rivals where this Python has none.
"""
import argparse

from pypi import need


def table(path):
    rows = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return rows[:, :-1], rows[:, -1].astype(int)


def squared_distances(x, digits):
    return (x**2).sum(1)[:, None] - 2 * x @ digits.T + (digits**2).sum(1)[None]


def recognise(x, digits, labels, neighbours=5):
    nearest = np.argsort(squared_distances(x, digits), axis=1)[:, :neighbours]
    votes = np.stack([(labels[nearest] == c).sum(1) for c in range(10)], 1)
    return votes.argmax(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", help="[count, 1, 8, 8], .npy")
    parser.add_argument("asked", help="their labels, .npy")
    parser.add_argument("folder", help="with optdigits.tra and optdigits.tes")
    args = parser.parse_args()
    samples, asked, folder = args.samples, args.asked, args.folder
    need(["numpy"], ["numpy"])
    global np
    import numpy as np

    digits, labels = table(f"{folder}/optdigits.tra")
    real, real_labels = table(f"{folder}/optdigits.tes")
    x, y = np.load(samples).reshape(-1, 64).astype(np.float32), np.load(asked).astype(int).ravel()
    print(f"real test digits recognised: {np.mean(recognise(real, digits, labels) == real_labels):.2%} of {len(real)}")
    right = recognise(x, digits, labels) == y
    error = np.sqrt(right.mean() * (1 - right.mean()) / len(y))
    print(f"samples recognised: {right.mean():.2%} ± {error:.2%} of {len(y)}")
    print("by digit: " + ", ".join(f"{c}: {right[y == c].mean():.0%}" for c in range(10) if (y == c).any()))
    print(f"equal to a training digit: {(squared_distances(x, digits).min(1) < 0.5).sum()}")


if __name__ == "__main__":
    main()
