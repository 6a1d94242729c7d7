"""A program of `tests/clients`: other people's client library, used in its own language, with checks of its own.

The program is given the servers as its first word. It writes a line for each check, `passed NAME` or
`failed NAME: reason`, and `finished` at its end. When something shall happen to the servers it writes `please REQUEST`
and reads a line, `done`. The requests are

    kill HOST:PORT          kill -9 of the server that listens for clients there
    kill server of 0xID     kill -9 of the server that this session is connected to
    kill leader             kill -9 of the leader; done when the others have their next one
    start all               starts what was killed; done when all serve
"""

from .conversation import Conversation
from .wait import DeadlineExceeded

STEP_DEADLINE_S = 90


def run(argv, ensemble, env=None, cwd=None, not_offered=()):
    """Runs the program to its end. Gives the names of the checks that passed; fails with all that did not.

    `not_offered` are the names of checks that must fail, because they ask Zabra for what it has not: a name is taken
    away when Zabra has it."""
    passed, failed = [], []
    with Conversation(argv, env=env, cwd=cwd) as program:
        try:
            _follow(program, ensemble, passed, failed)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"passed {passed}, failed {failed}, then {error}\n{ensemble.log_tails()}") from None
        code = program.exit_code()
        talk = "\n".join(program.lines[-60:])
    missing = set(not_offered) if ensemble.flavour.is_zabra else set()
    wrong = [failure for failure in failed if failure.partition(":")[0] not in missing]
    assert not wrong, "\n".join(wrong) + f"\n--- its output\n{talk}\n{ensemble.log_tails()}"
    ensemble.assert_healthy()
    assert not missing.intersection(passed), f"it is there now: {missing.intersection(passed)}"
    assert code == (1 if failed else 0), f"the program ended with {code}:\n{talk}"
    assert passed, f"the program checked nothing:\n{talk}"
    return passed


def _follow(program, ensemble, passed, failed):
    while True:
        word, rest = program.hear(r"^(passed|failed|please|finished)\b ?(.*)$", STEP_DEADLINE_S).groups()
        if word == "finished":
            return
        if word == "please":
            _fulfil(rest, ensemble)
            program.say("done")
        else:
            (passed if word == "passed" else failed).append(rest)


def _fulfil(request, ensemble):
    verb, _, what = request.partition(" ")
    if request == "start all":
        ensemble.start()
    elif request == "kill leader":
        ensemble.leader().kill()
        others = [server for server in ensemble.servers if server.alive()]
        ensemble.leader(among=others)
    elif what.startswith("server of 0x"):
        session = f"sid={what.rpartition(' ')[2]},"
        next(server for server in ensemble.servers if session in (server.word("cons") or "")).kill()
    elif verb == "kill":
        next(server for server in ensemble.servers if server.hostport == what).kill()
    else:
        raise ValueError(f"the program asks for {request!r}")
