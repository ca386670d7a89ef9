#!/usr/bin/env python3
"""capi/melflow.py says what the program says: python_test.py MELFLOW, with MELFLOW_LIBRARY and MELFLOW_VOICES set."""
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("skipped: this Python has no NumPy (Debian: python3-numpy)")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "capi"))
import melflow

PROGRAM = sys.argv.pop(1)
RECORDING = ROOT / "data/golden/LJ001-0002.wav"


def program(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


class Python(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.mel = Path(cls.folder.name) / "mel.npy"
        program("mel", RECORDING, "-o", cls.mel)
        cls.voice = melflow.Voice("kathleen")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_speaks_as_the_program_does(self):
        sound = Path(self.folder.name) / "sound.npy"
        program("synth", self.mel, "--voice", "kathleen", "--seed", 3, "-o", sound)
        mel = np.load(self.mel)
        said = self.voice.speak(mel, seed=3)
        self.assertEqual(said.dtype, np.float32)
        np.testing.assert_array_equal(said, np.load(sound).ravel())
        with self.voice.stream(seed=3) as stream:
            pieces = [stream.add(mel[:, at : at + 5]) for at in range(0, mel.shape[1], 5)]
            np.testing.assert_array_equal(np.concatenate([*pieces, stream.finish()]), said)

    def test_makes_the_mel_that_the_program_makes(self):
        import wave

        with wave.open(str(RECORDING)) as file:
            rate, whole = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
        np.testing.assert_array_equal(self.voice.mel(whole / np.float32(32768), rate), np.load(self.mel))
        np.testing.assert_array_equal(self.voice.mel(whole, rate), np.load(self.mel))
        with self.assertRaisesRegex(ValueError, "int32"):
            self.voice.mel(whole.astype(np.int32), rate)

    def test_tells_what_it_is(self):
        self.assertEqual((self.voice.sample_rate, self.voice.hop_length, self.voice.n_mels), (22050, 256, 80))
        self.assertEqual(self.voice.card["mel"]["n_fft"], 1024)

    def test_failures_are_exceptions(self):
        with self.assertRaisesRegex(melflow.Error, "nobody") as caught:
            melflow.Voice("nobody")
        self.assertEqual(caught.exception.status, 66)
        with self.assertRaisesRegex(ValueError, r"\[80, frames\], not \[79, 4\]"):
            self.voice.speak(np.zeros((79, 4)))
        with self.assertRaisesRegex(melflow.Error, "NaN"):
            self.voice.speak(np.full((80, 4), np.nan))
        for wrong in [{"sigma": -3}, {"refine": -1}, {"precision": "fp64"}]:
            with self.assertRaisesRegex(ValueError, next(iter(wrong))):
                melflow.Voice("kathleen", **wrong)
        with self.assertRaisesRegex(ValueError, "seed"):
            self.voice.stream(seed=-1)
        stream = self.voice.stream()
        stream.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            stream.add(np.zeros((80, 1)))

    def test_threads_share_a_voice(self):
        mel, said = np.load(self.mel)[:, :40], [None, None]

        def speak(i):
            said[i] = self.voice.speak(mel)

        threads = [threading.Thread(target=speak, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(said[0], said[1])
        np.testing.assert_array_equal(said[0], self.voice.speak(mel))


if __name__ == "__main__":
    unittest.main()
