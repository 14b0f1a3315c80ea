/* The common case of submitting a job, here, and of running it (`_quick_run.h`). Twin of
   `ThreadCache.start_thread_soon`, of `Worker._run_job`, and of what `Worker._serve` does from one job to the next; the
   model is told there. What is not the common case is left to them, undone: a name, a trace function, a wrong argument.

   It takes the model's steps, in the model's order, and each is one call or one read or write of a slot, as there. So
   it needs the GIL for nothing. With the GIL nothing in between runs Python code or gives the GIL up, but for `fn`,
   `deliver`, the helpers that are called, and what is let go; without it, the model's races take place in here as well.

   Workers, caches and the like are Python's classes. A slot that another thread may write, or read, is read and written
   through the interpreter, which knows how (`look`, `put_in`). One that does not change, or that nobody but the worker
   itself looks at, is read where it lies (`PART`). */

#ifndef THREADCACHE_QUICK_H
#define THREADCACHE_QUICK_H

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

/* A slot of an object; what is in there is borrowed. */
#define PART(object, slot) (*(PyObject **)((char *)(object) + quick->slots[slot]->offset))

/* What is in a slot, with a reference of its own. NULL, with an error: nothing. */
static PyObject *
look(Quick *quick, PyObject *object, int slot)
{
    return PyMember_GetOne((char *)object, quick->slots[slot]);
}

static void
put_in(Quick *quick, PyObject *object, int slot, PyObject *value)
{
    int failed = PyMember_SetOne((char *)object, quick->slots[slot], value);
    assert(!failed);
    (void)failed;
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

/* Whether nothing is missing of a cache that is read where it lies: somebody may have deleted an attribute. */
static int
is_whole(Quick *quick, PyObject *cache)
{
    return PART(cache, CACHE__clock) != NULL && PART(cache, CACHE__idle) != NULL && PART(cache, CACHE__line) != NULL;
}

/* Whether a slot holds True. -1: it holds nothing. */
static int
is_true(Quick *quick, PyObject *object, int slot)
{
    PyObject *flag = look(quick, object, slot);
    Py_XDECREF(flag); /* compared, and not looked at */
    return flag == NULL ? -1 : flag == Py_True;
}

/* Whether the worker that was woken last is on its way, and is not the one that runs this. -1: an error. */
static int
is_coming(Quick *quick, PyObject *cache)
{
    PyObject *waking = look(quick, cache, CACHE__waking), *ident = NULL;
    PyObject *mailbox = waking == NULL ? NULL : look(quick, waking, WORKER_mailbox);
    int coming = -1;
    if (mailbox != NULL) {
        Mailbox *box = native(quick, mailbox);
        coming = box != NULL && is_full(box);
        if (coming) {
            int delivering = is_true(quick, waking, WORKER_delivering);
            coming = delivering < 0 ? -1 : !delivering;
        }
        if (coming == 1) {
            ident = look(quick, waking, WORKER_ident);
            coming = ident == NULL ? -1 : PyLong_AsUnsignedLongMask(ident) != PyThread_get_thread_ident();
        }
    }
    Py_XDECREF(ident);
    Py_XDECREF(mailbox);
    Py_XDECREF(waking);
    return coming;
}

/* Claim the worker that became idle last, and call it. 0: there is none. -1: an error. */
static int
call_idle(Quick *quick, PyObject *cache)
{
    PyObject *last = PyObject_CallOneArg(quick->known[POPITEM], PART(cache, CACHE__idle));
    if (last == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    PyObject *mailbox = PyTuple_GET_ITEM(last, 1);
    Mailbox *box = native(quick, mailbox);
    PyObject *put = box != NULL ? mailbox_put(box, NULL) : PyObject_CallMethod(mailbox, "put", NULL);
    if (put != NULL) {
        put_in(quick, cache, CACHE__waking, PyTuple_GET_ITEM(last, 0));
        Py_DECREF(put);
    }
    Py_DECREF(last);
    return put == NULL ? -1 : 1;
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

/* Raise it again. */
static void
restore_error(PyObject *error)
{
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
}

/* After appending a job: see to it that somebody comes for it, or take it back. */
static int
see_to(Quick *quick, PyObject *cache, PyObject *job)
{
    int coming = is_coming(quick, cache);
    if (coming == 0) {
        coming = call_idle(quick, cache);
    }
    if (coming == 1) {
        return 0;
    }
    PyObject *refusal = coming < 0 ? NULL : PyObject_CallMethod(cache, "_wake", "(O)", Py_False);
    if (refusal == Py_None) {
        Py_DECREF(refusal);
        return 0;
    }
    int refused = refusal != NULL;
    PyObject *error = refused ? refusal : fetch_error();
    PyObject *removed = PyObject_CallMethod(PART(cache, CACHE__line), "remove", "(O)", job);
    if (removed == NULL) {
        PyErr_Clear();
        if (refused) { /* somebody has claimed it: so there was a worker after all */
            Py_DECREF(error);
            return 0;
        }
    }
    Py_XDECREF(removed);
    restore_error(error);
    return -1;
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
        !(name == Py_None || PyUnicode_CheckExact(name))) {
        Py_RETURN_FALSE;
    }
    PyObject *identity = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type), *appended = NULL;
    PyObject *job = identity == NULL ? NULL : PyTuple_Pack(4, identity, fn, deliver, name);
    Py_XDECREF(identity);
    if (job != NULL) {
        appended = PyObject_CallFunctionObjArgs(quick->known[APPEND], PART(cache, CACHE__line), job, NULL);
    }
    int failed = appended == NULL || see_to(quick, cache, job) < 0;
    Py_XDECREF(appended);
    Py_XDECREF(job);
    return failed ? NULL : Py_NewRef(Py_True);
}

PyDoc_STRVAR(quick_bind_doc, "bind(types, known): what `start` and `run` are to know; before that they do nothing.\n\n"
                             "types: the worker's, the cache's, the tally's, the outcome's. known: see _quick.h.");

static PyObject *
quick_bind(PyObject *module, PyObject *args)
{
    Quick *quick = &((State *)PyModule_GetState(module))->quick, bound = *quick, before = *quick;
    PyTypeObject **types = bound.types;
    PyObject **known = bound.known;
    if (!PyArg_ParseTuple(args, "(O!O!O!O!)(OO!UUOOOOO):bind", &PyType_Type, &types[WORKER], &PyType_Type,
                          &types[CACHE], &PyType_Type, &types[TALLY], &PyType_Type, &types[VALUE], &known[ERROR],
                          &PyDict_Type, &known[HOOKS], &known[TRACE], &known[PROFILE], &known[REPORT], &known[NOTHING],
                          &known[APPEND], &known[POPLEFT], &known[POPITEM])) {
        return NULL;
    }
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        PyObject *descriptor = PyObject_GetAttrString((PyObject *)types[slot_names[slot].type], slot_names[slot].name);
        if (descriptor == NULL) {
            return NULL;
        }
        int is_slot = Py_IS_TYPE(descriptor, &PyMemberDescr_Type);
        bound.slots[slot] = is_slot ? ((PyMemberDescrObject *)descriptor)->d_member : NULL;
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
