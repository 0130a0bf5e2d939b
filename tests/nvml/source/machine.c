#include "machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int parse_gpu(struct machine *machine, const char *line)
{
    struct gpu *gpu = &machine->gpu[machine->gpus];
    if (machine->gpus == GPUS)
        return -1;
    int found = sscanf(line, "gpu %95s %" SCNu32 " %31s %" SCNu64 " %" SCNu32 " %" SCNu32 " %95[^\n]", gpu->uuid,
                       &gpu->minor, gpu->bus_id, &gpu->memory, &gpu->idle_milliwatts, &gpu->full_milliwatts, gpu->name);
    machine->gpus += found == 7;
    return found == 7 ? 0 : -1;
}

static int parse_flag(struct machine *machine, const char *word, const char *line)
{
    uint32_t index;
    if (sscanf(line, "%*s %" SCNu32, &index) != 1 || index >= machine->gpus)
        return -1;
    struct gpu *gpu = &machine->gpu[index];
    int *flag = !strcmp(word, "lost")        ? &gpu->lost
                : !strcmp(word, "mig")       ? &gpu->mig
                : !strcmp(word, "bogus")     ? &gpu->bogus
                : !strcmp(word, "scrambled") ? &gpu->scrambled
                : !strcmp(word, "memoryless") ? &gpu->memoryless
                                              : NULL;
    if (!flag)
        return -1;
    *flag = 1;
    return 0;
}

static int parse_omission(struct machine *machine, const char *line)
{
    struct omission *omission = &machine->omission[machine->omissions];
    if (machine->omissions == RULES || sscanf(line, "omit %" SCNu32 " %" SCNu32, &omission->gpu, &omission->pid) != 2)
        return -1;
    machine->omissions++;
    return 0;
}

static int parse_rule(struct rule *rules, uint32_t *count, const char *line, int words)
{
    if (*count == RULES || sscanf(line, "%*s %95s %d", rules[*count].function, &rules[*count].code) != words)
        return -1;
    (*count)++;
    return 0;
}

static int parse_line(struct machine *machine, const char *line)
{
    char word[16];
    if (sscanf(line, "%15s", word) != 1)
        return 0;
    if (!strcmp(word, "driver"))
        return sscanf(line, "driver %95s", machine->driver) == 1 ? 0 : -1;
    if (!strcmp(word, "epoch"))
        return sscanf(line, "epoch %" SCNu32, &machine->epoch) == 1 ? 0 : -1;
    if (!strcmp(word, "gpu"))
        return parse_gpu(machine, line);
    if (!strcmp(word, "omit"))
        return parse_omission(machine, line);
    if (!strcmp(word, "fail"))
        return parse_rule(machine->failure, &machine->failures, line, 2);
    if (!strcmp(word, "hang"))
        return parse_rule(machine->hang, &machine->hangs, line, 1);
    return parse_flag(machine, word, line);
}

static int parse(struct machine *machine, FILE *file)
{
    char line[512];
    while (fgets(line, sizeof line, file))
        if (parse_line(machine, line))
            return -1;
    return fstat(fileno(file), &machine->read_from);
}

static int same(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_size == other->st_size &&
           !memcmp(&one->st_ctim, &other->st_ctim, sizeof one->st_ctim);
}

int machine_refresh(struct machine *machine, const char *directory)
{
    char path[512];
    struct stat status;
    snprintf(path, sizeof path, "%s/machine", directory);
    if (stat(path, &status))
        return -1;
    if (same(&status, &machine->read_from))
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    struct machine fresh = {0};
    int result = parse(&fresh, file);
    fclose(file);
    if (!result)
        *machine = fresh;
    return result;
}

const struct rule *machine_rule(const struct rule *rules, uint32_t count, const char *function)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(rules[i].function, "*") || !strcmp(rules[i].function, function))
            return &rules[i];
    return NULL;
}

int machine_omits(const struct machine *machine, uint32_t gpu, uint32_t pid)
{
    for (uint32_t i = 0; i < machine->omissions; i++)
        if (machine->omission[i].gpu == gpu && machine->omission[i].pid == pid)
            return 1;
    return 0;
}
