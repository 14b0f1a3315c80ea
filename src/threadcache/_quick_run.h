/* The common case of running a job, and of going on to the next. See `_quick.h`.

   An asynchronous exception does not strike here. It would strike in the next Python function, and if `fn` is written
   in C that is `deliver`, whose outcome nobody would hear of. So one is called here where the twin would be struck. */

#ifndef THREADCACHE_QUICK_RUN_H
#define THREADCACHE_QUICK_RUN_H

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

static PyObject *
get_async_exc(void)
{
#ifdef Py_GIL_DISABLED
    return _Py_atomic_load_ptr_relaxed(&PyThreadState_Get()->async_exc);
#else
    return PyThreadState_Get()->async_exc;
#endif
}

/* Have an asynchronous exception strike here, if there is one. Return -1 if it does. */
static int
be_struck(Quick *quick)
{
    if (get_async_exc() == NULL) {
        return 0;
    }
    PyObject *done = PyObject_CallNoArgs(quick->known[NOTHING]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static void
count(Quick *quick, PyObject *tally, int slot)
{
    PyObject *next = PyLong_FromSsize_t(PyLong_AsSsize_t(PART(tally, slot)) + 1);
    if (next == NULL) {
        PyErr_Clear(); /* there is no memory for it */
        return;
    }
    put_in(quick, tally, slot, next);
    Py_DECREF(next);
}

/* Whether a hook of `threading` is the one that the worker knows. -1: an error. */
static int
is_known(Quick *quick, int name, PyObject *known)
{
    PyObject *hook = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    int failed = PyDict_GetItemRef(quick->known[HOOKS], quick->known[name], &hook) < 0;
#else
    hook = Py_XNewRef(PyDict_GetItemWithError(quick->known[HOOKS], quick->known[name]));
    int failed = hook == NULL && PyErr_Occurred() != NULL;
#endif
    Py_XDECREF(hook); /* compared, and not looked at */
    return failed ? -1 : hook == known;
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
        put_in(quick, worker, WORKER_running, running);
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
            put_in(quick, value, VALUE_value, result);
            put_in(quick, value, VALUE__unwrapped, Py_False);
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
    put_in(quick, worker, WORKER_running, Py_None);
    Py_DECREF(job);
    int more = 0, home = is_at_home(quick, worker);
    if (home) {
        count(quick, PART(worker, WORKER_tally), TALLY_jobs);
        while (outcome == NULL && (outcome = PyObject_CallOneArg(quick->known[ERROR], error)) == NULL) {
            report_error(quick);
        }
        put_in(quick, worker, WORKER_delivering, Py_True);
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
            count(quick, PART(worker, WORKER_tally), TALLY_deliver_errors);
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
    put_in(quick, cache, CACHE__left, Py_True);
    PyObject *standby = look(quick, cache, CACHE__standby);
    if (standby == NULL) {
        return -1;
    }
    Mailbox *latch = native(quick, standby);
    int spins = latch != NULL && atomic_fetch_or_explicit(&latch->spins, 0, memory_order_acq_rel);
    Py_DECREF(standby);
    if (spins) {
        return 0;
    }
    put_in(quick, cache, CACHE__left, Py_False);
    int coming = is_coming(quick, cache);
    if (coming == 0) {
        PyObject *done = PyObject_CallMethod(cache, "_wake_next", NULL);
        coming = done == NULL ? -1 : 1;
        Py_XDECREF(done);
    }
    return coming < 0 ? -1 : 0;
}

/* Take a worker off the list, if it is still there. -1: an error. */
static int
unlist(PyObject *idle, PyObject *worker)
{
    if (PyDict_DelItem(idle, worker) == 0) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* What `_serve` and `_claim` do before the next job. 1: it is claimed. 0: there is none, or it is for them to do. */
static int
claim_next(Quick *quick, PyObject *worker, int *more)
{
    PyObject *cache = PART(worker, WORKER_cache), *line = PART(worker, WORKER_line), *idle = PART(cache, CACHE__idle);
    Mailbox *mailbox = native(quick, PART(worker, WORKER_mailbox));
    if (!is_at_home(quick, worker) || length(line) == 0 || mailbox == NULL) {
        return 0;
    }
    int listed = PyDict_Contains(idle, worker);
    if (listed == 1) {
        if (!*more) {
            return 0;
        }
        listed = unlist(idle, worker);
        if (listed == 0) {
            return 0; /* it has been claimed meanwhile */
        }
    } else if (listed == 0) {
        /* Claimed; the put may be yet to come. Whether it is in order to leave is said before that. */
        if (!is_full(mailbox)) {
            return 0;
        }
        int retiring = is_true(quick, worker, WORKER_retiring);
        if (retiring != 0) {
            return retiring < 0 ? -1 : 0;
        }
        int taken = take(mailbox);
        assert(taken); /* nobody else does */
        (void)taken;
    }
    if (listed < 0) {
        return -1;
    }
    put_in(quick, worker, WORKER_delivering, Py_False);
    PyObject *job = PyObject_CallOneArg(quick->known[POPLEFT], line);
    if (job == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_IndexError)) {
            return -1;
        }
        PyErr_Clear(); /* somebody was faster */
        *more = 1;
        return PyDict_SetItem(idle, worker, (PyObject *)mailbox);
    }
    put_in(quick, worker, WORKER_job, job);
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
        int known = is_known(quick, TRACE, PART(worker, WORKER_trace));
        known = known == 1 ? is_known(quick, PROFILE, PART(worker, WORKER_profile)) : known;
        if (known < 0) {
            return NULL;
        }
        if (!known) {
            break;
        }
        int more = run_in_context(quick, worker), next = more < 0 ? -1 : claim_next(quick, worker, &more);
        if (next < 1) {
            return next < 0 ? NULL : PyBool_FromLong(more);
        }
    }
    Py_RETURN_NONE;
}

#endif
