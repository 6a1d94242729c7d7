//! ClickHouse Keeper's operations, as its documentation and its clients understand them.

use zabra::ids::Zxid;
use zabra::jute::{ErrorCode, MultiResult, OpCode, Stat};

use super::{Draft, check, is_fixed};
use crate::op::{Keeper, parent_of};

/// Stands for any value of a field of a Stat.
const ANY: i64 = -1;

impl Draft<'_> {
    /// What becomes of one of them.
    pub(super) fn keeper(&mut self, op: &Keeper) -> Result<MultiResult, ErrorCode> {
        match op {
            Keeper::CreateIfNotExists { path, data, mode } => match self.create(path, data, *mode, 0) {
                Ok(_) | Err(ErrorCode::NodeExists) => {
                    Ok(MultiResult::CreateIfNotExists { path: path.clone() })
                }
                Err(code) => Err(code),
            },
            Keeper::CheckNotExists { path, version } => match self.node(path) {
                Some(node) if *version == -1 || *version == node.stat.version => Err(ErrorCode::NodeExists),
                _ => Ok(MultiResult::Keeper(OpCode::CheckNotExists)),
            },
            Keeper::CheckStat { path, version, stat } => {
                let is = self.node(path).ok_or(ErrorCode::NoNode)?.stat;
                check(is.version, *version)?;
                let fits = fields(stat).into_iter().zip(fields(&is)).all(|(one, is)| one == ANY || one == is);
                if fits { Ok(MultiResult::Keeper(OpCode::CheckStat)) } else { Err(ErrorCode::BadVersion) }
            }
            Keeper::RemoveRecursive { path, znodes_max } => self.remove_recursive(path, *znodes_max),
        }
    }

    /// Children before their parents.
    fn remove_recursive(&mut self, path: &str, znodes_max: u32) -> Result<MultiResult, ErrorCode> {
        if is_fixed(path) || path == "/keeper" || path.starts_with("/keeper/") {
            return Err(ErrorCode::BadArguments);
        }
        let parent = parent_of(path);
        if self.node(path).is_none() || self.node(parent).is_none() && !is_fixed(parent) {
            return Err(ErrorCode::NoNode);
        }
        let all = self.at_and_below(path);
        if all.len() > znodes_max as usize {
            return Err(ErrorCode::NotEmpty);
        }
        all.iter().rev().for_each(|path| self.remove(path));
        Ok(MultiResult::Keeper(OpCode::RemoveRecursive))
    }
}

fn fields(stat: &Stat) -> [i64; 11] {
    let number = |zxid: Zxid| zxid.0 as i64;
    [
        number(stat.czxid),
        number(stat.mzxid),
        number(stat.pzxid),
        stat.ctime_ms,
        stat.mtime_ms,
        stat.version.into(),
        stat.cversion.into(),
        stat.aversion.into(),
        stat.ephemeral_owner.0 as i64,
        stat.data_length.into(),
        stat.num_children.into(),
    ]
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;
    use zabra::jute::{CreateMode, Response};

    use super::*;
    use crate::model::{Author, Model};
    use crate::op::Op;

    const SESSION: SessionId = SessionId(1);

    fn done(model: &mut Model, op: Keeper) -> Result<Response, ErrorCode> {
        let zxid = Zxid(model.end().0 + 1);
        let author = Author { session: SESSION, zxid, time_ms: 5 };
        let (result, effects) = model.judge(&Op::Keeper(op), model.end(), author);
        model.apply(zxid, effects);
        result
    }

    fn create(path: &str) -> Keeper {
        Keeper::CreateIfNotExists { path: path.into(), data: "x".into(), mode: CreateMode::Persistent }
    }

    #[test]
    fn what_is_there_is_left_alone_and_what_is_below_goes_with_it() {
        let mut model = Model::with_a(SESSION);
        for path in ["/a", "/a/b", "/a/b/c", "/ab"] {
            assert_eq!(done(&mut model, create(path)), Ok(Response::Create { path: path.into() }));
        }
        assert_eq!(model.node("/a", model.end()).expect("there").stat.version, 0);
        assert_eq!(done(&mut model, create("/x/y")), Err(ErrorCode::NoNode));
        let remove = |znodes_max| Keeper::RemoveRecursive { path: "/a".into(), znodes_max };
        assert_eq!(done(&mut model, remove(2)), Err(ErrorCode::NotEmpty));
        assert_eq!(done(&mut model, remove(3)), Ok(Response::Empty));
        assert_eq!(model.all().map(|(path, _)| path).collect::<Vec<_>>(), ["/ab"]);
        let changes = &model.changes()[model.changes_through(Zxid(model.end().0 - 1))..];
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["/a/b/c", "/a/b", "/a/b", "/a", "/a", "/"]);
        assert_eq!(done(&mut model, remove(3)), Err(ErrorCode::NoNode));
        let fixed = Keeper::RemoveRecursive { path: "/zookeeper/quota".into(), znodes_max: 9 };
        assert_eq!(done(&mut model, fixed), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn each_field_of_a_stat_counts_and_versions_may_differ() {
        let mut model = Model::with_a(SESSION);
        let stat = model.node("/a", model.end()).expect("there").stat;
        let mut asked = |version, stat| {
            done(&mut model, Keeper::CheckStat { path: "/a".into(), version, stat }).map(|_| ())
        };
        assert_eq!([asked(-1, stat), asked(0, stat)], [Ok(()), Ok(())]);
        assert_eq!(asked(1, stat), Err(ErrorCode::BadVersion));
        assert_eq!(asked(-1, Stat { num_children: 1, ..stat }), Err(ErrorCode::BadVersion));
        assert_eq!(asked(-1, Stat { mtime_ms: ANY, ..stat }), Ok(()));
        let mut absent = |path: &str, version| {
            done(&mut model, Keeper::CheckNotExists { path: path.into(), version }).map(|_| ())
        };
        let exists = Err(ErrorCode::NodeExists);
        assert_eq!([absent("/a", -1), absent("/a", 0), absent("/a", 1)], [exists, exists, Ok(())]);
        assert_eq!(absent("/x", -1), Ok(()));
    }
}
