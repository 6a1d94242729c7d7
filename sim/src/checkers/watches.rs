//! Every change that a client waits for is told once, however many of its watches wait for it, with its kind, path and
//! zxid, in the order of the changes, and before the client sees anything of it; nothing else is told. A watch left by a
//! read is gone with that, one of `addWatch` stays until it is removed. Those that are set again on another connection
//! are told at once what happened meanwhile, but for those that stay, whose clients look for themselves.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::Zxid;
use zabra::jute::{ErrorCode, EventKind, Response, WatchEvent, WatcherType};
use zabra::watch::WatchKind;

use super::{Verdict, unless};
use crate::model::{Change, Model};
use crate::op::{Resume, parent_of};

pub const NAME: &str = "watches";

/// What a client waits for at a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Watching {
    /// the next change of a znode that was there
    Data,
    /// the creation of a znode that was not
    Absence,
    Children,
    /// all that the others wait for, again and again
    Persistent,
    /// whatever becomes of the znode and of all below it, again and again
    Recursive,
}

/// Those that are gone when they fire.
const ONE_SHOT: [Watching; 3] = [Watching::Data, Watching::Absence, Watching::Children];

impl Watching {
    /// What it waits for.
    fn kinds(self) -> &'static [EventKind] {
        use EventKind::*;
        match self {
            Watching::Data | Watching::Absence | Watching::Recursive => {
                &[NodeCreated, NodeDataChanged, NodeDeleted]
            }
            Watching::Children => &[NodeChildrenChanged, NodeDeleted],
            Watching::Persistent => &[NodeCreated, NodeDataChanged, NodeDeleted, NodeChildrenChanged],
        }
    }

    /// Which of them a request about watches means.
    fn meant_by(which: WatcherType) -> &'static [Watching] {
        use Watching::*;
        match which {
            WatcherType::Data => &[Data, Absence],
            WatcherType::Children => &[Children],
            WatcherType::Persistent => &[Persistent],
            WatcherType::PersistentRecursive => &[Recursive],
            WatcherType::Any => &[Data, Absence, Children, Persistent, Recursive],
        }
    }

    /// How a server keeps it.
    fn kept_as(self) -> WatchKind {
        match self {
            Watching::Data | Watching::Absence => WatchKind::Data,
            Watching::Children => WatchKind::Child,
            Watching::Persistent => WatchKind::Persistent,
            Watching::Recursive => WatchKind::PersistentRecursive,
        }
    }

    /// How a request about watches calls it.
    pub fn which(self) -> WatcherType {
        match self {
            Watching::Data | Watching::Absence => WatcherType::Data,
            Watching::Children => WatcherType::Children,
            Watching::Persistent => WatcherType::Persistent,
            Watching::Recursive => WatcherType::PersistentRecursive,
        }
    }
}

/// The watches of one client.
#[derive(Default)]
pub struct Watches {
    set: BTreeMap<Watching, BTreeSet<String>>,
    /// So many of all changes are over: the client was told of them, or did not wait for them.
    past: usize,
    /// They were set on an older connection, and not set again yet.
    away: bool,
}

/// The zxid of an event that no transaction fired.
const TOLD_LATE: Zxid = Zxid(u64::MAX);

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.set.values().all(BTreeSet::is_empty)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Watching, &str)> {
        self.set.iter().flat_map(|(watching, paths)| paths.iter().map(|path| (*watching, path.as_str())))
    }

    fn is_set(&self, watching: Watching, path: &str) -> bool {
        self.set.get(&watching).is_some_and(|paths| paths.contains(path))
    }

    /// A request left a watch. One that was there already stays. The client has seen the state that it was set on.
    pub fn set(&mut self, watching: Watching, path: &str) {
        self.set.entry(watching).or_default().insert(path.to_string());
    }

    /// The client took watches away.
    pub fn remove(&mut self, path: &str, which: WatcherType) {
        for watching in Watching::meant_by(which) {
            self.take(*watching, path);
        }
    }

    fn take(&mut self, watching: Watching, path: &str) -> bool {
        self.set.get_mut(&watching).is_some_and(|paths| paths.remove(path))
    }

    /// The connection is gone.
    pub fn lose(&mut self) {
        self.away = !self.is_empty();
    }

    /// The session is gone.
    pub fn forget(&mut self) {
        *self = Watches { past: self.past, ..Watches::default() };
    }

    /// What is to be set again.
    pub fn to_resume(&self, relative_zxid: Zxid) -> Resume {
        let paths = |watching| self.set.get(&watching).into_iter().flatten().cloned().collect();
        Resume {
            data: paths(Watching::Data),
            exist: paths(Watching::Absence),
            child: paths(Watching::Children),
            persistent: paths(Watching::Persistent),
            recursive: paths(Watching::Recursive),
            relative_zxid,
        }
    }

    /// Whether a request about watches, to look for them or to remove them, is answered as it should be.
    pub fn answers(&self, path: &str, which: WatcherType, result: &Result<Response, ErrorCode>) -> Verdict {
        let is_there = Watching::meant_by(which).iter().any(|watching| self.is_set(*watching, path));
        let due = if is_there { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) };
        unless(*result == due, || format!("watches of {path} ({which:?}): {result:?} instead of {due:?}"))
    }

    /// What a server keeps for the client's connection is what the client has; nothing before it set them again.
    pub fn are_kept(&self, kept: &[(&str, WatchKind)]) -> Verdict {
        let due: BTreeSet<_> = self.all().map(|(watching, path)| (path, watching.kept_as())).collect();
        let due = if self.away { BTreeSet::new() } else { due };
        let kept: BTreeSet<_> = kept.iter().copied().collect();
        unless(kept == due, || format!("a server keeps {kept:?} for a client that watches {due:?}"))
    }

    /// Those that wait for a change, each with the path that it is set on.
    fn waiting<'a>(&self, change: &'a Change) -> Vec<(Watching, &'a str)> {
        let Change { kind, path, .. } = change;
        let here = [Watching::Data, Watching::Absence, Watching::Children, Watching::Persistent];
        let here = here.into_iter().map(|watching| (watching, path.as_str()));
        let above =
            std::iter::successors(Some(path.as_str()), |path| (*path != "/").then(|| parent_of(path)));
        let all = here.chain(above.map(|path| (Watching::Recursive, path)));
        all.filter(|(watching, path)| watching.kinds().contains(kind) && self.is_set(*watching, path))
            .collect()
    }

    /// The next change that the client is to be told of, and its number.
    fn next<'a>(&self, through: usize, model: &'a Model) -> Option<(usize, &'a Change)> {
        if self.away || self.is_empty() {
            return None;
        }
        let changes = (self.past..).zip(model.changes().get(self.past..through)?);
        changes.into_iter().find(|(_, change)| !self.waiting(change).is_empty())
    }

    /// An event comes to the client. The watches that waited for it, each with the path that it is set on.
    pub fn fired(&mut self, event: &WatchEvent, model: &Model) -> Result<Vec<(Watching, String)>, String> {
        let due = self.next(model.changes().len(), model);
        let is_due = |change: &Change| {
            (change.kind, &change.path, change.zxid) == (event.kind, &event.path, event.zxid)
        };
        let Some((number, change)) = due.filter(|(_, change)| is_due(change)) else {
            return Err(format!("{event:?} is told, but {due:?} is due"));
        };
        self.past = number + 1;
        let waiting = self.waiting(change);
        for (watching, path) in waiting.iter().filter(|(watching, _)| ONE_SHOT.contains(watching)) {
            self.take(*watching, path);
        }
        Ok(waiting.into_iter().map(|(watching, path)| (watching, path.to_string())).collect())
    }

    /// Whatever the client sees of the state at `zxid`, it was told of every change before.
    pub fn sees(&mut self, zxid: Zxid, model: &Model) -> Verdict {
        let through = model.changes_through(zxid).max(self.past);
        let due = self.next(through, model);
        unless(due.is_none(), || format!("the state of {zxid} is shown before {due:?} is told"))?;
        self.past = through;
        Ok(())
    }

    /// The watches were set again by a server at `zxid`, which told of these events.
    pub fn resumed(&mut self, resume: &Resume, events: &[WatchEvent], zxid: Zxid, model: &Model) -> Verdict {
        let since = resume.relative_zxid;
        let mut due = Vec::new();
        for (watching, path) in self.all() {
            let stat = model.node(path, zxid).map(|node| node.stat);
            let kind = match (watching, stat) {
                (Watching::Persistent | Watching::Recursive, _) | (Watching::Absence, None) => None,
                (Watching::Absence, Some(_)) => Some(EventKind::NodeCreated),
                (_, None) => Some(EventKind::NodeDeleted),
                (Watching::Data, Some(stat)) => (stat.mzxid > since).then_some(EventKind::NodeDataChanged),
                (Watching::Children, Some(stat)) => {
                    (stat.pzxid > since).then_some(EventKind::NodeChildrenChanged)
                }
            };
            due.extend(kind.map(|kind| (watching, kind, path.to_string())));
        }
        // A client that waits in several ways is told by each of the lists, in their order.
        let told = events.iter().map(|event| (event.kind, event.path.as_str(), event.zxid));
        let is_told = told.eq(due.iter().map(|(_, kind, path)| (*kind, path.as_str(), TOLD_LATE)));
        unless(is_told, || {
            format!("watches set again at {zxid}, since {since}: told {events:?}, due {due:?}")
        })?;
        for (watching, _, path) in &due {
            self.take(*watching, path);
        }
        (self.away, self.past) = (false, model.changes_through(zxid));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;

    use super::*;
    use crate::model::Author;
    use crate::op::{ANY, Op};

    /// `/a` is created at 2, has a child from 3 on, other data from 4 on, and no child again from 5 on.
    fn model() -> Model {
        let mut model = Model::default();
        model.open_session(Zxid(1), SessionId(1));
        let delete = Op::Delete { path: "/a/b".into(), version: ANY };
        let ops = [Op::create("/a", "x"), Op::create("/a/b", ""), Op::set("/a", "y"), delete];
        for (zxid, op) in (2..).zip(ops) {
            let author = Author { session: SessionId(1), zxid: Zxid(zxid), time_ms: 0 };
            let (_, effects) = model.judge(&op, model.end(), author);
            model.apply(Zxid(zxid), effects);
        }
        model
    }

    fn event(kind: EventKind, path: &str, zxid: u64) -> WatchEvent {
        WatchEvent { kind, path: path.into(), zxid: Zxid(zxid) }
    }

    /// Of a client that has seen the state at `zxid`.
    fn watching(all: &[Watching], zxid: u64) -> Watches {
        let mut watches = Watches::default();
        watches.sees(Zxid(zxid), &model()).expect("it waits for nothing");
        all.iter().for_each(|watching| watches.set(*watching, "/a"));
        watches
    }

    #[test]
    fn a_watch_fires_once_for_the_first_change_and_before_it_is_seen() {
        use EventKind::*;
        let model = model();
        let mut watches = watching(&[Watching::Data], 2);
        assert_eq!(watches.sees(Zxid(3), &model), Ok(()));
        watches.sees(Zxid(4), &model).expect_err("the change is seen first");
        watches.fired(&event(NodeDataChanged, "/a", 4), &model).expect("it is due");
        watches.fired(&event(NodeDataChanged, "/a", 4), &model).expect_err("twice");
        assert_eq!(watches.sees(Zxid(5), &model), Ok(()));
        let wrong = [(NodeDataChanged, "/a", 3), (NodeDeleted, "/a", 4), (NodeDataChanged, "/b", 4)];
        for (kind, path, zxid) in wrong {
            let mut watches = watching(&[Watching::Data], 2);
            watches.fired(&event(kind, path, zxid), &model).expect_err("another event");
        }
    }

    #[test]
    fn watches_that_stay_are_told_of_each_change_and_several_are_told_once() {
        use EventKind::*;
        let model = model();
        let changes = [
            (NodeCreated, "/a/b", 3),
            (NodeChildrenChanged, "/a", 3),
            (NodeDataChanged, "/a", 4),
            (NodeDeleted, "/a/b", 5),
            (NodeChildrenChanged, "/a", 5),
        ];
        let told = |all: &[Watching], told: &[usize]| {
            let mut watches = watching(all, 2);
            for change in told {
                let (kind, path, zxid) = changes[*change];
                watches.fired(&event(kind, path, zxid), &model)?;
            }
            watches.sees(Zxid(5), &model)
        };
        use Watching::*;
        assert_eq!(told(&[Persistent], &[1, 2, 4]), Ok(()));
        assert_eq!(told(&[Recursive], &[0, 2, 3]), Ok(()));
        assert_eq!(told(&[Data, Children, Recursive, Persistent], &[0, 1, 2, 3, 4]), Ok(()));
        assert_eq!(told(&[Data, Children], &[1, 2]), Ok(()));
        told(&[Persistent], &[1, 2]).expect_err("it is gone when it fires");
        told(&[Recursive], &[2]).expect_err("it misses what is below");
        told(&[Recursive], &[0, 1]).expect_err("it is told of children");
        told(&[Data, Persistent], &[1, 2, 2, 4]).expect_err("twice");
        told(&[Persistent], &[2, 1, 4]).expect_err("in another order");
    }

    #[test]
    fn what_is_asked_about_watches_is_what_was_set() {
        let mut watches = watching(&[Watching::Absence, Watching::Persistent], 2);
        let (there, not) = (Ok(Response::Empty), Err(ErrorCode::NoWatcher));
        for (which, due, other) in [
            (WatcherType::Data, &there, &not),
            (WatcherType::Any, &there, &not),
            (WatcherType::Children, &not, &there),
            (WatcherType::PersistentRecursive, &not, &there),
        ] {
            assert_eq!(watches.answers("/a", which, due), Ok(()));
            watches.answers("/a", which, other).expect_err("the opposite");
        }
        watches.remove("/a", WatcherType::Data);
        assert_eq!(watches.answers("/a", WatcherType::Data, &not), Ok(()));
        assert_eq!(watches.answers("/a", WatcherType::Persistent, &there), Ok(()));
        assert_eq!(watches.are_kept(&[("/a", WatchKind::Persistent)]), Ok(()));
        watches.are_kept(&[]).expect_err("it is lost");
        watches.lose();
        assert_eq!(watches.are_kept(&[]), Ok(()));
        watches.are_kept(&[("/a", WatchKind::Persistent)]).expect_err("it is not set again yet");
    }

    #[test]
    fn a_watch_that_is_set_again_tells_what_was_missed_and_nothing_else() {
        use EventKind::*;
        let (model, late) = (model(), event(NodeDataChanged, "/a", u64::MAX));
        let resume = |all: &[Watching], since, events: &[WatchEvent]| {
            let mut watches = watching(all, since);
            watches.lose();
            let resume = watches.to_resume(Zxid(since));
            watches.resumed(&resume, events, Zxid(4), &model)?;
            watches.fired(&event(NodeChildrenChanged, "/a", 5), &model).map(drop)
        };
        let both = [Watching::Data, Watching::Persistent];
        assert_eq!(resume(&both, 3, std::slice::from_ref(&late)), Ok(()));
        resume(&both, 3, &[]).expect_err("it is not told");
        resume(&both, 3, &[late.clone(), late.clone()]).expect_err("it is told twice");
        assert_eq!(resume(&[Watching::Children], 3, &[]), Ok(()));
        resume(&[Watching::Children], 3, &[late]).expect_err("nothing happened");
    }
}
