/* Who uses a GPU now: process lists of all versions, and per-process utilisation. */
#include "call.h"

#include <stdlib.h>
#include <string.h>

enum { BOGUS_ROWS = 2, PID_SCRAMBLE = 0x5a5a0000 };

/* One row, in the newest shape; the others are cut from it. */
typedef nvmlProcessDetail_v1_t row_t;

static unsigned int listed_pid(int g, uint32_t pid)
{
    return fake.machine.gpu[g].scrambled ? pid ^ PID_SCRAMBLE : pid;
}

static row_t row_of(int g, int slot)
{
    const struct gpu *gpu = &fake.machine.gpu[g];
    return (row_t){
        .pid = listed_pid(g, fake.pid[slot]),
        .usedGpuMemory = gpu->memoryless ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE
                                         : fake.registry->slot[slot].memory,
        .gpuInstanceId = gpu->mig ? 1 : 0xFFFFFFFF,
        .computeInstanceId = gpu->mig ? 0 : 0xFFFFFFFF,
        .usedGpuCcProtectedMemory = 0, /* nvidia-ml-py raises TypeError where it is not available */
    };
}

/* What drivers were seen to return now and then: no process at all, and numbers that cannot be. */
static row_t bogus_row(int number)
{
    return (row_t){
        .pid = number ? 0xFFFFFFFE : 0,
        .usedGpuMemory = number ? 0x7FFFFFFFFFFFFFFF : 0,
        .gpuInstanceId = 0xFFFFFFFF,
        .computeInstanceId = 0xFFFFFFFF,
    };
}

static unsigned int rows(int g, unsigned int mode, row_t row[SLOTS + BOGUS_ROWS])
{
    unsigned int count = 0;
    for (int i = 0; i < SLOTS; i++)
        if (lives(i, g) && (mode == NVML_PROCESS_MODE_ALL || mode == fake.registry->slot[i].kind) &&
            !machine_omits(&fake.machine, (uint32_t)g, fake.pid[i]))
            row[count++] = row_of(g, i);
    for (int i = 0; fake.machine.gpu[g].bogus && mode == NVML_PROCESS_MODE_COMPUTE && i < BOGUS_ROWS; i++)
        row[count++] = bogus_row(i);
    return count;
}

/* nvml.h: the needed count and INSUFFICIENT_SIZE when there is too little room, which is how callers ask for it. */
static nvmlReturn_t list(int g, unsigned int mode, unsigned int *count, void *infos, size_t size)
{
    row_t row[SLOTS + BOGUS_ROWS];
    unsigned int needed = rows(g, mode, row), room = *count;
    *count = needed;
    if (needed > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (needed && !infos)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int i = 0; i < needed; i++)
        memcpy((char *)infos + i * size, &row[i], size); /* v1, v2 and v3 are what a row begins with */
    return NVML_SUCCESS;
}

_Static_assert(sizeof(nvmlProcessInfo_v1_t) == 16 && sizeof(nvmlProcessInfo_t) == 24, "layouts of nvml.h");

#define LIST(function, info_t, mode)                                                        \
    nvmlReturn_t function(nvmlDevice_t device, unsigned int *count, info_t *infos)          \
    {                                                                                       \
        ENTER_GPU(device, count);                                                           \
        return list(g, mode, count, infos, sizeof *infos);                                  \
    }

LIST(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t, NVML_PROCESS_MODE_COMPUTE)
LIST(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, NVML_PROCESS_MODE_COMPUTE)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_t, NVML_PROCESS_MODE_COMPUTE)
LIST(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t, NVML_PROCESS_MODE_GRAPHICS)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t, NVML_PROCESS_MODE_GRAPHICS)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t, NVML_PROCESS_MODE_GRAPHICS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, nvmlProcessInfo_v1_t, NVML_PROCESS_MODE_MPS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, NVML_PROCESS_MODE_MPS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, nvmlProcessInfo_t, NVML_PROCESS_MODE_MPS)

nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device, nvmlProcessDetailList_t *detail)
{
    ENTER_GPU(device, detail);
    if (detail->version != nvmlProcessDetailList_v1 || detail->mode >= NVML_PROCESS_MODE_MAX)
        return NVML_ERROR_INVALID_ARGUMENT;
    return list(g, detail->mode, &detail->numProcArrayEntries, detail->procArray, sizeof *detail->procArray);
}

/* One row per process, of its newest sample after `since`; its utilisation is the mean of all of them. */
static unsigned int utilised(int g, unsigned long long since, nvmlProcessUtilizationInfo_v1_t row[SLOTS])
{
    const struct gpu_state *state = &fake.registry->gpu[g];
    unsigned int count = 0, samples[SLOTS] = {0};
    for (unsigned int s = 0; s < SAMPLES_KEPT && s < state->sample_count; s++) {
        const struct sample *sample = &state->sample[(state->sample_count - 1 - s) % SAMPLES_KEPT]; /* newest first */
        if ((unsigned long long)sample->real_us <= since)
            continue;
        for (unsigned int r = 0; r < sample->rows; r++) {
            const struct sample_row *of = &sample->row[r];
            unsigned int i = 0;
            while (i < count && row[i].pid != of->pid)
                i++;
            if (i == SLOTS)
                continue;
            if (i == count)
                row[count++] = (nvmlProcessUtilizationInfo_v1_t){
                    .pid = of->pid,
                    .timeStamp = (unsigned long long)sample->real_us,
                };
            row[i].smUtil += of->utilisation;
            row[i].memUtil += of->memory_utilisation;
            samples[i]++;
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        row[i].pid = listed_pid(g, row[i].pid);
        row[i].smUtil /= samples[i];
        row[i].memUtil /= samples[i];
    }
    return count;
}

/* Rows as they were seen in the field: of another time, of no process, above a hundred per cent. */
static unsigned int add_bogus(unsigned int count, nvmlProcessUtilizationInfo_v1_t *row)
{
    unsigned long long now = (unsigned long long)now_real_us();
    row[count++] = (nvmlProcessUtilizationInfo_v1_t){.pid = 0xFFFFFFFE, .timeStamp = now, .smUtil = 4294967295u};
    row[count++] = (nvmlProcessUtilizationInfo_v1_t){.pid = 1, .timeStamp = now * 2, .smUtil = 1};
    return count;
}

static nvmlReturn_t sampled(int g, unsigned long long since, nvmlProcessUtilizationInfo_v1_t row[SLOTS + BOGUS_ROWS],
                            unsigned int *count)
{
    if (fake.machine.gpu[g].mig)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = utilised(g, since, row);
    if (fake.machine.gpu[g].bogus)
        *count = add_bogus(*count, row);
    return *count ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *utilization,
                                             unsigned int *count, unsigned long long since)
{
    nvmlProcessUtilizationInfo_v1_t row[SLOTS + BOGUS_ROWS];
    unsigned int found;
    ENTER_GPU(device, count);
    nvmlReturn_t result = sampled(g, since, row, &found);
    if (result)
        return result;
    unsigned int room = *count;
    *count = found;
    if (!utilization || room < found)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < found; i++)
        utilization[i] = (nvmlProcessUtilizationSample_t){
            .pid = row[i].pid,
            .timeStamp = row[i].timeStamp,
            .smUtil = row[i].smUtil,
            .memUtil = row[i].memUtil,
        };
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
    nvmlProcessUtilizationInfo_v1_t row[SLOTS + BOGUS_ROWS];
    unsigned int found;
    ENTER_GPU(device, info);
    if (info->version != nvmlProcessesUtilizationInfo_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result = sampled(g, info->lastSeenTimeStamp, row, &found);
    if (result)
        return result;
    unsigned int room = info->processSamplesCount;
    info->processSamplesCount = found;
    if (!info->procUtilArray || room < found)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(info->procUtilArray, row, found * sizeof *row);
    return NVML_SUCCESS;
}
