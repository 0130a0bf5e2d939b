/* A process that uses a GPU of the fake machine until it is told to stop, or is killed.
 *
 *     user GPU MEMORY_BYTES UTILISATION [--kind compute|graphics|mps] [--device NODE]... [--stay]
 *
 * Opens the device nodes and keeps them open, takes a slot of TIMELOCK_FAKE_NVML, says "ready PID", and then reads
 * "memory BYTES", "utilisation PERCENT" or "stop" from its standard input, answering "ok". The end of input means stop;
 * with --stay only a signal does. Linked statically, so that it runs in any container.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry.h"

static const char *const kinds[KINDS] = {"compute", "graphics", "mps"};
static const char *directory;
static struct machine machine;
static struct registry *registry;
static struct slot *slot;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "user: %s: %s\n", what, why);
    exit(1);
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || end == text)
        fail("expected a number", text);
    return value;
}

static uint32_t kind_of(const char *name)
{
    for (uint32_t kind = 0; kind < KINDS; kind++)
        if (!strcmp(kinds[kind], name))
            return kind;
    fail("expected compute, graphics or mps", name);
    return 0;
}

static void open_device(const char *node)
{
    if (open(node, O_RDWR | O_CLOEXEC) < 0)
        fail(node, strerror(errno));
}

static void begin_change(void)
{
    registry_lock();
    if (machine_refresh(&machine, directory))
        fail(directory, "there is no machine");
    registry_advance(registry, &machine);
}

static void end_change(void)
{
    registry->generation++;
    registry_unlock();
}

static void hold_memory(uint32_t gpu, uint64_t memory)
{
    uint64_t used = memory;
    for (int i = 0; i < SLOTS; i++)
        if (registry->slot[i].taken && !registry->slot[i].ended_us && registry->slot[i].gpu == gpu &&
            &registry->slot[i] != slot)
            used += registry->slot[i].memory;
    if (used > machine.gpu[gpu].memory)
        fail("out of memory", machine.gpu[gpu].uuid);
    slot->memory = memory;
    if (memory > slot->max_memory)
        slot->max_memory = memory;
}

static void take(uint32_t gpu, uint64_t memory, uint32_t utilisation, uint32_t kind)
{
    begin_change();
    if (gpu >= machine.gpus)
        fail("no such GPU", directory);
    int taken = registry_take(registry);
    if (taken < 0)
        fail("no free slot", directory);
    slot = &registry->slot[taken];
    memset(slot, 0, sizeof *slot);
    slot->gpu = gpu;
    slot->kind = kind;
    slot->utilisation = utilisation;
    slot->pid = (uint32_t)getpid();
    slot->accounted = registry->gpu[gpu].accounting && !machine.gpu[gpu].mig;
    slot->started_us = now_us();
    slot->started_real_us = now_real_us();
    hold_memory(gpu, memory);
    slot->taken = 1;
    end_change();
}

static int obey(const char *line)
{
    char word[16], value[32] = "0";
    if (sscanf(line, "%15s %31s", word, value) < 1 || !strcmp(word, "stop"))
        return 0;
    begin_change();
    if (!strcmp(word, "memory"))
        hold_memory(slot->gpu, number(value));
    else if (!strcmp(word, "utilisation"))
        slot->utilisation = (uint32_t)number(value);
    else
        fail("expected memory, utilisation or stop", word);
    end_change();
    return 1;
}

static void end(void)
{
    begin_change();
    slot->ended_us = now_us();
    registry_advance(registry, &machine);
    end_change();
}

int main(int count, char **arguments)
{
    char line[128];
    uint32_t kind = KIND_COMPUTE;
    int stay = 0;
    if (count < 4)
        fail("expected GPU MEMORY_BYTES UTILISATION", "too few arguments");
    for (int i = 4; i < count; i++) {
        if (!strcmp(arguments[i], "--stay"))
            stay = 1;
        else if (!strcmp(arguments[i], "--kind") && i + 1 < count)
            kind = kind_of(arguments[++i]);
        else if (!strcmp(arguments[i], "--device") && i + 1 < count)
            open_device(arguments[++i]);
        else
            fail("unknown argument", arguments[i]);
    }
    directory = getenv("TIMELOCK_FAKE_NVML");
    if (!directory || !(registry = registry_open(directory)))
        fail("TIMELOCK_FAKE_NVML", "expected the directory of a fake machine");
    take((uint32_t)number(arguments[1]), number(arguments[2]), (uint32_t)number(arguments[3]), kind);
    printf("ready %d\n", getpid());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && obey(line)) {
        puts("ok");
        fflush(stdout);
    }
    while (stay)
        pause();
    end();
    return 0;
}
