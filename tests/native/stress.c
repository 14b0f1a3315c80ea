/* Threads at the native mailbox, without an interpreter: for ThreadSanitizer and memcheck, and fast enough for millions
   of rounds. It includes the mailbox itself, and is what the mailbox needs of the interpreter.

   stress [ROUNDS]. Ends with an abort if a token gets lost or is there twice, and does not end if a wake-up is lost. */

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/threadcache/_mailbox.c"

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #what), abort()))

/* What `put` and `make_lock` use of the interpreter. The linker drops the functions that use more (--gc-sections). */

PyObject _Py_NoneStruct;
PyObject *PyExc_RuntimeError;

void
PyErr_SetString(PyObject *type, const char *text)
{
    (void)type;
    CHECK(text == NULL);
}

PyObject *
PyErr_NoMemory(void)
{
    abort();
}

/* The interpreter's locks, on semaphores, as CPython has them on Linux. */

PyThread_type_lock
PyThread_allocate_lock(void)
{
    sem_t *lock = malloc(sizeof *lock);
    CHECK(sem_init(lock, 0, 1) == 0);
    return lock;
}

void
PyThread_free_lock(PyThread_type_lock lock)
{
    CHECK(sem_destroy(lock) == 0);
    free(lock);
}

void
PyThread_release_lock(PyThread_type_lock lock)
{
    int value;
    CHECK(sem_getvalue(lock, &value) == 0 && value == 0); /* locked, or two have put */
    CHECK(sem_post(lock) == 0);
}

PyLockStatus
PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int intr_flag)
{
    (void)intr_flag;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += microseconds % 1000000 * 1000;
    end.tv_sec += microseconds / 1000000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    int failed;
    do {
        failed = microseconds < 0 ? sem_wait(lock) : microseconds ? sem_timedwait(lock, &end) : sem_trywait(lock);
    } while (failed && errno == EINTR);
    CHECK(!failed || errno == ETIMEDOUT || errno == EAGAIN);
    return failed ? PY_LOCK_FAILURE : PY_LOCK_ACQUIRED;
}

int
PyThread_acquire_lock(PyThread_type_lock lock, int wait)
{
    return PyThread_acquire_lock_timed(lock, wait ? -1 : 0, 0) == PY_LOCK_ACQUIRED;
}

/* What is to be seen through the mailbox: written before the put and read after the get, with no other order. */
typedef struct {
    Mailbox box;
    long letter;
} Letterbox;

static State state;
static long rounds = 200000;

static unsigned
chance(unsigned *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void
letterbox(Letterbox *letters, int64_t spin, int shared)
{
    *letters = (Letterbox){.box = {.spin = spin, .shared = shared, .state = &state}};
    atomic_init(&letters->box.word, EMPTY);
}

static void
put_letter(Letterbox *letters, long letter)
{
    CHECK(atomic_load(&letters->box.word) != FULL);
    letters->letter = letter;
    mailbox_put(&letters->box, NULL);
}

/* What `mailbox_get` does without the GIL, with a wait in nanoseconds. */
static int
get_letter(Letterbox *letters, int64_t wait)
{
    Mailbox *box = &letters->box;
    if (take(box)) {
        return 1;
    }
    int spins = may_spin(box);
    CHECK(make_lock(box) == 0);
    int there = (spins && spin(box, wait == 0)) || park(box, wait < 0 ? -1 : wait / 1000) > 0;
    CHECK(!there || take(box));
    return there;
}

static void
clear(Letterbox *letters)
{
    CHECK(atomic_load(&letters->box.word) == EMPTY);
    if (letters->box.lock != NULL) {
        PyThread_release_lock(letters->box.lock);
        PyThread_free_lock(letters->box.lock);
    }
}

typedef struct {
    Letterbox ping, pong;
    int64_t wait; /* nanoseconds that the owner of `ping` waits at a time; -1: no limit */
    unsigned owners_seed, putters_seed;
    pthread_t owner, putter;
} Pair;

static void *
own(void *argument)
{
    Pair *pair = argument;
    for (long round = 1; round <= rounds; round++) {
        int64_t wait = pair->wait < 0 ? -1 : chance(&pair->owners_seed) % (pair->wait + 1);
        while (!get_letter(&pair->ping, wait)) {
        }
        CHECK(pair->ping.letter == round);
        CHECK(!take(&pair->ping.box));
        put_letter(&pair->pong, -round);
    }
    return NULL;
}

static void *
answer(void *argument)
{
    Pair *pair = argument;
    for (long round = 1; round <= rounds; round++) {
        if (pair->wait >= 0) { /* at about the time at which the owner gives up */
            for (unsigned left = chance(&pair->putters_seed) % 2000; left; left--) {
                pause_core();
            }
        }
        put_letter(&pair->ping, round);
        CHECK(get_letter(&pair->pong, -1));
        CHECK(pair->pong.letter == -round);
    }
    return NULL;
}

/* Many pairs at once, which take the spinner's place from each other. */
static void
run(const char *name, int pairs, int64_t spin, int64_t wait, int single_core)
{
    Pair *all = calloc(pairs, sizeof *all);
    memset(&state, 0, sizeof state);
    state.single_core = single_core;
    for (int i = 0; i < pairs; i++) {
        letterbox(&all[i].ping, spin, 0);
        letterbox(&all[i].pong, spin, 1);
        all[i].wait = wait;
        all[i].owners_seed = i + 1;
        all[i].putters_seed = i + 100;
        CHECK(pthread_create(&all[i].owner, NULL, own, &all[i]) == 0);
        CHECK(pthread_create(&all[i].putter, NULL, answer, &all[i]) == 0);
    }
    for (int i = 0; i < pairs; i++) {
        pthread_join(all[i].owner, NULL);
        pthread_join(all[i].putter, NULL);
        clear(&all[i].ping);
        clear(&all[i].pong);
    }
    free(all);
    printf("%-28s %d pairs, %ld rounds each\n", name, pairs, rounds);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    if (argc > 1) {
        rounds = atol(argv[1]);
    }
    run("parks", 2, 0, -1, 0);
    run("gives up", 2, 0, 20000, 0);
    run("spins", 1, 20000, -1, 0);
    run("spins and gives up", 2, 5000, 20000, 0);
    run("takes another's place", 4, 20000, -1, 0);
    run("one core", 4, 20000, 20000, 1);
    return 0;
}
