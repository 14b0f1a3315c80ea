/* The common case of submitting a job and of running it. Twin of `ThreadCache.start_thread_soon`, of `Worker._run_job`,
   and of what `Worker._serve` does from one job to the next; the model is told there. What is not the common case is
   left to them, undone: a name, a trace function, a wrong argument, a thread that has to be started.

   With the GIL, all of it is one step but for `fn`, `deliver` and the helpers that it calls: nothing in between runs
   Python code or gives up the GIL. So nobody comes between a look and what is done about it, no asynchronous exception
   strikes there, and none of the model's races takes place in here. (Up to Python 3.11 the collector may run where a
   tuple is made; what was seen before is looked at again.) Without the GIL there is none of this: the twins do it all.

   Workers, caches and the like are Python's classes; their slots are read and written where they lie. */

#ifndef THREADCACHE_QUICK_H
#define THREADCACHE_QUICK_H

#ifndef Py_GIL_DISABLED

#include <structmember.h>

enum { WORKER, CACHE, TALLY, VALUE, TYPES };

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
#define IN(object, slot) (*(PyObject **)((char *)(object) + quick->offsets[slot]))

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

static PyObject *
put_into(Quick *quick, PyObject *mailbox)
{
    Mailbox *ours = native(quick, mailbox);
    return ours != NULL ? mailbox_put(ours, NULL) : PyObject_CallMethodNoArgs(mailbox, quick->put);
}

/* Whether the worker that was woken last is on its way, and is not the one that runs this. */
static int
is_coming(Quick *quick, PyObject *cache)
{
    PyObject *waking = IN(cache, CACHE__waking);
    Mailbox *mailbox = native(quick, IN(waking, WORKER_mailbox));
    return mailbox != NULL && is_full(mailbox) && IN(waking, WORKER_delivering) == Py_False &&
           PyLong_AsUnsignedLongMask(IN(waking, WORKER_ident)) != PyThread_get_thread_ident();
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
    PyObject *cache = args[0], *fn = args[1], *deliver = args[2], *name = args[3], *woken = NULL, *appended;
    if (is_finalizing() || quick->types[CACHE] == NULL || !PyObject_TypeCheck(cache, quick->types[CACHE]) ||
        !PyCallable_Check(fn) || !PyCallable_Check(deliver) || !(name == Py_None || PyUnicode_CheckExact(name)) ||
        !(is_coming(quick, cache) || PyDict_GET_SIZE(IN(cache, CACHE__idle)) != 0)) {
        Py_RETURN_FALSE;
    }
    PyObject *identity = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    PyObject *job = identity == NULL ? NULL : PyTuple_Pack(4, identity, fn, deliver, name);
    Py_XDECREF(identity);
    if (job == NULL) {
        return NULL;
    }
    if (!is_coming(quick, cache)) {
        woken = PyObject_CallOneArg(quick->popitem, IN(cache, CACHE__idle));
        if (woken == NULL) {
            Py_DECREF(job);
            if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
                return NULL;
            }
            PyErr_Clear();
            Py_RETURN_FALSE;
        }
    }
    appended = PyObject_CallFunctionObjArgs(quick->append, IN(cache, CACHE__line), job, NULL);
    Py_DECREF(job);
    if (woken != NULL) { /* also if there is no memory for the job: it looks, and goes back */
        PyObject *put = put_into(quick, PyTuple_GET_ITEM(woken, 1));
        Py_XDECREF(put);
        put_in(&IN(cache, CACHE__waking), PyTuple_GET_ITEM(woken, 0));
        Py_DECREF(woken);
        if (put == NULL) {
            Py_CLEAR(appended);
        }
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

static void
report_error(Quick *quick)
{
    PyObject *error = fetch_error(), *done = PyObject_CallOneArg(quick->report, error);
    if (done == NULL) {
        PyErr_WriteUnraisable(quick->report);
    }
    Py_XDECREF(done);
    Py_DECREF(error);
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
    return IN(worker, WORKER_line) == IN(IN(worker, WORKER_cache), CACHE__line);
}

static PyObject *
call_fn(Quick *quick, PyObject *worker, PyObject *job)
{
    PyObject *result = NULL, *value = NULL;
    PyObject *time = PyObject_CallNoArgs(IN(IN(worker, WORKER_cache), CACHE__clock));
    PyObject *running = time == NULL ? NULL : PyTuple_Pack(3, PyTuple_GET_ITEM(job, 1), Py_None, time);
    if (running != NULL) {
        put_in(&IN(worker, WORKER_running), running);
        Py_DECREF(running);
        result = PyObject_CallNoArgs(PyTuple_GET_ITEM(job, 1));
    }
    Py_XDECREF(time);
    if (result != NULL) {
        value = PyType_GenericAlloc(quick->types[VALUE], 0);
        if (value != NULL) {
            put_in(&IN(value, VALUE_value), result);
            put_in(&IN(value, VALUE__unwrapped), Py_False);
        }
        Py_DECREF(result);
    }
    return value;
}

/* Run the claimed job. Return what `Worker._run_job` does; it raises nothing either. */
static int
run_claimed(Quick *quick, PyObject *worker)
{
    PyObject *cache = IN(worker, WORKER_cache), *job = IN(worker, WORKER_job), *error = NULL;
    IN(worker, WORKER_job) = Py_NewRef(Py_None); /* begun */
    PyObject *deliver = Py_NewRef(PyTuple_GET_ITEM(job, 2)), *outcome = call_fn(quick, worker, job);
    if (outcome == NULL) {
        error = fetch_error();
    }
    /* `fn` is let go before anybody hears of the result. */
    put_in(&IN(worker, WORKER_running), Py_None);
    Py_DECREF(job);
    int more = 0, home = is_at_home(quick, worker);
    if (home) {
        count(&IN(IN(worker, WORKER_tally), TALLY_jobs));
        while (outcome == NULL && (outcome = PyObject_CallOneArg(quick->error, error)) == NULL) {
            report_error(quick);
        }
        put_in(&IN(worker, WORKER_delivering), Py_True);
        if (PyDict_SetItem(IN(cache, CACHE__idle), worker, IN(worker, WORKER_mailbox)) < 0) {
            report_error(quick);
        }
        more = length(IN(cache, CACHE__line)) != 0;
    }
    Py_XDECREF(error);
    if (home) {
        PyObject *answer = PyObject_CallOneArg(deliver, outcome);
        if (answer == NULL) {
            count(&IN(IN(worker, WORKER_tally), TALLY_deliver_errors));
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
    PyContext_Exit(context);
    Py_DECREF(context);
    return more;
}

/* `ThreadCache._wake_next`: see to it that somebody comes for what is in the line. */
static int
see_to_the_next(Quick *quick, PyObject *cache)
{
    Mailbox *standby = native(quick, IN(cache, CACHE__standby));
    int spins = standby != NULL && atomic_load_explicit(&standby->spins, memory_order_relaxed);
    if (spins || is_coming(quick, cache)) {
        put_in(&IN(cache, CACHE__left), spins ? Py_True : Py_False);
        return 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs(cache, quick->wake_next);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* What `_serve` and `_claim` do before the next job. 1: it is claimed. 0: there is none, or it is for them to do. */
static int
claim_next(Quick *quick, PyObject *worker, int more)
{
    PyObject *cache = IN(worker, WORKER_cache), *line = IN(worker, WORKER_line), *idle = IN(cache, CACHE__idle);
    Mailbox *mailbox = native(quick, IN(worker, WORKER_mailbox));
    if (!is_at_home(quick, worker) || length(line) == 0 || IN(worker, WORKER_retiring) != Py_False || mailbox == NULL) {
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
    put_in(&IN(worker, WORKER_delivering), Py_False);
    PyObject *job = PyObject_CallOneArg(quick->popleft, line);
    if (job == NULL) {
        return -1;
    }
    put_in(&IN(worker, WORKER_job), job);
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
            PyTuple_GET_ITEM(IN(worker, WORKER_job), 3) != Py_None) {
            break;
        }
        int known = is_known(quick->get_trace, IN(worker, WORKER_trace));
        known = known == 1 ? is_known(quick->get_profile, IN(worker, WORKER_profile)) : known;
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

PyDoc_STRVAR(quick_bind_doc, "bind(worker, cache, tally, value, error, get_trace, get_profile, report, append, "
                             "popleft, popitem): what `start` and `run` are to know. Before that they do nothing.");

static PyObject *
quick_bind(PyObject *module, PyObject *args)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick, known = *quick;
    PyTypeObject **types = known.types;
    if (types[WORKER] != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "bound already");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!O!O!O!OOOOOOO:bind", &PyType_Type, &types[WORKER], &PyType_Type, &types[CACHE],
                          &PyType_Type, &types[TALLY], &PyType_Type, &types[VALUE], &known.error, &known.get_trace,
                          &known.get_profile, &known.report, &known.append, &known.popleft, &known.popitem)) {
        return NULL;
    }
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        PyObject *descriptor = PyObject_GetAttrString((PyObject *)types[slot_names[slot].type], slot_names[slot].name);
        if (descriptor == NULL) {
            return NULL;
        }
        int is_slot = Py_IS_TYPE(descriptor, &PyMemberDescr_Type);
        known.offsets[slot] = is_slot ? ((PyMemberDescrObject *)descriptor)->d_member->offset : 0;
        Py_DECREF(descriptor);
        if (!is_slot) {
            PyErr_Format(PyExc_TypeError, "%s is no slot", slot_names[slot].name);
            return NULL;
        }
    }
    for (int type = 0; type < TYPES; type++) {
        Py_INCREF(types[type]);
    }
    PyObject *objects[] = {known.error,  known.get_trace, known.get_profile, known.report,
                           known.append, known.popleft,   known.popitem};
    for (size_t object = 0; object < sizeof(objects) / sizeof(*objects); object++) {
        Py_INCREF(objects[object]);
    }
    *quick = known;
    Py_RETURN_NONE;
}

#endif
#endif
