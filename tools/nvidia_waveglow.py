"""The inverse of NVIDIA's published WaveGlow in PyTorch, weight norm folded as its own inference does: our statement of
what others run, for tools/bench_rivals and tools/gpu_rivals.py. A state dictionary or a row of numbers gives the weights.
"""
import math

import torch
import torch.nn.functional as F

BANDS, HOP, FLOWS, GROUP, EARLY_EVERY, EARLY_SIZE, UP_KERNEL, LAYERS, KERNEL, RATE = 80, 256, 12, 8, 4, 2, 1024, 8, 3, 22050


class WaveGlow(torch.nn.Module):
    def __init__(self, take, channels=256):
        """take(name, *shape) answers a published tensor, weight norm folded, and is asked in the order of
        engine/gpu's PlainWaveGlow; a layer's part of the conditioning is cond_layers.i."""
        super().__init__()
        self.channels = channels
        self.flops = 2 * UP_KERNEL / HOP * BANDS * BANDS  # for a sample

        def both(name, *shape, bias):
            parts = take(name + ".weight", *shape), take(name + ".bias", bias)
            return torch.nn.ParameterList([torch.nn.Parameter(p, requires_grad=False) for p in parts])

        self.upsample = both("upsample", BANDS, BANDS, UP_KERNEL, bias=BANDS)
        self.flows = torch.nn.ModuleList()
        for k in range(FLOWS):
            c = GROUP - k // EARLY_EVERY * EARLY_SIZE
            moved, net = c - c // 2, f"WN.{k}."
            flow = torch.nn.Module()
            flow.channels = c
            flow.conv = torch.nn.Parameter(take(f"convinv.{k}.conv.weight", c, c), requires_grad=False)
            flow.start = both(net + "start", channels, c // 2, 1, bias=channels)
            conds, layers = [], []
            for i in range(LAYERS):
                outputs = 2 * channels if i + 1 < LAYERS else channels
                inner = both(f"{net}in_layers.{i}", 2 * channels, channels, KERNEL, bias=2 * channels)
                conds.append(both(f"{net}cond_layers.{i}", 2 * channels, BANDS * GROUP, 1, bias=2 * channels))
                outer = both(f"{net}res_skip_layers.{i}", outputs, channels, 1, bias=outputs)
                layers.append(torch.nn.ParameterList([*inner, *outer]))
                macs = 2 * channels * channels * KERNEL + 2 * channels * BANDS * GROUP + outputs * channels
                self.flops += 2 * macs / GROUP
            # One convolution for the conditioning of all layers, as NVIDIA's class has it.
            flow.cond = torch.nn.ParameterList([torch.cat([w for w, _ in conds]), torch.cat([b for _, b in conds])])
            flow.layers = torch.nn.ModuleList(layers)
            flow.end = both(net + "end", 2 * moved, channels, 1, bias=2 * moved)
            flow.register_buffer("inverse", torch.linalg.inv(flow.conv.double()))
            self.flows.append(flow)

    def wavenet(self, flow, x, context):
        n = self.channels
        x = F.conv1d(x, *flow.start)
        cond = F.conv1d(context, *flow.cond)
        out = 0
        for i, (w, b, rw, rb) in enumerate(flow.layers):
            u = F.conv1d(x, w, b, dilation=2**i, padding=2**i) + cond[:, 2 * n * i : 2 * n * (i + 1)]
            r = F.conv1d(torch.tanh(u[:, :n]) * torch.sigmoid(u[:, n:]), rw, rb)
            if i + 1 < LAYERS:
                x = x + r[:, :n]
            out = out + r[:, -n:]
        return F.conv1d(out, *flow.end)

    def forward(self, mel, z):
        """mel [batch, bands, frames], z [batch, GROUP, groups] with sigma, rows as the forward pass emits them."""
        groups = z.shape[2]
        up = F.conv_transpose1d(mel, *self.upsample, stride=HOP)[:, :, : groups * GROUP]
        context = up.unfold(2, GROUP, GROUP).permute(0, 1, 3, 2).reshape(mel.shape[0], BANDS * GROUP, groups)
        x, used = None, 0
        for f in reversed(range(FLOWS)):
            flow, c = self.flows[f], self.flows[f].channels
            if c > used:  # noise that joins in front
                fresh = z[:, GROUP - c : GROUP - used]
                x = fresh if x is None else torch.cat([fresh, x], 1)
                used = c
            half = c // 2
            shift, log_s = self.wavenet(flow, x[:, :half], context).to(z.dtype).chunk(2, 1)
            x = torch.cat([x[:, :half], (x[:, half:] - shift) / torch.exp(log_s)], 1)
            with torch.autocast(x.device.type, enabled=False):
                x = torch.einsum("ij,bjt->bit", flow.inverse.to(x), x)
        return x.transpose(1, 2).reshape(mel.shape[0], -1)


def snr_db(actual, expected):
    actual, expected = actual.double().flatten(), expected.double().flatten()
    return 10 * math.log10((expected**2).sum().item() / ((actual - expected) ** 2).sum().item())


class TrainingWaveGlow(torch.nn.Module):
    """The forward pass and the loss of NVIDIA's published class, weight norm and all, from a published state dictionary."""

    def __init__(self, state, channels):
        super().__init__()
        self.channels = channels
        self.names = {name: name.replace(".", "_") for name in state}
        for name, plain in self.names.items():
            self.register_parameter(plain, torch.nn.Parameter(state[name].clone()))

    def get(self, name):
        return getattr(self, self.names[name])

    def conv(self, name, x, **settings):
        weight = torch._weight_norm(self.get(name + ".weight_v"), self.get(name + ".weight_g"), 0)
        return F.conv1d(x, weight, self.get(name + ".bias"), **settings)

    def wavenet(self, k, x, context):
        n = self.channels
        x, cond, out = self.conv(f"WN.{k}.start", x), self.conv(f"WN.{k}.cond_layer", context), 0
        for i in range(LAYERS):
            u = self.conv(f"WN.{k}.in_layers.{i}", x, dilation=2**i, padding=2**i) + cond[:, 2 * n * i : 2 * n * (i + 1)]
            r = self.conv(f"WN.{k}.res_skip_layers.{i}", torch.tanh(u[:, :n]) * torch.sigmoid(u[:, n:]))
            if i + 1 < LAYERS:
                x = x + r[:, :n]
            out = out + r[:, -n:]
        return F.conv1d(out, self.get(f"WN.{k}.end.weight"), self.get(f"WN.{k}.end.bias"))

    def loss(self, audio, mel):
        """audio [batch, samples], mel [batch, bands, frames] → nats a sample without the constant, at sigma 1."""
        groups = audio.shape[1] // GROUP
        up = F.conv_transpose1d(mel, self.get("upsample.weight"), self.get("upsample.bias"), stride=HOP)[:, :, : groups * GROUP]
        context = up.unfold(2, GROUP, GROUP).permute(0, 1, 3, 2).reshape(mel.shape[0], BANDS * GROUP, groups)
        x, early, volume = audio.unfold(1, GROUP, GROUP).permute(0, 2, 1), [], 0
        for k in range(FLOWS):
            if k > 0 and k % EARLY_EVERY == 0:
                early.append(x[:, :EARLY_SIZE])
                x = x[:, EARLY_SIZE:]
            w = self.get(f"convinv.{k}.conv.weight")
            volume = volume + x.shape[0] * groups * torch.linalg.slogdet(w.squeeze(2))[1]
            x = F.conv1d(x, w)
            half = x.shape[1] // 2
            shift, log_s = self.wavenet(k, x[:, :half], context).chunk(2, 1)
            x = torch.cat([x[:, :half], torch.exp(log_s) * x[:, half:] + shift], 1)
            volume = volume + log_s.sum()
        z = torch.cat([*early, x], 1)
        return (z.square().sum() / 2 - volume) / z.numel()


def log_stft(reference, sound):
    """Mean |Δ ln magnitude| over FFT sizes 512, 1024 and 2048, as audio/quality.h has it: how different it sounds."""
    def log_magnitude(x, size):
        window = torch.hann_window(size, dtype=torch.float64)
        spectrum = torch.stft(x.double().flatten(), size, size // 4, window=window, pad_mode="reflect", return_complex=True)
        return spectrum.abs().clamp(min=1e-5).log()

    return sum((log_magnitude(reference, n) - log_magnitude(sound, n)).abs().mean().item() for n in (512, 1024, 2048)) / 3
