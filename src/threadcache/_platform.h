/* What the mailbox needs of the platform: a clock, a pause, a yield, a thread's name, and a look at the GIL.

   Tested on Linux, x86-64. Written for macOS, the BSDs and Windows too, on x86 and Arm, and NOT TESTED there. */

#ifndef THREADCACHE_PLATFORM_H
#define THREADCACHE_PLATFORM_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#endif

/* Nanoseconds of a clock that does not jump. */
static inline int64_t
now(void)
{
#ifdef _WIN32
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (int64_t)((double)ticks.QuadPart * 1e9 / (double)per_second.QuadPart);
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
#endif
}

/* Let the core's other hardware thread have its units for a moment: 40 to 140 cycles on x86, a few on Arm. */
static inline void
pause_core(void)
{
#if defined(_WIN32)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); /* `yield` does nothing on most of them, and isb takes some 10 ns */
#endif
}

/* Let another thread have the core, if one waits for it. */
static inline void
yield_core(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}

/* Name the calling thread for the operating system, where it keeps names; Linux keeps 15 bytes of them. */
static inline void
name_this_thread(const char *name)
{
#if defined(__linux__)
    prctl(PR_SET_NAME, name);
#elif defined(__APPLE__)
    pthread_setname_np(name);
#elif defined(__FreeBSD__) || defined(__OpenBSD__)
    pthread_set_name_np(pthread_self(), name);
#else
    (void)name; /* Windows: Python 3.14 and later do it */
#endif
}

/* Where the interpreter keeps whether its GIL is taken, or NULL where nobody tells.

   CPython publishes where such things are in a table at the start of `_PyRuntime`, for debuggers and profilers that
   look from outside; its documentation calls it the remote debugging attachment protocol. It begins with a cookie and
   the interpreter's version, and what follows is numbers: here those of 3.13 and later, up to the fields that are used.
   What is read there is a hint, as stale as any unlocked look: taking the GIL decides. */
static const atomic_int *
find_gil(PyInterpreterState *interpreter)
{
#if defined(_WIN32) || defined(Py_GIL_DISABLED) || PY_VERSION_HEX < 0x030D0000
    (void)interpreter;
    return NULL;
#else
    struct {
        char cookie[8];
        uint64_t version, free_threaded;
        uint64_t runtime_size, finalizing, interpreters_head;
        uint64_t interpreter_size, id, next, threads_head;
#if PY_VERSION_HEX >= 0x030E0000
        uint64_t threads_main;
#endif
        uint64_t gc, imports_modules, sysdict, builtins;
        uint64_t ceval_gil, gil, gil_enabled, gil_locked, gil_holder;
    } table;
    const void *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
    if (runtime == NULL) {
        return NULL;
    }
    memcpy(&table, runtime, sizeof table);
    /* The version tells a table that was made by the headers' own from one of another layout: they agree in the minor
       version, and in a release the layout does not change any more. */
    if (memcmp(table.cookie, "xdebugpy", 8) != 0 || table.version >> 16 != PY_VERSION_HEX >> 16 ||
        table.free_threaded || table.gil_locked <= table.gil || table.gil_locked - table.gil > 64 ||
        table.ceval_gil > table.interpreter_size || table.gil_locked > table.interpreter_size) {
        return NULL;
    }
    const char *gil = *(const char *const *)((const char *)interpreter + table.ceval_gil);
    return gil == NULL ? NULL : (const atomic_int *)(gil + (table.gil_locked - table.gil));
#endif
}

#endif
