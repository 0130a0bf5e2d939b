/* Accounting: who used a GPU since it was switched on, the dead included, until the ring of the dead is full. */
#include "call.h"

#include <string.h>
#include <unistd.h>

static int accounted(int slot, int g) { return lives(slot, g) && fake.registry->slot[slot].accounted; }

static uint64_t dead_kept(const struct gpu_state *state)
{
    return state->dead_count < DEAD_KEPT ? state->dead_count : DEAD_KEPT;
}

static void clear(int g)
{
    fake.registry->gpu[g].dead_count = 0;
}

nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
    ENTER_GPU(device, mode);
    *mode = state->accounting ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

/* A process is accounted from the moment it allocates the GPU: those that were there before are not. */
nvmlReturn_t nvmlDeviceSetAccountingMode(nvmlDevice_t device, nvmlEnableState_t mode)
{
    ENTER_GPU(device, 1);
    if (geteuid())
        return NVML_ERROR_NO_PERMISSION;
    if (gpu->mig)
        return NVML_ERROR_NOT_SUPPORTED;
    if (mode != NVML_FEATURE_ENABLED && mode != NVML_FEATURE_DISABLED)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (mode == NVML_FEATURE_DISABLED) {
        clear(g);
        for (int i = 0; i < SLOTS; i++)
            if ((int)fake.registry->slot[i].gpu == g)
                fake.registry->slot[i].accounted = 0;
    }
    state->accounting = mode == NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceClearAccountingPids(nvmlDevice_t device)
{
    ENTER_GPU(device, 1);
    if (geteuid())
        return NVML_ERROR_NO_PERMISSION;
    clear(g);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetAccountingBufferSize(nvmlDevice_t device, unsigned int *size)
{
    ENTER_GPU(device, size);
    if (!state->accounting || gpu->mig)
        return NVML_ERROR_NOT_SUPPORTED;
    *size = LIVE_ACCOUNTED + DEAD_KEPT;
    return NVML_SUCCESS;
}

static int among(const unsigned int *pids, unsigned int count, unsigned int pid)
{
    for (unsigned int i = 0; i < count; i++)
        if (pids[i] == pid)
            return 1;
    return 0;
}

nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlDevice_t device, unsigned int *count, unsigned int *pids)
{
    unsigned int found[SLOTS + DEAD_KEPT], number = 0;
    ENTER_GPU(device, count);
    if (!state->accounting || gpu->mig)
        return NVML_ERROR_NOT_SUPPORTED;
    for (int i = 0; i < SLOTS; i++)
        if (accounted(i, g))
            found[number++] = fake.pid[i];
    for (uint64_t i = 0; i < dead_kept(state); i++)
        if (!among(found, number, state->dead[i].pid))
            found[number++] = state->dead[i].pid;
    unsigned int room = *count;
    *count = number;
    if (number > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (number && !pids)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (number)
        memcpy(pids, found, number * sizeof *found);
    return NVML_SUCCESS;
}

static nvmlAccountingStats_v2_t of_living(const struct slot *slot, unsigned int pid)
{
    int64_t lived = now_us() - slot->started_us;
    unsigned int busy = lived > 0 ? (unsigned int)(slot->busy / (uint64_t)lived) : 0;
    return (nvmlAccountingStats_v2_t){
        .pid = pid,
        .isRunning = 1,
        .gpuUtilization = busy,
        .memoryUtilization = busy, /* who computes touches memory */
        .maxMemoryUsage = slot->max_memory,
        .startTime = (unsigned long long)slot->started_real_us,
    };
}

static nvmlAccountingStats_v2_t of_dead(const struct dead *dead)
{
    return (nvmlAccountingStats_v2_t){
        .pid = dead->pid,
        .gpuUtilization = dead->utilisation,
        .memoryUtilization = dead->utilisation,
        .maxMemoryUsage = dead->max_memory,
        .time = (unsigned long long)dead->lived_us / 1000,
        .startTime = (unsigned long long)dead->started_real_us,
    };
}

static nvmlReturn_t stats_of(int g, unsigned int pid, nvmlAccountingStats_v2_t *stats)
{
    const struct gpu_state *state = &fake.registry->gpu[g];
    if (!state->accounting || fake.machine.gpu[g].mig)
        return NVML_ERROR_NOT_SUPPORTED;
    for (int i = 0; i < SLOTS; i++)
        if (accounted(i, g) && fake.pid[i] == pid) {
            *stats = of_living(&fake.registry->slot[i], pid);
            return NVML_SUCCESS;
        }
    for (uint64_t i = 0; i < dead_kept(state); i++)
        if (state->dead[i].pid == pid) {
            *stats = of_dead(&state->dead[i]);
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetAccountingStats(nvmlDevice_t device, unsigned int pid, nvmlAccountingStats_t *stats)
{
    nvmlAccountingStats_v2_t found = {0};
    ENTER_GPU(device, stats);
    nvmlReturn_t result = stats_of(g, pid, &found);
    if (gpu->memoryless)
        found.maxMemoryUsage = (unsigned long long)NVML_VALUE_NOT_AVAILABLE;
    if (!result)
        *stats = (nvmlAccountingStats_t){
            .gpuUtilization = found.gpuUtilization,
            .memoryUtilization = found.memoryUtilization,
            .maxMemoryUsage = found.maxMemoryUsage,
            .time = found.time,
            .startTime = found.startTime,
            .isRunning = found.isRunning,
        };
    return result;
}

nvmlReturn_t nvmlDeviceGetAccountingStats_v2(nvmlDevice_t device, nvmlAccountingStats_v2_t *stats)
{
    ENTER_GPU(device, stats);
    return stats_of(g, stats->pid, stats);
}
