//! Counts what clients are told.

use zabra::jute::{CreateMode, ErrorCode, ListFilter, ReadResult, Response};

use super::coverage::Coverage;
use super::model::is_refused;
use super::model::quota::Beyond;
use super::op::{ANY, Keeper, Op, Read};

pub fn count_answer(op: &Op, result: &Result<Response, ErrorCode>, coverage: &mut Coverage) {
    match (op, result) {
        (Op::Multi(_), Ok(_)) if is_refused(result) => coverage.count("multi refused"),
        (Op::Multi(ops), Ok(_)) => {
            coverage.count("multi");
            if ops.iter().any(|op| matches!(op, Op::Keeper(_))) {
                coverage.count("multi with operations of ClickHouse Keeper");
            }
        }
        (Op::Sync, Ok(_)) => coverage.count("rule 17: a sync was confirmed by a quorum"),
        (Op::Create { mode: CreateMode::Container, .. }, Ok(_)) => coverage.count("container create"),
        (Op::Create { mode: CreateMode::PersistentWithTtl, .. }, Ok(_)) => {
            coverage.count("create with a time to live");
        }
        (Op::Create { mode: CreateMode::PersistentSequentialWithTtl, .. }, Ok(_)) => {
            coverage.count("sequential create with a time to live");
        }
        (Op::Create { mode, .. }, Ok(_)) if mode.is_sequential() => coverage.count("sequential create"),
        (Op::Create { mode, .. }, Ok(_)) if mode.is_ephemeral() => coverage.count("ephemeral create"),
        (Op::Set { version, .. }, Ok(_)) if *version != ANY => coverage.count("version as expected"),
        (Op::Keeper(op), _) => coverage.count(keeper_row(op, result.is_ok())),
        (_, Err(ErrorCode::EphemeralOnLocalSession)) => {
            coverage.count("refused: an ephemeral of a local session");
        }
        (_, Err(ErrorCode::NodeExists)) => coverage.count("refused: the znode is there"),
        (_, Err(ErrorCode::NoNode)) => coverage.count("refused: no such znode"),
        (_, Err(ErrorCode::BadVersion)) => coverage.count("refused: another version"),
        (_, Err(ErrorCode::NotEmpty)) => coverage.count("refused: not empty"),
        _ => {}
    }
}

pub fn count_read(read: &Read, result: &Result<Response, ErrorCode>, coverage: &mut Coverage) {
    match (read, result) {
        (Read::Many(_), Ok(Response::MultiRead(results))) => {
            let is_error = |result: &ReadResult| matches!(result, ReadResult::Error(_));
            coverage.count(match results.iter().any(is_error) {
                true => "multiRead with an error",
                false => "multiRead",
            });
        }
        (Read::Ephemerals { .. }, Ok(Response::Ephemerals(paths))) if !paths.is_empty() => {
            coverage.count("ephemerals told");
        }
        (Read::Filtered { filter, .. }, Ok(_)) => coverage.count(match filter {
            ListFilter::All => "filteredList of all",
            ListFilter::Persistent => "filteredList of persistent ones",
            ListFilter::Ephemeral => "filteredList of ephemerals",
        }),
        (Read::Data { path, .. }, Ok(_)) if path.ends_with("/zookeeper_stats") => {
            coverage.count("figures of a quota read");
        }
        (Read::Descendants { .. }, Ok(_)) => coverage.count("descendants counted"),
        (Read::AddWatch { is_recursive: true, .. }, Ok(_)) => coverage.count("recursive watch added"),
        (Read::AddWatch { .. }, Ok(_)) => coverage.count("persistent watch added"),
        (Read::CheckWatches { .. }, Ok(_)) => coverage.count("watch found"),
        (Read::RemoveWatches { .. }, Ok(_)) => coverage.count("watches removed"),
        (Read::CheckWatches { .. } | Read::RemoveWatches { .. }, Err(_)) => {
            coverage.count("refused: no such watch");
        }
        _ => {}
    }
}

fn keeper_row(op: &Keeper, is_done: bool) -> &'static str {
    match (op, is_done) {
        (Keeper::CreateIfNotExists { .. }, true) => "createIfNotExists",
        (Keeper::CreateIfNotExists { .. }, false) => "createIfNotExists refused",
        (Keeper::CheckNotExists { .. }, true) => "checkNotExists",
        (Keeper::CheckNotExists { .. }, false) => "checkNotExists refused",
        (Keeper::CheckStat { .. }, true) => "checkStat",
        (Keeper::CheckStat { .. }, false) => "checkStat refused",
        (Keeper::RemoveRecursive { .. }, true) => "removeRecursive",
        (Keeper::RemoveRecursive { .. }, false) => "removeRecursive refused",
    }
}

/// A write went beyond a quota, or would have.
pub fn count_beyond(beyond: Option<Beyond>, coverage: &mut Coverage) {
    match beyond {
        None => {}
        Some(Beyond::Soft) => coverage.count("beyond a soft quota"),
        Some(Beyond::Hard) => coverage.count("refused: beyond a hard quota"),
        Some(Beyond::HardOfOlderEpoch) => coverage.count("refused: beyond a hard quota of an older epoch"),
    }
}
