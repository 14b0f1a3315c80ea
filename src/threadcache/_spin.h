/* How the owner of a mailbox spins: when, for how long, and who of several.

   When to spin
   ============

   A spin that ends without a token is a miss, and doubles the number of waits that do not spin, up to MOST_SKIPPED; a
   hit sets it to none, for both kinds, for they are mostly the two sides of one conversation. So where tokens come
   faster than the spin is long, every wait spins, and where they don't, one in 256.

   Two sides that park would find no way back: each is woken after the other has stopped spinning. So a spin after a
   miss is longer. If it ends after the usual length, that is a *late* hit: the next spins are of the usual length, and
   show whether the other side is awake, or whether its tokens are just that slow, which is a miss like any other.

   Where both kinds spin, each for the other, there is a conversation, as of an event loop and its workers: many calls
   go one way at a stroke and come back at a stroke. One token that comes too late costs it two wake-ups, and the spins
   that they outlast. So after a hit of one kind the other's spins are longer for a while. Where only workers spin, for
   jobs that nobody waits for, a longer spin would save nobody anything but cost CPU time.

   Who may spin if several want to: first who waits for a result, since it is the next to do something; then who waits
   for work at the end of other work, which is sure to come here; then a worker that may or may not be the next to be
   called, and if somebody before it spins, it parks. (Without the GIL several are done at the same time. When whoever
   came last spun, those who waited for results were put off by workers without work, and slept.)

   With one core to run on there is nobody to wait for, and the owner gives its core away a few times instead: whoever
   wants to put gets it, and finds nobody parked.

   The GIL
   =======

   A spinner that finds the token would be stopped by the GIL, which the putter still has, and park in there after all,
   for as long as a wake-up takes. So it goes on spinning until the GIL looks free (see `find_gil`), or for
   `GIL_PATIENCE`; where nobody can tell, for GUESS. */

#ifndef THREADCACHE_SPIN_H
#define THREADCACHE_SPIN_H

/* Waits without a spin after the eighth miss in a row. At that rate spinning costs half a microsecond a wait. */
#define MOST_SKIPPED 255

/* By how many times its length a spin after a miss is longer. It must outlast a wake-up, which takes 20 to 50 us. */
#define PROBE 3

/* By how many times its length a spin is longer in a conversation, and for how many spins one hit counts as that. One
   is enough for sixteen calls of an asyncio loop, which come back at a stroke and are made anew at a stroke: 30 us.
   Trio takes 50 us of its own between one call and the next, and without the GIL 70. */
#ifdef Py_GIL_DISABLED
#define TALK 3
#else
#define TALK 2
#endif
#define TALKS 4

/* Nanoseconds that a spinner with a token waits for the GIL at the most. A putter that goes on to wait, in a lock, a
   future or an event loop's selector, is there in 1 to 10 us, and in 70 if it makes sixteen calls before; one that goes
   on computing keeps it for 5 ms. */
#define GIL_PATIENCE 100000

/* The same where the GIL cannot be looked at. */
#define GUESS 3000

/* Looks at the word between two looks at the clock, which takes as long as some of them. */
#define LOOKS 8

/* The bits of a spinner's rank, which are zero in an address. */
#define RANK 3

/* How often the core is given away where there is only one. */
#define YIELDS 4

/* Without the GIL: wait for it to look free, since we have what we need otherwise. */
static void
await_gil(State *state)
{
#ifndef Py_GIL_DISABLED
    int64_t patience = state->gil != NULL ? GIL_PATIENCE : GUESS, start = 0;
    for (;;) {
        for (int look = 0; look < LOOKS; look++) {
            if (state->gil != NULL && atomic_load_explicit(state->gil, memory_order_relaxed) == 0) {
                return;
            }
            pause_core();
        }
        int64_t time = now();
        if (start == 0) {
            start = time;
        } else if (time - start > patience) {
            return;
        }
    }
#else
    (void)state;
#endif
}

static unsigned
get(atomic_uint *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void
set(atomic_uint *number, unsigned value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

/* Whether this wait may spin. */
static int
may_spin(Mailbox *self)
{
    Backoff *backoff = &self->state->backoffs[self->shared];
    unsigned skip = get(&backoff->skip);
    if (self->spin == 0) {
        return 0;
    }
    if (skip != 0) {
        set(&backoff->skip, skip - 1);
    }
    return skip == 0;
}

static void
learn(Mailbox *self, int hit, int late)
{
    Backoff *backoffs = self->state->backoffs;
    for (int shared = 0; hit && shared < 2; shared++) {
        set(&backoffs[shared].skip, 0);
        set(&backoffs[shared].trusts, late);
        if (!late) {
            set(&backoffs[shared].missed, 0);
        }
    }
    if (hit) {
        set(&backoffs[!self->shared].talks, TALKS);
    } else {
        Backoff *backoff = &backoffs[self->shared];
        unsigned missed = get(&backoff->missed) * 2 + 1;
        missed = missed < MOST_SKIPPED ? missed : MOST_SKIPPED;
        set(&backoff->missed, missed);
        set(&backoff->skip, missed);
        set(&backoff->trusts, 0);
    }
}

/* Without the GIL: look for the token, for a while, and return whether it is there. `brief`: we will not park then. */
static int
spin(Mailbox *self, int brief)
{
    State *state = self->state;
    if (state->single_core) {
        for (int times = 0; times < YIELDS; times++) {
            yield_core();
            if (is_full(self)) {
                return 1;
            }
        }
        return 0;
    }
    const uintptr_t rank = self->shared ? 2 : brief ? 1 : 0, me = (uintptr_t)self | rank;
    Backoff *backoff = &state->backoffs[self->shared];
    int probes = get(&backoff->missed) != 0 && !get(&backoff->trusts), full = 0;
    unsigned talks = get(&backoff->talks);
    int64_t usual = self->spin;
    if (talks != 0) {
        set(&backoff->talks, talks - 1);
        usual += TALK * self->spin;
    }
    int64_t time = now(), late = time + usual, end = probes ? time + (1 + PROBE) * self->spin : late;
    uintptr_t newest = atomic_load_explicit(&state->spinner, memory_order_relaxed);
    do {
        if ((newest & RANK) > rank) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&state->spinner, &newest, me, memory_order_relaxed,
                                                    memory_order_relaxed));
    newest = me;
    do {
        for (int look = 0; look < LOOKS && !(full = is_full(self)); look++) {
            pause_core();
        }
        /* The token first: who took our place may have done so after putting it. */
    } while (!full && (newest = atomic_load_explicit(&state->spinner, memory_order_relaxed)) == me &&
             (time = now()) < end);
    int displaced = newest != me;
    if (!displaced) {
        atomic_compare_exchange_strong_explicit(&state->spinner, &newest, 0, memory_order_relaxed,
                                                memory_order_relaxed);
    }
    if (full || !displaced) { /* who was displaced has learnt nothing */
        learn(self, full, time > late);
    }
    if (full) {
        await_gil(state);
    }
    return full;
}

#endif
