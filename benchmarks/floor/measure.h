/* The clocks and the result line, the same for both C programs and the same as in worker.py:
 * wall from CLOCK_MONOTONIC, CPU (user + system, all threads) of this process. */
#ifndef PGOXIDE_BENCH_MEASURE_H
#define PGOXIDE_BENCH_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    double wall, cpu;
} Clock;

static double seconds(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static Clock clock_now(void) {
    Clock clock = {seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
    return clock;
}

static void print_result(Clock start, long operations) {
    Clock end = clock_now();
    printf("{\"wall_s\": %.9f, \"cpu_s\": %.9f, \"n\": %ld, \"ok\": true}\n", (end.wall - start.wall) / (double)operations,
           (end.cpu - start.cpu) / (double)operations, operations);
}

static void die(const char *what, const char *detail) {
    fprintf(stderr, "floor: %s: %s\n", what, detail);
    exit(1);
}

#endif
