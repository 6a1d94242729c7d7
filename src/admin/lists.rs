//! The words that list something: connections, sessions, ephemerals, watches, digests.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use super::text::Text;
use crate::ids::{ConnId, SessionId, Tick, Xid, Zxid};
use crate::jute::OpCode;
use crate::replica::State;
use crate::session::Expiry;
use crate::watch::{WatchCounts, Watches};

/// What a server holds that can be listed.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    /// znodes and sessions
    pub state: &'a State,
    /// of the clients of this server
    pub watches: &'a Watches,
    /// when sessions expire, which only a leader knows, with the time at which that is asked
    pub expiry: Option<(&'a Expiry, Tick)>,
    /// the same of sessions that only this server knows; `None` if there are none such
    pub local_expiry: Option<(&'a Expiry, Tick)>,
    /// the digests of the newest states, oldest first
    pub digests: &'a dyn Fn() -> Vec<(Zxid, u64)>,
    /// the session on a connection of this server
    pub session_of: &'a dyn Fn(ConnId) -> Option<SessionId>,
}

impl fmt::Debug for Lists<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lists of {:?}", self.state)
    }
}

/// A client of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLine {
    /// its end of the connection
    pub peer: SocketAddr,
    /// requests that wait for the core
    pub queued: u64,
    /// packets from it
    pub received: u64,
    /// packets to it
    pub sent: u64,
    /// once it has one
    pub session: Option<ClientSession>,
}

/// What is known of a client that has a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// its number
    pub id: SessionId,
    /// it expires after so much silence, ms
    pub timeout_ms: u32,
    /// when the connection was made, ms since 1970
    pub established_ms: i64,
    /// the code of the last operation it asked for; 0 before the first
    pub last_op: i32,
    /// the client's number for that
    pub last_xid: Xid,
    /// of the newest state it was shown
    pub last_zxid: Zxid,
    /// when it was last answered, ms since 1970; 0 before that
    pub last_response_ms: i64,
    /// from a request to its answer, whole milliseconds: the last one, the shortest, the mean, the longest
    pub latency_ms: [u64; 4],
    /// how long it may still be silent before its connection is closed, ms
    pub left_ms: u64,
}

impl ClientLine {
    /// As in `stat`.
    pub(super) fn write_brief(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let ClientLine { peer, queued, received, sent, .. } = self;
        write!(out, " /{peer}[1](queued={queued},recved={received},sent={sent}")
    }

    fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.write_brief(out)?;
        if let Some(session) = &self.session {
            write!(out, ",sid={:#x},lop={}", session.id.0, op_name(session.last_op))?;
            write!(out, ",est={},to={}", session.established_ms, session.timeout_ms)?;
            if session.last_op != 0 {
                write!(out, ",lcxid={:#x}", session.last_xid)?;
            }
            let [last, min, mean, max] = session.latency_ms;
            write!(out, ",lzxid={:#x},lresp={}", session.last_zxid.0, session.last_response_ms)?;
            write!(out, ",llat={last},minlat={min},avglat={mean},maxlat={max}")?;
        }
        write!(out, ")")
    }
}

/// The names by which ZooKeeper's `cons` calls operations.
fn op_name(op: i32) -> &'static str {
    match OpCode::try_from(op) {
        Ok(OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => "CREA",
        Ok(OpCode::Delete) => "DELE",
        Ok(OpCode::Exists) => "EXIS",
        Ok(OpCode::GetData) => "GETD",
        Ok(OpCode::SetData) => "SETD",
        Ok(OpCode::GetAcl) => "GETA",
        Ok(OpCode::SetAcl) => "SETA",
        Ok(OpCode::GetChildren | OpCode::GetChildren2) => "GETC",
        Ok(OpCode::Sync) => "SYNC",
        Ok(OpCode::Ping) => "PING",
        Ok(OpCode::Check) => "CHEC",
        Ok(OpCode::Reconfig) => "RECO",
        Ok(OpCode::Multi) => "MULT",
        Ok(OpCode::MultiRead) => "MLTR",
        Ok(OpCode::SetWatches) => "SETW",
        Ok(OpCode::SetWatches2) => "STW2",
        Ok(OpCode::AddWatch) => "ADDW",
        Ok(OpCode::CheckWatches) => "CHKW",
        Ok(OpCode::RemoveWatches) => "REMW",
        Ok(OpCode::GetEphemerals) => "GETE",
        Ok(OpCode::GetAllChildrenNumber) => "GETACN",
        Ok(OpCode::WhoAmI) => "HOMI",
        Ok(OpCode::CloseSession) => "CLOS",
        _ => "NA",
    }
}

/// Every connection with all that is known of it.
pub(super) fn cons(clients: &[ClientLine]) -> String {
    Text::of(|out| {
        for client in clients {
            client.write(out)?;
            writeln!(out)?;
        }
        writeln!(out)
    })
}

/// Sessions, ephemerals, and the connections with the time they have left.
pub(super) fn dump(lists: &Lists<'_>, clients: &[ClientLine]) -> String {
    Text::of(|out| {
        writeln!(out, "SessionTracker dump:")?;
        if let Some((expiry, now)) = lists.local_expiry {
            write!(out, "Local ")?;
            write_expiry(expiry, now, out)?;
            write!(out, "{}", if lists.expiry.is_some() { "Global " } else { "" })?;
        }
        match lists.expiry {
            Some((expiry, now)) => write_expiry(expiry, now, out)?,
            None => write_sessions(lists.state, out)?,
        }
        writeln!(out, "ephemeral nodes dump:")?;
        write_ephemerals(lists.state, out)?;
        writeln!(out, "Connections dump:")?;
        let mut sets: BTreeMap<u64, Vec<&ClientLine>> = BTreeMap::new();
        for client in clients {
            let left_ms = client.session.as_ref().map_or(0, |session| session.left_ms);
            sets.entry(left_ms).or_default().push(client);
        }
        writeln!(out, "Connections Sets ({})/({}):", sets.len(), clients.len())?;
        for (left_ms, clients) in sets {
            writeln!(out, "{} expire in {left_ms} ms:", clients.len())?;
            for client in clients {
                let id = client.session.as_ref().map_or(0, |session| session.id.0);
                writeln!(out, "\tip: /{} sessionId: {id:#x}", client.peer)?;
            }
        }
        Ok(())
    })
}

fn write_expiry(expiry: &Expiry, now: Tick, out: &mut Text) -> fmt::Result {
    let mut sets: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
    for (session, deadline) in expiry.deadlines() {
        sets.entry(deadline.ms_since(now)).or_default().push(session);
    }
    writeln!(out, "Session Sets ({})/({}):", sets.len(), expiry.len())?;
    for (left_ms, sessions) in sets {
        writeln!(out, "{} expire in {left_ms} ms:", sessions.len())?;
        sessions.iter().try_for_each(|session| writeln!(out, "\t{:#x}", session.0))?;
    }
    Ok(())
}

fn write_sessions(state: &State, out: &mut Text) -> fmt::Result {
    writeln!(out, "Global Sessions({}):", state.sessions.len())?;
    state.sessions.iter().try_for_each(|(id, session)| writeln!(out, "{:#x}\t{}ms", id.0, session.timeout_ms))
}

fn write_ephemerals(state: &State, out: &mut Text) -> fmt::Result {
    writeln!(out, "Sessions with Ephemerals ({}):", state.tree.ephemeral_owners().count())?;
    for owner in state.tree.ephemeral_owners() {
        writeln!(out, "{:#x}:", owner.0)?;
        state.tree.ephemerals(owner).iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
    }
    Ok(())
}

/// The digests of the newest states: servers that have a line for the same zxid have the same digest in it.
pub(super) fn hash(lists: &Lists<'_>) -> String {
    let digests = (lists.digests)();
    Text::of(|out| digests.iter().try_for_each(|(zxid, digest)| writeln!(out, "{:x}: {digest}", zxid.0)))
}

/// How many watches there are.
pub(super) fn watch_summary(watches: &Watches) -> String {
    let WatchCounts { connections, paths, watches } = watches.counts();
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// Every watched path, with the sessions that watch it.
pub(super) fn watches_by_path(lists: &Lists<'_>) -> String {
    Text::of(|out| {
        for (path, conns) in lists.watches.watchers() {
            writeln!(out, "{path}")?;
            let mut sessions = conns.into_iter().filter_map(lists.session_of);
            sessions.try_for_each(|session| writeln!(out, "\t{:#x}", session.0))?;
        }
        writeln!(out)
    })
}

/// Every session of this server that watches something, with the paths.
pub(super) fn watches_by_session(lists: &Lists<'_>) -> String {
    Text::of(|out| {
        for conn in lists.watches.conns() {
            let Some(session) = (lists.session_of)(conn) else { continue };
            let mut paths: Vec<&str> =
                lists.watches.of_conn(conn).into_iter().map(|(path, _)| path).collect();
            paths.dedup();
            writeln!(out, "{:#x}", session.0)?;
            paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
        }
        writeln!(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::PASSWORD_BYTES;
    use crate::watch::WatchKind;

    fn client(session: Option<ClientSession>) -> ClientLine {
        ClientLine { peer: ([10, 0, 0, 9], 4711).into(), queued: 1, received: 5, sent: 4, session }
    }

    fn session() -> ClientSession {
        ClientSession {
            id: SessionId(0x1_0000_0abc),
            timeout_ms: 10_000,
            established_ms: 1_700_000_000_123,
            last_op: OpCode::GetChildren2 as i32,
            last_xid: 18,
            last_zxid: Zxid(0x1_0000_0002),
            last_response_ms: 1_700_000_000_456,
            latency_ms: [3, 0, 1, 7],
            left_ms: 9000,
        }
    }

    const SESSION_LINE: &str = " /10.0.0.9:4711[1](queued=1,recved=5,sent=4,sid=0x100000abc,lop=GETC,\
        est=1700000000123,to=10000,lcxid=0x12,lzxid=0x100000002,lresp=1700000000456,llat=3,minlat=0,avglat=1,\
        maxlat=7)\n";

    #[test]
    fn connections_are_listed_as_by_zookeeper() {
        let text = cons(&[client(None), client(Some(session()))]);
        assert_eq!(text, format!(" /10.0.0.9:4711[1](queued=1,recved=5,sent=4)\n{SESSION_LINE}\n"));
    }

    fn lists<'a>(
        state: &'a State,
        watches: &'a Watches,
        expiry: Option<(&'a Expiry, Tick)>,
        session_of: &'a dyn Fn(ConnId) -> Option<SessionId>,
    ) -> Lists<'a> {
        Lists { state, watches, expiry, local_expiry: None, digests: &Vec::new, session_of }
    }

    #[test]
    fn a_leader_dumps_when_sessions_expire_and_a_follower_their_timeouts() {
        let (mut state, watches) = (State::new(0), Watches::new(0));
        let mut expiry = Expiry::new(1000);
        for (id, timeout_ms) in [(7, 4000), (9, 6000), (0xa, 4000)] {
            state.sessions.create(SessionId(id), timeout_ms, [0; PASSWORD_BYTES], 1);
            expiry.track(SessionId(id), timeout_ms, Tick(500));
        }
        let rest = "ephemeral nodes dump:\nSessions with Ephemerals (0):\nConnections dump:\n\
             Connections Sets (1)/(1):\n1 expire in 9000 ms:\n\t\
             ip: /10.0.0.9:4711 sessionId: 0x100000abc\n";
        let clients = [client(Some(session()))];
        let leader = dump(&lists(&state, &watches, Some((&expiry, Tick(1000))), &|_| None), &clients);
        let sets = "Session Sets (2)/(3):\n2 expire in 4000 ms:\n\t0x7\n\t0xa\n1 expire in 6000 ms:\n\t0x9\n";
        assert_eq!(leader, format!("SessionTracker dump:\n{sets}{rest}"));
        let follower = dump(&lists(&state, &watches, None, &|_| None), &clients);
        let sessions = "Global Sessions(3):\n0x7\t4000ms\n0x9\t6000ms\n0xa\t4000ms\n";
        assert_eq!(follower, format!("SessionTracker dump:\n{sessions}{rest}"));
        let both = Lists {
            local_expiry: Some((&expiry, Tick(1000))),
            ..lists(&state, &watches, Some((&expiry, Tick(1000))), &|_| None)
        };
        let expected = format!("SessionTracker dump:\nLocal {sets}Global {sets}{rest}");
        assert_eq!(dump(&both, &clients), expected);
    }

    #[test]
    fn watches_are_listed_by_path_and_by_session_each_once() {
        let (state, mut watches) = (State::new(0), Watches::new(0));
        watches.add(WatchKind::Data, "/b", ConnId(1));
        watches.add(WatchKind::Child, "/b", ConnId(1));
        watches.add(WatchKind::Persistent, "/a", ConnId(2));
        watches.add(WatchKind::Data, "/b", ConnId(2));
        // A connection that ended just now has no session any more.
        watches.add(WatchKind::Data, "/c", ConnId(3));
        let session_of = |conn: ConnId| (conn != ConnId(3)).then_some(SessionId(0x10 + u64::from(conn.0)));
        let lists = lists(&state, &watches, None, &session_of);
        assert_eq!(watch_summary(&watches), "3 connections watching 4 paths\nTotal watches:5\n");
        assert_eq!(watches_by_path(&lists), "/b\n\t0x11\n\t0x12\n/a\n\t0x12\n/c\n\n");
        assert_eq!(watches_by_session(&lists), "0x11\n\t/b\n0x12\n\t/a\n\t/b\n\n");
    }
}
