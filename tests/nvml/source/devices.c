/* Which GPUs there are, and what each as a whole is doing: memory, utilisation, power, energy. */
#include "call.h"

#include <stdio.h>
#include <string.h>

static nvmlReturn_t count(unsigned int *count)
{
    if (!count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = fake.machine.gpus;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *number)
{
    ENTER(NO_GPU);
    return count(number);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *number)
{
    ENTER(NO_GPU);
    return count(number);
}

static nvmlReturn_t handle(unsigned int index, nvmlDevice_t *device)
{
    if (!device || index >= fake.machine.gpus)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (fake.machine.gpu[index].lost)
        return NVML_ERROR_GPU_IS_LOST;
    *device = (nvmlDevice_t)(size_t)(index + 1);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
    ENTER(NO_GPU);
    return handle(index, device);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    ENTER(NO_GPU);
    return handle(index, device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    ENTER(NO_GPU);
    for (unsigned int i = 0; uuid && i < fake.machine.gpus; i++)
        if (!strcmp(uuid, fake.machine.gpu[i].uuid))
            return handle(i, device);
    return uuid ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    ENTER(NO_GPU);
    for (unsigned int i = 0; bus_id && i < fake.machine.gpus; i++)
        if (!strcasecmp(bus_id, fake.machine.gpu[i].bus_id))
            return handle(i, device);
    return bus_id ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    ENTER_GPU(device, index);
    *index = (unsigned int)g;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor)
{
    ENTER_GPU(device, minor);
    *minor = gpu->minor;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    ENTER_GPU(device, uuid);
    return write_text(uuid, length, gpu->uuid);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    ENTER_GPU(device, name);
    return write_text(name, length, gpu->name);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    ENTER_GPU(device, pci);
    memset(pci, 0, sizeof *pci);
    if (sscanf(gpu->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) != 3)
        return NVML_ERROR_UNKNOWN;
    snprintf(pci->busId, sizeof pci->busId, "%s", gpu->bus_id);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    return NVML_SUCCESS;
}

static unsigned long long used_memory(int g)
{
    unsigned long long used = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &fake.registry->slot[i];
        if (slot->taken && !slot->ended_us && (int)slot->gpu == g)
            used += slot->memory;
    }
    return used;
}

static unsigned int utilisation(int g)
{
    unsigned int sum = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &fake.registry->slot[i];
        if (slot->taken && !slot->ended_us && (int)slot->gpu == g)
            sum += slot->utilisation;
    }
    return sum < 100 ? sum : 100;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    ENTER_GPU(device, memory);
    unsigned long long used = used_memory(g);
    *memory = (nvmlMemory_t){.total = gpu->memory, .used = used, .free = gpu->memory - used};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    ENTER_GPU(device, memory);
    if (memory->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = gpu->memory;
    memory->reserved = 0;
    memory->used = used_memory(g);
    memory->free = gpu->memory - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    ENTER_GPU(device, rates);
    if (gpu->mig)
        return NVML_ERROR_NOT_SUPPORTED;
    rates->gpu = utilisation(g);
    rates->memory = (unsigned int)(used_memory(g) * 100 / gpu->memory);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts)
{
    ENTER_GPU(device, milliwatts);
    *milliwatts = gpu->idle_milliwatts + (gpu->full_milliwatts - gpu->idle_milliwatts) * utilisation(g) / 100;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    ENTER_GPU(device, millijoules);
    *millijoules = state->energy / 1000000;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *milliwatts)
{
    ENTER_GPU(device, milliwatts);
    *milliwatts = gpu->full_milliwatts;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t device, unsigned int *milliwatts)
{
    ENTER_GPU(device, milliwatts);
    *milliwatts = gpu->full_milliwatts;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *celsius)
{
    ENTER_GPU(device, celsius);
    if (sensor != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    *celsius = 30 + utilisation(g) / 2;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    ENTER_GPU(device, current && pending);
    *current = *pending = gpu->mig ? NVML_DEVICE_MIG_ENABLE : NVML_DEVICE_MIG_DISABLE;
    return NVML_SUCCESS;
}
