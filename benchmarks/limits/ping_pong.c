/* Two threads that hand nothing to and fro: what hand-overs between threads can cost at the least.
 *
 *     ping_pong park|spin MEASUREMENT PARAMS
 *
 * "park": each waits on a semaphore, in the kernel. "spin": each watches a word of memory, and never sleeps.
 * A round for each line that is read, a line of JSON for each answer; MEASUREMENT does not matter here.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_UP = 20, MOST_CALLS = 1000000 };

static int spins;
static long rounds_calls;
static sem_t asked, answered;
/* Who has the turn: 0 the caller, 1 the worker. In a cache line of its own. */
static struct { _Alignas(128) atomic_int turn; char rest[124]; } word;

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void wait_for(sem_t *semaphore, int turn)
{
    if (spins)
        while (atomic_load_explicit(&word.turn, memory_order_acquire) != turn)
            relax();
    else
        while (sem_wait(semaphore) != 0) /* a signal */
            ;
}

static void pass_to(sem_t *semaphore, int turn)
{
    if (spins)
        atomic_store_explicit(&word.turn, turn, memory_order_release);
    else
        sem_post(semaphore);
}

static void *work(void *unused)
{
    for (long i = 0; i < rounds_calls; i++) {
        wait_for(&asked, 1);
        pass_to(&answered, 0);
    }
    return unused;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Sorts the times. */
static double median(int64_t *times, long count)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    return (double)(times[(count - 1) / 2] + times[count / 2]) / 2e3;
}

static double mean(const int64_t *times, long count)
{
    double sum = 0;
    for (long i = 0; i < count; i++)
        sum += (double)times[i];
    return sum / (double)count / 1e3;
}

static void one_round(long calls, int64_t *whole, int64_t *submit)
{
    /* A thread for each round, since one that waits by spinning would take a core from the other contenders' rounds. */
    pthread_t worker;
    rounds_calls = WARM_UP + calls;
    if (pthread_create(&worker, NULL, work, NULL) != 0)
        exit(1);
    int64_t cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = -WARM_UP; i < calls; i++) {
        int64_t began = nanoseconds(CLOCK_MONOTONIC);
        pass_to(&asked, 1);
        int64_t submitted = nanoseconds(CLOCK_MONOTONIC);
        wait_for(&answered, 0);
        int64_t ended = nanoseconds(CLOCK_MONOTONIC);
        if (i >= 0) {
            whole[i] = ended - began;
            submit[i] = submitted - began;
        }
    }
    cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    pthread_join(worker, NULL);

    printf("{\"samples ns\": [");
    for (long i = 0; i < calls; i++)
        printf(i ? ",%lld" : "%lld", (long long)whole[i]);
    double whole_mean = mean(whole, calls), whole_median = median(whole, calls);
    printf("], \"round trip us\": %g, \"call us\": %g, \"round trip mean us\": %g, \"call mean us\": %g,", whole_median,
           whole_median, whole_mean, whole_mean);
    printf(" \"submit us\": %g, \"submit mean us\": %g, \"cpu us\": %g}\n", median(submit, calls), mean(submit, calls),
           (double)cpu / (double)rounds_calls / 1e3);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *found = argc == 4 ? strstr(argv[3], "\"calls\":") : NULL;
    long calls = found ? (long)atof(found + strlen("\"calls\":")) : 0;
    if (calls < 1 || calls > MOST_CALLS) {
        fprintf(stderr, "usage: ping_pong park|spin MEASUREMENT '{\"calls\": N}'\n");
        return 2;
    }
    spins = strcmp(argv[1], "spin") == 0;
    if (sem_init(&asked, 0, 0) != 0 || sem_init(&answered, 0, 0) != 0)
        return 1;
    int64_t *whole = malloc((size_t)calls * sizeof *whole), *submit = malloc((size_t)calls * sizeof *submit);
    if (!whole || !submit)
        return 1;
    char line[64];
    while (fgets(line, sizeof line, stdin))
        one_round(calls, whole, submit);
    return 0;
}
