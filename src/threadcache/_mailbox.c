/* The native mailbox: spin, then park. Twin of `_mailbox.Mailbox`, whose documentation holds here too.

   What it adds is how its owner waits. Waking a parked thread takes the kernel 20 to 50 us, and a job is often there
   sooner; so the owner first looks for the token for some microseconds, without the GIL, and parks after that. A put
   makes a system call only if the owner is parked.

   The words, and who touches them
   ===============================

   `word`      of each mailbox. EMPTY: no token. FULL: a token. PARKED: no token, and the owner waits on `lock`, or is
               about to, or has not yet noticed that it need not.
               A putter changes EMPTY or PARKED to FULL. The owner changes FULL to EMPTY when it takes the token, EMPTY
               to PARKED before it parks, and PARKED to EMPTY when it gives up. All are atomic read-modify-writes. The
               putter's is a release and the owner's an acquire, so that what was done before the put is seen after the
               get; a plain store would also lose a token that is put at the very moment of parking or giving up.
   `spins`     of each mailbox: whether its owner spins. Written by the owner, before it gives up the GIL and after it
               has it again. Who finds it set may rely on what the owner does after its spin; so all are acquiring and
               releasing read-modify-writes, and what the reader did before is seen by the owner then.
   `lock`      of each mailbox, a lock of the interpreter's (which parks as everything else in it does); locked whenever
               nobody is in between. It is made by the owner, before the word says PARKED for the first time; the
               putter that finds PARKED unlocks it, once, and whoever has been PARKED and finds FULL locks it, once.
   `spinner`   of the module: who spins, and its rank (see `_spin.h`). Whoever begins writes itself, whoever reads
               somebody else there stops, and whoever stops by itself erases itself: one thread spins at a time, and of
               a rank it is the one that began last, the warmest. The value is compared and never followed, so it may
               be of a mailbox that is gone. A forked process begins with nobody there. Relaxed: two may spin for the
               moment of a look.
   `backoffs`  of the module, one for workers and one for everybody else: how many waits are to do without spinning.
               Relaxed, and updates may get lost: it is a guess, and any value is right.

   Nothing here is guarded by the GIL, so the module does without it (Py_MOD_GIL_NOT_USED). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <assert.h>
#include <stddef.h>

#include "_platform.h"

#define EMPTY 0
#define FULL 1
#define PARKED 2

typedef struct {
    atomic_uint skip;   /* waits that are still to do without */
    atomic_uint missed; /* what it was set to by the last miss */
    atomic_uint trusts; /* whether the last spin was a late hit */
    atomic_uint talks;  /* spins that are still to be longer since the other kind has hit */
} Backoff;

/* What `_quick.h` and `_quick_run.h` know: classes and functions that they are told of, and where slots lie. Written
   before anybody else uses the module, and NULL until then. */
enum { WORKER, CACHE, TALLY, VALUE, TYPES };
enum { ERROR, HOOKS, TRACE, PROFILE, REPORT, NOTHING, APPEND, POPLEFT, POPITEM, KNOWN };

typedef struct {
    PyTypeObject *mailbox; /* the module's, which has it as an attribute too */
    PyTypeObject *types[TYPES];
    PyObject *known[KNOWN];
    struct PyMemberDef *slots[32];
} Quick;

typedef struct {
    atomic_uintptr_t spinner;
    Backoff backoffs[2]; /* of workers, of others */
    const atomic_int *gil;
    int single_core;
    Quick quick;
} State;

typedef struct {
    PyObject_HEAD
    atomic_int word;
    atomic_int spins;
    int shared;   /* which backoff; whether its owner may be the main thread; constant */
    int64_t spin; /* nanoseconds; constant */
    PyThread_type_lock lock;
    State *state; /* the module's, which the type keeps alive; constant */
} Mailbox;

static int
take(Mailbox *self)
{
    int full = FULL;
    return atomic_compare_exchange_strong_explicit(&self->word, &full, EMPTY, memory_order_acquire,
                                                   memory_order_relaxed);
}

static int
is_full(Mailbox *self)
{
    /* Before `take` a relaxed look would do. But who has been called is on its way only if it is not delivering, and
       that is looked at afterwards. */
    return atomic_load_explicit(&self->word, memory_order_acquire) == FULL;
}

#include "_spin.h"

/* Park until there is a token to be taken (1), the time is up (0), or a signal has come (-1). Without the GIL. */
static int
park(Mailbox *self, PY_TIMEOUT_T microseconds)
{
    int word = EMPTY;
    if (!atomic_compare_exchange_strong_explicit(&self->word, &word, PARKED, memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        assert(word == FULL);
        return 1;
    }
    PyLockStatus got = PyThread_acquire_lock_timed(self->lock, microseconds, 1);
    if (got != PY_LOCK_ACQUIRED) {
        word = PARKED;
        if (atomic_compare_exchange_strong_explicit(&self->word, &word, EMPTY, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            return got == PY_LOCK_INTR ? -1 : 0;
        }
        /* A putter has been faster, and unlocks the lock, or has already. It has the GIL and does not lose it here. */
        PyThread_acquire_lock(self->lock, WAIT_LOCK);
    }
    assert(is_full(self));
    return 1;
}

PyDoc_STRVAR(put_doc, "Make the mailbox full and wake its owner. Never blocks, and may be called from any thread.\n\n"
                      "Raises:\n    RuntimeError: It is full.");

static PyObject *
mailbox_put(Mailbox *self, PyObject *Py_UNUSED(unused))
{
    int word = atomic_exchange_explicit(&self->word, FULL, memory_order_acq_rel);
    if (word == FULL) {
        PyErr_SetString(PyExc_RuntimeError, "put into a full mailbox");
        return NULL;
    }
    if (word == PARKED) {
        PyThread_release_lock(self->lock);
    }
    Py_RETURN_NONE;
}

/* Make the lock on which we park, locked. */
static int
make_lock(Mailbox *self)
{
    if (self->lock == NULL) {
        PyThread_type_lock lock = PyThread_allocate_lock();
        if (lock == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        PyThread_acquire_lock(lock, WAIT_LOCK);
        self->lock = lock;
    }
    return 0;
}

/* Read the arguments as `threading.Lock.acquire` does: nanoseconds to wait, -1 for without limit. */
static int
parse_wait(PyObject *const *args, Py_ssize_t count, int64_t *wait)
{
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "get() takes 2 arguments (%zd given)", count);
        return -1;
    }
    int blocking = PyObject_IsTrue(args[0]);
    double seconds = PyFloat_AsDouble(args[1]);
    if (blocking < 0 || (seconds == -1 && PyErr_Occurred())) {
        return -1;
    }
    if (!blocking && seconds != -1) {
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
        return -1;
    }
    if (!(seconds >= 0) && seconds != -1) {
        PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number");
        return -1;
    }
    if (seconds > (double)PY_TIMEOUT_MAX * 1e-6 || seconds * 1e9 >= 0x1p63) {
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
        return -1;
    }
    *wait = !blocking ? 0 : seconds == -1 ? -1 : (int64_t)(seconds * 1e9);
    return blocking;
}

PyDoc_STRVAR(get_doc, "get(wait, timeout): take the token out. False if there was none within timeout seconds "
                      "(-1: no limit).\n\nA timeout of 0 spins and does not park.");

static PyObject *
mailbox_get(Mailbox *self, PyObject *const *args, Py_ssize_t count)
{
    int64_t wait;
    int blocking = parse_wait(args, count, &wait);
    if (blocking < 0) {
        return NULL;
    }
    if (take(self)) {
        Py_RETURN_TRUE;
    }
    if (!blocking) {
        Py_RETURN_FALSE;
    }
    int spins = may_spin(self);
    if (wait == 0 && !spins) {
        Py_RETURN_FALSE;
    }
    if (wait != 0 && make_lock(self) < 0) {
        return NULL;
    }
    int64_t start = wait > 0 ? now() : 0;
    for (;; spins = 0) {
        int result;
        if (spins) {
            atomic_exchange_explicit(&self->spins, 1, memory_order_acq_rel);
        }
        Py_BEGIN_ALLOW_THREADS
        result = spins && spin(self, wait == 0) ? 1 : wait == 0 ? 0 : -1;
        /* Only a thread that is parked already is woken by a signal, so one that has come while the main thread was
           spinning would have to wait for the token. Workers get no signals, and so park without a look: that costs the
           GIL, and comes too late if the interpreter has gone meanwhile. */
        if (result < 0 && !(spins && self->shared)) {
            atomic_exchange_explicit(&self->spins, 0, memory_order_acq_rel);
            int64_t left = wait > 0 ? wait - (now() - start) : -1; /* now() + wait may be more than fits */
            result = park(self, wait < 0 ? -1 : left <= 0 ? 0 : (left + 999) / 1000);
        }
        Py_END_ALLOW_THREADS
        atomic_exchange_explicit(&self->spins, 0, memory_order_acq_rel);
        if (result >= 0) {
            return PyBool_FromLong(result && take(self));
        }
        /* A signal may have come. If its handler raises, the token stays where it is. */
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
}

PyDoc_STRVAR(is_empty_doc, "Whether there is no token inside at this moment.");

static PyObject *
mailbox_is_empty(Mailbox *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(!is_full(self));
}

PyDoc_STRVAR(is_spinning_doc, "Whether the owner looks for the token at this moment, without being parked.");

static PyObject *
mailbox_is_spinning(Mailbox *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(atomic_fetch_or_explicit(&self->spins, 0, memory_order_acq_rel));
}

static PyObject *
mailbox_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"spin", "shared", NULL};
    double spin = 0;
    int shared = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|dp:Mailbox", keywords, &spin, &shared)) {
        return NULL;
    }
    if (!(spin >= 0 && spin <= 1e6)) {
        PyErr_SetString(PyExc_ValueError, "spin must be 0 to 1,000,000 microseconds");
        return NULL;
    }
    Mailbox *self = (Mailbox *)PyType_GenericAlloc(type, 0);
    if (self != NULL) {
        atomic_init(&self->word, EMPTY);
        atomic_init(&self->spins, 0);
        self->shared = shared != 0;
        self->spin = (int64_t)(spin * 1000);
        self->state = PyType_GetModuleState(type);
    }
    return (PyObject *)self;
}

static void
mailbox_dealloc(Mailbox *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->lock != NULL) {
        PyThread_release_lock(self->lock); /* some platforms may not free a locked one */
        PyThread_free_lock(self->lock);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef mailbox_methods[] = {
    {"put", (PyCFunction)mailbox_put, METH_NOARGS, put_doc},
    {"get", (PyCFunction)(void (*)(void))mailbox_get, METH_FASTCALL, get_doc},
    {"is_empty", (PyCFunction)mailbox_is_empty, METH_NOARGS, is_empty_doc},
    {"is_spinning", (PyCFunction)mailbox_is_spinning, METH_NOARGS, is_spinning_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(mailbox_doc, "Mailbox(spin=0, shared=False)\n--\n\n"
                          "A mailbox whose owner looks for the token for `spin` microseconds before it parks.");

static PyType_Slot mailbox_slots[] = {
    {Py_tp_doc, (void *)mailbox_doc},
    {Py_tp_new, mailbox_new},
    {Py_tp_dealloc, mailbox_dealloc},
    {Py_tp_methods, mailbox_methods},
    {0, NULL},
};

static PyType_Spec mailbox_spec = {
    .name = "threadcache._native.Mailbox",
    .basicsize = sizeof(Mailbox),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mailbox_slots,
};

PyDoc_STRVAR(name_thread_doc, "Name the calling thread for the operating system, where it keeps names.");

static PyObject *
native_name_thread(PyObject *Py_UNUSED(module), PyObject *name)
{
    const char *text = PyBytes_AsString(name);
    if (text == NULL) {
        return NULL;
    }
    name_this_thread(text);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_cores_doc, "Say, as a process begins, on how many cores it may run: with one, nobody spins.");

static PyObject *
native_set_cores(PyObject *module, PyObject *cores)
{
    long number = PyLong_AsLong(cores);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    State *state = PyModule_GetState(module);
    state->single_core = number == 1;
    atomic_store_explicit(&state->spinner, 0, memory_order_relaxed); /* it would be one of the parent's */
    Py_RETURN_NONE;
}

/* Let go of everything that it has been told of. */
static void
let_go(Quick *quick)
{
    for (int type = 0; type < TYPES; type++) {
        Py_CLEAR(quick->types[type]);
    }
    for (int object = 0; object < KNOWN; object++) {
        Py_CLEAR(quick->known[object]);
    }
}

#include "_quick.h"
#include "_quick_run.h"

static PyMethodDef native_methods[] = {
    {"bind", quick_bind, METH_VARARGS, quick_bind_doc},
    {"run", quick_run, METH_O, quick_run_doc},
    {"start", (PyCFunction)(void (*)(void))quick_start, METH_FASTCALL, quick_start_doc},
    {"name_thread", native_name_thread, METH_O, name_thread_doc},
    {"set_cores", native_set_cores, METH_O, set_cores_doc},
    {NULL, NULL, 0, NULL},
};

static int
native_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->gil = find_gil(PyInterpreterState_Get());
    PyObject *type = PyType_FromModuleAndSpec(module, &mailbox_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    state->quick.mailbox = (PyTypeObject *)type;
    int failed = PyModule_AddObjectRef(module, "Mailbox", type);
    failed = failed < 0 || PyModule_AddIntConstant(module, "sees_gil", state->gil != NULL) < 0 ||
             PyModule_AddIntConstant(module, "LONGEST", 1 + PROBE) < 0;
    return failed ? -1 : 0;
}

static int
native_traverse(PyObject *module, visitproc visit, void *arg)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick;
    Py_VISIT(quick->mailbox);
    for (int type = 0; type < TYPES; type++) {
        Py_VISIT(quick->types[type]);
    }
    for (int object = 0; object < KNOWN; object++) {
        Py_VISIT(quick->known[object]);
    }
    return 0;
}

static int
native_clear(PyObject *module)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick;
    Py_CLEAR(quick->mailbox);
    let_go(quick);
    return 0;
}

static void
native_free(void *module)
{
    (void)native_clear(module);
}

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "threadcache._native",
    .m_doc = "The native mailbox, and what else of the platform Python does not offer.",
    .m_size = sizeof(State),
    .m_methods = native_methods,
    .m_slots = native_slots,
    .m_traverse = native_traverse,
    .m_clear = native_clear,
    .m_free = native_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&native_module);
}
