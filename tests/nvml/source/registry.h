/* The state of the fake driver: which processes use which GPU, and what they left behind.
 *
 * One file, mapped by every process that reads (the library) or uses (user.c) a GPU. A process holds a slot by a POSIX
 * record lock on the slot's own byte, so that the kernel frees it when the process dies, however it dies (fcntl(2)), and
 * F_GETLK tells a reader the holder's pid in the reader's own pid namespace. Nothing runs in the background: whoever
 * comes next brings the state up to now (`registry_advance`). A process that was killed counts as ended when that is
 * noticed.
 *
 * Record locks are dropped when the process closes any descriptor of the file: it is opened once and never closed.
 */
#ifndef FAKE_REGISTRY_H
#define FAKE_REGISTRY_H

#include <stdint.h>

#include "machine.h"

enum {
    SLOTS = 512,
    DEAD_KEPT = 128,    /* open-gpu-kernel-modules: 128 dead entries */
    LIVE_ACCOUNTED = 3872,
    SAMPLES_KEPT = 72,  /* open-gpu-kernel-modules: 72 samples */
    SAMPLE_ROWS = 64,
    SAMPLE_PERIOD_US = 166667,
};

enum kind { KIND_COMPUTE, KIND_GRAPHICS, KIND_MPS, KINDS };

struct slot {
    uint32_t taken;
    uint32_t gpu, kind, utilisation;
    uint32_t pid; /* as the holder sees itself, until a reader in the first pid namespace sees it */
    uint32_t accounted;
    uint64_t memory, max_memory;
    int64_t started_us, started_real_us; /* CLOCK_MONOTONIC and CLOCK_REALTIME */
    int64_t ended_us;                    /* 0 while it runs */
    uint64_t busy;                       /* microseconds x per cent */
};

struct dead {
    uint32_t pid, utilisation;
    uint64_t max_memory;
    int64_t started_real_us, lived_us;
};

struct sample_row {
    uint32_t pid, utilisation, memory_utilisation;
};

struct sample {
    int64_t real_us;
    uint32_t rows;
    struct sample_row row[SAMPLE_ROWS];
};

struct gpu_state {
    uint32_t accounting;
    uint64_t energy; /* milliwatts x microseconds = nanojoules */
    int64_t counted_until_us, sampled_until_us;
    uint64_t dead_count, sample_count; /* ever; the newest is at (count - 1) % KEPT */
    struct dead dead[DEAD_KEPT];
    struct sample sample[SAMPLES_KEPT];
};

struct registry {
    uint32_t epoch;      /* of the driver whose state this is */
    uint32_t generation; /* grows whenever a slot changes */
    struct slot slot[SLOTS];
    struct gpu_state gpu[GPUS];
};

/* Map DIRECTORY/registry; NULL when there is none. */
struct registry *registry_open(const char *directory);

/* Exclude all others, threads of this process too. */
void registry_lock(void);
void registry_unlock(void);

/* The pid that holds a slot, as this process would call it: 0 when nobody does or it is in a foreign pid namespace. */
uint32_t registry_holder(int slot, int *held);

/* Bring energy, samples and accounting up to now and free the slots of the dead. Call it under the lock. */
void registry_advance(struct registry *registry, const struct machine *machine);

/* Take a free slot for this process; -1 when all are taken. Call it under the lock. */
int registry_take(struct registry *registry);

int64_t now_us(void);
int64_t now_real_us(void);

#endif
