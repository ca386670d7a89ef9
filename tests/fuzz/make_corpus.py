"""Writes the seeds of the fuzzers, some of which need PyTorch to be made: tests/fuzz/make_corpus.py, with a Python that has torch."""
import gzip, io, json, pathlib, pickle, sys, tarfile, types, zipfile
from collections import OrderedDict

import torch

HERE = pathlib.Path(__file__).parent / "corpus"


def put(kind, name, content):
    (HERE / kind).mkdir(parents=True, exist_ok=True)
    (HERE / kind / name).write_bytes(content)


def saved(value, zipped):
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def waveglow(removed=False, cond_list=False):
    """The smallest whole WaveGlow: 1 mel, hop 2, 2 flows, 1 layer, 1 channel."""
    table = OrderedDict()

    def normed(name, out, inner, kernel):
        table[name + ".bias"] = torch.zeros(out)
        if removed:
            table[name + ".weight"] = torch.ones(out, inner, kernel)
        else:
            table[name + ".weight_g"] = torch.ones(out, 1, 1)
            table[name + ".weight_v"] = torch.ones(out, inner, kernel)

    table["upsample.weight"] = torch.ones(1, 1, 8)
    table["upsample.bias"] = torch.zeros(1)
    for k in range(2):
        wn = f"WN.{k}."
        normed(wn + "start", 1, 1, 1)
        normed(wn + ("cond_layers.0" if cond_list else "cond_layer"), 2, 2, 1)
        normed(wn + "in_layers.0", 2, 1, 3)
        normed(wn + "res_skip_layers.0", 1, 1, 1)
        table[wn + "end.weight"] = torch.zeros(2, 1, 1)
        table[wn + "end.bias"] = torch.zeros(2)
        table[f"convinv.{k}.conv.weight"] = torch.eye(2).unsqueeze(2)
    return table


def module():
    """A pickled torch.nn module under the name of NVIDIA's class."""
    glow = types.ModuleType("glow")
    glow.WaveGlow = type("WaveGlow", (torch.nn.Module,), {"__module__": "glow"})
    sys.modules["glow"] = glow
    made = glow.WaveGlow()
    made.n_group = 2
    made.upsample = torch.nn.ConvTranspose1d(1, 1, 8, stride=2)
    made.start = torch.nn.utils.weight_norm(torch.nn.Conv1d(1, 1, 1))
    return made


def nemo(compression):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:" + compression) as archive:
        table = OrderedDict(("waveglow." + k.replace("WN.", "wavenet."), v) for k, v in waveglow().items())
        for name, content in (("./model_config.yaml", b"preprocessor:\n  sample_rate: 22050\nwaveglow:\n  n_flows: 2\n"),
                              ("./model_weights.ckpt", saved(table, True))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def shard():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("a.wav", b"RIFF"), ("a.mel.npy", b"\x93NUMPY"), ("b/c.d.flac", b"fLaC"), ("b/c.d.npy", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


put("checkpoint", "zip", saved(waveglow(), True))
put("checkpoint", "legacy", saved({"state_dict": waveglow(cond_list=True), "config": {"n_flows": 2}}, False))
put("checkpoint", "removed_half", saved({k: v.half() for k, v in waveglow(removed=True).items()}, False))
put("checkpoint", "module_legacy", saved({"model": module()}, False))
put("checkpoint", "strided", saved(torch.arange(12.0).view(3, 4).t()[1:], True))
put("checkpoint", "nemo", nemo(""))
put("checkpoint", "nemo_gz", nemo("gz"))
put("tar", "nemo", nemo("")[:4096])
put("tar", "shard", shard()[:5120])
put("mel_file", "tensor_zip", saved(torch.zeros(2, 3), True))
put("mel_file", "tensor_legacy", saved(torch.zeros(2, 3), False))
for protocol in (2, 4, 5):
    value = {"a": [1, -2, 3.5, None, True, 1 << 70], "b": (b"x", "ü", {1, 2}, bytearray(b"y")), 3: OrderedDict(k=1)}
    put("pickle", f"values_{protocol}", pickle.dumps(value, protocol))
out = io.BytesIO()
with zipfile.ZipFile(out, "w") as archive:
    archive.writestr("stored", "content")
    archive.writestr(zipfile.ZipInfo("deflated"), "z" * 1000, zipfile.ZIP_DEFLATED)
put("zip", "both", out.getvalue())
put("metadata", "json", json.dumps({"sample_rate": 22050, "n_fft": 1024, "scale": "slaney", "centre": True}).encode())
put("metadata", "yaml", b"a: &x 1\npre:\n  rate: 22050  # comment\n  list:\n  - 3\nb: *x\n")
put("csv", "named", b"\xef\xbb\xbf# made by hand\nx,\"y\",\n1,+2.5e-3,\n-3,\"4\",\n")
put("csv", "tabs", b"1\t2\r\n\r\n3\t4")
put("csv", "semicolons", b";a;b\n1e400;2;3")
put("csv", "blanks", b" 1   2\n nan 0x1p3\n")
put("idx", "images", b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 255]))
put("idx", "labels", b"\0\0\x08\x01" + bytes([0, 0, 0, 1, 7]))
put("gzip", "text", gzip.compress(b"1,2\n" * 100, mtime=0))
put("gzip", "members", gzip.compress(b"first", mtime=0) + gzip.compress(b"", mtime=0))
