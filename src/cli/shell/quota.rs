//! Quotas, which are znodes below `/zookeeper/quota`: setting, showing and deleting them as ZooKeeper's shell does.

use std::collections::BTreeMap;
use std::fmt;

use super::walk;
use crate::client::{Client, Error};
use crate::jute::{CreateMode, ErrorCode};

const QUOTAS: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Which of the four limits of a quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    SoftCount,
    SoftBytes,
    HardCount,
    HardBytes,
}

impl Kind {
    /// As the options of the commands name it.
    pub fn of(option: char) -> Option<Kind> {
        Some(match option {
            'n' => Kind::SoftCount,
            'b' => Kind::SoftBytes,
            'N' => Kind::HardCount,
            'B' => Kind::HardBytes,
            _ => return None,
        })
    }

    /// The smallest limit that can be set.
    pub fn least(self) -> i64 {
        match self {
            Kind::SoftCount | Kind::HardCount => 1,
            Kind::SoftBytes | Kind::HardBytes => 0,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Kind::SoftCount => "count",
            Kind::SoftBytes => "bytes",
            Kind::HardCount => "countHardLimit",
            Kind::HardBytes => "byteHardLimit",
        }
    }
}

/// The numbers of a quota's znode by their names; -1 stands for none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn parse(text: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(text).ok()?;
        let pairs = text.split([',', ';']).filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((key.to_owned(), value.trim_end_matches('=').parse().ok()?))
        });
        pairs.collect::<Option<_>>().map(Track)
    }

    fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn set(&mut self, kind: Kind, value: i64) {
        self.0.insert(kind.key().to_owned(), value);
    }

    /// A line for each figure that is beyond a limit already.
    fn warnings(&self, figures: &Track) -> String {
        let mut warnings = String::new();
        for (key, hard) in [("count", "countHardLimit"), ("bytes", "byteHardLimit")] {
            let figure = figures.get(key);
            if [self.get(key), self.get(hard)].iter().any(|limit| (0..figure).contains(limit)) {
                warnings += &format!(
                    "[Warning]: the {key} quota you create is less than the existing {key}:{figure}\n"
                );
            }
        }
        warnings
    }
}

/// First what the oldest readers know; the second `=` keeps them from seeing the rest.
impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let rest = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"));
        for (number, (key, value)) in rest.enumerate() {
            write!(f, "{};{key}={value}", if number == 0 { "=" } else { "" })?;
        }
        Ok(())
    }
}

/// What is shown, or why nothing was done.
type Told = Result<String, String>;

fn place(path: &str) -> String {
    format!("{QUOTAS}{}", path.trim_end_matches('/'))
}

async fn track(client: &Client, path: &str) -> Result<Result<Track, String>, Error> {
    let (data, _) = client.get_data(path).await?;
    Ok(Track::parse(&data)
        .ok_or_else(|| format!("{path} cannot be read: {}", String::from_utf8_lossy(&data))))
}

/// Sets one limit of the quota of `path`, and makes the quota if there is none. As in ZooKeeper's shell, no other quota may
/// be above or below.
pub async fn set(client: &Client, path: &str, kind: Kind, limit: i64) -> Result<Told, Error> {
    if path.starts_with(QUOTAS) {
        return Ok(Err(format!("cannot set a quota under the path: {QUOTAS}")));
    }
    if path == "/" {
        return Ok(Err("the root has no quota".to_owned()));
    }
    if client.exists(path).await?.is_none() {
        return Ok(Err(format!("{path} does not exist.")));
    }
    if let Some(other) = other_quota(client, path).await? {
        return Ok(Err(other));
    }
    let place = place(path);
    for (at, _) in place.match_indices('/').skip(3).chain([(place.len(), "")]) {
        make(client, &place[..at], b"").await?;
    }
    let (limits_path, stats_path) = (format!("{place}/{LIMITS}"), format!("{place}/{STATS}"));
    let mut limits = match track(client, &limits_path).await {
        Err(Error::Server(ErrorCode::NoNode)) => {
            let none = [Kind::SoftCount, Kind::SoftBytes, Kind::HardCount, Kind::HardBytes];
            Track(none.map(|kind| (kind.key().to_owned(), -1)).into())
        }
        limits => match limits? {
            Ok(limits) => limits,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    limits.set(kind, limit);
    let text = limits.to_string();
    if !make(client, &limits_path, text.as_bytes()).await? {
        client.set_data(&limits_path, text.as_bytes(), None).await?;
    }
    make(client, &stats_path, b"count=0,bytes=0").await?;
    Ok(track(client, &stats_path).await?.map(|figures| limits.warnings(&figures)))
}

/// Makes a znode; false if it is there.
async fn make(client: &Client, path: &str, data: &[u8]) -> Result<bool, Error> {
    match client.create(path, data, CreateMode::Persistent).await {
        Err(Error::Server(ErrorCode::NodeExists)) => Ok(false),
        made => made.map(|_| true),
    }
}

/// Says which other quota is on the way from the root to a znode below `path`.
async fn other_quota(client: &Client, path: &str) -> Result<Option<String>, Error> {
    for (at, _) in path.match_indices('/').skip(1) {
        if client.exists(&format!("{QUOTAS}{}/{LIMITS}", &path[..at])).await?.is_some() {
            return Ok(Some(format!("{path} has a parent {} which has a quota", &path[..at])));
        }
    }
    let place = place(path);
    let below = match walk::descendants(client, &place).await {
        Err(Error::Server(ErrorCode::NoNode)) => Vec::new(),
        below => below?,
    };
    let quotas = below.iter().filter_map(|path| path.strip_suffix(LIMITS)?.strip_suffix('/'));
    let child = quotas.filter(|quota| *quota != place).find_map(|quota| quota.strip_prefix(QUOTAS));
    Ok(child.map(|child| format!("{path} has a child {child} which has a quota")))
}

/// Shows limits and figures.
pub async fn list(client: &Client, path: &str) -> Result<Told, Error> {
    let place = place(path);
    let mut shown = format!("absolute path is {place}/{LIMITS}\n");
    for (what, name) in [("quota", LIMITS), ("stat", STATS)] {
        match track(client, &format!("{place}/{name}")).await {
            Err(Error::Server(ErrorCode::NoNode)) => {
                return Ok(Err(format!("quota for {path} does not exist.")));
            }
            track => match track? {
                Ok(track) => shown += &format!("Output {what} for {path} {track}\n"),
                Err(reason) => return Ok(Err(reason)),
            },
        }
    }
    Ok(Ok(shown))
}

/// Takes one limit away; without one the whole quota, and what nothing else needs of the way to it.
pub async fn delete(client: &Client, path: &str, kind: Option<Kind>) -> Result<Told, Error> {
    let place = place(path);
    let limits_path = format!("{place}/{LIMITS}");
    if client.exists(&limits_path).await?.is_none() {
        return Ok(Err(format!("Quota does not exist for {path}")));
    }
    if let Some(kind) = kind {
        return Ok(match track(client, &limits_path).await? {
            Ok(mut limits) => {
                limits.set(kind, -1);
                client.set_data(&limits_path, limits.to_string().as_bytes(), None).await?;
                Ok(String::new())
            }
            Err(reason) => Err(reason),
        });
    }
    for gone in [limits_path, format!("{place}/{STATS}")] {
        match client.delete(&gone, None).await {
            Ok(()) | Err(Error::Server(ErrorCode::NoNode)) => {}
            Err(error) => return Err(error),
        }
    }
    let mut left = place.as_str();
    while left.len() > QUOTAS.len() {
        match client.delete(left, None).await {
            Ok(()) | Err(Error::Server(ErrorCode::NoNode)) => {}
            Err(Error::Server(ErrorCode::NotEmpty)) => break,
            Err(error) => return Err(error),
        }
        left = left.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(Ok(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_written_as_zookeeper_writes_it() {
        for text in [
            "count=-1,bytes=-1",
            "count=4,bytes=5=;byteHardLimit=-1;countHardLimit=7",
            "count=0,bytes=0=;countHardLimit=1",
        ] {
            assert_eq!(Track::parse(text.as_bytes()).map(|track| track.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Track::parse(b"").map(|track| track.to_string()).as_deref(), Some("count=-1,bytes=-1"));
        for text in ["nonsense", "count=", "count=x", "=;,="] {
            assert_eq!(Track::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_limit_that_is_exceeded_already_is_warned_of() {
        let figures = Track::parse(b"count=3,bytes=9").expect("good");
        let warnings = |limits: &str| Track::parse(limits.as_bytes()).expect("good").warnings(&figures);
        assert_eq!(warnings("count=3,bytes=9"), "");
        assert_eq!(warnings("count=-1,bytes=-1=;byteHardLimit=-1"), "");
        assert_eq!(
            warnings("count=3,bytes=9=;byteHardLimit=8;countHardLimit=2"),
            "[Warning]: the count quota you create is less than the existing count:3\n\
             [Warning]: the bytes quota you create is less than the existing bytes:9\n"
        );
    }
}
