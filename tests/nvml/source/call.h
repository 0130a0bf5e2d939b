/* What every function of the fake library does first, and the state it then answers from.
 *
 * `ENTER(gpu)` brings the state up to now and holds it still until the function returns; it makes the function hang,
 * fail or be refused where a knob, a lost GPU or a missing nvmlInit says so.
 */
#ifndef FAKE_CALL_H
#define FAKE_CALL_H

#define NVML_NO_UNVERSIONED_FUNC_DEFS /* declares the old versions too, and defines none away */
#include <nvml.h>

#include "registry.h"

enum { NO_GPU = -1, BAD_GPU = -2 };

struct context {
    struct machine machine;
    struct registry *registry;
    unsigned int users; /* of nvmlInit */
    uint32_t pid[SLOTS]; /* who holds which slot, in this process's pid namespace; 0: nobody that it can see */
};

extern struct context fake;

/* 0 when the function shall return *result at once; else the state is held and `leave` must follow. */
int enter(const char *function, int gpu, nvmlReturn_t *result);
void leave(const int *held);
int gpu_of(nvmlDevice_t device);

#define ENTER(gpu)                                               \
    nvmlReturn_t result_;                                        \
    if (!enter(__func__, gpu, &result_))                         \
        return result_;                                          \
    __attribute__((cleanup(leave), unused)) const int held_ = 1

/* For functions of one GPU that write through one pointer or more. */
#define ENTER_GPU(device, written)                               \
    const int g = gpu_of(device);                                \
    ENTER(g);                                                    \
    if (!(written))                                              \
        return NVML_ERROR_INVALID_ARGUMENT;                      \
    const struct gpu *const gpu = &fake.machine.gpu[g];          \
    struct gpu_state *const state = &fake.registry->gpu[g];      \
    (void)gpu, (void)state

/* Whether this slot is used on this GPU by a process that runs and can be seen. */
static inline int lives(int slot, int g)
{
    const struct slot *s = &fake.registry->slot[slot];
    return s->taken && !s->ended_us && (int)s->gpu == g && fake.pid[slot];
}

nvmlReturn_t write_text(char *text, unsigned int length, const char *value);

#endif
