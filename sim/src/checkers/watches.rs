//! A watch fires exactly once, for the first change behind the state that it was set on, with the right kind and path,
//! in the order of the changes, and before its client sees anything of the change. One that is set again on another
//! connection fires at once if something happened meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::Zxid;
use zabra::jute::{EventKind, WatchEvent};

use super::{Verdict, unless};
use crate::model::Model;
use crate::op::Resume;

pub const NAME: &str = "watches";

/// What a client waits for at a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Watching {
    /// the next change of a znode that was there
    Data,
    /// the creation of a znode that was not
    Absence,
    Children,
}

impl Watching {
    /// What ends the wait.
    fn kinds(self) -> &'static [EventKind] {
        use EventKind::*;
        match self {
            Watching::Data | Watching::Absence => &[NodeCreated, NodeDataChanged, NodeDeleted],
            Watching::Children => &[NodeChildrenChanged, NodeDeleted],
        }
    }
}

/// The watches of one client, each with the zxid of the state that it was set on.
#[derive(Default)]
pub struct Watches {
    set: BTreeMap<(Watching, String), Zxid>,
    /// They were set on an older connection, and not set again yet.
    away: bool,
}

/// The zxid of an event that no transaction fired.
const TOLD_LATE: Zxid = Zxid(u64::MAX);

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// A read at this zxid left a watch. One that was there already stays.
    pub fn set(&mut self, watching: Watching, path: &str, zxid: Zxid) {
        self.set.entry((watching, path.to_string())).or_insert(zxid);
    }

    /// The connection is gone.
    pub fn lose(&mut self) {
        self.away = true;
    }

    /// The session is gone.
    pub fn forget(&mut self) {
        *self = Watches::default();
    }

    /// What is to be set again.
    pub fn to_resume(&self, relative_zxid: Zxid) -> Resume {
        let paths = |kind| {
            let of_kind = self.set.keys().filter(move |(watching, _)| *watching == kind);
            of_kind.map(|(_, path)| path.clone()).collect()
        };
        Resume {
            data: paths(Watching::Data),
            exist: paths(Watching::Absence),
            child: paths(Watching::Children),
            relative_zxid,
        }
    }

    /// An event comes to the client, that has seen `seen` on this connection.
    pub fn fired(&mut self, event: &WatchEvent, seen: Zxid, model: &Model) -> Verdict {
        let WatchEvent { kind, path, zxid } = event;
        unless(*zxid != TOLD_LATE && *zxid > seen, || format!("{event:?} comes behind something of {seen}"))?;
        let fired = self.take(*kind, path);
        unless(!fired.is_empty(), || format!("nobody waited for {event:?}"))?;
        for (watching, set) in fired {
            let due = model.first_change(path, set, watching.kinds());
            unless(due.is_some_and(|due| (due.zxid, due.kind) == (*zxid, *kind)), || {
                format!("a watch ({watching:?}) that was set at {set} fired with {event:?}, not with {due:?}")
            })?;
        }
        Ok(())
    }

    fn take(&mut self, kind: EventKind, path: &str) -> Vec<(Watching, Zxid)> {
        let all = [Watching::Data, Watching::Absence, Watching::Children];
        let fitting = all.into_iter().filter(|watching| watching.kinds().contains(&kind));
        let mut take = |watching| self.set.remove(&(watching, path.to_string()));
        fitting.filter_map(|watching| take(watching).map(|set| (watching, set))).collect()
    }

    /// Whatever the client sees of the state at `zxid`, it was told of every change before.
    pub fn sees(&self, zxid: Zxid, model: &Model) -> Verdict {
        if self.away {
            return Ok(());
        }
        self.set.iter().try_for_each(|((watching, path), set)| {
            let due = model.first_change(path, *set, watching.kinds());
            unless(due.is_none_or(|due| due.zxid > zxid), || {
                format!("the state of {zxid} is shown before {due:?} of {path}, watched ({watching:?}) since {set}")
            })
        })
    }

    /// The watches were set again by a server at `zxid`, which told of these events.
    pub fn resumed(&mut self, resume: &Resume, events: &[WatchEvent], zxid: Zxid, model: &Model) -> Verdict {
        self.away = false;
        let since = resume.relative_zxid;
        let mut due = BTreeSet::new();
        for (watching, path) in self.set.keys() {
            let stat = model.node(path, zxid).map(|node| node.stat);
            let kind = match (watching, stat) {
                (Watching::Absence, None) => None,
                (Watching::Absence, Some(_)) => Some(EventKind::NodeCreated),
                (_, None) => Some(EventKind::NodeDeleted),
                (Watching::Data, Some(stat)) => (stat.mzxid > since).then_some(EventKind::NodeDataChanged),
                (Watching::Children, Some(stat)) => {
                    (stat.pzxid > since).then_some(EventKind::NodeChildrenChanged)
                }
            };
            due.extend(kind.map(|kind| (kind as i32, path.clone())));
        }
        let told: BTreeSet<_> = events.iter().map(|event| (event.kind as i32, event.path.clone())).collect();
        unless(told == due && events.iter().all(|event| event.zxid == TOLD_LATE), || {
            format!("watches set again at {zxid}, since {since}: told {events:?}, due {due:?}")
        })?;
        events.iter().for_each(|event| drop(self.take(event.kind, &event.path)));
        self.set.values_mut().for_each(|set| *set = zxid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;

    use super::*;
    use crate::model::Author;
    use crate::op::Op;

    /// `/a` is created at 2, has a child from 3 on, and other data from 4 on.
    fn model() -> Model {
        let mut model = Model::default();
        model.open_session(Zxid(1), SessionId(1));
        for (zxid, op) in (2..).zip([Op::create("/a", "x"), Op::create("/a/b", ""), Op::set("/a", "y")]) {
            let author = Author { session: SessionId(1), zxid: Zxid(zxid), time_ms: 0 };
            let (_, effects) = model.judge(&op, model.end(), author);
            model.apply(Zxid(zxid), effects);
        }
        model
    }

    fn event(kind: EventKind, zxid: u64) -> WatchEvent {
        WatchEvent { kind, path: "/a".into(), zxid: Zxid(zxid) }
    }

    fn watching(watching: Watching, zxid: u64) -> Watches {
        let mut watches = Watches::default();
        watches.set(watching, "/a", Zxid(zxid));
        watches
    }

    #[test]
    fn a_watch_fires_once_for_the_first_change_and_before_it_is_seen() {
        use EventKind::*;
        let model = model();
        let mut watches = watching(Watching::Data, 2);
        assert_eq!(watches.sees(Zxid(3), &model), Ok(()));
        watches.sees(Zxid(4), &model).expect_err("the change is seen first");
        assert_eq!(watches.fired(&event(NodeDataChanged, 4), Zxid(3), &model), Ok(()));
        watches.fired(&event(NodeDataChanged, 4), Zxid(3), &model).expect_err("twice");
        let wrong = [(NodeDataChanged, 3), (NodeDeleted, 4), (NodeChildrenChanged, 4)];
        for (kind, zxid) in wrong {
            let mut watches = watching(Watching::Data, 2);
            watches.fired(&event(kind, zxid), Zxid(2), &model).expect_err("another event");
        }
        let mut watches = watching(Watching::Children, 2);
        watches.fired(&event(NodeChildrenChanged, 3), Zxid(3), &model).expect_err("behind what was seen");
    }

    #[test]
    fn a_watch_that_is_set_again_tells_what_was_missed_and_nothing_else() {
        let (model, late) = (model(), event(EventKind::NodeDataChanged, u64::MAX));
        let resume = |watches: &mut Watches, since, events: &[WatchEvent]| {
            watches.lose();
            let resume = watches.to_resume(Zxid(since));
            watches.resumed(&resume, events, Zxid(4), &model)
        };
        assert_eq!(resume(&mut watching(Watching::Data, 2), 3, std::slice::from_ref(&late)), Ok(()));
        resume(&mut watching(Watching::Data, 2), 3, &[]).expect_err("it is not told");
        assert_eq!(resume(&mut watching(Watching::Children, 3), 3, &[]), Ok(()));
        resume(&mut watching(Watching::Children, 3), 3, &[late]).expect_err("nothing happened");
    }
}
