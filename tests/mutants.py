"""Breaks the code behind each guarantee, one way at a time, and sees that the guarantee's tests fail.

``make mutants``, or ``python tests/mutants.py [WORD...]`` for those whose description holds one of the words. A mutant
whose tests pass is an error, and so is one whose text is not found in the source any more. Those of a ``.c`` file are
built, which needs a compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src"
SECONDS = 150

# What is broken, in which file, the text, what it becomes, and which tests are to notice.
MUTANTS = [
    ("G1 the job is not taken back when no thread starts", "_cache", "line.remove(job)", "pass", "g1"),
    ("G1 the failed start is chained", "_cache", "            worker = None\n        if", "            return self._start_worker(by_worker)\n        if", "g1_without"),
    ("G1 a misbehaving exception is asked", "_worker", "BaseException.with_traceback(failure, ", "failure.with_traceback(", "g1_an_exception"),
    ("G1 a value is not as it is made", "_worker", "        set_unwrapped(made, False)\n", "        set_unwrapped(made, True)\n", "value_like_any"),
    ("G1 a value's parts are not looked at", "_worker", "if parts.keys() != {", "if not parts.keys() >= {", "another_shape"),
    ("G1 fn is not checked", "_cache", "if not callable(fn):", "if False:", "g1_bad"),
    ("G1 the name keeps methods of its own", "_cache", "name = str.__str__(name)", "name = str(name)", "g1_a_names"),
    ("G1 the worker's frame is in the traceback", "_worker", "traceback and traceback.tb_next", "traceback", "g1_whatever"),
    ("G1 the wake-up comes before the append", "_cache", "            line.append(job)\n            # Nobody", "            # Nobody", "g1_fn_then"),
    ("G1 race 3: a claimed worker leaves", "_worker", "                    if idle.pop(self, None) is not None:\n                        return  # nobody", "                    idle.pop(self, None)\n                    if True:\n                        return  # nobody", "g6_assigned or g1_g3_every"),
    ("G2 a thread that a submitter starts counts as on its way too early", "_cache", "            if by_worker:", "            if True:", "g2"),
    ("G3 no successor is woken", "_worker", "        if self.line:\n            self.cache._wake_next()\n        return True", "        return True", "g3 and not burst"),
    ("G3 the hook comes before the successor's wake-up", "_worker", "                        if self.job is None:\n                            self._claim()\n", "", "slow_start_hook"),
    ("G3 a delivering worker counts as on its way", "_cache", "            if waking.mailbox.is_empty() or waking.delivering or waking", "            if waking.mailbox.is_empty() or waking", "blocking_deliver"),
    ("G3 each submission wakes somebody", "_cache", "            if waking.mailbox.is_empty() or waking.delivering or waking", "            if True or waking", "g3_a_burst"),
    ("G3 who stands by does not follow the rule", "_cache", "            finally:\n                if self._left:\n                    self._wake_next(by_worker=False)\n", "            finally:\n                pass\n", "g3_every"),
    ("G3 a worker wakes the next one though somebody stands by", "_cache", "        if self._standby.is_spinning():\n            return\n", "", "stands_by"),
    ("G3 who stands by and is struck sends for nobody", "_cache", "                self._wake_next(by_worker=False)  # that may have been interrupted", "                pass", "stands_by_is_interrupted"),
    ("G3 the line is last in, first out", "_worker", "cache._line.popleft", "cache._line.pop", "first_come"),
    ("G4 first idle, first used", "_cache", "worker, mailbox = self._idle.popitem()", "worker = next(iter(self._idle), None)\n            mailbox = self._idle.pop(worker)", "g4"),
    ("G5 a worker helps itself to what deliver led to", "_worker", "if more and self.line", "if self.line", "g5_one_worker"),
    ("G5 deliver before idle", "_worker", "                if not self.delivering:\n", "                if False:\n", "g5"),
    ("G6 idle workers never leave", "_worker", "not self.mailbox.get(True, cache._keep_alive)", "not self.mailbox.get(True, -1)", "g6_idle_workers_leave"),
    ("G6 idle workers wake up to look", "_worker", "not self.mailbox.get(True, cache._keep_alive)", "not any(self.mailbox.get(True, 0.05) for _ in range(200))", "g6_idle_workers"),
    ("G6 race 4: a claimed worker waits for ever", "_worker", "                    self.mailbox = cache._new_mailbox()  # race 4", "                    self.mailbox.get(True, -1)", "g6_claimed or g10"),
    ("G6 a NaN is a timeout", "_cache", "if math.isnan(value) or value < least:", "if value < least:", "g6_impossible"),
    ("max_idle is no limit", "_worker", "len(idle) > cache._max_idle", "False", "max_idle"),
    ("G7 fn lives through deliver", "_worker", "        fn = self.running = None\n", "        self.running = None\n", "g7"),
    ("G7 the frame keeps the outcome", "_worker", "        del call, result", "        pass", "g7"),
    ("G7 the claimed job is kept", "_worker", "            self.job = None  # begun", "            self.begun_job, self.job = self.job, None", "g7"),
    ("G8 a failing deliver is not caught", "_worker", "                self.tally.deliver_errors += self.deliver is None\n                report(error)", "                raise", "g8"),
    ("G8 a broken hook is not caught", "_threads", "        with suppress(BaseException):\n            sys.excepthook", "        if True:\n            sys.excepthook", "g8"),
    ("G9 an asynchronous exception ends the worker", "_worker", "                    report(error)\n                    self._recover(error)", "                    raise", "g9"),
    ("G9 the job is popped by a call", "_worker", "            for self.job in self.next_job:  # noqa: B020 (two attributes of self, not self)\n                break", "            self.job = self.line.popleft()", "g9"),
    ("G9 a worker that recovers keeps its mailbox", "_worker", "        self.mailbox = self.cache._new_mailbox()  # for", "        pass  # for", "g9 or g1_g3"),
    ("G9 a name may fail", "_threads", "    with suppress(Exception):  # a name", "    if True:  # a name", "g9_a_name_that"),
    ("G10 an interrupted call leaves its job in the line", "_cache", "        except BaseException as error:\n            refused", "        except Exception as error:\n            refused", "g10"),
    ("G10 what a handler raises is taken for a refusal", "_cache", "error is refusal, None", "isinstance(error, Exception), None", "g10"),
    ("G10 race 6: a worker that lives is not listed again", "_cache", "                self._workers[worker] = None\n                if worker.gone", "                if worker.gone", "g10"),
    ("G10 race 6: the token of the beginning may be another", "_worker", "        self.mailbox = self.cache._new_mailbox()  # the first token was for whoever got it (race 6)\n", "", "called_again"),
    ("G10 race 6: a worker that never lived stays listed", "_cache", "            self._workers.pop(worker, None)\n            if mailbox", "            if mailbox", "g10"),
    ("G2 a worker takes its token in Python", "_worker", "        return partial(all, chain(take, enter, starmap(self.main, ((),))))", "        def target():\n            self._first()\n            self.main()\n        return target\n\n    def _first(self):\n        threading.get_ident()\n        self.mailbox.get(False, -1)", "starting_worker"),
    ("G11 the child keeps the parent's workers", "_cache", "    for cache in list(_caches):\n        cache._reset()", "    pass", "g11"),
    ("G11 a hook that forked runs its job in the child", "_worker", "            return False  # race 7: a hook has forked", "            pass", "g11"),
    ("G11 a job that forked is delivered in the child", "_worker", "            self.deliver = None\n            return False  # race 7\n", "            pass\n", "g11"),
    ("G12 jobs are taken for ever", "_cache", "if self._is_finalizing():", "if False:", "g12"),
    ("G12 workers are no daemon threads", "_threads", "    start_thread = _thread.start_new_thread", "    start_thread = _start_waiting_thread", "g12"),
    ("G13 one context for all jobs", "_worker", "Context().run(self._run_job)", "self._run_job()", "g13"),
    ("G13 the starter's mask", "_worker", "        set_signal_mask()\n", "", "g13"),
    ("G13 the importing thread's mask", "_threads", "if threading.current_thread() is not threading.main_thread():", "if False:", "g13"),
    ("G14 the name stays", "_worker", "                    name_thread(self.thread, cache._name)", "                    pass", "g14"),
    ("G14 the system is not told", "_threads", "        _tell_system(name.encode(errors=\"replace\"))", "        pass", "g14"),
    ("G14 workers that left are enumerated", "_worker", "        forget_thread()\n", "", "enumerated"),
    ("G15 daemon threads everywhere", "_threads", "DAEMON = _daemon_threads_allowed()", "DAEMON = True", "g15"),
    ("G15 idle workers hold up a sub-interpreter", "_cache", "    on_shutdown(_before_shutdown)", "    pass", "g15"),
    ("G16 jobs are not counted", "_worker", "        self.tally.jobs += 1\n        while", "        while", "g16"),
    ("G16 a running job is not noted", "_worker", "            self.running = fn, name, cache._clock()\n", "", "g16"),
    ("G16 trim takes the warmest", "_cache", "listed[: max(0, len(listed) - keep)]", "listed[keep:]", "g16_trim"),
    ("G16 drain does not wait", "_cache", "            while self._workers:", "            while False:", "g16_drain"),
    ("G16 drain forgets that workers may not park", "_cache", "            self._drains[nudge] = nudge", "            pass", "g16_drain"),
    ("G16 a drain stumbles over another", "_cache", "        with suppress(IndexError):  # another drain", "        with suppress():  # another drain", "g16"),
    ("G16 drain leaves threads that are about to end", "_cache", "            ended = wait_for_end(self._ending.popleft(), deadline)", "            self._ending.popleft()", "g16_drain or drained"),
    ("G16 a leaving worker nudges whoever drained before", "_worker", "        cache._workers.pop(self, None)\n        for nudge in list(cache._drains.values()):  # listed", "        drains = list(cache._drains.values())\n        cache._workers.pop(self, None)\n        for nudge in drains:  # listed", "g16_drain"),
    ("G16 drain waits for itself", "_cache", "if get_ident() in [worker.ident for worker in list(self._workers)]:", "if False:", "g16_drain"),
    ("hooks are not called", "_worker", "            _call_reporting(cache._on_worker_start)", "            pass", "hooks"),
    ("trace functions set late are not seen", "_worker", "                self._follow_tracing()", "                pass", "trace"),
    ("warn_at warns each time", "_worker", "            cache._unwarned.clear()\n", "", "warn_at"),
    ("debug mode says nothing", "_debug", "            warn(f\"{_name(fn)}", "            str(f\"{_name(fn)}", "debug"),
    ("debug mode does not time deliver", "_debug", "if seconds > SLOW_DELIVER:", "if False:", "debug"),
    ("executor: the number stays taken while a callback submits", "_pool", "            self._step_aside()\n", "", "callback"),
    ("executor: no second look after appending", "_pool", "            if self.closed or self.broken:  # race 4", "            if False:", "every_schedule or shut_down"),
    ("executor: what was not accepted runs", "_runner", "            future.cancel()  # race 4", "            pass", "race_4"),
    ("executor: a refused call stays in the line", "_pool", "                self.line.remove(future)\n", "                pass\n", "without_a_thread or starved or struck"),
    ("executor: no look at the line after giving the number back", "_runner", "            if pool.is_empty() or not (numbered or pool.numbers):  # race 2\n                break", "            break", "every_schedule"),
    ("executor: no runner sends for the next", "_runner", "            if left:\n                pool.send_for_next()", "            if False:\n                pool.send_for_next()", "every_schedule or limit_is_reached"),
    ("executor: one more may run", "_pool", "list(range(int(self.limit) - 1, -1, -1))", "list(range(int(self.limit), -1, -1))", "the_limit or every_schedule"),
    ("executor: race 3: the runner underneath is counted on", "_pool", "            if ident not in worker_idents or (underneath is not None and underneath.begun):  # race 3", "            if True:", "before_its_runner"),
    ("executor: race 3: the runner that parks underneath is counted on", "_pool", "            if underneath is None or underneath.begun:\n", "            if True:\n", "race_3"),
    ("executor: race 3: a worker enters its number in Python", "_worker", "chain(take, enter, starmap", "chain(take, starmap", "before_its_runner"),
    ("executor: race 5: no look after parking", "_runner", "        if pool.closed or not pool.is_empty() or not mailbox", "        if not mailbox", "every_schedule"),
    ("executor: race 5: who has parked does not count as on its way", "_runner", "        self.begun = pool.coming = []  # whoever is called is on its way\n", "", "race_5"),
    ("executor: race 5: who has parked is on its way for ever", "_runner", "        self.leave = None\n        self.begun.append(True)\n", "        self.leave = None\n", "every_schedule"),
    ("executor: race 8: a runner between two futures is not on its way", "_runner", "            self.begun = pool.coming = []  # race 8\n", "            pass\n", "between_futures"),
    ("executor: race 8: who spins is told before that", "_runner", "        if self.borrowed and not self.line and", "        if latch is not None:\n            latch.put()\n            latch = None\n        if self.borrowed and not self.line and", "between_futures"),
    ("executor: race 8: no look after the next future has begun", "_runner", "                left = not pool.is_empty()  # race 8\n", "", "between_futures"),
    ("executor: race 8: a runner is on its way for ever", "_runner", "                self.begun.append(True)\n                left", "                left", "between_futures"),
    ("executor: race 8: a runner that leaves is on its way for ever", "_runner", "                    self._serve()\n                    self.begun.append(True)\n", "                    self._serve()\n", "where_nobody_spins"),
    ("executor: race 8: a runner in another thread is on its way", "_runner", "        if self.borrowed and not self.line and", "        if not self.line and", "between_futures"),
    ("executor: race 8: a child counts on its parent's runner", "_runner", " and self.line is pool.line:\n            self.begun", ":\n            self.begun", "between_futures"),
    ("executor: a struck runner leaves who spins alone", "_runner", "                    if latch is not None:\n                        latch.put()\n", "", "between_futures"),
    ("executor: a runner is sent for though the line has become empty", "_pool", "        if not self.line:\n            return  # what was there", "        if False:\n            return  # what was there", "between_futures"),
    ("executor: a runner lingers where nobody spins", "_runner", "(pool.parked or not self.lingers)", "pool.parked", "where_nobody_spins"),
    ("executor: no runner lingers", "_runner", "(pool.parked or not self.lingers)", "True", "race_5"),
    ("executor: who stands by does not follow the rule", "_pool", "                if self.left:\n                    self.send_for_next()\n        except", "                pass\n        except", "standing_by or stands_by"),
    ("executor: a runner sends for the next though somebody stands by", "_pool", "        if self.standby.is_spinning():\n            return\n", "", "stands_by"),
    ("G5 a spinner wakes somebody though nothing is left to it", "_cache", "                if self._left:\n", "                if self._line:\n", "g5_a_spinner"),
    ("G5 a spinner wakes somebody though the line has become empty", "_cache", "        if not self._line:\n            return  # a worker", "        if False:\n            return  # a worker", "g5_a_spinner"),
    ("executor: who stands by and is struck sends for nobody", "_pool", "            self.send_for_next()  # that may have been interrupted", "            pass", "stands_by_is_interrupted"),
    ("executor: no lease", "_pool", "        self.lease = limit == 1", "        self.lease = False", "serial or thread_identity or one_thread or leased"),
    ("executor: a lease is not given back", "_pool", "        self.closed = True\n        self.unparked()", "        self.closed = True", "serial or leased or returned or goes_back"),
    ("executor: the leased thread waits for itself", "_pool", "            Runner(self).run_until(future, runner)", "            pass", "callback or leased_and"),
    ("executor: a struck runner keeps its number", "_runner", "        pool.running.pop(get_ident(), None)\n        self.give_number_back()\n        if", "        pool.running.pop(get_ident(), None)\n        if", "struck"),
    ("executor: a struck runner has never begun", "_runner", "        pool = self.pool\n        self.begun.append(True)\n", "        pool = self.pool\n", "struck"),
    ("executor: nobody tells shutdown", "_runner", "        pool.running.pop(ident, None)\n        pool.tell_waiting()", "        pool.running.pop(ident, None)", "every_schedule"),
    ("executor: shutdown does not wait for callbacks", "_pool", "            elif not self.is_busy():\n                break", "            else:\n                break", "waits_for_jobs_and_callbacks"),
    ("executor: shutdown in a job waits for itself", "_pool", "        if get_ident() in self.running:\n            raise RuntimeError(\"cannot join", "        if False:\n            raise RuntimeError(\"cannot join", "shutdown_in_a_job"),
    ("executor: a cancelled future keeps its call", "_future", "                self.cached_call.pop()\n            except IndexError:\n                return False", "                self.cached_call[0]\n            except IndexError:\n                return False", "cancelled or every_schedule"),
    ("executor: the frame keeps the call", "_runner", "        del call, context, fn, args, kwargs\n", "", "executor_references"),
    ("executor: the runner's frame is in the traceback", "_runner", "error.__traceback__ and error.__traceback__.tb_next", "error.__traceback__", "frame_of_ours"),
    ("executor: one context for all jobs", "_pool", "        return Context() if self.initializer is None else self.initialized.context.copy()", "        self.one = getattr(self, \"one\", None) or Context()\n        return self.one", "context"),
    ("executor: the initializer's context is not copied", "_pool", "self.initialized.context.copy()", "Context()", "context"),
    ("executor: the initializer is called each time", "_pool", "        if hasattr(self.initialized, \"context\"):", "        if False:", "initializer"),
    ("executor: waiters are not told of what shutdown cancels", "_pool", "                if future.set_running_or_notify_cancel():\n                    future.set_exception(error)", "                if error is not None:\n                    future.set_exception(error)", "shutdown_cancels"),
    ("executor: the child keeps the parent's jobs", "_pool", "        pool.reset()\n\n\nif", "        pass\n\n\nif", "fork"),
    ("executor: a job that forked is delivered in the child", "_runner", "            return  # race 7\n        self.resolving", "            pass\n        self.resolving", "fork"),
    ("executor: exit waits for nobody", "_exit", "                _finish(future, start + future.cached_pool.at_exit)", "            pass", "exit"),
    ("executor: a forked process of multiprocessing's waits for nobody", "_exit", "        util.register_after_fork(_at_exit", "        str(_at_exit); (lambda *_: None)(_at_exit", "multiprocessings"),
    ("executor: exit says nothing", "_exit", "            sys.stderr.write(", "            str(", "exit"),
    ("executor: exit does not run what nobody else can", "_pool", "            Runner(self).run_here()", "            pass", "exit or though_no_thread"),
    ("executor: exit forgets what jobs submit", "_pool", "        if Pool.exiting is not None and get_ident() in worker_idents:", "        if False:", "exit"),
    ("executor: race 1: whoever looks leaves no trace", "_future", "            future.cached_first.append(None)\n            if future.cached_first[0] is not None:", "            if future.cached_first and future.cached_first[0] is not None:", "executor_futures"),
    ("executor: race 1: who ends a future does not mind who has looked", "_future", "        outcome = first[0]\n", "        outcome = result, error\n", "executor_futures"),
    ("executor: race 1: whoever looks does not write what has been decided", "_future", "                future._settle()\n", "                pass\n", "executor_futures"),
    ("executor: race 2: what an interrupted cancel has taken is nobody's", "_future", "                left = self._state == \"PENDING\"  # race 2", "                left = False", "executor_futures and race_2"),
    ("executor: a result that somebody else has set is overwritten", "_future", "            if self._state == \"PENDING\":\n", "            if True:\n", "somebody_else_sets"),
    ("executor: whoever ends a future is struck and wakes nobody", "_future", "            self._wake(tells)\n            raise", "            raise", "executor_futures and struck"),
    ("executor: a claimed future is lost where its runner is struck", "_runner", "                self.line.appendleft(future)\n", "                pass\n", "claimed_future"),
    ("executor: any base is known", "_future", "        and _USED <= used <= _KNOWN\n", "", "the_shape"),
    ("executor: a timeout is spun through", "_future", "timeout <= pool.cache._longest_spin", "timeout <= 0", "shorter_than_a_spin"),
    ("executor: a spin is no longer than it is to be", "_mailbox.c", '"LONGEST", 1 + PROBE', '"LONGEST", 1', "outlasts"),
    ("executor: no timeout is spun for", "_future", "(timeout is not None and timeout <= pool.cache._longest_spin)", "timeout is not None", "shorter_than_a_spin"),
    ("executor: map ignores the buffer's size", "futures", "islice(calls, buffersize)", "calls", "map"),
    ("asyncio: results are looked at before the bell is back", "_inbox", "map(operator.call, (self._inbox.restore, self))", "map(operator.call, (lambda: self() is None, self._inbox.restore))", "race_1 or races_1"),
    ("asyncio: every result rings", "_inbox", "if not self.spinner.tell() and self.bell.pop(0, False):", "if not self.spinner.tell():", "test_asyncio_loops"),
    ("asyncio: a result is taken out before its future has it", "_inbox", "                future, token, outcome = results[0]\n", "                future, token, outcome = results.popleft()\n                results.appendleft((future, None, outcome))\n", "race_4_interrupted"),
    ("asyncio: cancelling does not have the loop look", "_inbox", "        loop.call_soon(Inbox.of(loop).answer, loop)  # race 4\n", "", "race_4_interrupted"),
    ("asyncio: a dropped ring is forgotten", "_inbox", "        if not self._answered:", "        if False:", "test_asyncio"),
    ("asyncio: a failed ring leaves the loop deaf", "_inbox", "                self._inbox.restore()  # the", "                pass  # the", "test_asyncio_interleavings"),
    ("asyncio: race 2: no look at the results before the spin", "_spinner", "hit = not results and default_cache._stand_by", "hit = default_cache._stand_by", "race_2"),
    ("asyncio: race 2: the look comes before the watching", "_spinner", "            self.watching.append(self.latch.put)\n            hit = not results and", "            empty = not results\n            self.watching.append(self.latch.put)\n            hit = empty and", "race_2"),
    ("asyncio: race 2: the next spin uses a latch into which somebody is about to put", "_spinner", "                    self.latch = default_cache._new_latch()  # somebody is about to put into the other one\n", "", "race_2"),
    ("asyncio: race 2: the loop watches when it has stopped spinning", "_spinner", "                    self.watching.pop()\n", "                    self.watching[0]\n", "races_1"),
    ("asyncio: nobody tells a loop that spins", "_spinner", "        if self.watching or not GIL:", "        if False:", "finds_the_loop_spinning"),
    ("asyncio: race 4: a look that is struck leaves the loop deaf", "_inbox", "        self.spinner.close()\n        self.restore()\n", "        self.spinner.close()\n", "race_4_interrupted"),
    ("asyncio: race 4: a loop that is struck while it spins goes on watching", "_spinner", "        self.watching.clear()\n", "", "interrupted_twice"),
    ("asyncio: race 4: the latch of a look that is struck is used again", "_spinner", "        self.latch = default_cache._new_latch()  # for who has been told to put into the other one\n", "", "look_that_spins"),
    ("asyncio: race 4: the bell is not back before the look", "_inbox", "map(operator.call, (self._inbox.restore, self))", "map(operator.call, (self,))", "race_4_interrupted"),
    ("asyncio: a loop with calls in flight does not look", "_inbox", "                if self.bell.pop(0, False):\n                    _Look(self, loop).come", "                if False:\n                    _Look(self, loop).come", "spun_in_vain"),
    ("asyncio: a loop without calls in flight looks", "_inbox", "if self._ready is None or self.in_flight <= 0:", "if self._ready is None:", "calls_in_flight or looked_in_vain"),
    ("asyncio: a loop spins though it has something else to do", "_inbox", "        if not self._ready:\n            if not self.spinner", "        if True:\n            if not self.spinner", "calls_in_flight or what_else"),
    ("asyncio: a loop that has spun in vain looks again", "_inbox", "            if not self.spinner.spin(self._results):\n                return False\n", "            self.spinner.spin(self._results)\n", "looked_in_vain or spun_in_vain"),
    ("asyncio: two looks keep the loop awake", "_inbox", "            elif self._is_last() and inbox.look(loop):", "            elif (self._is_last() or True) and inbox.look(loop):", "two_looks or interrupted_sleeps"),
    ("asyncio: a look without the bell puts it back", "_inbox", "                self._answered = True  # it has been rung again", "                self._answered = inbox.restore()  # it has been rung again", "leaves_it_to_the_ring"),
    ("asyncio: race 4: a second interrupt loses a result", "_inbox", "            self._first = True  # the loop lives\n", "", "makes_up_for_one"),
    ("asyncio: a call without a thread is in flight for ever", "asyncio", "        inbox.in_flight -= 1\n", "", "are_not_in_flight"),
    ("asyncio: a closed loop is an error in the worker", "_inbox", "if isinstance(error, RuntimeError) and self._loop.is_closed():", "if False:", "test_asyncio_loops"),
    ("asyncio: a call can be cancelled while its thread runs", "_inbox", "        return False\n\n\nclass Inbox", "        return super().cancel(msg)\n\n\nclass Inbox", "test_asyncio_cancellation"),
    ("asyncio: the token of a closed loop is released in the worker", "_inbox", "token.release_elsewhere()", "token.release()", "closed_loop_wakes and asyncio"),
    ("asyncio: the token is not released", "_inbox", "                    loop.call_soon(token.release)  # what it raises is the loop's to report", "                    pass", "test_asyncio_limiters"),
    ("asyncio: the token is lost where no thread starts", "asyncio", "        if token is not None:\n            token.release()\n        raise", "        raise", "without_a_thread_the_token"),
    ("asyncio: variables leak out", "asyncio", "partial(context.run, fn, *args)", "partial(fn, *args)", "test_asyncio_calls"),
    ("asyncio: an error leads back to itself", "asyncio", "    del fn, args, limiter, token, context, future, inbox\n", "", "g7_nothing_of_a_call"),
    ("asyncio: nested calls take a token of their own", "_tokens", "    if lender is None:\n        with", "    if True:\n        with", "test_asyncio_nesting and asyncio"),
    ("asyncio: nested calls take no turns", "_tokens", "self.turn = asyncio.Semaphore(1)", "self.turn = asyncio.Semaphore(9)", "test_asyncio_nesting and asyncio"),
    ("asyncio: a borrower does not inherit", "_tokens", "if self._ended and self._users == 1 and heir is not None:", "if False:", "test_asyncio_limiters and chain and asyncio"),
    ("asyncio: a row of ended tokens is kept", "_tokens", "if token is not None and token.outer is not None and token.outer._ended:", "if False:", "test_asyncio_limiters and chain and asyncio"),
    ("asyncio: a limiter that blocks is waited for", "_tokens", "type(limiter).__module__ in {", "type(limiter).__module__ in () and {", "would_block and asyncio"),
    ("install: the hook does not know default executors", "_stdlib", "if _call.borrowing is not None and not args", "if False and not args", "test_install_loops"),
    ("install: subclasses are replaced too", "_stdlib", "    if cls is ThreadPoolExecutor:", "    if True:", "test_install"),
    ("install: an import is not seen", "_switch", "        self._switch.imported()", "        pass", "test_switch"),
    ("install: users are not counted", "_switch", "if self._users.pop(user, None) is None or self._users:", "if self._users.pop(user, None) is None:", "test_install or test_switch"),
    ("trio: the shape is not checked", "trio", "    if missing:", "    if False:", "test_trio_switch"),
    ("anyio: the shape is not checked", "anyio", "    if missing:", "    if False:", "test_anyio_switch"),
    ("trio: a guest spins", "trio", "            waits.set(False)\n", "            pass\n", "test_trio_spin"),
    ("trio: a guest keeps its instrument", "trio", "                    trio.lowlevel.remove_instrument(ours)\n            waits", "                    pass\n            waits", "test_trio_spin"),
    ("trio: a result does not end the spin", "trio", "            self._spinner.tell()\n", "", "test_trio_spin"),
    ("trio: a run that has been told spins", "trio", "            self._ended.append(None)\n", "", "test_trio_spin"),
    ("trio: a run that has been told once never spins again", "trio", "        self._ended.clear()\n", "", "test_trio_spin"),
    ("trio: a run without calls in flight spins", "trio", "        if self._calls:\n", "        if True:\n", "test_trio_spin"),
    ("trio: a call that has ended is in flight", "trio", "            self._calls.pop(call, None)\n            self._spinner", "            self._spinner", "test_trio_spin"),
    ("trio: a call that fails to start is in flight", "trio", "        except BaseException:\n            self._calls.pop(call, None)  # which has nevertheless begun, maybe, and even ended\n            raise", "        except ZeroDivisionError:\n            raise", "test_trio_spin"),
    ("trio: a deadline is spun through", "trio", "if timeout > default_cache._longest_spin:", "if timeout > 0:", "test_trio_spin"),
    ("trio: the instrument stays", "trio", "                self._go(self)", "                pass", "test_trio_spin"),
    ("trio: the instrument goes for ever", "trio", "        waits.set(None)\n", "", "test_trio_spin"),
    ("trio: each idle turn counts", "trio", "        call = object()\n        self._idle_turns = 0\n", "        call = object()\n", "test_trio_spin"),
    ("trio: bad calls are found out in the worker", "trio", "if ours is not None and callable(deliver):", "if ours is not None:", "test_trio_spin"),
    ("trio: an instrument where nobody spins", "trio", "_spinning(start) if default_cache._spins else start", "_spinning(start)", "test_trio_spin"),
    ("quick: what strikes a job in C strikes deliver", "_quick_run.h", "    if (result != NULL && be_struck(quick) < 0) {", "    if (0) {", "test_quick"),
    ("quick: what strikes as fn is let go strikes deliver", "_quick_run.h", "        if (be_struck(quick) < 0) {", "        if (0) {", "test_quick"),
    ("quick: who hears of an error does not have it in hand", "_quick_run.h", "    PyErr_SetHandledException(error);\n", "", "test_quick"),
    ("quick: an error stays in hand", "_quick_run.h", "    PyErr_SetHandledException(before);\n", "", "test_quick"),
    ("quick: a cache from which something is missing", "_quick.h", "        !is_whole(quick, cache) || !PyCallable", "        !PyCallable", "test_quick"),
    ("quick: it is never used", "_cache", "            self._quick_start, self._quick_run = quick.start, quick.run\n", "            pass\n", "test_quick"),
    ("quick: it is used in debug mode", "_cache", "if quick is not None and _new_mailbox is Mailbox and not self._debug:", "if quick is not None and _new_mailbox is Mailbox:", "test_quick"),
    ("quick: outcomes of another shape", "_cache", "if new_value is Value or None", "if None", "test_quick"),
    ("quick: hooks of threading that are not known are looked for", "_cache", " or None in HOOK_NAMES:", ":", "test_quick"),
    ("quick: hooks of threading of another shape are looked for", "_threads", "code.co_code != simple.co_code", "False", "test_quick"),
    ("quick: another module's hooks are looked for", "_threads", " or get.__globals__ is not vars(threading)", "", "test_quick"),
    ("quick: G1 fn is not checked", "_quick.h", "!PyCallable_Check(fn) || ", "", "g1_bad or test_quick"),
    ("quick: G1 deliver is not checked", "_quick.h", "!PyCallable_Check(deliver) ||\n", "\n", "g1_bad or test_quick"),
    ("quick: G1 a name keeps methods of its own", "_quick.h", "PyUnicode_CheckExact(name)", "PyUnicode_Check(name)", "g1_a_names or test_quick"),
    ("quick: G3 finalizers run between the wake-up and the job", "_quick.h", "    if (job != NULL) {\n        appended =", "    if (job != NULL) {\n        (void)call_idle(quick, cache);\n        appended =", "test_quick"),
    ("quick: G3 nobody is woken", "_quick.h", "    int coming = is_coming(quick, cache);\n    if (coming == 0) {\n        coming = call_idle(quick, cache);\n    }", "    int coming = 1;", "g1_fn or g4"),
    ("quick: G3 a delivering worker is on its way", "_quick.h", "            coming = delivering < 0 ? -1 : !delivering;", "            coming = delivering < 0 ? -1 : 1;", "blocking_deliver or g5_a_spinner or test_quick"),
    ("quick: G3 a worker that runs a finalizer is on its way", "_quick.h", "PyLong_AsUnsignedLongMask(ident) != PyThread_get_thread_ident()", "1", "test_quick"),
    ("quick: G3 no successor is woken", "_quick_run.h", "length(line) == 0 || see_to_the_next(quick, cache) == 0", "1 || see_to_the_next(quick, cache) == 0", "g3"),
    ("quick: G3 what is left is not said", "_quick_run.h", "    put_in(quick, cache, CACHE__left, Py_True);\n", "", "test_quick"),
    ("quick: G3 a put that is to come is not waited for", "_quick_run.h", "        if (!is_full(mailbox)) {\n            return 0;\n        }\n", "", "test_quick"),
    ("quick: G5 a worker helps itself to what deliver led to", "_quick_run.h", "        if (!*more) {\n            return 0;\n        }\n", "", "g5_one_worker or test_quick"),
    ("quick: G5 deliver before idle", "_quick_run.h", "        if (PyDict_SetItem(PART(cache, CACHE__idle), worker, PART(worker, WORKER_mailbox)) < 0) {", "        if (0) {", "g5"),
    ("quick: G7 fn is kept until it is delivered", "_quick_run.h", "    put_in(quick, worker, WORKER_running, Py_None);\n", "", "g7 or g16"),
    ("quick: G7 the job leaks", "_quick_run.h", "    put_in(quick, worker, WORKER_running, Py_None);\n    Py_DECREF(job);\n", "    put_in(quick, worker, WORKER_running, Py_None);\n", "g7"),
    ("quick: G7 the outcome leaks", "_quick_run.h", "    Py_XDECREF(outcome);\n    Py_DECREF(deliver);\n", "    Py_DECREF(deliver);\n", "g7"),
    ("quick: G8 a deliver that raises is not counted", "_quick_run.h", "            count(quick, PART(worker, WORKER_tally), TALLY_deliver_errors);\n", "", "g8 or g16"),
    ("quick: G11 a forked child delivers", "_quick_run.h", "    int more = 0, home = is_at_home(quick, worker);", "    int more = 0, home = 1;", "g11"),
    ("quick: G12 jobs are accepted when no thread runs any more", "_quick.h", "    if (is_finalizing() || quick", "    if (quick", "g12"),
    ("quick: G13 one context for all jobs", "_quick_run.h", "    PyObject *context = PyContext_New();", "    static PyObject *context;\n    context = context ? Py_NewRef(context) : PyContext_New();\n    Py_XINCREF(context);", "g13"),
    ("quick: G14 a name is ignored", "_quick_run.h", "PyTuple_GET_ITEM(PART(worker, WORKER_job), 3) != Py_None) {", "0) {", "g14 or test_quick"),
    ("quick: G16 jobs are not counted", "_quick_run.h", "        count(quick, PART(worker, WORKER_tally), TALLY_jobs);\n", "", "g16 or test_quick"),
    ("quick: G16 what runs is not shown", "_quick_run.h", "        put_in(quick, worker, WORKER_running, running);\n", "", "g16"),
    ("quick: G16 who is to retire goes on", "_quick_run.h", "        if (retiring != 0) {", "        if (0) {", "test_quick"),
    ("quick: G3 who claims nothing after all is not listed any more", "_quick_run.h", "        return PyDict_SetItem(idle, worker, (PyObject *)mailbox);", "        return 0;", "test_quick"),
    ("quick: G1 a claimed job is refused", "_quick.h", "        if (refused) { /* somebody", "        if (0) { /* somebody", "test_quick"),
    ("quick: G10 a job stays in the line though a thread was not started", "_quick.h", "\"remove\", \"(O)\", job", "\"count\", \"(O)\", job", "test_quick"),
    ("quick: trace functions set late are not seen", "_quick_run.h", "        if (!known) {\n            break;", "        if (!known && 0) {\n            break;", "trace"),
    ("quick: the interpreter has no look", "_quick_run.h", "jobs < STROKE", "1", "test_quick"),
    ("quick: a class without the slots is taken", "_quick.h", "        if (!is_slot) {", "        if (0) {", "test_quick"),
    ("anyio: the result comes before the worker is idle", "anyio", "        self.loop = self._late  # who", "        pass  # who", "test_anyio"),
    ("anyio: threads have another name", "anyio", "thread.name = thread.name, _THREAD_NAME", "thread.name = thread.name, thread.name", "test_anyio"),
    ("run: the program inherits the runner's future", "_run", "dont_inherit=True", "dont_inherit=False", "test_run"),
    ("run: our frames are shown", "_run", "        while traceback is not None and _is_above(traceback.tb_frame, code):", "        while False:", "test_run"),
    ("run: the script's folder is not on the path", "_run", "    _set_path(os.path.dirname(os.path.realpath(path)))\n", "", "test_run"),
    ("report: idle threads are not reused by the rule", "_rules", "        if self._idle:\n            self._idle -= 1", "        if False:\n            self._idle -= 1", "test_report"),
    ("report: a running job is idle", "_watch", "        thread.job = job\n\n", "\n", "test_report"),
    ("report: a child of a fork reports too", "_watch", "        if os.getpid() != self._pid:", "        if False:", "test_report"),
    ("mailbox: a second put is no error", "_mailbox.c", "    if (word == FULL) {\n        PyErr", "    if (0) {\n        PyErr", "second_put"),
    ("mailbox: a put wakes nobody", "_mailbox.c", "    if (word == PARKED) {\n        PyThread_release_lock", "    if (0) {\n        PyThread_release_lock", "ping_pong"),
    ("mailbox: giving up loses a token", "_mailbox.c", "        if (atomic_compare_exchange_strong_explicit(&self->word, &word, EMPTY, memory_order_acq_rel,\n                                                    memory_order_relaxed)) {", "        if (atomic_exchange(&self->word, EMPTY) >= 0) {", "time_out_is_not_lost"),
    ("mailbox: parking loses a token", "_mailbox.c", "    if (!atomic_compare_exchange_strong_explicit(&self->word, &word, PARKED, memory_order_acq_rel,\n                                                 memory_order_relaxed)) {", "    if (atomic_exchange(&self->word, PARKED) > PARKED) {", "ping_pong or time_out_is_not_lost"),
    ("mailbox: the lock stays open after a late put", "_mailbox.c", "        PyThread_acquire_lock(self->lock, WAIT_LOCK);\n    }\n    assert(is_full", "    }\n    assert(is_full", "time_out_is_not_lost"),
    ("mailbox: a signal ends the wait", "_mailbox.c", "return got == PY_LOCK_INTR ? -1 : 0;", "return 0;", "signal_handler"),
    ("mailbox: what a handler raises is forgotten", "_mailbox.c", "        /* A signal may have come. If its handler raises, the token stays where it is. */\n        if (PyErr_CheckSignals() < 0) {", "        if (PyErr_CheckSignals() < 0 && (PyErr_Clear(), 0)) {", "signal_handler"),
    ("mailbox: a signal during the spin is slept through", "_mailbox.c", "if (result < 0 && !(spins && self->shared)) {", "if (result < 0) {", "during_the_spin"),
    ("mailbox: an endless wait ends", "_mailbox.c", "wait < 0 ? -1 : left", "wait < 0 ? 1000 : left", "waits_that_are_as_good"),
    ("mailbox: a signal starts the wait anew", "_mailbox.c", "wait - (now() - start)", "wait", "do_not_prolong"),
    ("mailbox: a NaN is a timeout", "_mailbox.c", "!(seconds >= 0) && seconds != -1", "seconds < 0 && seconds != -1", "impossible_waits"),
    ("mailbox: there is no spin", "_spin.h", "    return skip == 0;", "    return 0;", "test_mailbox_native"),
    ("mailbox: it always spins", "_spin.h", "    return skip == 0;", "    return 1;", "test_mailbox_native"),
    ("mailbox: a spin of no time", "_spin.h", "    if (self->spin == 0) {", "    if (0) {", "without_a_spin or does_not_count"),
    ("mailbox: one core spins", "_spin.h", "    if (state->single_core) {", "    if (0) {", "one_core"),
    ("mailbox: a spinner keeps its place", "_spin.h", "memory_order_relaxed)) == me &&\n", "memory_order_relaxed)) != 0 &&\n", "one_thread_spins"),
    ("mailbox: who is displaced has missed", "_spin.h", "    if (full || !displaced) {", "    if (1) {", "has_not_missed"),
    ("mailbox: any spinner takes any other's place", "_spin.h", "        if ((newest & RANK) > rank) {", "        if (0) {", "not_displaced"),
    ("mailbox: a worker without work is as good as one at the end of it", "_spin.h", "self->shared ? 2 : brief ? 1 : 0", "self->shared ? 2 : 0", "not_displaced"),
    ("mailbox: who waits for work is as good as who waits for a result", "_spin.h", "self->shared ? 2 : brief ? 1 : 0", "brief ? 1 : 0", "not_displaced"),
    ("mailbox: who has stopped spinning keeps the place", "_spin.h", "    if (!displaced) {\n", "    if (0) {\n", "not_displaced"),
    ("mailbox: a thread of the parent's spins in the child", "_mailbox.c", "    atomic_store_explicit(&state->spinner, 0, memory_order_relaxed); /* it", "    (void)0; /* it", "forked_process_nobody"),
    ("mailbox: misses do not add up", "_spin.h", "get(&backoff->missed) * 2 + 1;", "get(&backoff->missed) * 0 + 1;", "each_miss"),
    ("mailbox: misses add up for ever", "_spin.h", "missed < MOST_SKIPPED ? missed : MOST_SKIPPED", "missed", "each_miss"),
    ("mailbox: misses add up for longer", "_spin.h", "#define MOST_SKIPPED 255", "#define MOST_SKIPPED 511", "each_miss"),
    ("mailbox: a probe is no longer than other spins", "_spin.h", "end = probes ? time + (1 + PROBE) * self->spin : late;", "end = late;", "outlasts"),
    ("mailbox: a spin in a conversation is no longer", "_spin.h", "        usual += TALK * self->spin;\n", "", "are_longer or outlasts"),
    ("mailbox: a conversation never ends", "_spin.h", "        set(&backoff->talks, talks - 1);\n", "", "are_longer"),
    ("mailbox: one spin is a conversation", "_spin.h", "set(&backoffs[!self->shared].talks, TALKS)", "set(&backoffs[self->shared].talks, TALKS)", "are_longer or outlasts"),
    ("mailbox: a late hit ends the misses", "_spin.h", "        if (!late) {", "        if (1) {", "outlasts"),
    ("mailbox: a late hit is not trusted", "_spin.h", "        set(&backoffs[shared].trusts, late);\n", "", "outlasts"),
    ("mailbox: a late hit is trusted for ever", "_spin.h", "        set(&backoff->skip, missed);\n        set(&backoff->trusts, 0);\n", "        set(&backoff->skip, missed);\n", "outlasts"),
    ("mailbox: a hit of one kind is none of the other's", "_spin.h", "for (int shared = 0; hit && shared < 2; shared++) {", "for (int shared = self->shared; hit && shared <= self->shared; shared++) {", "outlasts or a_hit_ends"),
    ("mailbox: a spinner takes its token without the GIL", "_mailbox.c", "        result = spins && spin(self, wait == 0) ? 1 : wait == 0 ? 0 : -1;", "        if (spins && spin(self, wait == 0)) { take(self); atomic_store(&self->word, EMPTY); result = 0; } else { result = wait == 0 ? 0 : -1; }", "has_the_gil or keeps_its_token"),
    ("mailbox: a spin ends before the GIL is back", "_mailbox.c", "        Py_END_ALLOW_THREADS\n        atomic_exchange_explicit(&self->spins, 0, memory_order_acq_rel);\n", "        atomic_exchange_explicit(&self->spins, 0, memory_order_acq_rel);\n        Py_END_ALLOW_THREADS\n", "has_the_gil"),
    ("mailbox: a spin never ends", "_mailbox.c", "        Py_END_ALLOW_THREADS\n        atomic_exchange_explicit(&self->spins, 0, memory_order_acq_rel);\n", "        Py_END_ALLOW_THREADS\n", "has_the_gil"),
    ("mailbox: nobody is seen to spin", "_mailbox.c", "        atomic_exchange_explicit(&self->spins, 1, memory_order_acq_rel);\n", "", "has_the_gil"),
    ("mailbox: a hit does not end the back-off", "_spin.h", "            set(&backoffs[shared].missed, 0);\n", "            ;\n", "a_hit_ends or outlasts"),
    ("mailbox: a hit ends no row of waits without a spin", "_spin.h", "        set(&backoffs[shared].skip, 0);\n", "", "a_hit_of_one_kind"),
    ("mailbox: all learn together", "_spin.h", "Backoff *backoff = &self->state->backoffs[self->shared];\n    unsigned skip", "Backoff *backoff = &self->state->backoffs[0];\n    unsigned skip", "learn_apart"),
    ("mailbox: its lock leaks", "_mailbox.c", "        PyThread_free_lock(self->lock);\n", "", "leaks_neither or not_grow"),
    ("mailbox: its type leaks", "_mailbox.c", "    Py_DECREF(type);\n}", "}", "leaks_neither or imported_anew"),
    ("mailbox: there is one interpreter", "_mailbox.c", "Py_MOD_PER_INTERPRETER_GIL_SUPPORTED", "Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED", "interpreters"),
    ("mailbox: a second put into the pure one is no error", "_mailbox", "self.put = lock.release", "self.put = lambda: lock.locked() and lock.release()", "second_put"),
]  # fmt: skip


def build(folder: Path) -> None:
    """Build the native mailbox there, in place."""
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(TESTS.parent / name, folder)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
    subprocess.run(
        command, cwd=folder, env={**os.environ, "THREADCACHE_BUILD": "require"}, check=True, capture_output=True
    )


def survives(whole: Path, file: str, text: str, instead: str, tests: str) -> bool | None:
    """Whether the tests pass with the code broken; None if the text to break is not there. `whole` is what is broken."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "src")
        shutil.copytree(whole, copy)
        path = copy / "threadcache" / (file if file.endswith((".c", ".h")) else f"{file}.py")
        source = path.read_text()
        if source.count(text) != 1:
            return None
        path.write_text(source.replace(text, instead))
        if file.endswith((".c", ".h")):
            build(Path(folder))
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "--timeout=60", "-k", tests]
        command += [str(file) for file in TESTS.glob("test_*.py") if "example" not in file.name]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=SECONDS, check=False, text=True
            )
        except subprocess.TimeoutExpired:
            return False
        assert done.returncode != 5, f"no such tests: {tests}"
        assert "ERROR collecting" not in done.stdout, f"that says nothing: {done.stdout}"
        return done.returncode == 0


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant[0] for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "src")
        shutil.copytree(SOURCE, whole)
        build(Path(folder))  # or what is written in Python would be tested with the pure mailbox alone
        for what, *mutant in chosen:
            verdict = {True: "SURVIVES", False: "noticed", None: "NOT FOUND in the source"}[survives(whole, *mutant)]
            bad += verdict != "noticed"
            print(f"{verdict:9} {what}", flush=True)
    print(f"{len(chosen)} mutants, {bad} to look at")
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
