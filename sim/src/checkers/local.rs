//! A local session is known to the process of the server that opened it and to nobody else: it goes on there and nowhere
//! else, for as long as its client is heard of; nothing of it is done that was asked for behind its end, or behind the
//! answer that it has ended; and it becomes one of the ensemble by a request of its own that wants an ephemeral, and not
//! otherwise. From then on it is judged as any other.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, SessionId, Zxid};
use zabra::jute::{ErrorCode, Response};
use zabra::replica::LocalConfig;

use super::{Verdict, unless};
use crate::history::{Entry, Moment};
use crate::model::{Model, Standing};
use crate::op::Op;

pub const NAME: &str = "local sessions";

/// A server's clock may go too fast by so much, percent.
const DRIFT_PERCENT: u64 = 10;

#[derive(Debug)]
struct Local {
    server: ServerId,
    /// the process that opened it is gone
    is_lost: bool,
    timeout_ms: u64,
    /// when its server heard of its client last
    touched: u64,
    /// when its client asked for its end, if that came to its server
    leaves: Option<Moment>,
    /// at which zxid the client was told of it
    left: Option<Zxid>,
    /// its client asked for an ephemeral, likewise
    wants_more: bool,
}

/// Why a local session is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Elsewhere,
    ProcessEnded,
    /// its client wanted it, or wanted more, and lost the connection
    OutcomeLost,
    Silent,
}

#[derive(Default)]
pub struct Locals {
    config: LocalConfig,
    sessions: BTreeMap<SessionId, Local>,
}

impl Locals {
    /// Under the keys that all servers have.
    pub fn new(config: LocalConfig) -> Locals {
        Locals { config, ..Locals::default() }
    }

    /// A server opens a session that no transaction opened, or goes on with it. Returns whether it is new.
    pub fn connected(
        &mut self,
        session: SessionId,
        server: ServerId,
        now: u64,
        timeout_ms: u64,
    ) -> Result<bool, String> {
        unless(self.config.enabled, || format!("nobody opened session {session}"))?;
        let Some(local) = self.sessions.get_mut(&session) else {
            let local = Local {
                server,
                is_lost: false,
                timeout_ms,
                touched: now,
                leaves: None,
                left: None,
                wants_more: false,
            };
            self.sessions.insert(session, local);
            return Ok(true);
        };
        let is_known_there = local.server == server && !local.is_lost && local.leaves.is_none();
        unless(is_known_there, || format!("server {server} goes on with session {session}: {local:?}"))?;
        local.touched = now;
        Ok(false)
    }

    /// A server hears of a session's client.
    pub fn touched(&mut self, session: SessionId, now: u64) {
        if let Some(local) = self.sessions.get_mut(&session) {
            local.touched = now;
        }
    }

    /// The process of a server ends.
    pub fn stops(&mut self, server: ServerId) {
        let here = self.sessions.values_mut().filter(|local| local.server == server);
        here.for_each(|local| local.is_lost = true);
    }

    /// What the client of a session asks for comes to its server. Of what the server never saw it knows nothing.
    pub fn asks(&mut self, session: SessionId, op: &Op, moment: Moment) {
        let Some(local) = self.sessions.get_mut(&session) else { return };
        local.wants_more |= op.wants_ephemeral();
        if *op == Op::Close {
            local.leaves.get_or_insert(moment);
        }
    }

    /// The client is told, at this zxid, that its session has ended as it wanted.
    pub fn left(&mut self, session: SessionId, zxid: Zxid) {
        if let Some(local) = self.sessions.get_mut(&session) {
            local.left = Some(zxid);
        }
    }

    /// True if a request was sent behind the one for the end of its session.
    pub fn is_behind_the_end(&self, entry: &Entry) -> bool {
        let leaves = self.sessions.get(&entry.session).and_then(|local| local.leaves);
        leaves.is_some_and(|leaves| entry.invoked > leaves)
    }

    /// Something that a client asked for is decided at `zxid`, while the ensemble does not know its session.
    pub fn decided(&self, entry: &Entry, zxid: Zxid) -> Verdict {
        let (session, op) = (entry.session, &entry.op);
        unless(!self.is_behind_the_end(entry), || format!("{op} at {zxid} is behind the end of {session}"))?;
        let left = self.sessions.get(&session).and_then(|local| local.left);
        unless(left.is_none_or(|left| zxid < left), || {
            format!("{op} at {zxid} is of session {session}, which has ended by {left:?}")
        })?;
        unless(!(self.config.upgrading && op.wants_ephemeral()), || {
            format!("{op} at {zxid} is of session {session}, which is not one of the ensemble")
        })
    }

    /// At `zxid` a session becomes one of the ensemble; of a local one, by which request.
    pub fn opened(&self, session: SessionId, zxid: Zxid, by: Option<&Entry>) -> Verdict {
        if !self.sessions.contains_key(&session) {
            return Ok(());
        }
        let by = by.filter(|entry| self.config.upgrading && entry.op.wants_ephemeral());
        let Some(entry) = by else {
            return Err(format!("local session {session} is opened at {zxid}, for no ephemeral"));
        };
        unless(!self.is_behind_the_end(entry), || {
            format!("session {session} is opened at {zxid} by {}, behind its end", entry.op)
        })
    }

    /// A server tells the client of a session, unknown to the ensemble, that it is over.
    pub fn expired(&self, session: SessionId, server: ServerId, now: u64) -> Result<Option<Over>, String> {
        let Some(local) = self.sessions.get(&session) else { return Ok(None) };
        let passed_ms = (now.saturating_sub(local.touched) * (100 + DRIFT_PERCENT)).div_ceil(100);
        Ok(Some(match local {
            _ if local.server != server => Over::Elsewhere,
            _ if local.is_lost => Over::ProcessEnded,
            _ if passed_ms >= local.timeout_ms => Over::Silent,
            _ if local.leaves.is_some() || local.wants_more => Over::OutcomeLost,
            _ => return Err(format!("session {session} is said to be over at {now}: {local:?}")),
        }))
    }
}

/// A server at `at` goes on by itself with a session; if it was one of the ensemble, that may be over.
pub fn is_not_over(session: SessionId, at: Zxid, is_over: bool) -> Verdict {
    unless(!is_over, || format!("session {session} goes on at {at}, but as one of the ensemble it is over"))
}

/// The end of a session is answered at `zxid`, and there is no transaction: only of a local one, to which nothing belongs.
pub fn may_leave(entry: &Entry, zxid: Zxid, result: &Result<Response, ErrorCode>, model: &Model) -> Verdict {
    let standing = model.standing(entry.session, zxid);
    let is_right = *result == Ok(Response::Empty) && model.holds(zxid) && standing == Standing::Local;
    unless(is_right, || {
        format!("the end of session {}, {standing:?}, is answered at {zxid} with {result:?}", entry.session)
    })
}

#[cfg(test)]
mod tests {
    use zabra::jute::CreateMode;

    use super::*;
    use crate::history::{Asker, History};

    const SESSION: SessionId = SessionId(1);
    const HOME: ServerId = ServerId(1);

    fn locals() -> Locals {
        let config = LocalConfig { enabled: true, upgrading: true, ..LocalConfig::default() };
        let mut locals = Locals::new(config);
        assert_eq!(locals.connected(SESSION, HOME, 100, 500), Ok(true));
        locals
    }

    fn asked(locals: &mut Locals, ops: impl IntoIterator<Item = Op>) -> Vec<Entry> {
        let mut history = History::default();
        for op in ops {
            let asker = Asker { client: 0, conn: 1, session: SESSION, xid: 1, now_ms: 0 };
            let id = history.invoke(asker, op);
            let entry = &history.entries[id];
            locals.asks(SESSION, &entry.op, entry.invoked);
        }
        history.entries
    }

    fn ephemeral() -> Op {
        Op::make("/e", "", CreateMode::Ephemeral)
    }

    #[test]
    fn it_goes_on_with_the_process_that_opened_it_and_nowhere_else() {
        let mut locals = locals();
        assert_eq!(locals.connected(SESSION, HOME, 200, 500), Ok(false));
        locals.connected(SESSION, ServerId(2), 200, 500).expect_err("another server");
        locals.stops(ServerId(2));
        assert_eq!(locals.connected(SESSION, HOME, 200, 500), Ok(false));
        locals.stops(HOME);
        locals.connected(SESSION, HOME, 200, 500).expect_err("another process");
        Locals::default().connected(SESSION, HOME, 0, 500).expect_err("there are none");
    }

    #[test]
    fn it_ends_for_a_reason() {
        let mut locals = locals();
        locals.expired(SESSION, HOME, 500).expect_err("it was heard of");
        assert_eq!(locals.expired(SESSION, HOME, 600), Ok(Some(Over::Silent)));
        assert_eq!(locals.expired(SESSION, ServerId(2), 200), Ok(Some(Over::Elsewhere)));
        locals.touched(SESSION, 500);
        locals.expired(SESSION, HOME, 600).expect_err("it was heard of again");
        asked(&mut locals, [Op::Close]);
        assert_eq!(locals.expired(SESSION, HOME, 600), Ok(Some(Over::OutcomeLost)));
        locals.connected(SESSION, HOME, 600, 500).expect_err("its client wanted its end");
        locals.stops(HOME);
        assert_eq!(locals.expired(SESSION, HOME, 600), Ok(Some(Over::ProcessEnded)));
        assert_eq!(locals.expired(SessionId(2), HOME, 600), Ok(None));
    }

    #[test]
    fn nothing_is_behind_its_end_and_only_an_ephemeral_makes_it_global() {
        let mut locals = locals();
        let entries = asked(&mut locals, [Op::set("/a", ""), ephemeral(), Op::Close, ephemeral()]);
        let [set, wants, _, behind] = &entries[..] else { panic!("four") };
        assert_eq!(locals.decided(set, Zxid(5)), Ok(()));
        locals.decided(wants, Zxid(5)).expect_err("without the ensemble knowing its session");
        locals.decided(behind, Zxid(5)).expect_err("behind the end");
        assert_eq!(locals.opened(SESSION, Zxid(5), Some(wants)), Ok(()));
        locals.opened(SESSION, Zxid(5), Some(behind)).expect_err("behind the end");
        locals.opened(SESSION, Zxid(5), Some(set)).expect_err("no ephemeral");
        locals.opened(SESSION, Zxid(5), None).expect_err("nobody asked");
        assert_eq!(locals.opened(SessionId(2), Zxid(5), None), Ok(()));
        locals.left(SESSION, Zxid(7));
        assert_eq!(locals.decided(set, Zxid(6)), Ok(()));
        locals.decided(set, Zxid(8)).expect_err("its client was told");
    }
}
