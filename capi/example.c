/* A mel in, a sound out:   example VOICE <frames.f32 >samples.f32
 * Both are numbers of four bytes; of the mel, frame after frame. cc example.c $(pkg-config --cflags --libs melflow) */
#include <stdio.h>
#include <stdlib.h>

#include <melflow.h>

static int give(melflow_stream *stream) {
  float samples[1024];
  size_t count;
  while ((count = melflow_stream_take(stream, samples, 1024)) > 0) {
    if (fwrite(samples, sizeof(float), count, stdout) != count) return 0;
  }
  return fflush(stdout) == 0;
}

int main(int argc, char **argv) {
  melflow_voice *voice = NULL;
  melflow_stream *stream = NULL;
  float *frame = NULL;
  size_t bands, got = 0;
  const char *why = NULL;
  melflow_status status = argc == 2 ? melflow_voice_open(argv[1], NULL, &voice) : MELFLOW_USAGE;
  if (status == MELFLOW_OK) status = melflow_stream_open(voice, /*seed=*/0, &stream);
  if (status == MELFLOW_OK) {
    bands = (size_t)melflow_voice_n_mels(voice);
    frame = malloc(bands * sizeof(float));
    if (frame == NULL) why = "out of memory";
    while (why == NULL && status == MELFLOW_OK && (got = fread(frame, sizeof(float), bands, stdin)) == bands) {
      status = melflow_stream_add(stream, frame, 1);
      if (status == MELFLOW_OK && !give(stream)) why = "the sound cannot be written";
    }
    if (why == NULL && status == MELFLOW_OK && (ferror(stdin) || got != 0)) why = "the mel ends within a frame";
  }
  if (why == NULL && status == MELFLOW_OK) status = melflow_stream_finish(stream);
  if (why == NULL && status == MELFLOW_OK && !give(stream)) why = "the sound cannot be written";
  if (why == NULL && status != MELFLOW_OK) why = argc == 2 ? melflow_error() : "usage: example VOICE";
  if (why != NULL) fprintf(stderr, "%s\n", why);
  free(frame);
  melflow_stream_close(stream);
  melflow_voice_close(voice);
  return why == NULL ? 0 : 1;
}
