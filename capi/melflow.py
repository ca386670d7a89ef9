"""melflow from Python: mel spectrograms in, sound out, as NumPy arrays, by libmelflow (melflow.h).

    import melflow
    voice = melflow.Voice("kathleen")              # or a file
    sound = voice.speak(mel)                        # [n_mels, frames] -> float32 [frames * hop_length], full scale 1
    with voice.stream(seed=7) as stream:            # or piece by piece
        for piece in pieces:
            play(stream.add(piece))
        play(stream.finish())
    mel = voice.mel(sound, sample_rate=22050)       # what the voice takes, of any recording

While it computes, other threads of Python run. A process that was forked opens voices of its own. The library is looked for in MELFLOW_LIBRARY, beside an installed copy of
this file, and where the system looks; voices in MELFLOW_VOICES and beside an installed copy of this file.
"""
import ctypes
import ctypes.util
import json
import os
from pathlib import Path

import numpy as np

_PRECISIONS = {"fp32": 0, "bf16": 1, "int8": 2}
_HERE = Path(__file__).resolve().parent


class Error(Exception):
    """What melflow says about a failure; `status` is the program's exit code for it (README)."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("sigma", ctypes.c_double), ("draws", ctypes.c_int64),
                ("refine", ctypes.c_int64), ("denoise", ctypes.c_double), ("latency", ctypes.c_double),
                ("precision", ctypes.c_int32), ("threads", ctypes.c_int32)]


def _load():
    installed = _HERE / "../../../lib/libmelflow.so"  # of share/melflow/python
    name = os.environ.get("MELFLOW_LIBRARY") or (str(installed) if installed.exists() else ctypes.util.find_library("melflow"))
    if not name:
        raise ImportError("libmelflow is nowhere to be found; set MELFLOW_LIBRARY to its file")
    library = ctypes.CDLL(name)
    pointer, floats, size, whole = ctypes.c_void_p, ctypes.POINTER(ctypes.c_float), ctypes.c_size_t, ctypes.c_int32
    for function, result, *arguments in [
            ("error", ctypes.c_char_p), ("version", ctypes.c_char_p),
            ("voice_open", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_Options), ctypes.POINTER(pointer)),
            ("voice_close", None, pointer), ("voice_sample_rate", whole, pointer), ("voice_hop_length", whole, pointer),
            ("voice_n_mels", whole, pointer), ("voice_first_frames", ctypes.c_int64, pointer), ("voice_json", ctypes.c_char_p, pointer),
            ("stream_open", ctypes.c_int, pointer, ctypes.c_uint64, ctypes.POINTER(pointer)),
            ("stream_add", ctypes.c_int, pointer, floats, size), ("stream_finish", ctypes.c_int, pointer),
            ("stream_ready", size, pointer), ("stream_take", size, pointer, floats, size), ("stream_close", None, pointer),
            ("mel_frames", size, pointer, size, whole), ("mel", ctypes.c_int, pointer, floats, size, whole, floats)]:
        loaded = getattr(library, "melflow_" + function)
        loaded.restype, loaded.argtypes = result, arguments
    return library


_library = _load()
__version__ = _library.melflow_version().decode()


def _check(status):
    if status != 0:
        raise Error(status, _library.melflow_error().decode(errors="replace"))


def _floats(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _find(name):
    """A voice's file, by its path or, where there is no such file, by the name of a shipped one."""
    path = Path(name)
    shipped = Path(os.environ.get("MELFLOW_VOICES") or _HERE.parent / "voices") / f"{name}.safetensors"
    return shipped if shipped.is_file() and not path.is_file() else path


class Voice:
    """A voice's file, or a published WaveGlow's. What is left out is as the voice says. Any number of threads may use it."""

    def __init__(self, name="kathleen", *, sigma=None, draws=None, refine=None, denoise=0.0, latency=0.0, precision="fp32", threads=1):
        if precision not in _PRECISIONS:
            raise ValueError(f"precision {precision!r}: one of {', '.join(_PRECISIONS)}")
        options = _Options(ctypes.sizeof(_Options), -1, 0, -1, denoise, latency, _PRECISIONS[precision], threads)
        for key, value in [("sigma", sigma), ("draws", draws), ("refine", refine)]:
            if value is None:
                continue
            if not value >= 0:
                raise ValueError(f"{key} is {value}; it must be 0 or more, or None for the voice's own")
            setattr(options, key, value)
        handle = ctypes.c_void_p()
        _check(_library.melflow_voice_open(os.fsencode(_find(name)), ctypes.byref(options), ctypes.byref(handle)))
        self._handle = handle
        self.sample_rate = _library.melflow_voice_sample_rate(handle)
        self.hop_length = _library.melflow_voice_hop_length(handle)
        self.n_mels = _library.melflow_voice_n_mels(handle)
        self.first_frames = _library.melflow_voice_first_frames(handle)
        self.card = json.loads(_library.melflow_voice_json(handle))

    def __del__(self):
        if getattr(self, "_handle", None):
            _library.melflow_voice_close(self._handle)

    def stream(self, seed=0):
        return Stream(self, seed)

    def speak(self, mel, seed=0):
        """[n_mels, frames], natural logarithm -> float32 [frames * hop_length]."""
        with self.stream(seed) as stream:
            return np.concatenate([stream.add(mel), stream.finish()])

    def mel(self, samples, sample_rate):
        """The mel [n_mels, frames], in the voice's recipe, of a sound [samples] at any rate; full scale 1, of int16 32768."""
        samples = np.asarray(samples)
        if samples.dtype == np.int16:
            samples = samples / np.float32(32768)
        elif not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(f"a sound is of floats, full scale 1, or of int16, not {samples.dtype}")
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(f"a sound is [samples], not {list(samples.shape)}")
        count = _library.melflow_mel_frames(self._handle, len(samples), sample_rate)
        frames = np.empty((count, self.n_mels), dtype=np.float32)
        _check(_library.melflow_mel(self._handle, _floats(samples), len(samples), sample_rate, _floats(frames)))
        return frames.T


class Stream:
    """A sound that is made as its mel arrives: the same samples, however the mel is cut. For one thread at a time."""

    def __init__(self, voice, seed):
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}; it must be from 0 to 2^64 - 1")
        self._voice, self._handle = voice, ctypes.c_void_p()
        _check(_library.melflow_stream_open(voice._handle, seed, ctypes.byref(self._handle)))

    def add(self, mel):
        """Takes frames, [n_mels, frames], and answers the samples that are ready."""
        mel = np.asarray(mel, dtype=np.float32)
        if mel.ndim != 2 or mel.shape[0] != self._voice.n_mels:
            raise ValueError(f"a mel of this voice is [{self._voice.n_mels}, frames], not {list(mel.shape)}")
        frames = np.ascontiguousarray(mel.T)
        _check(_library.melflow_stream_add(self._open(), _floats(frames), len(frames)))
        return self._take()

    def finish(self):
        """No frame follows: the rest of the samples."""
        _check(_library.melflow_stream_finish(self._open()))
        return self._take()

    def close(self):
        if self._handle:
            _library.melflow_stream_close(self._handle)
        self._handle = None

    def _open(self):
        if not self._handle:
            raise ValueError("this stream is closed")
        return self._handle

    def _take(self):
        samples = np.empty(_library.melflow_stream_ready(self._handle), dtype=np.float32)
        _library.melflow_stream_take(self._handle, _floats(samples), len(samples))
        return samples

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()
