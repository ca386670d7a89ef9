/* melflow as a library: mel spectrograms in, sound out, from C or anything that calls C. libmelflow needs no LibTorch.
 *
 *   melflow_voice *voice = NULL;
 *   melflow_stream *stream = NULL;
 *   if (melflow_voice_open("kathleen.safetensors", NULL, &voice) != MELFLOW_OK ||
 *       melflow_stream_open(voice, 0, &stream) != MELFLOW_OK) return fail(melflow_error());
 *   melflow_stream_add(stream, frames, count);            as often as frames come; each call may fail, too
 *   while ((n = melflow_stream_take(stream, samples, most)) > 0) play(samples, n);
 *   melflow_stream_finish(stream);                        and take the rest
 *   melflow_stream_close(stream);
 *   melflow_voice_close(voice);
 *
 * The example of a whole program is example.c. Every function that can fail answers MELFLOW_OK or a code; what it was
 * to make is then NULL. NULL for a voice or a stream is an error, and where a number is answered, 0. A voice may be
 * used by any number of threads at once, a stream by one at a time. After a fork(), a child opens voices of its own:
 * threads of those that it inherits are gone. */
#ifndef MELFLOW_H
#define MELFLOW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The program's exit codes; README.md. */
typedef enum melflow_status {
  MELFLOW_OK = 0,
  MELFLOW_USAGE = 64,       /* the call makes no sense */
  MELFLOW_BAD_DATA = 65,    /* a file, a mel or a sound is not what it is said to be */
  MELFLOW_NO_INPUT = 66,    /* a file is missing or cannot be read */
  MELFLOW_UNAVAILABLE = 69, /* memory is short */
  MELFLOW_INTERNAL = 70     /* our own fault */
} melflow_status;

/* One line of why this thread's last call failed: which file, what is wrong, what to do. Valid until its next call. */
const char* melflow_error(void);

/* "0.1.0"; a header and a library of one major version, and before 1.0 of one minor version, fit together. */
const char* melflow_version(void);

typedef enum melflow_precision { MELFLOW_FP32 = 0, MELFLOW_BF16 = 1, MELFLOW_INT8 = 2 } melflow_precision;

/* How a voice is to speak. Begin with `melflow_options options = MELFLOW_DEFAULTS;`. */
typedef struct melflow_options {
  size_t size;       /* of this struct, as the caller knows it: later versions may add fields behind, of defaults */
  double sigma;      /* standard deviation of the noise; negative: the voice's own */
  int64_t draws;     /* of noise for each block, of which a block voice takes the best; 0: the voice's own */
  int64_t refine;    /* passes that bring the sound nearer to its mel; negative: the voice's own */
  double denoise;    /* strength of the denoiser; 0: none */
  double latency;    /* seconds from a frame to its sound, at most; 0: exact. `melflow synth --help` tells how */
  int32_t precision; /* melflow_precision; others than MELFLOW_FP32 for a WaveGlow alone */
  int32_t threads;   /* for all streams of the voice together, beside those that call; 0: as many as there are cores */
} melflow_options;
#define MELFLOW_DEFAULTS \
  { sizeof(melflow_options), -1, 0, -1, 0, 0, MELFLOW_FP32, 1 }

typedef struct melflow_voice melflow_voice;
typedef struct melflow_stream melflow_stream;

/* Opens a voice's file, or a published WaveGlow's; nothing in it is executed. `options` may be NULL. */
melflow_status melflow_voice_open(const char* path, const melflow_options* options, melflow_voice** voice);
/* Streams of the voice go on. NULL is fine. */
void melflow_voice_close(melflow_voice* voice);

int32_t melflow_voice_sample_rate(const melflow_voice* voice); /* Hz */
int32_t melflow_voice_hop_length(const melflow_voice* voice);  /* samples of a frame */
int32_t melflow_voice_n_mels(const melflow_voice* voice);      /* numbers of a frame */
/* Frames that must have been added before the first samples are there. */
int64_t melflow_voice_first_frames(const melflow_voice* voice);
/* JSON: {"name", "model", "mel", "card"}. Valid as long as the voice. */
const char* melflow_voice_json(const melflow_voice* voice);

/* A sound of its own. The same frames, seed and options make the same samples, however they are cut into calls. */
melflow_status melflow_stream_open(const melflow_voice* voice, uint64_t seed, melflow_stream** stream);
/* `count` frames, n_mels numbers each (the natural logarithm of the voice's mel), frame after frame. */
melflow_status melflow_stream_add(melflow_stream* stream, const float* frames, size_t count);
/* No frame follows. Then count·hop_length samples are there in all. */
melflow_status melflow_stream_finish(melflow_stream* stream);
/* Samples that can be taken. */
size_t melflow_stream_ready(const melflow_stream* stream);
/* Moves up to `most` samples, full scale ±1, to `samples`, and answers how many. */
size_t melflow_stream_take(melflow_stream* stream, float* samples, size_t most);
void melflow_stream_close(melflow_stream* stream);

/* Frames of the mel, in the voice's recipe, of a sound of so many samples; 0 where it is too short for one. */
size_t melflow_mel_frames(const melflow_voice* voice, size_t count, int32_t sample_rate);
/* That mel, frame after frame: melflow_mel_frames() times n_mels numbers. Other rates than the voice's are resampled.
 */
melflow_status melflow_mel(const melflow_voice* voice, const float* samples, size_t count, int32_t sample_rate,
                           float* frames);

#ifdef __cplusplus
}
#endif
#endif
