/* Loops in C: integers, strings, floating point. One argument says which; each prints what it found. */
#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;
static uint32_t chance(void) { return seed = seed * 1664525u + 1013904223u; }

static void sieve(void) {
  enum { N = 20000000 };
  char *composite = calloc(N, 1);
  unsigned count = 0;
  for (unsigned i = 2; i < N; i++) {
    if (composite[i]) continue;
    count++;
    for (uint64_t j = (uint64_t)i * i; j < N; j += i) composite[j] = 1;
  }
  printf("%u\n", count);
}

static int byValue(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void quicksort(void) {
  enum { N = 900000 };
  uint32_t *list = malloc(N * sizeof *list), sum = 0;
  for (int i = 0; i < N; i++) list[i] = chance();
  qsort(list, N, sizeof *list, byValue);
  for (int i = 0; i < N; i++) sum = sum * 31 + list[i];
  printf("%u\n", sum);
}

static void collatz(void) {
  uint64_t longest = 0, at = 0;
  for (uint64_t i = 1; i < 2000000; i++) {
    uint64_t steps = 0;
    for (uint64_t n = i; n != 1; steps++) n = n & 1 ? 3 * n + 1 : n / 2;
    if (steps > longest) { longest = steps; at = i; }
  }
  printf("%llu %llu\n", (unsigned long long)at, (unsigned long long)longest);
}

static void hash(void) {
  enum { SLOTS = 1 << 18 };
  uint64_t *keys = calloc(SLOTS, 8), found = 0, state = 88172645463325252u;
  for (int i = 0; i < 50000000; i++) {
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    uint64_t key = state % 200000 + 1, at = (key * 0x9e3779b97f4a7c15u) >> 46;
    while (keys[at] != 0 && keys[at] != key) at = (at + 1) % SLOTS;
    if (keys[at] == key) found++;
    keys[at] = key;
  }
  printf("%llu\n", (unsigned long long)found);
}

static void strings(void) {
  enum { N = 1 << 20 };
  char *text = malloc(N + 1), *copy = malloc(N + 1);
  uint64_t sum = 0;
  for (int i = 0; i < N; i++) text[i] = "abcdefgh ijklmnop"[chance() >> 28];
  text[N] = 0;
  for (int turn = 0; turn < 30; turn++) {
    memcpy(copy, text, N + 1);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) sum = sum * 3 + strlen(word) + (strcmp(word, "abc") > 0);
    for (char *at = text; (at = strstr(at, "bad")); at++) sum++;
    sum += (unsigned)memcmp(text, copy, N) + (memchr(text, 'z', N) != NULL);
    char line[64];
    for (int i = 0; i < 4000; i++) sum += (unsigned)snprintf(line, sizeof line, "%d %s %x", i, "word", i * 77) + (unsigned)strtol(line, NULL, 10);
  }
  printf("%llu\n", (unsigned long long)sum);
}

static void nbody(void) {
  enum { N = 5 };
  double p[N][3] = {{0, 0, 0}, {4.84, -1.16, -0.1}, {8.34, 4.12, -0.4}, {12.89, -15.11, -0.22}, {15.37, -25.9, 0.17}}, v[N][3] = {{0, 0, 0}, {0.6, 2.8, -0.02}, {-1.01, 1.81, 0.008}, {1.08, 0.86, -0.01}, {0.97, 0.59, -0.03}};
  const double m[N] = {39.5, 0.037, 0.011, 0.0017, 0.002};
  for (int step = 0; step < 250000; step++) {
    for (int i = 0; i < N; i++) {
      for (int j = i + 1; j < N; j++) {
        double d[3], square = 0;
        for (int k = 0; k < 3; k++) { d[k] = p[i][k] - p[j][k]; square += d[k] * d[k]; }
        double pull = 0.001 / (square * sqrt(square));
        for (int k = 0; k < 3; k++) { v[i][k] -= d[k] * m[j] * pull; v[j][k] += d[k] * m[i] * pull; }
      }
    }
    for (int i = 0; i < N; i++) for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
  }
  for (int i = 0; i < N; i++) printf("%a %a %a\n", p[i][0], p[i][1], p[i][2]);
}

static void fft(void) {
  enum { N = 1 << 16 };
  double complex *x = malloc(N * sizeof *x), *w = malloc(N / 2 * sizeof *w);
  for (int k = 0; k < N / 2; k++) w[k] = cos(2 * M_PI * k / N) - I * sin(2 * M_PI * k / N);
  for (int i = 0; i < N; i++) x[i] = i % 31 + I * (i % 7);
  for (int turn = 0; turn < 15; turn++) {
    for (unsigned i = 1, j = 0; i < N; i++) {
      unsigned bit = N >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) { double complex t = x[i]; x[i] = x[j]; x[j] = t; }
    }
    for (int len = 2; len <= N; len *= 2) {
      for (int i = 0; i < N; i += len) {
        for (int k = 0; k < len / 2; k++) {
          double complex a = x[i + k], b = x[i + k + len / 2], f = w[k * (N / len)];
          double complex t = (creal(b) * creal(f) - cimag(b) * cimag(f)) + I * (creal(b) * cimag(f) + cimag(b) * creal(f));
          x[i + k] = a + t;
          x[i + k + len / 2] = a - t;
        }
      }
    }
    for (int i = 0; i < N; i++) x[i] /= 256;
  }
  printf("%a %a\n", creal(x[5]), cimag(x[77]));
}

static void matrix(void) {
  enum { N = 240 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) { a[i][j] = i * j % 17 / 3.0; b[i][j] = (i + j) % 13 - 6.5; }
  for (int turn = 0; turn < 4; turn++) {
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum / N;
    }
    memcpy(b, c, sizeof b);
  }
  printf("%a %a\n", c[7][11], c[200][3]);
}

static void mandelbrot(void) {
  unsigned sum = 0;
  for (int y = 0; y < 440; y++) for (int x = 0; x < 300; x++) {
    float a = 0, b = 0, re = (float)x / 100.0f - 2.2f, im = (float)y / 200.0f - 1.1f;
    int n = 0;
    for (; n < 200 && a * a + b * b < 4.0f; n++) {
      float t = a * a - b * b + re;
      b = 2 * a * b + im;
      a = t;
    }
    sum = sum * 5 + (unsigned)n;
  }
  printf("%u\n", sum);
}

int main(int argc, char **argv) {
  static const struct { const char *name; void (*run)(void); } ALL[] = {
    {"sieve", sieve}, {"qsort", quicksort}, {"collatz", collatz}, {"hash", hash}, {"strings", strings}, {"nbody", nbody}, {"fft", fft}, {"matrix", matrix}, {"mandelbrot", mandelbrot},
  };
  for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
    if (argc != 2 || strcmp(argv[1], ALL[i].name) != 0) continue;
    ALL[i].run();
    return 0;
  }
  return 2;
}
