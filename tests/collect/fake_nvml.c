/* A libnvidia-ml.so.1 for machines without a GPU: nvidia-ml-py loads it and cannot tell the difference.
 *
 * Built with -DOLD it lacks what older drivers lack. FAKE_NVML says how it behaves:
 *   pcie     no NVLink: those fields are not supported        few      energy and temperature are not supported
 *   lost     after three samples every call says GPU_IS_LOST  hang     after three samples a call never returns
 *   stuck    nvmlInit never returns                           hiccup   the third sample fails once, with Unknown
 *   mig      only an instance (MIG-...) is known by UUID; what a whole GPU has is not supported for it
 * nvmlDeviceGetPcieThroughput ends the process: it must never be called. Calls of nvmlDeviceGetFieldValues are counted in the file
 * FAKE_NVML_CALLS, one letter each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Return;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15, UNKNOWN = 999 };
enum { WHOLE = 2, PART = 7 };

static int samples;

static int is(const char *word) {
    const char *said = getenv("FAKE_NVML");
    return said && strstr(said, word) != NULL;
}

static void *handle_of(long number) { return (void *)number; }

static Return answer(void *device) {
    if (device != handle_of(WHOLE) && device != handle_of(PART)) return NOT_FOUND;
    if (is("lost") && samples > 3) return GPU_IS_LOST;
    if (is("hiccup") && samples == 3) return UNKNOWN;
    while (is("hang") && samples > 3) pause();
    return SUCCESS;
}

static Return of_whole(void *device) { return device == handle_of(PART) ? NOT_SUPPORTED : answer(device); }

Return nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    while (is("stuck")) pause();
    return SUCCESS;
}
Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
Return nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(Return code) { return code == GPU_IS_LOST ? "GPU is lost" : code == UNKNOWN ? "Unknown Error" : "Other"; }

Return nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (is("mig") ? !strcmp(uuid, "MIG-11-22") : !strcmp(uuid, "GPU-11-22")) {
        *device = handle_of(is("mig") ? PART : WHOLE);
        return SUCCESS;
    }
    return NOT_FOUND;
}
Return nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *part, void **device) {
    *device = handle_of(WHOLE);
    return part == handle_of(PART) ? SUCCESS : NOT_FOUND;
}

struct utilization { unsigned gpu, memory; };
Return nvmlDeviceGetUtilizationRates(void *device, struct utilization *rates) {
    samples++; /* the first thing asked in every sample */
    *rates = (struct utilization){71, 32};
    return of_whole(device);
}
struct memory { unsigned long long total, free, used; };
Return nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
    *memory = (struct memory){80ull << 30, 60ull << 30, 20ull << 30};
    return answer(device);
}
Return nvmlDeviceGetClockInfo(void *device, unsigned kind, unsigned *mhz) {
    *mhz = kind == 1 ? 1980 : kind == 2 ? 2619 : 1;
    return of_whole(device);
}
Return nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatt) {
    *milliwatt = 412500;
    return of_whole(device);
}
Return nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoule) {
    *millijoule = 7000ull + 200000ull * samples;
    return is("few") ? NOT_SUPPORTED : of_whole(device);
}
Return nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *degrees) {
    *degrees = sensor == 0 ? 61 : 0;
    return is("few") ? NOT_SUPPORTED : of_whole(device);
}
Return nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    *reasons = 0x44;
    return of_whole(device);
}
#ifndef OLD /* what it lacks then is what nvidia-ml-py calls FunctionNotFound */
Return nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    *reasons = 0x24;
    return of_whole(device);
}
#endif
Return nvmlDeviceGetPcieThroughput(void *device, unsigned counter, unsigned *value) {
    (void)device, (void)counter, (void)value;
    abort();
}

#ifndef OLD
struct field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    Return code;
    union { double real; unsigned small; unsigned long long large; } value;
};
Return nvmlDeviceGetFieldValues(void *device, int count, struct field *fields) {
    const char *calls = getenv("FAKE_NVML_CALLS");
    FILE *file = calls ? fopen(calls, "a") : NULL;
    if (file) fputc(count < 10 ? '0' + count : '+', file), fclose(file);
    for (int i = 0; i < count; i++) {
        fields[i].type = 3; /* unsigned long long */
        fields[i].code = SUCCESS;
        switch (fields[i].id) {
        case 138:
        case 139: /* KiB, over all links only */
            fields[i].value.large = (fields[i].id == 138 ? 1000ull : 3000ull) * samples;
            if (is("pcie") || fields[i].scope != 0xFFFFFFFFu) fields[i].code = NOT_SUPPORTED;
            break;
        case 197: fields[i].type = 1; fields[i].value.small = 5000u * samples; break;
        case 198: fields[i].value.large = 9000000000ull + samples; break;
        default: fields[i].code = NOT_SUPPORTED;
        }
    }
    return of_whole(device);
}
#endif
