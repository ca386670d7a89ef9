"""Ways in which recordings are damaged: functions (sound, rate, generator) → the damaged sound, or that and the samples at
which it was damaged. NumPy and soundfile must be there (pypi.py)."""
import io

import numpy as np
import soundfile


def power(x):
    return np.sqrt(np.mean(x**2))


def coded(**how):
    def through(x, rate, generator):
        file = io.BytesIO()
        soundfile.write(file, x, rate, **how)
        file.seek(0)
        y, _ = soundfile.read(file)
        return y[: len(x)]

    return through


def noised(decibels):
    return lambda x, rate, g: x + g.standard_normal(len(x)) * power(x) * 10 ** (-decibels / 20)


def clipped(share):
    return lambda x, rate, g: np.clip(x, -share * np.abs(x).max(), share * np.abs(x).max())


def hum(decibels):
    def add(x, rate, g):
        t = np.arange(len(x)) / rate
        wave = sum(np.sin(2 * np.pi * 50 * k * t + g.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
        return x + wave / power(wave) * power(x) * 10 ** (-decibels / 20)

    return add


def loud_places(x, rate, g, count, room):
    """Where something is said: moments of above-average power, in order, `room` apart."""
    window = rate // 50
    level = np.convolve(x**2, np.ones(window) / window, "same")
    loud = np.flatnonzero(level[room:-room] > level.mean()) + room
    places = []
    for at in g.permutation(loud):
        if len(places) < count and all(abs(at - p) > room for p in places):
            places.append(int(at))
    return sorted(places)


def cut_out(seconds):
    def edit(x, rate, g):
        n, parts, begin, marks, length = int(seconds * rate), [], 0, [], 0
        for at in loud_places(x, rate, g, 3, rate // 5):
            parts.append(x[begin:at])
            length += at - begin
            marks.append(length)
            begin = at + n
        return np.concatenate([*parts, x[begin:]]), marks

    return edit


def repeated(seconds):
    def edit(x, rate, g):
        n, y, marks = int(seconds * rate), x.copy(), []
        for at in loud_places(x, rate, g, 3, rate // 5):
            y[at : at + n] = x[at - n : at]
            marks += [at, at + n]
        return y, marks

    return edit


def clicks(x, rate, g):
    y, places = x.copy(), loud_places(x, rate, g, 3, rate // 5)
    for at in places:
        y[at] += 0.5 * np.abs(x).max() * g.choice([-1, 1])
    return y, places


DEFECTS = {
    "clipped at 0.5 of its peak": clipped(0.5),
    "clipped at 0.2 of its peak": clipped(0.2),
    "white noise, 40 dB below": noised(40),
    "white noise, 20 dB below": noised(20),
    "mains hum, 30 dB below": hum(30),
    "mu-law, 8 bit": coded(format="WAV", subtype="ULAW"),
    "Ogg Vorbis": coded(format="OGG", subtype="VORBIS"),
    "Ogg Vorbis, smallest": coded(format="OGG", subtype="VORBIS", compression_level=0.9),
    "MP3": coded(format="MP3", subtype="MPEG_LAYER_III"),
    "MP3, smallest": coded(format="MP3", subtype="MPEG_LAYER_III", compression_level=0.99),
    "three times 20 ms cut out": cut_out(0.02),
    "three times 25 ms repeated": repeated(0.025),
    "three clicks": clicks,
}
