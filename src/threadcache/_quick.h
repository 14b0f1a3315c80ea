/* The common case of submitting a job and of running it. Twin of `ThreadCache.start_thread_soon`, of `Worker._run_job`,
   and of what `Worker._serve` does from one job to the next; the model is told there. What is not the common case is
   left to them, undone: a name, a trace function, a wrong argument, a thread that has to be started.

   With the GIL, all of it is one step but for `fn`, `deliver` and the helpers that it calls: nothing in between runs
   Python code or gives up the GIL. So nobody comes between a look and what is done about it, and none of the model's
   races takes place in here. (Up to Python 3.11 the collector may run where a tuple is made; what was seen before is
   looked at again.) Without the GIL there is none of this: the twins do it all.

   Nor does an asynchronous exception strike there. It would strike in the next Python function, and if `fn` is written
   in C that is `deliver`, whose outcome nobody would hear of. So one is called in here where the twin would be struck.

   Workers, caches and the like are Python's classes; their slots are read and written where they lie. */

#ifndef THREADCACHE_QUICK_H
#define THREADCACHE_QUICK_H

#ifndef Py_GIL_DISABLED

#include <structmember.h>

#define SLOTS(SLOT)                                                                                                    \
    SLOT(WORKER, cache) SLOT(WORKER, delivering) SLOT(WORKER, ident) SLOT(WORKER, job) SLOT(WORKER, line)              \
    SLOT(WORKER, mailbox) SLOT(WORKER, profile) SLOT(WORKER, retiring) SLOT(WORKER, running) SLOT(WORKER, tally)       \
    SLOT(WORKER, trace) SLOT(CACHE, _clock) SLOT(CACHE, _idle) SLOT(CACHE, _left) SLOT(CACHE, _line)                   \
    SLOT(CACHE, _standby) SLOT(CACHE, _waking) SLOT(TALLY, deliver_errors) SLOT(TALLY, jobs) SLOT(VALUE, _unwrapped)   \
    SLOT(VALUE, value)

#define ENTRY(type, name) type##_##name,
enum { SLOTS(ENTRY) SLOT_COUNT };
#undef ENTRY

static const struct {
    int type;
    const char *name;
} slot_names[] = {
#define ENTRY(type, name) {type, #name},
    SLOTS(ENTRY)
#undef ENTRY
};

/* The slot of an object; what is in there is borrowed. */
#define PART(object, slot) (*(PyObject **)((char *)(object) + quick->offsets[slot]))

static void
put_in(PyObject **slot, PyObject *value)
{
    PyObject *before = *slot;
    *slot = Py_NewRef(value);
    Py_XDECREF(before);
}

static Py_ssize_t
length(PyObject *line)
{
    return PySequence_Size(line);
}

static int
is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* The mailbox as ours, or NULL if it is another implementation's. */
static Mailbox *
native(Quick *quick, PyObject *mailbox)
{
    return Py_IS_TYPE(mailbox, quick->mailbox) ? (Mailbox *)mailbox : NULL;
}

/* Whether nothing is missing of a cache: somebody may have deleted an attribute. */
static int
is_whole(Quick *quick, PyObject *cache)
{
    return PART(cache, CACHE__clock) != NULL && PART(cache, CACHE__idle) != NULL && PART(cache, CACHE__line) != NULL &&
           PART(cache, CACHE__standby) != NULL && PART(cache, CACHE__waking) != NULL;
}

/* Whether the worker that was woken last is on its way, and is not the one that runs this. */
static int
is_coming(Quick *quick, PyObject *cache)
{
    PyObject *waking = PART(cache, CACHE__waking);
    Mailbox *mailbox = native(quick, PART(waking, WORKER_mailbox));
    return mailbox != NULL && is_full(mailbox) && PART(waking, WORKER_delivering) == Py_False &&
           PyLong_AsUnsignedLongMask(PART(waking, WORKER_ident)) != PyThread_get_thread_ident();
}

/* Claim the worker that became idle last: (worker, mailbox). NULL without an error: there is none for us. */
static PyObject *
claim_idle(Quick *quick, PyObject *cache)
{
    PyObject *idle = PART(cache, CACHE__idle), *last = PyObject_CallOneArg(quick->known[POPITEM], idle);
    if (last == NULL) {
        if (PyErr_ExceptionMatches(PyExc_KeyError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *worker = PyTuple_GET_ITEM(last, 0), *mailbox = PyTuple_GET_ITEM(last, 1);
    if (native(quick, mailbox) == NULL) {
        (void)PyDict_SetItem(idle, worker, mailbox);
        Py_CLEAR(last);
    }
    return last;
}

PyDoc_STRVAR(quick_start_doc, "start(cache, fn, deliver, name): `start_thread_soon`. False: nothing has been done.");

static PyObject *
quick_start(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick;
    if (count != 4) {
        PyErr_Format(PyExc_TypeError, "start() takes 4 arguments (%zd given)", count);
        return NULL;
    }
    PyObject *cache = args[0], *fn = args[1], *deliver = args[2], *name = args[3];
    if (is_finalizing() || quick->types[CACHE] == NULL || !PyObject_TypeCheck(cache, quick->types[CACHE]) ||
        !is_whole(quick, cache) || !PyCallable_Check(fn) || !PyCallable_Check(deliver) ||
        !(name == Py_None || PyUnicode_CheckExact(name)) ||
        !(is_coming(quick, cache) || PyDict_GET_SIZE(PART(cache, CACHE__idle)) != 0)) {
        Py_RETURN_FALSE;
    }
    PyObject *identity = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    PyObject *job = identity == NULL ? NULL : PyTuple_Pack(4, identity, fn, deliver, name);
    Py_XDECREF(identity);
    if (job == NULL) {
        return NULL;
    }
    PyObject *idle = NULL;
    if (!is_coming(quick, cache) && (idle = claim_idle(quick, cache)) == NULL) {
        Py_DECREF(job);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    }
    PyObject *appended = PyObject_CallFunctionObjArgs(quick->known[APPEND], PART(cache, CACHE__line), job, NULL);
    Py_DECREF(job);
    if (idle != NULL) { /* also if there was no memory for the job: it looks, and goes back */
        PyObject *put = mailbox_put((Mailbox *)PyTuple_GET_ITEM(idle, 1), NULL);
        assert(put != NULL); /* what is listed is empty */
        Py_XDECREF(put);
        /* Only now: who was there before may go, and its finalizers run. */
        put_in(&PART(cache, CACHE__waking), PyTuple_GET_ITEM(idle, 0));
        Py_DECREF(idle);
    }
    if (appended == NULL) {
        return NULL;
    }
    Py_DECREF(appended);
    Py_RETURN_TRUE;
}

/* The exception that has been raised, with its traceback. */
static PyObject *
fetch_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}

/* Report an exception as the twin does, which has it in hand meanwhile. */
static void
report_error(Quick *quick)
{
    PyObject *error = fetch_error(), *before = PyErr_GetHandledException();
    PyErr_SetHandledException(error);
    PyObject *done = PyObject_CallOneArg(quick->known[REPORT], error);
    if (done == NULL) {
        PyErr_WriteUnraisable(quick->known[REPORT]);
    }
    PyErr_SetHandledException(before);
    Py_XDECREF(before);
    Py_XDECREF(done);
    Py_DECREF(error);
}

/* Have an asynchronous exception strike here, if there is one. Return -1 if it does. */
static int
be_struck(Quick *quick)
{
    if (PyThreadState_Get()->async_exc == NULL) {
        return 0;
    }
    PyObject *done = PyObject_CallNoArgs(quick->known[NOTHING]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static void
count(PyObject **number)
{
    PyObject *next = PyLong_FromSsize_t(PyLong_AsSsize_t(*number) + 1);
    if (next == NULL) {
        PyErr_Clear(); /* there is no memory for it */
        return;
    }
    put_in(number, next);
    Py_DECREF(next);
}

/* Whether a function of `threading` returns what the worker knows. -1: it has been struck. */
static int
is_known(PyObject *get, PyObject *known)
{
    PyObject *found = PyObject_CallNoArgs(get);
    Py_XDECREF(found); /* compared, and not looked at */
    return found == NULL ? -1 : found == known;
}

/* Whether the worker's process is the one that it began in. */
static int
is_at_home(Quick *quick, PyObject *worker)
{
    return PART(worker, WORKER_line) == PART(PART(worker, WORKER_cache), CACHE__line);
}

static PyObject *
call_fn(Quick *quick, PyObject *worker, PyObject *job)
{
    PyObject *result = NULL, *value = NULL;
    PyObject *time = PyObject_CallNoArgs(PART(PART(worker, WORKER_cache), CACHE__clock));
    PyObject *running = time == NULL ? NULL : PyTuple_Pack(3, PyTuple_GET_ITEM(job, 1), Py_None, time);
    if (running != NULL) {
        put_in(&PART(worker, WORKER_running), running);
        Py_DECREF(running);
        result = PyObject_CallNoArgs(PyTuple_GET_ITEM(job, 1));
    }
    Py_XDECREF(time);
    if (result != NULL && be_struck(quick) < 0) {
        Py_CLEAR(result);
    }
    if (result != NULL) {
        value = PyType_GenericAlloc(quick->types[VALUE], 0);
        if (value != NULL) {
            put_in(&PART(value, VALUE_value), result);
            put_in(&PART(value, VALUE__unwrapped), Py_False);
        }
        Py_DECREF(result);
    }
    return value;
}

/* Run the claimed job. Return what `Worker._run_job` does; it raises nothing either. */
static int
run_claimed(Quick *quick, PyObject *worker)
{
    PyObject *cache = PART(worker, WORKER_cache), *job = PART(worker, WORKER_job), *error = NULL;
    PART(worker, WORKER_job) = Py_NewRef(Py_None); /* begun */
    PyObject *deliver = Py_NewRef(PyTuple_GET_ITEM(job, 2)), *outcome = call_fn(quick, worker, job);
    if (outcome == NULL) {
        error = fetch_error();
    }
    /* `fn` is let go before anybody hears of the result. */
    put_in(&PART(worker, WORKER_running), Py_None);
    Py_DECREF(job);
    int more = 0, home = is_at_home(quick, worker);
    if (home) {
        count(&PART(PART(worker, WORKER_tally), TALLY_jobs));
        while (outcome == NULL && (outcome = PyObject_CallOneArg(quick->known[ERROR], error)) == NULL) {
            report_error(quick);
        }
        put_in(&PART(worker, WORKER_delivering), Py_True);
        if (PyDict_SetItem(PART(cache, CACHE__idle), worker, PART(worker, WORKER_mailbox)) < 0) {
            report_error(quick);
        }
        more = length(PART(cache, CACHE__line)) != 0;
    }
    Py_XDECREF(error);
    if (home) {
        if (be_struck(quick) < 0) { /* it comes too late for the outcome, and would be too early for `deliver` */
            report_error(quick);
        }
        PyObject *answer = PyObject_CallOneArg(deliver, outcome);
        if (answer == NULL) {
            count(&PART(PART(worker, WORKER_tally), TALLY_deliver_errors));
            report_error(quick);
        }
        Py_XDECREF(answer);
    }
    Py_XDECREF(outcome);
    Py_DECREF(deliver);
    return more;
}

/* The same in a context of its own. -1: it could not be made, and the job has not begun. */
static int
run_in_context(Quick *quick, PyObject *worker)
{
    PyObject *context = PyContext_New();
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return -1;
    }
    int more = run_claimed(quick, worker);
    if (PyContext_Exit(context) < 0) { /* somebody has left another one entered */
        report_error(quick);
    }
    Py_DECREF(context);
    return more;
}

/* `ThreadCache._wake_next`: see to it that somebody comes for what is in the line. */
static int
see_to_the_next(Quick *quick, PyObject *cache)
{
    Mailbox *standby = native(quick, PART(cache, CACHE__standby));
    int spins = standby != NULL && atomic_load_explicit(&standby->spins, memory_order_relaxed);
    if (spins || is_coming(quick, cache)) {
        put_in(&PART(cache, CACHE__left), spins ? Py_True : Py_False);
        return 0;
    }
    PyObject *done = PyObject_CallOneArg(quick->known[WAKE_NEXT], cache);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* What `_serve` and `_claim` do before the next job. 1: it is claimed. 0: there is none, or it is for them to do. */
static int
claim_next(Quick *quick, PyObject *worker, int more)
{
    PyObject *cache = PART(worker, WORKER_cache), *line = PART(worker, WORKER_line), *idle = PART(cache, CACHE__idle);
    Mailbox *mailbox = native(quick, PART(worker, WORKER_mailbox));
    if (!is_at_home(quick, worker) || length(line) == 0 || PART(worker, WORKER_retiring) != Py_False ||
        mailbox == NULL) {
        return 0;
    }
    int listed = PyDict_Contains(idle, worker);
    if (listed != 0) {
        if (listed < 0 || !more || PyDict_DelItem(idle, worker) < 0) {
            return listed < 0 || PyErr_Occurred() ? -1 : 0;
        }
    } else if (!take(mailbox)) {
        return 0; /* it has been claimed, and the put is to come */
    }
    put_in(&PART(worker, WORKER_delivering), Py_False);
    PyObject *job = PyObject_CallOneArg(quick->known[POPLEFT], line);
    if (job == NULL) {
        return -1;
    }
    put_in(&PART(worker, WORKER_job), job);
    Py_DECREF(job);
    return length(line) == 0 || see_to_the_next(quick, cache) == 0 ? 1 : -1;
}

/* So many jobs at a stroke, and then the interpreter has to have a look whether another thread waits for the GIL. If
   `fn` and `deliver` are written in C, it has none before. */
#define STROKE 100

PyDoc_STRVAR(quick_run_doc, "run(worker): run its job, and those that it is called for meanwhile.\n\n"
                            "Return what `_run_job` does, or None if there is a job that is for that to run.");

static PyObject *
quick_run(PyObject *module, PyObject *worker)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick;
    for (int jobs = 0; jobs < STROKE; jobs++) {
        if (!Py_IS_TYPE(worker, quick->types[WORKER]) || !is_at_home(quick, worker) ||
            !is_whole(quick, PART(worker, WORKER_cache)) ||
            PyTuple_GET_ITEM(PART(worker, WORKER_job), 3) != Py_None) {
            break;
        }
        int known = is_known(quick->known[GET_TRACE], PART(worker, WORKER_trace));
        known = known == 1 ? is_known(quick->known[GET_PROFILE], PART(worker, WORKER_profile)) : known;
        if (known < 0) {
            return NULL;
        }
        if (!known) {
            break;
        }
        int more = run_in_context(quick, worker), next = more < 0 ? -1 : claim_next(quick, worker, more);
        if (next < 1) {
            return next < 0 ? NULL : PyBool_FromLong(more);
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(quick_bind_doc, "bind(types, known): what `start` and `run` are to know; before that they do nothing.\n\n"
                             "types: the worker's, the cache's, the tally's, the outcome's. known: see _quick.h.");

static PyObject *
quick_bind(PyObject *module, PyObject *args)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick, bound = *quick, before = *quick;
    PyTypeObject **types = bound.types;
    PyObject **known = bound.known;
    if (!PyArg_ParseTuple(args, "(O!O!O!O!)(OOOOOOOOO):bind", &PyType_Type, &types[WORKER], &PyType_Type, &types[CACHE],
                          &PyType_Type, &types[TALLY], &PyType_Type, &types[VALUE], &known[ERROR], &known[GET_TRACE],
                          &known[GET_PROFILE], &known[REPORT], &known[NOTHING], &known[WAKE_NEXT], &known[APPEND],
                          &known[POPLEFT], &known[POPITEM])) {
        return NULL;
    }
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        PyObject *descriptor = PyObject_GetAttrString((PyObject *)types[slot_names[slot].type], slot_names[slot].name);
        if (descriptor == NULL) {
            return NULL;
        }
        int is_slot = Py_IS_TYPE(descriptor, &PyMemberDescr_Type);
        bound.offsets[slot] = is_slot ? ((PyMemberDescrObject *)descriptor)->d_member->offset : 0;
        Py_DECREF(descriptor);
        if (!is_slot) {
            PyErr_Format(PyExc_TypeError, "%s is no slot", slot_names[slot].name);
            return NULL;
        }
    }
    for (int type = 0; type < TYPES; type++) {
        Py_INCREF(types[type]);
    }
    for (int object = 0; object < KNOWN; object++) {
        Py_INCREF(known[object]);
    }
    *quick = bound;
    let_go(&before);
    Py_RETURN_NONE;
}

#endif
#endif
