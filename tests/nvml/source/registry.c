#define _GNU_SOURCE
#include "registry.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOCKS ((off_t)1 << 40) /* record locks may lie beyond the end of the file */
#define FIRST_PID_NAMESPACE "pid:[4026531836]" /* PROC_PID_INIT_INO of include/linux/proc_ns.h */

static int registry_fd = -1, turn_fd = -1, first_namespace;
static int own_slot = -1; /* F_GETLK does not tell a process of its own locks */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int64_t clock_us(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

int64_t now_us(void) { return clock_us(CLOCK_MONOTONIC); }
int64_t now_real_us(void) { return clock_us(CLOCK_REALTIME); }

static int in_first_namespace(void)
{
    char link[64] = "";
    return readlink("/proc/self/ns/pid", link, sizeof link - 1) > 0 && !strcmp(link, FIRST_PID_NAMESPACE);
}

struct registry *registry_open(const char *directory)
{
    char path[512];
    if (registry_fd < 0) {
        snprintf(path, sizeof path, "%s/registry", directory);
        registry_fd = open(path, O_RDWR | O_CLOEXEC);
        snprintf(path, sizeof path, "%s/turn", directory);
        turn_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        first_namespace = in_first_namespace();
    }
    if (registry_fd < 0 || turn_fd < 0 || ftruncate(registry_fd, sizeof(struct registry)))
        return NULL;
    void *map = mmap(NULL, sizeof(struct registry), PROT_READ | PROT_WRITE, MAP_SHARED, registry_fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

void registry_lock(void)
{
    pthread_mutex_lock(&turn);
    flock(turn_fd, LOCK_EX);
}

void registry_unlock(void)
{
    flock(turn_fd, LOCK_UN);
    pthread_mutex_unlock(&turn);
}

uint32_t registry_holder(int slot, int *held)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS + slot, .l_len = 1};
    if (slot == own_slot) {
        *held = 1;
        return (uint32_t)getpid();
    }
    if (fcntl(registry_fd, F_GETLK, &lock) || lock.l_type == F_UNLCK) {
        *held = 0;
        return 0;
    }
    *held = 1;
    return (uint32_t)lock.l_pid;
}

int registry_take(struct registry *registry)
{
    for (int i = 0; i < SLOTS; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS + i, .l_len = 1};
        if (!registry->slot[i].taken && !fcntl(registry_fd, F_SETLK, &lock))
            return own_slot = i;
    }
    return -1;
}

/* The driver was loaded anew: accounting is off, samples and energy begin at nothing (nvml.h). */
static void reload(struct registry *registry, const struct machine *machine, int64_t now)
{
    memset(registry->gpu, 0, sizeof registry->gpu);
    for (int g = 0; g < GPUS; g++)
        registry->gpu[g].counted_until_us = registry->gpu[g].sampled_until_us = now;
    for (int i = 0; i < SLOTS; i++)
        registry->slot[i].accounted = 0;
    registry->epoch = machine->epoch;
}

static void notice_ends(struct registry *registry, int64_t now)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &registry->slot[i];
        int held;
        if (!slot->taken || slot->ended_us)
            continue;
        uint32_t pid = registry_holder(i, &held);
        if (!held)
            slot->ended_us = now;
        else if (first_namespace && pid) /* the holder may be in another namespace, and not know this number */
            slot->pid = pid;
    }
}

/* For how long the slot was in use between two instants. */
static int64_t overlap(const struct slot *slot, int64_t from, int64_t until)
{
    if (slot->started_us > from)
        from = slot->started_us;
    if (slot->ended_us && slot->ended_us < until)
        until = slot->ended_us;
    return until > from ? until - from : 0;
}

static void count_energy(struct registry *registry, const struct machine *machine, uint32_t g, int64_t now)
{
    struct gpu_state *state = &registry->gpu[g];
    const struct gpu *gpu = &machine->gpu[g];
    uint64_t passed = (uint64_t)(now - state->counted_until_us), busy = 0;
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &registry->slot[i];
        if (!slot->taken || slot->gpu != g)
            continue;
        uint64_t own = (uint64_t)overlap(slot, state->counted_until_us, now) * slot->utilisation;
        slot->busy += own;
        busy += own;
    }
    if (busy > passed * 100)
        busy = passed * 100;
    state->energy += gpu->idle_milliwatts * passed + (gpu->full_milliwatts - gpu->idle_milliwatts) * busy / 100;
    state->counted_until_us = now;
}

static void take_sample(struct registry *registry, const struct machine *machine, uint32_t g, int64_t at, int64_t real)
{
    struct gpu_state *state = &registry->gpu[g];
    struct sample *sample = &state->sample[state->sample_count++ % SAMPLES_KEPT];
    sample->real_us = real;
    sample->rows = 0;
    for (int i = 0; i < SLOTS && sample->rows < SAMPLE_ROWS; i++) {
        const struct slot *slot = &registry->slot[i];
        if (!slot->taken || slot->gpu != g || !slot->utilisation || !overlap(slot, at - SAMPLE_PERIOD_US, at))
            continue;
        sample->row[sample->rows++] = (struct sample_row){
            .pid = slot->pid,
            .utilisation = slot->utilisation,
            .memory_utilisation = (uint32_t)(slot->memory * 100 / machine->gpu[g].memory),
        };
    }
}

static void take_samples(struct registry *registry, const struct machine *machine, uint32_t g, int64_t now)
{
    struct gpu_state *state = &registry->gpu[g];
    int64_t real_ahead = now_real_us() - now;
    int64_t oldest = now - (int64_t)SAMPLES_KEPT * SAMPLE_PERIOD_US;
    if (state->sampled_until_us < oldest)
        state->sampled_until_us = oldest;
    while (state->sampled_until_us + SAMPLE_PERIOD_US <= now) {
        state->sampled_until_us += SAMPLE_PERIOD_US;
        take_sample(registry, machine, g, state->sampled_until_us, state->sampled_until_us + real_ahead);
    }
}

static uint32_t mean_utilisation(const struct slot *slot)
{
    int64_t lived = slot->ended_us - slot->started_us;
    return lived > 0 ? (uint32_t)(slot->busy / (uint64_t)lived) : 0;
}

static void bury(struct gpu_state *state, const struct slot *slot)
{
    struct dead *dead = NULL;
    for (uint64_t i = 0; i < DEAD_KEPT && i < state->dead_count && !dead; i++)
        if (state->dead[i].pid == slot->pid) /* nvml.h: of several with one pid, the latest */
            dead = &state->dead[i];
    if (!dead)
        dead = &state->dead[state->dead_count++ % DEAD_KEPT];
    *dead = (struct dead){
        .pid = slot->pid,
        .utilisation = mean_utilisation(slot),
        .max_memory = slot->max_memory,
        .started_real_us = slot->started_real_us,
        .lived_us = slot->ended_us - slot->started_us,
    };
}

/* A slot whose holder has ended stays until its last sample is taken. */
static void retire(struct registry *registry)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &registry->slot[i];
        struct gpu_state *state = &registry->gpu[slot->gpu];
        if (!slot->taken || !slot->ended_us || slot->ended_us > state->sampled_until_us)
            continue;
        slot->taken = 0;
        registry->generation++;
    }
}

static void account(struct registry *registry)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &registry->slot[i];
        if (!slot->taken || !slot->ended_us || !slot->accounted)
            continue;
        bury(&registry->gpu[slot->gpu], slot);
        slot->accounted = 0;
    }
}

void registry_advance(struct registry *registry, const struct machine *machine)
{
    int64_t now = now_us();
    if (registry->epoch != machine->epoch)
        reload(registry, machine, now);
    notice_ends(registry, now);
    for (uint32_t g = 0; g < machine->gpus; g++) {
        count_energy(registry, machine, g, now);
        take_samples(registry, machine, g, now);
    }
    account(registry);
    retire(registry);
}
