#include "call.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_DIRECTORY "/run/timelock-fake-nvml"

/* A scan of all slots costs a third of a millisecond: several calls in a row share one. */
enum { SCAN_GOOD_FOR_US = 10000, HANG_POLL_MS = 10 };

struct context fake;

static int64_t scanned_us;
static uint32_t scanned_generation;

static const char *directory(void)
{
    const char *set = getenv("TIMELOCK_FAKE_NVML");
    return set && *set ? set : DEFAULT_DIRECTORY;
}

static void scan(void)
{
    int64_t now = now_us();
    if (now - scanned_us < SCAN_GOOD_FOR_US && scanned_generation == fake.registry->generation &&
        fake.registry->epoch == fake.machine.epoch)
        return;
    registry_advance(fake.registry, &fake.machine);
    for (int i = 0; i < SLOTS; i++) {
        int held = 0;
        fake.pid[i] = fake.registry->slot[i].taken ? registry_holder(i, &held) : 0;
    }
    scanned_us = now;
    scanned_generation = fake.registry->generation;
}

static int hangs(const char *function)
{
    registry_lock();
    int hangs = !machine_refresh(&fake.machine, directory()) &&
                machine_rule(fake.machine.hang, fake.machine.hangs, function) != NULL;
    registry_unlock();
    return hangs;
}

static nvmlReturn_t refusal(int gpu)
{
    if (!fake.machine.read_from.st_ino)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (!fake.users)
        return NVML_ERROR_UNINITIALIZED;
    if (gpu == BAD_GPU || gpu >= (int)fake.machine.gpus)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (gpu >= 0 && fake.machine.gpu[gpu].lost)
        return NVML_ERROR_GPU_IS_LOST;
    return NVML_SUCCESS;
}

int enter(const char *function, int gpu, nvmlReturn_t *result)
{
    if (!fake.registry && !(fake.registry = registry_open(directory()))) {
        *result = NVML_ERROR_DRIVER_NOT_LOADED;
        return 0;
    }
    while (hangs(function))
        nanosleep(&(struct timespec){.tv_nsec = HANG_POLL_MS * 1000000L}, NULL);
    registry_lock();
    const struct rule *rule = machine_rule(fake.machine.failure, fake.machine.failures, function);
    *result = rule ? (nvmlReturn_t)rule->code : refusal(gpu);
    if (rule || *result) {
        registry_unlock();
        return 0;
    }
    scan();
    return 1;
}

void leave(const int *held)
{
    if (*held)
        registry_unlock();
}

/* Handles are addresses of nothing: index + 1. */
int gpu_of(nvmlDevice_t device)
{
    size_t number = (size_t)device;
    return number >= 1 && number <= GPUS ? (int)number - 1 : BAD_GPU;
}

nvmlReturn_t write_text(char *text, unsigned int length, const char *value)
{
    if (!text)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (length <= strlen(value))
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(text, value);
    return NVML_SUCCESS;
}

/* What a generated stub answers: symbols that nothing here overrides. */
nvmlReturn_t fake_stub(const char *function);
nvmlReturn_t fake_stub(const char *function)
{
    nvmlReturn_t result;
    if (!enter(function, NO_GPU, &result))
        return result;
    registry_unlock();
    return NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t initialise(const char *function)
{
    nvmlReturn_t result;
    int ready = enter(function, NO_GPU, &result);
    if (ready)
        registry_unlock();
    else if (result != NVML_ERROR_UNINITIALIZED)
        return result;
    __atomic_add_fetch(&fake.users, 1, __ATOMIC_SEQ_CST);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit(void) { return initialise(__func__); }
nvmlReturn_t nvmlInit_v2(void) { return initialise(__func__); }
nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    return initialise(__func__);
}

nvmlReturn_t nvmlShutdown(void)
{
    ENTER(NO_GPU);
    fake.users--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t code)
{
    switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    ENTER(NO_GPU);
    return write_text(version, length, fake.machine.driver);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    char value[sizeof fake.machine.driver + 8] = NVML_API_VERSION_STR ".";
    ENTER(NO_GPU);
    strcat(value, fake.machine.driver);
    return write_text(version, length, value);
}

static nvmlReturn_t cuda_version(int *version)
{
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = NVML_API_VERSION * 1000;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    ENTER(NO_GPU);
    return cuda_version(version);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER(NO_GPU);
    return cuda_version(version);
}
