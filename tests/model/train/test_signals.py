import signal
import threading

import pytest

from model.train.signals import ENDING, deferred_signals


class Taken(Exception):
    pass


@pytest.fixture(autouse=True)
def _taken():
    def take(signum, _):
        raise Taken(signum)

    before = {signum: signal.signal(signum, take) for signum in ENDING}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_waits_inside_and_is_not_lost(signum):
    done = []

    def work():
        with deferred_signals() as request:
            signal.raise_signal(signum)
            done.append(request.signum)

    with pytest.raises(Taken):
        work()
    assert done == [signum]


def test_a_heeded_signal_is_over():
    with deferred_signals() as request:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        request.is_handled = True
    assert request.signum == signal.SIGTERM  # the first one counts


def test_handlers_are_as_before_also_after_an_error():
    before = [signal.getsignal(signum) for signum in ENDING]
    with pytest.raises(ZeroDivisionError), deferred_signals():
        1 / 0  # noqa: B018
    assert [signal.getsignal(signum) for signum in ENDING] == before


def test_without_a_place_to_stop_signals_do_what_they_do():
    with deferred_signals(active=False), pytest.raises(Taken):
        signal.raise_signal(signal.SIGTERM)


def test_other_threads_leave_handlers_alone():
    seen = []

    def work():
        with deferred_signals():
            seen.extend(signal.getsignal(signum) for signum in ENDING)

    before = [signal.getsignal(signum) for signum in ENDING]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
