/* What the fake machine is: its GPUs, and the knobs that tests turn.
 *
 * A text file, DIRECTORY/machine, which the tests' Python side replaces as a whole; one statement a line:
 *
 *     driver VERSION
 *     epoch N                     the driver was loaded N times
 *     gpu UUID MINOR BUS_ID MEMORY_BYTES IDLE_MILLIWATTS FULL_MILLIWATTS NAME...      in the order of their indices
 *     lost|mig|bogus|scrambled|memoryless GPU
 *     omit GPU PID                the process lists leave it out
 *     fail FUNCTION CODE          FUNCTION returns CODE and touches nothing ('*': all functions)
 *     hang FUNCTION               FUNCTION does not come back as long as this line is there ('*': all)
 */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include <stdint.h>
#include <sys/stat.h>

enum { GPUS = 16, RULES = 32, WORD = 96 };

struct gpu {
    char uuid[WORD], bus_id[32], name[WORD];
    uint32_t minor, idle_milliwatts, full_milliwatts;
    uint64_t memory;
    int lost, mig, bogus, scrambled, memoryless;
};

struct rule {
    char function[WORD];
    int code;
};

struct omission {
    uint32_t gpu, pid;
};

struct machine {
    struct stat read_from;
    char driver[WORD];
    uint32_t epoch, gpus, omissions, failures, hangs;
    struct gpu gpu[GPUS];
    struct omission omission[RULES];
    struct rule failure[RULES], hang[RULES];
};

/* Read DIRECTORY/machine if it was replaced since the last call. 0, or -1 when it is not there or not understood. */
int machine_refresh(struct machine *machine, const char *directory);

/* The rule for `function`, or NULL. */
const struct rule *machine_rule(const struct rule *rules, uint32_t count, const char *function);

int machine_omits(const struct machine *machine, uint32_t gpu, uint32_t pid);

#endif
